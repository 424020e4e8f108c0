from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from some_typing_package import ImageBatch


def _act(name: str) -> nn.Module:
    return {"relu": nn.ReLU, "gelu": nn.GELU}[name]()


class ModernNet(nn.Module):
    """A net for Python 3.10+.

    Args:
        num_classes: Number of classes.
        widths: Channels of every stage.
        dropout: Dropout probability, ``None`` for no dropout.
        act: Which activation.
        head: Something that makes the head out of (in, out); a linear layer if ``None``.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        widths: Sequence[int] = (8, 16),
        dropout: float | None = None,
        act: Literal["relu", "gelu"] = "relu",
        head: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        c = 3
        for w in widths:
            stages += [nn.Conv2d(c, w, 3, stride=2), _act(act)]
            c = w
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Identity() if dropout is None else nn.Dropout(dropout)
        self.head = (head or nn.Linear)(c, num_classes)

    def forward(self, x: Tensor | ImageBatch, /, *, return_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        f = self.stages(x).mean((2, 3))
        out = self.head(self.dropout(f))
        return (out, f) if return_features else out
