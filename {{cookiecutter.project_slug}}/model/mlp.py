"""A multilayer perceptron."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with batch normalisation and ReLU between them.

    Args:
        input_size: Shape of one input; it is flattened.
        num_classes: Number of outputs.
        hidden_sizes: Width of each hidden layer.
        dropout: Probability of dropping a hidden unit.

    Source: Ioffe and Szegedy, Batch Normalization, https://arxiv.org/abs/1502.03167
    """

    def __init__(
        self,
        input_size: Sequence[int],
        num_classes: int,
        hidden_sizes: Sequence[int] = (256, 256),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(input_size)
        for hidden in hidden_sizes:
            layers += [
                nn.Linear(width, hidden),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of inputs (B, *input_size)."""
        logits: Tensor = self.layers(x)
        return logits
