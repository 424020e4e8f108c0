"""CIFAR-10: 32x32 colour photographs of ten things."""

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision import datasets


class Cifar10(datasets.CIFAR10):
    """50,000 photographs to train and 10,000 to test, downloaded on first use (170 MB).

    Items are `(image, label)`: image (3, 32, 32), float32, normalised per channel; label 0 to 9.

    Args:
        root: Folder to keep the download in.
        train: Whether the training or the test part.
        augment: Whether to crop (after padding by 4) and flip at random.
        download: Whether to download what is missing.

    Raises:
        RuntimeError: The files are not there and download is off.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html
    """

    num_classes = 10
    in_channels = 3
    image_size = 32
    input_size = (3, 32, 32)

    def __init__(
        self,
        root: str = "datasets",
        train: bool = True,
        augment: bool = True,
        download: bool = True,
    ) -> None:
        super().__init__(root, train, download=download)
        self.images = torch.from_numpy(self.data).permute(0, 3, 1, 2)  # (N, 3, 32, 32), uint8
        self.labels = torch.tensor(self.targets)
        self.mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)  # of the training part
        self.std = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
        self.augment = augment

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.get_batch(torch.tensor([index]))
        return images[0], int(labels[0])

    def get_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a batch at once, many times faster than sample by sample.

        Args:
            indices: (B,), int64.

        Returns:
            Images (B, 3, 32, 32), and labels (B,), int64.
        """
        images = self.images[indices]
        if self.augment:
            images = _moved(images)
        return (images / 255 - self.mean) / self.std, self.labels[indices]


def _moved(images: Tensor) -> Tensor:
    """Each image shifted by up to 4 pixels, and flipped or not."""
    count, device = len(images), images.device
    pixels = torch.arange(32, device=device).expand(count, 32)
    rows, columns = (pixels + torch.randint(9, (count, 1), device=device) for _ in "xy")
    columns = torch.where(torch.rand(count, 1, device=device) < 0.5, columns, columns.flip(1))
    number = torch.arange(count, device=device)[:, None, None]
    chosen = pad(images, (4, 4, 4, 4))[number, :, rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)  # from (B, 32, 32, 3)
