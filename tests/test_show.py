"""What is shown: of all kinds, in the run's folder and every logger; and drawn after the test."""

import contextlib
import csv
import json
import random
import shutil
import signal
import sqlite3
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from callbacks import figures
from callbacks.figures import Figures
from core.errors import UsageError
from core.runs.pictures import grid, picture_of
from core.runs.record import read_curves
from core.runs.shown import Shown, show
from core.train import outputs as core_outputs
from core.train.losses import ProbabilityLoss
from core.train.metrics import Named
from core.train.results import Results
from core.train.samples import most_wrong, side_by_side
from data import DInterface
from model import MInterface

from .command import Project, until
from .conftest import Bake

GREY = [[0, 128], [255, 51]]  # of 0, 0.5, 1, 0.2
QUICK = ("--model_name", "shower", "--enable_progress_bar", "false", "--max_epochs", "2")
EVERY = {"images": 0, "tensors": 0, "histograms": 0}  # of TensorBoard's events


def pixels(value: Any) -> Any:
    """Those of what it is shown as."""
    return np.asarray(picture_of(value, set())).tolist()


def test_pictures() -> None:
    """All that is one, by hand."""
    grey = torch.tensor([[0, 0.5], [1, 0.2]])
    for value in (grey, grey.bfloat16(), grey.double(), grey[None], grey.numpy()):
        assert pixels(value) == GREY
    assert pixels(torch.tensor(GREY, dtype=torch.uint8)) == GREY
    assert pixels(np.array([[True, False]])) == [[255, 0]]
    red = torch.stack([grey, 0 * grey, 0 * grey])  # (3, 2, 2)
    coloured = [[[value, 0, 0] for value in row] for row in GREY]
    assert pixels(red) == pixels(red.requires_grad_()) == coloured
    assert pixels(red.movedim(0, -1).detach().numpy()) == coloured  # the colours last
    assert pixels(Image.fromarray(np.array(GREY, np.uint8))) == GREY
    assert pixels(torch.ones(4, 1, 2))[0][0] == [255] * 4  # not opaque for nothing
    black = torch.zeros(2, 1, 1, 40)  # two pictures of a line, white around and between
    line, gap = [[0] * 3] * 40, [[255] * 3] * 2
    white = [[[255] * 3] * 86] * 2
    assert pixels(black) == pixels([*black]) == [*white, gap + line + gap + line + gap, *white]
    first_64 = picture_of(torch.zeros(100, 1, 1, 40), set())
    assert first_64.size == (8 * 42 + 2, 8 * 3 + 2)
    assert picture_of(torch.zeros(4, 1, 8, 4), set()).size == (2 * 34 + 2, 2 * 66 + 2)  # tiny ones


