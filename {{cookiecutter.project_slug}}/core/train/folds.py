"""Folds: each sample tests once."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset

from core.errors import UsageError
from core.train.splits import Indices


def fold_of(
    size: int,
    folds: int,
    fold: int,
    seed: int,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
) -> Indices:
    """One of several folds: together they are all samples, and no two have one in common.

    Args:
        size: How many samples there are.
        folds: How many folds.
        fold: Which of them, from 0.
        seed: Seed of all folds.
        labels: Class of each sample, to have the same share of each in all folds.
        groups: Group of each sample; none is divided.

    Returns:
        The fold's indices in ascending order.

    Raises:
        UsageError: There are too few samples or groups.
    """
    from sklearn import model_selection as kinds

    count = size if groups is None else len({*np.asarray(groups).tolist()})
    if count < folds:
        of = "samples" if groups is None else "groups"
        raise UsageError(f"--folds {folds}: the dataset has {count} {of}; expected as many or more")
    if groups is None:
        kind = kinds.KFold if labels is None else kinds.StratifiedKFold
    else:
        kind = kinds.GroupKFold if labels is None else kinds.StratifiedGroupKFold
    with warnings.catch_warnings(action="ignore"):  # of a class that not every fold can have
        divided = kind(folds, shuffle=True, random_state=seed).split(np.empty(size), labels, groups)
        tests = [test for _, test in divided]
    if not all(map(len, tests)):
        raise UsageError(
            f"--folds {folds}: the groups are too unequal, a fold is empty; type fewer"
        )
    return np.sort(tests[fold])


def chosen_fold(
    folds: int | None, fold: int, pool: bool, split_by: str | None
) -> tuple[int, int] | None:
    """The fold that tests, and of how many, as options tell; None without folds.

    Raises:
        UsageError: They can't work.
    """
    if folds is not None and folds < 2:
        raise UsageError(f"--folds {folds}: expected 2 or more")
    if folds is not None and not 0 <= fold < folds:
        raise UsageError(f"--fold {fold}: of {folds} folds, expected 0 to {folds - 1}")
    if folds and split_by == "time":
        raise UsageError("--folds: what is divided by time has no folds; type --split_by null")
    if folds is None and (fold or pool):
        raise UsageError(f"--{'fold' if fold else 'pool'} needs --folds")
    return (fold, folds) if folds else None


def classes_of(labels: Sequence[Any] | None, folds: int) -> Sequence[Any] | None:
    """The labels, if they are classes of which at least one is large enough for all folds."""
    found = np.asarray(labels)
    if labels is None or found.ndim != 1 or found.dtype.kind not in "biuU":
        return None
    _, counts = np.unique(found, return_counts=True)
    return labels if counts.max() >= folds else None


class Pool(ConcatDataset[Any]):
    """Several parts of one dataset as one; what the first tells holds, of each sample or of all."""

    datasets: list[Any]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("datasets", "get_batch"):
            raise AttributeError(name)
        values = [getattr(dataset, name) for dataset in self.datasets]
        sizes = [len(value) if hasattr(value, "__len__") else -1 for value in values]
        is_of_samples = sizes == [len(dataset) for dataset in self.datasets]
        return [*itertools.chain(*values)] if is_of_samples else values[0]
