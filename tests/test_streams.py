"""Streams: no sample twice, none lost, and after a cut the same batches as without."""

import io
import itertools
import random
from collections.abc import Iterator
from typing import Any, cast

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, default_collate, get_worker_info

from core.errors import UsageError
from core.train.streams import Stream, StreamLoader, place_of
from data import DInterface


class Plain(IterableDataset[Any]):
    """Thirty numbers and more, each with something random beside it."""

    size = 30

    def __init__(self) -> None:
        self.random = np.random.default_rng()

    def __iter__(self) -> Iterator[Any]:
        """In order."""
        for number in range(self.size):
            yield number, torch.rand(()), self.random.random(), random.random()


class Shuffled(Plain):
    """In an order drawn when it begins, and with a draw ahead."""

    def __iter__(self) -> Iterator[Any]:
        """In another order each epoch."""
        ahead = torch.rand(())
        for number in torch.randperm(self.size).tolist():
            yield number, ahead
            ahead = torch.rand(())


class Aware(Plain):
    """Shares itself out to its workers, unequally."""

    def __iter__(self) -> Iterator[Any]:
        """The first gets a third."""
        worker = get_worker_info()
        shares = {0: range(10), 1: range(10, 30)}
        numbers = shares.get(worker.id, range(0)) if worker else range(30)
        yield from ((number, torch.rand(())) for number in numbers)


class Own(Plain):
    """Has a state, and tells how much it read."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.read = 0, 0

    def __iter__(self) -> Iterator[Any]:
        """From where it is."""
        while self.number < self.size:
            self.number += 1
            self.read += 1
            yield self.number - 1, torch.rand(())
        self.number = 0

    def state_dict(self) -> dict[str, Any]:
        """The next number."""
        return {"number": self.number}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from it."""
        self.number = state_dict["number"]


def hugging_face() -> Any:
    """Five files, so to speak."""
    return datasets.Dataset.from_dict({"x": [*range(30)]}).to_iterable_dataset(num_shards=5)


def hugging_face_shuffled() -> Any:
    """In a buffer, which its state leaves out."""
    return hugging_face().shuffle(seed=0, buffer_size=7)


KINDS = [Plain, Shuffled, Aware, Own, hugging_face, hugging_face_shuffled]


def loader(kind: Any, workers: int = 0, size: int = 4, **where: Any) -> StreamLoader:
    """Of one process."""
    stream = Stream(kind() if callable(kind) else kind, size, default_collate, **where)
    return StreamLoader(stream, batch_size=None, num_workers=workers)


def numbers(batches: Any) -> list[int]:
    """Which samples they hold."""
    first = [[*batch.values()] if isinstance(batch, dict) else batch for batch in batches]
    return [int(number) for values in first for number in values[0]]


def same(one: Any, other: Any) -> bool:
    """Bit for bit."""
    values = [[*b.values()] if isinstance(b, dict) else b for b in (one, other)]
    return all(map(torch.equal, *values))


