"""What can be done: each verb is a function, its parameters after the `*` are its options."""

import csv
from collections.abc import Callable
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


def validate(job: Job, **which: str) -> None:
    """Measure a run's weights on the validation set."""
    _measure(job, job.trainer.validate, **which)


def test(job: Job, **which: str) -> None:
    """Measure a run's weights on the test set."""
    _measure(job, job.trainer.test, **which)


def predict(job: Job, **which: str) -> None:
    """Write what a run's weights make of the data, by default the test set, to predictions.csv."""
    _use(job, **which)
    assert job.folder is not None
    save_predictions(job.folder, job.trainer.predict(job.model, job.data))


def _measure(job: Job, measure: Callable[..., Any], **which: str) -> None:
    checkpoint = _use(job, **which)
    results = {"checkpoint": checkpoint.name} | measure(job.model, job.data, verbose=False)[0]
    assert job.folder is not None
    is_best = checkpoint == find_checkpoint(job.folder, "best")
    _report(job, results, "metrics.json" if is_best else f"metrics-{checkpoint.stem}.json")


def _use(job: Job, *, run: str = "last", ckpt: str = "best") -> Path:
    """Loads the weights of an earlier run.

    Args:
        job: What to use.
        run: The run: last, its name or its folder. Its options hold.
        ckpt: Its checkpoint: best, last or a file.

    Raises:
        UsageError: There is no such checkpoint, or no data.
    """
    assert job.folder is not None
    checkpoint = find_checkpoint(job.folder, ckpt)
    load_weights(job.model, checkpoint)
    if job.data.part({"validate": "val"}.get(job.verb, job.verb)) is None:
        raise UsageError(f"there is no data to {job.verb}; set --val_fraction or --test_fraction")
    return checkpoint


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


def _report(job: Job, results: dict[str, Any], file: str = "metrics.json") -> None:
    """Prints final metrics as a table, and keeps them in the run folder."""
    if not job.trainer.is_global_zero:
        return
    table = Table("metric", "value")
    for name, value in results.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if job.folder:
        save_results(job.folder / file, results)
        print(f"Results in {job.folder}")
