"""What a generated project depends on: it declares what it imports, and takes no such name."""

import ast
import itertools
import keyword
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import ROOT, TEMPLATE
from .test_bake import PYTHON

PYPROJECT = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
NEEDED = [*PYPROJECT["project"]["dependencies"], *itertools.chain(*EXTRAS.values())]
DEV = PYPROJECT["dependency-groups"]["dev"]

# Used by no import of the project's own: the text that has others import them.
INDIRECT = {
    "comet-ml": "CometLogger(",
    "mlflow": "MLFlowLogger(",
    "onnx": '"onnx"',
    "onnxruntime": '"onnxruntime"',
    "onnxscript": '"onnxscript"',
    "tensorboard": "TensorBoardLogger(",
}


def names(requirements: list[str]) -> set[str]:
    """Returns the names of the distributions that are required."""
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


DECLARED = names(NEEDED)
SOURCES = {name: (TEMPLATE / name).read_text() for name in PYTHON if not name.startswith("tests/")}
OWN = {path.stem for path in TEMPLATE.iterdir() if path.is_dir() or path.suffix == ".py"}


@pytest.fixture(scope="module")
def providers() -> dict[str, set[str]]:
    """The distributions that a top-level module comes from."""
    found = packages_distributions().items()
    return {module: {*map(canonicalize_name, names)} for module, names in found}


def modules(source: str) -> Iterator[str]:
    """Yields the top-level modules that Python code imports, inside functions, too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.fixture(scope="module")
def imported(providers: dict[str, set[str]]) -> dict[str, set[str]]:
    """What the project imports of others: by file, the distributions."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, source in SOURCES.items():
        for module in {*modules(source)} - OWN - sys.stdlib_module_names:
            found[name] |= providers.get(module, {f"whatever holds {module}"})
    return found


def test_every_import_is_declared(imported: dict[str, set[str]]) -> None:
    """No package is there by chance only, as another one's dependency."""
    for name, distributions in imported.items():
        assert not distributions - DECLARED, name


@pytest.mark.parametrize("distribution", sorted(DECLARED))
def test_every_dependency_is_used(imported: dict[str, set[str]], distribution: str) -> None:
    """No package is installed for nothing."""
    is_imported = any(distribution in distributions for distributions in imported.values())
    if distribution in INDIRECT:
        assert not is_imported, "no longer INDIRECT"
        assert any(INDIRECT[distribution] in source for source in SOURCES.values())
    else:
        assert is_imported


def test_no_project_takes_the_name_of_what_it_needs(providers: dict[str, set[str]]) -> None:
    """The hook knows all dependencies, their modules, and the project's folders and modules."""
    hook = (ROOT / "hooks/pre_gen_project.py").read_text()
    [block] = re.findall(r'^TAKEN = """(.+?)"""', hook, re.MULTILINE | re.DOTALL)
    taken = {*block.split(), *map(str.lower, keyword.kwlist)}

    needed = DECLARED | names(DEV)
    modules = {module for module, distributions in providers.items() if distributions & needed}
    slugs = {name.lower().replace("_", "-") for name in needed | modules | OWN}
    possible = {slug for slug in slugs if re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", slug)}
    assert not possible - taken, possible - taken