def test_figures_are_closed() -> None:
    """As pyplot would keep each of them."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(2, 1))
    assert picture_of(figure, set()).size == (300, 150)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(5, 8, 8), r"ends in \(5, 8, 8\); .* grey pictures is \(B, 1, H, W\)"),
        (torch.zeros(2, 2, 8, 8), r"ends in \(2, 8, 8\); expected"),
        (torch.zeros(1, 1, 1, 2, 2), r"its shape is \(1, 1, 1, 2, 2\); expected"),
        (np.zeros((3, 8, 3)), r"an array \(3, 8, 3\) may be first or last; give a tensor"),
        (torch.zeros(8, 8, dtype=torch.int64), r"its values are int64; expected floats in"),
        (torch.zeros(0, 1, 8, 8), r"its shape"),
        (object(), r"a object can't be shown; expected a picture"),
        ([], r"a list can't be shown"),
    ],
)
def test_refused(value: Any, message: str) -> None:
    """What is none, or could be two things."""
    with pytest.raises(UsageError, match=message):
        picture_of(value, set())


def test_values_out_of_range() -> None:
    """Are cut, which is told."""
    notes: set[str] = set()
    value = torch.tensor([[-1.0, 2.0], [torch.nan, 0.2]])
    assert np.asarray(picture_of(value, notes)).tolist() == [[0, 255], [0, 51]]
    assert notes == {
        "values that are not finite are black",
        "values of -1 to 2 are cut to [0, 1]",
    }


class Stepping(nn.Module):
    """A plain network that shows what each batch begins with."""

    def __init__(self, shown: Any = None) -> None:
        super().__init__()
        self.layer, self.shown = nn.Linear(1, 1), shown

    def forward(self, x: Tensor) -> Tensor:
        """One number."""
        found: Tensor = self.layer(x)
        return found

    def step(self, batch: Any, stage: str) -> Any:
        """Shows a text, or what it was given."""
        x, y = batch
        text = f"{stage} {x[0].item():g}"
        show("first", text)
        show("at/times", text, every=2)
        for name, value in (self.shown or {}).items():
            show(name, value)
        output = self(x)
        return {"loss": (output - y).square().mean(), "output": output, "target": y}


class Numbers(torch.utils.data.TensorDataset):
    """Twelve train, four validate, four test."""

    def __init__(self, split: str = "train") -> None:
        first, last = {"train": (0, 12), "val": (12, 16), "test": (16, 20)}[split]
        x = torch.arange(float(first), last)[:, None]
        super().__init__(x / 16, x / 16)


def fit(folder: Path | None, shown: Any = None, module: Any = None, **options: Any) -> pl.Trainer:
    """Trains three steps an epoch, and tests; each validation and test has two batches."""
    silent: dict[str, Any] = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }
    silent |= {"callbacks": [Shown(None, folder)], "max_epochs": 2, "accelerator": "cpu"}
    trainer = pl.Trainer(**{**silent, "enable_checkpointing": False, **options})
    module = module or MInterface(Stepping(shown), loss="mse", task="regression")
    data = DInterface(Numbers, batch_size=4)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    return trainer


def kept(folder: Path) -> dict[str, str]:
    """The texts in a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {f.relative_to(folder).as_posix(): f.read_text() for f in files}


def test_places(tmp_path: Path) -> None:
    """By step: in training each, of validation and test the first batch; not the sanity check."""
    fit(tmp_path)
    found = kept(tmp_path / "shown")
    assert {n for n in found if n.startswith("first")} == {
        *(f"first/{step}.txt" for step in range(6)),
        *("first/3-val.txt", "first/6-val.txt", "first/test.txt"),
    }
    assert {n for n in found if n.startswith("at")} == {
        *(f"at/times/{step}.txt" for step in (0, 2, 4)),
        *("at/times/3-val.txt", "at/times/6-val.txt", "at/times/test.txt"),
    }
    assert found["first/test.txt"] == "test 1" and found["first/3-val.txt"] == "val 0.75"
    assert all(text.startswith("train") for name, text in found.items() if name[-5].isdigit())


def test_a_histogram(tmp_path: Path) -> None:
    """64 bins of as much; the last number is in the last one."""
    fit(tmp_path, {"h": torch.tensor([0.0, 0, 32, 64, torch.nan])}, max_steps=1)
    [header, *rows] = csv.reader((tmp_path / "shown/h/0.csv").read_text().splitlines())
    assert header == ["from", "to", "count"] and len(rows) == 64
    counted = {row[0]: (row[1], row[2]) for row in rows if row[2] != "0"}
    assert counted == {"0.0": ("1.0", "2"), "32.0": ("33.0", "1"), "63.0": ("64.0", "1")}


