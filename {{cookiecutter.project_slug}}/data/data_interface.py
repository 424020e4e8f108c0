"""`DInterface`: everything that is the same for every dataset."""

import functools
import inspect
import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, default_collate
from torchvision.transforms import v2

from core.batches import Batches, BatchSampler, Raw
from core.lookup import UsageError, construct, load, locate
from core.seeding import seed_at
from core.source import literals

_STAGES = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}
_SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation")}
_SYNONYMS = {"n_classes": "num_classes", "in_chans": "in_channels", "img_size": "image_size"}


class DInterface(pl.LightningDataModule):
    """Loads a dataset chosen by name, or one handed over from Python.

    The dataset's constructor tells how it is split. With a `split` parameter it is asked for
    "train", "val", "test" and "predict", or those of them that its `Literal` type names; with a
    `train` parameter for True and False. A split that it does not know is a seeded part of the
    training set. Only the training part is augmented, where the constructor takes `augment`. With
    a `download` parameter, or a static or class method `prepare_data`, it is downloaded before.

    Args:
        dataset: File in data/, such as digits; digits:Digits picks one of its classes or
            functions. From Python also the class, or a Dataset.
        data_args: Arguments of the dataset's constructor.
        batch_size: Samples per step on each device.
        num_workers: Processes that load batches; 0 loads in the training process. By default none
            where a batch takes less than 10 ms, else as many as there are cores left, up to 8.
        on_device: Whether the training and validation data stay on the GPU, if they fit there. The
            dataset must be one that hands over whole batches, see core/batches.py.
        val_fraction: Part of the training set that validates where the dataset has no own split.
        test_fraction: Part of the training set that tests where the dataset has no own split.
        split_seed: Seed of these parts. Apart from the run's seed, so that runs compare.
        drop_last: Whether to skip a last, smaller batch of the training set.

    Raises:
        UsageError: An argument that can't work.
    """

    def __init__(
        self,
        dataset: str | type[Dataset[Any]] | Dataset[Any],
        data_args: dict[str, Any] | None = None,
        batch_size: int = 64,
        num_workers: int | None = None,
        on_device: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UsageError(f"--batch_size {batch_size}: expected 1 or more")
        if num_workers is not None and num_workers < 0:
            raise UsageError(f"--num_workers {num_workers}: expected 0 or more")
        if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
            fractions = f"--val_fraction {val_fraction} --test_fraction {test_fraction}"
            raise UsageError(f"{fractions}: expected 0 or more, and together less than 1")
        # The network's hyper-parameters are logged: the same name with another value would clash.
        self.save_hyperparameters(logger=False, ignore=["dataset", "data_args"])
        self.batch_size, self.num_workers, self.drop_last = batch_size, num_workers, drop_last
        self.split_seed, self.on_device = split_seed, on_device
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.dataset: Any = dataset
        if isinstance(dataset, str):
            self.dataset = load(locate("dataset", dataset))
        elif isinstance(dataset, Dataset):
            self.dataset = lambda: dataset
        self._takes = _parameters(self.dataset)
        self._args = dict(data_args or {})
        if "transform" in self._takes and self.dataset.__module__.startswith("torchvision."):
            to_tensor = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
            self._args.setdefault("transform", to_tensor)
        self._made: dict[tuple[str, bool], Any] = {}  # by split and augmentation
        self._parts: dict[str, Any] = {}
        self._is_prepared = False
        self._position: dict[str, int] = {}

    def prepare_data(self) -> None:
        """Downloads: Lightning calls this in one process of each node."""
        prepare = getattr(self.dataset, "prepare_data", None)
        if prepare and not self._is_prepared:
            takes = inspect.signature(prepare).parameters
            prepare(**{name: value for name, value in self._args.items() if name in takes})
        if "download" in self._takes and self._args.get("download", True) and not self._is_prepared:
            for split in ("train", "val", "test"):
                try:
                    self._make(split, download=True)
                except OSError as error:  # no connection, or no place to write to
                    hint = "put the files there by hand, or type --data.download false"
                    raise UsageError(f"the download failed: {error}; {hint}") from error
        self._is_prepared = True

    def setup(self, stage: str | None = None) -> None:
        """Builds the sets that a stage needs: `fit`, `validate`, `test`, `predict`; None: all."""
        for split in _STAGES.get(stage or "", ("train", "val", "test", "predict")):
            self.part(split)

    def part(self, split: str) -> Any:
        """The set of a split (`train`, `val`, `test`, `predict`), or None if there is none."""
        if split not in self._parts:
            self._parts[split] = self._build(split)
        return self._parts[split]

    def _build(self, split: str) -> Any:
        own = self._own(split)
        if split == "predict" and own is None:
            return self.part("test")
        if split != "train" and own is not None:
            return own
        whole = self._own("train", augment=split == "train")
        missing = [s for s, part in self.fractions.items() if part and self._own(s) is None]
        if isinstance(whole, IterableDataset) or not missing:
            return whole if split == "train" else None
        generator = torch.Generator().manual_seed(self.split_seed)
        rest = torch.randperm(len(whole), generator=generator).tolist()
        parts = {}
        for name in missing:
            count = max(1, round(len(whole) * self.fractions[name]))
            parts[name], rest = rest[:count], rest[count:]
        if not rest:
            raise UsageError(f"nothing is left to train: the dataset has {len(whole)} samples")
        chosen = (parts | {"train": rest}).get(split)
        return None if chosen is None else Subset(whole, sorted(chosen))

    def _own(self, split: str, augment: bool = False) -> Any:
        """The dataset's own split; None where it has none."""
        key = split, augment and "augment" in self._takes
        if key not in self._made:
            by_name = "split" in self._takes - self._args.keys()
            by_flag = "train" in self._takes - self._args.keys() and split == "test"
            known = split == "train" or by_name or by_flag
            self._made[key] = self._make(split, augment=augment) if known else None
        return self._made[key]

    def _make(self, split: str, augment: bool = False, download: bool = False) -> Any:
        arguments = self._args | ({} if augment else {"augment": False}) | {"download": download}
        arguments["train"] = self._args.get("train", split == "train")
        unasked = {"augment", "download", "train", "split"} - self._takes
        refusal = None
        for name in self._names(split):
            given = arguments | {"split": name}
            try:
                return construct(self.dataset, {n: v for n, v in given.items() if n not in unasked})
            except UsageError:
                raise
            except (AssertionError, KeyError, ValueError) as error:  # it does not know this split
                refusal = refusal or error
            except RuntimeError as error:
                if "download=True" not in str(error):
                    raise
                raise UsageError(f"{error}; type --data.download true") from error
        if refusal and (split == "train" or "split" not in self._takes):
            raise refusal
        return None

    def _names(self, split: str) -> list[str]:
        """What the constructor may call a split; nothing if its type tells that it has none."""
        if "split" in self._args:
            return [self._args["split"]]
        names = _SPLIT_NAMES.get(split, (split,))
        try:
            takes = inspect.signature(self.dataset, eval_str=True).parameters
            known = {*literals(takes["split"].annotation)}
        except (KeyError, NameError):  # no such parameter, or a type that is not imported
            known = set()
        return [name for name in names if name in known or not known]

    def sample(self) -> Any:
        """A batch of one sample, not augmented if there is such a one."""
        part = self._any_part()
        item = next(iter(part)) if isinstance(part, IterableDataset) else part[0]
        return self.collate([item])

    def collate(self, items: list[Any]) -> Any:
        """Makes a batch of samples."""
        return _collate(self._any_part())(items)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Lets the dataset's `transform_batch` have the batch, now that it is on the device."""
        if not isinstance(batch, Raw):
            return batch
        assert self.trainer is not None
        stage = self.trainer.state.stage or ""
        split = {"validate": "val", "sanity_check": "val", "test": "test", "predict": "predict"}
        part = _base(self.part(split.get(stage, "train")))
        number = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        seed_at(self.trainer.current_epoch, number, self.trainer.global_rank, "transform")
        batch = part.transform_batch(batch.batch)
        return self.trainer.precision_plugin.convert_input(batch)  # as Lightning has done before

    def published(self, name: str) -> Iterator[Any]:
        """What the data says of `num_classes`, `in_channels`, `input_size`, …; the surest first."""
        dataset, name = _base(self._any_part()), _SYNONYMS.get(name, name)
        if hasattr(dataset, name):
            yield getattr(dataset, name)
        if name == "num_classes" and hasattr(dataset, "classes"):
            yield len(dataset.classes)
        if name in ("in_channels", "input_size", "image_size"):
            batch = self.sample()
            values = [*batch.values()] if isinstance(batch, dict) else batch
            first = values[0] if isinstance(values, list | tuple) else values
            shape = list(first.shape[1:])
            if name == "input_size":
                yield shape
            elif len(shape) == 3:  # (C, H, W)
                yield shape[0] if name == "in_channels" else shape[-1]

    def file_names(self, split: str) -> list[str]:
        """The file of each sample, if the dataset tells: in `samples`, or last in its items."""
        part = self.part(split)
        if isinstance(part, IterableDataset):
            return []
        indices = part.indices if isinstance(part, Subset) else range(len(part))
        if samples := getattr(_base(part), "samples", None):
            return [str(samples[index][0]) for index in indices]
        item = part[0]
        is_named = isinstance(item, tuple) and len(item) > 2 and isinstance(item[-1], str)
        return [part[index][-1] for index in range(len(part))] if is_named else []

    def _any_part(self) -> Any:
        built = {split: part for split, part in self._parts.items() if part is not None}
        return next((p for split, p in built.items() if split != "train"), built.get("train"))

    def state_dict(self) -> dict[str, int]:
        """The place in training: the epoch, and the samples of it that were trained on."""
        if self.trainer is None:
            return {}
        loop: Any = self.trainer.fit_loop
        batches = loop.epoch_loop.batch_progress
        is_over = batches.is_last_batch and batches.current.processed == batches.current.ready
        done = 0 if is_over else batches.current.processed
        samples = done * self.batch_size * self.trainer.world_size
        position = {"epoch": loop.epoch_progress.current.processed, "samples": samples}
        return position | {"batch_size": self.batch_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Takes over the place in training of a checkpoint."""
        self._position = {name: state_dict[name] for name in ("epoch", "samples")}

    def train_dataloader(self) -> Any:
        """Shuffled batches of the training set."""
        return self._loader("train", shuffle=True, drop_last=self.drop_last, **self._position)

    def val_dataloader(self) -> Any:
        """Batches of the validation set, in order."""
        return self._loader("val")

    def test_dataloader(self) -> Any:
        """Batches of the test set, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        """Batches of the set to predict, by default the test set, in order."""
        return self._loader("predict")

    def _loader(self, split: str, drop_last: bool = False, **order: Any) -> Any:
        part = self.part(split)
        if part is None:
            return []
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        options: dict[str, Any] = {"collate_fn": _collate(part), "drop_last": drop_last}
        options["batch_size"] = self.batch_size
        if not isinstance(part, IterableDataset):
            if self.trainer is not None:
                order["rank"] = self.trainer.global_rank
                order["world_size"] = self.trainer.world_size
            sampler = BatchSampler(part, self.batch_size, drop_last=drop_last, **order)
            if drop_last and not len(sampler):
                raise UsageError(
                    f"--drop_last true: {len(part)} samples make no batch of {self.batch_size}"
                )
            options = {"sampler": sampler, "batch_size": None}
            part = Batches(part, self.batch_size, _collate(part), finishes=self.trainer is None)
            if self.on_device:
                sampler.device = device
                part.move(device)
        elif self.trainer is not None and hasattr(part, "transform_batch"):
            options["collate_fn"] = functools.partial(_raw, _collate(part))
        if self.num_workers is None:
            self.num_workers = self._workers(part)
        return DataLoader(
            part,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.num_workers > 0 and device.type == "cuda",
            **options,
        )

    def _workers(self, part: Any) -> int:
        """How many processes keep up with training."""
        if self.on_device or not isinstance(part, Batches):
            return 0
        for _ in range(3):  # the first may take longer
            begin = time.perf_counter()
            part[0]
            seconds = time.perf_counter() - begin
            if seconds < 0.01:
                return 0
            if seconds > 0.1:
                break
        devices = self.trainer.num_devices if self.trainer is not None else 1
        return min(8, suggested_max_num_workers(devices))


def _base(dataset: Any) -> Any:
    return dataset.dataset if isinstance(dataset, Subset) else dataset


def _collate(dataset: Any) -> Any:
    return getattr(_base(dataset), "collate_fn", _batch)


def _raw(collate: Any, items: list[Any]) -> Raw:
    return Raw(collate(items))


def _batch(items: list[Any]) -> Any:
    try:
        return default_collate(items)
    except (RuntimeError, TypeError) as error:
        hint = "return tensors of one shape, or give the dataset a collate_fn"
        raise UsageError(f"the dataset's items can't be batched; {hint}: {error}") from error


def _parameters(target: Any) -> set[str]:
    """What a class or function takes, and its base classes through **kwargs."""
    names: set[str] = set()
    owners: list[Any] = [*target.__mro__] if isinstance(target, type) else [target]
    for owner in owners:
        parameters = inspect.signature(owner).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names
