"""Randomness without state: every draw depends on the seed and the place in training alone.

The order of the samples is drawn from (seed, epoch), the augmentation of a batch from (seed, epoch,
its first sample), dropout from (seed, epoch, batch, process). A resumed run therefore repeats what
an uninterrupted one would have done, bit for bit, whatever happened before.
"""

import os
import random
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import Dataset, DistributedSampler

Key = tuple[int, int]  # epoch and index of a sample


def seed_at(*place: Any) -> None:
    """Seeds Python, NumPy and torch for a place in training, such as (epoch, batch, process)."""
    seed = zlib.crc32(repr((run_seed(), *place)).encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # a hundred times faster than torch.manual_seed
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)


def run_seed() -> int:
    """The seed that `pl.seed_everything` was called with, 0 without."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


class EpochSampler(DistributedSampler[Any]):
    """Shuffles anew each epoch and shares the samples out to the processes.

    Args:
        dataset: What is sampled.
        rank: This process's number; 0 without a trainer.
        world_size: Number of processes.
        epoch: The epoch to begin with.
        samples: How many samples of that epoch all processes have trained on already.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        rank: int = 0,
        world_size: int = 1,
        epoch: int = 0,
        samples: int = 0,
    ) -> None:
        super().__init__(dataset, world_size, rank, seed=run_seed())
        self.epoch = epoch
        self.done = {epoch: samples // world_size}

    def __iter__(self) -> Iterator[Key]:
        keys = [(self.epoch, index) for index in super().__iter__()]
        return iter(keys[self.done.get(self.epoch, 0) :])


class Seeded(Dataset[Any]):
    """Samples of a dataset by `EpochSampler`'s keys, each batch with randomness of its own."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key | int) -> Any:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: list[Key | int]) -> list[Any]:
        """The samples of one batch."""
        seed_at(keys[0], "sample")
        indices = [key[1] if isinstance(key, tuple) else key for key in keys]
        if hasattr(self.dataset, "__getitems__"):
            return list(self.dataset.__getitems__(indices))
        return [self.dataset[index] for index in indices]


class StatelessSeeding(pl.Callback):
    """Seeds every step of training and validation."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds dropout and all else that is random in a step."""
        seed_at(trainer.current_epoch, batch_idx, trainer.global_rank)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """The same for validation."""
        seed_at(trainer.current_epoch, batch_idx, trainer.global_rank, "val")
