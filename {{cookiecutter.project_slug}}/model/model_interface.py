"""`MInterface`: everything that is the same for every network."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from core import lightning
from core.cli.construct import is_plain
from core.cli.names import suggest
from core.errors import UsageError
from core.runs.checkpoints import read
from core.train.build import build_loss, build_network
from core.train.losses import check_comparable, explained
from core.train.optim import Optimization
from core.train.scores import Scores
from core.train.tasks import METRICS, TASKS, Task


class MInterface(pl.LightningModule):
    """Trains a network chosen by name, or one handed over from Python.

    To change what is trained, override `step`; what is taken from a batch, `split_batch`; what
    trains it, `configure_optimizers`.

    Args:
        model_name: File in model/, such as resnet; resnet:ResNet50 picks one of its classes or
            functions. From Python also an `nn.Module`, or a class.
        model_args: Arguments of the network's constructor.
        loss: Loss of torch.nn by short name, such as cross_entropy, mse, l1 or bce (on logits), or
            your own class or function as module.Name. From Python also the object itself.
        loss_args: Arguments of the loss.
        optimizer: Optimizer of torch.optim by name, such as adamw or sgd, or your own as
            module.Class. From Python also the class.
        optimizer_args: Further arguments of the optimizer.
        lr: Learning rate.
        weight_decay: Weight decay; null for the optimizer's own default.
        param_groups: Of parameters whose names fit a pattern, lr_factor and weight_decay:
            {backbone: {lr_factor: 0.1}}.
        lr_scheduler: Schedule of torch.optim.lr_scheduler by short name, such as cosine, step,
            plateau or one_cycle, or your own as module.Class.
        lr_scheduler_args: Arguments of the schedule. Total steps are filled in.
        lr_interval: Whether the schedule moves each step or each epoch. By default each step if
            it has a total length, else each epoch.
        warmup_steps: Steps over which the learning rate first rises linearly from 1/100 of itself.
        monitor: Metric that tells the best checkpoint, early stopping and the plateau schedule.
        task: What the metrics measure. By default what goes with the loss.

    Raises:
        UsageError: An argument that can't work.
    """

    def __init__(
        self,
        model_name: str | nn.Module | Callable[..., nn.Module],
        model_args: dict[str, Any] | None = None,
        loss: str | Callable[..., Any] = "cross_entropy",
        loss_args: dict[str, Any] | None = None,
        optimizer: str | Callable[..., Optimizer] = "adamw",
        optimizer_args: dict[str, Any] | None = None,
        lr: float = 1e-3,
        weight_decay: float | None = None,
        param_groups: dict[str, dict[str, float]] | None = None,
        lr_scheduler: str | Callable[..., Any] | None = None,
        lr_scheduler_args: dict[str, Any] | None = None,
        lr_interval: Literal["step", "epoch"] | None = None,
        warmup_steps: int = 0,
        monitor: str = "val_loss",
        task: Task | None = None,
    ) -> None:
        super().__init__()
        # Only plain values go into a checkpoint: it must load without running code.
        given = {"model_name": model_name, "model_args": model_args, "loss": loss}
        given |= {"loss_args": loss_args, "optimizer": optimizer, "optimizer_args": optimizer_args}
        given |= {"lr_scheduler": lr_scheduler, "lr_scheduler_args": lr_scheduler_args}
        self.save_hyperparameters(ignore=[n for n, value in given.items() if not is_plain(value)])
        self.net = build_network(model_name, model_args or {})
        self.loss = build_loss(loss, loss_args or {})
        schedule = lr_scheduler, lr_scheduler_args, lr_interval, warmup_steps
        self.optimization = Optimization(optimizer, optimizer_args, *schedule, param_groups)
        self.optimization.check(lr, weight_decay, monitor)
        self.monitor = monitor
        self.task = task or TASKS.get(type(self.loss).__name__)
        self.train_scores, self.val_scores, self.test_scores = (Scores(self.task) for _ in range(3))
        self._inputs = [*inspect.signature(self.net.forward).parameters.values()]

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **named: Any) -> Any:
        """Rebuilds the interface of a checkpoint; nothing in the file is run.

        Args:
            checkpoint_path: The file.
            args: As in Lightning.
            named: The same, and arguments of the constructor to change.

        Raises:
            UsageError: It is an address, damaged or no checkpoint.
        """
        read(checkpoint_path)
        return super().load_from_checkpoint(
            checkpoint_path, *args, **named | {"weights_only": True}
        )

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Calls the network."""
        return self.net(*inputs, **named)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch, a scalar."""
        loss = self._measured("train", **self.step(batch, "train"))
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self.log("train_loss_step", loss, batch_size=1)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch, a scalar."""
        return self._measured("val", **self.step(batch, "val"))

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch, a scalar."""
        return self._measured("test", **self.step(batch, "test"))

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """What the network makes of one batch: logits, values or images."""
        inputs, _ = self.split_batch(batch)
        return self(**inputs) if isinstance(inputs, dict) else self(*inputs)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """What is done with one batch.

        Args:
            batch: Of the dataset.
            stage: `train`, `val` or `test`.

        Returns:
            loss: A scalar, to be minimised; output and target: what the metrics compare, (B, …).
        """
        inputs, target = self.split_batch(batch)
        output = self(**inputs) if isinstance(inputs, dict) else self(*inputs)
        loss, target = self.compare(output, target)
        return {"loss": loss, "output": output, "target": target}

    def split_batch(self, batch: Any) -> tuple[tuple[Any, ...] | dict[str, Any], Any]:
        """Splits a batch into the network's inputs and the target.

        Args:
            batch: A tensor (no target); a tuple of as many inputs as `forward` requires, the target
                and anything more; or a dict with the names of `forward`'s parameters and one more
                key for the target (`target`, `label`, `labels` or `y` if there are several more).

        Returns:
            Inputs to call the network with, positional or by name; and the target or None.
        """
        if isinstance(batch, dict):
            inputs = {p.name: batch[p.name] for p in self._inputs if p.name in batch}
            rest = [name for name in batch if name not in inputs]
            known = [n for n in rest if n in ("target", "label", "labels", "y")] or rest
            return inputs, batch[known[0]] if len(known) == 1 else None
        if not isinstance(batch, tuple | list):
            return (batch,), None
        count = len(batch) - 1
        if not any(p.kind is p.VAR_POSITIONAL for p in self._inputs):
            required = [p for p in self._inputs if p.default is p.empty]
            count = max(1, sum(p.kind is not p.VAR_KEYWORD for p in required))
        return tuple(batch[:count]), batch[count] if len(batch) > count else None

    def compare(self, output: Any, target: Any) -> tuple[Tensor, Tensor]:
        """The loss, and the target in the shape that it was compared in.

        Raises:
            UsageError: The loss can't compare them.
        """
        check_comparable(self.net, self.loss, self.task, output, target)
        if not type(self.loss).__module__.startswith("torch.nn"):  # the user's own takes anything
            return self.loss(output, target), target
        output = output.to(torch.promote_types(output.dtype, torch.float32))  # half would round
        if output.numel() == target.numel():  # (B, 1) against (B,) would broadcast to (B, B)
            target = target.reshape(output.shape).to(output.dtype)
        with explained(self.net, self.loss, output, target):
            return self.loss(output, target), target

    def _measured(self, stage: str, loss: Tensor, output: Any, target: Any) -> Tensor:
        for scores in (self.train_scores, self.val_scores, self.test_scores):
            scores.make(output)
        getattr(self, f"{stage}_scores").add(loss, output, target)
        return loss

    def on_train_epoch_end(self) -> None:
        """Logs the loss and the metrics of the epoch."""
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """The same for validation."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """The same for the test."""
        self._log_epoch("test")

    def _log_epoch(self, stage: str) -> None:
        for name, metric in getattr(self, f"{stage}_scores").epoch().items():
            is_shown = name == "loss" or stage != "train"
            self.log(f"{stage}_{name}", metric, prog_bar=is_shown)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Saves what the training metrics have summed up in this epoch."""
        checkpoint["train_scores"] = self.train_scores.saved()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on from it."""
        self.train_scores.go_on_from(checkpoint.get("train_scores", []))

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of a logged metric, such as val_acc, is better; False for a loss.

        Raises:
            UsageError: Nothing of this name is logged.
        """
        known = {"loss": False} | {n: more for n, (_, more) in METRICS[self.task].items()}
        names = {f"{stage}_{n}": more for stage in ("train", "val") for n, more in known.items()}
        if metric not in names and type(self) is MInterface:
            hint = suggest(metric, names, f"; choose one of: {', '.join(names)}")
            raise UsageError(f"--monitor {metric}: there is no such metric{hint}")
        return names.get(metric, False)

    def configure_optimizers(self) -> Any:
        """The optimizer, and its schedule if one was chosen."""
        lr, decay = self.hparams["lr"], self.hparams["weight_decay"]
        groups = self.optimization.groups(self.named_parameters(), lr)
        can_fuse = lightning.can_fuse(self.trainer) and self.optimization.fits_one_kernel(self)
        optimizer = self.optimization.optimizer(groups, lr, decay, can_fuse)
        steps, epochs = self.trainer.estimated_stepping_batches, self.trainer.max_epochs
        return self.optimization.with_schedule(optimizer, steps, epochs, self.monitor)
