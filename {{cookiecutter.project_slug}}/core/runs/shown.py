"""What is shown: pictures, figures, texts and histograms, in the run's folder and the loggers."""

import contextlib
import csv
import io
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import (
    CometLogger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from torch import Tensor

from core.cli.options import Options
from core.errors import UsageError
from core.runs.pictures import picture_of
from core.runs.processes import say

_shown: weakref.WeakKeyDictionary[pl.Trainer, "Shown"] = weakref.WeakKeyDictionary()
_working: list[weakref.ref[pl.Trainer]] = []  # the trainer that is at work


class Shown(pl.Callback):
    """Knows where a trainer's pictures go, and which are there already.

    Args:
        options: Tell what is tested, if not the run as it was trained.
        folder: The run's; None to have loggers alone keep them.
    """

    def __init__(self, options: Options | None = None, folder: Path | None = None) -> None:
        self.options, self.folder = options, folder
        self.last: dict[str, str] = {}  # by name, the place where it was shown last
        self.told: set[tuple[str, str]] = set()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Takes note of the trainer that works now."""
        _shown[trainer], _working[:], self.last = self, [weakref.ref(trainer)], {}

    def place(self, trainer: pl.Trainer) -> tuple[str, str]:
        """The name of a file for what is shown now, and what loggers add to a tag."""
        step, what = str(trainer.global_step), "val" if trainer.validating else "test"
        if trainer.state.fn == "fit":
            return (f"{step}-val", "/val") if trainer.validating else (step, "")
        what = "predict" if trainer.predicting else what
        what += self.options.label if self.options else ""
        return what, f"/{what}"

    def keep(self, name: str, value: Any, trainer: pl.Trainer, at: str, more: str) -> None:
        """Keeps it; for the arguments see `show` and `place`."""
        notes: set[str] = set()
        with self.telling(name, ""):
            if {"", ".", ".."} & {*name.split("/")} or "\\" in name or "\0" in name:
                raise UsageError("expected a name, or names with slashes between them")
            content = _content(value, notes)
            if notes and self.is_new(name, "note"):
                say(f"{name!r} is shown, but {' and '.join(sorted(notes))}")
            with self.telling(name, " in the run's folder"):
                if self.folder:
                    _write(self.folder / "shown" / name / at, content)
            for logger in trainer.loggers:
                with self.telling(name, f" by {type(logger).__name__}"):
                    _send(logger, name + more, content, trainer.global_step)

    @contextlib.contextmanager
    def telling(self, name: str, where: str) -> Iterator[None]:
        """Tells, once, why something is not shown."""
        try:
            yield
        except Exception as error:  # whatever it is, training does not need it
            kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
            if self.is_new(name, where):
                text = " ".join(str(error).split())[:200]
                say(f"{name!r} is not shown{where}: {kind}{text}")

    def is_new(self, name: str, what: str) -> bool:
        """Whether it was not yet told."""
        known = (name, what) in self.told
        self.told.add((name, what))
        return not known


def show(
    name: str,
    value: Any,
    every: int = 1,
    trainer: pl.Trainer | None = None,
    place: str | None = None,
) -> None:
    """Keeps what is to be looked at as `RUN/shown/NAME/STEP.*`, and in every logger that can.

    It never ends a run: what can't be shown is told, once. Of all that is shown under a name at one
    step, the first is kept: of a validation its first batch. Files of validation are called
    `STEP-val`, those of a test `test`. Several processes show what the first of them does.

    Args:
        name: With slashes it makes folders.
        value: A text; a picture, (H, W) or (C, H, W) with 1, 3 or 4 colours, floats in [0, 1],
            bytes or bool; several pictures, (B, C, H, W) or a list, of which the first 64 are
            shown; a PIL image; a matplotlib figure, which is closed; numbers, (N,), for a
            histogram. A numpy array may have its colours last, where that is unambiguous.
        every: In training it is shown only at every so many steps.
        trainer: Whose loggers and folder; by default of the run that is going on.
        place: The name of the file, if it is none of those above.
    """
    trainer = trainer or (_working[0]() if _working else None)
    if trainer is None:
        say(f"{name!r} is not shown: no run is going on")
    elif trainer.is_global_zero and not trainer.sanity_checking:
        shown = _shown.setdefault(trainer, Shown())
        at, more = (place, f"/{place}") if place else shown.place(trainer)
        is_due = bool(more) or trainer.global_step % max(1, every) == 0
        if is_due and shown.last.get(name) != at:
            shown.last[name] = at
            shown.keep(name, value, trainer, at, more)


Content = str | Image.Image | np.ndarray  # a text, a picture, or the numbers of a histogram


def _content(value: Any, notes: set[str]) -> Content:
    """What is kept of a value.

    Raises:
        UsageError: Nothing can be.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, Tensor | np.ndarray) or value.ndim > 1:
        return picture_of(value, notes)
    if not value.ndim:
        raise UsageError("it is a single number; type self.log instead")
    numbers = value.detach().cpu().double().numpy() if isinstance(value, Tensor) else value
    numbers = numbers.astype(float)
    finite: np.ndarray = numbers[np.isfinite(numbers)]
    if len(finite) < len(numbers):
        notes.add("numbers that are not finite are left out")
    if not len(finite):
        raise UsageError("there are no finite numbers")
    return finite


def _table(numbers: np.ndarray) -> str:
    """A histogram: the edges of each bin, and how many numbers are in it."""
    counts, edges = np.histogram(numbers, bins=64)
    text = io.StringIO()
    rows = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
    csv.writer(text, lineterminator="\n").writerows([("from", "to", "count"), *rows])
    return text.getvalue()


def _write(file: Path, content: Content) -> None:
    kinds = {str: ".txt", np.ndarray: ".csv"}
    file = file.with_name(file.name + kinds.get(type(content), ".png"))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    if isinstance(content, Image.Image):
        content.save(part, "PNG")
    else:
        part.write_text(_table(content) if isinstance(content, np.ndarray) else content, "utf-8")
    part.replace(file)


def _send(logger: Any, tag: str, content: Any, step: int) -> None:
    to: Any = getattr(logger, "experiment", None)
    is_picture, is_text = isinstance(content, Image.Image), isinstance(content, str)
    if isinstance(logger, TensorBoardLogger):
        if is_picture:
            pixels = np.asarray(content)
            to.add_image(tag, pixels, step, dataformats="HWC" if pixels.ndim == 3 else "HW")
        else:
            (to.add_text if is_text else to.add_histogram)(tag, content, step)
    elif isinstance(logger, WandbLogger):
        if is_picture:
            logger.log_image(tag, [content], step)
        elif is_text:
            logger.log_text(tag, columns=["text"], data=[[content]], step=step)
        else:
            import wandb  # only here: it takes a second

            shown: Any = {tag: wandb.Histogram(content)}
            logger.log_metrics(shown, step)
    elif isinstance(logger, MLFlowLogger):
        file = f"{tag}/{step}"
        if is_picture:
            to.log_image(logger.run_id, content, f"{file}.png")
        else:
            text = content if is_text else _table(content)
            to.log_text(logger.run_id, text, file + (".txt" if is_text else ".csv"))
    elif isinstance(logger, CometLogger):
        if is_picture:
            to.log_image(content, name=tag, step=step)
        elif is_text:
            to.log_text(content, step=step, metadata={"name": tag})
        else:
            to.log_histogram_3d(content, name=tag, step=step)
