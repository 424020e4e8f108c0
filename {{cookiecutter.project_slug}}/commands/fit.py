"""Training."""

import errno
import os
from pathlib import Path
from typing import Any

import torch

from callbacks.time_profile import TimeProfile
from core import lightning
from core.errors import RunError, TryAgain, UsageError
from core.job import Job, load_weights, merged
from core.runs.checkpoints import check_storable
from core.runs.opening import place
from core.runs.processes import is_helper, say
from core.runs.record import read_run, recorded
from core.train.alternation import tell_counting
from core.train.build import check_last_batch
from core.train.own_loaders import OwnLoaders
from core.train.seeding import run_seed
from core.train.weights import begin


def fit(
    job: Job,
    *,
    resume: str | None = None,
    profile: bool = False,
    auto_batch: bool = False,
    final_test: bool = True,
) -> None:
    """Train, then test the best weights.

    Args:
        job: What to train.
        resume: An earlier run to go on with, exactly where it was: last, its name or its folder.
            Its options hold; those that leave network and data as they are may be changed.
        profile: Whether to tell in a table where the time goes.
        auto_batch: Whether to halve the batch when memory runs out, and to accumulate the gradients
            of twice as many, so that a step of the optimizer sees as many samples as before.
        final_test: Whether to test the best weights when training has ended.

    Raises:
        UsageError: There are no such weights, or nothing is left to train.
        TryAgain: With a smaller batch.
    """
    check(job)
    if job.folder and not is_helper():
        job.options.save(job.folder / "config.yaml")
    ids = {type(logger).__name__: logger.version for logger in job.trainer.loggers}
    facts: dict[str, Any] = {"loggers": {name: id for name, id in ids.items() if id}}
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    facts |= {"cuda": torch.version.cuda, "devices": [f"{os.cpu_count()} cores", *gpus]}
    facts |= {"samples": job.data.parts.sizes(), "parts": job.data.parts.told()}
    with recorded(job.folder, job.options.arguments, seed=run_seed(), **facts):
        changes = {}
        try:
            _train(job, resume, profile)
            _finish(job, final_test)
        except Exception as error:
            is_own = isinstance(job.data.parts, OwnLoaders)  # whose batches are of another size
            if is_own or not lightning.is_out_of_memory(error) or job.data.batch_size == 1:
                raise
            size, times = job.data.batch_size // 2, job.trainer.accumulate_grad_batches * 2
            words = f"--batch_size {size} --accumulate_grad_batches {times}"
            if not auto_batch or job.trainer.world_size > 1:
                hint = "--auto_batch true does so by itself, in one process"
                error.add_note(f"to use less memory, type {words}; {hint}")
                raise
            say(f"out of memory; going on with {words}")
            changes = {"batch_size": size, "trainer.accumulate_grad_batches": times}
        if changes:  # here nothing holds on to what took the memory
            raise TryAgain(changes)


def check(job: Job) -> None:
    """Finds before the first step what can't work, and tells what trains."""
    trainer = job.trainer
    tell_counting(trainer, job.model)
    if trainer.accumulate_grad_batches < 1:
        raise UsageError("--accumulate_grad_batches: expected 1 or more")
    if trainer.check_val_every_n_epoch == 0:
        raise UsageError("--check_val_every_n_epoch: expected 1 or more, or null")
    check_last_batch(job.data, job.model, trainer.world_size)
    made, started = trainer.num_devices * trainer.num_nodes, os.environ.get("WORLD_SIZE")
    if "TORCHELASTIC_RUN_ID" in os.environ and started != str(made):
        hint = f"--devices and --num_nodes make {made}; type the same"
        raise UsageError(f"torchrun started {started} processes, {hint}")
    for owner in (job.model, job.data):
        check_storable(owner.hparams)
    job.data.part("test")
    say(job.data.parts.told())
    if not job.data.parts.has_target("test"):
        say("the test part holds no target and is not tested; type python main.py predict")
    if not job.options.has_loaders and lightning.has_step(job.model, "train_dataloader"):
        name, chosen = type(job.model).__name__, job.options.values["dataset"]
        say(f"the loaders of {name} are not used: the data is --dataset {chosen}")


def _train(job: Job, resume: str | None, profile: bool) -> None:
    if job.options.checkpoint:
        say(f"going on from {job.options.checkpoint}")
    elif job.folder and resume and len(read_run(job.folder).get("commands", [])) > 1:
        say(f"{job.folder} has saved nothing yet; it begins anew")
    if not job.options.checkpoint:
        begin(job.model, place(job.options)[0], **job.options.of("begin"))
    if profile:
        job.trainer.callbacks.append(TimeProfile())  # type: ignore[attr-defined]
    try:
        with lightning.refused():
            job.trainer.fit(
                job.model, job.loaders, ckpt_path=job.options.checkpoint, weights_only=True
            )
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RunError(f"the disk of {job.folder} is full; earlier checkpoints are kept") from error


def _finish(job: Job, tests: bool) -> None:
    """Tests the best weights, and reports all that was measured with them."""
    best: Any = job.trainer.checkpoint_callback
    results: dict[str, Any] = {}
    if best and best.best_model_path:
        path = Path(best.best_model_path)
        score = {best.monitor: best.best_model_score.item()} if best.monitor else {}
        results = score | {"checkpoint": path.name}
        load_weights(job.model, path)
    if not tests:
        say("the test part is not looked at")
    elif not job.data.parts.has_target("test"):
        say("the test part holds no target and is not tested; type python main.py predict")
        results |= merged(job.trainer.validate(job.model, job.loaders, verbose=False))
    elif job.data.part("test") is not None and lightning.has_step(job.model, "test_step"):
        if job.data.parts.take_heldout():
            heldout = merged(job.trainer.test(job.model, job.loaders, verbose=False))
            results |= {n.replace("test_", "heldout_", 1): v for n, v in heldout.items()}
            job.data.parts.take_heldout(False)
        results |= merged(job.trainer.test(job.model, job.loaders, verbose=False))
    job.report(results, job.folder and job.folder / "metrics.json")
