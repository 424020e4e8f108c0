"""What a run promises: killed, resumed, damaged, started twice, it is never lost."""

import contextlib
import csv
import json
import os
import pickle
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .command import Project, until
from .conftest import Bake

pytestmark = pytest.mark.slow

QUICK = ("--model_name", "mlp", "--enable_progress_bar", "false", "--enable_model_summary", "false")
# A subclass that logs more, and a loss of named parts.
PARTED = """
import torch
from typing import Any
from model import MInterface
from model.mlp import MLP


class Parted(MInterface):
    def __init__(self, dropout: float = 0.0, **options: Any) -> None:
        super().__init__(MLP([1, 8, 8], 10, dropout=dropout), **options)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        found = super().step(batch, stage)
        return found | {"largest": found["output"].max(), "size": 2 * len(batch[1])}
"""
OWN_LOSS = """
from torch.nn import functional as F


def parts(output, target):
    loss = F.cross_entropy(output, target)
    return {"ce": loss, "penalty": 0.01 * output.square().mean()}
"""
ALTERNATING = """
import torch
from model import MInterface
from model.mlp import MLP


class Alternating(MInterface):
    def __init__(self, dropout=0.0, **options):
        super().__init__(MLP([1, 8, 8], 8, dropout=dropout), **options)
        self.critic = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8))
        self.alternate(critic=2, net=1)

    def step(self, batch, stage):
        def apart():
            return (self.critic(self.net(batch[0])) - self.critic(torch.randn(8, 8))[:1]).abs()

        for _ in range(2):
            critic = self.minimize("critic", lambda: -apart().mean().tanh())
        loss = self.minimize("net", lambda: apart().mean())
        return {"loss": loss, "critic": critic}
"""
LOGGING = """
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy


class Logging(pl.LightningModule):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        self.dropout, self.accuracy = dropout, MulticlassAccuracy(10)

    def training_step(self, batch, batch_idx):
        logits = F.dropout(self.net(batch[0]), self.dropout)
        loss = F.cross_entropy(logits, batch[1])
        self.accuracy(logits, batch[1])
        self.log("mean", loss, on_step=True, on_epoch=True)
        self.log("largest", loss, on_step=False, on_epoch=True, reduce_fx="max", sync_dist=True)
        self.log("own_acc", self.accuracy, on_step=False, on_epoch=True)
        if batch_idx < 2:
            self.log("first", loss, on_step=False, on_epoch=True, reduce_fx=sum)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)
"""
NOISY = (*QUICK, "--dropout", "0.2")  # and augmentation is on by default
LONG = ("--max_epochs", "1000", "--stop_early", "false")
FAKE = ("--data.image_size", "[1,8,8]", "--num_classes", "10")
DDP = ("--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--batch_size", "16")


@pytest.fixture(scope="module")
def project(bake: Bake) -> Project:
    folder = bake()
    (folder / "model/parted.py").write_text(PARTED)
    (folder / "own_loss.py").write_text(OWN_LOSS)
    (folder / "data/stream.py").write_text(STREAM)
    (folder / "callbacks/kill.py").write_text(KILL)
    (folder / "model/alternating.py").write_text(ALTERNATING)
    (folder / "model/logging.py").write_text(LOGGING)
    return Project(folder)


def load(folder: Path, name: str = "last") -> dict[str, Any]:
    file = folder / f"checkpoints/{name}.ckpt"
    found: dict[str, Any] = torch.load(file, "cpu", weights_only=True)
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    """What was logged in training, in order, but for how long it took."""
    with (folder / "metrics.csv").open(newline="") as file:
        found = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [row for row in found if not any(name.startswith("test_") for name in row)]


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two checkpoints differ in a single bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict) and a.keys() == b.keys():
        return [d for key in a for d in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list | tuple) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for i, (x, y) in pairs for d in differences(x, y, f"{path}.{i}")]
    return [] if a == b else [path]


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, optimizer, schedule, and every logged value, but what is logged of the signal."""
    first, second = load(one), load(other)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert not differences(first[part], second[part], part)
    assert rows(one) == rows(other)
    results = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert results[0] == results[1]


STREAM = """
import torch
from sklearn.datasets import load_digits
from torch.utils.data import IterableDataset


class Stream(IterableDataset):
    num_classes = 10

    def __init__(self, split: str = "train"):
        places = {"train": (0, 1193), "val": (1200, 1500), "test": (1500, 1797)}
        self.begin, self.end = places[split]
        self.number = 0

    def __iter__(self):
        images, labels = load_digits(return_X_y=True)
        number, self.number = self.number, 0
        for index in range(self.begin + number, self.end):
            x = torch.tensor(images[index], dtype=torch.float32).view(1, 8, 8) / 16
            self.next = index + 1 - self.begin
            yield x + 0.1 * torch.randn(1, 8, 8), int(labels[index])


