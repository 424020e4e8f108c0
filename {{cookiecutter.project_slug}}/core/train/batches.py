"""Batches: which samples are in one, and how they are taken from a dataset."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.data import Dataset, DistributedSampler, Subset, TensorDataset, default_collate

from core import lightning
from core.errors import UsageError
from core.runs.processes import say
from core.train.seeding import run_seed, seed_at

Key = tuple[tuple[int, ...], Tensor]  # epoch, batch, process; and the samples' indices, (B,) int64


class Raw(NamedTuple):
    """A batch that is still to go through its dataset's `transform_batch`."""

    batch: Any


class BatchSampler(DistributedSampler[Any]):
    """Shares the samples out to the processes, and groups them.

    Args:
        dataset: What is sampled.
        batch_size: Samples of a batch.
        shuffle: Whether to shuffle anew each epoch; if so, all processes get as many samples.
        drop_last: Whether to skip a last, smaller batch.
        rank: This process's number; 0 without a trainer.
        world_size: Number of processes.
        epoch: The epoch to begin with.
        samples: How many samples of that epoch all processes have trained on already.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        epoch: int = 0,
        samples: int = 0,
    ) -> None:
        super().__init__(dataset, world_size, rank, shuffle, seed=run_seed())
        size = len(dataset)  # type: ignore[arg-type]
        if not shuffle:  # each sample once
            self.num_samples = len(range(rank, size, world_size))
        self.batch_size, self.skips_last, self.epoch = batch_size, drop_last, epoch
        self.done = {epoch: samples // world_size}
        self.fewest = size // world_size // batch_size  # batches that every process has
        self.device = torch.device("cpu")  # of the indices

    def __len__(self) -> int:
        begun = 0 if self.skips_last else self.batch_size - 1
        return (self.num_samples + begun) // self.batch_size

    def __iter__(self) -> Iterator[Key]:
        if self.shuffle:
            own = torch.tensor([*super().__iter__()])
        else:  # at once, for data of many millions
            own = torch.arange(self.rank, len(self.dataset), self.num_replicas)  # type: ignore[arg-type]
        begin = self.done.get(self.epoch, 0) // self.batch_size
        for number, indices in enumerate(own.to(self.device).split(self.batch_size)):
            if begin <= number < len(self):
                yield (self.epoch, number, self.rank), indices


class Batches(Dataset[Any]):
    """Whole batches of a dataset, each with randomness of its own.

    A dataset with a method `get_batch(indices)`, indices (B,) int64, hands over a whole batch at
    once, which for data in memory is many times faster than single samples; so does a
    `TensorDataset` without a `collate_fn`. Of others the samples are taken one by one. If the
    dataset has a method `transform_batch(batch)`, the batch is to go through it, best on the device
    that trains.

    Args:
        dataset: The dataset, or a `Subset` of it.
        batch_size: Samples of a batch.
        collate: Makes a batch of a list of samples.
        finishes: Whether to call `transform_batch` here; else such batches are `Raw`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        collate: Callable[[list[Any]], Any],
        finishes: bool = True,
    ) -> None:
        self.batch_size, self.collate, self.finishes = batch_size, collate, finishes
        self.indices = torch.arange(len(dataset))
        while isinstance(dataset, Subset):
            self.indices, dataset = torch.tensor(dataset.indices)[self.indices], dataset.dataset
        self.dataset = dataset
        is_plain = type(dataset).__getitem__ is TensorDataset.__getitem__
        is_plain = is_plain and not hasattr(dataset, "collate_fn")
        self.is_whole = is_plain or hasattr(dataset, "get_batch")

    def move(self, device: torch.device) -> None:
        """Keeps the dataset's tensors on a device, if they fit into half of its free memory."""
        name, held = type(self.dataset).__name__, dict(vars(self.dataset))
        tensors = [v for v in tree_leaves(held) if isinstance(v, Tensor)]
        if not self.is_whole or not tensors:
            raise UsageError(f"--on_device true: {name} needs tensors, and get_batch(indices)")
        size = sum(t.numel() * t.element_size() for t in tensors if t.device != device)
        if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] / 2:
            say(f"--on_device true: {name}, {size / 1e9:.1f} GB, does not fit on {device}")
            return
        vars(self.dataset).update(tree_map_only(Tensor, lambda t: t.to(device), held))
        self.indices = self.indices.to(device)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __getitem__(self, key: Key | int) -> Any:
        if isinstance(key, int):  # Lightning asks so for --overfit_batches
            start = key * self.batch_size
            key = (0, key), torch.arange(start, min(start + self.batch_size, len(self.indices)))
        place, chosen = key
        seed_at(*place, "sample")
        batch = self._take(self.indices[chosen])
        if not hasattr(self.dataset, "transform_batch"):
            return batch
        return self.dataset.transform_batch(batch) if self.finishes else Raw(batch)

    def _take(self, indices: Tensor) -> Any:
        if hasattr(self.dataset, "get_batch"):
            return self.dataset.get_batch(indices)
        if self.is_whole:
            return tuple(tensor[indices] for tensor in self.dataset.tensors)
        if hasattr(self.dataset, "__getitems__"):
            return self.collate(self.dataset.__getitems__(indices.tolist()))
        return self.collate([self.dataset[index] for index in indices.tolist()])


def base(dataset: Any) -> Any:
    """The dataset that a part is of."""
    return dataset.dataset if isinstance(dataset, Subset) else dataset


def collate_of(dataset: Any) -> Callable[[list[Any]], Any]:
    """What makes a batch of a dataset's samples: its own `collate_fn`, or torch's."""
    return getattr(base(dataset), "collate_fn", _collate)


def _collate(items: list[Any]) -> Any:
    try:
        return default_collate(items)
    except (RuntimeError, TypeError) as error:
        hint = "return tensors of one shape, or give the dataset a collate_fn"
        raise UsageError(f"the dataset's items can't be batched; {hint}: {error}") from error


def raw(collate: Callable[[list[Any]], Any], items: list[Any]) -> Raw:
    """A batch of a stream that is still to go through `transform_batch`."""
    return Raw(collate(items))


def workers_for(part: Any, devices: int) -> int:
    """How many processes load a part for each of the devices, so that training need not wait."""
    if not isinstance(part, Batches):
        return 0
    for _ in range(3):  # the first may take longer
        begin = time.perf_counter()
        part[0]
        seconds = time.perf_counter() - begin
        if seconds < 0.01:
            return 0
        if seconds > 0.1:
            break
    return min(8, lightning.most_workers(devices))
