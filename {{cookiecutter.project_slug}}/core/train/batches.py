"""Batches: which samples are in one, and how they are taken from a dataset."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.data import (
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from core import lightning
from core.errors import UsageError
from core.runs.processes import say
from core.train.seeding import held_generators, reseed, run_seed, seed_at

TARGETS = ("target", "targets", "label", "labels", "y", "mask", "masks")  # of a batch by name
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
        order: What gives the batches of an epoch, for all processes: see core/train/order.py.

    Raises:
        UsageError: Not all epochs have as many batches.
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
        order: Callable[[int, int], list[Tensor]] | None = None,
    ) -> None:
        super().__init__(dataset, world_size, rank, shuffle, seed=run_seed())
        size = len(dataset)  # type: ignore[arg-type]
        if not shuffle:  # each sample once
            if size < world_size:
                hint = "type fewer --devices, or give it more samples"
                raise UsageError(f"{size} samples to evaluate for {world_size} processes; {hint}")
            self.num_samples = len(range(rank, size, world_size))
        self.batch_size, self.skips_last, self.epoch = batch_size, drop_last, epoch
        self.done = {epoch: samples // world_size}
        self.fewest = size // world_size // batch_size  # batches that every process has
        self.device = torch.device("cpu")  # of the indices
        self.order = order
        self.count = len(self._ordered(epoch)) if order else 0
        if order and len(self._ordered(epoch + 1)) != self.count:
            raise UsageError("the dataset's batches are not as many in each epoch")

    def _ordered(self, epoch: int) -> list[Tensor]:
        """This process's share of each batch; of one that is too small, samples are repeated."""
        assert self.order
        rank, world, size = self.rank, self.num_replicas, self.batch_size * self.num_replicas
        batches = [b for b in self.order(size, epoch) if not self.skips_last or len(b) == size]
        return [b.repeat(-(-world // len(b)))[rank::world] for b in batches]

    def __len__(self) -> int:
        if self.order:
            return self.count
        begun = 0 if self.skips_last else self.batch_size - 1
        return (self.num_samples + begun) // self.batch_size

    def _shuffled(self) -> Tensor:
        """The order of torch's DistributedSampler, (num_samples,) int64, without a list."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.dataset), generator=generator)  # type: ignore[arg-type]
        own = order[self.rank :: self.num_replicas].contiguous()
        if len(own) == self.num_samples:
            return own
        next_one = self.rank + len(own) * self.num_replicas  # repeated from the beginning
        return torch.cat([own, order[[next_one % len(order)]]])

    def __iter__(self) -> Iterator[Key]:
        if self.order:
            batches = [batch.to(self.device) for batch in self._ordered(self.epoch)]
            if len(batches) != self.count:
                raise UsageError("the dataset's batches are not as many in each epoch")
        elif self.shuffle:
            own = self._shuffled().to(self.device)
        else:
            size: int = len(self.dataset)  # type: ignore[arg-type]
            own = torch.arange(self.rank, size, self.num_replicas, device=self.device)
        begin = self.done.get(self.epoch, 0) // self.batch_size
        for number in range(begin, len(self)):
            start = number * self.batch_size
            indices = (
                batches[number] if self.order else own[start : start + self.batch_size].clone()
            )
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
        evaluates: Whether what is random in a sample depends on the sample alone, not on the place
            in training.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        collate: Callable[[list[Any]], Any],
        finishes: bool = True,
        evaluates: bool = False,
    ) -> None:
        self.batch_size, self.collate, self.finishes = batch_size, collate, finishes
        self.evaluates = evaluates
        self.size = len(dataset)
        self.indices: Tensor | None = None  # of the samples, if they are a part of the dataset
        while isinstance(dataset, Subset):
            held, dataset = torch.as_tensor(dataset.indices), dataset.dataset
            self.indices = held if self.indices is None else held[self.indices]
        self.dataset = dataset
        self.generators = held_generators(dataset)
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
        self.indices = None if self.indices is None else self.indices.to(device)

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __getitem__(self, key: Key | int) -> Any:
        if isinstance(key, int):  # Lightning asks so for --overfit_batches
            start = key * self.batch_size
            key = (0, key), torch.arange(start, min(start + self.batch_size, self.size))
        (epoch, *place), chosen = key
        self._seed_at("eval" if self.evaluates else epoch, *place, "sample")
        batch = self._take(chosen if self.indices is None else self.indices[chosen])
        if not hasattr(self.dataset, "transform_batch"):
            return batch
        return self.dataset.transform_batch(batch) if self.finishes else Raw(batch)

    def _seed_at(self, *place: Any) -> None:
        reseed(self.generators, seed_at(*place))

    def _take(self, indices: Tensor) -> Any:
        if hasattr(self.dataset, "get_batch"):
            return self.dataset.get_batch(indices)
        if self.is_whole:
            return tuple(tensor[indices] for tensor in self.dataset.tensors)
        if hasattr(self.dataset, "__getitems__") and not self.evaluates:
            return self.collate(self.dataset.__getitems__(indices.tolist()))
        items = []
        for index in indices.tolist():
            if self.evaluates:
                self._seed_at("eval", index)
            items.append(self.dataset[index])
        return self.collate(items)


# What a first input of other types or axes is given as: said in words.
FORMS = {
    "bytes": "bytes are given as float32 in [0, 1]",
    "float64": "float64 is given as float32",
    "channels": "pictures (H, W, C) are given as (C, H, W)",
}


def forms_of(batch: Any) -> list[str]:
    """In which other forms than its own a batch may have to be given to a network."""
    tensors = [leaf for leaf in tree_leaves(inputs_of(batch)[0]) if isinstance(leaf, Tensor)]
    found = ["bytes"] * any(t.dtype == torch.uint8 and t.ndim > 2 for t in tensors)
    found += ["float64"] * any(
        t.dtype == torch.float64 for t in tree_leaves(batch) if isinstance(t, Tensor)
    )
    return found + ["channels"] * any(is_channels_last(t.shape) for t in tensors)


def is_channels_last(shape: Sequence[int]) -> bool:
    """Whether a batch, (B, H, W, C), looks like pictures whose last axis is that of colours."""
    return len(shape) == 4 and shape[3] in (1, 3, 4) and min(shape[1:3]) > 4


def shape_of(batch: Any, fact: str) -> Iterator[Any]:
    """What the shapes of a batch's tensors, (B, …), tell of a fact; the surest first.

    Args:
        batch: Of any form.
        fact: Of the first, `input_size`, all but B; `in_channels`, of (C, L), (C, H, W) or
            (C, D, H, W); or `image_size`, H where it is that of a square, then (H, W). Of the
            target, `num_classes`: how many values it has, where these are no whole numbers.
    """
    values = [*batch.values()] if isinstance(batch, dict) else batch
    first = values[0] if isinstance(values, list | tuple) else values
    if fact == "num_classes":
        named = batch if isinstance(batch, dict) else {}
        target: Any = next((named[n] for n in TARGETS if n in named), None)
        target = values[1] if isinstance(batch, list | tuple) and len(batch) == 2 else target
        is_real = (
            isinstance(target, Tensor) and target.is_floating_point() and target.ndim in (1, 2)
        )
        if is_real and bool((target != target.round()).any()):
            yield target.shape[1] if target.ndim == 2 else 1
        return
    shape = list(first.shape[1:]) if isinstance(first, Tensor) else []
    if fact != "input_size" and is_channels_last([1, *shape]):
        shape = [shape[2], *shape[:2]]
    if fact == "input_size" and shape:
        yield shape
    elif fact == "in_channels" and 2 <= len(shape) <= 4:
        yield shape[0]
    elif fact == "image_size" and len(shape) == 3:
        yield from [shape[-1]] if shape[-2] == shape[-1] else []
        yield shape[-2:]


def given_as(batch: Any, forms: Sequence[str]) -> Any:
    """A batch in other forms."""
    if "float64" in forms:
        batch = tree_map_only(Tensor, lambda t: t.float() if t.dtype == torch.float64 else t, batch)

    def convert(tensor: Tensor) -> Tensor:
        if "bytes" in forms and tensor.dtype == torch.uint8 and tensor.ndim > 2:
            tensor = tensor.float() / 255
        if "channels" in forms and is_channels_last(tensor.shape):
            tensor = tensor.movedim(-1, 1)
        return tensor

    if not {"bytes", "channels"} & {*forms}:
        return batch
    inputs, put = inputs_of(batch)
    return put(tree_map_only(Tensor, convert, inputs))


def split_named(
    batch: Any, network: Any, inputs: Sequence[Any], required: Sequence[Any], is_open: bool
) -> tuple[Any, Any]:
    """Splits a batch by names into inputs and target: see `MInterface.split_batch`.

    Args:
        batch: A mapping; or an object, such as a graph.
        network: What takes it.
        inputs: Parameters of its `forward`.
        required: Those of them without a default.
        is_open: Whether the network may be given the target, too.

    Raises:
        UsageError: Nothing tells which item is which.
    """
    needed = [p.name for p in required]
    if not isinstance(batch, Mapping):
        named = {n: getattr(batch, n) for n in (*needed, *TARGETS) if hasattr(batch, n)}
        target = next((named[n] for n in TARGETS if named.get(n) is not None), None)
        has_all = {*needed} <= named.keys()
        return ({n: named[n] for n in needed} if has_all else (batch,)), target
    found = {p.name: batch[p.name] for p in inputs if p.name in batch}
    rest = [name for name in batch if name not in found or is_open]
    known = [n for n in rest if n in TARGETS] or rest
    target = batch[known[0]] if len(known) == 1 else None
    missing = [name for name in needed if name not in found]
    used = {*found, *known[: target is not None]}
    others = [name for name in batch if name not in used]
    if len(missing) == len(others) == 1:
        found[missing[0]] = batch[others[0]]
    elif missing:
        takes, hint = ", ".join(needed), "give the items the names of forward's parameters"
        what = f"{type(network).__name__} takes {takes}; a batch holds {', '.join(batch)}"
        raise UsageError(f"{what}; {hint}")
    return found, target


def inputs_of(batch: Any) -> tuple[Any, Callable[[Any], Any]]:
    """All of a batch but its target, and what puts them into it again."""
    if isinstance(batch, dict):
        inputs = {n: v for n, v in batch.items() if n not in TARGETS}
        return inputs, lambda new: batch | new
    if isinstance(batch, list | tuple) and len(batch) > 1:
        return [*batch[:-1]], lambda new: type(batch)([*new, batch[-1]])
    return batch, lambda new: new


def in_order(samples: list[Any]) -> list[Any]:
    """The samples of all processes, of which process r of n had r, r + n, r + 2n, …"""
    if not torch.distributed.is_initialized():
        return samples
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, samples)
    every = sum(map(len, parts))
    return [parts[i % len(parts)][i // len(parts)] for i in range(every)]


class Part(Subset[Any]):
    """Some samples of a dataset.

    Args:
        dataset: The dataset.
        indices: Of the samples, (n,) int64; a list of so many integers would take 5 times as much.
    """

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[int(self.indices[i]) for i in index]]
        return self.dataset[int(self.indices[index])]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


def base(dataset: Any) -> Any:
    """The dataset that a part is of."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def file_names(part: Any, count: int) -> list[str] | None:
    """The files of a part's first samples, if its dataset tells, in `samples`; else None."""
    samples = None if isinstance(part, IterableDataset) else getattr(base(part), "samples", None)
    indices = [*map(int, part.indices[:count])] if isinstance(part, Subset) else range(count)
    if isinstance(samples, list | tuple) and len(samples) > max(indices, default=0):
        known = [samples[index] for index in indices]
        if all(isinstance(s, tuple | list) and isinstance(s[0], str | Path) for s in known):
            return [str(sample[0]) for sample in known]
    return None


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
