"""Learning without labels, from two views of each sample (SimCLR)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.mlp import MLP


class TwoViews(MLP):
    """A multilayer perceptron whose outputs are alike for two views of one sample, and no others.

    Its hidden layers are those of `mlp`, which may begin with them: `--init_from RUN`. Runs with a
    dataset of `(first, second)`.

    Args:
        input_size: Shape of one view.
        hidden_sizes: Width of each hidden layer.
        num_features: Number of outputs, which are compared.
        temperature: What similarities, -1 to 1, are divided by.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations,
    https://arxiv.org/abs/2002.05709; under DDP each process compares the samples of its own.
    """

    def __init__(
        self,
        input_size: Sequence[int],
        hidden_sizes: Sequence[int] = (256, 256),
        num_features: int = 64,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(input_size, num_features, hidden_sizes)
        self.temperature = temperature

    def step(self, batch: tuple[Tensor, Tensor], stage: str) -> dict[str, Tensor]:
        """The loss of a batch of two views, and how often the other view is the most similar."""
        features = F.normalize(self(torch.cat(batch)), dim=1)  # (2B, num_features)
        similarity = features @ features.T / self.temperature
        similarity.fill_diagonal_(-torch.inf)  # with itself
        other = torch.arange(len(features), device=features.device).roll(len(batch[0]))
        found = (similarity.argmax(1) == other).float().mean()
        return {"loss": F.cross_entropy(similarity, other), "found": found}