class Stateful(Stream):
    next = 0

    def state_dict(self):
        return {"number": self.next}

    def load_state_dict(self, state):
        self.number = state["number"]
"""
KILL = """
import os
import signal
from pathlib import Path

import pytorch_lightning as pl


class Kill(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 11 and not Path("killed").exists():
            trainer.strategy.barrier()
            Path("killed").touch()
            os.killpg(0, signal.SIGKILL)
"""
SCENARIOS = {
    "one_cycle": ("--max_epochs", "15"),
    "plateau": (
        *("--max_epochs", "10", "--num_workers", "2", "--accumulate_grad_batches", "3"),
        *("--lr_scheduler", "plateau", "--lr_scheduler_args.patience", "0"),
        *("--log_every_n_steps", "1", "--batch_transforms", "[RandomCrop,MixUp,CutMix]"),
        *("--RandomCrop.size", "8", "--RandomCrop.padding", "1"),
    ),
    "mid_epoch": (
        *("--max_epochs", "10", "--lr_scheduler", "cosine", "--warmup_steps", "30"),
        *("--val_check_interval", "7", "--checkpoint_every_n_steps", "3"),
    ),
    "average": (
        *("--max_epochs", "10", "--lr_scheduler", "null", "--patience", "2", "--min_delta", "0.2"),
        *("--callbacks+=ema", "--ema.decay", "0.9"),
    ),
    "parted": (
        *("--max_epochs", "10", "--model_name", "parted", "--loss", "own_loss.parts"),
        *("--task", "classification", "--metrics", "[auroc,precision]"),
        *("--precision.average", "macro", "--auroc.average", "macro"),
        *("--val_check_interval", "7", "--checkpoint_every_n_steps", "3"),
        *("--monitor", "val_ce", "--log_every_n_steps", "1", "--lr_scheduler", "plateau"),
        *("--lr_scheduler_args.patience", "0", "--early_stopping.patience", "9"),
    ),
    "frozen": (
        *("--max_epochs", "10", "--freeze", "[layers.1,layers.2]", "--unfreeze_at_epoch", "5"),
        *("--lr_factors", "{layers.1: 0.1}", "--layer_decay", "0.75", "--balanced", "true"),
        *("--val_check_interval", "7", "--checkpoint_every_n_steps", "3"),
    ),
    "stream": (
        *("--dataset", "stream", "--num_workers", "2", "--max_epochs", "10"),
        *("--val_check_interval", "7", "--checkpoint_every_n_steps", "3"),
        *("--lr_scheduler", "plateau", "--patience", "0", "--early_stopping.patience", "9"),
    ),
    "stream_ddp": (
        *("--dataset", "stream:Stateful", "--max_epochs", "6", *DDP),
        *("--checkpoint_every_n_steps", "3", "--lr_scheduler", "null"),
    ),
    "alternating": (
        *("--max_epochs", "10", "--model_name", "alternating", "--accumulate_grad_batches", "2"),
        *("--gradient_clip_val", "0.1", "--lr_scheduler", "one_cycle", "--log_every_n_steps", "1"),
        *("--val_check_interval", "7", "--checkpoint_every_n_steps", "3"),
    ),
    "alternating_ddp": (
        *("--max_epochs", "6", "--model_name", "alternating", "--lr_scheduler", "plateau", *DDP),
        *("--patience", "0", "--early_stopping.patience", "9", "--checkpoint_every_n_steps", "3"),
    ),
    "logging": (
        *("--max_epochs", "10", "--model_name", "logging"),
        *("--val_check_interval", "7", "--checkpoint_every_n_steps", "3"),
    ),
    "step_ddp": (
        *("--max_epochs", "6", "--lr_scheduler", "step", "--step_size", "2", *DDP),
        *("--optimizer", "sgd", "--momentum", "0.9", "--batch_transforms", "[MixUp]"),
        *("--freeze", "[layers.1,layers.2]", "--unfreeze_at_epoch", "3", "--balanced", "true"),
    ),
}


def chaos(project: Project, name: str, kills: int, seed: int) -> list[int]:
    """Trains once in peace and once with kills, which must make no difference."""
    draw = random.Random(seed)
    for folder in (f"{name}_peace", name):
        shutil.rmtree(project.folder / "runs" / folder, ignore_errors=True)
    project.run(*NOISY, *SCENARIOS[name], "--name", f"{name}_peace")
    length = json.loads((project.of(f"{name}_peace") / "run.json").read_text())["seconds"]
    codes = []
    for _ in range(kills):
        begun = (project.of(name) / "config.yaml").exists()
        words = ("--resume", name) if begun else (*NOISY, *SCENARIOS[name], "--name", name)
        number = draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        seconds = draw.uniform(0, 2 * (length + 1) / kills)
        codes.append(project.kill(project.start(*words), name, seconds, number))
        facts = project.of(name) / "run.json"
        if facts.exists() and json.loads(facts.read_text())["state"] == "finished":
            break  # even if the signal came between that and the exit
    if project.state(name) == "interrupted":
        project.run("--resume", name)
    assert project.state(name) == "finished"
    assert_same_run(project.of(f"{name}_peace"), project.of(name))
    return codes


@pytest.mark.parametrize("name", [name for name in SCENARIOS if "stream" not in name])
def test_a_killed_run_ends_as_if_nothing_had_happened(project: Project, name: str) -> None:
    chaos(project, name, kills=4, seed=0)


@pytest.mark.parametrize("name", ["stream", "stream_ddp"])
def test_a_stream_killed_in_the_middle_of_an_epoch(project: Project, name: str) -> None:
    """It goes on from there, by its own state or by skipping."""
    words = (*NOISY, *SCENARIOS[name], "--max_epochs", "2")
    project.run(*words, "--name", f"{name}_whole")
    (project.folder / "killed").unlink(missing_ok=True)
    process = project.start(*words, "--name", f"{name}_cut", "--callbacks+=kill")
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    place, processes = load(project.of(f"{name}_cut"))["DInterface"], 1 + name.endswith("ddp")
    assert place["epoch"] == 0 < place["samples"] < 1193
    assert len(place["place"]["places"]) == processes
    shown = project.run("--resume", f"{name}_cut")
    assert ("samples of Stream are read and skipped" in shown) is (processes == 1)
    assert_same_run(project.of(f"{name}_whole"), project.of(f"{name}_cut"))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", SCENARIOS)
def test_many_kills(project: Project, name: str, seed: int) -> None:
    print(chaos(project, name, kills=6, seed=seed + 1))


class TestSignals:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_exit_codes(self, project: Project, number: int, code: int) -> None:
        name = f"signal_{code}"
        process = project.start(*NOISY, *LONG, "--name", name)
        last = project.of(name) / "checkpoints/last.ckpt"
        until(process, last.exists)
        asked = time.time_ns()
        process.send_signal(number)
        shown = process.communicate(timeout=300)[0]
        assert process.returncode == code and "stopped" in shown, shown
        assert project.state(name) == "interrupted"
        assert last.stat().st_mtime_ns > asked

    @pytest.mark.parametrize("seconds", [0, 1])
    def test_before_training(self, project: Project, seconds: float) -> None:
        """While torch is imported, and a little later."""
        process = project.start(*NOISY, *LONG, "--name", "hasty", python=())
        maps = Path(f"/proc/{process.pid}/maps")
        until(process, lambda: "libtorch" in maps.read_text())
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=300)[0]
        assert process.returncode == 130
        assert "stopped" in shown and "Traceback" not in shown

    def test_the_state_after_a_kill(self, project: Project) -> None:
        process = project.start(*NOISY, *LONG, "--name", "killed")
        until(process, (project.of("killed") / "checkpoints/last.ckpt").exists)
        assert project.state("killed") == "running"
        assert "is still running" in project.run("--resume", "killed", code=2)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=300)
        assert project.state("killed") == "interrupted"


@pytest.fixture(scope="module")
def base(project: Project) -> Path:
    project.run(*NOISY, "--max_epochs", "2", "--name", "base")
    return project.of("base")


class TestResume:
    def test_longer(self, project: Project, base: Path) -> None:
        """More epochs may follow; TensorBoard's curves go on."""
        shutil.copytree(base.parent, base.parents[1] / "longer")
        shown = project.run("--resume", "longer", code=2)
        assert "has trained 2 epochs; type --max_epochs VALUE" in shown
        project.run("--resume", "longer", "--max_epochs", "4")
        folder = project.of("longer")
        assert "max_epochs: 4" in (folder / "config.yaml").read_text()
        events = EventAccumulator(str(folder)).Reload()
        steps = [event.step for event in events.Scalars("val_loss")]
        assert steps == [19, 39, 59, 79]

    def test_before_the_first_checkpoint(self, project: Project, base: Path) -> None:
        shutil.copytree(base.parent, base.parents[1] / "new")
        shutil.rmtree(project.of("new") / "checkpoints")
        assert "has saved nothing yet" in project.run("--resume", project.of("new"))
        assert_same_run(base, project.of("new"))

    def test_killed_after_the_best_was_saved(self, project: Project) -> None:
        """And before last.ckpt: it is saved again under the same name."""
        words = (*NOISY, "--lr_scheduler", "null", "--name", "twice")
        project.run(*words, "--max_epochs", "1")
        folder = project.of("twice")
        before = (folder / "checkpoints/last.ckpt").read_bytes()
        project.run("--resume", "twice", "--max_epochs", "2")
        saved = {file.name for file in (folder / "checkpoints").iterdir()}
        (folder / "checkpoints/last.ckpt").write_bytes(before)
        project.run("--resume", "twice")
        assert {file.name for file in (folder / "checkpoints").iterdir()} == saved

    def test_killed_while_rows_are_rewritten(self, project: Project, tmp_path: Path) -> None:
        """No moment at which metrics.csv lacks a row that it had."""
        code = (
            "import csv, os, pathlib, signal\n"
            "from core.runs.loggers import CSVLogger\n"
            f"folder = pathlib.Path({str(tmp_path)!r})\n"
            "writer = CSVLogger(folder, 0)\n"
            "for name in ('one', 'two'):\n"
            "    writer.log_metrics({name: 1.0}, 0)\n"
            "    writer.save()\n"
            "csv.DictWriter.writeheader = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
            "writer.log_metrics({'three': 1.0}, 0)\n"
            "writer.save()\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=project.folder)
        assert done.returncode == -signal.SIGKILL
        assert [{*row} for row in rows(tmp_path)] == [{"one", "step"}, {"two", "step"}]

    @pytest.mark.parametrize("stops_early", [False, True])
    def test_killed_after_training(self, project: Project, stops_early: bool) -> None:
        """What is left is to test."""
        epochs = ("--patience", "1", "--min_delta", "9") if stops_early else ("--max_epochs", "2")
        project.run(*NOISY, *epochs, "--name", "untested")
        folder = max((project.folder / "runs/untested").iterdir())
        results = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").unlink()
        facts = json.loads((folder / "run.json").read_text()) | {"state": "running"}
        (folder / "run.json").write_text(json.dumps(facts))
        shown = project.run("--resume", folder)
        assert ("stopped early: Monitored metric val_loss" in shown) is stops_early
        assert json.loads((folder / "metrics.json").read_text()) == results
        assert load(folder)["epoch"] == 2
        if stops_early:
            project.run("--resume", folder, "--patience", "2")
            assert load(folder)["epoch"] == 3

    @pytest.mark.parametrize(
        "words", ["--model_name resnet", "--dropout 0.5", "--batch_size 8", "--lr 1", "--seed 3"]
    )
    def test_what_may_not_change(self, project: Project, base: Path, words: str) -> None:
        shown = project.run("--resume", "base", *words.split(), code=2)
        assert words.split()[0].removeprefix("--") in shown and "--init_from" in shown
        assert shown.count("\n") == 1

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
    def test_a_damaged_checkpoint(self, project: Project, base: Path, damage: str) -> None:
        shutil.rmtree(project.of(damage).parent, ignore_errors=True)
        shutil.copytree(base.parent, project.of(damage).parent)
        file = project.of(damage) / "checkpoints/last.ckpt"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        kept = {"truncated": content[:1000], "flipped": content, "empty": b""}
        file.write_bytes(bytes(kept[damage]))
        (file.parent / ".last.ckpt.part").write_bytes(b"left by a kill")
        shown = project.run("--resume", damage, "--max_epochs", "3")
        assert "damaged" in shown and "the one before it is taken" in shown
        assert not [*file.parent.glob(".*.part")]
        assert load(project.of(damage))["epoch"] == 3


@pytest.mark.parametrize("processes", [1, 2])
def test_a_loss_that_is_not_finite(project: Project, processes: int) -> None:
    (project.folder / "model/broken.py").write_text(
        "import torch\n\n\nclass Broken(torch.nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n        self.flat = torch.nn.Flatten()\n"
        "        self.fine = torch.nn.Linear(64, 16)\n        self.root = Root()\n"
        "        self.head = torch.nn.Linear(16, num_classes)\n        self.calls = 0\n\n"
        "    def forward(self, x):\n        self.calls += self.training\n"
        "        self.root.offset = 9e9 if self.calls > 30 else 0\n"
        "        return self.head(self.root(self.fine(self.flat(x)).abs()))\n\n\n"
        "class Root(torch.nn.Module):\n    offset = 0\n\n"
        "    def forward(self, x):\n        return (x - self.offset).sqrt()\n"
    )
    name = f"broken_{processes}"
    words = ("--model_name", "broken", "--name", name, "--checkpoint_every_n_steps", "1")
    shown = project.run(*QUICK, *words, *(DDP if processes == 2 else ()), code=1)
    assert re.search(r"the loss of step 30 \(epoch [01], batch \d+\) is not finite", shown)
    assert "root (Root)" in shown and "Traceback" not in shown
    saved = load(project.of(name))
    assert saved["global_step"] <= 30
    assert all(value.isfinite().all() for value in saved["state_dict"].values())
    assert project.state(name) == "failed"
    words = (*words[:3], f"bare_{processes}", "--enable_checkpointing", "false")
    shown = project.run(*QUICK, *words, *(DDP if processes == 2 else ()), code=1)
    assert "is not finite" in shown and "Traceback" not in shown


class Code:
    """Pickled, it runs a command when it is read."""

    def __reduce__(self) -> Any:
        return os.system, ("touch PWNED",)


class TestNoCodeFromData:
    """Whatever the environment says."""

    env: ClassVar = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}

    def check(self, project: Project, file: object, message: str) -> None:
        shown = project.run("test", "base", "--ckpt", file, code=2, **self.env)
        assert message in shown and "Traceback" not in shown
        python = f"from model import MInterface; MInterface.load_from_checkpoint({str(file)!r})"
        done = subprocess.run(
            [sys.executable, "-c", python], cwd=project.folder, env=os.environ | self.env
        )
        assert done.returncode == 1
        assert not (project.folder / "PWNED").exists()

    def test_pickle(self, project: Project, base: Path) -> None:
        file = project.folder / "evil.ckpt"
        torch.save(load(base) | {"extra": Code()}, file)
        self.check(project, file, "or holds code")
        file.write_bytes(pickle.dumps(Code()))
        self.check(project, file, "or holds code")

    def test_instantiator(self, project: Project, base: Path) -> None:
        """Lightning once called what the hyper-parameters name."""
        file = project.folder / "evil.ckpt"
        (project.folder / "evil.py").write_text(
            "import os\n\n\ndef make(*args, **named):\n    os.system('touch PWNED')\n"
        )
        torch.save(load(base) | {"hyper_parameters": {"_instantiator": "evil.make"}}, file)
        python = f"from model import MInterface; MInterface.load_from_checkpoint({str(file)!r})"
        subprocess.run(
            [sys.executable, "-c", python], cwd=project.folder, env=os.environ | self.env
        )
        assert not (project.folder / "PWNED").exists()

    def test_bomb(self, project: Project, base: Path) -> None:
        file = project.folder / "bomb.ckpt"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\0" * 2**28)
        assert file.stat().st_size < 2**19
        self.check(project, file, "a damaged one")

    def test_address(self, project: Project, base: Path) -> None:
        self.check(project, "http://localhost:1/a.ckpt", "has no such checkpoint")


def test_a_worker_that_ends_later_holds_no_lock(project: Project, tmp_path: Path) -> None:
    """It was forked with the lock's file open; `--auto_batch` goes on in the same process."""
    code = (
        "import os, pathlib, signal\n"
        "from core.runs.record import claim, recorded\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "claim(folder)\n"
        "with recorded(folder, []):\n"
        "    worker = os.fork() or signal.pause()\n"
        "try:\n"
        "    claim(folder)\n"
        "finally:\n"
        "    os.kill(worker, signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=project.folder, check=True)


def test_a_full_disk(project: Project, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted")
    try:
        project.run(*QUICK, "--max_epochs", "1", "--name", "full", "--default_root_dir", tmp_path)
        folder = tmp_path / "full/version_0"
        before = load(folder)
        free = shutil.disk_usage(tmp_path).free
        (tmp_path / "other").write_bytes(b"\0" * (free - 200_000))
        words = ("--resume", folder, "--max_epochs", "3", "--default_root_dir", tmp_path)
        shown = project.run(*words, code=1)
        assert "can't write" in shown and "earlier checkpoints are kept" in shown
        assert "Traceback" not in shown
        assert load(folder)["epoch"] == before["epoch"]
        (tmp_path / "other").unlink()
        project.run(*words)
        assert load(folder)["epoch"] == 3
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiles for the CPU with g++")
def test_compiled(project: Project) -> None:
    """Its checkpoints know nothing of it, and it goes on without."""
    words = ("--max_epochs", "2", "--name", "compiled", "--compile", "default")
    shown = project.run("--model_name", "mlp", "--enable_progress_bar", "false", *words)
    assert "compiled (default)" in " ".join(shown.split())
    assert not [name for name in load(project.of("compiled"))["state_dict"] if "_orig" in name]
    project.run("--resume", "compiled", "--max_epochs", "3", "--compile", "null")
    assert load(project.of("compiled"))["epoch"] == 3


def test_eight_runs_at_once(project: Project) -> None:
    words = (*QUICK, "--max_epochs", "1", "--limit_train_batches", "2", "--name", "crowd")
    started = [project.start(*words) for _ in range(8)]
    shown = [process.communicate(timeout=300)[0] for process in started]
    assert all(process.returncode == 0 for process in started), shown
    folders = {*(project.folder / "runs/crowd").iterdir()}
    assert {folder.name for folder in folders} == {f"version_{n}" for n in range(8)}
    assert all((folder / "metrics.json").is_file() for folder in folders)


class TestTorchrun:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")

    def test_one_folder(self, project: Project) -> None:
        words = (*NOISY, "--max_epochs", "2", *DDP)
        project.run(*words, "--name", "torchrun", python=self.torchrun)
        project.run(*words, "--name", "trainer")
        assert [f.name for f in (project.folder / "runs/torchrun").iterdir()] == ["version_0"]
        assert_same_run(project.of("torchrun"), project.of("trainer"))

    def test_a_world_of_another_size(self, project: Project) -> None:
        words = (*QUICK, "--max_epochs", "1", "--name", "alone", "--accelerator", "cpu")
        shown = project.run(*words, python=self.torchrun, code=1)  # torchrun's own code
        assert "torchrun started 2 processes, --devices and --num_nodes make 1" in shown
        assert not (project.folder / "runs/alone").exists()


class TestSlurm:
    """As srun starts processes; scontrol is a script that notes what it is asked for."""

    def start(self, project: Project, tmp_path: Path, *words: str, **env: str) -> list[Any]:
        scontrol = tmp_path / "scontrol"
        scontrol.write_text(f"#!/bin/sh\necho $* >> {tmp_path}/asked\n")
        scontrol.chmod(0o755)
        env |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "4242"}
        env |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1"}
        env |= {"SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_NAME": "train"}
        places = [{"SLURM_PROCID": str(n), "SLURM_LOCALID": str(n)} for n in range(2)]
        return [project.start(*words, **env, **place) for place in places]

    def test_the_time_is_up(self, project: Project, tmp_path: Path) -> None:
        words = (*NOISY, "--max_epochs", "15", *DDP)
        named = (*words, "--name", "slurm")
        processes = self.start(project, tmp_path, *named)
        until(processes[0], (project.of("slurm") / "checkpoints/last.ckpt").exists)
        for process in processes:
            process.send_signal(signal.SIGUSR1)
        shown = [process.communicate(timeout=300)[0] for process in processes]
        assert [process.returncode for process in processes] == [138, 138], shown
        assert (tmp_path / "asked").read_text() == "requeue 4242\n"
        for process in self.start(project, tmp_path, *named, SLURM_RESTART_COUNT="1"):
            shown = process.communicate(timeout=300)[0]
            assert process.returncode == 0, shown
        assert [f.name for f in (project.folder / "runs/slurm").iterdir()] == ["version_0"]
        project.run(*words, "--name", "no_slurm")
        assert_same_run(project.of("slurm"), project.of("no_slurm"))


def test_runs_of_other_loggers_go_on(project: Project) -> None:
    words = (*QUICK, "--max_epochs", "1", "--name", "logged", "--loggers", "[wandb,mlflow,csv]")
    project.run(*words, python=(), WANDB_MODE="offline")
    project.run("--resume", "logged", "--max_epochs", "2", python=(), WANDB_MODE="offline")
    folder = project.of("logged")
    ids = {f.name.rpartition("-")[2] for f in folder.glob("wandb/offline-run-*")}
    assert len(ids) == 1 and len([*folder.glob("wandb/offline-run-*")]) == 2
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as mlflow:
        history = mlflow.execute("select step, run_uuid from metrics where key = 'val_loss'")
        runs = mlflow.execute("select run_uuid from runs").fetchall()
        assert sorted(history) == [(19, *runs[0]), (39, *runs[0])] and len(runs) == 1


@pytest.fixture(scope="module")
def run(project: Project) -> Path:
    project.run(*NOISY, "--max_epochs", "3", "--name", "mine", "--hidden_sizes", "[32,32]")
    return project.of("mine")


def test_two_hosts(project: Project) -> None:
    """Two network namespaces, joined by a cable, train one run with one folder."""
    hosts, cables = ("dropin_0", "dropin_1"), ("cable_0", "cable_1")
    if shutil.which("ip") is None or subprocess.run(["ip", "netns", "add", hosts[0]]).returncode:
        pytest.skip("network namespaces are not permitted")
    try:
        set_up = [f"netns add {hosts[1]}", f"link add {cables[0]} type veth peer {cables[1]}"]
        for number, (host, cable) in enumerate(zip(hosts, cables, strict=True)):
            set_up += [f"link set {cable} netns {host}", f"-n {host} link set lo up"]
            set_up += [f"-n {host} addr add 10.77.0.{number + 1}/24 dev {cable}"]
            set_up += [f"-n {host} link set {cable} up"]
        for line in set_up:
            subprocess.run(["ip", *line.split()], check=True)
        words = (*NOISY, "--max_epochs", "2", *DDP, "--devices", "1", "--num_nodes", "2")
        started = []
        for number, (host, cable) in enumerate(zip(hosts, cables, strict=True)):
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
            torchrun += ["--nproc-per-node=1", f"--node-rank={number}", "--master-port=29511"]
            torchrun += ["--master-addr=10.77.0.1", "main.py", *words, "--name", "hosts"]
            started.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", host, *torchrun],
                    cwd=project.folder,
                    env=os.environ | {"GLOO_SOCKET_IFNAME": cable},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        shown = [process.communicate(timeout=300)[0] for process in started]
        assert all(process.returncode == 0 for process in started), shown
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host])
    assert [f.name for f in (project.folder / "runs/hosts").iterdir()] == ["version_0"]
    project.run(*NOISY, "--max_epochs", "2", *DDP, "--name", "host")
    assert_same_run(project.of("hosts"), project.of("host"))


