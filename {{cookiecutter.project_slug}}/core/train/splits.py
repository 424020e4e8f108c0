"""Dividing a dataset. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from core.errors import UsageError


def divide(
    size: int,
    fractions: Mapping[str, float],
    seed: int,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    time: Sequence[Any] | None = None,
) -> dict[str, list[int]]:
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
    generator = torch.Generator().manual_seed(seed)
    rest, parts = torch.randperm(size, generator=generator).tolist(), {}
    if time is not None:
        rest = np.argsort(np.asarray(time), kind="stable")[::-1].tolist()
    order = sorted(fractions) if time is not None else [*fractions]  # test before val
    for name in order:
        count = max(1, round(size * fractions[name]))
        chosen = rest[:count]
        if labels is not None or groups is not None:
            try:
                chosen = _chosen(rest, count / len(rest), seed, labels, groups)
            except ValueError as error:
                raise UsageError(f"--split_by: {error}") from error
        taken = {*chosen}
        parts[name], rest = sorted(chosen), [index for index in rest if index not in taken]
    if not rest:
        raise UsageError(f"nothing is left to train: the dataset has {size} samples")
    return parts | {"train": sorted(rest)}


def _chosen(rest: list[int], fraction: float, seed: int, labels: Any, groups: Any) -> list[int]:
    """A part of some samples, by scikit-learn."""
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit

    kind = StratifiedShuffleSplit if groups is None else GroupShuffleSplit
    y, by = (None if known is None else np.asarray(known)[rest] for known in (labels, groups))
    _, chosen = next(kind(1, test_size=fraction, random_state=seed).split(rest, y, by))
    return [rest[index] for index in chosen]
