"""What a project is made to train: each answer is baked, trains, and passes its own tests."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .command import Project
from .conftest import ROOT, TEMPLATE, Bake
from .test_examples import QUICK

TASKS = [*json.loads((ROOT / "cookiecutter.json").read_text())["task"]][1:]
BASE = {"__init__", "data_interface", "model_interface"}


def files(project: Path, folder: str) -> set[str]:
    """The names of its Python files."""
    return {file.stem for file in (project / folder).glob("*.py")}


def test_answers() -> None:
    """Each but everything has a folder of examples, the first of which is default.yaml."""
    folders = {folder.name for folder in (TEMPLATE / "examples").iterdir()}
    assert {*TASKS} == folders
    assert all((TEMPLATE / f"examples/{task}/default.yaml").exists() for task in TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_what_is_left(bake: Bake, task: str) -> None:
    """The examples of the task with their files, and what README.md types; of others nothing."""
    project = bake(task=task)
    examples = {file.relative_to(project / "examples") for file in project.glob("examples/*/*")}
    own = {Path(task, file.name) for file in (TEMPLATE / "examples" / task).iterdir()}
    assert examples == own | {Path("classification/default.yaml")}
    named: set[str] = {"cifar10", "image_folder", "mlp", "vit"}
    for example in examples:
        content = yaml.safe_load((project / "examples" / example).read_text())
        named |= {content[key].partition(":")[0] for key in ("dataset", "model_name")}
    assert files(project, "data") | files(project, "model") == named | BASE
    config = (project / "config.yaml").read_text()
    assert config.startswith("# This project's defaults") and config.count("python main.py") == 1
    first = yaml.safe_load((project / f"examples/{task}/default.yaml").read_text())
    assert yaml.safe_load(config).items() <= first.items()
    shown = {*re.findall(r"`(\w+)/\w+`", (project / "README.md").read_text()), task}
    assert shown & {*TASKS} == {task}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS[1:])
def test_trains(bake: Bake, task: str) -> None:
    """As config.yaml says, by each of its examples, and by the one that all have."""
    project = Project(bake(task=task))
    for words in [(), *(("--config", str(file)) for file in project.folder.glob("examples/*/*"))]:
        assert "Results in" in project.run(*words, *QUICK)


@pytest.mark.chaos
@pytest.mark.parametrize("task", TASKS)
def test_its_own_tests(bake: Bake, task: str) -> None:
    """All of them."""
    done = subprocess.run([sys.executable, "-m", "pytest"], cwd=bake(task=task))
    assert done.returncode == 0
