"""Streams: shared out without doubles, and gone on with where they were.

A stream is read in rounds of as many samples as all processes train on at once. What is random in a
round is drawn from (seed, epoch, round), so that whoever reads it again, another worker or a run
that goes on, draws the same.
"""

import collections
import contextlib
import copy
import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from core.cli.construct import is_plain
from core.errors import UsageError
from core.runs.processes import say
from core.train.seeding import held_generators, reseed, seed_at

# What is in the code of a stream that shares itself out: PyTorch, litdata, webdataset, datasets.
_WORKERS = ("worker_info", "WorkerEnv", "split_by_worker")
_PROCESSES = ("get_rank", "get_world_size", "DistributedEnv", "split_by_node", "dataset_by_node")
_FIRST: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


class Stream(IterableDataset[Any]):
    """The batches that a process, or a worker of it, makes of a stream.

    Process r of n gets every n-th sample, from the r-th on; each of its workers reads all of them
    and makes every so many batches. So the batches are the same with any number of workers. All
    processes get as many: of a last round that is too small the first sample is repeated. A stream
    that shares itself out to its workers, or processes, is left to do so.

    Args:
        dataset: The stream.
        batch_size: Samples of a batch.
        collate: Makes a batch of a list of samples.
        drop_last: Whether to skip a last, smaller round.
        evaluates: Whether it is the same each epoch, and no sample is to be repeated.
        rank: This process's number.
        world_size: Number of processes.
        epoch: The epoch to begin with.
        samples: How many samples of that epoch all processes have trained on already.
        place: Where the stream was then: see `place_of`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        collate: Callable[[list[Any]], Any],
        drop_last: bool = False,
        evaluates: bool = False,
        rank: int = 0,
        world_size: int = 1,
        epoch: int = 0,
        samples: int = 0,
        place: dict[str, Any] | None = None,
    ) -> None:
        self.dataset, self.batch_size, self.collate = dataset, batch_size, collate
        self.drop_last, self.evaluates, self.rank = drop_last, evaluates, rank
        held = getattr(dataset, "__dict__", {})
        self.inner = [dataset, *(v for v in held.values() if isinstance(v, IterableDataset))]
        self.by_worker, self.by_process = self._names(_WORKERS), self._names(_PROCESSES)
        self.by_process |= any(
            getattr(found, "__dict__", {}).get("_distributed") for found in self.inner
        )
        self.share = (0, 1) if self.by_process else (rank, world_size)
        self.first = _first_state(dataset)
        self.has_state = self.first is not None and not _shuffles_in_a_buffer(dataset)
        self.epoch = torch.tensor(epoch).share_memory_()  # workers that stay see another one, too
        self.begin = epoch, samples // (batch_size * world_size)  # its first batch, and what is
        self.place = place or {"workers": 0, "turn": 0, "places": [{}] * world_size}
        # By worker, 0 for all where they read the same: how many samples, and the stream's state.
        places = self.place["places"]
        self.read: dict[int, Any] = dict(places[rank % len(places) if self.by_process else 0])

    def _names(self, words: tuple[str, ...]) -> bool:
        """Whether the code of the stream has one of these words."""
        kinds = {base for found in self.inner for base in type(found).__mro__}
        return any(word in _source(kind) for kind in kinds for word in words)

    def _seed(self, *place: Any) -> None:
        seed = seed_at(*place, "stream")
        for found in self.inner:
            reseed(held_generators(found), seed)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch, key = int(self.epoch), number if self.by_worker else 0
        goes_on = epoch == self.begin[0]
        read, state = self.read.get(key, (0, None)) if goes_on else (0, None)
        if self.by_worker and goes_on and number < self.place["turn"]:
            yield None  # it is not its turn
        when = "eval" if self.evaluates else epoch
        self._seed(when)
        for found in self.inner:
            if hasattr(found, "set_epoch"):
                found.set_epoch(epoch)
        if self.first is not None:
            [begins_with] = copy.deepcopy(self.first if state is None else [state])
            self.dataset.load_state_dict(begins_with)
        stream, size = iter(self.dataset), self.batch_size * self.share[1]
        first = read // size
        for begin in range(0, read if state is None else 0, size):
            self._seed(when, begin // size)
            collections.deque(itertools.islice(stream, min(size, read - begin)), maxlen=0)
        for place in itertools.count(first):
            self._seed(when, place)
            own, found = self._own(itertools.islice(stream, size))
            if not own or (self.drop_last and found < size):
                return
            read += found
            if self.by_worker or (place - first) % count == number:
                seed_at(when, place, self.rank, "sample")
                batch = self.collate(own)
                where = [read, self._state()]
                yield batch if self.evaluates else (number, key, where, batch)

    def _own(self, samples: Iterator[Any]) -> tuple[list[Any], int]:
        """This process's share of a round; and how many samples that has."""
        own: list[Any] = []
        first: list[Any] = []
        count = 0
        for count, sample in enumerate(samples, 1):
            first = first or [sample]
            if (count - 1) % self.share[1] == self.share[0]:
                own.append(sample)
        return own or ([] if self.evaluates else first), count

    def _state(self) -> Any:
        """The stream's own state, if it has one that a checkpoint can hold."""
        state = copy.deepcopy(self.dataset.state_dict()) if self.has_state else None
        is_fine = all(isinstance(leaf, Tensor) or is_plain(leaf) for leaf in tree_leaves(state))
        return state if is_fine else None


