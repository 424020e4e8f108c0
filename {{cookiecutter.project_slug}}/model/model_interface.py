"""`MInterface`: everything that is the same for every network."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils._pytree import tree_map_only

from core.checkpoints import read
from core.lookup import UsageError, construct, is_plain, load, locate, suggest
from core.metrics import METRICS, TASKS, Scores, Task
from core.runs import RunError


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
        compile: Mode of torch.compile to train the network with; by default it is not compiled.
        channels_last: Whether images and convolutions have their channels last in memory, which
            is faster on a GPU with half precision and done there by default.

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
        task: Task | None = None,
        compile: Literal["default", "reduce-overhead", "max-autotune"] | None = None,
        channels_last: bool | None = None,
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
        self.task = task or TASKS.get(type(self.loss).__name__)
        self.train_scores, self.val_scores, self.test_scores = (Scores(self.task) for _ in range(3))
        self._saved_scores: list[dict[str, Any]] = []  # by process
        self._inputs = [*inspect.signature(self.net.forward).parameters.values()]
        self.compile_mode, self.channels_last = compile, channels_last
        self.failure: RunError | None = None

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
        if self.channels_last:
            inputs = tree_map_only(Tensor, _with_channels_last, inputs)
            named = tree_map_only(Tensor, _with_channels_last, named)
        return self.net(*inputs, **named)

    def on_fit_start(self) -> None:
        """Prepares the network for speed, as the options say."""
        if self.channels_last is None:
            is_half = "16" in str(self.trainer.precision)
            self.channels_last = is_half and self.device.type == "cuda"
        if self.channels_last:
            self.net.to(memory_format=torch.channels_last)
        if self.compile_mode:
            self.net.compile(mode=self.compile_mode)

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

    def _step(self, batch: Any, stage: str) -> Tensor:
        inputs, target = self.split_batch(batch)
        output = self(**inputs) if isinstance(inputs, dict) else self(*inputs)
        loss, target = self._compare(output, target)
        if self.task and isinstance(output, Tensor) and len(self.train_scores.by_name) == 1:
            for scores in (self.train_scores, self.val_scores, self.test_scores):
                scores.make(output)
        if stage == "train":
            if not loss.isfinite():
                self.failure = RunError(self._diagnose(inputs))
                if self.trainer.world_size == 1 or not self.trainer.checkpoint_callbacks:
                    raise self.failure  # else LastCheckpoint stops all processes together
            if len(self._saved_scores) == self.trainer.world_size:
                self.train_scores.restore(self._saved_scores[self.global_rank])
            self._saved_scores = []
            every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
            if every and (self.global_step + 1) % every == 0:
                self.log("train_loss_step", loss, batch_size=1)
        scores = getattr(self, f"{stage}_scores")
        scores.add(loss, output, target)
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
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            self(**inputs) if isinstance(inputs, dict) else self(*inputs)
        for handle in handles:
            handle.remove()
        layer = (
            f"the first such output is that of {found[0]}" if found else "all outputs are finite"
        )
        batch = self.trainer.fit_loop.epoch_loop.batch_idx
        place = f"step {self.global_step} (epoch {self.current_epoch}, batch {batch})"
        saved = "; last.ckpt is of before" if self.trainer.checkpoint_callbacks else ""
        return f"the loss of {place} is not finite; {layer}{saved}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Saves what the training metrics have summed up in this epoch."""
        found: list[Any] = self._saved_scores or [self.train_scores.saved()]
        if self.trainer.world_size > 1 and not self._saved_scores:  # each process has its own
            own, found = found[0], [None] * self.trainer.world_size
            torch.distributed.all_gather_object(found, own)
        checkpoint["train_scores"] = found

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps them until the metrics are there again; schedule and batches may differ now."""
        then = checkpoint.get("DInterface", {}).get("batch_size")
        now = getattr(getattr(self._trainer, "datamodule", None), "batch_size", then)
        if then != now:  # of --auto_batch
            done = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            done.update({name: count * then // now for name, count in done.items()})
        self._saved_scores = checkpoint.get("train_scores", [])
        for state in checkpoint.get("lr_schedulers", []):
            for inner in [state, *state.get("_schedulers", [])]:
                for name in ("total_steps", "_schedule_phases", "T_max", "total_iters"):
                    inner.pop(name, None)

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
        output = output.to(torch.promote_types(output.dtype, torch.float32))  # half would round
        if output.numel() == target.numel():  # (B, 1) against (B,) would broadcast to (B, B)
            target = target.reshape(output.shape).to(output.dtype)
        try:
            return self.loss(output, target), target
        except (IndexError, RuntimeError, TypeError, UserWarning, ValueError) as error:
            raise UsageError(
                f"{loss} can't compare the output of {name}, {_shape(output)}, with the target, "
                f"{_shape(target)}, {target.min()} to {target.max()}: {str(error).splitlines()[0]}"
            ) from error

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
        parameters = [p for p in self.parameters() if p.requires_grad]
        is_plain = all(p.is_floating_point() and p.device.type in "cpu cuda" for p in parameters)
        is_sparse = any(getattr(module, "sparse", False) for module in self.net.modules())
        is_scaled = self.trainer.precision == "16-mixed"  # Lightning can't clip fused ones then
        can_fuse = is_plain and not is_sparse and not is_scaled
        optimizer = self._build_optimizer(parameters, can_fuse)
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
    lists: dict[str, Any] = {n: v for n, v in arguments.items() if isinstance(v, list)}
    if target.__module__.startswith("torch."):  # there they are weights
        try:
            lists = {n: torch.tensor(v, dtype=torch.float32) for n, v in lists.items()}
        except (TypeError, ValueError) as error:
            raise UsageError(f"--loss_args {lists}: {error}") from error
    return _checked(f"--loss {chosen}", target, **arguments | lists)


def _build_optimizer(
    chosen: Any,
    arguments: dict[str, Any],
    lr: float,
    weight_decay: float | None,
    parameters: Any,
    can_fuse: bool = False,
) -> Optimizer:
    """The optimizer; in one kernel a step if it can be and nothing else was asked for."""
    target = load(locate("optimizer", chosen)) if isinstance(chosen, str) else chosen
    arguments = {"lr": lr, "weight_decay": weight_decay} | arguments
    if any(arguments.get(name) for name in ("foreach", "differentiable")):
        can_fuse = False
    if can_fuse and "fused" in inspect.signature(target).parameters:
        arguments = arguments | {"fused": arguments.get("fused") is not False}
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
        hint = "type --max_epochs VALUE; for a dataset without length --max_steps VALUE instead"
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


def _with_channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
