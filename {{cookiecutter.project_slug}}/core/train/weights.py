"""Weights for a network to begin with, from whatever file they come."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import UsageError
from core.runs.checkpoints import read
from core.runs.folders import find_checkpoint, find_folder
from core.runs.processes import say

_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
Tensors = dict[str, Tensor]


def begin(model: torch.nn.Module, root: str, *, init_from: str | None = None) -> None:
    """Gives a network the weights to begin with, if some were chosen.

    Args:
        model: The network.
        root: Folder of all runs.
        init_from: A run, or a file with weights, to begin with the weights of. Those that do not
            fit are left out and named.
    """
    for network in model.modules():
        text: Any = getattr(network, "begins_with", None)
        if text:
            say(text)
    if init_from:
        file = Path(init_from)
        if not file.is_file():
            file = find_checkpoint(find_folder(root, init_from), "best")
        warm_start(model, file)


def warm_start(model: torch.nn.Module, file: Path) -> None:
    """Takes over the weights of a file whose names and shapes match, and says which do not.

    The file holds names and tensors, or a dict with them under a key such as `state_dict`,
    `model_state_dict` or `net`. What stands before the names there or in the network, such as
    `module.` or `backbone.`, may differ.

    Raises:
        UsageError: None match, several parts of the file do, or it holds no weights.
    """
    own, found = model.state_dict(), _tensors(read(file))
    found = {name.replace("_orig_mod.", ""): value for name, value in found.items()}
    short = {name.replace("_orig_mod.", ""): name for name in own}
    named = {n: own[name] for n, name in short.items()}
    fitting = [_pairs(named, found, *prefixes) for prefixes in _best(named, found)]
    if not fitting:
        raise UsageError(f"--init_from {file}: no weights of it fit this network")
    if any(pairs != fitting[0] for pairs in fitting):
        parts = " and ".join(sorted({next(iter(pairs.values())) for pairs in fitting}))
        raise UsageError(f"--init_from {file}: several parts fit, such as {parts}; keep one")
    taken = {short[name]: found[other] for name, other in fitting[0].items()}
    model.load_state_dict(taken, strict=False)
    left = [name for name in own if name not in taken]
    text = f"{len(taken)} of {len(own)} tensors taken from {file}"
    say(text + f"; not {', '.join(left)}" * bool(left))


def _tensors(content: Mapping[Any, Any]) -> Tensors:
    """Names and tensors, wherever most of them are in a file."""
    inner = {n: v for n, v in content.items() if isinstance(v, Mapping)}
    parts = [_tensors(inner[n]) for n in dict.fromkeys([*_KEYS, *inner]) if n in inner]
    own = {n: v for n, v in content.items() if isinstance(v, Tensor) and isinstance(n, str)}
    return max([own, *parts], key=len)


def _best(own: Tensors, found: Tensors) -> list[tuple[str, str]]:
    """What is to be taken off the names on both sides for as many as possible to match.

    Off the network's no more than what half of it has in common: no head is taken for a network.
    """
    common = Counter(prefix for name in own for prefix, _ in _splits(name))
    rests: dict[str, list[tuple[str, str]]] = {}
    for name in own:
        for prefix, rest in _splits(name):
            if 2 * common[prefix] >= len(own):
                rests.setdefault(rest, []).append((prefix, name))
    counts: Counter[tuple[str, str]] = Counter()
    for other, value in found.items():
        for before, rest in _splits(other):
            for prefix, name in rests.get(rest, []):
                counts[prefix, before] += own[name].shape == value.shape
    most = max(counts.values(), default=0)
    return [pair for pair, count in counts.items() if count == most > 0]


def _pairs(own: Tensors, found: Tensors, prefix: str, before: str) -> dict[str, str]:
    """The names of the network with what they are called in the file."""
    pairs = {n: before + n.removeprefix(prefix) for n in own if n.startswith(prefix)}
    fits = (n for n, other in pairs.items() if other in found)
    return {n: pairs[n] for n in fits if own[n].shape == found[pairs[n]].shape}


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Every way to take the first words off a name."""
    words = name.split(".")
    for count in range(len(words)):
        yield "".join(f"{word}." for word in words[:count]), ".".join(words[count:])
