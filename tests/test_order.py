"""Which samples make the batches of an epoch, where the data or weights say so."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from core.errors import UsageError
from core.train.batches import BatchSampler
from core.train.order import order_of
from data import DInterface


class Rare(Dataset[Any]):
    """A hundred samples, of which every tenth is of class 1."""

    def __init__(self) -> None:
        self.labels = [int(index % 10 == 0) for index in range(100)]

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([float(index)]), self.labels[index]


class Lanes(Rare):
    """Batches of neighbours, in another order each epoch."""

    def batches(
        self, indices: Tensor, batch_size: int, generator: torch.Generator
    ) -> Iterator[Any]:
        """As many in each."""
        groups = indices.split(batch_size)
        for number in torch.randperm(len(groups), generator=generator).tolist():
            yield groups[number].tolist()


class Uneven(Lanes):
    """One batch less each epoch."""

    left = 10

    def batches(
        self, indices: Tensor, batch_size: int, generator: torch.Generator
    ) -> Iterator[Any]:
        """Not as many."""
        self.left -= 1
        yield from indices.split(batch_size)[: self.left]


class Stream(IterableDataset[Any]):
    """Without length."""

    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(1), 0


def epoch(dataset: Any, number: int = 0, size: int = 10, **options: Any) -> list[Tensor]:
    """The batches of one."""
    order = order_of(dataset, options.pop("balanced", False))
    return [i for _, i in BatchSampler(dataset, size, True, epoch=number, order=order, **options)]


def test_each_class_as_often() -> None:
    """Half of 2,000 draws, to five standard deviations: 0.5 ± 5 · sqrt(0.25 / 2000) = 0.056."""
    drawn = torch.cat([i for n in range(20) for i in epoch(Rare(), n, balanced=True)])
    assert len(drawn) == 2000
    assert (drawn % 10 == 0).double().mean().item() == pytest.approx(0.5, abs=0.056)


def test_by_weights() -> None:
    """What weighs nothing is never drawn; of a part, too."""
    data = Rare()
    data.weights = [float(index in (3, 40, 41)) for index in range(100)]  # type: ignore[attr-defined]
    assert {*torch.cat(epoch(data, balanced=True)).tolist()} == {3, 40, 41}
    part = Subset(data, [*range(40, 60)])
    assert {*torch.cat(epoch(part, balanced=True)).tolist()} == {0, 1}  # positions in the part


@pytest.mark.parametrize(("dataset", "balanced"), [(Rare(), True), (Lanes(), False)])
def test_a_function_of_the_place(dataset: Any, balanced: bool) -> None:
    """Another order in another epoch, the same in the same; from a batch on; shared out."""
    first, again, other = (epoch(dataset, n, balanced=balanced) for n in (3, 3, 4))
    assert all(map(torch.equal, first, again)) and not all(map(torch.equal, first, other))
    later = epoch(dataset, 3, samples=40, balanced=balanced)
    assert len(later) == 6 and all(map(torch.equal, later, first[4:]))
    options = {"world_size": 2, "balanced": balanced}
    shares = [epoch(dataset, 3, 5, rank=rank, **options) for rank in (0, 1)]
    for whole, *parts in zip(first, *shares, strict=True):
        assert torch.equal(torch.stack(parts, 1).flatten(), whole)


def test_the_dataset_says_which() -> None:
    """Its batches, each once an epoch; of a part its own indices."""
    batches = [batch.tolist() for batch in epoch(Lanes())]
    assert sorted(batches) == [[*range(n, n + 10)] for n in range(0, 100, 10)]
    part = Subset(Lanes(), [*range(99, 49, -1)])
    assert sorted(b.tolist() for b in epoch(part)) == [
        [*range(n, n + 10)] for n in range(0, 50, 10)
    ]


def test_fewer_samples_than_processes() -> None:
    """Each process has one."""
    dataset = Subset(Lanes(), [*range(21)])
    last = [epoch(dataset, 0, 5, rank=rank, world_size=2) for rank in (0, 1)]
    assert [len(batches) for batches in last] == [3, 3]
    assert all(len(batch) for batches in last for batch in batches)


@pytest.mark.parametrize(
    ("dataset", "balanced", "message"),
    [
        (Lanes(), True, "Lanes orders its batches itself"),
        (Stream(), True, "Stream is a stream"),
        (torch.utils.data.TensorDataset(torch.zeros(9, 1)), True, "publishes none; give it labels"),
        (Uneven(), False, "not as many in each epoch"),
    ],
)
def test_told(dataset: Any, balanced: bool, message: str) -> None:
    """In a line."""
    with pytest.raises(UsageError, match=message):
        epoch(dataset, balanced=balanced)


def test_only_what_trains() -> None:
    """Validation and test are as they are."""
    data = DInterface(Rare(), balanced=True, batch_size=8)
    trained = [y for _, y in data.train_dataloader()]
    assert torch.cat(trained).double().mean().item() == pytest.approx(0.5, abs=0.28)  # 80 draws
    tested = torch.cat([x for x, _ in data.test_dataloader()]).flatten().tolist()
    assert sorted(tested) == sorted(map(float, data.part("test").indices))
