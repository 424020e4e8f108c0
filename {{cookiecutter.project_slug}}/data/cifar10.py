"""CIFAR-10: 32x32 colour photographs of ten things."""

from torch import Tensor, float32
from torchvision import datasets
from torchvision.transforms import v2


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
    mean = (0.4914, 0.4822, 0.4465)  # of the training part, per channel
    std = (0.2470, 0.2435, 0.2616)

    def __init__(
        self,
        root: str = "datasets",
        train: bool = True,
        augment: bool = True,
        download: bool = True,
    ) -> None:
        random = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()] if augment else []
        to_tensor = [
            v2.PILToTensor(),
            v2.ToDtype(float32, scale=True),
            v2.Normalize(self.mean, self.std),
        ]
        super().__init__(
            root, train, transform=v2.Compose([*random, *to_tensor]), download=download
        )

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = super().__getitem__(index)
        return image, int(label)