class StreamLoader(DataLoader[Any]):
    """Loads the batches of a stream that trains, and knows how far training has come.

    All processes end an epoch together, with the first whose share of the stream ends.

    Args:
        stream: The stream.
        trainer: The trainer, if there is one.
        options: Of torch's DataLoader.

    Raises:
        UsageError: It shares itself out, to another number of workers or processes than now.
    """

    def __init__(self, stream: Stream, trainer: pl.Trainer | None = None, **options: Any) -> None:
        super().__init__(stream, **options)
        sampler: Any = self.sampler  # whom Lightning tells the epoch
        sampler.set_epoch = stream.epoch.fill_
        self.stream, self.trainer, self.is_uneven = stream, trainer, False
        self.workers = max(1, self.num_workers)
        self.after: dict[int, dict[str, Any]] = {}  # where each worker was, by batches trained on
        name = type(stream.dataset).__name__
        for by_itself, option, now, then in (
            (stream.by_worker, "num_workers", self.workers, stream.place["workers"]),
            (stream.by_process, "devices", self._processes(), len(stream.place["places"])),
        ):
            if by_itself and stream.read and now != then:
                what = f"{name} shares itself out, in this epoch to {then}"
                raise UsageError(f"--{option} {now}: {what}; type --{option} {then}")
        if skipped := sum(read for read, state in stream.read.values() if state is None):
            why = "has no state_dict that brings it back to its place"
            say(f"going on: {skipped} samples of {name} are read and skipped, as it {why}")

    def _processes(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def __iter__(self) -> Any:
        epoch, done = self.stream.begin
        goes_on = epoch == int(self.stream.epoch)
        done, places = (done, self.stream.read) if goes_on else (0, {})
        turn = self.stream.place["turn"]
        self.after = {done: {"workers": self.workers, "turn": turn, "places": places}}
        batches = (item for item in super().__iter__() if item is not None)
        while self._all_have(item := next(batches, ())):
            number, key, where, batch = cast(Any, item)
            places, turn, done = places | {key: where}, (number + 1) % self.workers, done + 1
            self.after[done] = {"workers": self.workers, "turn": turn, "places": places}
            self.after.pop(done - 4, None)  # Lightning takes one batch ahead
            yield batch

    def _all_have(self, item: Sequence[Any]) -> bool:
        """Whether all processes have a batch."""
        if self.trainer is None or self._processes() == 1:
            return bool(item)
        strategy = self.trainer.strategy
        here = torch.tensor(float(bool(item)), device=strategy.root_device)
        count = int(strategy.reduce(here, reduce_op="sum"))
        if 0 < count < self._processes() and not self.is_uneven:
            self.is_uneven = True
            name = type(self.stream.dataset).__name__
            say(f"{name} shares itself out unequally: epochs end with the shortest share")
        return count == self._processes()


def place_of(loader: Any, batches: int) -> dict[str, Any]:
    """Where a stream was after so many batches of the epoch, of all processes; {} of no stream.

    Returns:
        `place`, plain values: the number of `workers`; `turn`, the one that goes on; and `places`,
        for each process, by worker: samples read, and the stream's own state or None.
    """
    found = loader.after.get(batches) if batches and isinstance(loader, StreamLoader) else None
    if found is None:
        return {}
    places = [found["places"]]
    if torch.distributed.is_initialized():
        places = [{}] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(places, found["places"])
    return {"place": found | {"places": places}}


@isolate_rng(include_cuda=False)
def first_sample(part: Any) -> Any:
    """The first sample; an epoch of a stream begins with it nevertheless.

    What it draws is given back, or weights would depend on what a run asks the data. No GPU is
    touched: processes that load data or train have not begun.
    """
    if not isinstance(part, IterableDataset):
        return part[0]
    _first_state(part)
    return next(iter(part))


def _first_state(stream: Any) -> list[Any] | None:
    """The state that a stream had before anything was read, in a list; None if it has no state."""
    if not (hasattr(stream, "state_dict") and hasattr(stream, "load_state_dict")):
        return None
    if stream not in _FIRST:
        _FIRST[stream] = [copy.deepcopy(stream.state_dict())]
    return _FIRST[stream]


@functools.cache
def _source(kind: type) -> str:
    """The code of a class that is neither Python's nor torch's own."""
    if kind.__module__.partition(".")[0] not in ("torch", "typing", "builtins"):
        with contextlib.suppress(OSError, TypeError):
            return inspect.getsource(kind)
    return ""


def _shuffles_in_a_buffer(stream: Any) -> bool:
    """Whether it is one of Hugging Face's that does, which its state leaves out."""
    todo, seen = [stream], {0}
    while todo:
        found = todo.pop()
        if type(found).__name__ == "BufferShuffledExamplesIterable":
            return True
        if isinstance(found, list | tuple):
            todo += found
        elif type(found).__module__.startswith("datasets.") and id(found) not in seen:
            seen.add(id(found))
            todo += getattr(found, "__dict__", {}).values()
    return False
