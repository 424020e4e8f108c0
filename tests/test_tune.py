"""`tune`: what it measures and suggests, what it refuses, and that it leaves nothing."""

import csv
import math
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from core.cli.project_file import ProjectFile
from core.errors import RunError, UsageError
from core.runs.lr_curve import suggest
from core.train.tuning import Ramp, Stopwatch, search, smallest, valley
from main import run

from .command import Project
from .conftest import TEMPLATE, files

RATES = np.geomspace(1e-7, 10, 161).tolist()  # 20 a decade
X = np.log10(RATES)


class TestValley:
    """Over the logarithm of the rate; a Gaussian of variance 1/9 smooths."""

    def test_of_a_cubic(self) -> None:
        """Of x^3 - 3x the smoothed curve is x^3 + x/3 - 3x: steepest at 0, lowest at sqrt(8/9)."""
        x = X + 3
        losses = np.where((x > -1) & (x < 2), x**3 - 3 * x, 2)
        found = valley(RATES, losses.tolist())
        assert found.steepest == pytest.approx(1e-3)
        assert math.log10(found.lowest) + 3 == pytest.approx(math.sqrt(8 / 9), abs=1 / 20)
        assert math.log10(found.middle) + 3 == pytest.approx(math.sqrt(8 / 9) / 2, abs=1 / 40)
        assert found.is_clear

    def test_of_a_quadratic(self) -> None:
        """Of x^2 the smoothed curve is x^2 + 1/9, away from the ends."""
        x = X + 3
        found = valley(RATES, (x**2).tolist())
        assert found.smoothed[40:-40] == pytest.approx((x**2 + 1 / 9)[40:-40], abs=1e-3)
        assert found.lowest == pytest.approx(1e-3)

    def test_a_fall_after_the_minimum_does_not_count(self) -> None:
        losses = np.where(X < -4, 2.0, np.where(X < -1, 1.0, np.where(X < 0, 9.0, 1.5)))
        found = valley(RATES, losses.tolist())
        assert math.log10(found.steepest) == pytest.approx(-4, abs=0.1)

    def test_the_slope_is_over_the_logarithm(self) -> None:
        """By the rate itself the steepest place of this curve would be at the first noise."""
        noise = 0.2 * np.random.default_rng(0).standard_normal(161)
        losses = (2 - 1.5 / (1 + np.exp(-3 * (X + 3))) + noise)[:140]
        by_rate = RATES[int(np.gradient(losses, RATES[:140]).argmin())]
        assert by_rate < 1e-6
        assert math.log10(valley(RATES[:140], losses.tolist()).steepest) == pytest.approx(
            -3, abs=0.5
        )

    def test_nothing_falls(self) -> None:
        noise = np.random.default_rng(1).standard_normal(161)
        for losses in (noise, np.ones(161), X, 2 + noise - 0.05 * X):
            assert not valley(RATES, losses.tolist()).is_clear


class Falls(pl.LightningModule):
    """The loss is x w², over batches of one x; each group has a w of its own."""

    def __init__(self, schedule: Any = None, optimizers: int = 1, lr: float = 0.5) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))
        self.schedule, self.count, self.lr = schedule, optimizers, lr
        self.seen: list[list[float]] = []  # the rates of each step

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return (batch[0] * (self.w**2 + self.v**2)).mean()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.seen.append([group["lr"] for group in optimizer.param_groups])

    def configure_optimizers(self) -> Any:
        groups: list[dict[str, Any]] = [{"params": [self.w]}]
        groups += [{"params": [self.v], "lr": self.lr / 10}]
        found = [torch.optim.SGD(groups, self.lr) for _ in range(self.count)]
        if self.schedule:
            return found, [{"scheduler": self.schedule(found[0]), "interval": "step"}]
        return found


def one_cycle(optimizer: Any) -> Any:
    rates = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=50)