CUT = """
import sys
import torch
from torchvision.transforms import v2
from data.image_folder import ImageFolder, _read

data = ImageFolder(sys.argv[1], min_scale=None, image_size=24)
batch = data.get_batch(torch.zeros(50, dtype=torch.int64))
fast, exact = (torch.from_numpy(_read(data.samples[0][0], is_fast=f)) for f in (True, False))
windows = fast.unfold(0, 24, 1).unfold(1, 24, 1)  # (rows, columns, 3, 24, 24)
places = {tuple((windows == image).all((2, 3, 4)).nonzero()[0].tolist()) for image in batch[0]}
assert len(places) > 10, places
assert 0 < (fast.float() - exact.float()).abs().mean() < 4
(small,), _ = data.get_batch(torch.tensor([1]))
assert small.shape == (3, 24, 24) and not small.flatten(1).all()

mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, deviation)])
flipped = 0
for image, finished in zip(batch[0], data.transform_batch(batch)[0], strict=True):
    ways = [normalise(image), normalise(image.flip(2))]
    found = [torch.allclose(finished, way, atol=1e-5) for way in ways]
    assert any(found)
    flipped += found[1]
assert 10 < flipped < 40

plain = ImageFolder(sys.argv[1], augment=False, image_size=24)
assert plain.get_batch(torch.tensor([0, 0]))[0].float().std(0).max() == 0
"""


