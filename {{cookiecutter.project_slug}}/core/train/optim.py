"""Optimizer, schedule, and the table of parameter groups."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from core.cli.construct import checked, load, offer
from core.cli.names import locate
from core.errors import UsageError
from core.runs.processes import say
from core.train.names import fitting, layer_factors

# What a row of the table of parameter groups may set, and what it does to a group.
COLUMNS: dict[str, Callable[[dict[str, Any], float], dict[str, Any]]] = {
    "lr_factor": lambda group, value: {"lr": group["lr"] * value},
    "weight_decay": lambda group, value: {"weight_decay": value},
}


@dataclass
class Optimization:
    """Makes optimizers and their schedules as chosen, for one network or for each of several."""

    chosen: str | Callable[..., Optimizer] = "adamw"
    optimizer_args: dict[str, Any] | None = None
    chosen_schedule: str | Callable[..., Any] | None = None  # None for a constant rate
    schedule_args: dict[str, Any] | None = None
    interval: str | None = None  # whether the rate moves each step or epoch; None for what fits it
    warmup_steps: int = 0  # over which the rate first rises
    rows: dict[str, dict[str, float]] | None = None  # by pattern: the table of parameter groups
    lr_factors: dict[str, float] | None = None  # by pattern
    layer_decay: float = 1.0  # factor of the rate from each layer to the one before
    decays_all: bool = True  # also biases and what norms scale by

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise UsageError(f"--layer_decay {self.layer_decay}: expected above 0, at most 1")
        for pattern, row in (self.rows or {}).items():
            if unknown := row.keys() - COLUMNS.keys():
                known = ", ".join(COLUMNS)
                raise UsageError(f"--param_groups {pattern}: no '{min(unknown)}'; expected {known}")

    def check(self, lr: float, weight_decay: float | None, monitor: str | None) -> None:
        """Finds wrong arguments before there is anything to train."""
        probe = self.optimizer([nn.Parameter(torch.zeros(1))], lr, weight_decay)
        self.with_schedule(probe, 100 + self.warmup_steps, 100, monitor)

    def groups(
        self, named: Iterable[tuple[str, nn.Parameter]], lr: float, network: str = ""
    ) -> list[Any]:
        """The trained parameters, or those of one network, in groups if the table makes some.

        A pattern, such as `backbone`, `layer*` or `head.bias`, stands for whole words between the
        dots of a name; where several fit, the later row holds.
        """
        trained = {name: p for name, p in named if p.requires_grad}
        is_flat = self.layer_decay == 1.0 and self.decays_all and not self.lr_factors
        if is_flat and not self.rows:
            return [p for name, p in trained.items() if _is_in(name, network)]
        rows = dict.fromkeys(trained, "")  # the pattern of each
        for pattern in self.rows or {}:
            rows |= dict.fromkeys(fitting(pattern, trained, "--param_groups"), pattern)
        factors = layer_factors([*trained], self.layer_decay)
        for pattern, factor in (self.lr_factors or {}).items():
            for name in fitting(pattern, trained, "--lr_factors"):
                factors[name] *= factor
        found: dict[Any, dict[str, Any]] = {}
        for name, parameter in ((n, p) for n, p in trained.items() if _is_in(n, network)):
            is_bare = not self.decays_all and parameter.ndim <= 1
            key = rows[name], factors[name], is_bare
            if key not in found:
                group: dict[str, Any] = {"lr": lr * factors[name]}
                group |= {"weight_decay": 0.0} if is_bare else {}
                for column, value in (self.rows or {}).get(rows[name], {}).items():
                    group |= COLUMNS[column](group, value)
                found[key] = {"params": [], **group}
            found[key]["params"].append(parameter)
        return [*found.values()]

    @staticmethod
    def fits_one_kernel(network: nn.Module) -> bool:
        """Whether all parameters of a network can be updated in one kernel.

        Not where some are frozen at first: torch's fused SGD then lacks their momentum.
        """
        trained = [p for p in network.parameters() if p.requires_grad]
        is_plain = not getattr(network, "freezing", None)
        is_plain &= all(p.is_floating_point() and p.device.type in "cpu cuda" for p in trained)
        return is_plain and not any(getattr(m, "sparse", False) for m in network.modules())

    def optimizer(
        self, parameters: Any, lr: float, weight_decay: float | None = None, can_fuse: bool = False
    ) -> Optimizer:
        """The optimizer; in one kernel a step if it can be and nothing else was asked for."""
        chosen = self.chosen
        target = load(locate("optimizer", chosen)) if isinstance(chosen, str) else chosen
        arguments = {"lr": lr, "weight_decay": weight_decay} | (self.optimizer_args or {})
        is_slow = arguments.get("foreach") or arguments.get("differentiable")
        if can_fuse and not is_slow and "fused" in inspect.signature(target).parameters:
            arguments |= {"fused": arguments.get("fused") is not False}
        given = {name: value for name, value in arguments.items() if value is not None}
        optimizer: Optimizer = checked(f"--optimizer {chosen}", target, parameters, **given)
        return optimizer

    def tell(self, optimizer: Optimizer) -> None:
        """Says so where a schedule moves the momentum, which was chosen otherwise, or none."""
        group, chosen = optimizer.param_groups[0], optimizer.defaults
        kept = chosen.get("momentum", chosen.get("betas", (0.9,))[0])
        is_typed = {"momentum", "betas"} & (self.optimizer_args or {}).keys()
        if "max_momentum" in group and (is_typed or not kept):
            moved = f"from {group['base_momentum']:g} to {group['max_momentum']:g}"
            what = f"--lr_scheduler {self.chosen_schedule} moves the momentum {moved}"
            say(f"{what} in place of {kept:g}; type --cycle_momentum false to keep it")

    def with_schedule(
        self,
        optimizer: Optimizer,
        steps: float,
        epochs: int | None,
        monitor: str | None,
        mode: str = "min",
        frequency: int = 1,
    ) -> Any:
        """What Lightning takes from `configure_optimizers`: the optimizer with its schedule.

        Args:
            optimizer: Whose rate is scheduled.
            steps: Its steps in all; infinite if nobody knows.
            epochs: Epochs in all.
            monitor: What a plateau is one of.
            mode: Whether less of it is better, or more: min or max.
            frequency: After how many epochs it is known.
        """
        chosen, warmup = self.chosen_schedule, self.warmup_steps
        if chosen is None and not warmup:
            return optimizer
        target = load(locate("lr_scheduler", chosen)) if isinstance(chosen, str) else chosen
        target = target or functools.partial(lr_scheduler.ConstantLR, factor=1.0)
        takes = inspect.signature(target).parameters
        lengths = [name for name in ("total_steps", "T_max", "total_iters") if name in takes]
        interval = self.interval or ("step" if lengths else "epoch")
        if warmup and interval == "epoch":
            raise UsageError(f"--warmup_steps {warmup} needs --lr_interval step for {chosen}")
        if warmup < 0:
            raise UsageError(f"--warmup_steps {warmup}: expected 0 or more")
        if not steps:
            raise UsageError("there are no batches to train on; see --limit_train_batches")
        if warmup and warmup >= steps:
            hint = f"training has {steps:.0f} steps; type fewer, or more --max_epochs"
            raise UsageError(f"--warmup_steps {warmup}: {hint}")
        total = steps - warmup if interval == "step" else epochs
        if lengths and (total is None or not 0 < total < float("inf")):
            hint = "type --max_epochs VALUE; for a dataset without length --max_steps VALUE instead"
            raise UsageError(f"--lr_scheduler {chosen} needs a length; {hint}")
        rates = [group["lr"] for group in optimizer.param_groups]
        facts = dict.fromkeys(lengths, total) | {"max_lr": rates if len(rates) > 1 else rates[0]}
        facts |= {"mode": mode} if "patience" in takes else {}  # of a plateau
        if "mode" in facts and not monitor:
            raise UsageError(f"--lr_scheduler {chosen} needs --monitor NAME")
        arguments = offer(takes, self.schedule_args or {}, facts)
        schedule = checked(f"--lr_scheduler {chosen}", target, optimizer, **arguments)
        if warmup:
            rise = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=warmup)
            schedule = lr_scheduler.SequentialLR(optimizer, [rise, schedule], [warmup])
        settings = {"scheduler": schedule, "interval": interval, "monitor": monitor}
        settings |= {"frequency": frequency} if "mode" in facts else {}
        return {"optimizer": optimizer, "lr_scheduler": settings}


def _is_in(name: str, network: str) -> bool:
    return not network or name.startswith(f"{network}.")
