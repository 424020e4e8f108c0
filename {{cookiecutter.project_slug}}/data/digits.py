"""8x8 pictures of handwritten digits, on every machine that has scikit-learn."""

import functools
import math
from typing import Any, Literal

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate
from torch.utils.data import Dataset


class Digits(Dataset[tuple[Tensor, int]]):
    """1,797 digits by 43 writers, split into 1,257 for training, 180 for validation, 360 for test.

    Items are `(image, label)`: image (in_channels, image_size, image_size), float32 in [0, 1];
    label 0 to 9.

    Args:
        split: Which part.
        augment: Whether to shift, turn and scale the pictures a little.
        image_size: Width and height in pixels; other than 8 is interpolated.
        in_channels: 1, or more to repeat the grey values for networks that expect colours.

    Source: https://scikit-learn.org/stable/datasets/toy_dataset.html#digits-dataset
    """

    num_classes = 10

    def __init__(
        self,
        split: Literal["train", "val", "test"] = "train",
        augment: bool = False,
        image_size: int = 8,
        in_channels: int = 1,
    ) -> None:
        images, labels = _load()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        start, stop = {"train": (0, 1257), "val": (1257, 1437), "test": (1437, 1797)}[split]
        chosen = order[start:stop]
        pictures = torch.from_numpy(images).float().reshape(-1, 1, 8, 8)[chosen] / 16
        if image_size != 8:
            pictures = interpolate(pictures, size=image_size, mode="bilinear")
        self.images = pictures.repeat(1, in_channels, 1, 1)
        self.labels = torch.from_numpy(labels)[chosen]
        self.image_size, self.in_channels = image_size, in_channels
        self.input_size = (in_channels, image_size, image_size)
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.get_batch(torch.tensor([index]))
        return images[0], int(labels[0])

    def get_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a batch at once, many times faster than sample by sample.

        Args:
            indices: (B,), int64.

        Returns:
            Images (B, in_channels, image_size, image_size), and labels (B,), int64.
        """
        images = self.images[indices]
        return _moved(images) if self.augment else images, self.labels[indices]


@functools.cache
def _load() -> tuple[Any, Any]:
    return load_digits(return_X_y=True)


def _moved(images: Tensor) -> Tensor:
    """Each image turned by up to 10 degrees, scaled and shifted by up to a tenth of its size."""
    angle, size, right, down = torch.rand(4, len(images), device=images.device) * 2 - 1
    angle, size = angle * math.radians(10), 1 + size / 10
    cos, sin = angle.cos() / size, angle.sin() / size
    matrices = torch.stack([cos, -sin, right / 5, sin, cos, down / 5], dim=1).view(-1, 2, 3)
    grid = affine_grid(matrices, list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)
