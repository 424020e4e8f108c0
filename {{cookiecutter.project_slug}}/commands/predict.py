"""Using a run's network."""

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

from core.errors import UsageError
from core.job import Job, use
from core.runs.processes import say
from core.train.batches import base


def predict(job: Job, **which: str) -> None:
    """Write what a run's weights make of the data, by default the test set, to predictions.csv."""
    if any(change.startswith("dataset=") for change in job.options.changed):
        job.data.parts.take_whole()  # new data has no part of its own that trained
    file = job.file("predictions.csv", use(job, **which))
    outputs: Any = job.trainer.predict(job.model, job.data)
    save_predictions(job, outputs, file)


def save_predictions(job: Job, outputs: list[Any], file: Path) -> None:
    """Writes a table: each sample's index or file name, and its class and probabilities or value.

    Args:
        job: Whose data.
        outputs: Of each batch logits (B, C), or values (B,) or (B, 1).
        file: Where to write it.

    Raises:
        UsageError: The outputs are of another shape.
    """
    if not all(isinstance(batch, torch.Tensor) and batch.ndim <= 2 for batch in outputs):
        raise UsageError("predictions.csv holds a number or a row of logits for each sample")
    rows = torch.cat([batch.reshape(len(batch), -1) for batch in outputs]).float()
    if job.trainer.world_size > 1:  # process r of n has the samples r, r + n, r + 2n, …
        parts: list[Any] = [None] * job.trainer.world_size
        torch.distributed.all_gather_object(parts, rows)
        every = sum(map(len, parts))
        rows = torch.stack([parts[i % len(parts)][i // len(parts)] for i in range(every)])
    if not job.trainer.is_global_zero:
        return
    if type(getattr(job.model, "loss", None)).__name__ == "BCELoss":  # takes probabilities
        rows = rows.logit()
    names = file_names(job.data.part("predict"))
    header, table = _predictions(rows, getattr(job.model, "task", None), job.data)
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["file" if names else "index", *header])
        for name, row in zip(names or range(len(rows)), table, strict=True):
            writer.writerow([name, *row])
    say(f"Predictions in {file}")


def _predictions(rows: Tensor, task: str | None, data: Any) -> tuple[list[str], list[Any]]:
    """Header and lines: each sample's class and probabilities, or its values."""
    size = rows.shape[1]
    if task == "binary" and size == 1:
        rows, size, task = torch.cat([torch.zeros_like(rows), rows], 1), 2, "classification"
    elif task == "regression" or size == 1:
        names = ["prediction"] if size == 1 else [f"prediction_{n}" for n in range(size)]
        return names, rows.tolist()
    named = [[*known] for known in data.published("classes") if len(known) == size]
    classes = (named or [[*range(size)]])[0]
    header = ["prediction", *(f"p_{c}" for c in classes)]
    if task in ("binary", "multilabel"):
        several = [" ".join(str(classes[i]) for i in row.nonzero()) for row in rows > 0]
        return header, [[p, *row] for p, row in zip(several, rows.sigmoid().tolist(), strict=True)]
    best = [classes[i] for i in rows.argmax(1)]
    return header, [[p, *row] for p, row in zip(best, rows.softmax(1).tolist(), strict=True)]


def file_names(part: Any) -> list[str]:
    """The file of each sample, if the dataset tells: in `samples`, or last in its items."""
    if isinstance(part, IterableDataset):
        return []
    indices = part.indices if isinstance(part, Subset) else range(len(part))
    samples = getattr(base(part), "samples", None)
    if isinstance(samples, list | tuple) and len(samples) > max(indices, default=0):
        known = [samples[index] for index in indices]
        if all(isinstance(s, tuple | list) and isinstance(s[0], str | Path) for s in known):
            return [str(sample[0]) for sample in known]
    item = part[0]
    is_named = isinstance(item, tuple) and len(item) > 2 and isinstance(item[-1], str)
    return [part[index][-1] for index in range(len(part))] if is_named else []
