"""Averages the weights while they are trained."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from core.errors import UsageError
from core.runs.processes import say


class EMA(WeightAveraging):
    """Keeps an exponential moving average of the weights, and of batch norm's statistics.

    It is the average that is validated, kept, tested and exported; training goes on with weights of
    its own, which last.ckpt holds, too. After n steps the decay is at most (1 + n) / (10 + n), so
    that a short run soon forgets how it began.

    Args:
        decay: The share of the average that stays in a step: it is over 1 / (1 - decay) steps.

    Raises:
        UsageError: The decay is not in [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"--ema.decay {decay}: expected 0 or more, less than 1")
        super().__init__(multi_avg_fn=self._average)
        self.decay, self.step = decay, 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says which weights are which."""
        say("averaged weights are validated, kept, tested and exported: see callbacks/ema.py")

    def on_train_batch_end(self, trainer: pl.Trainer, *about: Any) -> None:
        """Averages the weights of a step."""
        self.step = trainer.global_step
        super().on_train_batch_end(trainer, *about)

    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Any) -> None:
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        get_ema_multi_avg_fn(decay)(averaged, current, count)