def test_nothing_leaves_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names that would are told, once."""
    names = ["../out", "/abs", "a/../../b", "", "a//b", ".", "a\\b"]
    before = {*tmp_path.rglob("*")}
    fit(tmp_path / "run", dict.fromkeys(names, "text") | {"no.suffix/ä b": "text"})
    told = [line for line in capsys.readouterr().out.splitlines() if "is not shown" in line]
    assert len(told) == len(names) and all("names with slashes" in line for line in told)
    found = {*tmp_path.rglob("*")} - before
    assert all(file.is_relative_to(tmp_path / "run") for file in found)
    assert {n.partition("/")[0] for n in kept(tmp_path / "run/shown")} == {
        *("first", "at", "no.suffix")
    }


class Broken(TensorBoardLogger):
    """One whose service is down."""

    @property
    def experiment(self) -> Any:
        """Lets scalars pass."""
        return SimpleNamespace(
            add_scalar=lambda *a: None, flush=lambda: None, close=lambda: None, add_hparams=print
        )

    def log_hyperparams(self, *args: Any, **named: Any) -> None:
        """Nothing."""


def test_what_fails_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A logger, a folder and a value, each told once; the others have it all the same."""
    (tmp_path / "shown").write_text("in the way")
    good = TensorBoardLogger(tmp_path / "tb", "", "")
    bad = Broken(tmp_path / "broken", "", "")
    values = {"h": torch.ones(3), "x": torch.ones(5, 4, 4), "y": torch.tensor(1.0)}
    fit(tmp_path, values, logger=[bad, good], log_every_n_steps=1)
    told = capsys.readouterr().out.splitlines()
    assert sum("'h' is not shown in the run's folder: " in line for line in told) == 1
    assert sum("'h' is not shown by Broken: AttributeError: " in line for line in told) == 1
    assert sum(line.startswith("'x' is not shown: its shape ends in") for line in told) == 1
    assert (
        sum("'y' is not shown: it is a single number; type self.log" in line for line in told) == 1
    )
    events = EventAccumulator(str(tmp_path / "tb"), EVERY).Reload()
    assert [event.step for event in events.Histograms("h")] == [*range(6)]


def test_nothing_is_drawn_from_the_run_s_randomness(tmp_path: Path) -> None:
    """No state changes."""
    logger = TensorBoardLogger(tmp_path, "", "")
    trainer = fit(tmp_path, logger=logger, max_steps=1)
    from matplotlib.figure import Figure

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    for name, value in {"a": torch.rand(2, 3, 4, 4, generator=torch.Generator())}.items():
        show(name, value, trainer=trainer, place="now")
    show("b", Figure(), trainer=trainer)
    show("c", torch.ones(3), trainer=trainer)
    show("d", "text", trainer=trainer)
    assert len([*tmp_path.glob("shown/[abcd]/*")]) == 4
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


