"""Shows how far training is."""

import contextlib
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks as cb


class ProgressBar(cb.RichProgressBar):
    """Lightning's, drawn ten times a second: more often would slow small networks."""

    drawn_at = 0.0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Draws it if it is time to."""
        now = time.monotonic()
        if now - self.drawn_at > 0.1 or batch_idx + 1 == trainer.num_training_batches:
            self.drawn_at = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Ends the drawing, which may not have begun; the exception is what counts."""
        with contextlib.suppress(RuntimeError):
            super().on_exception(trainer, pl_module, exception)
