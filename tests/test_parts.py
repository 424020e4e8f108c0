"""The parts of a dataset, as people's constructors have them, and what is random in them."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, TensorDataset, random_split

from core.errors import UsageError
from core.train.batches import BatchSampler
from core.train.seeding import run_seed
from core.train.splits import divide
from data import DInterface

SIZES = {"train": 80, "val": 10, "test": 20}
ITEMS = torch.arange(1000.0)
LABELS = torch.randint(3, (1000,), generator=torch.Generator().manual_seed(0))


class Own(Dataset[Any]):
    """Samples from `first` on, with noise if told."""

    def __init__(self, first: int, size: int, noise: bool = False) -> None:
        self.x, self.y, self.noise = ITEMS[first:][:size], LABELS[first:][:size], noise

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index] + torch.rand(()) * self.noise, self.y[index]


def made(dataset: Any, **options: Any) -> DInterface:
    return DInterface(dataset, **options)


def sizes(dataset: Any, **options: Any) -> list[int | None]:
    """Of the parts that train, validate and test; None where there is none."""
    data = DInterface(dataset, **options)
    return [
        None if part is None else len(part) for part in map(data.part, ("train", "val", "test"))
    ]


def first(dataset: Any, split: str) -> float:
    return float(DInterface(dataset).part(split)[0][0])


class TestNames:
    """How a constructor is asked for its parts."""

    @pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "eval"])
    def test_of_validation(self, val: str) -> None:
        def dataset(split: str = "train") -> Own:
            starts = {"train": (0, 80), val: (100, 10), "test": (200, 20)}
            return Own(*starts[split])

        assert sizes(dataset) == [80, 10, 20]

    def test_training_and_testing(self) -> None:
        def dataset(split: str = "training") -> Own:
            return Own(*{"training": (0, 80), "testing": (200, 20)}[split])

        assert sizes(dataset) == [72, 8, 20]

    def test_other_parameters(self) -> None:
        """By their name, or by a default that is the training part's."""

        def mode(mode: str) -> Own:
            return Own(*{"train": (0, 80), "val": (100, 10), "test": (200, 20)}[mode])

        def flag(flag: str = "train") -> Own:
            return mode(flag)

        assert sizes(mode) == sizes(flag) == [80, 10, 20]

    def test_flags(self) -> None:
        def is_train(is_train: bool = True) -> Own:
            return Own(0, 80) if is_train else Own(200, 20)

        def training(training: bool = False) -> Own:
            return Own(0, 80) if training else Own(200, 20)

        def test(test: bool = False) -> Own:
            return Own(200, 20) if test else Own(0, 80)

        def alike(is_train: bool = True) -> Own:
            return Own(0, 80) if is_train else Own(200, 80)

        for dataset in (is_train, training, test):
            assert sizes(dataset) == [72, 8, 20]
            assert first(dataset, "test") == 200
        assert sizes(alike) == [72, 8, 80] and first(alike, "test") == 200

    @pytest.mark.parametrize("flag", ["val", "valid", "is_val", "is_valid", "validation"])
    def test_flags_of_validation(self, flag: str) -> None:
        """The test is then a part of training."""
        space: dict[str, Any] = {"Own": Own, "__name__": __name__}
        exec(f"def made({flag}=False): return Own(100, 10) if {flag} else Own(0, 80)", space)
        assert sizes(space["made"]) == [72, 10, 8] and first(space["made"], "val") == 100

    @pytest.mark.parametrize("flag", ["evaluate", "eval", "is_eval", "testing", "is_testing"])
    def test_flags_of_evaluation(self, flag: str) -> None:
        """Nothing says that it may be looked at before the end: it tests."""
        space: dict[str, Any] = {"Own": Own, "__name__": __name__}
        exec(f"def made({flag}=False): return Own(200, 20) if {flag} else Own(0, 80)", space)
        assert sizes(space["made"]) == [72, 8, 20] and first(space["made"], "test") == 200

    def test_flags_of_both(self) -> None:
        def both(val: bool = False, test: bool = False) -> Own:
            return Own(100, 10) if val else Own(200, 20) if test else Own(0, 80)

        def three(train: bool = True, val: bool = False) -> Own:
            return Own(0, 80) if train else Own(100, 10) if val else Own(200, 20)

        assert sizes(both) == sizes(three) == [80, 10, 20]

    def test_a_number_is_no_flag(self) -> None:
        def dataset(val: float = 0.1, test: int = 3) -> Own:
            assert (val, test) == (0.1, 3)
            return Own(0, 80)

        assert sizes(dataset) == [64, 8, 8]

    def test_a_flag_that_is_typed(self) -> None:
        def dataset(val: bool = False) -> Own:
            return Own(100, 40) if val else Own(0, 80)

        assert sizes(dataset, data_args={"val": True}) == [32, 4, 4]

    @pytest.mark.parametrize("flag", ["evaluate", "val"])
    def test_a_flag_that_ends_augmentation(self, flag: str) -> None:
        space: dict[str, Any] = {"Own": Own, "__name__": __name__}
        exec(f"def made({flag}=False): return Own(0, 80, noise=not {flag})", space)
        data = made(space["made"])
        assert [len(data.part(split)) for split in ("train", "val", "test")] == [64, 8, 8]
        assert all(data.part(s)[i][0] % 1 == 0 for i in range(8) for s in ("val", "test"))
        assert any(data.part("train")[i][0] % 1 != 0 for i in range(64))

    def test_a_flag_that_augments(self) -> None:
        """Validation and test are parts of the same data, without noise."""

        def dataset(is_train: bool = True) -> Own:
            return Own(0, 80, noise=is_train)

        data = made(dataset)
        assert [len(data.part(split)) for split in ("train", "val", "test")] == [64, 8, 8]
        assert all(data.part("val")[i][0] % 1 == 0 for i in range(8))
        assert any(data.part("train")[i][0] % 1 != 0 for i in range(64))


