"""Randomness without state: every draw depends on the seed and the place in training alone.

The order of the samples is drawn from (seed, epoch), the augmentation of a batch from (seed, epoch,
its first sample), dropout from (seed, epoch, batch, process). A resumed run therefore repeats what
an uninterrupted one would have done, bit for bit, whatever happened before.
"""

import os
import random
import zlib
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from core.errors import UsageError


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy, which takes 32 bits, torch and the loaders' workers."""
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: expected 0 to {2**32 - 1}")
    pl.seed_everything(seed, workers=True, verbose=False)


def seed_at(*place: Any) -> int:
    """Seeds Python, NumPy and torch for a place in training, such as (epoch, batch, process)."""
    seed = zlib.crc32(repr((run_seed(), *place)).encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # a hundred times faster than torch.manual_seed
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
    return seed


def held_generators(dataset: Any) -> list[Any]:
    """The sources of randomness that a dataset has for itself."""
    kinds = (np.random.Generator, np.random.RandomState, torch.Generator, random.Random)
    return [
        value for value in getattr(dataset, "__dict__", {}).values() if isinstance(value, kinds)
    ]


def reseed(generators: list[Any], seed: int) -> None:
    """Seeds them, too."""
    for generator in generators:
        match generator:
            case torch.Generator():
                generator.manual_seed(seed)
            case np.random.Generator():
                fresh = type(generator.bit_generator)(seed)
                generator.bit_generator.state = fresh.state
            case _:
                generator.seed(seed)


def run_seed() -> int:
    """The seed that `pl.seed_everything` was called with, 0 without."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


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
        """The same for validation, in each epoch alike."""
        seed_at(batch_idx, trainer.global_rank, "eval")

    def on_test_batch_start(self, trainer: pl.Trainer, *place: Any) -> None:
        """The same for the test."""
        seed_at(place[2], trainer.global_rank, "eval")

    def on_predict_batch_start(self, trainer: pl.Trainer, *place: Any) -> None:
        """The same for predictions."""
        seed_at(place[2], trainer.global_rank, "eval")
