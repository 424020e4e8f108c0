"""Systems of several networks, each with an optimizer of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from core.errors import UsageError
from data import DInterface
from model import MInterface

from .conftest import TEMPLATE


def one(weight: float) -> nn.Linear:
    """A network of one number."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    return layer


class Pair(MInterface):
    """Two numbers w and v that pull at each other, by their product times the mean of x."""

    def __init__(self, times: float = 1, every: int = 1, **options: Any) -> None:
        super().__init__(one(1.0), loss=None, optimizer="sgd", lr=0.1, **options)
        self.other: nn.Module = one(2.0)
        self.every = every
        self.alternate(other=times, net=1 / every)
        self.seen: list[int] = []

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """Other first, as often as told."""

        def product() -> Tensor:
            output: Tensor = self.other(self(batch[0]))
            return output.mean()

        for _ in range(round(self.alternation.times["other"])):
            found = self.minimize("other", product)
        if self.batch % self.every == 0:
            found = self.minimize("net", product)
        if stage == "train":
            self.seen.append(self.global_step)
        return {"loss": found}

    @property
    def batch(self) -> int:
        """Which of the epoch's it is, from 1."""
        return len(self.seen) + 1

    def numbers(self) -> list[float]:
        """What it learned: w, v."""
        return [parameter.item() for parameter in self.parameters()]


class Ones(torch.utils.data.TensorDataset):
    """Six samples, all 1."""

    def __init__(self) -> None:
        super().__init__(torch.ones(6, 1))


def fit(model: Any, **settings: Any) -> pl.Trainer:
    """Trains on three batches an epoch."""
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    usual: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1, "limit_val_batches": 0}
    trainer = pl.Trainer(**dict.fromkeys(quiet, False) | usual | settings)
    trainer.fit(model, DInterface(Ones, batch_size=2, val_fraction=0, test_fraction=0))
    return trainer


def rates(trainer: pl.Trainer) -> list[float]:
    """Of each optimizer."""
    return [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]


def by_hand(batches: int, times: int = 1, clip: float = 9e9) -> list[float]:
    """The same with plain numbers: gradients of w v are v and w."""
    w, v = 1.0, 2.0
    for _ in range(batches):
        for _ in range(times):
            v -= 0.1 * max(-clip, min(clip, w))
        w -= 0.1 * max(-clip, min(clip, v))
    return [w, v]


@pytest.mark.parametrize("times", [1, 3])
def test_each_loss_reaches_its_network_alone(times: int) -> None:
    """And one optimizer stepped makes no step more."""
    model = Pair(times)
    trainer = fit(model)
    assert model.numbers() == pytest.approx(by_hand(3, times))
    assert model.seen == [0, 1, 2] and trainer.global_step == 3
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_max_steps_are_batches() -> None:
    """However many steps one of them has."""
    model = Pair(3)
    trainer = fit(model, max_epochs=-1, max_steps=7)
    assert trainer.global_step == 7 and model.numbers() == pytest.approx(by_hand(7, 3))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_clipping(precision: Any) -> None:
    """Not even the fused optimizer of before is one under mixed precision."""
    model = Pair(2)
    trainer = fit(model, gradient_clip_val=0.5, precision=precision)
    assert model.numbers() == pytest.approx(by_hand(3, 2, clip=0.5), rel=1e-2)
    assert trainer.gradient_clip_val == 0.5


def test_accumulation() -> None:
    """Two batches make a step, and the last one is one by itself, as in Lightning."""
    model = Pair()
    trainer = fit(model, accumulate_grad_batches=2)
    assert trainer.global_step == 2 and trainer.accumulate_grad_batches == 2
    w, v, old = 1.0, 2.0, 2.0
    v -= 0.1 * (w + w) / 2
    w -= 0.1 * (old + v) / 2  # in the second batch `other` has stepped before
    assert model.numbers() == pytest.approx([w - 0.1 * v / 2, v - 0.1 * w / 2])


def test_schedules_are_as_long_as_their_steps() -> None:
    """Cosines to nought at the last of 2 x 6, and of 6, steps."""
    model = Pair(2, lr_scheduler="cosine")
    trainer = fit(model, max_epochs=2)
    schedules: list[Any] = [config.scheduler for config in trainer.lr_scheduler_configs]
    assert [schedule.T_max for schedule in schedules] == [12, 6]
    assert [schedule.last_epoch for schedule in schedules] == [12, 6]
    assert [s.get_last_lr()[0] for s in schedules] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("accumulates", [1, 2])
def test_lengths_with_accumulation(accumulates: int) -> None:
    """Of 3 batches and 2 epochs: 3 x 3 x 2 calls are 18 steps, or 5 an epoch."""
    model = Pair(3, lr_scheduler="cosine")
    trainer = fit(model, max_epochs=2, accumulate_grad_batches=accumulates)
    lengths: Any = [cast(Any, config.scheduler).T_max for config in trainer.lr_scheduler_configs]
    steps: Any = [config.scheduler.last_epoch for config in trainer.lr_scheduler_configs]
    assert lengths == steps == ([18, 6] if accumulates == 1 else [10, 4])


def test_schedules_of_epochs() -> None:
    """A tenth after each of two epochs."""
    args = {"step_size": 1, "gamma": 0.1}
    trainer = fit(Pair(2, lr_scheduler="step", lr_scheduler_args=args), max_epochs=2)
    assert rates(trainer) == pytest.approx([0.001, 0.001])


