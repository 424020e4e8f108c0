"""`MInterface`: everything that is the same for every network."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer

from core import lightning
from core.cli.construct import is_plain
from core.cli.names import suggest
from core.errors import UsageError
from core.runs.checkpoints import read
from core.runs.shown import show
from core.train.alternation import Alternation
from core.train.batches import split_named
from core.train.build import build_loss, build_network
from core.train.direction import direction
from core.train.freezing import Freezing
from core.train.losses import Comparison, normalised
from core.train.metrics import Named
from core.train.optim import Optimization
from core.train.scores import StageScores
from core.train.tasks import TASKS, Task, tasks_of


class MInterface(pl.LightningModule):
    """Trains a network chosen by name, or one handed over from Python.

    To change what is trained, override `step`; what is taken from a batch, `split_batch`; what
    trains it, `configure_optimizers`.

    Args:
        model_name: File in model/, such as resnet; resnet:ResNet50 picks one of its classes or
            functions. From Python also an `nn.Module`, or a class.
        model_args: Arguments of the network's constructor.
        loss: Loss of torch.nn by short name, such as cross_entropy, mse, l1 or bce (on logits), or
            your own class or function as module.Name; null if the network returns its loss. From
            Python also the object itself.
        loss_args: Arguments of the loss.
        metrics: Further metrics, of torchmetrics by short name, such as auroc or iou, or your own
            as module.Class.
        metric_args: Their arguments, by section.
        optimizer: Optimizer of torch.optim by name, such as adamw or sgd, or your own as
            module.Class. From Python also the class.
        optimizer_args: Further arguments of the optimizer.
        lr: Learning rate.
        weight_decay: Weight decay; null for the optimizer's own default.
        param_groups: Of parameters whose names fit a pattern, lr_factor and weight_decay:
            {backbone: {lr_factor: 0.1}}.
        lr_factors: Factor of the rate, by patterns as in param_groups: {backbone: 0.1}.
        layer_decay: Factor of the rate from each layer to the one before it.
        decay_norm_and_bias: Whether weight decay holds for biases, and what norms scale by, too.
        freeze: Patterns of what is not trained, nor its batch norm; [net,-fc] is all but fc.
        unfreeze_at_epoch: The epoch, from 0, from which it is; null for never.
        lr_scheduler: Schedule of torch.optim.lr_scheduler by short name, such as cosine, step,
            plateau or one_cycle, or your own as module.Class.
        lr_scheduler_args: Arguments of the schedule. Total steps are filled in.
        lr_interval: Whether the schedule moves each step or each epoch. By default each step if
            it has a total length, else each epoch.
        warmup_steps: Steps over which the learning rate first rises linearly from 1/100 of itself.
        monitor: Metric that tells the best checkpoint, early stopping and plateau; null for none.
        mode: Whether less or more of it is better; by default what the metric itself says.
        task: What the metrics measure, none for the loss alone. By default what goes with the loss
            and the shape of the output.
        class_axis: Axis of the classes in an output of more than two dimensions.

    Raises:
        UsageError: An argument that can't work.
    """

    def __init__(
        self,
        model_name: str | nn.Module | Callable[..., nn.Module],
        model_args: dict[str, Any] | None = None,
        loss: str | Callable[..., Any] | None = "cross_entropy",
        loss_args: dict[str, Any] | None = None,
        metrics: list[str] | None = None,
        metric_args: dict[str, dict[str, Any]] | None = None,
        optimizer: str | Callable[..., Optimizer] = "adamw",
        optimizer_args: dict[str, Any] | None = None,
        lr: float = 1e-3,
        weight_decay: float | None = None,
        param_groups: dict[str, dict[str, float]] | None = None,
        lr_factors: dict[str, float] | None = None,
        layer_decay: float = 1.0,
        decay_norm_and_bias: bool = True,
        freeze: list[str] | None = None,
        unfreeze_at_epoch: int | None = None,
        lr_scheduler: str | Callable[..., Any] | None = None,
        lr_scheduler_args: dict[str, Any] | None = None,
        lr_interval: Literal["step", "epoch"] | None = None,
        warmup_steps: int = 0,
        monitor: str | None = "val_loss",
        mode: Literal["min", "max"] | None = None,
        task: Task | None = None,
        class_axis: Literal[1, -1] | None = None,
    ) -> None:
        given = dict(locals())
        super().__init__()
        # Only plain values go into a checkpoint: it must load without running code.
        self.save_hyperparameters(ignore=[n for n, value in given.items() if not is_plain(value)])
        self.net = build_network(model_name, model_args or {})
        self.loss = build_loss(loss, loss_args or {})
        schedule = lr_scheduler, lr_scheduler_args, lr_interval, warmup_steps
        table = param_groups, lr_factors, layer_decay, decay_norm_and_bias
        self.optimization = Optimization(optimizer, optimizer_args, *schedule, *table)
        self.alternation = Alternation({})
        self.freezing = Freezing.chosen(freeze, unfreeze_at_epoch, dict(self.named_parameters()))
        self.tasks = tasks_of(task, self.loss)
        has_classes = TASKS[self.tasks[0]].kind == "multiclass"
        self.comparison = Comparison(self.net, self.loss, has_classes, class_axis)
        facts = {"ignore_index": getattr(self.loss, "ignore_index", None)}
        self.named = Named(metrics, metric_args, facts)
        self.directions = self.named.check(self.tasks)
        self.scores = StageScores(self.tasks, self.named, self.loss)
        self.monitor, self.mode = monitor, mode
        self.optimization.check(lr, weight_decay, monitor)
        self._inputs = [*inspect.signature(self.net.forward).parameters.values()]
        needed = (p for p in self._inputs if p.default is p.empty)
        self._required = [p for p in needed if p.kind is not p.VAR_KEYWORD]
        takes = inspect.signature(getattr(self.net, "step", len)).parameters
        self._has_step = {"batch", "stage"} <= takes.keys()

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
        loss = self._measured("train", batch)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self.log("train_loss_step", loss, batch_size=1)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Loss of one batch, a scalar."""
        return self._measured("val", batch, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Loss of one batch, a scalar."""
        return self._measured("test", batch, dataloader_idx)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """What the network makes of one batch: logits, values or images."""
        inputs, _ = self.split_batch(batch)
        if self.loss is None:  # it is given no targets
            return self.comparison.predict(inputs, len(self._required))
        return self(**inputs) if isinstance(inputs, dict) else self(*inputs)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """What is done with one batch; a network with a method `step(batch, stage)` is asked.

        That, and whatever overrides this, may return a scalar, too, which is the loss.

        Args:
            batch: Of the dataset.
            stage: `train`, `val` or `test`.

        Returns:
            `loss`, a scalar; and as you like `output` and `target`, (B, …), for the metrics;
            `size`, what the means of the epoch are divided by, the samples by default; further
            scalars, logged by their names; and tensors like the output, measured as it is.
        """
        if self._has_step:
            return normalised(self.net.step(batch, stage), batch)  # type: ignore[operator]
        inputs, target = self.split_batch(batch)
        output = self(**inputs) if isinstance(inputs, dict) else self(*inputs)
        return self.comparison(output, target)

    def split_batch(self, batch: Any) -> tuple[tuple[Any, ...] | dict[str, Any], Any]:
        """Splits a batch into the network's inputs and the target.

        Args:
            batch: A tensor (no target); a tuple of as many inputs as `forward` requires, which may
                be a tuple of their own, the target and anything more; or a mapping or object with
                the names of `forward`'s parameters and one more for the target (`target`, `label`,
                `y` or `mask` if there are several more). With `--loss null` the network is given
                the target, too.

        Returns:
            Inputs to call the network with, positional or by name; and the target or None.
        """
        required = self._required
        if isinstance(batch, Tensor):
            return (batch,), None
        if not isinstance(batch, tuple | list):
            return split_named(batch, self.net, self._inputs, required, self.loss is None)
        if len(required) > 1 and isinstance(batch[0], tuple | list):
            batch = (*batch[0], *batch[1:])
        count = len(batch) - 1
        if not any(p.kind is p.VAR_POSITIONAL for p in self._inputs):
            count = max(1, len(required))
        if len(batch) < count:
            takes, holds = ", ".join(p.name for p in required), f"{len(batch)} items"
            raise UsageError(f"{type(self.net).__name__} takes {takes}; a batch holds {holds}")
        target = batch[count] if len(batch) > count else None
        return tuple(batch[: len(self._inputs) if self.loss is None else count]), target

    def _measured(self, stage: str, batch: Any, number: int = 0) -> Tensor:
        found = normalised(self.step(batch, stage), batch)
        loss: Tensor = found["loss"]
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.tasks[0] == "regression" and hasattr(data, "restored"):
            found |= {n: data.restored(found[n]) for n in ("output", "target") if n in found}
        self.scores.add(stage, number, found)
        return loss

    def show(self, name: str, value: Any, every: int = 1) -> None:
        """Keeps a picture, figure, text or histogram: see `core.runs.shown.show`."""
        show(name, value, every, self.trainer)

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
        for name, value in self.scores.epoch(stage).items():
            self.log(name, value, prog_bar=name == "train_loss" or stage != "train")

    def higher_is_better(self, metric: str) -> bool | None:
        """Whether more of a logged metric, such as val_acc, is better; None if nobody knows.

        Raises:
            UsageError: Nothing of this name is logged.
        """
        names = self.scores.names({"loss": False} | self.directions)
        is_all = type(self) is MInterface and self.comparison.is_plain and not self._has_step
        if metric not in names and is_all:
            hint = suggest(metric, names, f"; choose one of: {', '.join(names)}")
            raise UsageError(f"--monitor {metric}: there is no such metric{hint}")
        return names.get(metric)

    def alternate(self, **times: float) -> None:
        """Gives each of several networks an optimizer of its own, which `minimize` steps.

        Args:
            times: By the attribute that holds a network, how often a batch it is stepped; this
                tells how long its schedule is. `alternate(discriminator=2, net=1)`, in `__init__`.
        """
        self.automatic_optimization = False
        self.alternation = Alternation(times)

    def minimize(self, network: str, loss: Callable[[], Tensor]) -> Tensor:
        """Steps the optimizer of a network of `alternate`; its gradients go to that network alone.

        Clipping, accumulation, precision, schedule and several processes are taken care of.

        Args:
            network: The attribute that holds it.
            loss: Computes a scalar; outside of training that is all that is done.

        Returns:
            The loss before the step, a scalar without gradient.
        """
        return self.alternation.minimize(self, network, loss)

    def configure_callbacks(self) -> Any:
        """What sums up metrics, freezes parameters and steps several optimizers, if there are."""
        if not self.alternation.times:
            return [self.scores, *self.freezing]
        self.alternation.attach(self.trainer)
        return [self.scores, *self.freezing, self.alternation]

    def configure_optimizers(self) -> Any:
        """The optimizer, and its schedule if one was chosen; of `alternate` one for each."""
        lr, decay = self.hparams["lr"], self.hparams["weight_decay"]
        can_fuse = lightning.can_fuse(self.trainer) and self.optimization.fits_one_kernel(self)
        epochs = self.trainer.max_epochs
        mode = self.mode or (direction(self, self.monitor)[0] if self.monitor else "min")
        watched = self.monitor, mode, self.trainer.check_val_every_n_epoch or 1
        made = []
        for network in self.alternation.times or [""]:
            groups = self.optimization.groups(self.named_parameters(), lr, network)
            optimizer = self.optimization.optimizer(groups, lr, decay, can_fuse)
            steps = self.alternation.steps(self.trainer, network)
            made.append(self.optimization.with_schedule(optimizer, steps, epochs, *watched))
        self.optimization.tell(optimizer)
        return self.alternation.scheduled(made) if self.alternation.times else made[0]
