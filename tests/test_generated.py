"""A generated project installs for real, and does what the READMEs say: its own checks, too."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import ROOT, TEMPLATE, Bake, copy_repository, run

pytestmark = pytest.mark.slow


class Block(NamedTuple):
    """One fenced block of a README."""

    language: str
    text: str
    skipped: bool


def blocks(readme: Path) -> list[Block]:
    """Returns the fenced blocks; those after a comment `<!-- not run: reason -->` are skipped."""
    pattern = r"(<!-- not run: .+ -->\n)?^```(\w+)\n(.*?)^```$"
    found = re.findall(pattern, readme.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(language, text, bool(skipped)) for skipped, language, text in found]


def commands(readme: Path) -> list[str]:
    """Returns the bash blocks that are to be run, in order."""
    found = blocks(readme)
    return [block.text for block in found if block.language == "bash" and not block.skipped]


def save_files(readme: Path, folder: Path) -> None:
    """Writes the Python blocks that begin with `# path/of/the/file.py` where they say."""
    for block in blocks(readme):
        name = re.match(r"# (\S+\.py)\n", block.text)
        if block.language == "python" and name and (folder / name[1]).parent.is_dir():
            (folder / name[1]).write_text(block.text)


@pytest.fixture(scope="module")
def installed(bake: Bake) -> Path:
    """A project with the files that its README shows."""
    project = bake()
    run(["uv", "sync"], project)
    save_files(project / "README.md", project)
    return project


class TestGeneratedReadme:
    """One after the other, in an environment of their own."""

    def test_installs_and_trains(self, installed: Path) -> None:
        """`uv sync` gave all that a run needs, and nothing of the project itself."""
        run(["uv", "run", "python", "main.py", "--max_epochs", "1"], installed)
        names = run(["uv", "pip", "list", "--format", "freeze"], installed)
        assert "torch==" in names and "my-project" not in names

    @pytest.mark.parametrize("command", commands(TEMPLATE / "README.md"), ids=str.strip)
    def test_command(self, installed: Path, command: str) -> None:
        """The commands work as written."""
        run(["bash", "-euo", "pipefail", "-c", command], installed)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository, without any environment."""
    return copy_repository(tmp_path_factory.mktemp("fresh"))


class TestTemplateReadme:
    """One after the other, from a fresh copy."""

    @pytest.mark.parametrize("command", commands(ROOT / "README.md"), ids=str.strip)
    def test_command(self, repository: Path, command: str) -> None:
        """The commands work as written."""
        save_files(repository / "README.md", repository)
        run(["bash", "-euo", "pipefail", "-c", command], repository)


def test_without_uv(tmp_path: Path) -> None:
    """`make` finds a way where there is no uv."""
    repository = copy_repository(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "git", "make", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)
    command = ["env", f"PATH={tools}", f"PYTHON={sys.executable}", "make", ".tools/bin/uv"]
    run(command, repository)
    assert os.access(repository / ".tools" / "bin" / "uv", os.X_OK)