def train(model: pl.LightningModule, callback: pl.Callback, x: Sequence[float], **more: Any) -> Any:
    settings: dict[str, Any] = {"max_epochs": -1, "max_steps": 1000, "accelerator": "cpu"}
    settings |= {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {"enable_model_summary": False, "callbacks": [callback]}
    trainer = pl.Trainer(**settings | more)
    trainer.fit(model, DataLoader(TensorDataset(torch.tensor(x))))
    return trainer


class TestRamp:
    """The rates that are set, and the losses that are kept."""

    @pytest.mark.parametrize("schedule", [None, one_cycle])
    def test_groups_keep_their_ratio(self, schedule: Any) -> None:
        model, rates = Falls(schedule), [1e-3, 1e-2, 1e-1, 0.2]
        train(model, Ramp(rates, lr=0.5), [1.0] * 3)  # more steps than batches
        assert model.seen == [pytest.approx([rate, rate / 10]) for rate in rates]

    def test_losses_by_hand(self) -> None:
        rates, x = [1e-3, 1e-2, 1e-1], [1.0, 2.0, 4.0, 6.0, 1.0, 1.0]
        ramp = Ramp(rates, lr=0.5)
        train(Falls(), ramp, x, accumulate_grad_batches=2)
        w, v, expected = 1.0, 1.0, []
        for rate, mean in zip(rates, [1.5, 5.0, 1.0], strict=True):
            expected.append(mean * (w**2 + v**2))
            w, v = w - rate * 2 * mean * w, v - rate / 10 * 2 * mean * v
        assert ramp.losses == pytest.approx(expected)

    def test_it_ends_when_the_loss_diverges(self) -> None:
        rates = np.geomspace(1e-3, 1e3, 61).tolist()
        ramp = Ramp(rates, lr=0.5)
        train(Falls(), ramp, [1.0] * 8)
        diverging = next(n for n, rate in enumerate(rates) if rate > 1)  # where |1 - 2 rate| > 1
        assert diverging < len(ramp.losses) < diverging + 15
        assert ramp.losses[-1] > 4 * ramp.best

    def test_it_ends_when_the_data_does(self) -> None:
        class Once(IterableDataset[Any]):
            items = iter([torch.ones(1)] * 3)

            def __iter__(self) -> Any:
                return self.items

        ramp = Ramp([1e-3] * 20, lr=0.5)
        trainer = pl.Trainer(
            max_epochs=-1, max_steps=1000, accelerator="cpu", logger=False, callbacks=[ramp],
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Falls(), DataLoader(Once(), batch_size=None))
        assert len(ramp.losses) == 3

    def test_several_optimizers(self) -> None:
        model = Falls(optimizers=2)
        model.automatic_optimization = False
        with pytest.raises(UsageError, match="Falls steps its optimizers by itself"):
            train(model, Ramp([1e-3], lr=0.5), [1.0])


class TestBatchSize:
    """The table, the place where it ends, and what is picked."""

    @pytest.mark.parametrize(
        ("speeds", "expected"),
        [
            ({2: 10, 4: 95.9, 8: 100, 16: 101}, 8),
            ({2: 10, 4: 96, 8: 100, 16: 101}, 4),
            ({2: 95, 4: 100}, 2),
            ({2: 100, 4: 50, 8: 94}, 2),
            ({2: 7}, 2),
        ],
    )
    def test_within_five_per_cent(self, speeds: dict[int, float], expected: int) -> None:
        assert smallest(speeds) == expected

    @staticmethod
    def measured(speeds: dict[int, float], scatter: float = 0.0) -> Any:
        """Gives for each size a watch that took such times; memory ends where the table does."""

        def measure(size: int) -> Stopwatch | None:
            if size not in speeds:
                return None
            watch = Stopwatch(9)
            watch.speeds = [speeds[size] / size] * 9
            watch.times = [(1 + scatter * n) / s for n, s in enumerate(watch.speeds)]
            return watch

        return measure

    def test_memory_ends_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        table = {2: 200.0, 4: 400.0, 8: 800.0, 16: 820.0}
        assert search(self.measured(table), None) == 8
        shown = capsys.readouterr().out
        assert "a batch of 32 does not fit in memory" in shown and "scatter" not in shown
        assert re.search(r"^ +8 +800 +10\.0 +0$", shown, re.MULTILINE)

    def test_the_data_ends_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        table = {2**n: 2.0**n for n in range(1, 10)}
        assert search(self.measured(table), 100) == 64
        assert "the training part has 100 samples" in capsys.readouterr().out

    def test_it_ends_where_it_no_longer_pays(self, capsys: pytest.CaptureFixture[str]) -> None:
        table = dict.fromkeys((2**n for n in range(3, 20)), 100.0) | {2: 30.0, 4: 60.0}
        assert search(self.measured(table), None) == 8
        assert "three in a row were no faster" in capsys.readouterr().out

    def test_scatter_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        search(self.measured({2: 10.0, 4: 20.0}, scatter=0.5), None)
        assert "the times scatter" in capsys.readouterr().out

    @pytest.mark.parametrize(("table", "samples"), [({}, None), ({2: 1.0}, 1)])
    def test_nothing_to_pick(self, table: dict[int, float], samples: int | None) -> None:
        with pytest.raises(RunError, match="no batch size to choose"):
            search(self.measured(table), samples)

    def test_steps_are_timed(self) -> None:
        """Three warm up, two batches are a step; the last of an epoch does not wait for its end."""
        watch = Stopwatch(6)
        trainer = train(Falls(), watch, [1.0] * 4, accumulate_grad_batches=2)
        assert trainer.global_step == 9 and len(watch.times) == 6
        assert watch.speeds == pytest.approx([2 / seconds for seconds in watch.times])
        assert min(watch.times) > 0 and watch.memory > 2**20


CONFIG = """\
# What this is about
dataset: digits   # the data
data:
    augment: true
    root: 'a  b'

model_name: "mlp"
lr: 1e-3  # as in the paper
callbacks:
  - early_stopping
  - {class_path: Timer, init_args: {duration: "00:00:01:00"}}
hidden: [1, 2,
  3]
# The end
"""


class TestProjectFile:
    """One line changes."""

    def test_a_value(self, tmp_path: Path) -> None:
        file = tmp_path / "config.yaml"
        file.write_text(CONFIG.replace(", 2,\n  3]", ", 2, 3]").replace("    ", "  "))
        file.chmod(0o640)
        before = file.read_text().splitlines()
        ProjectFile(file).set("lr", 0.0044)
        after = file.read_text().splitlines()
        changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert changed == [("lr: 1e-3  # as in the paper", "lr: 0.0044 # as in the paper")] or (
            changed == [("lr: 1e-3  # as in the paper", "lr: 0.0044  # as in the paper")]
        )
        assert file.stat().st_mode & 0o777 == 0o640 and files(tmp_path) == {"config.yaml"}

    @pytest.mark.parametrize(
        ("text", "key", "expected"),
        [
            ("", "lr", "lr: 0.5\n"),
            ("a: 1 # one\n", "lr", "a: 1 # one\nlr: 0.5\n"),
            ("a: 1\n", "model.lr", "a: 1\nmodel:\n  lr: 0.5\n"),
            ("model:\n", "model.lr", "model:\n  lr: 0.5\n"),
            ("model:\n  b: 1 # x\nc: 2\n", "model.lr", "model:\n  b: 1 # x\n  lr: 0.5\nc: 2\n"),
            ("model.lr: 1\n", "model.lr", "model.lr: 0.5\n"),
            ("---\nlr: 1\n", "lr", "---\nlr: 0.5\n"),
        ],
    )
    def test_a_key(self, tmp_path: Path, text: str, key: str, expected: str) -> None:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        ProjectFile(file).set(key, 0.5)
        assert file.read_text() == expected

    def test_a_link_stays_one(self, tmp_path: Path) -> None:
        (tmp_path / "real.yaml").write_text("lr: 1\n")
        (tmp_path / "config.yaml").symlink_to("real.yaml")
        ProjectFile(tmp_path / "config.yaml").set("lr", 2.0)
        assert (tmp_path / "config.yaml").is_symlink()
        assert (tmp_path / "real.yaml").read_text() == "lr: 2.0\n"


class TestWithoutTheExtra:
    """What needs it says so."""

    def test_nothing_is_trained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
        monkeypatch.setattr("commands.tune.build", lambda *a, **b: pytest.fail("begins"))
        words = ["tune", "--find", "lr", "--model_name", "mlp", "--write", "true"]
        expected = "ruamel.yaml is not installed; type uv sync --extra studies"
        with pytest.raises(UsageError, match=expected):
            run(words)

    def test_the_curve_is_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        ramp = Ramp(RATES, lr=1.0)
        ramp.losses = [*(2 - 1.5 / (1 + np.exp(-3 * (X + 3)))), math.nan]
        assert suggest(ramp, tmp_path / "a/b") > 1e-3
        assert files(tmp_path) == {"a/b/lr.csv"}
        expected = "a picture of it needs matplotlib; type uv sync --extra studies"
        assert expected in capsys.readouterr().out

    def test_a_curve_that_cannot_be_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What was found is told before."""
        ramp = Ramp(RATES, lr=1.0)
        ramp.losses = [*(2 - 1.5 / (1 + np.exp(-3 * (X + 3))))]
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match=r"can't write the curve to .*: Not a directory"):
            suggest(ramp, tmp_path / "file/a")
        assert "the loss falls most steeply at 0.001," in capsys.readouterr().out


OWN = """
import torch
from torch import nn
import pytorch_lightning as pl


class Own(pl.LightningModule):
    def __init__(self, lr: float = 1e-3):
        super().__init__()
        self.lr, self.net = lr, nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)


