"""What surrounds training: callbacks and loggers.

Parameters after the `*` are options of the command line.
"""

import csv
import itertools
import logging
import os
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks as cb
from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from core import lookup
from core.checkpoints import LastCheckpoint, read
from core.lookup import ROOT, UsageError
from core.runs import is_helper, read_run, run_name
from core.seeding import StatelessSeeding


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
    checkpoint_every_n_steps: int = 1000,
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
        checkpoint_every_n_steps: The most steps that a killed run loses. It is saved more often
            where that costs less than a hundredth of the time.
    """
    if mode is None:
        more = getattr(model, "higher_is_better", None)
        mode = "max" if more and more(monitor) else "min"
    watch: dict[str, Any] = {"monitor": monitor, "mode": mode}
    best: dict[str, Any] = {"filename": f"{{epoch}}-{{{monitor}:.4f}}"}
    best |= {"dirpath": folder / "checkpoints", "enable_version_counter": False}
    found: list[cb.Callback] = []
    if trainer.get("enable_checkpointing") is not False:
        found += [LastCheckpoint(folder, checkpoint_every_n_steps)]
        found += [cb.ModelCheckpoint(**watch, **best | (checkpoint or {}))]
    found += [StatelessSeeding()]
    own_bar = any(isinstance(own, cb.ProgressBar) for own in trainer.get("callbacks", []))
    if trainer.get("enable_progress_bar") is not False and not own_bar:
        found += [ProgressBar()]
    if trainer.get("enable_model_summary") is not False:
        found += [NetworkSummary(max_depth=2)]
    if stop_early:
        found += [EarlyStopping(**watch, **(early_stopping or {}))]
    if trainer.get("logger"):
        found += [cb.LearningRateMonitor(**(lr_monitor or {}))]
    return found


class EarlyStopping(cb.EarlyStopping):
    """Lightning's, which also stops a run that had stopped already when it goes on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what was counted; how long to wait may be another number now."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends a run that had stopped."""
        reasons = cb.early_stopping.EarlyStoppingReason
        has_waited = self.wait_count >= self.patience
        if self.stopping_reason is reasons.PATIENCE_EXHAUSTED and not has_waited:
            self.stopping_reason = reasons.NOT_STOPPED
        if self.stopping_reason is not reasons.NOT_STOPPED:
            trainer.should_stop = True
            self.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells why, which Lightning tells nobody."""
        reason = (self.stopping_reason_message or "").partition(" Signaling")[0]
        if self.stopping_reason is not cb.early_stopping.EarlyStoppingReason.NOT_STOPPED:
            pl_module.print(
                f"stopped early: {reason} To train on, type --resume --stop_early false"
            )


class ProgressBar(cb.RichProgressBar):
    """Lightning's progress bar, drawn ten times a second: more often would slow small networks."""

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


