"""Checkpoints: written so that no kill can damage them, read so that none can run code."""

import io
import os
import pickle
import signal
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from core.lookup import UsageError
from core.runs import STOP_SIGNALS, RunError, Stopped, read_run, update_run

_BROKEN = (EOFError, LookupError, RuntimeError, ValueError)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is safe on the disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint, or leaves the one before it as it is.

        Raises:
            RunError: The disk is full, or can't be written for another reason.
        """
        place = Path(path)
        temporary = place.with_name(f".{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(place)
            if hasattr(os, "O_DIRECTORY"):  # not on Windows
                folder = os.open(place.parent, os.O_DIRECTORY)
                os.fsync(folder)
                os.close(folder)
        except (OSError, RuntimeError) as error:  # torch turns some into RuntimeError
            temporary.unlink(missing_ok=True)
            raise RunError(f"can't write {place}: {error}; earlier checkpoints are kept") from error

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint, as `read` does."""
        return read(path)


def read(file: Path | str) -> dict[str, Any]:
    """Reads a checkpoint of tensors and plain values; nothing in it is run.

    Raises:
        UsageError: It is an address, damaged, no checkpoint, or holds anything else.
    """
    if "://" in str(file):
        raise UsageError(f"{file}: expected a file; download it first")
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
                if any(part.compress_size != part.file_size for part in parts):
                    raise zipfile.BadZipFile("torch compresses nothing")
                if damaged := archive.testzip():  # torch checks no sums
                    raise zipfile.BadZipFile(damaged)
        found: dict[str, Any] = torch.load(file, "cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except (*_BROKEN, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise UsageError(f"{file} is no checkpoint, or a damaged one, or holds code") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file} is no checkpoint: it holds a {type(found).__name__}")
    return found


def check_storable(hparams: Mapping[str, Any]) -> None:
    """Makes sure that a checkpoint with these hyper-parameters can be read again.

    Raises:
        UsageError: One of them is no plain value.
    """
    for name, value in hparams.items():
        buffer = io.BytesIO()
        try:
            torch.save(value, buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=True)
        except (pickle.PickleError, AttributeError, TypeError) as error:
            hint = f"pass it on as plain values, or save_hyperparameters(ignore=['{name}'])"
            kind = type(value).__name__
            raise UsageError(
                f"no checkpoint can hold the argument {name}, a {kind}; {hint}"
            ) from error


def newest(folder: Path, max_epochs: int | None = None) -> Path | None:
    """The checkpoint to go on from: `last.ckpt`, or the newest other one where it is damaged.

    Args:
        folder: The run's folder.
        max_epochs: How far the run is to go.

    Raises:
        UsageError: It has gone that far already, and was tested.
    """
    for leftover in folder.glob("checkpoints/.*.part"):
        leftover.unlink()
    saved = sorted(folder.glob("checkpoints/*.ckpt"), key=lambda f: f.stat().st_mtime_ns)
    for file in sorted(saved[::-1], key=lambda file: file.stem != "last"):
        try:
            epochs = read(file)["epoch"]
        except UsageError as error:
            print(f"{error}; the one before it is taken")
            continue
        is_over = max_epochs is not None and 0 <= max_epochs <= epochs
        if is_over and read_run(folder).get("state") == "finished":
            raise UsageError(f"{folder} has trained {epochs} epochs; type --max_epochs VALUE")
        return file
    return None


class LastCheckpoint(pl.Callback):
    """Keeps `last.ckpt`, from which a run goes on exactly where it was.

    It is saved before a step, where nothing is half done: as often as costs a hundredth of the
    time, at the latest after so many steps, when training ends, and when the process is asked to
    stop. Comes before all other callbacks, so that none has begun the step.

    Args:
        folder: The run's folder.
        every_n_steps: The most steps that a killed run loses.
    """

    def __init__(self, folder: Path, every_n_steps: int) -> None:
        self.folder, self.every_n_steps = folder, every_n_steps
        self.asked = 0  # the signal, if there was one
        self.saved_step, self.saved_at, self.cost = 0, 0.0, 0.0
        self.agreed_at, self.interval, self.steps_to_agree = 0.0, 1, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From now on a signal only asks; the next step answers it."""
        self.saved_step, self.saved_at = trainer.global_step, time.monotonic()
        for number in STOP_SIGNALS:
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise Stopped(number)
        self.asked = number

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is time to."""
        trainer.fit_loop.restarting = False  # else Lightning withholds an epoch from a plateau
        if batch_idx % trainer.accumulate_grad_batches:
            return  # no checkpoint holds half accumulated gradients
        steps, seconds = trainer.global_step - self.saved_step, time.monotonic() - self.saved_at
        due = steps > 0 and (seconds > 100 * self.cost or steps >= self.every_n_steps)
        due, asked = self._agree(trainer, due)
        if due or asked:
            self._save(trainer)
        if asked:
            raise Stopped(asked)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stops if asked to; validation itself can't be saved."""
        sampler = getattr(trainer.val_dataloaders, "sampler", None)
        all_are_here = trainer.world_size == 1 or batch_idx < getattr(sampler, "fewest", 0)
        if all_are_here and (asked := self._agree(trainer)[1]):
            raise Stopped(asked)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the final state."""
        self.steps_to_agree = 0
        self._agree(trainer)  # or none saves
        self._save(trainer)
        for number in STOP_SIGNALS:
            signal.signal(number, Stopped.now)

    def _agree(self, trainer: pl.Trainer, due: bool = False) -> tuple[bool, int]:
        """What any of the processes wants; several ask each other about once a second."""
        if trainer.world_size == 1:
            return due, self.asked
        self.steps_to_agree -= 1
        if self.steps_to_agree > 0:
            return False, 0
        failure = getattr(trainer.lightning_module, "failure", None)
        now = time.monotonic()
        wishes = torch.tensor([due, self.asked, failure is not None, now - self.agreed_at])
        wishes = trainer.strategy.reduce(wishes.to(trainer.strategy.root_device), reduce_op="max")
        saves, asked, fails, seconds = wishes.tolist()
        if fails:
            raise failure or RunError("stopped, as another process failed")
        left = self.every_n_steps - (0 if saves else trainer.global_step - self.saved_step)
        self.interval = max(1, min(left, int(self.interval / seconds)))
        self.steps_to_agree, self.agreed_at = self.interval, now
        return bool(saves), int(asked)

    def _save(self, trainer: pl.Trainer) -> None:
        begin = time.monotonic()
        trainer.save_checkpoint(self.folder / "checkpoints" / "last.ckpt")
        if trainer.is_global_zero:
            facts = {"epochs": trainer.current_epoch, "steps": trainer.global_step}
            size = sum(p.numel() for p in trainer.lightning_module.parameters())
            update_run(self.folder, **facts, parameters=size)
        self.saved_step, self.saved_at = trainer.global_step, time.monotonic()
        self.cost = self.saved_at - begin

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds how much is logged; takes back what Lightning adds to the logged step on loading."""
        for logger in trainer.loggers:
            logger.save()
        file = self.folder / "metrics.csv"
        checkpoint["logged_rows"] = len(file.read_bytes().splitlines()) - 1 if file.exists() else 0
        loop = trainer.fit_loop.epoch_loop
        batches: Any = loop.batch_progress.current
        if batches.started < batches.ready and not loop._should_accumulate():
            state = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]
            state["_batches_that_stepped"] -= 1
