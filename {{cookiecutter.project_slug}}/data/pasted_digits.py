"""Handwritten digits on photographs, and which pixels are theirs."""

from typing import Literal

import torch
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset


class PastedDigits(Dataset[tuple[Tensor, Tensor]]):
    """One or two of scikit-learn's digits in bright ink on a dark piece of one of its photographs.

    Items are `(image, mask)`: image (3, image_size, image_size), float32 in [0, 1]; mask
    (image_size, image_size), int64: 0 is the photograph, 1 to 10 the digits 0 to 9. The parts share
    neither digits nor pixels of the photographs.

    Args:
        split: Which part: 1,257 digits and the left 400 columns of the photographs train, 180 and
            the next 96 columns validate, 360 and the rest test.
        augment: Whether to draw the images anew whenever they are asked for.
        image_size: Width and height in pixels; 96 at most.
        num_images: Images of the part that trains; of the others there are 200.

    Source: https://scikit-learn.org/stable/datasets/toy_dataset.html#digits-dataset
    """

    classes = ("photograph", *"0123456789")
    num_classes = 11
    in_channels = 3

    def __init__(
        self,
        split: Literal["train", "val", "test"] = "train",
        augment: bool = False,
        image_size: int = 32,
        num_images: int = 1000,
    ) -> None:
        digits, labels = load_digits(return_X_y=True)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        start, stop = {"train": (0, 1257), "val": (1257, 1437), "test": (1437, 1797)}[split]
        left, right = {"train": (0, 400), "val": (400, 496), "test": (496, 640)}[split]
        chosen = order[start:stop]
        self.digits = torch.from_numpy(digits).float().reshape(-1, 8, 8)[chosen] / 16
        self.labels = torch.from_numpy(labels)[chosen]
        photographs = load_sample_images().images  # (H, W, 3), uint8
        parts = [torch.tensor(image[:, left:right]) for image in photographs]
        self.photographs = torch.stack(parts).permute(0, 3, 1, 2) / 255 * 0.6  # at dusk
        self.augment, self.image_size = augment, image_size
        self.num_images = num_images if split == "train" else 200

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = None if self.augment else torch.Generator().manual_seed(index)

        def draw(low: int, high: int) -> int:
            return int(torch.randint(low, high, (), generator=generator))

        size = self.image_size
        photograph = self.photographs[draw(0, len(self.photographs))]  # (3, H, W)
        top = draw(0, photograph.shape[1] - size + 1)
        left = draw(0, photograph.shape[2] - size + 1)
        image = photograph[:, top : top + size, left : left + size].clone()
        mask = torch.zeros(size, size, dtype=torch.int64)
        for _ in range(draw(1, 3)):
            number, height = draw(0, len(self.digits)), draw(16, 25)
            digit = self.digits[number][None, None]
            ink = interpolate(digit, size=height, mode="bilinear")[0, 0]  # (h, h): how much of it
            color = 0.6 + 0.4 * torch.rand(3, 1, 1, generator=generator)
            top, left = draw(0, size - height + 1), draw(0, size - height + 1)
            place = slice(top, top + height), slice(left, left + height)
            image[:, *place] += ink * (color - image[:, *place])
            mask[place][ink > 0.5] = self.labels[number] + 1
        return image, mask
