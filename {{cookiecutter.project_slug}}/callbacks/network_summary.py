"""Shows the layers of the network, and how it is trained."""

import itertools
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks as cb

from callbacks.speed import Speed
from core.lightning import Summary
from core.train.freezing import Freezing


class NetworkSummary(cb.RichModelSummary):
    """Lightning's table, without the rows of loss and metrics; it never ends a run.

    Args:
        max_depth: How deep layers inside of layers are shown; 0 for no table, -1 for all.
    """

    def __init__(self, max_depth: int = 2) -> None:
        super().__init__(max_depth)
        self.max_depth = max_depth

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the table."""
        if not self.max_depth:
            return
        try:
            summary = Summary(pl_module, max_depth=self.max_depth)
            if trainer.is_global_zero:
                columns, whole, trained, *rest = summary.table()
                freezing = [c for c in trainer.callbacks if isinstance(c, Freezing)]  # type: ignore[attr-defined]
                trained -= sum(c.size for c in freezing)
                self.summarize(columns, whole, trained, *rest)
            if summary.missing:
                pl_module.print(f"the summary has {summary.missing}")
        except Exception as error:  # whatever it is, training does not need it
            pl_module.print(f"no summary: {type(error).__name__}: {error}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells how the network is trained."""
        parts = [str(trainer.strategy.root_device), f"precision {trainer.precision}"]
        for optimizer in trainer.optimizers:
            is_fused = bool(optimizer.defaults.get("fused"))
            parts += ["fused " * is_fused + type(optimizer).__name__]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            parts += callback.words() if isinstance(callback, Speed) else []
        parts += [f"num_workers {getattr(trainer.train_dataloader, 'num_workers', 0)}"]
        pl_module.print(", ".join(parts))

    @staticmethod
    def summarize(summary_data: Any, *numbers: Any, **named: Any) -> None:
        """Prints the table."""
        roots = [name.partition(".")[0] for name in dict(summary_data)["Name"]]
        shown = [root != "loss" and not root.endswith("_scores") for root in roots]
        columns = [(title, [*itertools.compress(rows, shown)]) for title, rows in summary_data]
        cb.RichModelSummary.summarize(columns, *numbers, **named)
