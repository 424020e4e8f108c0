"""`python main.py reproduce RUN --steps 20`: the first steps again, bit for bit."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .command import Project
from .conftest import Bake

pytestmark = pytest.mark.slow
QUICK = ("--model_name", "mlp", "--max_epochs", "2", "--enable_progress_bar", "false")


@pytest.fixture(scope="module")
def project(bake: Bake) -> Project:
    """A project with a run whose schedule depends on how long it is."""
    project = Project(bake())
    project.run(*QUICK, "--dropout", "0.2", "--name", "mine", OMP_NUM_THREADS="2")
    return project


def losses(folder: Path) -> list[tuple[str, str]]:
    with (folder / "first_steps.csv").open(newline="") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_first_losses_are_written_down(project: Project) -> None:
    """In full: those of every tenth step are logged as well."""
    found = dict(losses(project.of("mine")))
    assert [*found] == [str(step) for step in range(1, 21)]
    with (project.of("mine") / "metrics.csv").open(newline="") as file:
        logged = [row["train_loss_step"] for row in csv.DictReader(file) if row["train_loss_step"]]
    assert [float(value) for value in logged[:2]] == [float(found["10"]), float(found["20"])]


def test_agrees_and_leaves_nothing(project: Project) -> None:
    """With other threads, too; nobody has looked at the test part."""
    runs = project.folder / "runs"
    before = {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}
    for words in ((), ("--exact", "true")):
        shown = project.run("reproduce", "mine", "--steps", "20", *words, OMP_NUM_THREADS="1")
        assert "20 steps agree with runs/mine/version_0 bit for bit" in " ".join(shown.split())
    after = {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}
    assert after == before


def test_tells_the_first_step_that_differs(project: Project) -> None:
    file = project.of("mine") / "first_steps.csv"
    text = file.read_text()
    step, loss = losses(project.of("mine"))[6]
    file.write_text(text.replace(loss, repr(float(loss) * (1 + 1e-7))))
    shown = project.run("reproduce", "mine", "--steps", "20", "--exact", "true", code=1)
    assert f"the first to differ is step {step}: its loss was " in shown and loss in shown
    assert "bit for bit" in shown and "Traceback" not in shown
    project.run("reproduce", "mine", "--steps", "6", "--exact", "true")
    shown = project.run("reproduce", "mine", "--steps", "20", "--exact", "false")
    assert "20 steps agree with runs/mine/version_0 within 0.001 of their size" in shown
    file.write_text(text.replace(loss, repr(float(loss) * 1.01)))
    assert "differ is step 7" in project.run("reproduce", "mine", "--steps", "9", code=1)
    file.write_text(text)


def test_another_machine(project: Project) -> None:
    """There, bits are compared only if one asks for it."""
    file = project.of("mine") / "run.json"
    text = file.read_text()
    file.write_text(json.dumps(json.loads(text) | {"cpu": "another"}))
    shown = project.run("reproduce", "mine", "--steps", "3")
    assert "another cpu than then" in shown and "within 0.001" in shown
    file.write_text(text)


def test_a_resumed_run(project: Project) -> None:
    """It keeps the steps before, in place of those it has made twice."""
    whole = losses(project.of("mine"))
    project.run(*QUICK, "--dropout", "0.2", "--name", "cut", "--max_steps", "7")
    folder = project.of("cut")
    file = folder / "first_steps.csv"
    assert losses(folder) == whole[:7]
    file.write_text(file.read_text() + "8,1.5\n9,1.5\n")
    project.run("--resume", "cut", "--max_steps", "12")
    assert [step for step, _ in losses(folder)] == [str(step) for step in range(1, 13)]
    assert losses(folder)[:7] == whole[:7] and "1.5" not in dict(losses(folder)).values()


def test_plateau_and_accumulated_gradients(project: Project) -> None:
    """A line a step of the optimizer; an epoch of which nothing is validated ends no run."""
    words = ("--lr_scheduler", "plateau", "--accumulate_grad_batches", "2", "--name", "two")
    project.run(*QUICK, *words)
    assert len(losses(project.of("two"))) == 20
    project.run("reproduce", "two", "--steps", "12")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--steps", "0"), "--steps 0: expected 1 or more"),
        (("--steps", "many"), "--steps many: expected int"),
    ],
)
def test_bad_input(project: Project, words: tuple[str, ...], error: str) -> None:
    shown = project.run("reproduce", "mine", *words, code=2)
    assert error in shown and shown.count("\n") == 1


def test_nothing_to_compare_with(project: Project) -> None:
    shutil.copytree(project.of("mine"), project.of("old"))
    (project.of("old") / "first_steps.csv").unlink()
    for words in (("--steps", "20"), ("--pin", "true")):
        shown = project.run("reproduce", "old", *words, code=2)
        assert "has written down no losses of its first steps" in shown and shown.count("\n") == 1
    project.run(*QUICK, "--dropout", "0.2", "--name", "warm", "--init_from", "mine")
    assert "began with the weights" in project.run("reproduce", "warm", "--steps", "2", code=2)


def test_a_pinned_run(project: Project) -> None:
    """It is tested until it is no longer the same."""

    def tested() -> str:
        words = ["-m", "pytest", "tests/test_pinned.py", "-q", "-p", "no:cacheprovider"]
        return subprocess.run(
            [sys.executable, *words], cwd=project.folder, capture_output=True, text=True
        ).stdout

    assert "1 skipped" in tested()
    shown = project.run("reproduce", "mine", "--pin", "true")
    assert "tests/pinned/mine-version_0 is what" in shown
    shutil.rmtree(project.of("mine"))
    assert "1 passed" in tested()
    network = project.folder / "model/mlp.py"
    network.write_text(network.read_text().replace("nn.ReLU()", "nn.GELU()"))
    shown = tested()
    assert "1 failed" in shown and "the first to differ is step 1:" in shown
