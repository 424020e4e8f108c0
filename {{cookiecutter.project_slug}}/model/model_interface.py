"""`MInterface`: everything that is the same for every network."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torchmetrics import MeanMetric, Metric
from torchmetrics import classification as c
from torchmetrics import regression as r

from core.checkpoints import read
from core.lookup import UsageError, construct, is_plain, load, locate, suggest
from core.runs import RunError

# What the metrics are about, where only the loss tells.
_TASKS = {
    "CrossEntropyLoss": "classification",
    "NLLLoss": "classification",
    "BCELoss": "binary",
    "BCEWithLogitsLoss": "binary",
    "MSELoss": "regression",
    "L1Loss": "regression",
    "SmoothL1Loss": "regression",
    "HuberLoss": "regression",
}

# By task: name, maker (of the number of outputs), and whether more is better.
_METRICS: dict[str, dict[str, tuple[Callable[[int], Metric], bool]]] = {
    "classification": {
        "acc": (lambda size: c.MulticlassAccuracy(size, average="micro"), True),
        "f1": (lambda size: c.MulticlassF1Score(size, average="macro"), True),
    },
    "binary": {
        "acc": (lambda size: c.BinaryAccuracy(), True),
        "f1": (lambda size: c.BinaryF1Score(), True),
    },
    "multilabel": {"acc": (c.MultilabelAccuracy, True), "f1": (c.MultilabelF1Score, True)},
    "regression": {
        "mae": (lambda size: r.MeanAbsoluteError(), False),
        "rmse": (lambda size: r.MeanSquaredError(squared=False), False),
        "r2": (lambda size: r.R2Score(), True),
    },
}


class MInterface(pl.LightningModule):
    """Trains a network chosen by name, or one handed over from Python.

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
        lr_scheduler: str | Callable[..., Any] | None = None,
        lr_scheduler_args: dict[str, Any] | None = None,
        lr_interval: Literal["step", "epoch"] | None = None,
        warmup_steps: int = 0,
        monitor: str = "val_loss",
        task: Literal["classification", "binary", "multilabel", "regression"] | None = None,
    ) -> None:
        super().__init__()
        # Only plain values go into a checkpoint: it must load without running code.
        given = {"model_name": model_name, "model_args": model_args, "loss": loss}
        given |= {"loss_args": loss_args, "optimizer": optimizer, "optimizer_args": optimizer_args}
        given |= {"lr_scheduler": lr_scheduler, "lr_scheduler_args": lr_scheduler_args}
        self.save_hyperparameters(ignore=[n for n, value in given.items() if not is_plain(value)])
        self.net = _build_network(model_name, model_args or {})
        self.loss = _build_loss(loss, loss_args or {})
        self._build_optimizer = functools.partial(
            _build_optimizer, optimizer, optimizer_args or {}, lr, weight_decay
        )
        self._build_schedule = functools.partial(
            _build_schedule, lr_scheduler, lr_scheduler_args or {}, lr_interval, warmup_steps, lr
        )
        probe = self._build_optimizer([nn.Parameter(torch.zeros(1))])
        self._build_schedule(probe, 100 + warmup_steps, 100, monitor)  # wrong arguments fail now
        self.monitor = monitor
        self.task = task or _TASKS.get(type(self.loss).__name__)
        # By stage; filled when the first output tells the number of classes.
        stages = [f"{stage}_metrics" for stage in ("train", "val", "test")]
        self.metrics = nn.ModuleDict({s: nn.ModuleDict({"loss": MeanMetric()}) for s in stages})
        self._saved_metrics: list[dict[str, dict[str, Tensor]]] = []  # by process

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
        return self._step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch, a scalar."""
        return self._step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one batch, a scalar."""
        return self._step(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """What the network makes of one batch: logits, values or images."""
        inputs, _ = self.split_batch(batch)
        return self(**inputs) if isinstance(inputs, dict) else self(*inputs)

    def split_batch(self, batch: Any) -> tuple[tuple[Any, ...] | dict[str, Any], Any]:
        """Splits a batch into the network's inputs and the target.

        Args:
            batch: A tensor (no target); a tuple of as many inputs as `forward` requires, the target
                and anything more; or a dict with the names of `forward`'s parameters and one more
                key for the target (`target`, `label`, `labels` or `y` if there are several more).

        Returns:
            Inputs to call the network with, positional or by name; and the target or None.
        """
        parameters = inspect.signature(self.net.forward).parameters.values()
        if isinstance(batch, dict):
            inputs = {p.name: batch[p.name] for p in parameters if p.name in batch}
            rest = [name for name in batch if name not in inputs]
            known = [n for n in rest if n in ("target", "label", "labels", "y")] or rest
            return inputs, batch[known[0]] if len(known) == 1 else None
        if not isinstance(batch, tuple | list):
            return (batch,), None
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            count = len(batch) - 1
        else:
            required = [
                p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD
            ]
            count = max(1, len(required))
        return tuple(batch[:count]), batch[count] if len(batch) > count else None

    def _step(self, batch: Any, stage: str) -> Tensor:
        inputs, target = self.split_batch(batch)
        output = self(**inputs) if isinstance(inputs, dict) else self(*inputs)
        loss, target = self._compare(output, target)
        metrics: Any = self.metrics[f"{stage}_metrics"]
        if self.task and isinstance(output, Tensor) and len(metrics) == 1:
            self._make_metrics(output)
        if stage == "train":
            is_finite = bool(loss.isfinite())
            if self.trainer.world_size > 1:  # all processes stop, or none
                is_finite = self.trainer.strategy.reduce_boolean_decision(is_finite)
            if not is_finite:
                raise RunError(self._diagnose(inputs))
            self._restore_metrics()
            self.log("train_loss_step", loss, batch_size=len(target))
        for name, metric in metrics.items():
            if name == "loss":
                metric.update(loss.detach(), len(target))
            else:
                metric.update(output.detach(), target)
            is_shown = name == "loss" or stage != "train"
            self.log(f"{stage}_{name}", metric, on_step=False, on_epoch=True, prog_bar=is_shown)
        return loss

    def _diagnose(self, inputs: Any) -> str:
        """Where a loss that is not finite comes from."""
        found: list[str] = []

        def check(name: str, output: Any) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(f"{name} ({type(self.net.get_submodule(name)).__name__})")

        handles = [
            module.register_forward_hook(lambda m, i, output, name=name: check(name, output))
            for name, module in self.net.named_modules()
            if not any(module.children())
        ]
        with torch.no_grad():
            self(**inputs) if isinstance(inputs, dict) else self(*inputs)
        for handle in handles:
            handle.remove()
        layer = (
            f"the first such output is that of {found[0]}" if found else "all outputs are finite"
        )
        batch = self.trainer.fit_loop.epoch_loop.batch_idx
        place = f"step {self.global_step} (epoch {self.current_epoch}, batch {batch})"
        return f"the loss of {place} is not finite; {layer}; last.ckpt is of before"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Saves what the training metrics have summed up in this epoch."""
        metrics: Any = self.metrics["train_metrics"]
        found: list[Any] = [
            {n: {s: v.cpu() for s, v in m.metric_state.items()} for n, m in metrics.items()}
        ]
        if self.trainer.world_size > 1:  # each process has sums of its own
            own, found = found[0], [None] * self.trainer.world_size
            torch.distributed.all_gather_object(found, own)
        checkpoint["train_metrics"] = found

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps them until the metrics are there again; a schedule may have got another length."""
        self._saved_metrics = checkpoint.get("train_metrics", [])
        for state in checkpoint.get("lr_schedulers", []):
            for inner in [state, *state.get("_schedulers", [])]:
                for name in ("total_steps", "_schedule_phases", "T_max", "total_iters"):
                    inner.pop(name, None)

    def _restore_metrics(self) -> None:
        metrics: Any = self.metrics["train_metrics"]
        if len(self._saved_metrics) == self.trainer.world_size:
            for name, states in self._saved_metrics[self.global_rank].items():
                for state, value in states.items():
                    setattr(metrics[name], state, value.to(self.device))
                metrics[name]._update_count = 1
        self._saved_metrics = []

    def _make_metrics(self, output: Tensor) -> None:
        size = output.shape[1] if output.ndim > 1 else 1
        task = "multilabel" if self.task == "binary" and size > 1 else self.task
        for stage in self.metrics.values():
            metrics = {name: make(size) for name, (make, _) in _METRICS[task or ""].items()}
            for name, metric in metrics.items():
                cast(nn.ModuleDict, stage)[name] = metric.to(output.device)

    def _compare(self, output: Any, target: Any) -> tuple[Tensor, Tensor]:
        """The loss, and the target in the shape that it was compared in."""
        name, loss = type(self.net).__name__, type(self.loss).__name__
        if self.task == "classification" and getattr(output, "shape", ())[1:] == (1,):
            hint = "type --loss mse, or --loss bce for two classes"
            raise UsageError(f"{loss} takes an output for each class, {name} has one; {hint}")
        if target is None:
            raise UsageError(
                f"the batches hold no target for {name}; return (input, target) tuples"
            )
        if not type(self.loss).__module__.startswith("torch.nn"):  # the user's own takes anything
            return self.loss(output, target), target
        if not isinstance(output, Tensor):
            raise UsageError(
                f"{name} returns a {type(output).__name__}, and {loss} compares one tensor; "
                "return the logits alone, or write a loss that takes it all (--loss module.Name)"
            )
        if output.numel() == target.numel():  # (B, 1) against (B,) would broadcast to (B, B)
            target = target.reshape(output.shape).to(output.dtype)
        try:
            return self.loss(output, target), target
        except (IndexError, RuntimeError, UserWarning, ValueError) as error:
            raise UsageError(
                f"{loss} can't compare the output of {name}, {_shape(output)}, with the target, "
                f"{_shape(target)}, {target.min()} to {target.max()}: {str(error).splitlines()[0]}"
            ) from error

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of a logged metric, such as val_acc, is better; False for a loss.

        Raises:
            UsageError: Nothing of this name is logged.
        """
        known = {"loss": False} | {
            n: more for n, (_, more) in _METRICS.get(self.task or "", {}).items()
        }
        names = {f"{stage}_{n}": more for stage in ("train", "val") for n, more in known.items()}
        if metric not in names and type(self) is MInterface:
            hint = suggest(metric, names, f"; choose one of: {', '.join(names)}")
            raise UsageError(f"--monitor {metric}: there is no such metric{hint}")
        return names.get(metric, False)

    def configure_optimizers(self) -> Any:
        """The optimizer, and its schedule if one was chosen."""
        optimizer = self._build_optimizer([p for p in self.parameters() if p.requires_grad])
        steps, epochs = self.trainer.estimated_stepping_batches, self.trainer.max_epochs
        return self._build_schedule(optimizer, steps, epochs, self.monitor)


def _build_network(chosen: Any, arguments: dict[str, Any]) -> nn.Module:
    if isinstance(chosen, nn.Module):
        return chosen
    target = load(locate("model_name", chosen)) if isinstance(chosen, str) else chosen
    network = construct(target, arguments)
    if not isinstance(network, nn.Module):
        raise UsageError(f"--model_name {chosen}: expected a network, got {type(network).__name__}")
    return network


def _build_loss(chosen: Any, arguments: dict[str, Any]) -> Any:
    if isinstance(chosen, nn.Module):
        return chosen
    target = load(locate("loss", chosen)) if isinstance(chosen, str) else chosen
    if not isinstance(target, type):
        return functools.partial(target, **arguments)
    weights = {n: torch.tensor(v) for n, v in arguments.items() if isinstance(v, list)}
    return _checked(f"--loss {chosen}", target, **arguments | weights)


def _build_optimizer(
    chosen: Any, arguments: dict[str, Any], lr: float, weight_decay: float | None, parameters: Any
) -> Optimizer:
    target = load(locate("optimizer", chosen)) if isinstance(chosen, str) else chosen
    arguments = {"lr": lr, "weight_decay": weight_decay} | arguments
    given = {name: value for name, value in arguments.items() if value is not None}
    optimizer: Optimizer = _checked(f"--optimizer {chosen}", target, parameters, **given)
    return optimizer


def _build_schedule(
    chosen: Any,
    arguments: dict[str, Any],
    interval: str | None,
    warmup_steps: int,
    lr: float,
    optimizer: Optimizer,
    steps: float,
    epochs: int | None,
    monitor: str,
) -> Any:
    """What Lightning takes from `configure_optimizers`."""
    if chosen is None and not warmup_steps:
        return optimizer
    target = load(locate("lr_scheduler", chosen)) if isinstance(chosen, str) else chosen
    target = target or functools.partial(lr_scheduler.ConstantLR, factor=1.0)
    takes = inspect.signature(target).parameters
    lengths = [name for name in ("total_steps", "T_max", "total_iters") if name in takes]
    interval = interval or ("step" if lengths else "epoch")
    if warmup_steps and interval == "epoch":
        raise UsageError(f"--warmup_steps {warmup_steps} needs --lr_interval step for {chosen}")
    if warmup_steps < 0:
        raise UsageError(f"--warmup_steps {warmup_steps}: expected 0 or more")
    total = steps - warmup_steps if interval == "step" else epochs
    if lengths and (total is None or not 0 < total < float("inf")):
        hint = "type --max_epochs VALUE, or --max_steps VALUE for a dataset without length"
        raise UsageError(f"--lr_scheduler {chosen} needs a length; {hint}")
    filled = dict.fromkeys(lengths, total) | ({"max_lr": lr} if "max_lr" in takes else {})
    schedule = _checked(f"--lr_scheduler {chosen}", target, optimizer, **filled | arguments)
    if warmup_steps:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=warmup_steps)
        schedule = lr_scheduler.SequentialLR(optimizer, [rise, schedule], [warmup_steps])
    settings = {"scheduler": schedule, "interval": interval, "monitor": monitor}
    return {"optimizer": optimizer, "lr_scheduler": settings}


def _checked(option: str, target: Callable[..., Any], *first: Any, **named: Any) -> Any:
    """Calls a library with what the user chose: what it refuses is the user's to mend."""
    try:
        names = inspect.signature(target).parameters
        return construct(target, dict(zip(names, first, strict=False)) | named)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{option}: {error}") from error


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