class TestTheSameData:
    """Two parts that are one are told, and validation is a part of training."""

    @pytest.mark.parametrize("noise", [False, True])
    def test_validation_is_training(self, noise: bool) -> None:
        def dataset(split: str = "train") -> Any:
            return Own(200, 20) if split == "test" else Own(0, 80, noise=noise and split == "train")

        data = made(dataset)
        assert [len(data.part(split)) for split in ("train", "val", "test")] == [72, 8, 20]
        assert "same data for val and train" in data.parts.told()

    def test_validation_is_the_test(self) -> None:
        def dataset(split: str = "train") -> Own:
            return Own(0, 80) if split == "train" else Own(200, 20)

        data = made(dataset)
        assert [len(data.part(split)) for split in ("train", "val", "test")] == [72, 8, 20]
        assert "same data for val and test" in data.parts.told()

    def test_a_missing_part_is_told(self) -> None:
        """A test part that the code knows of is not cut from the training part."""

        def dataset(split: str = "train") -> Own:
            if split == "test":
                raise FileNotFoundError("test.csv")
            if split != "train":
                raise KeyError(split)
            return Own(0, 80)

        data = made(dataset)
        assert data.part("test") is None and len(data.part("val")) == 8
        told = data.parts.told()
        assert "FileNotFoundError: test.csv" in told and "val 8 (0.1 of train)" in told

    def test_an_empty_part_is_none(self) -> None:
        def dataset(split: str = "train") -> Own:
            return Own(0, {"train": 80, "val": 0, "test": 20}[split])

        assert sizes(dataset)[1] == 8


class TestSplitBy:
    """What the dataset publishes."""

    def published(self, **values: Any) -> Own:
        dataset = Own(0, 100)
        vars(dataset).update(values)
        return dataset

    def test_groups(self) -> None:
        groups = np.arange(100) // 10
        data = DInterface(self.published(groups=groups), split_by="groups")
        parts = [{groups[i] for i in data.part(s).indices} for s in ("train", "val", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 10

    def test_time(self) -> None:
        """The last ones test."""
        times = np.arange(100)[::-1]
        data = DInterface(self.published(time=times), split_by="time")
        assert [*data.part("test").indices] == [*range(10)]
        assert [*data.part("val").indices] == [*range(10, 20)]

    def test_labels(self) -> None:
        labels = [0] * 90 + [1] * 10
        data = DInterface(self.published(labels=labels), split_by="labels")
        for split in ("val", "test"):
            assert sum(labels[i] for i in data.part(split).indices) == 1

    def test_nothing_is_published(self) -> None:
        with pytest.raises(UsageError, match="give it an attribute groups"):
            DInterface(Own(0, 100), split_by="groups").part("train")

    def test_fit(self) -> None:
        """The dataset is given the samples that train, once, to scale in place."""
        seen: list[Any] = []

        class Scaled(Own):
            def fit(self, indices: Any) -> None:
                seen.append(indices)

        data = DInterface(Scaled(0, 100))
        data.setup()
        assert len(seen) == 1 and len(seen[0]) == 80
        assert [*data.part("train").indices] == [*seen[0]]


class TestRandomness:
    """Validation and test are a function of the sample."""

    class Noisy(Own):
        """Draws in each item."""

        def __init__(self, kind: str) -> None:
            super().__init__(0, 100)
            self.kind, self.numpy = kind, np.random.default_rng(0)
            self.torch = torch.Generator().manual_seed(0)

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            drawn = {
                "global": lambda: torch.rand(()),
                "numpy": lambda: torch.tensor(self.numpy.random()),
                "torch": lambda: torch.rand((), generator=self.torch),
            }[self.kind]()
            return self.x[index] + drawn, self.y[index]

    @pytest.mark.parametrize("kind", ["global", "numpy", "torch"])
    def test_whatever_the_epoch_and_the_batch(self, kind: str) -> None:
        found = []
        for size in (3, 3, 10):
            data = DInterface(self.Noisy(kind), batch_size=size)
            loader = data.val_dataloader()
            for epoch in (0, 1):
                loader.sampler.set_epoch(epoch)
                found.append(torch.cat([x for x, _ in loader]))
        assert all(torch.equal(values, found[0]) for values in found)
        assert (found[0] % 1).unique().numel() == len(found[0])

    @pytest.mark.parametrize("kind", ["global", "numpy", "torch"])
    def test_training_draws_anew(self, kind: str) -> None:
        """And the same where a run goes on, whatever was drawn before."""
        data = DInterface(self.Noisy(kind), batch_size=100)
        loader = data.train_dataloader()
        epochs = []
        for epoch in (0, 1, 0):
            loader.sampler.set_epoch(epoch)
            [(x, _)] = loader
            epochs.append(x.sort().values)
        assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])


