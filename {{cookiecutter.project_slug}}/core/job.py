"""What a command works with, and what several commands do with it."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table

from core import lightning
from core.cli.options import Options
from core.errors import UsageError
from core.runs.checkpoints import read
from core.runs.folders import find_checkpoint
from core.runs.processes import say
from core.runs.record import save_results
from core.train.outputs import tested
from core.train.own_loaders import OwnLoaders


@dataclass
class Job:
    """What one command works with."""

    command: str  # what to do: fit, test, …
    model: pl.LightningModule  # an MInterface, or one of the user's own
    data: Any  # the DInterface
    trainer: pl.Trainer
    options: Options  # all that was typed
    results: dict[str, Any] = field(default_factory=dict)  # the final metrics, once there are some

    @property
    def folder(self) -> Path | None:
        """The run's; None if nothing is to be written."""
        return self.options.run_folder

    @property
    def loaders(self) -> Any:
        """What the trainer takes: the data, or None where the network's own loaders are used."""
        return None if self.options.has_loaders else self.data

    def file(self, name: str, checkpoint: Path) -> Path:
        """Where results go: `metrics.json`, or `metrics-last-dataset=other.json`."""
        assert self.folder is not None
        stem, _, suffix = name.partition(".")
        return self.folder / f"{stem}{self.label(checkpoint)}.{suffix}"

    def label(self, checkpoint: Path) -> str:
        """What tells results of other weights, and other data, in names of files."""
        assert self.folder is not None
        is_best = checkpoint == find_checkpoint(self.folder, "best")
        parts = [checkpoint.stem] * (not is_best) + self.options.changed
        return "".join(f"-{part}" for part in parts).replace(os.sep, "_")[:180]

    def report(self, results: dict[str, Any], file: Path | None) -> None:
        """Keeps final metrics, in the run folder too, and prints them as a table."""
        self.results = results
        if file:
            self._save_outputs(file.with_name(file.name.replace("metrics", "outputs")))
        if not self.trainer.is_global_zero:
            return
        table = Table("metric", "value")
        for name, value in results.items():
            table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
        Console().print(table)
        if file:
            save_results(file, results)
            say(f"Results in {file if self.command != 'fit' else file.parent}")

    def _save_outputs(self, file: Path) -> None:
        """Keeps what the test made of each sample: `outputs.pt`; of several sets by name."""
        found = tested(self.model, self.data)
        if found and self.trainer.is_global_zero:
            torch.save(found.get("", found), file.with_suffix(".pt"))


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
    job.options.label = job.label(checkpoint)
    part = {"validate": "val", "test": "test", "predict": "predict"}.get(job.command)
    if part and job.data.part(part) is None:
        hint = "set --val_fraction or --test_fraction"
        if isinstance(job.data.parts, OwnLoaders):
            hint = f"give {job.data.parts.name} a {part}_dataloader"
        raise UsageError(f"there is no data to {job.command}; {hint}")
    if job.command == "test" and not job.data.parts.has_target("test"):
        raise UsageError("the test part holds no target; type python main.py predict")
    return checkpoint


def measure(job: Job, with_: Callable[..., Any], **which: str) -> None:
    """Measures the weights of a run, see `use`, with a method of the trainer; keeps the results."""
    checkpoint = use(job, **which)
    with lightning.refused():
        found = with_(job.model, job.loaders, verbose=False)
    results = {"checkpoint": checkpoint.name} | merged(found)
    job.report(results, job.file("metrics.json", checkpoint))


def merged(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics of all sets, as Lightning returns them."""
    return {name: value for metrics in found for name, value in metrics.items()}


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """Loads a checkpoint's weights, of the same network; nothing in the file is run."""
    try:
        model.load_state_dict(read(file)["state_dict"])
    except (KeyError, RuntimeError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"{file} is no checkpoint of this network: {text}") from error