class Plain(pl.LightningModule):
    """One of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Shows by the function."""
        show("batch", f"{batch_idx}")
        loss: Tensor = self.layer(batch[0]).square().mean()
        return loss

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """The same."""
        show("batch", f"{batch_idx}")

    def configure_optimizers(self) -> Any:
        """Any."""
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")
def test_a_plain_lightning_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shows by the function; outside of a run nothing goes on, which is told."""
    fit(tmp_path, module=Plain())
    assert kept(tmp_path / "shown") == {
        **{f"batch/{step}.txt": str(step % 3) for step in range(6)},
        "batch/test.txt": "0",
    }
    monkeypatch.setattr("core.runs.shown._working", [])
    show("batch", "text")
    assert "'batch' is not shown: no run is going on" in capsys.readouterr().out


def results(task: str, outputs: Any, targets: Any, **more: Any) -> Results:
    """Those of a network."""
    loss = more.pop("loss", nn.CrossEntropyLoss())
    scores = SimpleNamespace(of={"test": {"": SimpleNamespace(task=task)}})
    model = SimpleNamespace(scores=scores, loss=loss, named=Named(None, None, {}))
    found = {"output": outputs, "target": targets, "score": [None] * len(outputs), "names": None}
    return Results(model, None, "", found | {"scored_by": None} | more)


def logits(*shares: list[float]) -> list[Tensor]:
    """Of these probabilities."""
    return [torch.tensor(share).log() for share in shares]


OF_FOUR = logits([0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.5, 0.1, 0.4])
TRUE = [*torch.tensor([0, 1, 1, 2])]


def test_confusion() -> None:
    """Counts by row (true) and column (predicted); labels that are ignored are left out."""
    outputs, targets = [*OF_FOUR, OF_FOUR[0]], [*TRUE, torch.tensor(-100)]
    figure = figures.confusion(results("classification", outputs, targets), 0)
    axes = figure.axes[0]
    counted = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert counted == {(0, 0): "1", (1, 1): "1", (1, 0): "1", (2, 0): "1"}
    assert axes.get_ylabel() == "true class" and axes.get_xlabel() == "predicted class"
    assert axes.images[0].get_array().tolist() == [[1, 0, 0], [0.5, 0.5, 0], [1, 0, 0]]


def test_confusion_of_two() -> None:
    """One logit, or one probability."""
    for outputs, loss in (
        (torch.tensor([[3.0], [-1.0], [2.0]]), nn.BCEWithLogitsLoss()),
        (torch.tensor([[0.9], [0.2], [0.8]]), nn.BCELoss()),
    ):
        found = results("binary", [*outputs], [*torch.tensor([[1.0], [0.0], [0.0]])], loss=loss)
        assert found.labels().truth.tolist() == [1, 0, 0]
        assert found.labels().shares.argmax(1).tolist() == [1, 0, 1]


def test_most_wrong() -> None:
    """Those first whose class is given least; without pictures as a text."""
    assert most_wrong(results("classification", OF_FOUR[:2], TRUE[:2]), 9) is None
    found = results("classification", OF_FOUR, TRUE, names=["a", "b", "dir/c.png", "d"])
    assert most_wrong(found, 9) == "c.png: true 1: predicted 0, 0.60\nd: true 2: predicted 0, 0.50"
    assert most_wrong(found, 1) == "c.png: true 1: predicted 0, 0.60"
    of_shares = results("classification", [v.exp() for v in OF_FOUR], TRUE, loss=ProbabilityLoss())
    assert most_wrong(of_shares, 1) == "#2: true 1: predicted 0, 0.60"


def test_predicted() -> None:
    """A point a sample; RMSE sqrt((0 + 1 + 4) / 3) = 1.29."""
    outputs, targets = [*torch.tensor([[1.0], [3], [2]])], [*torch.tensor([[1.0], [2], [4]])]
    figure = figures.predicted(results("regression", outputs, targets), 0)
    [axes] = figure.axes
    assert axes.collections[0].get_offsets().tolist() == [[1, 1], [2, 3], [4, 2]]  # true, predicted
    assert axes.get_title() == "RMSE 1.29, n = 3"
    wide = results("regression", [*torch.rand(3, 2)], [*torch.rand(3, 2)])
    assert len(figures.predicted(wide, 0).axes) == 2


def test_by_label() -> None:
    """Of label 0 one of two found is right, and all there are found; of label 1 none is found."""
    outputs, targets = torch.tensor([[1.0, -1], [1, -1]]), torch.tensor([[1.0, 1], [0, 0]])
    loss = nn.BCEWithLogitsLoss()
    figure = figures.by_label(results("multilabel", [*outputs], [*targets], loss=loss), 0)
    lines = {line.get_label(): line.get_xdata().tolist() for line in figure.axes[0].lines}
    assert lines == {"precision": [0.5, 0], "recall": [1, 0]}


def test_side_by_side() -> None:
    """From the best to the worst: target and output; labels in colours, and white where ignored."""
    best, worst = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4)
    best[1], worst[0] = 1, 1  # classes 1 and 0
    targets = [torch.ones(4, 4).long(), torch.ones(4, 4).long()]
    targets[1][0, 0] = -100
    found = results("segmentation", [worst, best], targets, score=[0.2, 0.9], scored_by="IoU")
    picture = np.asarray(side_by_side(found, 6))
    blue, step = [0x44, 0x77, 0xAA], 192 + 10 + 17
    assert picture[20, 20].tolist() == [255] * 3 and picture[100, 20].tolist() == blue
    assert picture[20, 300].tolist() == blue
    assert picture[step + 20, 20].tolist() == blue and picture[step + 20, 300].tolist() == [0] * 3
    images = results("image", [torch.ones(1, 4, 4)], [torch.tensor([[[-1.0, 1]] * 2])])
    picture = np.asarray(side_by_side(images, 6))  # in the range of the target, -1 to 1
    assert picture[20, 20].tolist() == [0] * 3 and picture[20, 150].tolist() == [255] * 3


def test_of_the_last_test() -> None:
    """As of a fold, which is tested after a test part of the dataset's own."""
    module = MInterface(Stepping(), loss="mse", task="regression")
    trainer = fit(None, module=module)
    data = trainer.datamodule  # type: ignore[attr-defined]
    trainer.test(module, data, verbose=False)
    assert len(core_outputs.tested(module, data)[""]["output"]) == 4


