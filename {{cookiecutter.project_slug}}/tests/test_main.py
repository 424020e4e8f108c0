"""`python main.py …` as typed."""

import json
import math
from pathlib import Path

import pytest
import torch

from core.cli.names import files

from .conftest import Run

QUICK = (
    *("--max_epochs", "2", "--limit_train_batches", "5", "--limit_val_batches", "1"),
    *("--limit_test_batches", "1", "--enable_progress_bar", "false"),
)


def test_fit_test_and_predict(run: Run, project: Path) -> None:
    """With what config.yaml chooses."""
    shown = run(*QUICK, "--name", "quick").stdout
    folder = project / "runs/quick/version_0"
    assert "Results in runs/quick/version_0" in shown
    results = json.loads((folder / "metrics.json").read_text())
    assert math.isfinite(results["test_loss"])
    run("test", "quick")
    assert json.loads((folder / "metrics.json").read_text()) == results
    run("predict", "--limit_predict_batches", "1")
    assert any("predictions" in file.name for file in folder.iterdir())


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


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(run: Run, project: Path) -> None:
    run(*QUICK, "--name", "peace")
    (project / "callbacks/stop.py").write_text(STOP)
    run(*QUICK, "--name", "stopped", "--callbacks+=stop", code=143)
    run("--resume")
    folders = [project / f"runs/{name}/version_0" for name in ("peace", "stopped")]
    first, second = ((folder / "metrics.csv").read_text() for folder in folders)
    assert first == second
    first, second = (torch.load(f / "checkpoints/last.ckpt")["state_dict"] for f in folders)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("command", files("command"))
def test_every_command_tells_its_options(run: Run, command: str) -> None:
    assert command in run("--help").stdout
    run(command, "--help")


def test_a_typo_is_answered(run: Run) -> None:
    error = run("--max_epoch", "3", code=2).stderr
    assert error.count("\n") == 1 and "did you mean 'max_epochs'" in error
