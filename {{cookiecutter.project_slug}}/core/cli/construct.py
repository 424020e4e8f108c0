"""From a name to an object: what it takes, where it is imported from, what it is called with."""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from core.cli import values
from core.cli.names import suggest
from core.cli.source import REQUIRED, Code, Definition, Parameter, Signature, Unreadable
from core.errors import UsageError


def signature(target: str) -> Signature:
    """What the class or function `module:Object` takes, read from source, else by importing it."""
    module, _, name = target.partition(":")
    try:
        if module == "timm" and (creator := Definition.find(module, "create_model")):
            own = creator.signature()
            shared = {n: Parameter(n, int | None, None) for n in ("num_classes", "in_chans")}
            takes = {n: p for n, p in own.parameters.items() if n != "model_name"} | shared
            return Signature(takes, own.help, open=True)
        if definition := Definition.find(module, name):
            about = definition.signature()
            is_theirs = definition.module.name.startswith("torchvision.models.")
            if is_theirs and "weights" in about.parameters:  # see core/train/pretrained.py
                more = ("pretrained", bool, False), ("in_channels", int, 3)
                about.parameters.update({p[0]: Parameter(*p) for p in more})
            return about
    except Unreadable:
        pass
    found, loaded = {}, load(target)
    for n, p in inspect.signature(loaded).parameters.items():
        default = REQUIRED if p.default is p.empty else p.default
        default = default if default is REQUIRED or is_plain(default) else Code(repr(default))
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            found[n] = Parameter(n, default=default)
    return Signature(found, is_class=isinstance(loaded, type))


def load(target: str) -> Any:
    """Imports the class or function `module:Object`.

    Raises:
        UsageError: It is neither.
    """
    module, _, name = target.partition(":")
    package = importlib.import_module(module)
    if module == "timm":
        if not package.is_model(name):
            hint = suggest(name, package.list_models())
            raise UsageError(f"--model_name timm:{name}: timm has no such model{hint}")
        return functools.partial(package.create_model, name)
    found = getattr(package, name)
    if not callable(found):
        raise UsageError(f"{module}.{name} is a {type(found).__name__}; choose a class or function")
    return found


def parameters(target: Any) -> list[str]:
    """What a class or function takes, and its base classes through **kwargs."""
    names: list[str] = []
    owners: list[Any] = [*target.__mro__] if isinstance(target, type) else [target]
    for owner in owners:
        found = inspect.signature(owner).parameters.values()
        names += [p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in found):
            break
    return names


def offer(
    takes: Iterable[str],
    given: Mapping[str, Any],
    facts: Mapping[str, Any] | Callable[[str], Iterable[Any]],
    fits: Callable[[str, Any], bool] = lambda name, value: True,
) -> dict[str, Any]:
    """Arguments for a class or function: what was given, and what others know of the rest.

    Args:
        takes: Names of its parameters.
        given: What was chosen for some of them; that always holds.
        facts: What is known, by name; or what yields all that may be meant, the surest first.
        fits: Whether a parameter can have a value.
    """
    found = dict(given)
    for name in (name for name in takes if name not in given):
        known = facts(name) if callable(facts) else [facts[name]] if name in facts else []
        if fitting := [value for value in known if fits(name, value)]:
            found[name] = fitting[0]
    return found


def construct(target: Any, arguments: dict[str, Any], section: str = "", module: str = "") -> Any:
    """Calls a class or function with options, which are plain values.

    A name given where the default is a class or function (`act_layer=nn.GELU`) means what the file
    knows by it: `--act_layer nn.ReLU`.

    Args:
        target: The class or function.
        arguments: Its arguments by name.
        section: Where they are options.
        module: Of a network, the module it was chosen from. A name means an object there, or in the
            network's own file, also where a parameter has neither type nor default; and a mapping
            has attributes where the file asks for them.

    Raises:
        UsageError: A required argument is missing, or there is no such argument.
    """
    parameters = inspect.signature(target).parameters
    own, title = getattr(target, "__module__", ""), getattr(target, "__name__", str(target))
    scope = {"torch": sys.modules.get("torch"), "nn": sys.modules.get("torch.nn")}
    for name in (module, own):
        scope |= vars(sys.modules[name]) if name in sys.modules else {}
    fixed = [p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if module:
        ready = [p.name for p in fixed if p.default is p.empty and values.has_defaults(p, scope)]
        arguments = {name: {} for name in ready} | arguments
    if missing := [p.name for p in fixed if p.default is p.empty and p.name not in arguments]:
        functions: list[Any] = [*filter(inspect.isfunction, scope.values())]
        made = [
            f.__name__ for f in functions if f.__module__ == own and title in f.__code__.co_names
        ]
        makers = [f"{own.partition('.')[2]}:{n}" for n in made if n[0] != "_" and n != "test"]
        hint = f", or choose one of: {', '.join(makers)}" if makers else ""
        prefix = f"--{section}." if section else "--"
        options = " ".join(f"{prefix}{name} {values.form(own, name)}" for name in missing)
        raise UsageError(f"{title} needs {', '.join(missing)}; type {options}{hint}")
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if unknown := [name for name in arguments if name not in parameters and not is_open]:
        hint = suggest(unknown[0], parameters, f"; it takes {', '.join(parameters) or 'none'}")
        raise UsageError(f"{title} takes no argument '{unknown[0]}'{hint}")
    given = {
        name: values.meant(value, parameters[name], scope, module and own)
        if name in parameters
        else value
        for name, value in arguments.items()
    }
    first = [p.name for p in fixed if p.kind is p.POSITIONAL_ONLY and p.name in given]
    return target(*[given.pop(name) for name in first], **given)


def is_factory(takes: Iterable[Any]) -> bool:
    """Whether a function makes a loss: by its parameters, of which the first is no tensor."""
    first = next(iter(takes), None)
    if first is None:
        return True
    kind = getattr(first, "annotation", getattr(first, "type", None))
    is_number = kind in (bool, float, int, str, *("bool", "float", "int", "str"))
    return is_number or first.default not in (REQUIRED, inspect.Parameter.empty)


def checked(option: str, target: Callable[..., Any], *first: Any, **named: Any) -> Any:
    """Calls a library with what the user chose: what it refuses is the user's to mend.

    Raises:
        UsageError: It refuses.
    """
    try:
        names = inspect.signature(target).parameters
        return construct(target, dict(zip(names, first, strict=False)) | named)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise UsageError(f"{option}: {' '.join(str(error).split())}") from error


def is_plain(value: Any) -> bool:
    """Whether YAML and a checkpoint can hold a value without running code."""
    if isinstance(value, dict):
        return all(is_plain(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(inner) for inner in value)
    return value is None or isinstance(value, bool | int | float | str)
