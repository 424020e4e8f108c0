"""Your own images, one folder a class."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets
from torchvision.transforms import v2

from core.errors import UsageError


class ImageFolder(datasets.ImageFolder):
    """Images in `root/CLASS/`, or in `root/train/CLASS/`, `root/val/CLASS/`, `root/test/CLASS/`.

    Without such split folders, seeded parts of the whole validate and test. Items are
    `(image, label)`: image (3, image_size, image_size), float32, normalised by ImageNet's mean and
    deviation; label is the number of the class in alphabetical order.

    Args:
        root: Folder of the images; each file type that torchvision reads.
        split: Which of the split folders; ignored where there are none.
        augment: Whether to crop and flip at random; else the centre is taken.
        image_size: Width and height that the images are brought to, in pixels.
        min_scale: Smallest part of an image that is cut out at random, and scaled to image_size;
            null cuts out image_size pixels as they are.

    Raises:
        ValueError: There are split folders, but not this one.
        UsageError: There are no images, or a damaged one.
    """

    in_channels = 3

    def __init__(
        self,
        root: str,
        split: str = "train",
        augment: bool = True,
        image_size: int = 224,
        min_scale: float | None = 0.08,
    ) -> None:
        folder = Path(root)
        if (folder / "train").is_dir():
            folder = folder / split
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}")
        elif split != "train":
            raise ValueError(f"{root} has no folder {split}")
        try:
            super().__init__(str(folder))
        except OSError as error:
            text = f"{error.strerror} {folder}" if error.strerror else error
            raise UsageError(f"--root {root}: expected images in {root}/CLASS/: {text}") from error
        self.resize: v2.Transform | None = None
        if not augment:
            bigger = v2.Resize(image_size * 8 // 7, antialias=True)
            self.resize = v2.Compose([bigger, v2.CenterCrop(image_size)])
        elif min_scale is not None:
            self.resize = v2.RandomResizedCrop(image_size, (min_scale, 1.0), antialias=True)
        self.augment = augment
        self.mean, self.std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # of 0 to 255
        self.num_classes = len(self.classes)
        self.image_size = image_size
        self.input_size = (3, image_size, image_size)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.transform_batch(self.get_batch(torch.tensor([index])))
        return images[0], int(labels[0])

    def get_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Reads and cuts images; a process that loads data does this.

        Args:
            indices: (B,), int64.

        Returns:
            Images (B, 3, image_size, image_size), uint8, and labels (B,), int64.
        """
        chosen = [self.samples[index] for index in indices.tolist()]
        images = np.empty((len(chosen), self.image_size, self.image_size, 3), np.uint8)
        for image, (file, _) in zip(images, chosen, strict=True):
            image[:] = self._cut(_read(file, is_fast=self.augment))
        labels = torch.tensor([label for _, label in chosen])
        return torch.from_numpy(images).permute(0, 3, 1, 2), labels

    def _cut(self, pixels: Any) -> Any:
        """The part of an image, (H, W, 3), that is trained on."""
        if self.resize:
            image = self.resize(torch.from_numpy(pixels).permute(2, 0, 1))
            return image.permute(1, 2, 0).numpy()
        size = self.image_size  # as v2.RandomCrop does, in a tenth of its time
        if (missing := size - min(pixels.shape[:2])) > 0:
            pixels = np.pad(pixels, [(missing, missing), (missing, missing), (0, 0)])
        top, left = (random.randint(0, length - size) for length in pixels.shape[:2])
        return pixels[top : top + size, left : left + size]

    def transform_batch(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Normalises and flips what `get_batch` returns, on the device that trains."""
        images, labels = batch
        images = images.contiguous()  # on a CPU, several times faster in what follows
        if self.augment:
            flips = torch.rand(len(images), device=images.device) < 0.5
            images = torch.where(flips.view(-1, 1, 1, 1), images.flip(3), images)
        return v2.functional.normalize(images.float(), self.mean, self.std, inplace=True), labels


def _read(file: str, is_fast: bool) -> Any:
    """An image, (H, W, 3), uint8; read fast, its values differ by one or two of 255."""
    try:  # the fastest decoder of JPEG files
        with open(file, "rb", buffering=0) as content:
            return simplejpeg.decode_jpeg(content.read(), fastdct=is_fast, fastupsample=is_fast)
    except ValueError:  # another type of file
        try:
            with Image.open(file) as image:
                return np.array(image.convert("RGB"))
        except OSError as error:
            raise UsageError(f"{file} is damaged, or no image: {error}") from error
