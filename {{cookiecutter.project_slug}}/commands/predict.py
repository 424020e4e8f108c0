"""Using a run's network."""

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from torchvision.io import write_png

from core import lightning
from core.errors import UsageError
from core.job import Job, use
from core.runs.processes import say
from core.train.batches import in_order
from core.train.metrics import are_probabilities
from core.train.outputs import names_of, picture_of, predict_inputs
from core.train.tasks import TASKS, Task, task_of


def predict(job: Job, **which: str) -> None:
    """Write what a run's weights make of the data, by default the test set.

    Numbers or logits of each sample go to predictions.csv; all else, by the names that the network
    gives, to predictions.pt, and masks and pictures to a folder of PNG files, too.
    """
    if any(change.startswith("dataset=") for change in job.options.changed):
        job.data.parts.take_whole()  # new data has no part of its own that trained
    checkpoint = use(job, **which)
    if not any(lightning.has_step(job.model, name) for name in ("predict_step", "forward")):
        raise UsageError(f"{type(job.model).__name__} has neither forward nor predict_step")
    predict_inputs(job.model)
    for name in [*job.data.sets("predict")]:
        job.data.predicted = name
        words = f"predictions-{name.replace('.', '_')}".strip("-")
        file = job.file(f"{words}.csv", checkpoint)
        outputs: Any = job.trainer.predict(job.model, job.loaders)
        if not outputs or any(not tree_leaves(batch) for batch in outputs):
            raise UsageError("there is nothing to write: no samples, or no output of them")
        if all(isinstance(batch, Tensor) and batch.ndim <= 2 for batch in outputs):
            save_predictions(job, outputs, file)
        else:
            save_outputs(job, outputs, file.with_suffix(".pt"))


def save_predictions(job: Job, outputs: list[Tensor], file: Path) -> None:
    """Writes a table: each sample's index or file name, and its class and probabilities or value.

    The outputs are of each batch logits (B, C), or values (B,) or (B, 1).
    """
    flat = [row for batch in outputs for row in batch.reshape(len(batch), -1)]
    rows = torch.stack(in_order(flat)).float()
    if not job.trainer.is_global_zero:
        return
    names, task = names_of(job.data, job.trainer, len(rows)), _task(job, outputs[0])
    loss = getattr(job.model, "loss", None)
    if task and (kind := TASKS[task].kind) and are_probabilities(loss, rows, kind == "multiclass"):
        rows = rows.log() if kind == "multiclass" else rows.logit()
    header, table = _predictions(rows, task, job.data)
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow([*names, *header])
        columns = zip(*names.values(), strict=True)
        writer.writerows([*n, *row] for n, row in zip(columns, table, strict=True))
    say(f"Predictions in {file}")


def save_outputs(job: Job, outputs: list[Any], file: Path) -> None:
    """Writes outputs of any form: `index` or `file` of the samples, and the `output` of each.

    Masks of a segmentation, and pictures (C, H, W) of one or three colours, are PNG files as well.
    """
    samples: list[Any] = []
    for batch in outputs:
        named = batch if isinstance(batch, dict | Tensor) else dict(enumerate(batch))
        size = len(tree_leaves(named)[0])
        samples += [tree_map_only(Tensor, lambda t, i=i: t[i].cpu(), named) for i in range(size)]
    samples = in_order(samples)
    if not job.trainer.is_global_zero:
        return
    names = names_of(job.data, job.trainer, len(samples))
    torch.save({**{n: [*v] for n, v in names.items()}, "output": samples}, file)
    say(f"Predictions in {file}")
    pictures = [picture_of(sample, _task(job, outputs[0])) for sample in samples]
    if all(picture is not None for picture in pictures):
        folder = file.with_suffix("")
        folder.mkdir(exist_ok=True)
        for name, picture in zip([*names.values()][-1], pictures, strict=True):
            place = folder / f"{str(name).replace('/', '_').rpartition('.')[0] or name}.png"
            write_png(picture, str(place))
        say(f"and pictures in {folder}/")


def _task(job: Job, output: Any) -> Task | None:
    """What the output of a batch is about."""
    tasks = getattr(job.model, "tasks", None)
    return task_of(tasks, output) if tasks and isinstance(output, Tensor) else None


def _predictions(rows: Tensor, task: str | None, data: Any) -> tuple[list[str], list[Any]]:
    """Header and lines: each sample's class and probabilities, or its values."""
    size = rows.shape[1]
    if task == "binary" and size == 1:
        rows, size, task = torch.cat([torch.zeros_like(rows), rows], 1), 2, "classification"
    elif task == "regression" or size == 1:
        names = ["prediction"] if size == 1 else [f"prediction_{n}" for n in range(size)]
        return names, data.restored(rows).tolist()
    named = [[*known] for known in data.published("classes") if len(known) == size]
    classes = (named or [[*range(size)]])[0]
    header = ["prediction", *(f"p_{c}" for c in classes)]
    if task in ("binary", "multilabel"):
        several = [" ".join(str(classes[i]) for i in row.nonzero()) for row in rows > 0]
        return header, [[p, *row] for p, row in zip(several, rows.sigmoid().tolist(), strict=True)]
    best = [classes[i] for i in rows.argmax(1)]
    return header, [[p, *row] for p, row in zip(best, rows.softmax(1).tolist(), strict=True)]
