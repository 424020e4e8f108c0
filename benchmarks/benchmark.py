"""Dropped into the generated project: data to measure with, and callbacks that take the time."""

import os
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset


class Vectors(TensorDataset):
    """The size of MNIST: 784 values and one of ten classes."""

    num_classes = 10

    def __init__(self, size: int = 55040) -> None:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(10, (size,), generator=generator)
        super().__init__(torch.rand(size, 784, generator=generator), labels)


class Pictures(TensorDataset):
    """The size of CIFAR-10's images: (3, 32, 32)."""

    num_classes = 10

    def __init__(self, size: int = 320) -> None:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(10, (size,), generator=generator)
        super().__init__(torch.rand(size, 3, 32, 32, generator=generator), labels)


class Photographs(TensorDataset):
    """The size of ImageNet's images: (3, 224, 224)."""

    num_classes = 1000

    def __init__(self, size: int = 5120) -> None:
        labels = torch.randint(1000, (size,), generator=torch.Generator().manual_seed(0))
        super().__init__(torch.rand(1, 3, 224, 224).repeat(size, 1, 1, 1), labels)


class Long(Dataset[Any]):
    """Nothing but many samples."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([float(index % 7)]), index % 2

    def get_batch(self, indices: Tensor) -> Any:
        """A whole one."""
        return (indices % 7).float()[:, None], indices % 2


class Timer(pl.Callback):
    """Prints the seconds of each epoch of training, without validation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.begin = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        """An epoch begins."""
        self.begin = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """It ends."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.begin)
        if trainer.current_epoch + 1 == trainer.max_epochs and trainer.is_global_zero:
            print("SECONDS", *self.seconds, flush=True)


class Exit(pl.Callback):
    """Ends the process after the first step."""

    def on_train_batch_end(self, *_: Any) -> None:
        """The step is done."""
        os._exit(0)