class TestUse:
    """A finished run, used without remembering how it was made."""

    @pytest.mark.parametrize(("format", "suffix"), [("onnx", ".onnx"), ("torch_export", ".pt2")])
    def test_export(self, project: Project, run: Path, format: str, suffix: str) -> None:
        if format == "onnx":
            pytest.importorskip("onnxscript")
        shown = project.run("export", "mine", "--format", format)
        assert "largest difference" in shown
        (file,) = run.glob(f"checkpoints/*{suffix}")
        lines = shown.split("\n\n")[1]
        made = "torch.rand(5, 1, 8, 8)" + (".numpy()" if format == "onnx" else "")
        code = f"import torch\ninput_0 = {made}\n{lines}\nprint(tuple(output.shape))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project.folder, capture_output=True, text=True
        )
        assert done.stdout == "(5, 10)\n", done.stderr
        assert file.stat().st_size > 1000

    def test_predict_in_order_with_two_processes(self, project: Project, run: Path) -> None:
        project.run("predict", "mine")
        alone = (run / "predictions.csv").read_text()
        project.run("predict", "mine", *DDP)
        together = (run / "predictions.csv").read_text()
        assert len(alone.splitlines()) == 361
        first, second = (list(csv.DictReader(t.splitlines())) for t in (alone, together))
        for one, other in zip(first, second, strict=True):
            assert one["index"] == other["index"]
            assert float(one["p_3"]) == pytest.approx(float(other["p_3"]), abs=1e-5)

    def test_predict_files_and_classes(self, project: Project, tmp_path: Path) -> None:
        for number in range(40):
            name = ("cat", "dog")[number % 2]
            (tmp_path / "pets" / name).mkdir(parents=True, exist_ok=True)
            picture = Image.new("RGB", (8, 8), ("black", "white")[number % 2])
            picture.save(tmp_path / f"pets/{name}/{number:02}.png")
        words = ("--dataset", "image_folder", "--root", tmp_path / "pets", "--image_size", "8")
        project.run("--model_name", "mlp", *words, "--max_epochs", "8", "--name", "pets")
        project.run("predict", "pets")
        with (project.of("pets") / "predictions.csv").open() as file:
            found = list(csv.DictReader(file))
        assert len(found) == 4
        for row in found:
            assert Path(row["file"]).parent.name == row["prediction"]
            assert float(row["p_cat"]) + float(row["p_dog"]) == pytest.approx(1)
        (tmp_path / "pets/cat/00.png").write_bytes(b"no image")
        shown = project.run("--model_name", "mlp", *words, "--name", "damaged", code=2)
        assert "pets/cat/00.png is damaged, or no image" in shown and "Traceback" not in shown

    def test_how_images_are_cut(self, project: Project, tmp_path: Path) -> None:
        folder = tmp_path / "pictures/train/china"
        folder.mkdir(parents=True)
        photograph = Image.fromarray(load_sample_images().images[0])
        photograph.crop((0, 0, 60, 40)).save(folder / "0.jpg")
        photograph.crop((0, 0, 60, 20)).save(folder / "1.jpg")
        done = subprocess.run(
            [sys.executable, "-c", CUT, str(tmp_path / "pictures")],
            cwd=project.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    def test_a_run_called_last(self, project: Project, run: Path) -> None:
        project.run(*QUICK, "--max_epochs", "1", "--name", "last")
        project.run(*QUICK, "--max_epochs", "1", "--name", "newest")
        assert "runs/newest/version_0" in " ".join(project.run("validate", "last").split())

    def test_other_data_has_results_of_its_own(self, project: Project, run: Path) -> None:
        before = (run / "metrics.json").read_text()
        shown = project.run("test", "mine", "--image_size", "8", "--in_channels", "1")
        assert "metrics.json" in " ".join(shown.split())
        project.run("test", "mine", "--dataset", "torchvision:FakeData", "--size", "50", *FAKE)
        assert (run / "metrics.json").read_text() == before
        (file,) = run.glob("metrics-dataset=torchvision:FakeData*.json")
        assert json.loads(file.read_text())["test_acc"] < 0.5

    def test_reproduce_and_compare(self, project: Project, run: Path) -> None:
        shown = project.run("reproduce", "mine")
        assert "agrees with runs/mine/version_0 bit for bit" in " ".join(shown.split())
        project.run(*NOISY, "--max_epochs", "1", "--name", "other", "--lr", "0.01")
        shown = project.run("compare", "mine", "other", "--format", "markdown")
        assert "| lr | 0.001 | 0.01 |" in shown and "| trainer.max_epochs | 3 | 1 |" in shown
        assert "dataset" not in shown
        accuracy = json.loads((run / "metrics.json").read_text())["test_acc"]
        assert f"| test_acc | {accuracy:.5g} |" in shown
        assert f"test_acc,{accuracy}," in project.run("compare", "mine", "other", "--format", "csv")

    def test_warm_start(self, project: Project, run: Path, tmp_path: Path) -> None:
        words = (*NOISY, "--max_epochs", "1", "--hidden_sizes", "[32,32]", "--num_classes", "12")
        shown = project.run(*words, "--init_from", "mine", "--name", "warm")
        assert "14 of 16 tensors taken" in shown and "not net.layers.9.weight" in shown
        weights = {
            f"module._orig_mod.{name.removeprefix('net.')}": value
            for name, value in load(run)["state_dict"].items()
        }
        torch.save(weights, tmp_path / "bare.pt")
        shown = project.run(*words, "--init_from", tmp_path / "bare.pt", "--name", "bare")
        assert "14 of 16 tensors taken" in shown

    def test_from_python(self, project: Project, run: Path) -> None:
        code = (
            "from main import load_run\n"
            "model, data = load_run('mine')\n"
            "print(tuple(model(*model.split_batch(next(iter(data.test_dataloader())))[0]).shape))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project.folder, capture_output=True, text=True
        )
        assert done.stdout.endswith("(64, 10)\n") and not done.stderr, done.stderr

    def test_what_is_recorded(self, project: Project, run: Path) -> None:
        found = json.loads((run / "run.json").read_text())
        assert found["state"] == "finished" and found["seed"] == 0 and found["epochs"] == 3
        assert found["packages"]["torch"] == torch.__version__.partition("+")[0]
        assert found["devices"][0] == f"{os.cpu_count()} cores" and "cuda" in found
        assert found["commands"][0][1:3] == ["--model_name", "mlp"]
        assert found["commit"] == "", "nothing is committed yet"
        assert "+class Digits(" in (run / "uncommitted.diff").read_text()
