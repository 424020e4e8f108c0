"""The parts of a dataset: those that it has, and those that are cut from its training part."""

import contextlib
import inspect
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import Dataset, IterableDataset, Subset

from core import ROOT
from core.cli.construct import construct, offer, parameters
from core.cli.source import literals
from core.errors import UsageError
from core.train.batches import TARGETS, Part
from core.train.folds import Pool, classes_of, fold_of
from core.train.seeding import seed_at
from core.train.splits import Indices, divide

# What a constructor may call a part, and the parameters that ask for one.
_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
    "predict": ("predict",),
}
_ASKED = ("split", "mode", "phase", "subset", "partition")
_FLAGS = {  # True for a part
    **dict.fromkeys(("train", "is_train", "is_training", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "is_val", "is_valid", "is_validation"), "val"),
    **dict.fromkeys(("test", "testing", "is_test", "is_testing"), "test"),
    **dict.fromkeys(("eval", "evaluate", "evaluation", "is_eval"), "test"),
}
_SWITCHES = ("augment", "augmentation", "data_augmentation", "use_augmentation")
PUBLISHED = {  # what a dataset may tell of each sample, and the names of it
    "labels": ("labels", "targets", "y"),
    "groups": ("groups", "group"),
    "time": ("time", "times", "timestamps"),
}


