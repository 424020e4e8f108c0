"""`DInterface`: everything that is the same for every dataset."""

import functools
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision.transforms import v2

from core import lightning
from core.cli.construct import construct, load, parameters
from core.cli.facts import KNOWN
from core.cli.names import locate
from core.errors import UsageError
from core.runs.processes import say
from core.train.batch_transforms import BatchTransforms
from core.train.batches import (
    FORMS,
    Batches,
    BatchSampler,
    Raw,
    base,
    collate_of,
    forms_of,
    given_as,
    raw,
    shape_of,
    workers_for,
)
from core.train.build import can_take
from core.train.folds import chosen_fold
from core.train.order import order_of
from core.train.own_loaders import OwnLoaders
from core.train.parts import Parts, sets_of
from core.train.pretrained import AsPublished
from core.train.seeding import seed_at
from core.train.streams import Stream, StreamLoader, first_sample, place_of

_STAGES = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


class DInterface(pl.LightningDataModule):
    """Loads a dataset chosen by name, or one handed over from Python.

    The dataset's constructor tells how it is split. With a `split` parameter it is asked for
    "train", "val", "test" and "predict", or those of them that its `Literal` type names; with a
    `train` parameter for True and False. A split that it does not know is a seeded part of the
    training set. Only the training part is augmented, where the constructor takes `augment`. With
    a `download` parameter, or a static or class method `prepare_data`, it is downloaded before.

    Args:
        dataset: File in data/, such as digits; digits:Digits picks one of its classes or
            functions. From Python also the class, or a Dataset. null for the network's own loaders.
        data_args: Arguments of the dataset's constructor.
        batch_size: Samples per step on each device.
        num_workers: Processes that load batches; 0 loads in the training process. By default none
            where a batch takes less than 10 ms, else as many as there are cores left, up to 8.
        val_fraction: Part of the training set that validates where the dataset has no own split.
        test_fraction: Part of the training set that tests where the dataset has no own split.
        split_seed: Seed of these parts. Apart from the run's seed, so that runs compare.
        drop_last: Whether to skip a last, smaller batch of the training set.
        split_by: What these parts go by, published by the dataset: labels, with the same share of
            each class; groups, none of which is in two parts; time, the last of which tests.
        balanced: Whether to draw samples by the dataset's weights, or each of its labels as often.
        folds: Into how many folds to divide the training set, each of which tests once: of equal
            shares of the classes, and with no group in two, where the dataset publishes them.
        fold: Which of them tests, from 0.
        pool: Whether the dataset's own val and test parts join what is divided into folds.
        batch_transforms: What is done with batches of training: of torchvision.transforms.v2 by
            name, such as [RandomCrop,MixUp,CutMix], or your own as module.Class.
        batch_transform_args: Their arguments, by section.

    Raises:
        UsageError: An argument that can't work.
    """

    def __init__(
        self,
        dataset: str | type[Dataset[Any]] | Dataset[Any] | pl.LightningModule,
        data_args: dict[str, Any] | None = None,
        batch_size: int = 64,
        num_workers: int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        drop_last: bool = False,
        split_by: Literal["labels", "groups", "time"] | None = None,
        folds: int | None = None,
        fold: int = 0,
        pool: bool = False,
        balanced: bool = False,
        batch_transforms: list[str] | None = None,
        batch_transform_args: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UsageError(f"--batch_size {batch_size}: expected 1 or more")
        if num_workers is not None and num_workers < 0:
            raise UsageError(f"--num_workers {num_workers}: expected 0 or more")
        if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
            typed = f"--val_fraction {val_fraction} --test_fraction {test_fraction}"
            raise UsageError(f"{typed}: expected 0 or more, and together less than 1")
        chosen = chosen_fold(folds, fold, pool, split_by)
        # The network's hyper-parameters are logged: the same name with another value would clash.
        self.save_hyperparameters(logger=False, ignore=["dataset", "data_args"])
        self.batch_size, self.num_workers, self.drop_last = batch_size, num_workers, drop_last
        self.on_device = False  # callbacks/speed.py may switch it on
        self.dataset: Any = dataset
        if isinstance(dataset, str):
            self.dataset = load(locate("dataset", dataset))
        elif isinstance(dataset, Dataset):
            self.dataset = lambda: dataset
        arguments = dict(data_args or {})
        if self.dataset.__module__.startswith("torchvision.") and not arguments.get("transform"):
            to_tensor = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
            arguments |= {"transform": to_tensor} if "transform" in parameters(self.dataset) else {}
        fractions = {"val": val_fraction, "test": test_fraction}
        self.parts: Any = None
        if isinstance(self.dataset, type) and issubclass(self.dataset, pl.LightningDataModule):
            self.parts = OwnLoaders(construct(self.dataset, arguments, "data"), chosen or balanced)
        elif isinstance(dataset, pl.LightningModule):
            self.parts = OwnLoaders(dataset, chosen or balanced)
        else:
            settings = fractions, split_seed, split_by, chosen, pool
            self.parts = Parts(self.dataset, arguments, *settings)
        self.predicted = ""  # of several sets to predict, the one whose turn it is
        self._is_prepared = False
        self.forms: list[str] = []  # other than its own in which batches are given to the network
        self._position: dict[str, Any] = {}
        self._transforms: BatchTransforms | None = None  # of training, once it begins

    def prepare_data(self) -> None:
        """Downloads: Lightning calls this in one process of each node."""
        if not self._is_prepared:
            self.parts.download()
        self._is_prepared = True

    def setup(self, stage: str | None = None) -> None:
        """Builds the sets that a stage needs: `fit`, `validate`, `test`, `predict`; else all."""
        for split in _STAGES.get(stage or "", ("train", "val", "test", "predict")):
            self.part(split)

    def part(self, split: str) -> Any:
        """The set of a split (`train`, `val`, `test`, `predict`), or None if there is none.

        To validate, test or predict it may be several by name, `{"clean": …, "noisy": …}`.
        """
        return self.parts.part(split)

    def sets(self, split: str) -> dict[str, Any]:
        """The sets of a split by name; a single one has the name ""."""
        sets = sets_of(self.part(split))
        is_one = split == "predict" and self.predicted in sets
        return {self.predicted: sets[self.predicted]} if is_one else sets

    def sample(self) -> Any:
        """A batch of one sample, not augmented if there is such a one."""
        if isinstance(self.parts, OwnLoaders):
            return given_as(self.parts.sample(), self.forms)
        return self.collate([first_sample(self.parts.any())])

    def collate(self, items: list[Any]) -> Any:
        """Makes a batch of samples."""
        return given_as(collate_of(self.parts.any())(items), self.forms)

    def example(self, model: Any) -> Any:
        """The inputs of one sample, from now on in a form that the network takes.

        What it does not take as it is, bytes, float64 and pictures (H, W, C), is converted, and
        that is said.
        """
        model.named.data_range = next(self.published("data_range"), None)
        model.comparison.num_classes = next(self.published("num_classes"), None)
        model.scores.divide("val", self.sets("val"))
        found = forms_of(self.sample())
        for self.forms in [[], *([form] for form in found), found] if found else []:
            inputs, _ = model.split_batch(self.sample())
            if can_take(model, inputs):
                say(*(FORMS[form] for form in self.forms))
                return inputs
        self.forms = []
        return model.split_batch(self.sample())[0]

    def published(self, name: str) -> Iterator[Any]:
        """What the data says of `num_classes`, `in_channels`, `input_size`, …; the surest first."""
        dataset = base(self.parts.any())
        owners = [dataset, self.parts.source] if isinstance(self.parts, OwnLoaders) else [dataset]
        is_shape = name in ("in_channels", "input_size", "image_size")
        if is_shape and isinstance(getattr(dataset, "transform", None), AsPublished):
            owners = []  # what it tells is of pictures before that
        known = [(o, n) for o in owners for n in (name, *KNOWN.get(name, ())) if hasattr(o, n)]
        for value in (getattr(owner, n) for owner, n in known):
            yield value.tolist() if isinstance(value, Tensor | np.ndarray) else value
        classes = getattr(dataset, "classes", None) if name == "num_classes" else None
        if classes is not None:
            yield classes if isinstance(classes, int) else len(classes)
        if is_shape or name == "num_classes":
            yield from shape_of(self.sample(), name)

    def restored(self, values: Any) -> Any:
        """Outputs or targets in the units that the dataset tells, by its method `restore`."""
        restore = getattr(base(self.parts.any()), "restore", None)
        return restore(values) if restore else values

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Lets `transform_batch` and the batch transforms have it, now that it is on the device."""
        trainer = self.trainer
        if trainer is None:
            return given_as(batch, self.forms)
        place = trainer.current_epoch, lightning.batches_begun(trainer), trainer.global_rank
        if isinstance(batch, Raw):
            is_val = trainer.validating or trainer.sanity_checking
            split = "test" if trainer.testing else "predict" if trainer.predicting else "train"
            part = [*self.sets("val" if is_val else split).values()][dataloader_idx]
            seed_at(*place, "transform")
            batch = base(part).transform_batch(batch.batch)
        forms = [f for f in self.forms if f != "float64" or "64" not in str(trainer.precision)]
        batch = lightning.as_precise(trainer, given_as(batch, forms))
        is_trained = lightning.is_in_epoch(trainer)
        return self._transforms(batch, place) if self._transforms and is_trained else batch

    def state_dict(self) -> dict[str, Any]:
        """The place in training: the epoch, the samples of it trained on, the place in a stream."""
        if self.trainer is None:
            return {}
        batches = lightning.batches_done(self.trainer)
        size = self.batch_size * self.trainer.world_size
        place = {"epoch": lightning.epoch(self.trainer), "samples": batches * size}
        return place | {"step_size": size} | place_of(self.trainer.train_dataloader, batches)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the place in training of a checkpoint."""
        names = {"epoch", "samples", "place"} & state_dict.keys()
        self._position = {name: state_dict[name] for name in names}

    def train_dataloader(self) -> Any:
        """Shuffled batches of the training set."""
        if (trainer := self.trainer) is not None:
            chosen = self.hparams["batch_transforms"], self.hparams["batch_transform_args"]
            self._transforms = BatchTransforms(*chosen, trainer.lightning_module, self.published)
        if isinstance(self.parts, OwnLoaders):
            return self.parts.loader("train")
        part = self.part("train")
        order: dict[str, Any] = {"shuffle": True, "order": order_of(part, self.hparams["balanced"])}
        order = {} if isinstance(part, IterableDataset) else order
        return self._loader("train", part, self.drop_last, **order, **self._position)

    def val_dataloader(self) -> Any:
        """Batches of the validation set, in order."""
        return self._loaders("val")

    def test_dataloader(self) -> Any:
        """Batches of the test set, in order."""
        return self._loaders("test")

    def predict_dataloader(self) -> Any:
        """Batches of the set to predict, by default the test set, in order."""
        return self._loaders("predict")

    def _loaders(self, split: str) -> Any:
        """The loader of a part to evaluate, a list of those of several."""
        sets = self.sets(split)
        if isinstance(self.parts, OwnLoaders):
            own = self.parts.loader(split)
            loaders = [own[name] for name in sets] if isinstance(own, dict) else [own]
        else:
            loaders = [self._loader(split, part) for part in sets.values()]
        if len(loaders) > 1 and self.trainer is not None:
            lightning.check_takes_several(self.trainer, split)
        return loaders[0] if len(loaders) == 1 else loaders

    def _loader(self, split: str, part: Any, drop_last: bool = False, **order: Any) -> Any:
        trainer = self.trainer
        device = torch.device("cpu") if trainer is None else trainer.strategy.root_device
        size, collate, evaluates = self.batch_size, collate_of(part), split != "train"
        if trainer is not None:
            order |= {"rank": trainer.global_rank, "world_size": trainer.world_size}
        sampler = None
        if isinstance(part, IterableDataset):
            if trainer is not None and hasattr(part, "transform_batch"):
                collate = functools.partial(raw, collate)
            part = Stream(part, size, collate, drop_last, evaluates, **order)
        else:
            sampler = BatchSampler(part, size, drop_last=drop_last, **order)
            if drop_last and not len(sampler):
                raise UsageError(f"--drop_last true: {len(part)} samples make no batch of {size}")
            part = Batches(part, size, collate, trainer is None, evaluates)
            if self.on_device:
                sampler.device = device
                part.move(device)
        if self.num_workers is None:
            devices = trainer.num_devices if trainer is not None else 1
            self.num_workers = 0 if self.on_device else workers_for(part, devices)
        options: Any = {"batch_size": None, "num_workers": self.num_workers}
        options["persistent_workers"] = self.num_workers > 0
        options["pin_memory"] = self.num_workers > 0 and device.type == "cuda"
        if isinstance(part, Stream) and not evaluates:
            return StreamLoader(part, trainer, **options)
        return DataLoader(part, sampler=sampler, **options)
