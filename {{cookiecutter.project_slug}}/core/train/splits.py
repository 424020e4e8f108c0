"""Dividing a dataset. Pure functions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from core.errors import UsageError

Indices = np.ndarray[Any, np.dtype[np.int64]]  # (n,), for data of many millions no list


def divide(
    size: int,
    fractions: Mapping[str, float],
    seed: int,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    time: Sequence[Any] | None = None,
) -> dict[str, Indices]:
    """Divides samples at random, the same way for the same seed.

    Args:
        size: How many there are.
        fractions: Which part of all of them each split gets; the rest is `train`.
        seed: Seed of the order.
        labels: Class of each sample, to have as many of each in all parts, relatively.
        groups: Group of each sample; none is divided, and fractions are of groups.
        time: Time of each sample: the last ones test, those before them validate.

    Returns:
        The indices of each split in ascending order.

    Raises:
        UsageError: Nothing is left to train, or there are too few of a class or group.
    """
    parts, is_left = dict(_cut(size, fractions, seed, labels, groups, time)), np.ones(size, bool)
    for chosen in parts.values():
        is_left[chosen] = False
    parts["train"] = np.flatnonzero(is_left)
    if not len(parts["train"]):
        raise UsageError(f"nothing is left to train: the dataset has {size} samples")
    return parts


def _cut(
    size: int, fractions: Mapping[str, float], seed: int, labels: Any, groups: Any, time: Any
) -> Iterator[tuple[str, Indices]]:
    """All parts but `train`."""
    generator = torch.Generator().manual_seed(seed)
    rest: Indices = torch.randperm(size, generator=generator).numpy()
    if time is not None:
        rest = np.argsort(np.asarray(time), kind="stable")[::-1]
    for name in sorted(fractions) if time is not None else fractions:  # test before val
        count = max(1, round(size * fractions[name]))
        if labels is None and groups is None:
            chosen, rest = rest[:count], rest[count:]
        else:
            try:
                chosen = _chosen(rest, count / len(rest), seed, labels, groups)
            except ValueError as error:
                raise UsageError(f"--split_by: {error}") from error
            rest = rest[~np.isin(rest, chosen)]
        yield name, np.sort(chosen)


def _chosen(rest: Indices, fraction: float, seed: int, labels: Any, groups: Any) -> Indices:
    """A part of some samples, by scikit-learn."""
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    kind = StratifiedShuffleSplit if groups is None else GroupShuffleSplit
    y, by = (None if known is None else np.asarray(known)[rest] for known in (labels, groups))
    _, chosen = next(kind(1, test_size=fraction, random_state=seed).split(rest, y, by))
    return rest[chosen]