@pytest.mark.parametrize(
    ("kind", "size"), [*((kind, 30) for kind in KINDS), (Plain, 29), (Own, 33)]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_shared_out(kind: Any, workers: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sample once, but for those repeated so that all processes have as many batches."""
    monkeypatch.setattr(Plain, "size", size)
    shares = [[*loader(kind, workers, rank=r, world_size=2)] for r in (0, 1)]
    assert len(shares[0]) == len(shares[1])
    found = numbers(shares[0]) + numbers(shares[1])
    assert {*found} == {*range(size)} and len(found) - size in (0, 1)
    zero, one = (numbers(Stream(kind(), 4, default_collate, False, True, r, 2)) for r in (0, 1))
    assert sorted(zero + one) == [*range(size)]


@pytest.mark.parametrize("kind", [Plain, Shuffled, Own])
def test_with_any_number_of_workers(kind: Any) -> None:
    """The same batches; and each epoch others."""
    alone, two = [*loader(kind)], [*loader(kind, 2)]
    assert len(alone) == len(two) == 8 and all(map(same, alone, two))
    later = [*loader(kind, epoch=1)]
    assert not all(map(same, alone, later))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("workers", "rank", "done"), [(0, 0, 1), (0, 1, 3), (2, 0, 1), (2, 1, 3)])
def test_goes_on(kind: Any, workers: int, rank: int, done: int) -> None:
    """After so many batches trained on, and one more taken; and then with the next epoch."""
    torch.manual_seed(done)
    where = {"rank": rank, "world_size": 2, "epoch": 3}
    begun, expected = loader(kind, workers, **where), []
    for number, batch in enumerate(begun):
        expected.append(batch)
        if number == done:
            file = io.BytesIO()
            torch.save(place_of(begun, done), file)
            file.seek(0)
    cast(Any, begun.sampler).set_epoch(4)
    following = [*begun]
    torch.manual_seed(7)
    place = torch.load(file, weights_only=True)
    again = loader(kind, workers, samples=done * 4 * 2, **where, **place)
    found = [*again]
    assert len(found) == len(expected) - done and all(map(same, found, expected[done:]))
    cast(Any, again.sampler).set_epoch(4)
    assert all(map(same, [*again], following))


def test_a_state_spares_reading(capsys: pytest.CaptureFixture[str]) -> None:
    """What has none is read again, which is told; so is what shuffles in a buffer."""

    def go_on(kind: Any) -> tuple[str, Any]:
        begun = loader(kind)
        assert len([*itertools.islice(begun, 3)]) == 3
        place = place_of(begun, 2)
        again = loader(kind, samples=8, **place)
        assert len([*again]) == 6
        return capsys.readouterr().out, again.stream.dataset

    told, stream = go_on(Own)
    assert told == "" and stream.read == 22
    assert go_on(hugging_face)[0] == ""
    for kind in (Plain, hugging_face_shuffled):
        assert "going on: 8 samples of" in go_on(kind)[0]


class Rich(Own):
    """Its state is nothing that a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]:
        """Of NumPy."""
        return {"number": np.int64(self.number)}


def test_a_state_that_no_checkpoint_holds() -> None:
    """It is not kept."""
    begun = loader(Rich)
    assert len([*begun]) == 8
    assert place_of(begun, 7)["place"]["places"] == [{0: [28, None]}]


def test_other_numbers_of_workers_and_processes() -> None:
    """No sample twice, none lost; or it is told."""
    begun = loader(Plain, 2)
    assert len([*itertools.islice(begun, 4)]) == 4
    place = place_of(begun, 4)
    rest = [*loader(Plain, 0, samples=16, **place)]
    assert all(map(same, rest, [*loader(Plain)][4:])) and len(rest) == 4
    shares = [
        numbers(loader(Plain, 0, 3, rank=r, world_size=2, samples=16, **place)) for r in (0, 1)
    ]
    assert sorted(shares[0] + shares[1]) == [*range(16, 30)]
    begun = loader(Aware, 2)
    assert len([*itertools.islice(begun, 4)]) == 4
    message = "--num_workers 1: Aware shares itself out, in this epoch to 2; type --num_workers 2"
    with pytest.raises(UsageError, match=message):
        loader(Aware, 0, samples=16, **place_of(begun, 4))


def test_the_first_sample_is_not_lost() -> None:
    """A look at the data leaves it where it was."""
    for kind in (Own, hugging_face):
        data = DInterface(kind())
        assert numbers([data.sample()]) == [0]
        assert sorted(numbers(data.train_dataloader())) == [*range(30)]


def test_drop_last() -> None:
    """A round is whole or not at all, in all processes."""
    shares = [[*loader(Plain, drop_last=True, rank=r, world_size=2)] for r in (0, 1)]
    assert [len(batches) for batches in shares] == [3, 3]
    data = DInterface(Plain(), batch_size=4, drop_last=True)
    batches: list[list[Tensor]] = [*data.train_dataloader()]
    assert [len(batch[0]) for batch in batches] == [4] * 7
