"""What a typed value means to the parameter of a class: a member, a class by name, a dataclass."""

import ast
import functools
import importlib
import inspect
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

from core.cli.names import suggest
from core.cli.source import Definition, read
from core.errors import UsageError

Scope = dict[str, Any]  # what a file knows, by name


def meant(value: Any, parameter: Parameter, scope: Scope, module: str) -> Any:
    """What a plain value stands for.

    Args:
        value: As typed.
        parameter: What it is for.
        scope: The names of its file.
        module: Of a network its module, whose code tells how a parameter is used; else "".

    Raises:
        UsageError: It stands for nothing that there is.
    """
    if isinstance(value, dict) and module:
        return _filled(value, parameter, scope)
    if not isinstance(value, str):
        return value
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
    return _named(value, parameter, scope, module)


def _named(value: str, parameter: Parameter, scope: Scope, module: str) -> Any:
    """The class or function of a name, where one is meant; else the text as it is."""
    default, empty = parameter.default, parameter.empty
    is_sure = default is not empty and callable(default)
    if not is_sure and not module:
        return value
    if not is_sure:
        kind = str(parameter.annotation).lower()
        is_open = parameter.annotation is empty or any(
            w in kind for w in ("callable", "type", "module")
        )
        is_sure = is_open and is_called(module, parameter.name)
        if not is_sure and not (is_open and default in (empty, None)):
            return value
    found = _object(value, scope)
    if found is None and is_sure:
        found = getattr(scope["nn"], value, None)
    first, dot, last = value.partition(".")
    is_inner = bool(dot) and isinstance(scope.get(first), ModuleType)
    if found is None and (is_inner or (is_sure and module)):
        own = [n for n, v in scope.items() if inspect.isclass(v) or inspect.isfunction(v)]
        known = dir(scope[first]) if is_inner else [*own, *dir(scope["nn"])]
        hint = suggest(last or value, known, "; type it in full, as package.Name")
        raise UsageError(f"--{parameter.name} {value}: there is no such name{hint}")
    return value if found is None else found


def _object(name: str, scope: Scope) -> Any:
    """The class or function of a name in a file, or of a full name; None if there is none."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    first, *rest = name.split(".")
    found = functools.reduce(lambda o, part: getattr(o, part, None), rest, scope.get(first))
    path, _, last = name.rpartition(".")
    if found is None and path and Definition.find(path, last):
        found = getattr(importlib.import_module(path), last)
    return found if callable(found) else None


def _filled(value: dict[str, Any], parameter: Parameter, scope: Scope) -> Any:
    """A mapping as the dataclass that is asked for, or with attributes where they are used."""
    name, default, kind = parameter.name, parameter.default, _dataclass(parameter, scope)
    if kind:
        if is_dataclass(default) and not isinstance(default, type):
            value = {f.name: getattr(default, f.name) for f in fields(default)} | value
        try:
            return kind(**value)
        except TypeError as error:
            raise UsageError(f"--{name}: {error}") from error
    is_mapping = parameter.annotation is Mapping or "dict" in str(parameter.annotation)
    is_used = not is_mapping and attributes_of(str(scope["__name__"]), name)
    return _attributes(value, name) if is_used else value


def _dataclass(parameter: Parameter, scope: Scope) -> Any:
    """The dataclass that is a parameter's type; None if it has another."""
    kind = parameter.annotation
    if isinstance(kind, str):
        kind = scope.get(kind.replace("Optional[", "").strip("] ").partition(" |")[0])
    kinds = (kind, type(parameter.default), *typing.get_args(kind))
    return next((k for k in kinds if isinstance(k, type) and is_dataclass(k)), None)


def has_defaults(parameter: Parameter, scope: Scope) -> bool:
    """Whether a parameter is a dataclass that can be made of nothing."""
    kind = _dataclass(parameter, scope)
    missing = [f for f in fields(kind) if f.default is f.default_factory is MISSING] if kind else []
    return kind is not None and not missing


class Attributes(dict[str, Any]):
    """A mapping whose values are attributes, too: `configs.seq_len`."""

    option = ""

    def __init__(self, values: dict[str, Any]) -> None:
        inner = ((n, _attributes(v, f"{self.option}.{n}")) for n, v in values.items())
        super().__init__(inner)
        self.__dict__ = self

    def __getattr__(self, attribute: str) -> Any:  # for what is not there
        raise _Missing(f"--{self.option} has no '{attribute}'; add {attribute}: VALUE to it")


class _Missing(UsageError, AttributeError):
    """An attribute that nobody gave."""


def _attributes(value: Any, option: str) -> Any:
    is_mapping = isinstance(value, dict)
    return type("Attributes", (Attributes,), {"option": option})(value) if is_mapping else value


def form(module: str, name: str) -> str:
    """How a value is typed: a class by name; of what is used by attribute, which there are."""
    if is_called(module, name):
        return "CLASS"
    used = ", ".join(f"{attribute}: VALUE" for attribute in attributes_of(module, name))
    return f"'{{{used}}}'" if used else "VALUE"


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
