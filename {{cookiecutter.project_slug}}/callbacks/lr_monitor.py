"""Logs the learning rate."""

import pytorch_lightning as pl
from pytorch_lightning import callbacks as cb


class LRMonitor(cb.LearningRateMonitor):
    """Lightning's, which without a logger has nothing to do."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finds the rates to log."""
        if trainer.loggers:
            super().on_train_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: pl.Trainer, *step: object) -> None:
        """Logs them."""
        if trainer.loggers:
            super().on_train_batch_start(trainer, *step)

    def on_train_epoch_start(self, trainer: pl.Trainer, *step: object) -> None:
        """The same each epoch."""
        if trainer.loggers:
            super().on_train_epoch_start(trainer, *step)
