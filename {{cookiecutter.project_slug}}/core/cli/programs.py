"""A dropped-in file that would be a program when it is imported: read from source, nothing runs."""

import ast
import re
from collections.abc import Iterator, Sequence

from core import ROOT
from core.cli.neighbours import is_dropped_in
from core.cli.source import Module, read
from core.errors import UsageError

# What is called where a program reads its options, trains, loads down or ends.
_CALLS = re.compile(
    r"""(.*\.)?(
        parse_args | parse_known_args | parse_args_into_dataclasses | parse_argv | getopt | input
        | backward | zero_grad | urlretrieve | urlopen | load_state_dict_from_url | load_dataset
        | download | download_url | download_and_extract_archive | hf_hub_download
        | snapshot_download | SummaryWriter | init_process_group | exit | quit | _exit
    )
    | (requests|wget|gdown|subprocess|kagglehub|fire|tyro|typer|wandb|mlflow)\.\w+
    | (sys\.)?exit | os\.system | torch\.save | plt\.show | app\.run | mp\.spawn
    | .*(?i:optim\w*|opt|scheduler)\.step
    | .*(?i:trainer)(\(.*\))?\.(fit|train|test|validate|predict)""",
    re.VERBOSE | re.DOTALL,
)


def check(module: str) -> None:
    """Refuses a module that is a program, or imports one that was dropped in.

    Raises:
        UsageError: It is; the message names the line.
    """
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or not (is_dropped_in(name) or _is_at_root(name)):
            continue
        seen.add(name)
        todo.append(name.rpartition(".")[0])  # the folder's __init__ is imported before
        if found := read(name):
            _check(found)
            todo += [
                part for b in found.bindings.values() if isinstance(b, tuple) for part in _both(b)
            ]
            todo += found.stars


def _is_at_root(name: str) -> bool:
    return name not in ("", "main") and (ROOT / f"{name}.py").is_file()


def _both(binding: tuple[str, str]) -> Iterator[str]:
    """The module that is imported from, and what is imported, in case that is one too."""
    origin, name = binding
    yield origin
    yield f"{origin}.{name}"


def _check(module: Module) -> None:
    for statement in module.tree.body:
        if any(_runs(node, module, set()) for node in _executed([statement])):
            file = module.path.relative_to(ROOT)
            text = ast.unparse(statement).splitlines()[0]
            raise UsageError(
                f"{file} is a program: line {statement.lineno} ({text[:60]}) would run when it is "
                'imported; move what runs to the end of the file, under if __name__ == "__main__":'
            )


def _executed(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Every node that runs when these statements do: no body of a function, nor of a program."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _executed(node.decorator_list)
            case ast.Lambda():
                pass
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                yield from _executed(node.orelse)
            case _:
                yield node
                yield from _executed([*ast.iter_child_nodes(node)])


def _runs(node: ast.AST, module: Module, seen: set[str]) -> bool:
    """Whether a node is such a call, or leads to one by a function or method of the same file."""
    match node:
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id="sys"), attr="argv")):
            return isinstance(node.slice, ast.Constant | ast.Slice)
        case ast.Call(func=func):
            name, arguments = ast.unparse(func), [*node.args, *(k.value for k in node.keywords)]
            is_harmless = name.endswith("parse_args") and bool(arguments)  # of its own list
            if _CALLS.fullmatch(name) and not is_harmless:
                return True
            if any(
                k.arg in ("download", "pretrained") and _is_true(k.value) for k in node.keywords
            ):
                return True
            short = name.rpartition(".")[2]
            if short in seen:
                return False
            seen.add(short)
            bodies = [f.body for f in _functions(module, name)]
            return any(_runs(inner, module, seen) for body in bodies for inner in _executed(body))
    return False


def _functions(module: Module, name: str) -> Iterator[ast.FunctionDef]:
    """What a called name may be: a function, or a method of any class of the file."""
    first, dot, rest = name.partition(".")
    bound = module.bindings.get(first)
    if not dot and isinstance(bound, ast.FunctionDef):
        yield bound
    if dot:
        classes = (b for b in module.bindings.values() if isinstance(b, ast.ClassDef))
        methods = (m for c in classes for m in c.body if isinstance(m, ast.FunctionDef))
        yield from (method for method in methods if method.name == rest.rpartition(".")[2])


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
