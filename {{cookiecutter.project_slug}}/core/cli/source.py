"""Reads constructors and functions from source code, so that options need no import of torch.

`Definition.find("torch.optim", "AdamW")` follows imports from file to file until it meets the
class; its `signature()` are the constructor's parameters with types, defaults and docstrings.
"""

import ast
import contextlib
import functools
import importlib.util
import sys
import typing
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docstring_parser

from core.cli.neighbours import neighbour

REQUIRED = object()  # the default of a parameter that has none

# Types that an option can be checked against. Every other name in an annotation counts as Any.
_TYPES: dict[str, Any] = {t.__name__: t for t in (int, float, str, bool, list, dict, tuple, set)}
_TYPES |= {n: getattr(typing, n) for n in ("Any", "Optional", "Union", "Literal")}
_TYPES |= {"List": list, "Dict": dict, "Tuple": tuple, "Set": set}
_TYPES |= {"Sequence": Sequence, "Iterable": Sequence, "Path": str, "PathLike": str}
_TYPES |= {"Tensor": list}

# Classes whose constructors have nothing to choose.
_ROOTS = ("Module", "Dataset", "IterableDataset", "LightningModule", "object", "ABC", "Generic")


class Unreadable(Exception):
    """The source does not tell; importing may."""


@dataclass(frozen=True)
class Code:
    """A default that is no literal, as its source text: `nn.GELU`."""

    text: str


@dataclass(frozen=True)
class Parameter:
    """One parameter of a constructor or function."""

    name: str
    type: Any = Any
    default: Any = REQUIRED  # a plain value, Code or REQUIRED
    help: str = ""
    keyword_only: bool = False
    forwarded: bool = False  # reaches another function through **kwargs


@dataclass(frozen=True)
class Signature:
    """What a class or function takes."""

    parameters: dict[str, Parameter]
    help: str = ""
    open: bool = False  # takes further keywords that the source does not name
    is_class: bool = False


class Module:
    """A Python file, parsed but not imported."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        # What each name is bound to: a definition, a value, or (module, name) of an import.
        self.bindings: dict[str, Any] = {}
        self.stars: list[str] = []
        self.tree = ast.parse(path.read_bytes(), str(path))
        for statement in _top_level(self.tree.body):
            self._bind(statement)

    def _bind(self, statement: ast.stmt) -> None:
        match statement:
            case ast.ClassDef() | ast.FunctionDef():
                self.bindings[statement.name] = statement
            case ast.Assign(targets=targets, value=value):
                self.bindings |= {t.id: value for t in targets if isinstance(t, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.bindings[name] = value
            case ast.Import(names=names):
                for alias in names:
                    full = alias.name if alias.asname else alias.name.split(".")[0]
                    self.bindings[alias.asname or full] = (neighbour(self.name, full) or full, "")
            case ast.ImportFrom(module=module, names=names, level=level):
                package = self.name.split(".") + [""] * (self.path.name == "__init__.py")
                origin = ".".join([*package[: len(package) - level], *([module] if module else [])])
                origin = origin if level else neighbour(self.name, str(module)) or str(module)
                for alias in names:
                    self.bindings[alias.asname or alias.name] = (origin, alias.name)
                if names[0].name == "*":
                    self.stars.append(origin)

    def defined(self) -> list[str]:
        """The classes and functions that the file defines itself, in order."""
        kinds = ast.ClassDef | ast.FunctionDef
        return [name for name, node in self.bindings.items() if isinstance(node, kinds)]

    def names(self) -> Iterator[str]:
        """Every name that can be imported from the file."""
        yield from (name for name in self.bindings if name != "*")
        for star in self.stars:
            if (module := read(star)) is not None:
                yield from module.exported()

    def exported(self) -> list[str]:
        """The names that `import *` takes from the file."""
        with contextlib.suppress(ValueError, TypeError, SyntaxError):
            return (
                [*ast.literal_eval(self.bindings["__all__"])]
                if "__all__" in self.bindings
                else [name for name in self.names() if not name.startswith("_")]
            )
        return [*self.names()]

    def binding(self, name: str) -> Any:
        """What a name is bound to, here or in a file whose names are all imported; else None."""
        if name in self.bindings:
            return self.bindings[name]
        files = [file for star in self.stars if (file := read(star)) and name in file.exported()]
        return next((found for file in files if (found := file.binding(name))), None)


def _top_level(body: list[Any]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        for part in ("finalbody", "orelse", "handlers", "body"):  # the last binding wins
            if isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
                yield from _top_level(getattr(statement, part, []))


@functools.cache
def read(module: str) -> Module | None:
    """Parses a module by its dotted name; None where there is no such Python file."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name: imports nothing
    except (ImportError, ValueError):
        return None
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    path = next((Path(place) for place in places if place), Path())
    for part in rest:
        path = (path.parent if path.name == "__init__.py" else path) / part
        path = path / "__init__.py" if path.is_dir() else path.with_name(f"{part}.py")
    return Module(module, path) if path.suffix == ".py" and path.is_file() else None


