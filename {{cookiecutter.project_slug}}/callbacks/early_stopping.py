"""Stops when the monitored metric no longer improves."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks as cb
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason


class EarlyStopping(cb.EarlyStopping):
    """Lightning's, which also stops a run that had stopped already when it goes on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what was counted; how long to wait may be another number now."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends a run that had stopped."""
        has_waited = self.wait_count >= self.patience
        if self.stopping_reason is EarlyStoppingReason.PATIENCE_EXHAUSTED and not has_waited:
            self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        if self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True
            self.on_train_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the monitor, unless training ended before it was validated."""
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells why, which Lightning tells nobody."""
        reason = (self.stopping_reason_message or "").partition(" Signaling")[0]
        if self.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
            pl_module.print(
                f"stopped early: {reason} To train on, type --resume --stop_early false"
            )
