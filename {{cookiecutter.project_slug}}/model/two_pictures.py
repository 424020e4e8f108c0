"""A value from two pictures and a number."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.mlp import MLP


class TwoPictures(nn.Module):
    """Reads both pictures with the same layers, then puts all inputs together.

    Args:
        input_size: Shape of one picture.
        num_features: How many numbers a picture becomes.
        hidden_sizes: Width of each layer that reads a picture.
    """

    def __init__(
        self,
        input_size: Sequence[int],
        num_features: int = 32,
        hidden_sizes: Sequence[int] = (256,),
    ) -> None:
        super().__init__()
        self.read = MLP(input_size, num_features, hidden_sizes)
        self.head = MLP([2 * num_features + 1], 1, [128])

    def forward(self, left: Tensor, right: Tensor, sign: Tensor) -> Tensor:
        """Values (B, 1) of pictures (B, *input_size), twice, and numbers (B,)."""
        values: Tensor = self.head(torch.cat([self.read(left), self.read(right), sign[:, None]], 1))
        return values
