"""`python main.py …` as typed."""

import json
from pathlib import Path

import pytest
import torch

from core.cli.names import files

from .conftest import Run

QUICK = ("--model_name", "mlp", "--max_epochs", "2", "--enable_progress_bar", "false")


def test_fit_test_and_predict(run: Run, project: Path) -> None:
    shown = run(*QUICK, "--hidden_sizes", "32", "--lr", "5e-3").stdout
    folder = project / "runs/digits-mlp/version_0"
    assert "Results in runs/digits-mlp/version_0" in shown
    results = json.loads((folder / "metrics.json").read_text())
    assert results["test_acc"] > 0.8
    run("test", "digits-mlp")
    assert json.loads((folder / "metrics.json").read_text()) == results
    run("predict")
    assert len((folder / "predictions.csv").read_text().splitlines()) == 361


STOP = """
import os
import signal

import pytorch_lightning as pl

class Stop(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 27 and not os.path.exists("stopped"):
            open("stopped", "w").close()
            os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(run: Run, project: Path) -> None:
    words = (*QUICK, "--dropout", "0.2")
    run(*words, "--name", "peace")
    (project / "callbacks/stop.py").write_text(STOP)
    run(*words, "--name", "stopped", "--callbacks+=stop", code=143)
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
