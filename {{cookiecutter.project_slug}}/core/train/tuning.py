"""What `tune` measures in real steps: the loss of each learning rate, the speed of a batch size."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch

from core.errors import RunError, UsageError
from core.runs.processes import say


class Steps(pl.Callback):
    """Ends training that makes no more steps of the optimizer, such as that on an empty stream."""

    step = 0  # steps of the optimizer that are over
    before = -1  # those of the epochs before

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks whether there were some."""
        trainer.should_stop |= self.step == self.before
        self.before = self.step


class Ramp(Steps):
    """Raises the learning rate with each step of the optimizer until the loss diverges.

    One factor for all parameter groups, so that they keep their ratio, in place of a schedule.

    Args:
        rates: The learning rates, one a step.
        lr: The learning rate that the optimizer was made with.
    """

    def __init__(self, rates: Sequence[float], lr: float) -> None:
        self.rates, self.lr = rates, lr
        self.losses: list[float] = []  # of each step that was made, the last may not be finite
        self.best = math.inf  # the smallest smoothed loss so far
        self._parts: list[float] = []  # losses of the batches of one step
        self._bases: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes schedules out.

        Raises:
            UsageError: There is no single optimizer that Lightning steps.
        """
        if not pl_module.automatic_optimization or len(trainer.optimizers) != 1:
            what = f"{type(pl_module).__name__} steps its optimizers by itself"
            raise UsageError(f"--find lr: {what}; it needs one, under automatic optimization")
        trainer.strategy.lr_scheduler_configs = []
        for group in trainer.optimizers[0].param_groups:
            begun = group.get("initial_lr", group["lr"])  # a schedule may have moved it already
            self._bases.append(group.get("max_lr", begun))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Sets the rates."""
        factor = self.rates[self.step] / self.lr
        for group, base in zip(trainer.optimizers[0].param_groups, self._bases, strict=True):
            group["lr"] = base * factor

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keeps the loss, and looks whether to go on."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
        loss = math.nan if loss is None else float(loss)  # a step that the network skips
        self._parts.append(loss * trainer.accumulate_grad_batches)  # by which Lightning divides
        if trainer.global_step == self.step:
            return  # gradients are still accumulated
        self.step = trainer.global_step
        self.losses.append(statistics.fmean(self._parts))
        self._parts = []
        weights = [0.9**age for age in range(len(self.losses))]
        average = float(np.average(self.losses[::-1], weights=weights))
        self.best = min(self.best, average)
        is_over = not average <= self.best + 3 * abs(self.best)  # also if it is not a number
        trainer.should_stop |= is_over or self.step == len(self.rates)


class Stopwatch(Steps):
    """Times steps of the optimizer, from waiting for data on, after three to warm up.

    Args:
        most: How many.
        seconds: The time after which five are enough.
    """

    def __init__(self, most: int, seconds: float = 2.0) -> None:
        self.most, self.seconds = most, seconds
        self.times: list[float] = []  # seconds of each step
        self.speeds: list[float] = []  # batches a second
        self.memory = 0  # see `peak_memory`
        self._to_warm_up, self._batches, self._since = 3, 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From now on a GPU's memory counts."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The end of an epoch does not count."""
        self._since = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Takes the time if a step was made."""
        self._batches += 1
        if trainer.global_step == self.step:
            return
        if trainer.strategy.root_device.type != "cpu":
            torch.accelerator.synchronize()
        now = time.perf_counter()
        if self._to_warm_up:
            self._to_warm_up -= 1
        else:
            self.times.append(now - self._since)
            self.speeds.append(self._batches / self.times[-1])
        self._since, self._batches, self.step = now, 0, trainer.global_step
        has_enough = len(self.times) >= 5 and sum(self.times) > self.seconds
        trainer.should_stop |= has_enough or len(self.times) == self.most

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the memory."""
        self.memory = peak_memory(trainer.strategy.root_device)


def peak_memory(device: torch.device) -> int:
    """The most bytes that training took of a GPU; else all that this process has ever taken."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Valley(NamedTuple):
    """Where the loss of a ramp falls to its minimum, as learning rates."""

    steepest: float
    lowest: float
    smoothed: Any  # the curve, an array
    is_clear: bool  # whether the loss falls, and by twice as much as it scatters

    @property
    def middle(self) -> float:
        """Halfway between the two, over the logarithm of the rate."""
        return math.sqrt(self.steepest * self.lowest)


def valley(rates: Sequence[float], losses: Sequence[float]) -> Valley:
    """Looks at the losses over the logarithm of the rate, smoothed by a Gaussian of 1/3 decade.

    The steepest place is looked for before the minimum, as a loss that has leapt up falls again.

    Args:
        rates: Learning rates, rising by a factor.
        losses: The loss at each, finite.
    """
    x, y = np.log10(rates), np.asarray(losses)
    weights = np.exp(-(((x[:, None] - x) * 3) ** 2) / 2)
    smoothed = weights @ y / weights.sum(1)
    lowest = int(smoothed.argmin())
    steepest = int(np.gradient(smoothed, x)[: lowest + 1].argmin())
    fall = smoothed[: lowest + 1].max() - smoothed[lowest]
    scatter = max(2 * np.std((y - smoothed)[: lowest + 1]), 1e-6 * abs(smoothed).max())
    is_clear = 0 < steepest < lowest and fall > scatter
    return Valley(rates[steepest], rates[lowest], smoothed, bool(is_clear))


def smallest(speeds: Mapping[int, float], share: float = 0.95) -> int:
    """The smallest batch size whose speed is at least this share of the best."""
    return min(size for size, speed in speeds.items() if speed >= share * max(speeds.values()))


def search(measure: Callable[[int], Stopwatch | None], samples: int | None) -> int:
    """Doubles the batch size as far as it goes or pays, prints a table, and picks one.

    Args:
        measure: Times a batch size; gives None if it takes more memory than there is.
        samples: How many there are to train on; None if nobody knows.

    Raises:
        RunError: There is none to pick.
    """
    speeds: dict[int, float] = {}
    size, end, scatters = 2, f"the training part has {samples} samples", False
    say(f"{'batch_size':>10} {'samples/s':>10} {'ms/step':>10} {'peak MiB':>10}")
    while samples is None or size <= samples:
        watch = measure(size)
        if watch is None or len(watch.times) < 2:
            end = f"a batch of {size} {'does not fit in memory' if not watch else 'is never full'}"
            break
        low, middle, high = statistics.quantiles(watch.times, n=4)
        scatters |= high > 1.5 * low
        speeds[size] = size * statistics.median(watch.speeds)
        memory = watch.memory / 2**20
        say(f"{size:10} {speeds[size]:10.0f} {1000 * middle:10.1f} {memory:10.0f}")
        before, last = [*speeds.values()][:-3], [*speeds.values()][-3:]
        if before and max(last) < 1.05 * max(before):
            end = "three in a row were no faster"
            break
        size *= 2
    if not speeds:
        raise RunError(f"there is no batch size to choose: {end}")
    if scatters:
        say("the times scatter: what else runs on this machine may have changed the answer")
    say(f"{end}; the smallest within 5 % of the best throughput is {smallest(speeds)}")
    return smallest(speeds)
