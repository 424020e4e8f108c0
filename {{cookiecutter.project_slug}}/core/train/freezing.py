"""Freezing: what is not trained, a function of the epoch alone."""

from collections.abc import Iterable

import pytorch_lightning as pl
from torch.optim import Optimizer

from core.errors import UsageError
from core.runs.processes import say
from core.train.names import fits, fitting


class Freezing(pl.Callback):
    """Keeps parameters, and batch norm and dropout among them, as they are until an epoch.

    All are in the optimizer from the first step. Several processes wait for the gradient of each:
    there it is computed, and taken away before the step.

    Args:
        patterns: Of names of parameters or modules; with a leading `-` those that are trained all
            the same.
        until: The epoch in which all are trained, from 0; None for never.
    """

    def __init__(self, patterns: Iterable[str], until: int | None = None) -> None:
        self.patterns, self.until = [*patterns], until
        self.names: set[str] = set()
        self.size = 0  # how many numbers they are

    @classmethod
    def chosen(
        cls, patterns: list[str] | None, until: int | None, names: Iterable[str]
    ) -> list["Freezing"]:
        """As options tell: one, or none.

        Raises:
            UsageError: An epoch without patterns, or one that fits none of the parameters' names.
        """
        if until is not None and not patterns:
            raise UsageError(f"--unfreeze_at_epoch {until} needs --freeze")
        for pattern in patterns or []:
            fitting(pattern.removeprefix("-"), names, "--freeze")
        return [cls(patterns, until)] if patterns else []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Finds the parameters, and says how many they are.

        Raises:
            UsageError: Nothing is left to train.
        """
        if stage != "fit":
            return
        sizes = {n: p.numel() for n, p in pl_module.named_parameters() if p.requires_grad}
        self.names = {name for name in sizes if self._fits(name)}
        if self.until is None and len(self.names) == len(sizes):
            raise UsageError(f"--freeze {self.patterns}: nothing is left to train")
        self.size = sum(sizes[name] for name in self.names)
        when = "" if self.until is None else f" until epoch {self.until}"
        say(f"frozen{when}: {self.size:,} of {sum(sizes.values()):,} parameters")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins, or goes on within an epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freezes or thaws."""
        is_frozen = self._is_frozen(trainer)
        for name, parameter in pl_module.named_parameters():
            if name in self.names and trainer.world_size == 1:
                parameter.requires_grad_(not is_frozen)
        for name, module in pl_module.named_modules():
            if name and self._fits(name):
                module.training = not is_frozen

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Takes the gradients of what is frozen away."""
        for name, parameter in pl_module.named_parameters():
            if name in self.names and self._is_frozen(trainer):
                parameter.grad = None

    def _is_frozen(self, trainer: pl.Trainer) -> bool:
        return self.until is None or trainer.current_epoch < self.until

    def _fits(self, name: str) -> bool:
        is_out = any(fits(name, p[1:]) for p in self.patterns if p.startswith("-"))
        return not is_out and any(fits(name, p) for p in self.patterns if p[0] != "-")