class Parts:
    """Finds or makes the parts of a dataset.

    Args:
        dataset: Its class, or a function that makes it.
        arguments: Of its constructor.
        fractions: How much of the training part validates and tests where it has no such part.
        seed: Seed of these.
        split_by: What they go by: labels, groups, time or nothing.
        fold: The fold that tests, as (number, of how many); a part of the rest validates.
        pool: Whether parts of the dataset's own join what is divided.
    """

    def __init__(
        self,
        dataset: Any,
        arguments: Mapping[str, Any],
        fractions: Mapping[str, float],
        seed: int,
        split_by: str | None = None,
        fold: tuple[int, int] | None = None,
        pool: bool = False,
    ) -> None:
        self.dataset, self.arguments = dataset, dict(arguments)
        self.fold, self.pool = fold, pool
        self.fractions, self.seed, self.split_by = fractions, seed, split_by
        self.takes, found = parameters(dataset), inspect.signature(dataset).parameters
        asking = [n for n in (*_ASKED, *found) if n in found and self._asks(found[n])]
        self.asked = asking[0] if asking else None
        flags = {n: s for n, s in _FLAGS.items() if n in self.takes and _is_switch(found.get(n))}
        self.flags = {n: s for n, s in flags.items() if not self.asked and n not in self.arguments}
        # What switches augmentation, and the value that does outside of training.
        self.switches = {n: False for n in _SWITCHES if n in self.takes}
        if self.asked:
            self.switches |= {n: False for n, s in flags.items() if s == "train" != n}
        self.reasons: dict[str, str] = {}  # why there is no such part
        self._own: dict[tuple[str, bool], Any] = {}  # a set, or several by name
        self._parts: dict[str, Any] = {}
        self._fitted: list[Any] = []  # what was given to its method `fit`, once
        self._targets: dict[str, bool] = {}  # whether a part has some
        self._is_understood = False  # the flag
        self._checked: dict[str, Any] = {}  # own parts that are no other's data
        self._divided_by = ""  # how folds were drawn
        self._chosen: dict[int, dict[str, Any]] = {}  # how so many samples were divided

    def _asks(self, parameter: inspect.Parameter) -> bool:
        """Whether a parameter asks for a part: by its name, or by its default or type."""
        known = {value for value in (parameter.default,) if isinstance(value, str)}
        is_named = parameter.name in _ASKED and parameter.default is parameter.empty
        return (
            parameter.name == "split"
            or bool((known | {*literals(parameter.annotation)}) & {*_NAMES["train"]})
            or (is_named and self._names("train"))
        )

    def part(self, split: str) -> Any:
        """The part `train`, `val`, `test` or `predict`; several by name; None if there is none."""
        if split not in self._parts:
            self._parts[split] = self._build(split)
        return self._parts[split]

    def any(self) -> Any:
        """A part that was built, not augmented if there is such a one."""
        built = {split: part for split, part in self._parts.items() if part is not None}
        other = next((p for split, p in built.items() if split != "train"), built.get("train"))
        return self.own("train") if other is None else first_of(other)

    def is_divided(self) -> bool:
        """Whether the seed of the parts has a say in them."""
        return self.fold is not None or any(
            f and self._is_cut(s) for s, f in self.fractions.items()
        )

    def take_whole(self) -> None:
        """Has all that the dataset holds predicted, unless it says what is to be."""
        if self.own("predict") is None:
            self._parts["predict"] = self.own("train")

    def sizes(self) -> dict[str, int]:
        """How many samples each part has that was built."""
        sets = {split: [*sets_of(part).values()] for split, part in self._parts.items()}
        streams = [
            n for n, found in sets.items() if any(isinstance(f, IterableDataset) for f in found)
        ]
        return {n: sum(map(len, found)) for n, found in sets.items() if n not in streams}

    def told(self) -> str:
        """How many samples each part has, and where it comes from."""
        lines = []
        for split, part in self._parts.items():
            sizes = [f"{name} {_size(one)}".strip() for name, one in sets_of(part).items()]
            size = " and ".join(sizes) or "none"
            if len(sizes) > 1:
                size += f" ({split}_loss is of the first)"
            is_cut = isinstance(part, Subset) and split != "train"
            origin = f" ({self.fractions[split]:g} of train)" if is_cut else ""
            if self.fold and split == "test":
                origin = f" (fold {self.fold[0]} of {self.fold[1]}, {self._divided_by})"
            why = f", as {self.reasons[split]}" if split in self.reasons else ""
            lines.append(f"{split} {size}{origin}{why}")
        return "samples: " + ", ".join(lines)

    def has_target(self, split: str) -> bool:
        """Whether the samples of a part hold as much as those that train."""
        if split not in self._targets:
            sets, train = sets_of(self.part(split)), self.part("train")
            self._targets[split] = all(_has_target(one, train) for one in sets.values())
        return self._targets[split]

    def _build(self, split: str) -> Any:
        if split == "predict":
            own = None if self.fold else self.own("predict")
            return self.part("test") if own is None else own
        is_cut = self.fold and (split == "test" or self.pool)
        if split != "train" and not is_cut and (own := self._distinct(split)) is not None:
            return own
        whole = self._whole(augment=split == "train")
        missing = {s: f for s, f in self.fractions.items() if f and self._is_cut(s)}
        is_stream = isinstance(whole, IterableDataset)
        if not self.fold and (is_stream or not missing):
            return whole if split == "train" else None
        if is_stream:
            raise UsageError("--folds: a stream can't be divided; it has no length")
        if len(whole) not in self._chosen:
            self._chosen[len(whole)] = self._divided(whole, missing)
        chosen = self._chosen[len(whole)]
        if hasattr(whole, "fit"):  # such as the mean of what trains
            wanted = [s for s, f in self.fractions.items() if f and not (self.fold and s == "test")]
            if isinstance(whole, Pool) or not {*wanted} <= {*missing}:
                hint = "divide it by seeded fractions: let it take no split or train"
                raise UsageError(f"only one object of the dataset is given to its fit; {hint}")
            if not any(whole is known for known in self._fitted):
                whole.fit(chosen["train"])
                self._fitted.append(whole)
        return Part(whole, chosen[split]) if split in chosen else None

    def _whole(self, augment: bool) -> Any:
        """What is divided: the training part, with those that join it."""
        whole = self.own("train", augment)
        if not self.pool:
            return whole
        others = [split for split in ("val", "test") if self._distinct(split) is not None]
        if not others:
            raise UsageError("--pool true: the dataset has no val or test part of its own to join")
        joined = [one for split in others for one in sets_of(self.own(split, augment)).values()]
        return Pool([whole, *joined])

    def _divided(self, whole: Any, missing: Mapping[str, float]) -> dict[str, Indices]:
        """Seeded fractions; or the fold tests, and of the rest a fraction may validate."""
        split_by = {self.split_by: self._known(whole)} if self.split_by else {}
        if not self.fold:
            return divide(len(whole), missing, self.seed, **split_by)
        by = {what: self._told(whole, what) for what in ("labels", "groups")}
        by["labels"] = classes_of(by["labels"], self.fold[1])
        known = [what for what, found in by.items() if found is not None]
        self._divided_by = f"by {' and '.join(known)}" if known else "at random"
        if by["labels"] is not None:
            few = np.unique(np.asarray(by["labels"]), return_counts=True)[1].min()
            rare = f"; the smallest class has {few} samples, so that not each fold has some"
            self._divided_by += rare if few < self.fold[1] else ""
        test = fold_of(len(whole), self.fold[1], self.fold[0], self.seed, **by)
        is_rest = np.ones(len(whole), bool)
        is_rest[test] = False
        rest = np.flatnonzero(is_rest)
        fractions = {"val": missing["val"]} if "val" in missing else {}
        by = split_by or {"groups": by["groups"]}
        told: dict[str, Any] = {w: np.asarray(k)[rest] for w, k in by.items() if k is not None}
        chosen = divide(len(rest), fractions, self.seed, **told)
        return {name: rest[found] for name, found in chosen.items()} | {"test": test}

    def take_heldout(self, is_taken: bool = True) -> bool:
        """Has the dataset's own test part tested in place of the fold, or no longer.

        Returns:
            Whether there is one.
        """
        found = self._distinct("test") if self.fold and not self.pool else None
        if found is not None:
            self._parts["test"] = found if is_taken else self._build("test")
        return found is not None

    def _distinct(self, split: str) -> Any:
        """The dataset's own part; None where it has none, or one that is another part's data."""
        if split not in self._checked:
            self._checked[split] = own = self.own(split)
            for name in ("train", "test") if split == "val" else ("train",):
                other = first_of(self.own(name))
                if own is not None and _is_same(first_of(own), other, alike=True):
                    self.reasons[split] = f"the dataset gives the same data for {split} and {name}"
                    self._checked[split] = None
                    break
        return self._checked[split]

    def _is_cut(self, split: str) -> bool:
        """Whether a part is cut from train: but for a test part that the dataset knows of."""
        if self.pool:
            return True
        if self._distinct(split) is not None:
            return False
        is_refused = split in self.reasons and "same data" not in self.reasons[split]
        return not (split == "test" and is_refused and self._names("test"))

    def _names(self, word: str, anywhere: bool = False) -> bool:
        """Whether the dataset's code, or anything in its file, has such a word."""
        with contextlib.suppress(OSError, TypeError):
            place = inspect.getmodule(self.dataset) if anywhere else self.dataset
            return re.search(f"[\"']{word}", inspect.getsource(place or self.dataset)) is not None
        return False

    def _known(self, whole: Any) -> Any:
        """What the dataset publishes to divide it by."""
        assert self.split_by
        found = self._told(whole, self.split_by)
        if found is None:
            names = " or ".join(PUBLISHED[self.split_by])
            hint = f"give it an attribute {names} with a value for each sample"
            raise UsageError(f"--split_by {self.split_by}: the dataset publishes none; {hint}")
        return found

    def _told(self, whole: Any, what: str) -> Any:
        """Labels, groups or times that the dataset publishes; None if not of each sample."""
        names = PUBLISHED[what]
        found: Any = next((getattr(whole, n) for n in names if hasattr(whole, n)), None)
        return found if hasattr(found, "__len__") and len(found) == len(whole) else None

    def own(self, split: str, augment: bool = False) -> Any:
        """The dataset's own part, whether it is augmented or not; None where it has none."""
        self._understand_flag()
        key = split, augment and bool(self.switches)
        if key not in self._own:
            self._own[key] = self._find(split, augment)
        return self._own[key]

    def download(self) -> None:
        """Has the dataset download all its parts.

        Raises:
            UsageError: There is no connection, or no place to write to.
        """
        if prepare := getattr(self.dataset, "prepare_data", None):
            takes = inspect.signature(prepare).parameters
            prepare(**{name: value for name, value in self.arguments.items() if name in takes})
        if "download" in self.takes and self.arguments.get("download", True):
            try:
                for split in ("train", "val", "test"):
                    self._find(split, download=True)
            except OSError as error:
                hint = "put the files there by hand, or type --data.download false"
                raise UsageError(f"the download failed: {error}; {hint}") from error

    def _understand_flag(self) -> None:
        """Tells a flag that switches augmentation from one that asks for another part."""
        if len(self.flags) != 1 or self._is_understood:
            return
        self._is_understood = True
        [(flag, split)] = self.flags.items()
        if flag in ("train", "test", "is_test"):
            return
        other = "test" if split == "train" else split
        with contextlib.suppress(Exception):  # no such part: which is told where it is asked for
            made = {
                part: construct(self.dataset, self.arguments | {flag: part == split}, "data")
                for part in ("train", other)
            }
            if _is_same(made["train"], made[other], alike=True):
                self.switches[flag], self.flags = split != "train", {}
            elif all(one is first_of(one) and len(one) for one in made.values()):
                self._own |= {(part, False): one for part, one in made.items()}
                self._own |= {} if self.switches else {("train", True): made["train"]}

    def _find(self, split: str, augment: bool = False, download: bool = False) -> Any:
        is_known = self.asked not in (None, *self.arguments)
        told = {*self.flags.values()}
        is_known |= split in told or (split == "test" and "train" in told)
        if split != "train" and not is_known:
            return None
        given = self.arguments | ({} if augment else self.switches)
        given |= {"download": download} if "download" in self.takes else {}
        names = self._names_of(split) if self.asked not in self.arguments else [split]
        further = [n for n in self._typed() if n.startswith((*(f"{m}_" for m in _NAMES[split]),))]
        if further and split != "train" and self.asked not in self.arguments:
            both = [n for n in names if n in self._typed()] + further  # val, val_noisy
            asked = {n: offer(self.takes, given, {str(self.asked): n}) for n in both}
            return {n: construct(self.dataset, takes, "data") for n, takes in asked.items()}
        refusal: Exception | None = None
        for name in names:
            if refusal and not (isinstance(refusal, OSError) or self._names(name, anywhere=True)):
                continue  # it knows no such word
            facts = {str(self.asked): name} | {n: s == split for n, s in self.flags.items()}
            try:
                made = construct(self.dataset, offer(self.takes, given, facts), "data")
                sets = sets_of(made)
                if split == "train" and made is not first_of(made):
                    hint = "return one, such as torch.utils.data.ConcatDataset of them"
                    raise UsageError(f"the dataset gives {len(sets)} sets to train; {hint}")
                if not all(isinstance(s, IterableDataset) or len(s) for s in sets.values()):
                    if split == "train":
                        raise UsageError("the dataset has 0 samples: nothing is left to train")
                    raise ValueError("it is empty")
                return made if made is first_of(made) else sets
            except UsageError:
                raise
            except Exception as error:  # it does not know this part
                if "download=True" in str(error):
                    raise UsageError(f"{error}; type --data.download true") from error
                if download and isinstance(error, OSError):
                    raise
                refusal = refusal or error
        if refusal and split == "train":
            raise refusal
        if refusal:
            self.reasons[split] = f"asked for {names[0]!r} the dataset raises {_described(refusal)}"
        return None

    def _names_of(self, split: str) -> list[str]:
        """What the constructor may call a part; none if its type tells that it has none."""
        known = self._typed()
        return [name for name in _NAMES[split] if name in known or not known]

    def _typed(self) -> list[str]:
        """The names of parts in the type of the parameter that asks for one."""
        with contextlib.suppress(KeyError, NameError):  # no such parameter, or type
            takes = inspect.signature(self.dataset, eval_str=True).parameters
            return [n for n in literals(takes[str(self.asked)].annotation) if isinstance(n, str)]
        return []


