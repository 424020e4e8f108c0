"""A generated project works at both ends of the versions that it allows; `make test-ends`."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from .conftest import ROOT, Bake, run
from .test_dependencies import DEV, NEEDED

pytestmark = pytest.mark.ends

ENDS = {
    "lowest": ["--resolution", "lowest-direct"],
    "highest": ["--upgrade"],
    "prerelease": ["--upgrade", "--prerelease", "allow"],
}

# The tests that run what is generated, not those of the template itself.
ENGINE_TESTS = [
    "tests/test_bad_input.py",
    "tests/test_commands.py",
    "tests/test_device.py",
    "tests/test_interfaces.py",
    "tests/test_lightning.py",
    "tests/test_runs.py",
    "tests/test_third_party.py",
]


@pytest.fixture(scope="module", params=ENDS)
def installed(request: pytest.FixtureRequest, bake: Bake) -> Path:
    """A project with all extras at one end, in an environment of its own."""
    project = bake()
    run(["uv", "sync", "--all-extras", *ENDS[request.param]], project)
    return project


def python(project: Path) -> str:
    """The project's own Python."""
    return str(project / ".venv" / "bin" / "python")


def test_of_the_project(installed: Path) -> None:
    """The project's own tests pass."""
    run([python(installed), "-m", "pytest"], installed)


def test_of_the_engine(installed: Path) -> None:
    """The template's tests of what is generated pass, in the project's environment."""
    needed = ["--requirements", "pyproject.toml", "--group", "dev"]
    run(["uv", "pip", "install", "--python", python(installed), *needed], ROOT)
    parallel = ["--numprocesses", "auto", "--dist", "loadscope"]
    run([python(installed), "-m", "pytest", *parallel, *ENGINE_TESTS], ROOT)


def test_command_of_a_dependency(installed: Path) -> None:
    """A command that comes with a dependency and that the README shows starts."""
    run([str(installed / ".venv" / "bin" / "tensorboard"), "--version"], installed)


@pytest.mark.parametrize("installed", ["lowest"], indirect=True)
def test_floors_are_what_is_tested(installed: Path) -> None:
    """Each floor is installed at the lowest end, not more: no dependency asks for more than it."""
    requirements = [*map(Requirement, NEEDED + DEV)]
    code = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    names = [requirement.name for requirement in requirements]
    versions = run([python(installed), "-c", code, *names], installed).split()
    for requirement, version in zip(requirements, versions, strict=True):
        [floor] = [Version(s.version) for s in requirement.specifier if s.operator == ">="]
        assert Version(version) == floor, requirement
