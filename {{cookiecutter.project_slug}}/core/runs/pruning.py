"""The end of a run that is a hopeless trial of a sweep."""

from pathlib import Path

import pytorch_lightning as pl

from core.errors import Pruned
from core.train.trials import Trial


class Pruning(pl.Callback):
    """Tells the sweep what is monitored after each epoch, and ends the run if the sweep says so."""

    def __init__(self, folder: Path, monitor: str | None) -> None:
        self.folder, self.monitor = folder, monitor
        self.trial: Trial | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the epoch before: all its callbacks are done."""
        value = trainer.callback_metrics.get(self.monitor or "")
        epoch, is_hopeless = trainer.current_epoch - 1, False
        if value is None or epoch < 0:
            return
        if trainer.is_global_zero:
            self.trial = self.trial or Trial(self.folder)
            is_hopeless = self.trial.is_hopeless(epoch, value.item())
        if trainer.strategy.broadcast(is_hopeless):
            what = f"{self.monitor} {value:.4g} after {epoch + 1} epochs"
            raise Pruned(f"{what} is worse than that of other trials: this one ends here")