def test_grid_has_room_for_its_captions() -> None:
    """As wide as the longest line."""
    squares = [Image.new("L", (10, 10))] * 2
    assert grid(squares).size == (2 * 62 + 2, 64)
    wide = grid(squares, 2, ["a long caption\nof lines", "b"])
    assert wide.width > 180 and wide.height == 60 + 2 * 10 + 2 * 17


def test_curves(tmp_path: Path) -> None:
    """By metric and stage, without the test."""
    file = tmp_path / "metrics.csv"
    assert figures.curves(file) is None
    rows = ["epoch,lr-AdamW,step,test_acc,train_loss,train_loss_step,val_acc,val_loss"]
    rows += [",0.1,9,,,2.5,,", "0,,19,,2.0,,0.5,1.5", "1,,39,,1.0,,0.75,1.25", ",,39,0.5,,,,"]
    file.write_text("\n".join(rows) + "\n")
    loss = {"train": [(19, 2.0), (39, 1.0)], "val": [(19, 1.5), (39, 1.25)]}
    assert read_curves(file) == {
        "loss": loss | {"train, each step": [(9, 2.5)]},
        "acc": {"val": [(19, 0.5), (39, 0.75)]},
        "lr-AdamW": {"": [(9, 0.1)]},
    }
    axes = figures.curves(file).axes
    assert [one.get_ylabel() for one in axes] == ["loss", "acc", "lr-AdamW"]
    assert {line.get_label() for line in axes[0].lines} == {"train", "train, each step", "val"}


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told what to type, where there is something to draw."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    fit(tmp_path, callbacks=[Shown(None, tmp_path), Figures(tmp_path)])
    told = [line for line in capsys.readouterr().out.splitlines() if "drawn" in line]
    assert told == [
        "predicted can't be drawn without matplotlib.figure; type uv sync --extra studies"
    ]


SHOWER = """
import torch
from torch import nn
from core.runs.shown import show
from model.mlp import MLP


class Shower(MLP):
    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__([1, 8, 8], 10)
        self.loss = nn.CrossEntropyLoss()

    def step(self, batch, stage):
        x, y = batch
        show("pictures/first", x[:4], every=5)
        show("logits", self(x).detach().flatten(), every=5)
        show("labels", str(y[:4].tolist()), every=5)
        output = self(x)
        return {"loss": self.loss(output, y), "output": output, "target": y}
"""


@pytest.fixture(scope="module")
def project(bake: Bake) -> Project:
    """With a network that shows."""
    folder = bake()
    (folder / "model/shower.py").write_text(SHOWER)
    return Project(folder)


