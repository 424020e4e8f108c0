"""From a name to an object: what it takes, where it is imported from, what it is called with."""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

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
            return Signature(own.parameters | shared, own.help, open=True)
        if definition := Definition.find(module, name):
            return definition.signature()
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


def construct(target: Any, arguments: dict[str, Any]) -> Any:
    """Calls a class or function with options, which are plain values.

    A string given where the default is a class or function (`act_layer=nn.GELU`), or where the
    parameter has neither type nor default, is looked up in the file: `--act_layer nn.ReLU`.

    Raises:
        UsageError: A required argument is missing, or there is no such argument.
    """
    parameters = inspect.signature(target).parameters
    module, title = getattr(target, "__module__", ""), getattr(target, "__name__", str(target))
    scope = {"torch": sys.modules.get("torch"), "nn": sys.modules.get("torch.nn")}
    scope |= vars(sys.modules[module]) if module in sys.modules else {}
    fixed = [p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if missing := [p.name for p in fixed if p.default is p.empty and p.name not in arguments]:
        made = [n for n, f in scope.items() if inspect.isfunction(f) and f.__module__ == module]
        makers = [f"{module.rpartition('.')[2]}:{n}" for n in made if n[0] != "_" and n != "test"]
        hint = f", or choose one of: {', '.join(makers)}" if makers else ""
        options = " ".join(f"--{name} VALUE" for name in missing)
        raise UsageError(f"{title} needs {', '.join(missing)}; type {options}{hint}")
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if unknown := [name for name in arguments if name not in parameters and not is_open]:
        hint = suggest(unknown[0], parameters, f"; it takes {', '.join(parameters) or 'none'}")
        raise UsageError(f"{title} takes no argument '{unknown[0]}'{hint}")
    values = {n: _object(v, parameters.get(n), scope) for n, v in arguments.items()}
    first = [p.name for p in fixed if p.kind is p.POSITIONAL_ONLY and p.name in values]
    return target(*[values.pop(name) for name in first], **values)


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
    except (TypeError, ValueError) as error:
        raise UsageError(f"{option}: {error}") from error


def _object(value: Any, parameter: inspect.Parameter | None, scope: dict[str, Any]) -> Any:
    """What a string stands for where the parameter takes no string."""
    if not isinstance(value, str) or parameter is None:
        return value
    default, kind, empty = parameter.default, parameter.annotation, parameter.empty
    kind = scope.get(kind) if isinstance(kind, str) else kind
    kind = type(default) if isinstance(default, Enum) else kind
    if kind is Path:
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind.__members__.get(value, value)
    if (default is empty and kind is empty) or (default is not empty and callable(default)):
        name, *rest = value.split(".")
        found = functools.reduce(lambda o, part: getattr(o, part, None), rest, scope.get(name))
        if found is None and rest:
            raise UsageError(f"--{parameter.name} {value}: there is no such name; type nn.NAME")
        return value if found is None else found
    return value


def is_plain(value: Any) -> bool:
    """Whether YAML and a checkpoint can hold a value without running code."""
    if isinstance(value, dict):
        return all(is_plain(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(inner) for inner in value)
    return value is None or isinstance(value, bool | int | float | str)
