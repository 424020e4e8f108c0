"""Two views of each digit, for learning without labels."""

from typing import Literal

from torch import Tensor
from torch.utils.data import Dataset

from data.digits import Digits


class DigitViews(Dataset[tuple[Tensor, Tensor]]):
    """The pictures of `digits`, each turned, shifted and scaled twice.

    Items are `(first, second)`: (1, 8, 8), float32 in [0, 1].

    Args:
        split: Which part.
    """

    def __init__(self, split: Literal["train", "val", "test"] = "train") -> None:
        self.digits = Digits(split, augment=True)

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.digits[index][0], self.digits[index][0]

    def get_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a batch at once: both views, (B, 1, 8, 8)."""
        return self.digits.get_batch(indices)[0], self.digits.get_batch(indices)[0]
