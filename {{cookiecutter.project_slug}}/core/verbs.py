"""What can be done: each verb is a function, its parameters after the `*` are its options."""

import csv
import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.memory import is_oom_error
from pytorch_lightning.utilities.model_helpers import is_overridden
from rich.console import Console
from rich.table import Table
from torch import Tensor

from core.checkpoints import check_storable, read
from core.lookup import UsageError
from core.options import parse
from core.profile import TimeProfiler
from core.runs import RunError, TryAgain, find_checkpoint, find_folder, recorded, save_results
from core.seeding import run_seed
from data import DInterface


@dataclass
class Job:
    """What one command works with."""

    verb: str
    model: pl.LightningModule
    data: DInterface
    trainer: pl.Trainer
    folder: Path | None  # the run's; None if nothing is to be written
    checkpoint: Path | None = None  # to go on from
    changed: list[str] = field(default_factory=list)  # of the run's options, as "lr=0.1"

    def file(self, name: str, checkpoint: Path) -> Path:
        """Where results go: `metrics.json`, or `metrics-last-dataset=other.json`."""
        assert self.folder is not None
        is_best = checkpoint == find_checkpoint(self.folder, "best")
        parts = [checkpoint.stem] * (not is_best) + self.changed
        stem, _, suffix = name.partition(".")
        text = "-".join([stem, *parts]).replace(os.sep, "_")[:200]
        return self.folder / f"{text}.{suffix}"


def fit(
    job: Job,
    *,
    resume: str | None = None,
    init_from: str | None = None,
    profile: bool = False,
    auto_batch: bool = False,
) -> None:
    """Train, then test the best weights.

    Args:
        job: What to train.
        resume: An earlier run to go on with, exactly where it was: last, its name or its folder.
            Its options hold; those that leave network and data as they are may be changed.
        init_from: A run, or a file with weights, to begin with the weights of. Those that do not
            fit are left out and named.
        profile: Whether to tell in a table where the time goes.
        auto_batch: Whether to halve the batch when memory runs out, and to accumulate the gradients
            of twice as many, so that a step of the optimizer sees as many samples as before.

    Raises:
        UsageError: There are no such weights, or nothing is left to train.
        TryAgain: With a smaller batch.
    """
    _check(job)
    ids = {type(logger).__name__: logger.version for logger in job.trainer.loggers}
    facts: dict[str, Any] = {"loggers": {name: id for name, id in ids.items() if id}}
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    facts |= {"cuda": torch.version.cuda, "devices": [f"{os.cpu_count()} cores", *gpus]}
    with recorded(job.folder, seed=run_seed(), **facts):
        changes = {}
        try:
            _train(job, resume, init_from, profile)
        except Exception as error:
            if not _is_out_of_memory(error) or job.data.batch_size == 1:
                raise
            size, times = job.data.batch_size // 2, job.trainer.accumulate_grad_batches * 2
            words = f"--batch_size {size} --accumulate_grad_batches {times}"
            if not auto_batch or job.trainer.world_size > 1:
                hint = "--auto_batch true does so by itself, in one process"
                error.add_note(f"to use less memory, type {words}; {hint}")
                raise
            print(f"out of memory; going on with {words}")
            changes = {"batch_size": size, "trainer.accumulate_grad_batches": times}
        if changes:  # here nothing holds on to what took the memory
            raise TryAgain(changes)


def _is_out_of_memory(error: Exception) -> bool:
    """Of a device, of the host, or of a process that loads data and was killed for it."""
    texts = ("out of memory", "allocate memory", "killed by signal: Killed", "exited unexpectedly")
    found = isinstance(error, MemoryError) or any(text in str(error) for text in texts)
    return found or is_oom_error(error)


def load_run(run: str = "last", ckpt: str = "best") -> tuple[pl.LightningModule, DInterface]:
    """Network and data of a run, for a notebook: `model, data = load_run("digits-resnet")`.

    Args:
        run: The run: last, its name or its folder.
        ckpt: Its checkpoint: best, last or a file.

    Raises:
        UsageError: There is no such run or checkpoint.
    """
    from main import VERBS, build

    job = build(parse(["predict", "--run", run], VERBS))
    use(job, run=run, ckpt=ckpt)
    return job.model.eval(), job.data


def _check(job: Job) -> None:
    """Finds before the first step what can't work."""
    trainer = job.trainer
    if trainer.accumulate_grad_batches < 1:
        raise UsageError("--accumulate_grad_batches: expected 1 or more")
    made, started = trainer.num_devices * trainer.num_nodes, os.environ.get("WORLD_SIZE")
    if "TORCHELASTIC_RUN_ID" in os.environ and started != str(made):
        hint = f"--devices and --num_nodes make {made}; type the same"
        raise UsageError(f"torchrun started {started} processes, {hint}")
    for owner in (job.model, job.data):
        check_storable(owner.hparams)


