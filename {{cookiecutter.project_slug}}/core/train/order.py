"""The batches of a training epoch where the data says which: a function of (seed, epoch)."""

import inspect
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

from core.errors import UsageError
from core.train.batches import base
from core.train.parts import PUBLISHED
from core.train.seeding import run_seed

Order = Callable[[int, int], list[Tensor]]  # of batch size and epoch: positions in the part


def order_of(part: Any, balanced: bool) -> Order | None:
    """What orders the epochs of a part: its dataset's method `batches`, or weights; else None.

    Args:
        part: A dataset or a `Subset` of one, whose `batches(indices, batch_size, generator)` gives
            the batches of an epoch: lists of some of these indices, in each epoch as many.
        balanced: Whether to draw samples with replacement, by the dataset's `weights`, or so that
            all classes of its `labels` are drawn as often.

    Raises:
        UsageError: Nothing tells the weights, or the dataset orders its batches itself.
    """
    dataset = base(part)
    takes = inspect.signature(getattr(dataset, "batches", len)).parameters
    orders_itself = {"indices", "batch_size", "generator"} <= takes.keys()
    if balanced and (orders_itself or isinstance(part, IterableDataset)):
        what = "orders its batches itself" if orders_itself else "is a stream"
        raise UsageError(f"--balanced true: {type(dataset).__name__} {what}")
    if not balanced and not orders_itself:
        return None
    held = part.indices if isinstance(part, Subset) else torch.arange(len(part))
    indices = torch.as_tensor(held)
    if balanced:
        weights = torch.from_numpy(_weights(dataset, indices.numpy())).cumsum(0)

    def draw(batch_size: int, epoch: int) -> list[Tensor]:
        seed = zlib.crc32(repr((run_seed(), epoch, "batches")).encode())
        generator = torch.Generator().manual_seed(seed)
        if balanced:
            places = torch.rand(len(indices), generator=generator, dtype=torch.float64)
            return [*torch.searchsorted(weights, places * weights[-1]).split(batch_size)]
        return _positions(indices, dataset.batches(indices, batch_size, generator))

    return draw


def _weights(dataset: Any, indices: Any) -> Any:
    """Of each of these samples, an array."""
    if hasattr(dataset, "weights"):
        found = np.asarray(dataset.weights, np.float64)[indices]
        if found.min() < 0 or not found.sum() > 0:
            raise UsageError("--balanced true: the dataset's weights are to be 0 or more")
        return found
    known = next((name for name in PUBLISHED["labels"] if hasattr(dataset, name)), None)
    if known is None:
        hint = "give it labels or weights, a value for each sample"
        raise UsageError(f"--balanced true: {type(dataset).__name__} publishes none; {hint}")
    _, numbers, counts = np.unique(
        np.asarray(getattr(dataset, known))[indices], return_inverse=True, return_counts=True
    )
    return (1.0 / counts)[numbers]


def _positions(indices: Tensor, batches: Iterable[Any]) -> list[Tensor]:
    """Where the indices of batches stand in a part."""
    ordered, places = indices.sort()
    found = []
    for batch in batches:
        chosen = torch.as_tensor(batch).contiguous()
        at = torch.searchsorted(ordered, chosen).clamp(max=len(ordered) - 1)
        if not len(chosen) or not torch.equal(ordered[at], chosen):
            raise UsageError("batches: expected lists of some of the indices that it is given")
        found.append(places[at])
    return found
