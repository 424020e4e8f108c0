"""`python main.py reproduce RUN --steps 20`: the first steps again, bit for bit."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import reproduce as module
from core.errors import RunError, UsageError
from core.runs import looks

from .command import Project
from .conftest import Bake

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


class TestSteps:
    """What is told of steps that were made again: `now` is what they give."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        self.write(tmp_path, ["2.5", "1.25", "nan", "0.75"])
        return tmp_path

    def write(self, folder: Path, losses: list[str], **facts: str) -> None:
        rows = "".join(f"{n},{loss}\n" for n, loss in enumerate(losses, start=1))
        (folder / "first_steps.csv").write_text(f"step,loss\n{rows}")
        about = {"cpu": "A", "packages": {"torch": "2.10", "numpy": "2.4"}} | facts
        (folder / "run.json").write_text(json.dumps(about))
        (folder / "config.yaml").write_text("dataset: digits\n")

    @pytest.fixture
    def again(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        def again(
            now: list[str],
            steps: int = 4,
            exact: bool | None = None,
            tolerance: float = 1e-5,
            **facts: str,
        ) -> None:
            def train(_: Path, new: Path, *words: str, is_quiet: bool) -> int:
                self.write(new, now, **facts)
                return 0

            monkeypatch.setattr(module, "train_again", train)
            module.reproduce(run=str(folder), steps=steps, exact=exact, tolerance=tolerance)

        return again

    def test_the_same(self, again: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        again(["2.5", "1.25", "nan", "0.75"])
        again(["2.5", "1.25", "nan", "0.75"], steps=9, exact=True)
        again(["2.5", "1.25", "7"], steps=2)
        assert capsys.readouterr().out.splitlines() == [
            f"4 steps agree with {folder} bit for bit",
            f"{folder} has written down 4 steps: these are made again",
            f"4 steps agree with {folder} bit for bit",
            f"2 steps agree with {folder} bit for bit",
        ]

    def test_a_single_bit(self, again: Any) -> None:
        """The first that differs is named, with both losses in full; so is one that is missing."""
        bit = "1.2500000000000002"
        text = f"differ is step 2: its loss was 1.25, and is {bit} now"
        for exact in (None, True):
            with pytest.raises(RunError, match=text):
                again(["2.5", bit, "nan", "0.8"], exact=exact)
        again(["2.500024", "1.25012", "nan", "0.757"], exact=False)
        with pytest.raises(RunError, match=r"differ is step 3: its loss was nan, and is 0\.5 now"):
            again(["2.5", "1.25", "0.5", "0.75"], exact=False)
        with pytest.raises(RunError, match=r"differ is step 4: its loss was 0\.75, and is nan now"):
            again(["2.5", "1.25", "nan"])

    def test_another_machine(self, again: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """There bits are compared only if one asks for it, and else as many as rounding lets be."""
        again(["2.50002", "1.25", "nan", "0.75"], cpu="B")
        shown = capsys.readouterr().out
        assert "another cpu than then" in shown and "within 1e-05 of the loss" in shown
        again(["2.51", "1.25", "0", "0"], cpu="B", tolerance=0.1)
        assert "1 steps agree" in capsys.readouterr().out
        for now, more in (("2.50002", {"exact": True}), ("2.50003", {})):
            with pytest.raises(RunError, match="step 1"):
                again([now, "1.25", "nan", "0.75"], cpu="B", **more)
        with pytest.raises(RunError, match="step 2"):
            again(["2.5", "1.2502", "nan", "0.75"], cpu="B")

    def test_no_losses(self, again: Any, folder: Path) -> None:
        """A network that trains by itself may hand none over."""
        self.write(folder, ["2.5", ""])
        with pytest.raises(UsageError, match="has written down no losses of its first steps"):
            again(["2.5", ""])


@pytest.mark.slow
def test_first_losses_are_written_down(project: Project) -> None:
    """In full: those of every tenth step are logged as well."""
    found = dict(losses(project.of("mine")))
    assert [*found] == [str(step) for step in range(1, 21)]
    with (project.of("mine") / "metrics.csv").open(newline="") as file:
        logged = [row["train_loss_step"] for row in csv.DictReader(file) if row["train_loss_step"]]
    assert [float(value) for value in logged[:2]] == [float(found["10"]), float(found["20"])]


@pytest.mark.slow
def test_agrees_and_leaves_nothing(project: Project) -> None:
    """With other threads, too; nobody has looked at the test part."""
    runs = project.folder / "runs"
    before = {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}
    words = ("--steps", "20", "--exact", "true")
    shown = project.run("reproduce", "mine", *words, OMP_NUM_THREADS="1")
    assert "20 steps agree with runs/mine/version_0 bit for bit" in " ".join(shown.split())
    after = {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}
    assert after == before


STOP = """
import os
import signal

import pytorch_lightning as pl

class Stop(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 7 and not os.path.exists("stopped"):
            open("stopped", "w").close()
            os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_a_resumed_run(project: Project) -> None:
    """It keeps the steps before, and makes the others anew."""
    (project.folder / "callbacks/stop.py").write_text(STOP)
    words = ("--dropout", "0.2", "--name", "cut", "--callbacks+=stop")
    project.run(*QUICK, *words, code=143, OMP_NUM_THREADS="2")
    whole, file = losses(project.of("mine")), project.of("cut") / "first_steps.csv"
    assert losses(project.of("cut")) == whole[:7]
    file.write_text(file.read_text() + "8,1.5\n9,1.5\n")
    project.run("--resume", "cut", OMP_NUM_THREADS="2")
    assert losses(project.of("cut")) == whole


@pytest.mark.slow
def test_plateau_and_accumulated_gradients(project: Project) -> None:
    """A line a step of the optimizer; an epoch of which nothing is validated ends no run."""
    words = ("--lr_scheduler", "plateau", "--accumulate_grad_batches", "2", "--name", "two")
    project.run(*QUICK, *words)
    assert len(losses(project.of("two"))) == 20
    assert "12 steps agree" in project.run("reproduce", "two", "--steps", "12")


@pytest.mark.slow
def test_two_processes_and_a_callback_with_arguments(project: Project) -> None:
    """The first one's losses; and one look at the test part, though both tested."""
    words = ("--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--name", "both")
    timer = "{class_path: Timer, init_args: {duration: '00:01:00:00'}}"
    before = looks.read(project.folder / "runs")[0]["looks"]
    project.run(*QUICK, *words, "--callbacks", f"[finite_loss,{timer}]")
    assert looks.read(project.folder / "runs")[0]["looks"] == before + 1
    assert "5 steps agree" in project.run("reproduce", "both", "--steps", "5")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--steps", "0"), "--steps 0 --tolerance 1e-05: expected 1 or more, and 0 to 1"),
        (("--steps", "many"), "--steps many: expected int"),
    ],
)
@pytest.mark.slow
def test_bad_input(project: Project, words: tuple[str, ...], error: str) -> None:
    shown = project.run("reproduce", "mine", *words, code=2)
    assert error in shown and shown.count("\n") == 1


@pytest.mark.slow
def test_nothing_to_compare_with(project: Project) -> None:
    shutil.copytree(project.of("mine"), project.of("old"))
    (project.of("old") / "first_steps.csv").unlink()
    for words in (("--steps", "20"), ("--pin", "true")):
        shown = project.run("reproduce", "old", *words, code=2)
        assert "has written down no losses of its first steps" in shown and shown.count("\n") == 1
    project.run(*QUICK, "--dropout", "0.2", "--name", "warm", "--init_from", "mine")
    assert "began with the weights" in project.run("reproduce", "warm", "--steps", "2", code=2)


@pytest.mark.slow
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
