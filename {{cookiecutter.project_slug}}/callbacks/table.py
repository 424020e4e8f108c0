"""Prints what each epoch has come to."""

import re
from typing import Any

import pytorch_lightning as pl
from rich.console import Console


class Table(pl.Callback):
    """A line an epoch, above the progress bar; the best value so far of each column in bold.

    Args:
        columns: A regular expression of the metrics to show.
    """

    def __init__(self, columns: str = "^(train|val)_(?!.*_step$)") -> None:
        self.columns = re.compile(columns)
        self.header: list[str] = []
        self.best: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks at the epoch before: now all is logged that it has come to."""
        self._print(trainer, pl_module, trainer.current_epoch - 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last one."""
        self._print(trainer, pl_module, trainer.current_epoch - 1)

    def _print(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int) -> None:
        found = {n: v.item() for n, v in sorted(trainer.callback_metrics.items())}
        found = {name: value for name, value in found.items() if self.columns.search(name)}
        if not found or not trainer.is_global_zero:
            return
        bar: Any = getattr(trainer.progress_bar_callback, "progress", None)
        console = bar.console if bar else Console()
        if self.header != [*found]:
            self.header = [*found]
            console.print("epoch " + " ".join(f"{name:>12}" for name in found), style="bold")
        cells = [self._cell(pl_module, name, value) for name, value in found.items()]
        console.print(f"{epoch:5} " + " ".join(cells), highlight=False)

    def _cell(self, pl_module: pl.LightningModule, name: str, value: float) -> str:
        told: Any = getattr(pl_module, "higher_is_better", None)
        more = told(name) if callable(told) else None
        text = f"{value:{max(12, len(name))}.4g}"
        best = self.best.setdefault(name, value)
        if more is None or (value < best if more else value > best):
            return text
        self.best[name] = value
        return f"[bold]{text}[/bold]"
