"""A dropped-in file that would be a program when it is imported: read from source, nothing runs."""

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from core import ROOT
from core.cli.neighbours import is_dropped_in
from core.cli.source import Definition, Module, read
from core.errors import UsageError

# What is called where a program reads its options, trains or loads down.
_CALLS = re.compile(
    r"""(.*\.)?(
        parse_args | parse_known_args | parse_args_into_dataclasses | getopt | input
        | backward | zero_grad | urlretrieve | urlopen | load_state_dict_from_url
        | download_url | download_and_extract_archive | hf_hub_download | snapshot_download
        | SummaryWriter | init_process_group
    )
    | requests\.(get|post|request|head) | (wget|gdown)\.download | kagglehub\.\w+_download
    | fire\.Fire | tyro\.cli | typer\.run | app\.run | wandb\.(init|login) | mlflow\.start_run
    | subprocess\.(run|call|check_call|Popen) | os\.system | torch\.save | plt\.show | mp\.spawn
    | (torch\.)?hub\.load | (?i:.*(optim\w*|opt|scheduler)\.step)
    | (?i:.*trainer(\(.*\))?\.(fit|train|test|validate|predict))""",
    re.VERBOSE | re.DOTALL,
)
_ENDS = ("exit", "sys.exit", "quit", "os._exit")


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
        call = statement.value if isinstance(statement, ast.Expr) else None
        ends = isinstance(call, ast.Call) and ast.unparse(call.func) in _ENDS
        if ends or any(_runs(node, module, set()) for node in _executed([statement])):
            file = module.path.relative_to(ROOT)
            text = ast.unparse(statement).splitlines()[0]
            raise UsageError(
                f"{file} is a program: line {statement.lineno} ({text[:60]}) would run when it is "
                'imported; move what runs to the end of the file, under if __name__ == "__main__":'
            )


def _executed(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every node that runs when these statements do: no body of a function, nor of a program."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _executed(node.decorator_list)
            case ast.Lambda():
                pass
            case ast.If(test=test) if "__name__" in ast.unparse(test):
                yield from _executed(node.orelse)
            case ast.If(body=inner, orelse=otherwise):
                yield from _executed(n for n in ast.walk(node.test) if isinstance(n, ast.Call))
                yield from _executed([*inner, *otherwise])
            case _:
                yield node
                yield from _executed(ast.iter_child_nodes(node))


def _runs(node: ast.AST, module: Module, seen: set[int]) -> bool:
    """Whether a node is such a call, or leads to one by what is dropped in."""
    match node:
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id="sys"), attr="argv")):
            return True
        case ast.Call(func=func):
            name, arguments = ast.unparse(func), [*node.args, *(k.value for k in node.keywords)]
            if name != "len" and "sys.argv" in map(ast.unparse, arguments):
                return True
            is_harmless = name.endswith("parse_args") and bool(arguments)  # of its own list
            if _CALLS.fullmatch(name) and not is_harmless:
                return True
            if any(k.arg == "download" and ast.unparse(k.value) == "True" for k in node.keywords):
                return True
            for called in _called(module, func):
                body = called.node
                if any("command" in ast.unparse(d) for d in body.decorator_list):  # of click
                    return True
                if id(body) not in seen:
                    seen.add(id(body))
                    inner = _executed(body.body)
                    if any(_runs(statement, called.module, seen) for statement in inner):
                        return True
    return False


def _called(module: Module, function: ast.expr) -> Iterator[Definition]:
    """The functions of dropped-in files that a call runs: itself, a constructor, or a method."""
    found = _of_own(module, ast.unparse(function))
    if found and isinstance(found.node, ast.FunctionDef):
        yield found
    elif found:
        yield from _methods(found, "__init__")
    elif isinstance(function, ast.Attribute):
        owner: Any = function.value  # Solver().train(), or solver.train() where that is made
        if isinstance(owner, ast.Name):
            owner = module.bindings.get(owner.id)
        made = _of_own(module, ast.unparse(owner.func)) if isinstance(owner, ast.Call) else None
        yield from _methods(made, function.attr) if made else ()


def _of_own(module: Module, name: str) -> Definition | None:
    is_name = all(part.isidentifier() for part in name.split("."))
    found = Definition.find(module.name, name) if is_name else None
    is_own = found and (is_dropped_in(found.module.name) or found.module is module)
    return found if is_own else None


def _methods(owner: Definition, name: str) -> Iterator[Definition]:
    """A method of a class, or of those that it derives from."""
    if not isinstance(owner.node, ast.ClassDef):
        return
    methods = [m for m in owner.node.body if isinstance(m, ast.FunctionDef) and m.name == name]
    yield from (Definition(owner.module, method) for method in methods)
    for base in owner.node.bases if not methods else []:
        if inner := _of_own(owner.module, ast.unparse(base)):
            yield from _methods(inner, name)
