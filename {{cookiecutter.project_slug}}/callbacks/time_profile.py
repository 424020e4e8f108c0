"""Where the time of training goes."""

import functools
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import Profiler
from rich.console import Console
from rich.table import Table

from core import lightning
from core.runs.processes import say


class TimeProfile(pl.Callback):
    """Prints at the end where the time went; `--profile true` adds it."""

    profiler: "TimeProfiler"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """From now on all parts of training are timed."""
        if stage == "fit":
            self.profiler = TimeProfiler(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints it."""
        if trainer.is_global_zero:
            self.profiler.print_table(getattr(trainer.train_dataloader, "num_workers", 0))


class TimeProfiler(Profiler):
    """Times each part of training, without the parts inside it.

    On a GPU it waits for each part to end, as its time would else count for a later one.

    Args:
        trainer: Whose training.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        super().__init__()
        self.seconds = dict.fromkeys([*lightning.PARTS.values(), "checkpointing", "all else"], 0.0)
        self.num_batches = 0
        self._running: list[str] = []
        self._since = 0.0
        lightning.profile(trainer, self)
        for logger in trainer.loggers:
            for name in ("log_metrics", "save"):
                setattr(logger, name, self._timed(getattr(logger, name)))

    def _timed(self, function: Any) -> Any:
        @functools.wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            with self.profile("logging"):
                return function(*args, **named)

        return timed

    def start(self, action_name: str) -> None:
        """A part begins, and interrupts the one around it."""
        if not self._running and action_name != lightning.EPOCH:
            return
        self._count()
        parts = lightning.PARTS.items()
        part = next((part for end, part in parts if action_name.endswith(end)), "all else")
        self._running.append("checkpointing" if "Checkpoint" in action_name else part)
        self.num_batches += part == "waiting for data"

    def stop(self, action_name: str) -> None:
        """It ends."""
        if not self._running:
            return
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self._count()
        self._running.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def print_table(self, num_workers: int) -> None:
        """Prints the seconds of each part, and what to change if the data is too slow.

        Args:
            num_workers: Processes that loaded the data.
        """
        total = sum(self.seconds.values())
        if not total:  # the run had ended already
            return
        table = Table("part of training", "seconds", "share")
        for part, seconds in [*self.seconds.items(), ("total", total)]:
            table.add_row(part, f"{seconds:.2f}", f"{seconds / total:.0%}")
        Console().print(table)
        waiting = self.seconds["waiting for data"]
        if waiting > total / 10:
            hint = "a larger --batch_size, or on a GPU --on_device true"
            if waiting > 0.01 * self.num_batches:  # more processes pay
                hint = f"--num_workers {max(2, 2 * num_workers)}, or see get_batch in README.md"
            say(f"training waits for data; try {hint}")
