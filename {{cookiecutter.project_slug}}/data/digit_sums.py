"""One digit plus or minus another: several inputs of each sample."""

from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.digits import Digits


class DigitSums(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """The pictures of `digits`, each with another one and a sign, both drawn anew each epoch.

    Items are `(left, right, sign, result)`: pictures (1, 8, 8), float32 in [0, 1]; 1 or -1,
    float32; and left + sign * right, -9 to 18, float32.

    Args:
        split: Which part.
    """

    def __init__(self, split: Literal["train", "val", "test"] = "train") -> None:
        self.digits = Digits(split, augment=split == "train")

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        left, right, sign, result = self.get_batch(torch.tensor([index]))
        return left[0], right[0], sign[0], result[0]

    def get_batch(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns a batch at once, (B, …)."""
        others = torch.randint(len(self), indices.shape, device=indices.device)
        sign = torch.randint(2, indices.shape, device=indices.device) * 2 - 1.0
        left, first = self.digits.get_batch(indices)
        right, second = self.digits.get_batch(others)
        return left, right, sign, first + sign * second
