"""`last.ckpt`, from which a run goes on exactly where it was."""

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from core import lightning
from core.errors import RunError
from core.runs.processes import Stopped, on_stop
from core.runs.record import update_run


class LastCheckpoint(pl.Callback):
    """Keeps the `last.ckpt` of a run's folder.

    It is saved before a step, where nothing is half done: as often as costs a hundredth of the
    time, at the latest after so many steps, when training ends, and when the process is asked to
    stop. Comes before all other callbacks, so that none has begun the step.
    """

    def __init__(self, folder: Path, every_n_steps: int) -> None:
        self.folder, self.every_n_steps = folder, every_n_steps
        self.asked = 0  # the signal, if there was one
        self.failure: RunError | None = None
        self.before: Any = Stopped.now  # what answers a signal when training does not
        self.saved_step, self.saved_at, self.cost = 0, 0.0, 0.0
        self.agreed_at, self.interval, self.steps_to_agree = 0.0, 1, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From now on a signal only asks; the next step answers it."""
        if Stopped.last:  # one came before, and was swallowed by what was being imported
            raise Stopped(Stopped.last)
        self.saved_step, self.saved_at = trainer.global_step, time.monotonic()
        self.before = signal.getsignal(signal.SIGINT) or Stopped.now
        on_stop(self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise Stopped(number)
        self.asked = number

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is time to."""
        lightning.let_plateau_step(trainer)
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
        on_stop(self.before)

    def _agree(self, trainer: pl.Trainer, due: bool = False) -> tuple[bool, int]:
        """What any of the processes wants; several ask each other about once a second."""
        if trainer.world_size == 1:
            return due, self.asked
        self.steps_to_agree -= 1
        if self.steps_to_agree > 0:
            return False, 0
        now = time.monotonic()
        wishes = torch.tensor([due, self.asked, self.failure is not None, now - self.agreed_at])
        wishes = trainer.strategy.reduce(wishes.to(trainer.strategy.root_device), reduce_op="max")
        saves, asked, fails, seconds = wishes.tolist()
        if fails:
            raise self.failure or RunError("stopped, as another process failed")
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
        """Adds how much is logged, and where in a step it is; and writes down the best."""
        best: Any = trainer.checkpoint_callback
        if best and best.best_model_path and trainer.is_global_zero:
            update_run(self.folder, best=Path(best.best_model_path).name)
        for logger in trainer.loggers:
            logger.save()
        file = self.folder / "metrics.csv"
        checkpoint["logged_rows"] = len(file.read_bytes().splitlines()) - 1 if file.exists() else 0
        lightning.count_steps_before(trainer, checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Lets schedules have another length now, and steps another size (`--auto_batch`)."""
        lightning.forget_lengths(checkpoint)
        then = checkpoint.get("DInterface", {}).get("step_size", 0)
        now = getattr(getattr(trainer, "datamodule", None), "batch_size", 0) * trainer.world_size
        if then and now and then != now:
            lightning.count_batches_anew(checkpoint, then, now)


def fail(trainer: pl.Trainer, failure: RunError) -> None:
    """Ends a run: at once, or with several processes where all of them can stop together."""
    waiting = [c for c in trainer.callbacks if isinstance(c, LastCheckpoint)]  # type: ignore[attr-defined]
    if trainer.world_size == 1 or not waiting:
        raise failure
    waiting[0].failure = failure
