"""The rooms of a generated project: who imports whom, and how large they are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import TEMPLATE

ROOMS = ("main", "data", "model", "callbacks", "commands", "core")
# What each may import besides itself.
FLOORS = {
    "commands": {"main", "data", "model", "callbacks", "core"},
    "main": {"data", "model", "core"},
    "data": {"core"},
    "model": {"core"},
    "callbacks": {"core"},
    "core": set(),
}
PATH = re.compile(rf"({'|'.join(ROOMS)})([.:]\w+)+")  # a module in a string counts, too
FILES = [file for file in TEMPLATE.rglob("*.py") if "tests" not in file.parts]


def module(file: Path) -> str:
    """`core.cli.names` of `core/cli/names.py`."""
    return ".".join(file.relative_to(TEMPLATE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(file): file for file in FILES}


def imported(file: Path, everywhere: bool = True) -> Iterator[str]:
    """The modules that a file imports, in functions and strings too if `everywhere`."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in inner)
        elif (
            isinstance(node, ast.Constant)
            and PATH.fullmatch(str(node.value))
            and node.value != "main.py"
        ):
            yield str(node.value).partition(":")[0]


@pytest.mark.parametrize("name", MODULES)
def test_floors(name: str) -> None:
    """Commands, main, data and model, core: each imports only what is below."""
    room = name.partition(".")[0]
    rooms = {found.partition(".")[0] for found in imported(MODULES[name])} & {*ROOMS}
    assert rooms <= FLOORS[room] | {room}


def test_no_circle() -> None:
    """No module leads back to itself."""
    graph = {name: {*imported(file)} & MODULES.keys() for name, file in MODULES.items()}
    graph = {name: found - {name} for name, found in graph.items()}
    while leaves := [name for name, found in graph.items() if not found]:
        graph = {n: found - {*leaves} for n, found in graph.items() if n not in leaves}
    assert graph == {}


def test_no_torch_where_options_are_read() -> None:
    """Nothing that `core/cli`, or the help, imports to begin with."""
    todo = [name for name in MODULES if name.startswith("core.cli")] + ["commands.help"]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        found = {*imported(MODULES[name], everywhere=False)}
        heavy = {n for n in found if n.partition(".")[0] in ("torch", "pytorch_lightning", "numpy")}
        assert not heavy, name
        todo += [n for n in found & MODULES.keys() if n not in seen]
    assert "core.runs.folders" in seen


def test_the_seam() -> None:
    """Nothing that Lightning calls private is touched elsewhere."""
    internal = {"fit_loop", "epoch_loop", "batch_progress", "restarting", "precision_plugin"}
    internal |= {"MisconfigurationException", "is_oom_error", "is_overridden", "ExperimentWriter"}
    own = {"core.lightning", "core.cli.source"}  # the latter's are its own
    for name in MODULES.keys() - own:
        tree = ast.parse(MODULES[name].read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                is_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                private = re.match("_[a-z]", node.attr) and not is_self
                private = private and node.attr != "_run_exitfuncs"  # Python's own
                assert not private and node.attr not in internal, f"{name}: {ast.unparse(node)}"
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names}
                assert not names & internal, name
                assert not any(n.startswith("_") for n in names), name


def lines(*files: Path) -> int:
    """As `wc -l` counts."""
    return sum(file.read_text().count("\n") for file in files)


def test_sizes() -> None:
    """What an owner reads stays small."""
    assert lines(TEMPLATE / "main.py") <= 170
    assert lines(TEMPLATE / "data/data_interface.py") <= 310
    assert lines(TEMPLATE / "model/model_interface.py") <= 310
    assert lines(*(TEMPLATE / "core").rglob("*.py")) <= 10165
    for file in FILES:
        if "core" not in file.parts and "interface" not in file.name and file.name != "main.py":
            assert lines(file) <= 150, file