def sets_of(part: Any) -> dict[str, Any]:
    """The sets of a part by name: those of a mapping, of a list by number; a single one as ""."""
    if isinstance(part, dict) and part and all(isinstance(name, str) for name in part):
        return part
    if isinstance(part, list | tuple) and part and all(isinstance(s, Dataset) for s in part):
        return {str(number): one for number, one in enumerate(part)}
    return {} if part is None else {"": part}


def first_of(part: Any) -> Any:
    """The first of several sets, which is the one that a metric without its name is of."""
    return next(iter(sets_of(part).values()), None)


def _is_switch(parameter: inspect.Parameter | None) -> bool:
    """Whether it is True or False: `val=0.1` is something else."""
    if parameter is None or isinstance(parameter.default, bool):
        return True
    is_open = parameter.default in (None, parameter.empty)
    return is_open and (parameter.annotation is parameter.empty or "bool" in str(parameter))


def _size(part: Any) -> str:
    return "is a stream" if isinstance(part, IterableDataset) else str(len(part))


def _has_target(part: Any, train: Any) -> bool:
    """Whether the samples of a set hold as much as those that train."""
    if isinstance(part, IterableDataset) or isinstance(train, IterableDataset):
        return True
    own, other = part[0], train[0]
    if isinstance(own, Mapping) and isinstance(other, Mapping):
        return {*other} <= {*own} and not (_is_blank(part) and not _is_blank(train))
    sizes = [len(item) if isinstance(item, tuple | list) else 1 for item in (own, other)]
    return sizes[0] >= sizes[1] and not (_is_blank(part) and not _is_blank(train))


