"""Several networks, each with an optimizer of its own: the steps of a system."""

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from core import lightning
from core.cli.names import suggest
from core.errors import UsageError
from core.runs.processes import say


class Alternation(pl.Callback):
    """Steps the optimizers of networks one after the other, under manual optimization.

    What Lightning leaves to the user there is done here: clipping and accumulation as the trainer
    is told, schedules, and equal gradients in several processes. A batch counts as one step.

    Args:
        times: How often a batch the optimizer of each network is stepped, by its name in the model.

    Raises:
        UsageError: It is never stepped.
    """

    def __init__(self, times: dict[str, float]) -> None:
        if wrong := [f"{name}={n}" for name, n in times.items() if n <= 0]:
            raise UsageError(f"alternate({', '.join(wrong)}): expected above 0")
        self.times = times
        self.calls = dict.fromkeys(times, 0)  # since its last step
        self._refused: dict[str, Any] = {}
        self._moves: list[dict[str, Any]] = []  # how each schedule moves
        self._is_late = False

    def attach(self, trainer: pl.Trainer) -> None:
        """Prepares a trainer, before it looks at its settings."""
        self._refused = lightning.take_refused(trainer)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives the trainer its settings back, and counts a batch as one step.

        Raises:
            UsageError: There is nothing whole to accumulate, or a network without parameters.
        """
        for name, value in self._refused.items():
            setattr(trainer, name, value)
        if stage != "fit":
            return
        lightning.count_once(trainer, self._flush)
        lightning.move_schedules_of_epochs(trainer)
        accumulates = trainer.accumulate_grad_batches
        if accumulates > 1 and (odd := [n for n, t in self.times.items() if t != int(t)]):
            what = f"{odd[0]} is stepped {self.times[odd[0]]:g} times a batch; expected whole times"
            raise UsageError(f"--accumulate_grad_batches {accumulates}: {what}")
        named = {name: p for name, p in pl_module.named_parameters() if p.requires_grad}
        for network in self.times:
            if not any(name.startswith(f"{network}.") for name in named):
                known = dict(pl_module.named_modules())
                hint = "" if network in known else suggest(network, known)
                raise UsageError(f"alternate: '{network}' has nothing to train{hint}")
        rest = [n for n in named if not any(n.startswith(f"{network}.") for network in self.times)]
        if rest:
            say(f"not trained, as no network of alternate(...) has them: {', '.join(rest[:5])}")

    def steps(self, trainer: pl.Trainer, network: str) -> float:
        """Steps that the optimizer of a network makes in all: infinite if nobody knows."""
        steps, times = trainer.estimated_stepping_batches, self.times.get(network, 1)
        batches, accumulates = trainer.num_training_batches, trainer.accumulate_grad_batches
        if times == 1 or not 0 < steps < math.inf:
            return steps
        if accumulates == 1 or not 0 < batches < math.inf:
            return math.ceil(steps * times)
        epochs = steps / math.ceil(batches / accumulates)
        return math.ceil(epochs * math.ceil(batches * times / accumulates))

    def scheduled(self, made: list[Any]) -> list[Any]:
        """Optimizers as Lightning takes them here: how schedules move it would leave out."""
        self._moves = []
        for each in (each for each in made if isinstance(each, dict)):
            moves, each["lr_scheduler"] = each["lr_scheduler"], each["lr_scheduler"]["scheduler"]
            is_plateau = isinstance(moves["scheduler"], ReduceLROnPlateau)
            self._moves.append(moves | {"reduce_on_plateau": is_plateau})
        return made

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells how they move."""
        for config, moves in zip(trainer.lr_scheduler_configs, self._moves, strict=True):
            vars(config).update(moves)

    def minimize(self, model: Any, network: str, loss: Callable[[], Tensor]) -> Tensor:
        """See `MInterface.minimize`."""
        if network not in self.times:
            hint = suggest(
                network, self.times, f"; alternate has {', '.join(self.times) or 'none'}"
            )
            raise UsageError(f"minimize: '{network}' has no optimizer{hint}")
        value, trainer = loss(), model.trainer
        if not trainer.training:
            return value
        optimizer = _optimizers(model)[[*self.times].index(network)]
        groups = optimizer.param_groups
        own = [p for group in groups for p in group["params"] if p.requires_grad]
        if own:  # not all is frozen
            with lightning.apart(trainer):
                model.manual_backward(value / trainer.accumulate_grad_batches, inputs=own)
            if all(p.grad is None for p in own):
                raise UsageError(f"minimize: the loss of {network} does not depend on it")
            _average(trainer, own)
        self.calls[network] += 1
        if self.calls[network] == trainer.accumulate_grad_batches:
            self._step(model, network)
        return value.detach()

    def _flush(self, model: Any) -> None:
        """Steps with what gradients are left over where Lightning would step."""
        for network in (name for name, calls in self.calls.items() if calls):
            self._step(model, network)

    def _step(self, model: Any, network: str) -> None:
        optimizer = _optimizers(model)[[*self.times].index(network)]
        optimizer.step()
        optimizer.zero_grad()
        self.calls[network] = 0
        for config in model.trainer.lr_scheduler_configs:
            if config.scheduler.optimizer is optimizer.optimizer and config.interval == "step":
                length = self.steps(model.trainer, network)
                if config.scheduler.last_epoch < length or length <= 0:
                    config.scheduler.step()
                elif not self._is_late:
                    self._is_late = True
                    told = f"alternate({network}={self.times[network]:g})"
                    say(f"{network} is stepped more often than {told} tells; its rate stays")

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        """Clips, now that gradients are whole, and unscaled if they were scaled."""
        how = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        pl_module.configure_gradient_clipping(optimizer, *how)


def tell_counting(trainer: pl.Trainer, model: Any) -> None:
    """Says what `--max_steps` counts where Lightning counts the steps of several optimizers."""
    own = getattr(model, "alternation", None)
    if trainer.max_steps > 0 and not model.automatic_optimization and not (own and own.times):
        what = f"each step of each optimizer of {type(model).__name__}, as Lightning does"
        say(f"--max_steps {trainer.max_steps} counts {what}")


def _optimizers(model: pl.LightningModule) -> list[Any]:
    found: Any = model.optimizers()
    return found if isinstance(found, list) else [found]


def _average(trainer: pl.Trainer, parameters: list[nn.Parameter]) -> None:
    """Gives all processes the mean of their gradients; what no loss depends on has none."""
    if trainer.world_size == 1:
        return
    flags = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([flags.float(), *(grad.flatten() for grad in grads)])
    flat = trainer.strategy.reduce(flat, reduce_op="mean")
    is_there, *means = flat.split([len(flags), *(p.numel() for p in parameters)])
    for parameter, mean, there in zip(parameters, means, is_there.tolist(), strict=True):
        parameter.grad = mean.view_as(parameter).to(parameter.dtype) if there else None
