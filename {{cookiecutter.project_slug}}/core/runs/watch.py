"""Whether what is watched is logged at all."""

import re
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks as cb

from core import lightning
from core.cli.options import Options
from core.errors import UsageError
from core.runs.processes import is_helper, say

EVALUATED = re.compile("(val|valid|validation|eval|dev)([^a-z]|$)", re.IGNORECASE)


class Watch(pl.Callback):
    """Tells as soon as it can be known that the monitor is not logged, and what is.

    If the user chose it, training ends there, else it goes on without one, which is recorded.
    """

    def __init__(self, options: Options) -> None:
        self.options, self.monitor = options, options.values.get("monitor", "val_loss") or ""
        words = (word.partition("=")[0] for word in options.arguments)
        self.is_chosen = self.monitor not in ("val_loss", "train_loss") or "--monitor" in words

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells of a plateau that can never be reached."""
        waits = [c.patience for c in trainer.callbacks if isinstance(c, cb.EarlyStopping)]  # type: ignore[attr-defined]
        for schedule in (config.scheduler for config in trainer.lr_scheduler_configs):
            patience = getattr(schedule, "patience", -1)
            if waits and patience >= min(waits):
                say(
                    f"training stops after {min(waits)} epochs without progress, before the rate "
                    f"falls, after {patience}: type --lr_scheduler_args.patience {min(waits) // 2}"
                )

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at what the first validation logged."""
        logged = lightning.logged(trainer)
        for config in trainer.lr_scheduler_configs:  # of a LightningModule's own
            watched = config.monitor or ""
            if config.reduce_on_plateau and EVALUATED.match(watched) and watched not in logged:
                name, names = type(pl_module).__name__, ", ".join(logged) or "nothing"
                what = f"{name}.configure_optimizers has a plateau of {watched}"
                raise UsageError(f"{what}, which is not logged; logged in validation: {names}")
        if EVALUATED.match(self.monitor):
            self._look(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same where there was no sanity check."""
        if not trainer.sanity_checking and EVALUATED.match(self.monitor):
            self._look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same for what training logs, unless the module itself does so when an epoch ends.

        A run that goes on after an epoch's validation has not seen one yet.
        """
        is_seen_then = EVALUATED.match(self.monitor) and trainer.enable_validation
        if not is_seen_then and not lightning.has_step(pl_module, "on_train_epoch_end"):
            self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        logged = lightning.logged(trainer)
        if not self.monitor or self.monitor in logged:
            return
        logged = [name for name in logged if not name.startswith("lr-")]
        names = [name for name in logged if EVALUATED.match(name)] or logged
        there = f"logged are {', '.join(logged)}" if logged else "nothing is logged in validation"
        if self.is_chosen:
            raise UsageError(f"--monitor {self.monitor}: there is no such metric; {there}")
        hint = f"type --monitor {names[0]}" if names else "log a metric in validation_step"
        say(
            f"{self.monitor} is not logged, {there}: nothing stops early, and the last weights "
            f"count as the best; {hint}"
        )
        self.monitor = ""
        forget(trainer.callbacks)  # type: ignore[attr-defined]
        self.options.set("monitor", None)
        if self.options.run_folder and not is_helper():
            self.options.save(self.options.run_folder / "config.yaml")


def forget(callbacks: list[Any]) -> None:
    """Takes out early stopping, and has the last weights count as the best."""
    for callback in [*callbacks]:
        if isinstance(callback, cb.EarlyStopping):
            callbacks.remove(callback)
        if isinstance(callback, cb.ModelCheckpoint) and callback.monitor:
            callback.monitor, callback.filename = None, "{epoch}"
            callback.save_top_k = 1