def _is_blank(part: Any) -> bool:
    """Whether some value of an item, but the first, says no more than that there is no label."""
    items = [part[index] for index in _spread(len(part))]
    named = [i if isinstance(i, Mapping) else dict(enumerate(i)) for i in items if not _is_one(i)]
    rows = [{n: v for n, v in item.items() if n in TARGETS or n in (1, 2)} for item in named]
    return any(all(_says_nothing(row.get(name)) for row in rows) for name in (rows or [{}])[0])


def _is_one(item: Any) -> bool:
    return not isinstance(item, Mapping | tuple | list)


def _says_nothing(value: Any) -> bool:
    """Whether a label is -1, not a number, None or a question mark."""
    if value is None or isinstance(value, str):
        return str(value).strip().lower() in ("", "?", "nan", "none")
    found = np.asarray(value)
    return found.dtype.kind in "iuf" and bool((np.isnan(found) | (found == -1)).all())


def _spread(size: int) -> list[int]:
    """Twenty indices from first to last."""
    return sorted({round(i * (size - 1) / 19) for i in range(20)})


def _is_same(first: Any, second: Any, alike: bool = False) -> bool:
    """Whether two datasets hold the same, as far as their size and some samples tell.

    Where the first is random in itself, `alike` compares the last value of each item, the target.
    """
    if second is None or isinstance(first, IterableDataset) or isinstance(second, IterableDataset):
        return False
    size = len(first)
    if not size or size != len(second):
        return False
    indices = _spread(size)
    is_random = alike and not _are_equal(second, second, indices[:1], (0, 1))
    is_random = is_random or (alike and not _are_equal(first, first, indices[:1], (0, 1)))
    return _are_equal(first, second, indices, (0, 0), only_last=is_random)


def _are_equal(
    first: Any, second: Any, indices: list[int], seeds: tuple[int, int], only_last: bool = False
) -> bool:
    for index in indices:
        items = []
        for dataset, seed in zip((first, second), seeds, strict=True):
            seed_at(index, seed)
            items.append(dataset[index])
        if only_last:
            items = [[*i.values()] if isinstance(i, Mapping) else i for i in items]
            items = [i[-1] if isinstance(i, list | tuple) and len(i) > 1 else None for i in items]
        (left, form), (right, other) = map(tree_flatten, items)
        is_told = not only_last or items[0] is not None
        if not is_told or form != other or not all(map(_equal, left, right)):
            return False
    return True


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.shape == right.shape and torch.equal(left, right)
    return bool(np.array_equal(np.asarray(left), np.asarray(right)))


def _described(error: Exception) -> str:
    """An error, and the line of the user's own file that it comes from."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    for frame in traceback.extract_tb(error.__traceback__)[::-1]:
        file = Path(frame.filename)
        if file.is_relative_to(ROOT) and not file.is_relative_to(ROOT / "core"):
            return f"{text} ({file.relative_to(ROOT)}, line {frame.lineno})"
    return text
