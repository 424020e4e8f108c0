"""Which object a file or folder was dropped in for."""

import ast
import contextlib
import re
from collections.abc import Iterator

from core import ROOT
from core.cli.facts import is_known
from core.cli.neighbours import is_dropped_in
from core.cli.source import REQUIRED, Definition, Module, Unreadable, read

Named = dict[str, Definition]


def plain(name: str) -> str:
    """A name without case, underscores and hyphens."""
    return name.lower().replace("_", "").replace("-", "")


def camel(name: str) -> str:
    """`MobileNet` of `mobile_net`; of a file in a folder, `pkg.net`, `Net`."""
    words = re.split("[_-]", name.rpartition(".")[2])
    return "".join(word[:1].upper() + word[1:] for word in words)


def choose(path: str, bases: tuple[str, ...], wanted: str = "") -> list[str]:
    """The object of a file or folder that has its name, or else that none of its others uses.

    Args:
        path: The module, such as `model.resnet`.
        bases: What a class derives from, as the beginnings of full names.
        wanted: The name of a class; it may stand in any file of a folder.

    Returns:
        It, as `module:Object`; several if they would all do, none if there is none.
    """
    name, module = path.rpartition(".")[2], read(path)
    if module and not wanted:
        own = {n: Definition(module, module.bindings[n]) for n in module.defined()}
        if found := _same(own, name):  # without a look at its imports
            return [f"{path}:{found}"]
        every = {n: d for n in module.names() if (d := Definition.find(path, n))}
        if found := _same(every, name):
            return [f"{path}:{found}"]
        here = {n: d for n, d in every.items() if d.module is module or _belongs(d.module, module)}
        here = here or every  # a file that only passes on what others define
        nets = {n: d for n, d in here.items() if derives(d, bases)}
        makers = {n: d for n, d in here.items() if _is_maker(n, d)}
        if free := _free(nets, makers):
            return [f"{path}:{n}" for n in free]
    nets = there(path, () if wanted else bases)
    if wanted:
        return [target for target in nets if target.partition(":")[2] == wanted]
    same = [target for target in nets if plain(target.partition(":")[2]) == plain(name)]
    return same or unused(nets)


def _free(nets: Named, makers: Named) -> list[str]:
    """The classes that no other uses; in place of one that nobody can make, what makes it."""
    free = unused(nets)
    if free and not all(_needs_more(nets[name]) for name in free):
        return free
    ids = {_id(nets[name]) for name in free}
    using = {n: d for n, d in makers.items() if not ids or ids & _used(d)}
    found = unused(using)
    return found if len(found) == 1 else [*found, *free]


def there(path: str, bases: tuple[str, ...] = ("",)) -> Named:
    """The classes in a file, or in all files of a folder, by `module:Object`.

    Those that derive from what one of the names begins; without a name all, and functions, too.
    """
    folder, found = ROOT.joinpath(*path.split(".")), Named()
    files = (
        sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_name(f"{folder.name}.py")]
    )
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        with contextlib.suppress(SyntaxError):  # of what need not be read
            if not any(part.startswith((".", "test")) for part in parts) and (module := read(name)):
                here = {n: Definition(module, module.bindings[n]) for n in module.defined()}
                found |= {
                    f"{name}:{n}": d for n, d in here.items() if not bases or derives(d, bases)
                }
    return found


def _same(found: Named, name: str) -> str | None:
    """The class of a name, or the function where there is none that could be made."""
    same = {n: d for n, d in found.items() if plain(n) == plain(name)}
    best: dict[type, str] = {}
    for kind in (ast.ClassDef, ast.FunctionDef):
        names = [n for n, d in same.items() if isinstance(d.node, kind)]
        if camel(name) in names or len(names) == 1:
            best[kind] = camel(name) if camel(name) in names else names[0]
    first, maker = best.get(ast.ClassDef), best.get(ast.FunctionDef)
    return maker if maker and (not first or _needs_more(same[first])) else first


def _is_maker(name: str, definition: Definition) -> bool:
    is_public = not name.startswith(("_", "test")) and name != "main"
    return is_public and isinstance(definition.node, ast.FunctionDef)


def _needs_more(definition: Definition) -> bool:
    """Whether a class can't be made without what nobody can know, such as `block`."""
    try:
        parameters = definition.signature().parameters.values()
    except Unreadable:
        return False
    return any(p.default is REQUIRED and not is_known(p) for p in parameters)


def _belongs(file: Module, module: Module) -> bool:
    """Whether a file is part of the folder that was chosen."""
    return module.path.name == "__init__.py" and module.path.parent in file.path.parents


def derives(definition: Definition | None, bases: tuple[str, ...]) -> bool:
    """Whether a class derives, through any file, from what one of these names begins."""
    expressions = getattr(definition.node, "bases", []) if definition else []
    return any(
        definition.qualified(base).startswith(bases) or derives(definition.resolve(base), bases)
        for base in expressions
        if definition
    )


def has_method(found: Definition | None, name: str, bases: tuple[str, ...]) -> bool:
    """Whether a class, or one that it derives from on the way to one of `bases`, has a method."""
    if found is None or not isinstance(found.node, ast.ClassDef):
        return False
    if any(isinstance(node, ast.FunctionDef) and node.name == name for node in found.node.body):
        return True
    more = [base for base in found.node.bases if not found.qualified(base).startswith(bases)]
    return any(has_method(found.resolve(base), name, bases) for base in more)


def is_a(found: Definition | None, other: Definition | None) -> bool:
    """Whether a class is another one, or derives from it."""
    bases = [found.resolve(base) for base in getattr(found.node, "bases", [])] if found else []
    return found == other or any(is_a(base, other) for base in bases if base)


def unused(found: Named) -> list[str]:
    """Those that none of the others uses, also by way of functions, constants and other files."""
    uses = {name: _used(definition) for name, definition in found.items()}
    ids = {name: _id(definition) for name, definition in found.items()}

    def is_helper(name: str) -> bool:
        users = (n for n in found if ids[n] != ids[name] and ids[name] in uses[n])
        return any(ids[user] not in uses[name] for user in users)

    first = {id_: name for name, id_ in reversed(ids.items())}  # of several names for one
    return [name for name in found if first[ids[name]] == name and not is_helper(name)]


def _id(definition: Definition) -> tuple[str, int]:
    return definition.module.name, id(definition.node)


def _used(definition: Definition) -> set[tuple[str, int]]:
    """All that the code of an object leads to, in dropped-in files."""
    seen: set[tuple[str, int]] = set()
    todo = [*_mentioned(definition)]
    while todo:
        inner = todo.pop()
        if _id(inner) not in seen:
            seen.add(_id(inner))
            todo += _mentioned(inner)
    return seen


def _mentioned(definition: Definition) -> Iterator[Definition]:
    """What an object's code names, of its own file and others that are dropped in."""
    module = definition.module
    for node in ast.walk(definition.node):
        if isinstance(node, ast.Name | ast.Attribute):
            text = ast.unparse(node)
            bound = module.bindings.get(text.partition(".")[0])
            origin = bound[0] if isinstance(bound, tuple) else module.name
            if bound is not None and is_dropped_in(origin):
                found = Definition.find(module.name, text)
                yield from [found] if found and is_dropped_in(found.module.name) else []