def files(folder: Path) -> dict[str, bytes]:
    """All that a run has shown."""
    found = [file for file in (folder / "shown").rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


@pytest.mark.slow
class TestRuns:
    """On the command line."""

    def test_every_logger(self, project: Project) -> None:
        """What it has written is read back."""
        loggers = ["tensorboard", "csv", "wandb", "mlflow"]
        with contextlib.suppress(ModuleNotFoundError):
            import comet_ml  # type: ignore[import-not-found,unused-ignore] # noqa: F401

            loggers += ["comet"]
        words = ("--loggers", json.dumps(loggers), "--task", "classification", "--name", "logged")
        shown = project.run(*QUICK, *words, python=(), WANDB_MODE="offline")
        folder = project.of("logged")
        assert "is not shown" not in shown and "can't be drawn" not in shown, shown
        picture = np.asarray(Image.open(folder / "shown/pictures/first/5.png"))
        assert picture.shape == (134, 134, 3)
        steps = [0, 5, 10, 15, 20, 25, 30, 35]
        names = ("curves/fit", "confusion/test", "most_wrong/test", "pictures/first/20-val")
        assert {f"shown/{n}.png" for n in names} < files(folder).keys()
        assert {f"shown/labels/{step}.txt" for step in steps} < files(folder).keys()

        events = EventAccumulator(str(folder), EVERY).Reload()
        found = {event.step: event for event in events.Images("pictures/first")}
        assert [*found] == steps and found[5].width == 134
        assert [e.step for e in events.Images("pictures/first/val")] == [20, 40]
        assert [e.step for e in events.Histograms("logits")] == steps
        label = files(folder)["shown/labels/5.txt"]
        texts = {
            e.step: e.tensor_proto.string_val[0] for e in events.Tensors("labels/text_summary")
        }
        assert texts[5] == label
        assert len(events.Images("confusion/test")) == len(events.Images("curves/fit")) == 1

        [media] = folder.glob("wandb/offline-run-*/files/media")
        images = [*media.glob("images/pictures/first_*.png")]
        assert len(images) == len(steps)
        assert any(np.array_equal(np.asarray(Image.open(file)), picture) for file in images)
        assert [*media.glob("images/confusion/test_*.png")] and [*media.glob("table/labels_*.json")]
        [log] = media.parents[1].glob("run-*.wandb")
        assert b"packedBins" in log.read_bytes() or b"histogram" in log.read_bytes()

        [first] = folder.glob("mlflow/*/artifacts/pictures/first/5.png")
        assert np.array_equal(np.asarray(Image.open(first)), picture)
        assert (first.parents[2] / "labels/5.txt").read_bytes() == label
        assert (first.parents[2] / "logits/5.csv").read_bytes() == files(folder)[
            "shown/logits/5.csv"
        ]
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
            [(place,)] = database.execute("select artifact_uri from runs").fetchall()
        assert place == first.parents[2].as_uri()
        assert not (project.folder / "mlruns").exists()

        if "comet" not in loggers:
            pytest.skip("comet_ml is not installed")
        [archive] = folder.glob("comet/*.zip")
        with zipfile.ZipFile(archive) as held:
            lines = [json.loads(line) for line in held.read("messages.json").splitlines()]
            told = [line["payload"] for line in lines]
            losses = {
                p["metric"]["step"]: p["metric"]["metricValue"]
                for p in told
                if p.get("metric", {}).get("metricName") == "val_loss"
            }
            sent = {
                (p["additional_params"].get("figName"), p["additional_params"].get("step")): p
                for p in told
                if "additional_params" in p
            }
            with held.open(sent["pictures/first", 5]["file_path"]) as file:
                assert np.array_equal(np.asarray(Image.open(file)), picture)
        with (folder / "metrics.csv").open(newline="") as rows:
            logged = {int(r["step"]): r["val_loss"] for r in csv.DictReader(rows) if r["val_loss"]}
        assert losses == pytest.approx({step: float(v) for step, v in logged.items()})
        assert ("confusion/test", 40) in sent

    def test_two_processes_show_once(self, project: Project) -> None:
        """What the first has; drawn are the samples of both."""
        words = (*QUICK, "--batch_size", "16", "--name", "two", "--task", "classification")
        shown = project.run(*words, "--accelerator", "cpu", "--devices", "2", "--strategy", "ddp")
        assert "is not shown" not in shown and "can't be drawn" not in shown, shown
        events = EventAccumulator(str(project.of("two")), EVERY).Reload()
        steps = [event.step for event in events.Images("pictures/first")]
        assert steps == [*range(0, steps[-1] + 1, 5)] and len(steps) > 5
        assert len(events.Images("confusion/test")) == 1
        assert "shown/confusion/test.png" in files(project.of("two"))

    def test_killed(self, project: Project) -> None:
        """A run that goes on has shown the same."""
        words = (*QUICK, "--max_epochs", "8", "--checkpoint_every_n_steps", "7")
        project.run(*words, "--name", "whole")
        process = project.start(*words, "--name", "cut")
        until(process, (project.of("cut") / "shown/labels/45.txt").exists)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
        project.run("--resume", "cut")
        whole, cut = (files(project.of(name)) for name in ("whole", "cut"))
        assert whole.keys() == cut.keys() and len(whole) > 3 * 32
        assert not [name for name in whole if whole[name] != cut[name]]

    def test_of_other_weights_beside(self, project: Project) -> None:
        """What is tested again has a name of its own."""
        project.run(
            *QUICK, "--task", "classification", "--name", "again", "--figures.num_samples", "4"
        )
        shutil.rmtree(project.of("again") / "shown")
        project.run("test", "again", "--ckpt", "last", "--enable_progress_bar", "false")
        assert "shown/confusion/test-last.png" in files(project.of("again"))
