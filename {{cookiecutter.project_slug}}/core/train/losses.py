"""What can be compared with what, and what is said where it can't."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from core.errors import UsageError


def check_comparable(net: nn.Module, loss: Any, task: str | None, output: Any, target: Any) -> None:
    """Refuses what no loss, or none of torch, can compare."""
    name, title = type(net).__name__, type(loss).__name__
    if task == "classification" and getattr(output, "shape", ())[1:] == (1,):
        hint = "type --loss mse, or --loss bce for two classes"
        raise UsageError(f"{title} takes an output for each class, {name} has one; {hint}")
    if target is None:
        raise UsageError(f"the batches hold no target for {name}; return (input, target) tuples")
    if type(loss).__module__.startswith("torch.nn") and not isinstance(output, Tensor):
        raise UsageError(
            f"{name} returns a {type(output).__name__}, and {title} compares one tensor; "
            "return the logits alone, or write a loss that takes it all (--loss module.Name)"
        )


@contextlib.contextmanager
def explained(net: nn.Module, loss: Any, output: Tensor, target: Tensor) -> Iterator[None]:
    """Says what was compared where a loss of torch refuses."""
    try:
        yield
    except (IndexError, RuntimeError, TypeError, UserWarning, ValueError) as error:
        raise UsageError(
            f"{type(loss).__name__} can't compare the output of {type(net).__name__}, "
            f"{_shape(output)}, with the target, {_shape(target)}, {target.min()} to "
            f"{target.max()}: {str(error).splitlines()[0]}"
        ) from error


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
