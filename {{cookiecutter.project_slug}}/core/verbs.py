"""What can be done: each verb is a function, its parameters after the `*` are its options."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from rich.console import Console
from rich.table import Table

from core.lookup import UsageError
from core.runs import find_checkpoint, save_results
from data import DInterface


@dataclass
class Job:
    """What one command works with."""

    verb: str
    model: pl.LightningModule
    data: DInterface
    trainer: pl.Trainer
    folder: Path | None  # the run's; None if nothing is to be written


def fit(job: Job) -> None:
    """Train, then test the best weights.

    Args:
        job: What to train.
    """
    job.trainer.fit(job.model, job.data)
    best: Any = job.trainer.checkpoint_callback
    results: dict[str, Any] = {}
    if best and best.best_model_path:
        path = Path(best.best_model_path)
        results = {best.monitor: best.best_model_score.item(), "checkpoint": path.name}
        load_weights(job.model, path)
    if job.data.part("test") is not None and is_overridden("test_step", job.model):
        results |= job.trainer.test(job.model, job.data, verbose=False)[0]
    _report(job, results)


def use(job: Job, *, run: str = "last", ckpt: str = "best") -> None:
    """Use a run's weights: metrics of the validation or test set, or predictions.csv.

    Args:
        job: What to use.
        run: The run: last, its name or its folder. Its options hold.
        ckpt: Its checkpoint: best, last or a file.

    Raises:
        UsageError: There is no such checkpoint, or no data.
    """
    assert job.folder is not None
    load_weights(job.model, find_checkpoint(job.folder, ckpt))
    if job.data.part({"validate": "val"}.get(job.verb, job.verb)) is None:
        raise UsageError(f"there is no data to {job.verb}; set --val_fraction or --test_fraction")
    if job.verb == "predict":
        save_predictions(job.folder, job.trainer.predict(job.model, job.data))
    else:
        results = getattr(job.trainer, job.verb)(job.model, job.data, verbose=False)[0]
        _report(job, results)


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """Loads a checkpoint's weights; nothing in the file is run.

    Raises:
        UsageError: The file is no checkpoint, or one of another network.
    """
    try:
        model.load_state_dict(torch.load(file, "cpu", weights_only=True)["state_dict"])
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"{file} is no checkpoint of this network: {text}") from error


def save_predictions(folder: Path, outputs: Any) -> None:
    """Writes `predictions.csv`: each sample's index, and class and probabilities or value.

    Args:
        folder: The run's folder.
        outputs: Of each batch logits (B, C), or values (B,) or (B, 1).

    Raises:
        UsageError: The outputs are of another shape.
    """
    if not all(isinstance(batch, torch.Tensor) and batch.ndim <= 2 for batch in outputs):
        raise UsageError("predictions.csv holds a number or a row of logits for each sample")
    rows = torch.cat([batch.reshape(len(batch), -1) for batch in outputs]).float()
    classes = range(rows.shape[1]) if rows.shape[1] > 1 else []
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "prediction", *(f"p_{c}" for c in classes)])
        for index, row in enumerate(rows):
            found = [int(row.argmax()), *row.softmax(0).tolist()] if classes else row.tolist()
            writer.writerow([index, *found])
    print(f"Predictions in {folder / 'predictions.csv'}")


def _report(job: Job, results: dict[str, Any]) -> None:
    """Prints final metrics as a table, and keeps them in the run folder."""
    if not job.trainer.is_global_zero:
        return
    table = Table("metric", "value")
    for name, value in results.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if job.folder:
        save_results(job.folder, results)
        print(f"Results in {job.folder}")
