"""From a name to an object: what it takes, where it is imported from, what it is called with."""

import ast
import functools
import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from core.cli.names import suggest
from core.cli.source import REQUIRED, Code, Definition, Parameter, Signature, Unreadable, read
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
    if module:  # a dataclass of which nothing was chosen
        kinds = {p.name: _dataclass(p, scope) for p in fixed if p.default is p.empty}
        ready = {n: k for n, k in kinds.items() if k and not any(map(_is_required, fields(k)))}
        arguments = {n: {} for n in ready} | arguments
    if missing := [p.name for p in fixed if p.default is p.empty and p.name not in arguments]:
        functions: list[Any] = [*filter(inspect.isfunction, scope.values())]
        made = [
            f.__name__ for f in functions if f.__module__ == own and title in f.__code__.co_names
        ]
        makers = [f"{own.partition('.')[2]}:{n}" for n in made if n[0] != "_" and n != "test"]
        hint = f", or choose one of: {', '.join(makers)}" if makers else ""
        prefix = f"--{section}." if section else "--"
        options = " ".join(f"{prefix}{name} {_form(own, name)}" for name in missing)
        raise UsageError(f"{title} needs {', '.join(missing)}; type {options}{hint}")
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if unknown := [name for name in arguments if name not in parameters and not is_open]:
        hint = suggest(unknown[0], parameters, f"; it takes {', '.join(parameters) or 'none'}")
        raise UsageError(f"{title} takes no argument '{unknown[0]}'{hint}")
    values = {n: _meant(v, parameters.get(n), scope, module and own) for n, v in arguments.items()}
    first = [p.name for p in fixed if p.kind is p.POSITIONAL_ONLY and p.name in values]
    return target(*[values.pop(name) for name in first], **values)


def _form(module: str, name: str) -> str:
    """How a value is typed: a class by name; of what is used by attribute, which there are."""
    if is_called(module, name):
        return "CLASS"
    used = attributes_of(module, name)
    return f"'{{{', '.join(f'{attribute}: VALUE' for attribute in used)}}}'" if used else "VALUE"


def _dataclass(parameter: inspect.Parameter, scope: dict[str, Any]) -> Any:
    """The dataclass that is a parameter's type; None if it has another."""
    kind = parameter.annotation
    if isinstance(kind, str):
        kind = scope.get(kind.replace("Optional[", "").strip("] ").partition(" |")[0])
    for inner in (kind, type(parameter.default), *typing.get_args(kind)):
        if isinstance(inner, type) and is_dataclass(inner):
            return inner
    return None


def _is_required(field: Field[Any]) -> bool:
    return field.init and field.default is MISSING and field.default_factory is MISSING


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
        raise UsageError(f"{option}: {error}") from error


def _meant(value: Any, parameter: Any, scope: dict[str, Any], module: str) -> Any:
    """What a string stands for where the parameter takes no string, and a mapping of attributes."""
    if parameter is None or not isinstance(value, str | dict):
        return value
    if isinstance(value, dict):
        return _filled(value, parameter, scope) if module else value
    name, default, kind = parameter.name, parameter.default, parameter.annotation
    kind = scope.get(kind) if isinstance(kind, str) else kind
    kind = type(default) if isinstance(default, Enum) else kind
    if kind is Path:
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = kind.__members__ | {str(member.value): member for member in kind}
        if value not in members:
            hint = suggest(value, members, f"; choose one of: {', '.join(kind.__members__)}")
            raise UsageError(f"--{name} {value}: no member of {kind.__name__}{hint}")
        return members[value]
    empty = parameter.empty
    takes_object = default is not empty and callable(default)
    if module and not takes_object:
        text = str(parameter.annotation)
        is_open = kind is empty or "Callable" in text or "Module" in text or "type" in text.lower()
        takes_object = is_open and is_called(module, name)
        if not takes_object and not (is_open and default in (empty, None)):
            return value
    elif not takes_object:
        return value
    found = _object(value, scope)
    if found is None and takes_object:
        found = getattr(scope["nn"], value, None)
    first, dot, last = value.partition(".")
    is_in_module = bool(dot) and isinstance(scope.get(first), ModuleType)
    if found is None and (is_in_module or (takes_object and module)):
        own = [n for n, v in scope.items() if inspect.isclass(v) or inspect.isfunction(v)]
        there = dir(scope[first]) if is_in_module else [*own, *dir(scope["nn"])]
        hint = suggest(last or value, there, "; type it in full, as package.Name")
        raise UsageError(f"--{name} {value}: there is no such name{hint}")
    return value if found is None else found


def _filled(value: dict[str, Any], parameter: inspect.Parameter, scope: dict[str, Any]) -> Any:
    """A mapping as the dataclass that is asked for, or with attributes where they are used."""
    name, default = parameter.name, parameter.default
    if kind := _dataclass(parameter, scope):
        if is_dataclass(default) and not isinstance(default, type):
            value = {f.name: getattr(default, f.name) for f in fields(default)} | value
        try:
            return kind(**value)
        except TypeError as error:
            raise UsageError(f"--{name}: {error}") from error
    is_mapping = parameter.annotation in (dict, Mapping) or "dict" in str(parameter.annotation)
    if is_mapping or not attributes_of(str(scope["__name__"]), name):
        return value
    return _attributes(value, name)


def _object(name: str, scope: dict[str, Any]) -> Any:
    """The class or function of a name in a file, or of a full name; None if there is none."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    first, *rest = name.split(".")
    found = functools.reduce(lambda o, part: getattr(o, part, None), rest, scope.get(first))
    path, _, last = name.rpartition(".")
    if found is None and path and Definition.find(path, last):
        found = load(f"{path}:{last}")
    return found if callable(found) else None


class Attributes(dict[str, Any]):
    """A mapping whose values are attributes, too: `configs.seq_len`."""

    option = ""

    def __init__(self, values: dict[str, Any]) -> None:
        inner = ((n, _attributes(v, f"{self.option}.{n}")) for n, v in values.items())
        super().__init__(inner)
        self.__dict__ = self

    def __getattr__(self, attribute: str) -> Any:  # for what is not there
        raise _Missing(f"--{self.option} has no '{attribute}'; add {attribute}: VALUE to it")


def _attributes(value: Any, option: str) -> Any:
    is_mapping = isinstance(value, dict)
    return type("Attributes", (Attributes,), {"option": option})(value) if is_mapping else value


class _Missing(UsageError, AttributeError):
    """An attribute that nobody gave."""


@functools.cache
def attributes_of(module: str, name: str) -> list[str]:
    """The attributes that a file asks of whatever has a name, such as `configs`."""
    found = read(module)
    nodes = [n for n in ast.walk(found.tree) if isinstance(n, ast.Attribute)] if found else []
    nodes.sort(key=lambda node: (node.lineno, node.col_offset))
    names = [n.attr for n in nodes if isinstance(n.value, ast.Name) and n.value.id == name]
    return [n for n in dict.fromkeys(names) if not hasattr(dict, n)]


@functools.cache
def is_called(module: str, name: str) -> bool:
    """Whether a file calls whatever has a name, such as `block(64, 64)`."""
    found = read(module)
    calls = [n.func for n in ast.walk(found.tree) if isinstance(n, ast.Call)] if found else []
    return any(ast.unparse(function) in (name, f"self.{name}") for function in calls)


def is_plain(value: Any) -> bool:
    """Whether YAML and a checkpoint can hold a value without running code."""
    if isinstance(value, dict):
        return all(is_plain(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(inner) for inner in value)
    return value is None or isinstance(value, bool | int | float | str)