_found: dict[tuple[str, str], "Definition | None"] = {}


@dataclass(frozen=True)
class Definition:
    """A class, function or value, and the file it stands in."""

    module: Module
    node: Any

    @staticmethod
    def find(module: str, dotted: str) -> "Definition | None":
        """Looks `dotted` up as the code of that module would, through imports."""
        key = (module, dotted)
        if key not in _found:
            _found[key] = None  # what an import that leads back here finds
            _found[key] = Definition._search(*key)
        return _found[key]

    @staticmethod
    def _search(module_name: str, dotted: str) -> "Definition | None":
        module = read(module_name)
        if module is None:
            return None
        name, _, rest = dotted.partition(".")
        bound = module.bindings.get(name)
        if isinstance(bound, tuple):
            origin, attribute = bound
            found = Definition.find(origin, f"{attribute}.{rest}".strip("."))
            inner = f"{origin}.{attribute}".strip(".")
            return found or (Definition.find(inner, rest) if rest else None)
        if bound is not None:
            return None if rest else Definition(module, bound)
        if rest and (found := Definition.find(f"{module_name}.{name}", rest)):
            return found
        stars = (s for s in module.stars if (file := read(s)) and name in file.exported())
        return next((d for star in stars if (d := Definition.find(star, dotted))), None)

    def resolve(self, expression: ast.expr) -> "Definition | None":
        """What a name such as `nn.Module` means in this file."""
        text = ast.unparse(expression)
        known = text.replace(".", "").isidentifier()
        return self.find(self.module.name, text) if known else None

    def qualified(self, expression: ast.expr) -> str:
        """The full dotted name of an expression by this file's imports: `torch.nn.Module`."""
        name, _, rest = ast.unparse(expression).partition(".")
        bound = self.module.binding(name)
        parts = bound if isinstance(bound, tuple) else (self.module.name, name)
        return ".".join(part for part in (*parts, rest) if part)

    def signature(self) -> Signature:
        """What the class or function takes.

        Raises:
            Unreadable: Only an import can tell.
        """
        if isinstance(self.node, ast.FunctionDef):
            return self._of_function(self.node)
        if not isinstance(self.node, ast.ClassDef):
            raise Unreadable
        if "dataclass" in "".join(map(ast.unparse, self.node.decorator_list)):
            raise Unreadable
        methods = (n for n in self.node.body if isinstance(n, ast.FunctionDef))
        makers = {method.name: method for method in methods}
        init = makers.get("__init__", makers.get("__new__"))
        found = self._of_function(init, skip=1) if init else self._of_bases()
        summary, texts = _documentation(self.node)
        parameters = {
            n: replace(p, help=p.help or texts.get(n, "")) for n, p in found.parameters.items()
        }
        return Signature(parameters, summary or found.help, found.open, is_class=True)

    def _of_bases(self) -> Signature:
        for base in self.node.bases:
            base = base.value if isinstance(base, ast.Subscript) else base  # Dataset[Tensor]
            if ast.unparse(base).rpartition(".")[2] not in _ROOTS:
                if (found := self.resolve(base)) is None:
                    raise Unreadable
                if (signature := found.signature()).parameters:
                    return signature
        return Signature({})

    def _of_function(self, function: ast.FunctionDef, skip: int = 0) -> Signature:
        summary, texts = _documentation(function)
        args = function.args
        named = [*args.posonlyargs, *args.args][skip:]
        defaults = [None] * (len(named) - len(args.defaults)) + [*args.defaults]
        parameters = {
            arg.arg: self._parameter(arg, default, texts.get(arg.arg, ""), arg in args.kwonlyargs)
            for arg, default in zip(
                [*named, *args.kwonlyargs], [*defaults, *args.kw_defaults], strict=True
            )
        }
        more, is_open = self._forwarded(function, args.kwarg.arg) if args.kwarg else ({}, False)
        return Signature(parameters | {**more, **parameters}, summary, is_open)

    def _parameter(
        self, arg: ast.arg, default: ast.expr | None, text: str, keyword_only: bool
    ) -> Parameter:
        value = self._literal(default) if default else REQUIRED
        kind = self._type(arg.annotation) if arg.annotation else _type_of(value)
        if kind is float and type(value) is int:
            value = float(value)
        if value is None and kind is not Any:
            kind = typing.Optional[kind]  # noqa: UP045 - kind is a value here
        return Parameter(arg.arg, kind, value, text, keyword_only)

    def _literal(self, default: ast.expr) -> Any:
        constant = self.resolve(default)
        for node in (default, constant.node if constant else default):
            try:
                return ast.literal_eval(node)
            except (ValueError, TypeError):
                continue
        return Code(ast.unparse(default))

    def _forwarded(
        self, function: ast.FunctionDef, kwargs: str
    ) -> tuple[dict[str, Parameter], bool]:
        """What reaches others through **kwargs, and whether there is more that can't be told."""
        found: dict[str, Parameter] = {}
        merged: dict[str, set[str | None]] = {kwargs: set()}  # dict(a=1, **kwargs), too, by name
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as made):
                    merged |= (
                        {name: {k.arg for k in made.keywords}} if _merges(made, merged) else {}
                    )
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            callee = ast.unparse(call.func)
            inner = [k.value for k in call.keywords if k.arg is None]
            if callee == "dict":
                continue
            if callee in (f"{kwargs}.get", f"{kwargs}.pop"):
                name, *default = [self._literal(argument) for argument in call.args]
                value = default[0] if default else None
                found[name] = Parameter(name, _type_of(value), value, forwarded=True)
            if any(ast.unparse(value) in merged or _merges(value, merged) for value in inner):
                is_super = callee.startswith("super(") and isinstance(self.node, ast.ClassDef)
                target = self.resolve(call.func)
                if not is_super and target is None:
                    return found, True
                signature = target.signature() if target else self._of_bases()
                given = {k.arg for k in call.keywords}
                given |= {k.arg for v in inner if isinstance(v, ast.Call) for k in v.keywords}
                given = given.union(*(merged.get(ast.unparse(v), ()) for v in inner))
                given |= {*[*signature.parameters][: len(call.args)], *found}
                more = {n: p for n, p in signature.parameters.items() if n not in given}
                found |= {n: replace(p, forwarded=True) for n, p in more.items()}
                if signature.open:
                    return found, True
        uses = [n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == kwargs]
        return found, bool(uses and not found)

    def _type(self, annotation: ast.expr) -> Any:
        """An annotation as a type to check options against."""
        match annotation:
            case ast.Constant(value=str(text)):
                try:
                    return self._type(ast.parse(text.strip(), mode="eval").body)
                except SyntaxError:  # prose
                    return Any
            case ast.Constant(value=value):  # None, and the dots of tuple[int, ...]
                return value
            case ast.Name() | ast.Attribute():
                origin, _, short = self.qualified(annotation).rpartition(".")
                is_known = origin == "torch" or origin.partition(".")[0] in sys.stdlib_module_names
                if is_known or short in _ROOTS:
                    return _TYPES.get(short, Any)
                if origin == self.module.name and short in _TYPES:
                    return _TYPES[short]
                alias = self.resolve(annotation)  # Size = Union[int, tuple[int, int]]
                is_type = alias is not None and isinstance(alias.node, ast.expr)
                return alias._type(alias.node) if alias and is_type else Any
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return typing.Union[self._type(left), self._type(right)]  # noqa: UP007
            case ast.Subscript(value=base, slice=ast.expr() as inner):
                kind = self._type(base)
                if kind is typing.Literal:
                    return typing.Literal[ast.literal_eval(inner)]
                return Any if kind is Any else kind[self._type(inner)]
            case ast.Tuple(elts=elements):
                return tuple(self._type(element) for element in elements)
        return Any


