"""What surrounds training: callbacks and loggers.

Parameters after the `*` are options of the command line.
"""

import logging
import warnings
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning import callbacks as cb
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from core import lookup


def make_callbacks(
    folder: Path,
    model: pl.LightningModule,
    trainer: dict[str, Any],
    *,
    monitor: str = "val_loss",
    mode: Literal["min", "max"] | None = None,
    stop_early: bool = True,
    early_stopping: dict[str, Any] | None = None,
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
    watch: dict[str, Any] = {"monitor": monitor, "mode": mode}
    place: dict[str, Any] = {"dirpath": folder / "checkpoints"}
    best: dict[str, Any] = {"filename": f"{{epoch}}-{{{monitor}:.4f}}"} | (checkpoint or {})
    found: list[cb.Callback] = []
    if trainer.get("enable_model_summary") is not False:
        found += [cb.RichModelSummary(max_depth=2)]
    if stop_early:
        found += [cb.EarlyStopping(**watch, **(early_stopping or {}))]
    if trainer.get("enable_checkpointing") is not False:
        found += [cb.ModelCheckpoint(**watch, **place, **best)]
        place |= {"enable_version_counter": False, "save_on_train_epoch_end": True}
        found += [cb.ModelCheckpoint(filename="last", **place)]
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
        given = entry.as_dict() if hasattr(entry, "as_dict") else entry  # of jsonargparse
        wanted = given if isinstance(given, dict) else {"class_path": given}
        path = str(wanted.get("class_path"))
        target = lookup.load(lookup.import_path("callbacks", path))
        callback = lookup.construct(target, wanted.get("init_args") or {})
        if not isinstance(callback, cb.Callback):
            raise lookup.UsageError(f"--callbacks {path}: expected a Lightning Callback")
        found.append(callback)
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


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy, torch and the loaders' workers, and mutes what no user can mend.

    Raises:
        UsageError: NumPy takes no such seed.
    """
    if not 0 <= seed < 2**32:
        raise lookup.UsageError(f"--seed {seed}: expected 0 to {2**32 - 1}")
    pl.seed_everything(seed, workers=True, verbose=False)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for noise in ("not have many workers", "is not empty", "LeafSpec", "logging interval"):
        warnings.filterwarnings("ignore", f".*{noise}")
    warnings.filterwarnings("error", "Using a target size")  # not broadcast: the loss tells
