"""Finding a learning rate, or a batch size, before training."""

import gc
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pytorch_lightning import callbacks as cb
from torch.utils.data import IterableDataset

from callbacks.finite_loss import FiniteLoss
from commands.fit import begin_from, check
from core import ROOT, lightning
from core.cli.options import Options
from core.cli.project_file import ProjectFile
from core.errors import UsageError
from core.job import Job
from core.runs.lr_curve import rate_option, suggest
from core.runs.opening import place
from core.runs.processes import say
from core.train.own_loaders import OwnLoaders
from core.train.tuning import Ramp, Steps, Stopwatch, search
from main import build

# Options of `fit` that would validate, stop, show or keep something, or move the rate.
_OFF: dict[str, Any] = {
    **{"trainer.max_epochs": -1, "trainer.min_epochs": None, "trainer.min_steps": None},
    **{"trainer.max_time": None, "trainer.limit_val_batches": 0, "trainer.profiler": None},
    **{"trainer.check_val_every_n_epoch": 1, "trainer.val_check_interval": 1.0},
    **{"trainer.devices": 1, "trainer.num_nodes": 1, "trainer.strategy": "auto"},
    **{"trainer.enable_progress_bar": False, "trainer.enable_model_summary": False},
    **{"monitor": None, "stop_early": False, "lr_scheduler": None, "warmup_steps": 0},
}
_LEFT_OUT = (
    *(cb.Checkpoint, cb.EarlyStopping, cb.LearningRateMonitor, cb.WeightAveraging),
    *(cb.Timer, FiniteLoss),
)


def tune(
    options: Options,
    *,
    find: Literal["lr", "batch_size"],
    steps: int = 100,
    min_lr: float = 1e-7,
    max_lr: float = 10.0,
    init_from: str | None = None,
    write: bool = False,
) -> None:
    """Find a learning rate or a batch size, with real steps that leave no run.

    It trains as fit would, on one device, without validation, schedule and early stopping.

    Args:
        options: All that was typed.
        find: lr raises the learning rate at each step, and suggests the middle between where the
            loss falls most steeply and its minimum; batch_size doubles the batch, and suggests
            the smallest within 5 % of the best throughput.
        steps: Steps of the optimizer: of the ramp, or the most for each batch size.
        min_lr: Learning rate at the beginning of the ramp.
        max_lr: The one at its end, unless the loss diverges before.
        init_from: A run, or a file with weights, to begin with the weights of.
        write: Whether to put what was found into config.yaml.

    Raises:
        RunError: There is nothing to suggest.
        UsageError: An argument that can't work.
    """
    if steps < 10 or not 0 < min_lr < max_lr:
        typed = f"--steps {steps} --min_lr {min_lr} --max_lr {max_lr}"
        raise UsageError(f"{typed}: expected 10 steps or more, and 0 < min_lr < max_lr")
    if int(os.environ.get("WORLD_SIZE") or 1) > 1 or options.values.get("trainer.fast_dev_run"):
        raise UsageError("tune takes real steps in one process: no --fast_dev_run, no torchrun")
    key, lr = rate_option(options) if find == "lr" else ("batch_size", 0.0)
    file = ProjectFile(ROOT / "config.yaml") if write else None
    network = options.values["model_name"]
    if file and "." in key and file.content.get("model_name") != network:
        raise UsageError(f"--write true: {key} needs model_name: {network} in config.yaml")
    if options.values.get("trainer.devices", "auto") not in ("auto", "1", 1):
        say("tune trains on one device, and the batch is that of one")
    root, name = place(options)
    folder = Path(root) / "tune" / options.of("make_folder").get("name", name)
    for known in _OFF.keys() & options.known().keys():
        options.set(known, _OFF[known])
    options.set("trainer.max_steps", 10 * steps)  # for schedules with a length; it ends before
    options.set("drop_last", find == "batch_size" or options.values.get("drop_last", False))
    with tempfile.TemporaryDirectory() as scratch:
        options.set("trainer.default_root_dir", scratch)
        job = build(options, **options.of("build"))
        check(job)
        if init_from:
            begin_from(job, init_from, root)
        if find == "lr":
            ramp = Ramp(np.geomspace(min_lr, max_lr, steps).tolist(), lr)
            _train(job, ramp)
            found: float = suggest(ramp, folder)
        elif isinstance(job.data.parts, OwnLoaders):
            raise UsageError("--find batch_size: the loaders are those of the data itself")
        else:
            part = job.data.part("train")
            most = None if isinstance(part, IterableDataset) else len(part)
            found = search(lambda size: _timed(options, size, steps), most)
    say(f"type --{key} {found}")
    if file:
        file.set(key, found)
        say(f"{file.file.name} has it now")


def _timed(options: Options, size: int, steps: int) -> Stopwatch | None:
    """Times a batch size; None if it takes more memory than there is."""
    options.set("batch_size", size)
    watch = Stopwatch(steps)
    gc.collect()  # what the size before has taken
    try:
        _train(build(options, **options.of("build")), watch)
    except Exception as error:
        if not lightning.is_out_of_memory(error):
            raise
        return None
    return watch


def _train(job: Job, steps: Steps) -> None:
    callbacks: list[cb.Callback] = job.trainer.callbacks  # type: ignore[attr-defined]
    callbacks[:] = [*(c for c in callbacks if not isinstance(c, _LEFT_OUT)), steps]
    with lightning.refused():
        job.trainer.fit(job.model, job.data)