def test_plateau() -> None:
    """A product that only falls is no plateau where less is better, and one where more is."""
    for mode, rate in (("min", 0.1), ("max", 0.01)):
        args = {"patience": 0, "factor": 0.1}
        options: Any = {"lr_scheduler": "plateau", "lr_scheduler_args": args, "mode": mode}
        trainer = fit(Pair(monitor="train_loss", **options), max_epochs=2)
        assert rates(trainer) == pytest.approx([rate] * 2)


def test_more_seldom_than_batches() -> None:
    """`net` at every third batch: one step an epoch, and a batch is a step of the run."""
    model = Pair(every=3, lr_scheduler="cosine")
    trainer = fit(model)
    assert trainer.global_step == 3
    schedules: list[Any] = [config.scheduler for config in trainer.lr_scheduler_configs]
    assert [s.T_max for s in schedules] == [s.last_epoch for s in schedules] == [3, 1]


def test_rates_by_network() -> None:
    """`--lr_factors` takes the names of all."""
    model = Pair(lr_factors={"other": 4.0})
    trainer = fit(model, max_steps=1)
    assert rates(trainer) == pytest.approx([0.4, 0.1])
    assert model.numbers() == pytest.approx([1 - 0.1 * 1.6, 1.6])


class Wrong(Pair):
    """One that is told to step a third network, too."""

    def __init__(self, **times: float) -> None:
        super().__init__()
        self.alternate(**times)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """With a mistake in a name."""
        return {"loss": self.minimize("othr", lambda: self.net(batch[0]).mean())}


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (lambda: Wrong(other=1, nett=1), {}, "alternate: 'nett' .* did you mean 'net'"),
        (
            lambda: Wrong(net=1, other=1),
            {},
            "minimize: 'othr' has no optimizer; did you mean 'other'",
        ),
        (lambda: Wrong(net=0), {}, "expected above 0"),
        (lambda: Pair(every=2), {"accumulate_grad_batches": 2}, "expected whole times"),
    ],
)
def test_told(make: Any, settings: dict[str, Any], message: str) -> None:
    """In a line, before the first step."""
    with pytest.raises(UsageError, match=message):
        fit(make(), **settings)


def test_a_loss_of_another_network() -> None:
    """No step would ever change anything."""

    class Mistaken(Pair):
        def step(self, batch: Any, stage: str) -> dict[str, Any]:
            return {"loss": self.minimize("other", lambda: self.net(batch[0]).mean())}

    with pytest.raises(UsageError, match="the loss of other does not depend on it"):
        fit(Mistaken())


def test_a_rate_that_is_used_up(capsys: pytest.CaptureFixture[str]) -> None:
    """One step a batch was told, two are made: a cosine would rise again."""

    class Often(Pair):
        def step(self, batch: Any, stage: str) -> dict[str, Any]:
            self.minimize("other", lambda: self.other(batch[0]).mean())
            return super().step(batch, stage)

    trainer = fit(Often(lr_scheduler="cosine"))
    assert "other is stepped more often than alternate(other=1) tells" in capsys.readouterr().out
    assert rates(trainer)[0] == pytest.approx(0, abs=1e-9)


def test_outside_of_training() -> None:
    """The loss is computed and nothing is stepped: 1 x 2 and its mean over six ones."""
    model = Pair()
    data = DInterface(Ones, batch_size=2, test_fraction=0.5, val_fraction=0)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    [found] = trainer.test(model, data, verbose=False)
    assert found["test_loss"] == pytest.approx(2) and model.numbers() == [1, 2]


SCRIPT = """
import sys
import torch
import pytorch_lightning as pl
from data import DInterface
from model import MInterface

class Numbers(torch.utils.data.TensorDataset):
    def __init__(self):
        super().__init__(torch.arange(1.0, 7.0)[:, None])

class Pair(MInterface):
    def __init__(self):
        layers = [torch.nn.Linear(1, 1, bias=False) for _ in range(3)]
        for layer, weight in zip(layers, (1.0, 2.0, 3.0)):
            torch.nn.init.constant_(layer.weight, weight)
        super().__init__(layers[0], loss=None, optimizer="sgd", lr=0.01)
        self.other = torch.nn.ModuleList(layers[1:])  # of which the second has no gradient
        self.alternate(other=2, net=1)

    def step(self, batch, stage):
        def product():
            return self.other[0](self(batch[0])).mean()
        for _ in range(2):
            self.minimize("other", product)
        return {"loss": self.minimize("net", product)}

if __name__ == "__main__":
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, **quiet)
    model = Pair()
    trainer.fit(model, DInterface(Numbers, batch_size=3, val_fraction=0, test_fraction=0))
    numbers = torch.tensor([p.item() for p in model.parameters()])
    text = " ".join(map(str, [trainer.global_step, *numbers.tolist()]))
    open(f"found_{trainer.global_rank}.txt", "w").write(text)
"""


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    """Equal weights, as of one process: the numbers' mean is 3.5, of each half another."""
    (tmp_path / "pair.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "pair.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TEMPLATE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [(tmp_path / f"found_{rank}.txt").read_text().split() for rank in range(2)]
    assert rows[0] == rows[1]
    w, v = 1.0, 2.0
    for _ in range(2):
        v -= 0.01 * w * 3.5
        v -= 0.01 * w * 3.5
        w -= 0.01 * v * 3.5
    assert rows[0][0] == "2" and [float(x) for x in rows[0][1:]] == pytest.approx([w, v, 3.0])
