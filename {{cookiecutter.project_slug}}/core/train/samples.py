"""Samples of a test as pictures: the most wrong ones, and those from best to worst."""

from typing import Any

import torch
from torch import Tensor

from core.runs.pictures import grid, picture_of
from core.train.results import Results, stretched

_COLOURS = ("000000", "4477aa", "ee6677", "228833", "ccbb44", "66ccee", "aa3377", "bbbbbb")


def most_wrong(results: Results, count: int) -> Any:
    """The samples to whose class the network gave least, or their names if they are no pictures."""
    shares, truth, sample = results.labels()
    found, given = shares.argmax(1), shares[torch.arange(len(truth)), truth]
    wrong = [i for i in given.argsort().tolist() if found[i] != truth[i]][:count]
    if not wrong or len(sample.unique()) < len(sample):  # or each has several labels
        return None
    names, pictures, told = results.classes(shares.shape[1]), [], []
    for i in wrong:
        share = f"{shares[i].max():.2f}"
        known = (results.name(int(sample[i])), f"true {names[truth[i]]}")
        told.append("\n".join([*known, f"predicted {names[found[i]]}, {share}"]))
        pictures.append(results.picture(int(sample[i])))
    if any(picture is None for picture in pictures):
        return "\n".join(text.replace("\n", ": ") for text in told)
    return grid([picture_of(picture, set()) for picture in pictures], 5, told, 128)


def side_by_side(results: Results, count: int) -> Any:
    """Input, target and output of samples from the best to the worst."""
    if results.outputs[0].ndim != 3:
        return None
    rated = [i for i, score in enumerate(results.scores) if score is not None]
    order = sorted(rated, key=lambda i: -results.scores[i]) or [*range(len(results.outputs))]
    rows = min(max(2, count // 3), len(order))
    pictures, captions = [], []
    for index in (order[round(i * (len(order) - 1) / max(1, rows - 1))] for i in range(rows)):
        output, target, seen = (
            results.outputs[index],
            results.targets[index],
            results.picture(index),
        )
        if results.kind == "multiclass":
            output, target = _coloured(output.argmax(0)), _coloured(target)
        elif results.kind:
            output, target = ((v > t).float() for v, t in ((output, 0), (target, 0.5)))
        else:
            output, target = (stretched(v.float(), target.float()) for v in (output, target))
        pictures += [picture_of(v, set()) for v in (seen, target, output) if v is not None]
        score = results.scores[index]
        by = str(results.scored_by).removeprefix("negative ")
        told = "" if score is None else f", {by} {abs(score):.3f}"
        captions += [results.name(index)] * (seen is not None) + ["target", f"output{told}"]
    return grid(pictures, len(pictures) // rows, captions, 192)


def _coloured(labels: Tensor) -> Tensor:
    """(3, H, W) of classes, (H, W); those that do not count are white."""
    table = torch.tensor([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in _COLOURS])
    colours = table[labels.long() % len(table)]
    colours[labels < 0] = 255
    return colours.movedim(-1, 0).to(torch.uint8)
