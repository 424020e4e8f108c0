"""Patches of scikit-learn's two photographs, to be enlarged twofold."""

from typing import Literal

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset


class Photographs(Dataset[dict[str, Tensor]]):
    """A temple and a flower, 427 x 640, each cut into columns for training, validation and test.

    The parts share no pixel, and are made smaller one by one, so that none sees another.

    Items are dicts of `low` (3, size / 2, size / 2) and the target `high` (3, size, size), float32
    in [0, 1]; with `guided` also `guide` (1, size, size), the brightness of `high`, as of a camera
    that is sharper without colours.

    Args:
        split: Which part: the left 400 columns train, the next 96 validate, the rest tests.
        augment: Whether to flip and turn the patches.
        guided: Whether there is a second input, `guide`.
        size: Width and height of a large patch in pixels; even, 96 at most.
        stride: Pixels from a patch that trains to the next; those of other parts do not overlap.

    Source: https://scikit-learn.org/stable/datasets/loading_other_datasets.html#sample-images
    """

    in_channels = 3
    data_range = 1.0

    def __init__(
        self,
        split: Literal["train", "val", "test"] = "train",
        augment: bool = False,
        guided: bool = False,
        size: int = 48,
        stride: int = 16,
    ) -> None:
        start, stop = {"train": (0, 400), "val": (400, 496), "test": (496, 640)}[split]
        step = stride if split == "train" else size
        low, high = [], []
        for image in load_sample_images().images:  # (H, W, 3), uint8
            part = torch.tensor(image)[:426, start:stop].permute(2, 0, 1) / 255
            half = interpolate(part[None], scale_factor=0.5, mode="bicubic", antialias=True)[0]
            high.append(_patches(part, size, step))
            low.append(_patches(half.clamp(0, 1), size // 2, step // 2))
        self.low, self.high = torch.cat(low), torch.cat(high)
        self.augment, self.guided = augment, guided

    def __len__(self) -> int:
        return len(self.high)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = {"low": self.low[index], "high": self.high[index]}
        if self.guided:
            item["guide"] = item["high"].mean(0, keepdim=True)
        if self.augment:
            turns, is_flipped = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
            for name, picture in item.items():
                picture = picture.flip(2) if is_flipped else picture
                item[name] = picture.rot90(turns, (1, 2))
        return item


def _patches(image: Tensor, size: int, stride: int) -> Tensor:
    """All patches (N, 3, size, size) of an image (3, H, W), a stride apart."""
    patches = image.unfold(1, size, stride).unfold(2, size, stride)
    return patches.flatten(1, 2).transpose(0, 1).contiguous()