class TestLabels:
    """A test part of a competition, whose labels say no more than that there are none."""

    @pytest.mark.parametrize("blank", [-1, float("nan"), "?", "", None])
    def test_there_are_none(self, blank: Any) -> None:
        class Items(Dataset[Any]):
            def __init__(self, split: str = "train") -> None:
                self.size = {"train": 50, "test": 30}[split]
                self.labels = [*map(str, range(5))] if isinstance(blank, str) else [*range(-1, 4)]
                self.is_test = split == "test"

            def __len__(self) -> int:
                return self.size

            def __getitem__(self, index: int) -> Any:
                label = blank if self.is_test else self.labels[index % 5]
                return torch.ones(3), label, f"{index}.png"

        data = made(Items)
        assert not data.parts.has_target("test") and data.parts.has_target("val")

    def test_there_are_some(self) -> None:
        """Minus one may be a value, too: of a class, or where training has nothing else."""

        def dataset(split: str = "train") -> Any:
            size = {"train": 40, "test": 20}[split]
            y = torch.arange(size) % 3 - 1
            return TensorDataset(torch.randn(size, 2), y)

        assert made(dataset).parts.has_target("test")
        same = TensorDataset(torch.randn(40, 2), torch.full((40,), -1))
        assert made(same).parts.has_target("test")


def test_a_collate_fn_that_draws() -> None:
    """In evaluation it is a function of the batch's samples, in training of the place."""

    class Drawn(Own):
        def collate_fn(self, items: Any) -> Any:
            torch.rand(len(items))
            return torch.stack([item[0] for item in items]), torch.rand(len(items))

    def dataset(split: str = "train") -> Any:
        return Drawn(*{"train": (0, 80), "val": (100, 10), "test": (100, 11)}[split])

    def draws(split: str) -> list[float]:
        data = DInterface(cast(Any, dataset), batch_size=4, num_workers=0)
        torch.manual_seed(len(split))
        return [float(v) for _, drawn in data._loaders(split) for v in drawn]

    assert draws("val")[:8] == draws("test")[:8] and len({*draws("val")}) == 10


class TestLength:
    """The numbers are those of lists of Python integers, which many millions can't afford."""

    @pytest.mark.parametrize("size", [1, 2, 7, 100, 1001])
    @pytest.mark.parametrize("world", [1, 2, 3, 8])
    def test_the_order_is_that_of_torch(self, size: int, world: int) -> None:
        dataset = Own(0, size)
        for rank in range(world):
            torchs: DistributedSampler[Any] = DistributedSampler(
                dataset, world, rank, seed=run_seed()
            )
            ours = BatchSampler(dataset, 4, shuffle=True, rank=rank, world_size=world)
            for epoch in (0, 3):
                torchs.set_epoch(epoch)
                ours.set_epoch(epoch)
                batches = [indices for _, indices in ours]
                assert torch.cat(batches).tolist() == [*torchs]
                assert all(batch.untyped_storage().nbytes() <= 4 * 8 for batch in batches)

    @pytest.mark.parametrize("size", [10, 37, 1000])
    @pytest.mark.parametrize("seed", [0, 5])
    def test_the_parts_are_those_of_torch(self, size: int, seed: int) -> None:
        count, dataset = round(size * 0.2), Own(0, size)
        generator = torch.Generator().manual_seed(seed)
        torchs = random_split(dataset, [count, count, size - 2 * count], generator)
        data = DInterface(dataset, val_fraction=0.2, test_fraction=0.2, split_seed=seed)
        for split, expected in zip(("val", "test", "train"), torchs, strict=True):
            part = data.part(split)
            assert [*part.indices] == sorted(expected.indices)
            assert part.indices.dtype == np.int64

    def test_a_sample_is_asked_for_by_an_integer(self) -> None:
        """As torch's Subset does: not by an array of one."""

        class Asked(Own):
            def __getitem__(self, index: int) -> Any:
                return type(index)

        part = DInterface(Asked(0, 100)).part("val")
        assert [part[0], *part.__getitems__([1, 2])] == [int] * 3

    def test_divided_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []

        def counted(*arguments: Any) -> Any:
            calls.append(1)
            return divide(*arguments)

        monkeypatch.setattr("core.train.parts.divide", counted)
        DInterface(Own(0, 100)).setup()
        assert calls == [1]