def _merges(node: ast.expr, names: Container[str]) -> bool:
    """Whether it is `dict(…, **kwargs)`."""
    is_dict = isinstance(node, ast.Call) and ast.unparse(node.func) == "dict"
    inner = [k.value for k in getattr(node, "keywords", []) if k.arg is None]
    return is_dict and any(ast.unparse(value) in names for value in inner)


def definition(target: str) -> Definition | None:
    """Where `module:Object` is defined; None if no source tells."""
    module, _, name = target.partition(":")
    return Definition.find(module, name)


def literals(kind: Any) -> Iterator[Any]:
    """The values that a type names: `"min"` and `"max"` of `Literal["min", "max"] | None`."""
    for argument in typing.get_args(kind):
        if typing.get_origin(kind) is typing.Literal:
            yield argument
        else:
            yield from literals(argument)


def _type_of(default: Any) -> Any:
    """The type of a parameter that has no annotation, by its default."""
    if isinstance(default, bool | float | str):
        return type(default)
    return int | float if isinstance(default, int) else Any


def _documentation(node: Any) -> tuple[str, dict[str, str]]:
    """The first line of a docstring, and what it says of each parameter."""
    try:
        found = docstring_parser.parse(ast.get_docstring(node) or "")
    except docstring_parser.ParseError:
        return "", {}
    return found.short_description or "", {p.arg_name: p.description or "" for p in found.params}
