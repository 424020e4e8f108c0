"""8x8 pictures of handwritten digits, on every machine that has scikit-learn."""

from typing import Literal

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2


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
        images, labels = load_digits(return_X_y=True)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        start, stop = {"train": (0, 1257), "val": (1257, 1437), "test": (1437, 1797)}[split]
        chosen = order[start:stop]
        pictures = torch.from_numpy(images).float().reshape(-1, 1, 8, 8)[chosen] / 16
        if image_size != 8:
            pictures = torch.nn.functional.interpolate(pictures, size=image_size, mode="bilinear")
        self.images = pictures.repeat(1, in_channels, 1, 1)
        self.labels = torch.from_numpy(labels)[chosen]
        self.image_size, self.in_channels = image_size, in_channels
        self.input_size = (in_channels, image_size, image_size)
        self.augmentation = (
            v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1)) if augment else None
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.augmentation is not None:
            image = self.augmentation(image)
        return image, int(self.labels[index])
