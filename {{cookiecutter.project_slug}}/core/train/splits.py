"""Finding the parts of a dataset, and dividing one that has none. Pure functions."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from core.cli.construct import construct, offer, parameters
from core.cli.source import literals
from core.errors import UsageError

_SYNONYMS = {"train": ("train", "training"), "val": ("val", "valid", "validation")}


def find_split(
    dataset: Any,
    arguments: Mapping[str, Any],
    split: str,
    augment: bool = False,
    download: bool = False,
) -> Any:
    """A dataset's own split; None if it does not know it.

    Args:
        dataset: The class or function.
        arguments: What was chosen for its constructor.
        split: `train`, `val`, `test` or `predict`.
        augment: Whether it may be augmented.
        download: Whether it may be downloaded.
    """
    takes = parameters(dataset)
    fixed = {"download": download} | ({} if augment else {"augment": False})
    given = {**arguments} | {name: value for name, value in fixed.items() if name in takes}
    names, refusal = [given["split"]] if "split" in given else _names(dataset, split), None
    for name in names:
        facts = {"split": name, "train": split == "train"}
        try:
            return construct(dataset, offer(takes, given, facts), "data")
        except UsageError:
            raise
        except (AssertionError, KeyError, ValueError) as error:  # it does not know this split
            refusal = refusal or error
        except RuntimeError as error:
            if "download=True" not in str(error):
                raise
            raise UsageError(f"{error}; type --data.download true") from error
    if refusal and (split == "train" or "split" not in takes):
        raise refusal
    return None


def download(dataset: Any, arguments: Mapping[str, Any]) -> None:
    """Lets a dataset download what it needs, by its `prepare_data` or its constructor.

    Raises:
        UsageError: There is no connection, or no place to write to.
    """
    if prepare := getattr(dataset, "prepare_data", None):
        takes = inspect.signature(prepare).parameters
        prepare(**{name: value for name, value in arguments.items() if name in takes})
    if "download" in parameters(dataset) and arguments.get("download", True):
        try:
            for split in ("train", "val", "test"):
                find_split(dataset, arguments, split, download=True)
        except OSError as error:
            hint = "put the files there by hand, or type --data.download false"
            raise UsageError(f"the download failed: {error}; {hint}") from error


def _names(dataset: Any, split: str) -> list[str]:
    """What a dataset's constructor may call a split; nothing if its type tells that it has none."""
    names = _SYNONYMS.get(split, (split,))
    try:
        takes = inspect.signature(dataset, eval_str=True).parameters
        known = {*literals(takes["split"].annotation)}
    except (KeyError, NameError):  # no such parameter, or a type that is not imported
        known = set()
    return [name for name in names if name in known or not known]


def divide(
    size: int,
    fractions: Mapping[str, float],
    seed: int,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
) -> dict[str, list[int]]:
    """Divides samples at random, the same way for the same seed.

    Args:
        size: How many there are.
        fractions: Which part of all of them each split gets; the rest is `train`.
        seed: Seed of the order.
        labels: Class of each sample, to have as many of each in all parts, relatively.
        groups: Group of each sample; none is divided, and fractions are of groups.

    Returns:
        The indices of each split in ascending order.

    Raises:
        UsageError: Nothing is left to train.
    """
    generator = torch.Generator().manual_seed(seed)
    rest, parts = torch.randperm(size, generator=generator).tolist(), {}
    for name, fraction in fractions.items():
        count = max(1, round(size * fraction))
        chosen = rest[:count]
        if labels is not None or groups is not None:
            chosen = _chosen(rest, count / len(rest), seed, labels, groups)
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
