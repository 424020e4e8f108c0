"""`DInterface`: everything that is the same for every dataset."""

import inspect
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, default_collate
from torchvision.transforms import v2

from core.lookup import UsageError, construct, load, locate

SPLITS = ("train", "val", "test", "predict")
_ALSO_CALLED = {"val": ("val", "valid", "validation")}
_STAGES = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}
_SYNONYMS = {"in_chans": "in_channels", "n_classes": "num_classes", "img_size": "image_size"}


class DInterface(pl.LightningDataModule):
    """Loads a dataset chosen by name, or one handed over from Python.

    The dataset's constructor tells how it is split. With a `split` parameter it is asked for
    "train", "val", "test" and "predict"; with a `train` parameter for True and False. A split that
    it does not know is a seeded part of the training set. Only the training part is augmented,
    where the constructor takes `augment`.

    Args:
        dataset: File in data/, such as digits; digits:Digits picks one of its classes or
            functions. From Python also the class.
        data_args: Arguments of the dataset's constructor.
        batch_size: Samples per step on each device.
        num_workers: Processes that load batches; 0 loads in the training process.
        val_fraction: Part of the training set that validates where the dataset has no own split.
        test_fraction: Part of the training set that tests where the dataset has no own split.
        split_seed: Seed of these parts. Apart from the run's seed, so that runs compare.
        drop_last: Whether to skip a last, smaller batch of the training set.

    Raises:
        UsageError: An argument that can't work.
    """

    def __init__(
        self,
        dataset: str | type[Dataset],
        data_args: dict[str, Any] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UsageError(f"--batch_size {batch_size}: expected 1 or more")
        if num_workers < 0:
            raise UsageError(f"--num_workers {num_workers}: expected 0 or more")
        if not (0 <= val_fraction and 0 <= test_fraction and val_fraction + test_fraction < 1):
            raise UsageError(
                f"--val_fraction {val_fraction} --test_fraction {test_fraction}: nothing is left to train"
            )
        self.save_hyperparameters(
            logger=False, ignore=[] if isinstance(dataset, str) else ["dataset"]
        )
        self.batch_size, self.num_workers, self.drop_last = batch_size, num_workers, drop_last
        self._fractions = {"val": val_fraction, "test": test_fraction}
        self._split_seed = split_seed
        self.dataset = load(locate("dataset", dataset)) if isinstance(dataset, str) else dataset
        self._args = dict(data_args or {})
        self._takes = _parameters(self.dataset)
        if "transform" in self._takes and self.dataset.__module__.startswith("torchvision."):
            images = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
            self._args.setdefault("transform", images)
        self._own: dict[str, Any] = {}  # the dataset's own splits; None where it has none
        self._parts: dict[str, Any] = {}
        self._prepared = False

    def prepare_data(self) -> None:
        """Downloads: Lightning calls this in one process of each node."""
        if self._prepared:
            return
        if callable(prepare := getattr(self.dataset, "prepare_data", None)):
            takes = inspect.signature(prepare).parameters
            prepare(**{n: v for n, v in self._args.items() if n in takes})
        if "download" in self._takes and self._args.get("download", True):
            for split in SPLITS[:3]:
                self._instance(split, download=True)
        self._prepared = True

    def setup(self, stage: str | None = None) -> None:
        """Builds the sets that a stage needs: `fit`, `validate`, `test`, `predict`, or None for all."""
        for split in _STAGES.get(stage or "", SPLITS):
            self.part(split)

    def part(self, split: str) -> Any:
        """The set of a split, or None if there is none."""
        if split not in self._parts:
            self._parts[split] = self._build(split)
        return self._parts[split]

    def _build(self, split: str) -> Any:
        own = self._own_split(split)
        if split == "predict":
            return self.part("test") if own is None else own
        if own is not None and split != "train":
            return own
        whole = self._whole(augment=split == "train")
        if isinstance(whole, IterableDataset):
            return whole if split == "train" else None
        missing = [s for s in self._fractions if self._fractions[s] and self._own_split(s) is None]
        indices = torch.randperm(
            len(whole), generator=torch.Generator().manual_seed(self._split_seed)
        ).tolist()
        parts = {}
        for part in missing:
            count = max(1, round(len(whole) * self._fractions[part]))
            parts[part], indices = indices[:count], indices[count:]
        if split != "train":
            return Subset(whole, sorted(parts[split])) if split in parts else None
        if not indices:
            raise UsageError(
                f"the training set is empty: {self.dataset.__name__} holds {len(whole)} samples"
            )
        return Subset(whole, sorted(indices)) if parts else whole

    def _whole(self, augment: bool) -> Any:
        """All that the dataset has for training, with or without augmentation."""
        name = "augmented" if augment and "augment" in self._takes else "plain"
        if name not in self._own:
            self._own[name] = self._instance("train", augment=augment)
        return self._own[name]

    def _own_split(self, split: str) -> Any:
        if split == "train":
            return self._whole(augment=True)
        if split not in self._own:
            self._own[split] = self._instance(split) if self._may_know(split) else None
        return self._own[split]

    def _may_know(self, split: str) -> bool:
        if "split" in self._takes and "split" not in self._args:
            return True
        return "train" in self._takes and "train" not in self._args and split == "test"

    def _instance(self, split: str, download: bool = False, augment: bool = False) -> Any:
        """The dataset's own split; None if it doesn't know this one."""
        arguments = dict(self._args)
        if "download" in self._takes:
            arguments["download"] = download
        if "augment" in self._takes and not augment:
            arguments["augment"] = False
        if "split" not in self._takes or "split" in self._args:
            if "train" in self._takes and "train" not in self._args:
                arguments["train"] = split == "train"
            return construct(self.dataset, arguments)
        names = _ALSO_CALLED.get(split, (split,))
        for name in names:
            try:
                return construct(self.dataset, arguments | {"split": name})
            except (ValueError, KeyError, AssertionError):
                if split == "train":
                    raise
        return None

    def sample(self) -> Any:
        """A batch of one unaugmented sample."""
        source = self._any_part()
        item = next(iter(source)) if isinstance(source, IterableDataset) else source[0]
        try:
            return (_collate(source) or default_collate)([item])
        except TypeError as error:
            raise UsageError(
                f"{self.dataset.__name__} must return tensors or numbers: {error}"
            ) from error

    def _any_part(self) -> Any:
        built = [p for split, p in self._parts.items() if p is not None and split != "train"]
        return built[0] if built else self.part("train")

    def published(self, name: str) -> Iterable[Any]:
        """What the dataset says of `num_classes`, `in_channels`, `input_size`, …: the likeliest first."""
        name = _SYNONYMS.get(name, name)
        dataset = _base(self._any_part())
        if hasattr(dataset, name):
            yield getattr(dataset, name)
        if name == "num_classes" and hasattr(dataset, "classes"):
            yield len(dataset.classes)
        if name in ("in_channels", "input_size", "image_size"):
            batch = self.sample()
            values = list(batch.values()) if isinstance(batch, dict) else batch
            first = values[0] if isinstance(values, list | tuple) else values
            shape = list(first.shape[1:])
            if name == "input_size":
                yield shape
            elif len(shape) == 3:  # (C, H, W)
                yield shape[0] if name == "in_channels" else shape[-1]

    def train_dataloader(self) -> Any:
        """Shuffled batches of the training set."""
        return self._loader("train", shuffle=True, drop_last=self.drop_last)

    def val_dataloader(self) -> Any:
        """Batches of the validation set, in order."""
        return self._loader("val")

    def test_dataloader(self) -> Any:
        """Batches of the test set, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        """Batches of the set to predict, by default the test set, in order."""
        return self._loader("predict")

    def _loader(self, split: str, shuffle: bool = False, **options: Any) -> Any:
        source = self.part(split)
        if source is None:
            return []
        return DataLoader(
            source,
            batch_size=self.batch_size,
            shuffle=shuffle and not isinstance(source, IterableDataset),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.accelerator.is_available(),
            collate_fn=_collate(source),
            **options,
        )


def _base(dataset: Any) -> Any:
    return dataset.dataset if isinstance(dataset, Subset) else dataset


def _collate(dataset: Any) -> Any:
    return getattr(_base(dataset), "collate_fn", None)


def _parameters(target: Any) -> set[str]:
    """Names that a class or function takes, those that its base classes take through **kwargs too."""
    owners = [c.__init__ for c in target.__mro__] if isinstance(target, type) else [target]
    names: set[str] = set()
    for owner in owners:
        parameters = inspect.signature(owner).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - {"self"}
