"""What the tests share: generating a project, a copy of this repository, running commands."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"

# Cookiecutter copies whatever lies in the template folder, byte code too: it goes elsewhere.
CACHE = str(ROOT / ".tools" / "pycache")
sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", CACHE)

Bake = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hides the settings of whoever runs the tests, and keeps replay files out of their home."""
    home = tmp_path_factory.mktemp("user")
    (home / "cookiecutter.yaml").write_text(
        f"cookiecutters_dir: {home}/cookiecutters\nreplay_dir: {home}/replay\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COOKIECUTTER_CONFIG", str(home / "cookiecutter.yaml"))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
            patch.setenv(f"{name}_NAME", "Test")
            patch.setenv(f"{name}_EMAIL", "test@example.com")
        patch.setenv("OMP_NUM_THREADS", "1")  # tests run side by side
        # An active environment would be taken for the project's own by uv.
        for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTEST_ADDOPTS"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def bake(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """Returns a function that generates a project, each in a new folder: `bake(license="none")`."""

    def bake(output_dir: Path | None = None, **options: str) -> Path:
        output_dir = output_dir or tmp_path_factory.mktemp("bake")
        project = cookiecutter(
            str(ROOT), no_input=True, extra_context=options, output_dir=str(output_dir)
        )
        return Path(project)

    return bake


@pytest.fixture(scope="session")
def project(bake: Bake) -> Path:
    """A project generated with the default answers, shared by tests that only read it."""
    return bake()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the template as it stands, to be changed at will."""
    return copy_repository(tmp_path)


def copy_repository(folder: Path) -> Path:
    """Makes a git repository with the files of this one, committed or not."""
    repository = folder / "lightning-dropin"
    for name in run(["git", "ls-files", "-z", "-co", "--exclude-standard"], ROOT).split("\0"):
        if (ROOT / name).is_file():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, repository / name)
    run(["git", "-c", "init.defaultBranch=main", "init"], repository)
    commit(repository, "Copy")
    return repository


def commit(repository: Path, message: str) -> None:
    """Commits all there is."""
    run(["git", "add", "--all"], repository)
    run(["git", "commit", "--quiet", "--message", message], repository)


def run(command: Sequence[str], folder: Path) -> str:
    """Runs a command in a folder and returns what it printed; a failure shows that."""
    result = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}"
    return result.stdout


def files(folder: Path) -> set[str]:
    """Returns the paths of all files under a folder, without those of git."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != ".git"}