class Two(Own):
    def __init__(self, lr: float = 1e-3):
        super().__init__(lr)
        self.automatic_optimization = False

    def configure_optimizers(self):
        return [torch.optim.Adam(self.parameters(), self.lr) for _ in range(2)]


class Fixed(Own):
    def __init__(self):
        super().__init__(1e-3)
"""
LOADERS = """
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Loaders(pl.LightningDataModule):
    num_classes, input_size = 2, 4

    def setup(self, stage):
        assert stage in ("fit", "validate", "test", "predict"), stage
        self.set = TensorDataset(torch.randn(64, 4), torch.randint(2, (64,)))

    def train_dataloader(self):
        return DataLoader(self.set, 8)

    def val_dataloader(self):
        return DataLoader(self.set, 8)
"""
FIRST_TUNE = """
from main import run
run(["tune", "--find", "lr", "--model_name", "mlp", "--dropout", "0.2", "--steps", "20"])
run(["--model_name", "mlp", "--dropout", "0.2", "--max_epochs", "1", "--name", "after"])
"""


@pytest.mark.slow
class TestCommand:
    """As typed."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Project:
        folder = shutil.copytree(TEMPLATE, tmp_path / "project")
        (folder / "model/own.py").write_text(OWN)
        (folder / "data/loaders.py").write_text(LOADERS)
        return Project(folder)

    def test_lr(self, project: Project) -> None:
        """The suggestion is that of the curve, and a function of the seed; no run is left."""
        before = files(project.folder)
        words = ("tune", "--find", "lr", "--model_name", "mlp")
        shown = [project.run(*words, "--seed", seed) for seed in (0, 0, 1)]
        found = [float(re.findall(r"type --lr (\S+)", text)[0]) for text in shown]
        assert found[0] == found[1] != found[2]
        place = "runs/tune/digits-mlp"
        assert files(project.folder) - before == {f"{place}/lr.csv", f"{place}/lr.png"}
        assert (project.folder / place / "lr.png").read_bytes()[:4] == b"\x89PNG"
        with (project.folder / place / "lr.csv").open(newline="") as file:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        curve = valley([row["lr"] for row in rows], [row["loss"] for row in rows])
        assert found[2] == float(f"{curve.middle:.2g}")
        assert [row["smoothed"] for row in rows] == pytest.approx(curve.smoothed)
        assert rows[0]["loss"] == pytest.approx(math.log(10), abs=0.3) and 1e-3 < found[0] < 2e-2
        assert "there is no run" in project.run("test", code=2)

    def test_no_later_run_changes(self, project: Project) -> None:
        project.run("x", python=("-c", FIRST_TUNE))
        project.run("--model_name", "mlp", "--dropout", "0.2", "--max_epochs", "1")
        last = [project.of(name) / "checkpoints/last.ckpt" for name in ("after", "digits-mlp")]
        first, second = (torch.load(file, weights_only=True)["state_dict"] for file in last)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_batch_size_is_written(self, project: Project) -> None:
        config = project.folder / "config.yaml"
        before = config.read_text()
        words = ("--find", "batch_size", "--model_name", "mlp", "--steps", "10", "--write", "true")
        shown = project.run("tune", *words)
        found = int(re.findall(r"type --batch_size (\d+)", shown)[0])
        rows = re.findall(r"^ +(\d+) +(\d+) +([\d.]+) +(\d+)$", shown, re.MULTILINE)
        speeds = {int(size): float(speed) for size, speed, _, _ in rows}
        assert [*speeds] == [2**n for n in range(1, len(speeds) + 1)] and len(speeds) > 3
        shares = {size: speed / max(speeds.values()) for size, speed in speeds.items()}
        assert shares[found] > 0.94  # as far as they are printed
        assert all(share < 0.96 for size, share in shares.items() if size < found)
        for size, speed, time, memory in rows:
            assert float(speed) == pytest.approx(int(size) / float(time) * 1000, rel=0.3)
            assert 100 < int(memory) < 1e5
        assert config.read_text() == before.replace("batch_size: 64", f"batch_size: {found}")
        assert not (project.folder / "runs").exists()

    def test_a_module_of_ones_own(self, project: Project) -> None:
        """It has its own option, which belongs to it alone; its data may have its own loaders."""
        words = ("tune", "--find", "lr", "--model_name", "own")
        found = re.findall(r"type --model.lr (\S+)", project.run(*words))[0]
        shown = project.run(*words, "--write", "true", code=2)
        assert shown.endswith("model.lr needs model_name: own in config.yaml\n")
        config = project.folder / "config.yaml"
        text = config.read_text().replace("model_name: resnet\nlr: 1e-3", "model_name: own")
        config.write_text(text)
        project.run(*words, "--write", "true")
        assert config.read_text() == f"{text}model:\n  lr: {float(found)}\n"
        chosen = ("--dataset", "loaders", "--model_name", "mlp")
        shown = project.run("tune", "--find", "batch_size", *chosen, code=2)
        assert "the loaders are those of the data itself" in shown.splitlines()[-1]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("", "tune needs find; see python main.py tune --help"),
            ("--find size", "--find size: expected one of 'lr', 'batch_size', got 'size'"),
            ("--find lr --steps 3", "--steps 3 .*: expected 10 steps or more"),
            ("--find lr --min_lr 1 --max_lr 1", ".*0 < min_lr < max_lr"),
            ("--find lr --fast_dev_run true", ".*no --fast_dev_run"),
            ("--find lr --lr 0", "--lr 0.0: expected more than 0"),
            ("--find lr --model_name own:Fixed", "--find lr: Fixed takes no lr"),
            ("--find lr --model_name own:Two", "--find lr: Two steps its optimizers by itself"),
            ("--find lr --init_from other", "there is no run other"),
        ],
    )
    def test_bad_input(self, project: Project, words: str, told: str) -> None:
        shown = project.run("tune", *words.split(), code=2)
        assert re.match(f"error: {told}", shown.splitlines()[-1]) and "Traceback" not in shown
        assert not (project.folder / "runs").exists()

    @pytest.mark.parametrize(
        ("name", "find"), [("LearningRateFinder", "lr"), ("BatchSizeFinder", "batch_size")]
    )
    def test_instead_of_lightnings(self, project: Project, name: str, find: str) -> None:
        shown = project.run(f"--callbacks+={name}", code=2)
        assert shown.endswith(f"; type python main.py tune --find {find}\n")

    def test_a_loss_that_does_not_fall(self, project: Project) -> None:
        words = ("--model_name", "mlp", "--max_lr", "1e-6", "--steps", "20")
        shown = project.run("tune", "--find", "lr", *words, code=1)
        assert "error: the loss does not fall" in shown.splitlines()[-1]

    def test_no_validation_and_no_monitor(self, project: Project) -> None:
        words = ("--limit_val_batches", "0", "--monitor", "null")
        project.run("--model_name", "mlp", "--max_epochs", "1", *words)
