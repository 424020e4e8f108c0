"""Draws what a run has come to, for a paper: its curves, and what the test has found."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from core.runs.processes import say
from core.runs.record import read_curves
from core.runs.shown import show
from core.train.metrics import measured
from core.train.outputs import tested
from core.train.results import Results
from core.train.samples import most_wrong, side_by_side


class Figures(pl.Callback):
    """Draws into `shown/`, and never ends a run.

    Args:
        folder: The run's; None to draw nothing.
        num_samples: How many of the most wrong samples, or of those from best to worst.
    """

    def __init__(self, folder: Path | None = None, num_samples: int = 15) -> None:
        self.folder, self.num_samples = folder, num_samples

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws the curves."""
        if self.folder and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            self._show(trainer, "curves", curves, self.folder / "metrics.csv", place="fit")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws what fits the task."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        data = data if hasattr(data, "sets") else None
        found = tested(pl_module, data) if self.folder else {}  # in all processes
        for name, one in found.items() if trainer.is_global_zero else ():
            results = Results(pl_module, data, name, one)
            for title, draw in DRAWN.get(results.task or "", {}).items():
                self._show(trainer, f"{title}-{name}".strip("-"), draw, results, self.num_samples)

    def _show(self, trainer: Any, title: str, draw: Any, *of: Any, **at: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of signs that a font lacks
                if (drawn := draw(*of)) is not None:
                    show(title, drawn, trainer=trainer, **at)
        except ModuleNotFoundError as error:
            say(f"{title} can't be drawn without {error.name}; type uv sync --extra studies")
        except Exception as error:  # whatever it is, it is only shown
            say(f"{title} can't be drawn: {type(error).__name__}: {str(error)[:200]}")


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Any:
    """A figure, and its axes, (rows, columns), each of so many inches."""
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    figure = Figure(figsize=(width * columns, height * rows), layout="compressed")
    return figure, figure.subplots(rows, columns, squeeze=False)


def curves(file: Path) -> Any:
    """Each metric over the steps, of training and validation in one; None without any."""
    found = read_curves(file)
    if not found:  # no logger has written any
        return None
    columns = len(found) if len(found) < 3 else 2 + (len(found) > 4)
    figure, axes = new_figure(3.4, 2.6, -(-len(found) // columns), columns)
    order = sorted(found, key=lambda metric: (metric.startswith("lr"), metric != "loss", metric))
    for place, metric in zip(axes.flat, order, strict=False):
        for name, points in sorted(found[metric].items()):
            look = {"alpha": 0.3} if "each step" in name else {"marker": ".", "zorder": 3}
            colour = "C1" if name.startswith("val") else "C0"
            place.plot(*zip(*points, strict=True), color=colour, label=name, **look)
        place.set(xlabel="step", ylabel=metric)
        if {*found[metric]} != {""}:
            place.legend(frameon=False)
    for place in axes.flat[len(found) :]:
        place.remove()
    return figure


def confusion(results: Results, count: int) -> Any:
    """How many samples of each class are taken for which."""
    shares, truth, _ = results.labels()
    size = shares.shape[1]
    table = torch.bincount(truth * size + shares.argmax(1), minlength=size**2).view(size, size)
    names, side = results.classes(size), max(3.6, min(9.0, 1.6 + 0.42 * size))
    figure, [[axes]] = new_figure(side + 0.8, side)
    place = {"ha": "center", "va": "center", "fontsize": 9}
    parts = table / table.sum(1, keepdim=True).clamp_min(1)
    image = axes.imshow(parts.numpy(), "Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", fraction=0.046, pad=0.04)
    axes.set(xlabel="predicted class", ylabel="true class")
    if size > 20:
        return figure
    look = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(size), names, **look if max(map(len, names)) > 3 else {})
    axes.set_yticks(range(size), names)
    for row, column in table.nonzero().tolist():
        colour = "white" if parts[row, column] > 0.5 else "black"
        axes.text(column, row, f"{table[row, column]}", color=colour, **place)
    return figure


def predicted(results: Results, count: int) -> Any:
    """Predicted against true values, of each output or of all of many."""
    output, target = (torch.stack(v).float() for v in (results.outputs, results.targets))
    output, target = (v.reshape(len(v), -1) for v in (output, target.reshape(output.shape)))
    if output.shape[1] > 4:
        output, target = (v.reshape(-1, 1) for v in (output, target))
    figure, [every] = new_figure(3.6, 3.6, 1, output.shape[1])
    for axes, found, true in zip(every, output.T, target.T, strict=True):
        ends = [float(min(found.min(), true.min())), float(max(found.max(), true.max()))]
        axes.plot(ends, ends, color="0.6", linewidth=1)
        axes.scatter(true.numpy(), found.numpy(), s=12, alpha=0.5, linewidths=0)
        error = f"RMSE {((found - true) ** 2).mean().sqrt():.3g}, n = {len(true):,}"
        axes.set(xlabel="true", ylabel="predicted", aspect="equal", title=error)
    return figure


def by_label(results: Results, count: int) -> Any:
    """Precision and recall of each label."""
    output, target = (torch.stack(v) for v in (results.outputs, results.targets))
    shares, truth = measured("multilabel", results.model.loss, output.float(), target)
    found, truth = ((v.movedim(1, -1).flatten(0, -2) > 0.5).float() for v in (shares, truth))
    both, names = (found * truth).sum(0), results.classes(found.shape[1])
    figure, [[axes]] = new_figure(4.5, max(2.2, 1 + 0.28 * len(names)))
    for label, of, marker in (("precision", found, "o"), ("recall", truth, "s")):
        axes.plot((both / of.sum(0).clamp_min(1)).numpy(), names, marker, label=label)
    axes.set(xlim=(-0.02, 1.02), xlabel="share", ylabel="label")
    axes.legend(frameon=False)
    axes.invert_yaxis()
    return figure


DRAWN: dict[str, dict[str, Callable[[Results, int], Any]]] = {
    "classification": {"confusion": confusion, "most_wrong": most_wrong},
    "binary": {"confusion": confusion, "most_wrong": most_wrong, "samples": side_by_side},
    "multilabel": {"labels": by_label},
    "regression": {"predicted": predicted},
    "segmentation": {"samples": side_by_side},
    "image": {"samples": side_by_side},
}