class NetworkSummary(cb.RichModelSummary):
    """Lightning's table of the layers, without the rows of loss and metrics; and what is fast."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the table; its example is as precise as the network, which Lightning forgets."""
        example = trainer.precision_plugin.convert_input(pl_module.example_input_array)
        pl_module.example_input_array = example
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells how the network is trained."""
        optimizer, device = trainer.optimizers[0], trainer.strategy.root_device
        data = getattr(trainer, "datamodule", None)
        parts = [str(device), f"precision {trainer.precision}"]
        if device.type == "cuda":
            parts += [f"float32 matmul {torch.get_float32_matmul_precision()}"]
        parts += ["fused " * bool(optimizer.defaults.get("fused")) + type(optimizer).__name__]
        parts += ["channels last"] * bool(getattr(pl_module, "channels_last", False))
        parts += ["data on device"] * bool(getattr(data, "on_device", False))
        if mode := getattr(pl_module, "compile_mode", None):
            parts += [f"compiled ({mode})"]
        parts += [f"num_workers {getattr(trainer.train_dataloader, 'num_workers', 0)}"]
        pl_module.print(", ".join(parts))

    @staticmethod
    def summarize(summary_data: Any, *numbers: Any, **named: Any) -> None:
        """Prints the table."""
        roots = [name.partition(".")[0] for name in dict(summary_data)["Name"]]
        shown = [root != "loss" and not root.endswith("_scores") for root in roots]
        columns = [(title, [*itertools.compress(rows, shown)]) for title, rows in summary_data]
        cb.RichModelSummary.summarize(columns, *numbers, **named)


def own_callbacks(chosen: Any) -> list[cb.Callback]:
    """The user's callbacks.

    Args:
        chosen: One or a list of `module.Class`, or of mappings with `class_path` and `init_args`.
            Lightning's need no module.

    Raises:
        UsageError: There is no such class.
    """
    found = []
    for entry in chosen if isinstance(chosen, list) else [chosen] if chosen else []:
        given = entry.as_dict() if hasattr(entry, "as_dict") else entry  # of jsonargparse
        wanted = given if isinstance(given, dict) else {"class_path": given}
        path = str(wanted.get("class_path"))
        path = f"{cb.__name__}.{path}" if hasattr(cb, path) else path
        target = lookup.load(lookup.import_path("callbacks", path))
        callback = lookup.construct(target, wanted.get("init_args") or {})
        if not isinstance(callback, cb.Callback):
            raise UsageError(f"--callbacks {path}: expected a Lightning Callback")
        found.append(callback)
    return found


def make_loggers(
    folder: Path,
    checkpoint: Path | None = None,
    *,
    loggers: list[Literal["tensorboard", "csv", "wandb", "mlflow"]] | None = None,
) -> list[Logger]:
    """Loggers that write into the run's folder.

    Args:
        folder: The run's folder.
        checkpoint: What a run goes on from; what was logged later is taken back.
        loggers: Which to use; by default tensorboard and csv (metrics.csv).

    Raises:
        UsageError: A package is not installed, or a service can't be used.
    """
    saved = read(checkpoint) if checkpoint else None
    rows = saved.get("logged_rows", 0) if saved else 0
    ids = read_run(folder).get("loggers", {})
    place: dict[str, Any] = {"save_dir": folder, "name": "", "version": ""}
    makers: dict[str, Callable[[], Logger]] = {
        "tensorboard": lambda: TensorBoardLogger(
            **place, purge_step=saved and saved["global_step"]
        ),
        "csv": lambda: _csv_logger(place, folder, rows),
        "wandb": lambda: WandbLogger(
            name=run_name(folder),
            save_dir=folder,
            project=ROOT.name,
            id=ids.get("WandbLogger", uuid.uuid4().hex),
            resume="allow",
        ),
        "mlflow": lambda: MLFlowLogger(
            ROOT.name,
            run_name(folder),
            os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}"),
            run_id=ids.get("MLFlowLogger"),
        ),
    }
    found: list[Any] = []
    for name in loggers or ("tensorboard", "csv"):
        try:
            found.append(makers[name]())
            if name in ("wandb", "mlflow"):
                assert found[-1].experiment  # what is wrong with a service, it says now
        except ModuleNotFoundError as error:
            hint = "type uv sync --extra loggers"
            raise UsageError(f"--loggers {name}: it is not installed; {hint}") from error
        except Exception as error:
            raise UsageError(f"--loggers {name}: {error}") from error
    return found


def _csv_logger(place: dict[str, Any], folder: Path, rows: int) -> CSVLogger:
    """A logger that keeps the rows of before."""
    logger = CSVLogger(**place)
    if not is_helper():
        logger._experiment = _MetricsFile(folder, rows)
    return logger


class _MetricsFile(ExperimentWriter):
    """`metrics.csv`, of which no kill takes a row: it is replaced where Lightning writes over it.

    Args:
        folder: Where it is.
        rows: How many of its rows to keep.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.file, self.rows = folder / "metrics.csv", rows
        super().__init__(str(folder))

    def _check_log_dir_exists(self) -> None:
        if self.rows and self.file.exists():
            with self.file.open(newline="") as lines:
                self.metrics_keys = next(csv.reader(lines))
            self._rewrite_with_new_header(self.metrics_keys, self.rows)
        else:
            self.file.unlink(missing_ok=True)

    def _rewrite_with_new_header(self, fieldnames: list[str], rows: int | None = None) -> None:
        part = self.file.with_name(".metrics.csv.part")
        with self.file.open(newline="") as old, part.open("w", newline="") as new:
            writer = csv.DictWriter(new, fieldnames)
            writer.writeheader()
            writer.writerows(itertools.islice(csv.DictReader(old), rows))
        part.replace(self.file)


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy, torch and the loaders' workers, and mutes what no user can mend.

    Raises:
        UsageError: NumPy takes no such seed.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: expected 0 to {2**32 - 1}")
    pl.seed_everything(seed, workers=True, verbose=False)
    if not torch.cuda.is_available():  # else each step looks for a driver, because of Lightning
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for noise in (
        "not have many workers",
        "is not empty",
        "LeafSpec",
        "is not supported by the model summary",
        "logging interval",
        "dataloader is not resumable",
        "when using `ckpt_path`, callbacks",
    ):
        warnings.filterwarnings("ignore", f".*{noise}")
    warnings.filterwarnings("error", "Using a target size")  # not broadcast: the loss tells
