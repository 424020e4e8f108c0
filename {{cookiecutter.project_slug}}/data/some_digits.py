"""Some of the digits: classes of unequal size, few samples, or a part of the classes."""

from collections.abc import Sequence
from typing import Literal

import torch

from data.digits import Digits


class SomeDigits(Digits):
    """The pictures of `digits` of some classes, of which few may train.

    Args:
        split: Which part.
        augment: Whether to shift, turn and scale the pictures a little.
        classes: Which digits; their labels are 0, 1, … in this order.
        samples: How many train of all classes, or of each, in the same order; by default all.
    """

    def __init__(
        self,
        split: Literal["train", "val", "test"] = "train",
        augment: bool = False,
        classes: Sequence[int] = range(10),
        samples: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(split, augment)
        found = [torch.nonzero(self.labels == digit)[:, 0] for digit in classes]
        if samples is not None and split == "train":
            counts = [samples] * len(found) if isinstance(samples, int) else samples
            found = [chosen[:count] for chosen, count in zip(found, counts, strict=True)]
        chosen = torch.cat(found)
        self.images = self.images[chosen]
        self.labels = torch.repeat_interleave(torch.tensor([*map(len, found)]))
        self.num_classes = len(classes)