def _train(job: Job, resume: str | None, init_from: str | None, profile: bool) -> None:
    if init_from:
        root = job.folder.parent.parent if job.folder else "runs"
        file = Path(init_from)
        if not file.is_file():
            file = find_checkpoint(find_folder(str(root), init_from), "best")
        warm_start(job.model, file)
    if job.checkpoint:
        print(f"going on from {job.checkpoint}")
    elif resume:
        print(f"{job.folder} has saved nothing yet; it begins anew")
    profiler = TimeProfiler(job.trainer) if profile else None
    try:
        job.trainer.fit(job.model, job.data, ckpt_path=job.checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise UsageError(f"trainer: {' '.join(str(error).split())}") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RunError(f"the disk of {job.folder} is full; earlier checkpoints are kept") from error
    if profiler and job.trainer.is_global_zero:
        profiler.print_table(job.data.num_workers or 0)
    best: Any = job.trainer.checkpoint_callback
    results: dict[str, Any] = {}
    if best and best.best_model_path:
        path = Path(best.best_model_path)
        results = {best.monitor: best.best_model_score.item(), "checkpoint": path.name}
        load_weights(job.model, path)
    if job.data.part("test") is not None and is_overridden("test_step", job.model):
        results |= job.trainer.test(job.model, job.data, verbose=False)[0]
    _report(job, results, job.folder and job.folder / "metrics.json")


def validate(job: Job, **which: str) -> None:
    """Measure a run's weights on the validation set."""
    _measure(job, job.trainer.validate, **which)


def test(job: Job, **which: str) -> None:
    """Measure a run's weights on the test set."""
    _measure(job, job.trainer.test, **which)


def predict(job: Job, **which: str) -> None:
    """Write what a run's weights make of the data, by default the test set, to predictions.csv."""
    file = job.file("predictions.csv", use(job, **which))
    outputs: Any = job.trainer.predict(job.model, job.data)
    save_predictions(job, outputs, file)


def _measure(job: Job, measure: Callable[..., Any], **which: str) -> None:
    checkpoint = use(job, **which)
    results = {"checkpoint": checkpoint.name} | measure(job.model, job.data, verbose=False)[0]
    _report(job, results, job.file("metrics.json", checkpoint))


def use(job: Job, *, run: str = "last", ckpt: str = "best") -> Path:
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
    if job.data.part({"validate": "val", "export": "train"}.get(job.verb, job.verb)) is None:
        raise UsageError(f"there is no data to {job.verb}; set --val_fraction or --test_fraction")
    return checkpoint


def warm_start(model: torch.nn.Module, file: Path) -> None:
    """Takes over the weights of a checkpoint or state_dict whose names and shapes match.

    Raises:
        UsageError: None do, or the file holds no weights.
    """

    def plain(name: str) -> str:  # without what torch.compile, DDP and Lightning put before
        return re.sub(r"^((_orig_mod|module|model|net)\.)+", "", name.replace("_orig_mod.", ""))

    found = read(file)
    found = {plain(name): value for name, value in found.get("state_dict", found).items()}
    own = model.state_dict()
    taken = {
        name: found[plain(name)]
        for name, value in own.items()
        if getattr(found.get(plain(name)), "shape", None) == value.shape
    }
    if not taken:
        raise UsageError(f"--init_from {file}: no weights of it fit this network")
    model.load_state_dict(taken, strict=False)
    left = [name for name in own if name not in taken]
    print(
        f"{len(taken)} of {len(own)} tensors taken from {file}"
        + f"; not {', '.join(left)}" * bool(left)
    )


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """Loads a checkpoint's weights; nothing in the file is run.

    Raises:
        UsageError: The file is no checkpoint, or one of another network.
    """
    try:
        model.load_state_dict(read(file)["state_dict"])
    except (KeyError, RuntimeError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"{file} is no checkpoint of this network: {text}") from error


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
    names = job.data.file_names("predict")
    header, table = _predictions(rows, getattr(job.model, "task", None), job.data)
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["file" if names else "index", *header])
        for name, row in zip(names or range(len(rows)), table, strict=True):
            writer.writerow([name, *row])
    print(f"Predictions in {file}")


def _predictions(rows: Tensor, task: str | None, data: DInterface) -> tuple[list[str], list[Any]]:
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


def _report(job: Job, results: dict[str, Any], file: Path | None) -> None:
    """Prints final metrics as a table, and keeps them in the run folder."""
    if not job.trainer.is_global_zero:
        return
    table = Table("metric", "value")
    for name, value in results.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if file:
        save_results(file, results)
        print(f"Results in {file if job.verb != 'fit' else file.parent}")
