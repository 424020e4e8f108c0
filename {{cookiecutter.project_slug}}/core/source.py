"""Reads constructors and functions from source code, so that options need no import of torch.

`Definition.find("torch.optim", "AdamW")` follows imports from file to file until it meets the class;
`.parameters()` are its constructor's, with types, defaults and docstrings.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.util
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docstring_parser

REQUIRED = object()  # the default of a parameter that has none

# Types that an option can be checked against. Every other name in an annotation counts as Any.
_TYPES: dict[str, Any] = {name: getattr(builtins, name) for name in ("int", "float", "str", "bool")}
_TYPES |= {name: getattr(builtins, name) for name in ("list", "dict", "tuple", "set")}
_TYPES |= {name: getattr(typing, name) for name in ("Any", "Optional", "Union", "Literal")}
_TYPES |= {"List": list, "Dict": dict, "Tuple": tuple, "Set": set, "Path": str, "PathLike": str}
_TYPES |= {"Sequence": Sequence, "Iterable": Sequence}
_TYPE_MODULES = ("typing", "typing_extensions", "collections.abc", "pathlib", "os")

# Framework classes whose constructors have nothing to choose.
_ROOTS = ("Module", "Dataset", "IterableDataset", "LightningModule", "LightningDataModule")


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


class Module:
    """A Python file, parsed but not imported."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.tree = ast.parse(path.read_bytes(), filename=str(path))
        self.bindings: dict[str, Any] = {}  # name: definition, value or (module, name) of an import
        self.stars: list[str] = []
        for statement in _top_level(self.tree.body):
            self._bind(statement)

    def _bind(self, statement: ast.stmt) -> None:
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                self.bindings[statement.name] = statement
            case ast.Assign(targets=targets, value=value):
                self.bindings |= {t.id: value for t in targets if isinstance(t, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                self.bindings[name] = value
            case ast.Import(names=names):
                for alias in names:
                    full = alias.name if alias.asname else alias.name.split(".")[0]
                    self.bindings[alias.asname or full] = (full, None)
            case ast.ImportFrom(module=module, names=names, level=level):
                source = self._absolute(module or "", level)
                for alias in names:
                    if alias.name == "*":
                        self.stars.append(source)
                    else:
                        self.bindings[alias.asname or alias.name] = (source, alias.name)

    def _absolute(self, module: str, level: int) -> str:
        if not level:
            return module
        parts = self.name.split(".")
        drop = level - (self.path.name == "__init__.py")
        return ".".join([*parts[: len(parts) - drop], *filter(None, [module])])

    def defined(self) -> dict[str, ast.stmt]:
        """The classes and functions that this file defines itself, in order."""
        return {
            n: d for n, d in self.bindings.items() if isinstance(d, ast.ClassDef | ast.FunctionDef)
        }

    def binding(self, name: str) -> Any:
        """What the file binds a name to, itself or by a star import of a neighbour."""
        neighbours = (read(star) for star in self.stars if not name.startswith("_"))
        found = (module.binding(name) for module in neighbours if module and module is not self)
        return self.bindings[name] if name in self.bindings else next((f for f in found if f), None)

    def names(self) -> Iterator[str]:
        """Every name that can be imported from this file."""
        yield from self.bindings
        for star in self.stars:
            if (module := read(star)) is not None:
                yield from module.names()


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for part in ("finalbody", "orelse", "handlers", "body"):  # the last binding wins
                for inner in getattr(statement, part, []):
                    yield from _top_level(
                        inner.body if isinstance(inner, ast.ExceptHandler) else [inner]
                    )


def find_file(module: str) -> Path | None:
    """The file of a module by its dotted name, found without importing anything."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    path = (
        Path(spec.origin)
        if spec.origin
        else Path(next(iter(spec.submodule_search_locations or [""])))
    )
    for part in rest:
        path = (path.parent if path.name == "__init__.py" else path) / part
        path = path / "__init__.py" if path.is_dir() else path.with_name(path.name + ".py")
    return path if path.suffix == ".py" and path.is_file() else None


@functools.cache
def read(module: str) -> Module | None:
    """Parses a module by its dotted name; None where there is no such Python file."""
    path = find_file(module)
    return None if path is None else Module(module, path)


_found: dict[tuple[str, str], Definition | None] = {}


@dataclass(frozen=True)
class Definition:
    """A class, function or value, and the file it stands in."""

    module: Module
    node: Any

    @staticmethod
    def find(module_name: str, dotted: str) -> Definition | None:
        """Looks `dotted` up as the code of that module would, through imports and stars."""
        key = (module_name, dotted)
        if key not in _found:
            _found[key] = None  # an import that leads back here finds nothing
            _found[key] = Definition._find(*key)
        return _found[key]

    @staticmethod
    def _find(module_name: str, dotted: str) -> Definition | None:
        module = read(module_name)
        if module is None:
            return None
        name, _, rest = dotted.partition(".")
        bound = module.bindings.get(name)
        if isinstance(bound, tuple):
            source, attribute = bound
            if attribute and (
                found := Definition.find(source, ".".join(filter(None, [attribute, rest])))
            ):
                return found
            inner = f"{source}.{attribute}" if attribute else source
            return Definition.find(inner, rest) if rest else None
        if bound is not None:
            return None if rest else Definition(module, bound)
        if rest and (found := Definition.find(f"{module_name}.{name}", rest)):
            return found
        candidates = (Definition.find(star, dotted) for star in module.stars if star != module_name)
        return next((found for found in candidates if found), None)

    def resolve(self, expression: ast.expr) -> Definition | None:
        """What a name such as `nn.Module` means in this file."""
        text = ast.unparse(expression)
        return self.find(self.module.name, text) if text.replace(".", "").isidentifier() else None

    def qualified(self, expression: ast.expr) -> str:
        """The full dotted name of an expression by this file's imports: `torch.nn.Module`."""
        name, _, rest = ast.unparse(expression).partition(".")
        bound = self.module.binding(name)
        parts = bound if isinstance(bound, tuple) else (self.module.name, name)
        return ".".join(part for part in (*parts, rest) if part)

    def signature(self) -> Signature:
        """What the class or function takes.

        Raises:
            Unreadable: Where only an import can tell.
        """
        if isinstance(self.node, ast.FunctionDef):
            return self._of_function(self.node, skip_first=False)
        if not isinstance(self.node, ast.ClassDef):
            raise Unreadable
        if any("dataclass" in ast.unparse(decorator) for decorator in self.node.decorator_list):
            raise Unreadable
        about = _docstring(self.node)
        init = next(
            (n for n in self.node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"),
            None,
        )
        inherited = self._of_bases() if init is None else self._of_function(init, skip_first=True)
        documented = {p.arg_name: p.description or "" for p in about.params}
        parameters = {
            name: replace(parameter, help=parameter.help or documented.get(name, ""))
            for name, parameter in inherited.parameters.items()
        }
        return Signature(parameters, about.short_description or inherited.help, inherited.open)

    def _of_bases(self) -> Signature:
        for base in self.node.bases:
            if self.qualified(base).rpartition(".")[2] in (*_ROOTS, "object", "ABC"):
                continue
            if (
                found := self.resolve(base.value if isinstance(base, ast.Subscript) else base)
            ) is None:
                raise Unreadable
            if (signature := found.signature()).parameters:
                return signature
        return Signature({})

    def _of_function(self, function: ast.FunctionDef, skip_first: bool) -> Signature:
        about = _docstring(function)
        documented = {p.arg_name: p.description or "" for p in about.params}
        args = function.args
        positional = [*args.posonlyargs, *args.args]
        defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
        pairs = [*zip(positional, defaults, strict=True)][skip_first:]
        parameters = {
            a.arg: self._parameter(a, default, documented.get(a.arg, "")) for a, default in pairs
        }
        for a, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            parameters[a.arg] = replace(
                self._parameter(a, default, documented.get(a.arg, "")), keyword_only=True
            )
        is_open = False
        if args.kwarg:
            more, is_open = self._forwarded(function, args.kwarg.arg)
            parameters |= {n: p for n, p in more.items() if n not in parameters}
        return Signature(parameters, about.short_description or "", is_open)

    def _parameter(self, arg: ast.arg, default: ast.expr | None, text: str) -> Parameter:
        value = REQUIRED if default is None else self._literal(default)
        kind = _type_of(value) if arg.annotation is None else self.evaluate(arg.annotation)
        if value is None and kind is not Any:
            kind = typing.Optional[kind]  # noqa: UP045 - kind is a value here
        return Parameter(arg.arg, kind, value, text)

    def _literal(self, default: ast.expr) -> Any:
        try:
            return ast.literal_eval(default)
        except ValueError:
            constant = self.resolve(default)
        try:
            return ast.literal_eval(constant.node) if constant else Code(ast.unparse(default))
        except ValueError:
            return Code(ast.unparse(default))

    def _forwarded(
        self, function: ast.FunctionDef, kwargs: str
    ) -> tuple[dict[str, Parameter], bool]:
        """Parameters that reach others through **kwargs, and whether some can't be told."""
        found: dict[str, Parameter] = {}
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            match call.func:
                case ast.Attribute(value=ast.Name(id=name), attr="get" | "pop") if name == kwargs:
                    key, *default = [self._literal(argument) for argument in call.args]
                    value = default[0] if default else None
                    found[key] = Parameter(key, _type_of(value), value, forwarded=True)
            if any(k.arg is None and ast.unparse(k.value) == kwargs for k in call.keywords):
                signature = self._callee(call)
                if signature is None:
                    return found, True
                given = {k.arg for k in call.keywords} | {
                    *[*signature.parameters][: len(call.args)]
                }
                more = {
                    n: p for n, p in signature.parameters.items() if n not in given | found.keys()
                }
                found |= {n: replace(p, forwarded=True) for n, p in more.items()}
                if signature.open:
                    return found, True
        used = any(isinstance(node, ast.Name) and node.id == kwargs for node in ast.walk(function))
        return found, used and not found

    def _callee(self, call: ast.Call) -> Signature | None:
        text = ast.unparse(call.func)
        if text.startswith("super(") and text.endswith(".__init__"):
            return self._of_bases() if isinstance(self.node, ast.ClassDef) else None
        target = self.resolve(call.func)
        return target.signature() if target else None

    def evaluate(self, annotation: ast.expr) -> Any:
        """An annotation as a type to check options against."""
        match annotation:
            case ast.Constant(value=None):
                return None
            case ast.Constant(value=str(text)):
                try:
                    return self.evaluate(ast.parse(text.strip(), mode="eval").body)
                except SyntaxError:  # prose
                    return Any
            case ast.Constant(value=constant):
                return constant  # the Ellipsis of tuple[int, ...]
            case ast.Name() | ast.Attribute():
                return self._named_type(annotation)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return typing.Union[self.evaluate(left), self.evaluate(right)]  # noqa: UP007
            case ast.Subscript(value=base, slice=inner):
                kind = self.evaluate(base)
                if kind is typing.Literal:
                    return typing.Literal[ast.literal_eval(inner)]
                if ast.unparse(base).rpartition(".")[2] == "Annotated" and isinstance(
                    inner, ast.Tuple
                ):
                    return self.evaluate(inner.elts[0])
                elements = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                types = tuple(self.evaluate(element) for element in elements)
                return Any if kind is Any else kind[types if len(types) > 1 else types[0]]
        return Any

    def _named_type(self, name: ast.expr) -> Any:
        origin, _, short = self.qualified(name).rpartition(".")
        if short in _TYPES and origin in (self.module.name, *_TYPE_MODULES):
            return _TYPES[short]
        alias = self.resolve(name)
        if alias and isinstance(alias.node, ast.expr):  # Size = Union[int, tuple[int, int]]
            return alias.evaluate(alias.node)
        return Any


def _type_of(default: Any) -> Any:
    """The type of a parameter that has no annotation, by its default."""
    match default:
        case bool():
            return bool
        case int():
            return int | float
        case float() | str():
            return type(default)
    return Any


def _docstring(node: Any) -> docstring_parser.Docstring:
    try:
        return docstring_parser.parse(ast.get_docstring(node) or "")
    except docstring_parser.ParseError:
        return docstring_parser.Docstring()
