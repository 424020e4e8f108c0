"""What surrounds training: callbacks, loggers, and the results on the screen.

Parameters after the `*` are options of the command line.
"""

import csv
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks as cb
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from rich.console import Console
from rich.table import Table

from core import lookup

EARLY_STOPPING = {"patience": 10}  # epochs, where validation is once an epoch


def make_callbacks(
    folder: Path,
    model: pl.LightningModule,
    trainer: dict[str, Any],
    *,
    monitor: str = "val_loss",
    mode: Literal["min", "max"] | None = None,
    stop_early: bool = True,
    early_stopping: dict[str, Any] = EARLY_STOPPING,
    checkpoint: dict[str, Any] | None = None,
    lr_monitor: dict[str, Any] | None = None,
) -> list[cb.Callback]:
    """Early stopping, the best and the last checkpoint, and the learning rate in the logs.

    Args:
        folder: The run's folder.
        model: What is trained.
        trainer: The trainer's settings, which may switch some of these off.
        monitor: Metric that tells the best checkpoint and when to stop early.
        mode: Whether less or more of it is better; by default what the metric itself says.
        stop_early: Whether to stop when the monitor no longer improves.
        early_stopping: Options of Lightning's EarlyStopping.
        checkpoint: Options of Lightning's ModelCheckpoint for the best weights.
        lr_monitor: Options of Lightning's LearningRateMonitor.
    """
    if mode is None:
        more = getattr(model, "higher_is_better", None)
        mode = "max" if more and more(monitor) else "min"
    watch = {"monitor": monitor, "mode": mode}
    place = {"dirpath": folder / "checkpoints"}
    best = {"filename": f"{{epoch}}-{{{monitor}:.4f}}"} | (checkpoint or {})
    found: list[cb.Callback] = []
    if trainer.get("enable_model_summary") is not False:
        found += [cb.RichModelSummary(max_depth=2)]
    if stop_early:
        found += [cb.EarlyStopping(**watch, **EARLY_STOPPING | early_stopping)]
    if trainer.get("enable_checkpointing") is not False:
        found += [cb.ModelCheckpoint(**watch, **place, **best)]
        found += [cb.ModelCheckpoint(**place, filename="last", enable_version_counter=False)]
    if trainer.get("logger"):
        found += [cb.LearningRateMonitor(**(lr_monitor or {}))]
    return found


def own_callbacks(chosen: Any) -> list[cb.Callback]:
    """The user's callbacks.

    Args:
        chosen: One or a list of `module.Class`, or of mappings with `class_path` and `init_args`.

    Raises:
        UsageError: There is no such class.
    """
    found = []
    for entry in chosen if isinstance(chosen, list) else [chosen] if chosen else []:
        wanted = entry if isinstance(entry, dict) else {"class_path": entry}
        target = lookup.own_object("callbacks", str(wanted.get("class_path")))
        found.append(lookup.construct(lookup.load(target), wanted.get("init_args") or {}))
    return found


def make_loggers(
    folder: Path, *, loggers: list[Literal["tensorboard", "csv"]] | None = None
) -> list[Logger]:
    """Loggers that write into the run's folder.

    Args:
        folder: The run's folder.
        loggers: Which to use; by default tensorboard and csv (metrics.csv).
    """
    makers: dict[str, Any] = {"tensorboard": TensorBoardLogger, "csv": CSVLogger}
    return [makers[name](save_dir=folder, name="", version="") for name in loggers or makers]


def show_results(results: dict[str, Any], folder: Path | None) -> None:
    """Prints metrics as a table, and where they are."""
    table = Table("metric", "value")
    for name, value in results.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    console = Console()
    if results:
        console.print(table)
    if folder:
        console.print(f"Results in {folder}", soft_wrap=True, highlight=False)


def save_predictions(file: Path, outputs: list[torch.Tensor]) -> None:
    """Writes one row a sample: its index, and the class and probabilities or the values.

    Args:
        file: The CSV file.
        outputs: Of each batch, logits (B, C) or values (B,) or (B, 1).

    Raises:
        UsageError: The outputs are of another shape.
    """
    if not all(isinstance(o, torch.Tensor) and o.ndim <= 2 for o in outputs):
        raise lookup.UsageError(
            "predictions.csv holds one number or one row of logits a sample; this network returns more"
        )
    values = torch.cat([o.reshape(len(o), -1) for o in outputs]).float()
    classes = values.shape[1] > 1
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["index", "prediction", *(f"p_{c}" for c in range(values.shape[1]) if classes)]
        )
        for index, row in enumerate(values):
            found = [int(row.argmax()), *row.softmax(0).tolist()] if classes else [row.item()]
            writer.writerow([index, *found])
