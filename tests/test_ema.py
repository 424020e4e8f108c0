"""Averages of the weights: which they are, and what is kept of them."""

import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from torch import Tensor, nn

from callbacks.ema import EMA
from core.errors import UsageError
from core.runs.callbacks import make_callbacks

from .command import Project, until
from .conftest import Bake
from .test_runs import QUICK, assert_same_run, load

WAITS = """
import time
from pathlib import Path

import pytorch_lightning as pl


class Waits(pl.Callback):
    def on_validation_batch_start(self, trainer, *about):
        if trainer.global_step == 17 and Path("wait").exists():
            Path("waiting").touch()
            time.sleep(60)
"""


class Line(pl.LightningModule):
    """A weight that each step moves by -1: 9, 8, 7, … after it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(10.0))
        self.validated: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """With a gradient of 1."""
        return self.weight * batch.mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Keeps what is validated."""
        self.validated.append(self.weight.item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Steps as long as the gradient."""
        return torch.optim.SGD(self.parameters(), 1.0)

    def train_dataloader(self) -> object:
        """Four ones."""
        return torch.utils.data.DataLoader(torch.ones(4, 1))  # type: ignore[arg-type]

    val_dataloader = train_dataloader


@pytest.mark.filterwarnings("ignore:.*dataloader is not resumable")
@pytest.mark.parametrize("decay", [0.999, 0.2])
def test_the_average(decay: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 9, 8, 7, 6 by decays (1 + n) / (10 + n) for n = 2, 3, 4, or the smaller one chosen."""
    model = Line()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[EMA(decay)],
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model)
    expected = 9.0  # after the first step the average is what the weight is
    for weight, limit in ((8, 3 / 12), (7, 4 / 13), (6, 5 / 14)):
        share = min(decay, limit)
        expected = share * expected + (1 - share) * weight
    assert model.validated == pytest.approx([expected] * 4)
    assert model.weight.item() == pytest.approx(expected)
    assert "averaged weights are validated, kept, tested and exported" in capsys.readouterr().out


def test_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be tested is refused; what is too slow by default is said."""
    with pytest.raises(UsageError, match=r"--ema\.decay 1\.5: expected 0 or more, less than 1"):
        EMA(1.5)
    swa = [StochasticWeightAveraging.__name__]
    with pytest.raises(UsageError, match=r"is in last.ckpt alone.*type --callbacks\+=ema"):
        make_callbacks(None, {}, lambda metric: "min", callbacks=[*swa])
    slow: list[str | dict[str, object]] = [EMAWeightAveraging.__name__]
    make_callbacks(None, {}, lambda metric: "min", callbacks=slow)
    assert "--callbacks+=ema begins with fewer" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_in_validation(bake: Bake) -> None:
    """Within an epoch, where weights and average have changed places: it goes on exactly."""
    project = Project(bake())
    (project.folder / "callbacks/waits.py").write_text(WAITS)
    options = [*QUICK, "--max_epochs", "2", "--batch_size", "128", "--val_check_interval", "7"]
    options += ["--checkpoint_every_n_steps", "1", "--callbacks+=[ema,waits]"]
    whole = project.run(*options, "--name", "whole")
    assert "averaged weights are validated" in whole
    (project.folder / "wait").touch()
    process = project.start(*options, "--name", "killed")
    until(process, (project.folder / "waiting").exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=300)
    (project.folder / "wait").unlink()
    step = load(project.of("killed"))["global_step"]
    assert 0 < step <= 17
    refused = project.run("--resume", "killed", "--callbacks", "[waits]", code=2)
    assert "a run goes on as it began, with averaged weights or without" in refused
    project.run("--resume", "killed")
    assert_same_run(project.of("whole"), project.of("killed"))
    last = load(project.of("whole"))
    assert not torch.equal(
        *(last[n]["net.layers.1.weight"] for n in ("state_dict", "current_model_state"))
    )
    best = next(Path(project.of("whole"), "checkpoints").glob("epoch=*"))
    assert load(project.of("whole"), best.stem)["state_dict"].keys() == last["state_dict"].keys()
