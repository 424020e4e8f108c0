"""What a run notes by itself: its first losses, and each look at a test part."""

import contextlib
import csv
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Subset

from core import lightning
from core.cli.options import Options
from core.errors import UsageError
from core.runs import looks
from core.runs.processes import say
from core.runs.record import read_first_steps, read_results, update_run

_NO_DATA = ("batch_size", "num_workers", "drop_last", "balanced")  # options of DInterface


class Looks(pl.Callback):
    """Counts each look at a test part, and writes down which part a run is tested on."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes down the part."""
        folder, part = self.options.run_folder, self._part(trainer)
        if folder and part and trainer.is_global_zero:
            update_run(folder, test_part=part)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts, but for what a run that goes on has found before, and what is not written."""
        folder, part = self.options.run_folder, self._part(trainer)
        is_kept = trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if not folder or not part or not is_kept:
            return
        found = {name: value.item() for name, value in trainer.callback_metrics.items()}
        known = read_results(folder / "metrics.json").items() if found else ()
        if self.options.command == "fit" and known and found.items() <= known:
            return
        try:
            looks.count(self._root(folder), part)
        except (OSError, UsageError) as error:
            say(f"this look at the test part is not counted: {error}")

    def _part(self, trainer: pl.Trainer) -> looks.Part | None:
        """What the samples of the test part depend on; None if there is none, or other data."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(data, "parts") or data.part("test") is None:
            return None
        idle = ("download", *getattr(data.parts, "switches", ()))
        options = {
            f"data.{name}": value
            for name, value in self.options.section("data").items()
            if name not in idle
        }
        if isinstance(data.part("test"), Subset):  # cut from another
            options |= {n: value for n, value in data.hparams.items() if n not in _NO_DATA}
        part = {"dataset": self.options.values["dataset"], "part": "test", "options": options}
        stored: looks.Part = json.loads(json.dumps(part, default=str, sort_keys=True))
        return stored

    def _root(self, folder: Path) -> Path:
        """The folder of all runs."""
        root = Path(self.options.values.get("trainer.default_root_dir") or "runs")
        is_in = folder.resolve().is_relative_to(root.resolve())
        return root if is_in else folder.parent.parent


class FirstSteps(pl.Callback):
    """Keeps the losses of a run's first steps in full: `first_steps.csv`.

    Each line is a step of the optimizer, with the loss of its last batch, in the first process.
    """

    STEPS = 20

    def __init__(self, folder: Path) -> None:
        self.folder, self.step = folder, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes down what the last bits depend on."""
        self.step = trainer.global_step
        if trainer.is_global_zero:
            update_run(self.folder, cpu=_cpu(), threads=torch.get_num_threads())

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keeps the loss of a step."""
        before, self.step = self.step, trainer.global_step
        if before == self.step or before >= self.STEPS or not trainer.is_global_zero:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        text = repr(loss.item()) if isinstance(loss, Tensor) and loss.numel() == 1 else ""
        rows = [(n, value) for n, value in read_first_steps(self.folder) if n <= before]
        with (  # of no more use than to compare
            contextlib.suppress(OSError),
            (self.folder / "first_steps.csv").open("w", newline="") as file,
        ):
            csv.writer(file).writerows([("step", "loss"), *rows, (self.step, text)])


class StopAfter(pl.Callback):
    """Ends training after so many steps; what is as long as training, such as a schedule, stays so.

    Args:
        steps: Of the optimizer.
    """

    def __init__(self, steps: int = FirstSteps.STEPS) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: pl.Trainer, *step: object) -> None:
        """Ends it."""
        if trainer.global_step >= self.steps:
            lightning.end_training(trainer)


def _cpu() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor()
