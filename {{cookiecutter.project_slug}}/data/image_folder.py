"""Your own images, one folder a class."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets
from torchvision.transforms import v2

from core.lookup import UsageError


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

    Raises:
        ValueError: There are split folders, but not this one.
        UsageError: There are no images.
    """

    in_channels = 3

    def __init__(
        self, root: str, split: str = "train", augment: bool = True, image_size: int = 224
    ) -> None:
        folder = Path(root)
        if (folder / "train").is_dir():
            folder = folder / split
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}")
        elif split != "train":
            raise ValueError(f"{root} has no folder {split}")
        if augment:
            shape = [v2.RandomResizedCrop(image_size, antialias=True), v2.RandomHorizontalFlip()]
        else:
            shape = [v2.Resize(image_size * 8 // 7, antialias=True), v2.CenterCrop(image_size)]
        scale = [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
        try:
            super().__init__(str(folder), transform=v2.Compose([v2.PILToTensor(), *shape, *scale]))
        except OSError as error:
            text = f"{error.strerror} {folder}" if error.strerror else error
            raise UsageError(f"--root {root}: expected images in {root}/CLASS/: {text}") from error
        self.num_classes = len(self.classes)
        self.image_size = image_size
        self.input_size = (3, image_size, image_size)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = super().__getitem__(index)
        return image, int(label)
