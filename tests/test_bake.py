"""Facts about generated projects that need nothing installed."""

import itertools
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException

from .conftest import ROOT, TEMPLATE, Bake, files, run

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text())
CHOICES = {name: value for name, value in QUESTIONS.items() if isinstance(value, list)}
CHOICES = {name: value for name, value in CHOICES.items() if not name.startswith("_")}
COMBINATIONS = [
    dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())
]

PYTHON = {name for name in files(TEMPLATE) if name.endswith(".py")}
OTHERS = {
    ".github/workflows/ci.yml",
    ".github/workflows/weekly.yml",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".vscode/launch.json",
    "README.md",
    "config.yaml",
    "pyproject.toml",
    *(name for name in files(TEMPLATE) if name.startswith("examples/")),
}
COPIED = {name for name in PYTHON | OTHERS if name.endswith((".py", ".yml"))}


def parsed(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yields the name and content of every TOML, YAML and JSON file under a folder."""
    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".json": json.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    for name in sorted(files(folder)):
        reader = readers.get(Path(name).suffix)
        if reader:
            yield name, reader((folder / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda options: "-".join(options.values()))
def test_every_combination(bake: Bake, options: dict[str, str]) -> None:
    """The exact files, Python as in the template, everything parses, all answers filled in."""
    project = bake(author="Ada Lovelace", **options)
    license_ = options["license"]

    expected = PYTHON | OTHERS | ({"LICENSE"} if license_ != "none" else set())
    left = files(project)
    if options["task"] == "everything":
        assert left == expected
    assert left <= expected  # for what is left of examples see test_tasks.py
    for name in COPIED & left:
        assert (project / name).read_bytes() == (TEMPLATE / name).read_bytes()
    for name in left - COPIED:
        text = (project / name).read_text(encoding="utf-8")
        assert not any(syntax in text for syntax in ("{{", "{%", "{#", "cookiecutter.")), name
        assert text.endswith("\n") and not text.endswith("\n\n"), name

    metadata = dict(parsed(project))["pyproject.toml"]["project"]
    assert metadata["name"] == project.name == "my-project"
    if license_ == "none":
        assert metadata["license"] == "LicenseRef-Proprietary"
    else:
        assert metadata["license"] == license_
        assert "Ada Lovelace" in (project / "LICENSE").read_text()


def test_template_is_valid_unrendered() -> None:
    """Tools that run in the template folder read its configuration as it is."""
    assert {"pyproject.toml", "config.yaml", ".vscode/launch.json"} <= {
        name for name, _ in parsed(TEMPLATE)
    }


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Digit Reader", "digit-reader"),
        ("digit_reader  2", "digit-reader-2"),
        ("Größenschätzer", "grossenschatzer"),
        ("Ada's (best) net!", "ada-s-best-net"),
    ],
)
def test_slug_follows_from_the_name(bake: Bake, name: str, slug: str) -> None:
    """The proposed slug needs no correction, whatever the name holds."""
    project = bake(project_name=name)
    assert project.name == slug
    assert (project / "README.md").read_text().startswith(f"# {name.replace('  ', ' ')}\n")


REJECTED = {
    "": "project",
    " ": "project",
    "my project": "my-project",
    "a/b": "a-b",
    "/absolute/path": "absolute-path",
    "../up": "up",
    "..": "project",
    ".": "project",
    ".hidden": "hidden",
    "a\\b": "a-b",
    "a\nb": "a-b",
    "a\0b": "a-b",
    "-dash": "dash",
    "dash-": "dash",
    "two--dashes": "two-dashes",
    "3d-vision": "project-3d-vision",
    "MyProject": "myproject",
    "größe": "groe",
    "📦": "project",
    "a.b": "a-b",
    "x" * 300: "x" * 56,
    "class": "class-project",
    "none": "none-project",
    "data": "data-project",
    "model": "model-project",
    "core": "core-project",
    "main": "main-project",
    "test": "test-project",
    "tests": "tests-project",
    "torch": "torch-project",
    "torchvision": "torchvision-project",
    "lightning": "lightning-project",
    "pytorch-lightning": "pytorch-lightning-project",
    "pytorch_lightning": "pytorch-lightning-project",
    "scikit_learn": "scikit-learn-project",
    "docstring_parser": "docstring-parser-project",
    "onnxruntime": "onnxruntime-project",
    "pil": "pil-project",
    "'; import os; '": "import-os",
    '"""': "project",
}


@pytest.mark.parametrize("slug", REJECTED, ids=ascii)
def test_rejected_slug(
    bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], slug: str
) -> None:
    """One line says what was wrong and what to type, and nothing is left behind."""
    (tmp_path / "sub").mkdir()
    with pytest.raises(FailedHookException):
        bake(project_slug=slug, output_dir=tmp_path / "sub")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("project_slug ")
    assert lines[0].endswith(f": type {REJECTED[slug]} instead")
    assert files(tmp_path) == set() and [path.name for path in tmp_path.iterdir()] == ["sub"]


@pytest.mark.parametrize("slug", sorted(set(REJECTED.values())))
def test_suggested_slug_is_accepted(bake: Bake, slug: str) -> None:
    """What the rejection says to type is not rejected in turn."""
    assert bake(project_slug=slug).name == slug


@pytest.mark.parametrize(
    ("email", "is_fine"),
    [("", True), ("a.b+c@x-y.org", True), ("no address", False), ("a@b", False), ("@", False)],
)
def test_email(
    bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], email: str, is_fine: bool
) -> None:
    """Setuptools builds no package with what is no address."""
    if is_fine:
        written = (bake(email=email) / "pyproject.toml").read_text()
        assert (f'email = "{email}"' in written) is bool(email)
    else:
        with pytest.raises(FailedHookException):
            bake(email=email, output_dir=tmp_path)
        shown = capfd.readouterr().err
        assert shown == f"email {email!r} is no address: type one such as you@example.com\n"


def test_command_line(tmp_path: Path) -> None:
    """`cookiecutter . --no-input` works, says what to do next, and `--replay` repeats it."""
    command = [sys.executable, "-m", "cookiecutter", str(ROOT)]
    first = run([*command, "--no-input", "-o", str(tmp_path / "1"), "license=none"], tmp_path)
    assert "cd my-project\n" in first and "uv run main.py\n" in first
    run([*command, "--replay", "-o", str(tmp_path / "2")], tmp_path)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    for name in files(tmp_path / "1"):
        if "/.git/" not in name:
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_command_line_rejects(tmp_path: Path) -> None:
    """The reason stands alone on standard error; the exit code tells of it."""
    command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "project_slug=data"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        "project_slug 'data' is the name of a folder, package or keyword that the project needs: "
        "type data-project instead\n"
    )
    assert not list(tmp_path.iterdir())


def test_becomes_a_git_repository(bake: Bake) -> None:
    """Nothing is committed yet, and the branch is called main."""
    project = bake()
    assert run(["git", "symbolic-ref", "HEAD"], project) == "refs/heads/main\n"
    assert "?? main.py" in run(["git", "status", "--porcelain", "--untracked-files=all"], project)


def test_no_repository_inside_another(bake: Bake, tmp_path: Path) -> None:
    """A project generated into somebody's repository becomes a part of it."""
    run(["git", "init"], tmp_path)
    assert not (bake(tmp_path) / ".git").exists()


def test_without_git(bake: Bake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without git gets the project all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    project = bake()
    assert (project / "pyproject.toml").is_file() and not (project / ".git").exists()
