"""`python main.py …` as typed in a copy of the template's project."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks.time_profile import TimeProfiler
from model import MInterface

from .command import Project
from .conftest import TEMPLATE

pytestmark = pytest.mark.slow
Run = Callable[..., str]

QUICK = ("--model_name", "mlp", "--max_epochs", "2", "--enable_progress_bar", "false")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, to drop files into."""
    return shutil.copytree(TEMPLATE, tmp_path / "project")


@pytest.fixture
def run(project: Path) -> Run:
    """Types `python main.py …` in the copy: `run("fit", "--lr", "0.1", code=0)`."""
    return Project(project).run


def read(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_fit_test_and_predict(run: Run, project: Path) -> None:
    words = ("--save_top_k", "2", "--hidden_sizes", "32", "--lr", "5e-3")
    shown = run(*QUICK, *words)
    folder = project / "runs/digits-mlp/version_0"
    assert "test_acc" in shown and "Results in runs/digits-mlp/version_0" in shown
    results = json.loads((folder / "metrics.json").read_text())
    assert results["test_acc"] > 0.8
    assert f"{results['test_acc']:.4f}" in shown

    checkpoints = {path.name for path in (folder / "checkpoints").iterdir()}
    assert len(checkpoints) == 3 and "last.ckpt" in checkpoints
    assert re.fullmatch(r"epoch=\d+-val_loss=\d\.\d{4}\.ckpt", results["checkpoint"])
    assert results["checkpoint"] in checkpoints

    rows = read(folder / "metrics.csv")
    assert [float(row["val_acc"]) > 0.5 for row in rows if row["val_acc"]] == [True, True]
    assert any(row["lr-AdamW"] for row in rows)
    scalars: set[str] = set()
    for file in folder.glob("events.*"):
        scalars |= {*EventAccumulator(str(file)).Reload().Tags()["scalars"]}
    assert {"train_loss", "train_loss_step", "val_loss", "val_acc", "test_acc"} <= scalars

    run("test", "--enable_progress_bar", "false")
    assert json.loads((folder / "metrics.json").read_text()) == results
    run("validate", "--run", "digits-mlp", "--ckpt", "last")
    assert json.loads((folder / "metrics.json").read_text()) == results, "of the best weights"
    assert "val_acc" in json.loads((folder / "metrics-last.json").read_text())
    (folder.parent / "version_1").mkdir()
    (folder.parent / "version_1/config.yaml").touch()  # of a run that failed early
    run("predict", "--run", "digits-mlp")
    predictions = read(folder / "predictions.csv")
    assert [int(row["index"]) for row in predictions] == list(range(360))
    assert sum(float(predictions[0][f"p_{c}"]) for c in range(10)) == pytest.approx(1)
    assert not (project / "runs/digits-mlp/version_2").exists()

    model = MInterface.load_from_checkpoint(folder / "checkpoints/last.ckpt", map_location="cpu")
    assert model.hparams["model_args"]["num_classes"] == 10, "as the data told"


STOP = """
import os
import signal

import pytorch_lightning as pl

class Stop(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 27:
            os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(run: Run, project: Path) -> None:
    (project / "stop.py").write_text(STOP)
    words = (*QUICK, "--dropout", "0.2")
    run(*words, "--name", "peace")
    shown = run(*words, "--name", "stopped", "--callbacks+=stop.Stop", code=143)
    assert "python main.py --resume runs/stopped/version_0" in shown
    assert re.search(r"stopped/version_0\s+interrupted", run("runs"))
    (project / "stop.py").write_text(STOP.replace("== 27", "== -1"))
    run("--resume")
    peace, stopped = (project / f"runs/{name}/version_0" for name in ("peace", "stopped"))
    for file in ("metrics.json", "metrics.csv"):
        assert (peace / file).read_text() == (stopped / file).read_text()
    first, second = (
        torch.load(f / "checkpoints/last.ckpt")["state_dict"] for f in (peace, stopped)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_another_precision(run: Run, project: Path, precision: str) -> None:
    run(*QUICK, "--precision", precision, "--lr", "5e-3")
    folder = project / "runs/digits-mlp/version_0"
    assert json.loads((folder / "metrics.json").read_text())["test_acc"] > 0.8
    weights = torch.load(folder / "checkpoints/last.ckpt")["state_dict"]["net.layers.1.weight"]
    kinds = {"bf16-mixed": torch.float32, "bf16-true": torch.bfloat16, "64-true": torch.float64}
    assert weights.dtype is kinds[precision]


def test_config_of_a_run_repeats_it(run: Run, project: Path) -> None:
    run(*QUICK, "--seed", "3", "--dropout", "0.2", "--optimizer", "sgd", "--momentum", "0.9")
    run("--config", "runs/digits-mlp/version_0/config.yaml")
    first, second = (project / f"runs/digits-mlp/version_{n}" for n in (0, 1))
    assert (first / "config.yaml").read_text() == (second / "config.yaml").read_text()
    assert (first / "metrics.json").read_text() == (second / "metrics.json").read_text()
    weights = [torch.load(f / "checkpoints/last.ckpt")["state_dict"] for f in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    config = yaml.safe_load((first / "config.yaml").read_text())
    assert config["model"]["num_classes"] == 10
    assert config["optimizer_args"]["momentum"] == 0.9
    assert config["trainer"]["max_epochs"] == 2
    assert "Results in runs/digits-mlp/version_1" in run("validate", "1")


def test_the_command_line_overrides_files_and_files_the_defaults(run: Run, project: Path) -> None:
    (project / "a.yaml").write_text("model_name: mlp\nmodel:\n  dropout: 0.5\nlr: 1e-4\nseed: 1\n")
    shown = run("--config", "a.yaml", "--seed", "2", "--help", "all")
    assert option(shown, "--model.dropout").endswith("(float; 0.5)")
    assert option(shown, "--lr").endswith("(float; 0.0001)")
    assert option(shown, "--seed").endswith("(int; 2)")
    assert "--model.width" not in shown, "config.yaml's width is resnet's"


def option(shown: str, name: str) -> str:
    (found,) = re.findall(rf"^  {re.escape(name)}\n((?: {{6}}.*\n)+)", shown, re.M)
    return " ".join(found.split())


def test_help_shows_the_chosen_classes(run: Run) -> None:
    shown = run("--help", "all", "--model_name", "vit", "--lr_scheduler", "step")
    for name in ("mlp", "resnet", "vit", "torchvision:NAME", "timm:NAME"):
        assert name in option(shown, "--model_name")
    for name in ("cifar10", "digits", "image_folder"):
        assert name in option(shown, "--dataset")
    assert option(shown, "--model.num_heads") == "Attention heads per block; divides dim. (int; 4)"
    assert "--lr_scheduler_args.step_size" in shown and "--trainer.max_epochs" in shown
    assert "--model.stem" not in shown
    assert "--lr" not in run("test", "--help"), "of the run"


def test_a_reader_may_leave(project: Path) -> None:
    command = [sys.executable, "main.py", "--help"]
    with subprocess.Popen(command, cwd=project, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""


def test_fast_dev_run_writes_nothing(run: Run, project: Path) -> None:
    before = set(project.rglob("*"))
    run("--fast_dev_run", "true")
    assert {p for p in set(project.rglob("*")) - before if "__pycache__" not in p.parts} == set()


def test_a_bare_name_sets_it_for_every_owner(run: Run) -> None:
    words = ("--model_name", "vit", "--patch_size", "4", "--fast_dev_run", "true")
    run(*words, "--image_size", "16", "--dim", "16")
    fake = ("--dataset", "torchvision:FakeData", "--size", "64", "--batch_size", "8")
    error = run(*words, *fake, "--image_size", "32", code=2)
    assert error.count("\n") == 1
    assert "--model.image_size VALUE" in error and "--data.image_size VALUE" in error
    sizes = ("--model.image_size", "32", "--data.image_size", "[3,32,32]")
    run(*words, *fake, *sizes, "--dim", "16")


def test_plateau_early_stopping_and_another_monitor(run: Run, project: Path) -> None:
    watch = ("--monitor", "val_acc", "--early_stopping.patience", "1", "--lr", "1e-9")
    run("--model_name", "mlp", "--lr_scheduler", "plateau", *watch)
    folder = project / "runs/digits-mlp/version_0"
    rows = read(folder / "metrics.csv")
    assert len([row for row in rows if row["val_acc"]]) < 20, "stopped early"
    assert "val_acc=" in json.loads((folder / "metrics.json").read_text())["checkpoint"]


def test_the_last_weights_are_kept_whether_validated_or_not(run: Run, project: Path) -> None:
    run(*QUICK, "--check_val_every_n_epoch", "5", "--lr_scheduler", "null")
    folder = project / "runs/digits-mlp/version_0"
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    run("test")
    assert yaml.safe_load((folder / "config.yaml").read_text())["lr_scheduler"] is None


def test_without_a_validation_set(run: Run, project: Path) -> None:
    (project / "data/plain.py").write_text(PLAIN_DATASET)
    run(*QUICK, "--dataset", "plain", "--val_fraction", "0")
    folder = project / "runs/plain-mlp/version_0"
    assert any("train_loss=" in path.name for path in (folder / "checkpoints").iterdir())


PLAIN_DATASET = """
import torch

class Plain(torch.utils.data.Dataset):
    classes = ["a", "b"]

    def __len__(self):
        return 60

    def __getitem__(self, index):
        return torch.full((4,), float(index % 2)), index % 2
"""

SYSTEM = """
import torch
from model import MInterface

class System(MInterface):
    def __init__(self, weight: float = 1.0, **kwargs):
        super().__init__(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), **kwargs)
        self.weight = weight

    def training_step(self, batch, batch_idx):
        loss = self.weight * super().training_step(batch, batch_idx)
        self.log("weight", self.weight)
        return loss
"""

LIGHTNING = """
import pytorch_lightning as pl
import torch

class Own(pl.LightningModule):
    def __init__(self, num_classes: int, lr: float = 0.1):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))
        self.lr = lr

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def test_step(self, batch, batch_idx):
        self.log("test_rate", self.lr)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)
"""

LOSSES = """
import torch

class Scaled(torch.nn.Module):
    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, output, target):
        return self.scale * torch.nn.functional.cross_entropy(output, target)

def halved(output, target, power: int = 1):
    return torch.nn.functional.cross_entropy(output, target) / 2**power"""


def test_dropped_in_systems(run: Run, project: Path) -> None:
    (project / "model/system.py").write_text(SYSTEM)
    (project / "model/own.py").write_text(LIGHTNING)
    quick = ("--max_epochs", "1", "--enable_progress_bar", "false")
    run("--model_name", "system", "--model.weight", "2", "--lr", "0.01", *quick)
    config = yaml.safe_load((project / "runs/digits-system/version_0/config.yaml").read_text())
    assert config["model"] == {"weight": 2.0} and config["lr"] == 0.01
    run("--model_name", "own", "--lr", "0.3", *quick)
    results = json.loads((project / "runs/digits-own/version_0/metrics.json").read_text())
    assert results["test_rate"] == pytest.approx(0.3)


def test_own_loss_and_callback(run: Run, project: Path) -> None:
    (project / "losses.py").write_text(LOSSES)
    (project / "watch.py").write_text(
        "import pytorch_lightning as pl\n\n"
        "class Watch(pl.Callback):\n"
        "    def __init__(self, word='none'):\n        self.word = word\n\n"
        "    def on_fit_end(self, trainer, pl_module):\n        print('watched', self.word)\n"
    )
    quick = ("--model_name", "mlp", "--fast_dev_run", "true")
    run(*quick, "--loss", "losses.Scaled", "--scale", "0.5")
    run(*quick, "--loss", "losses.halved", "--power", "2", "--task", "classification")
    own = '[{"class_path": "watch.Watch", "init_args": {"word": "this"}}]'
    assert "watched this" in run(*quick, "--callbacks", own)


def test_a_callback_of_lightning(run: Run, project: Path) -> None:
    averaging = '{"class_path": "EMAWeightAveraging", "init_args": {"decay": 0.5}}'
    run(*QUICK, f"--callbacks+={averaging}")
    file = project / "runs/digits-mlp/version_0/config.yaml"
    config = yaml.safe_load(file.read_text())
    assert config["callbacks"][-1]["init_args"]["decay"] == 0.5
    assert config["callbacks"][0] == "early_stopping"
    run("--config", file)
    run(*QUICK, "--callbacks+=Timer", "--Timer.duration", "00:00:00:00", "--max_epochs", "3")
    rows = read(project / "runs/digits-mlp/version_2/metrics.csv")
    assert not any(row.get("val_loss") for row in rows), "no time was given"


HUNGRY = """
import torch
from torch import nn

class Hungry(nn.Module):
    steps = 0

    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    def forward(self, x):
        Hungry.steps += self.training
        if len(x) > 16 and Hungry.steps > 30:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layers(x)
"""


HEAVY = """
import os
import signal

import torch


class Heavy(torch.utils.data.Dataset):
    num_classes = 10

    def __len__(self):
        return 200

    def __getitem__(self, index):
        return torch.rand(1, 8, 8), index % 10

    def get_batch(self, indices):
        if len(indices) > 16 and torch.utils.data.get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does
        return torch.rand(len(indices), 1, 8, 8), indices % 10
"""


def test_out_of_memory_while_loading(run: Run, project: Path) -> None:
    (project / "data/heavy.py").write_text(HEAVY)
    words = ("--model_name", "mlp", "--dataset", "heavy", "--max_epochs", "1", "--num_workers", "1")
    shown = run(*words, "--auto_batch", "true")
    assert "going on with --batch_size 16 --accumulate_grad_batches 4" in shown


def test_out_of_memory(run: Run, project: Path) -> None:
    (project / "model/hungry.py").write_text(HUNGRY)
    words = ("--model_name", "hungry", "--max_epochs", "3", "--enable_progress_bar", "false")
    shown = run(*words, code=1)
    assert "CUDA out of memory" in shown
    assert "--batch_size 32 --accumulate_grad_batches 2; --auto_batch true" in shown
    shown = run(*words, "--auto_batch", "true", "--name", "small")
    assert "going on with --batch_size 16 --accumulate_grad_batches 4" in shown
    folder = project / "runs/small/version_0"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["batch_size"], config["trainer"]["accumulate_grad_batches"]) == (16, 4)
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 3 * 20, "each sample was seen once an epoch"


def test_profile(run: Run) -> None:
    shown = run(*QUICK, "--profile", "true", "--num_workers", "0")
    for part in ("waiting for data", "forward", "backward", "logging", "checkpointing"):
        assert re.search(rf"{part} +│ +\d", shown), shown
    assert re.search(r"total .* 100%", shown)


@pytest.mark.parametrize(
    ("waiting", "advice"),
    [(0.5, ""), (5.0, "try a larger --batch_size"), (50.0, "try --num_workers 4")],
)
def test_advice_of_the_profile(
    waiting: float, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    profiler = TimeProfiler(pl.Trainer(logger=False, accelerator="cpu"))
    profiler.num_batches = 1000
    profiler.seconds |= {"forward": 9.0, "waiting for data": waiting}
    profiler.print_table(num_workers=2)
    assert (f"training waits for data; {advice}" in capsys.readouterr().out) == bool(advice)


class TestDefaults:
    """What config.yaml records and nobody gave stays a default."""

    def test_a_dataset_of_torchvision(self, run: Run, project: Path) -> None:
        fake = ("--dataset", "torchvision:FakeData", "--size", "60", "--batch_size", "16")
        shape = ("--data.image_size", "[1,8,8]", "--data.num_classes", "3")
        run(*QUICK, *fake, *shape, "--max_epochs", "1", "--name", "fake")
        for words in (("test",), ("predict",), ("--resume", "fake", "--max_epochs", "2")):
            run(*words)
        run("--config", "runs/fake/version_0/config.yaml")

    def test_a_loss_with_an_optional_target(self, run: Run, project: Path) -> None:
        (project / "losses.py").write_text(
            "from torch.nn.functional import cross_entropy\n\n"
            "def loss(output, target=None, shift=(0, 1)):\n"
            "    assert isinstance(shift, tuple)\n"
            "    return cross_entropy(output, target)\n"
        )
        run(*QUICK, "--loss", "losses.loss", "--task", "classification")
        run("test")
        assert "--loss_args.target" not in run("--help", "all", "--loss", "losses.loss")


def test_a_loss_with_required_arguments(run: Run, project: Path) -> None:
    (project / "losses.py").write_text(
        "from torch import nn\n\n"
        "class Power(nn.Module):\n"
        "    def __init__(self, gamma: int):\n"
        "        super().__init__()\n        self.gamma = gamma\n\n"
        "    def forward(self, output, target):\n"
        "        return nn.functional.cross_entropy(output, target) ** self.gamma\n\n"
        "def smooth(output, target, smoothing: float):\n"
        "    return nn.functional.cross_entropy(output, target, label_smoothing=smoothing)\n"
    )
    quick = ("--model_name", "mlp", "--fast_dev_run", "true", "--task", "classification")
    run(*quick, "--loss", "losses.Power", "--gamma", "2")
    run(*quick, "--loss", "losses.smooth", "--smoothing", "0.1")
    assert "type --gamma VALUE" in run(*quick, "--loss", "losses.Power", code=2)


def test_clipping_in_half_precision(run: Run, project: Path) -> None:
    words = ("--precision", "bf16-mixed", "--gradient_clip_val", "1", "--max_epochs", "1")
    assert ", AdamW," in run(*QUICK, *words), "not fused"


class TestWhichCheckpoint:
    def test_results_are_of_one(self, run: Run, project: Path) -> None:
        """What was measured of an earlier best checkpoint is not kept beside that of a later."""
        run(*QUICK, "--max_epochs", "1", "--lr_scheduler", "null")
        file = project / "runs/digits-mlp/version_0/metrics.json"
        run("validate")
        first = json.loads(file.read_text())
        assert "val_acc" in first and "test_acc" in first
        run("--resume", "--max_epochs", "3")
        second = json.loads(file.read_text())
        assert second["checkpoint"] != first["checkpoint"] and "val_acc" not in second

    def test_the_best_of_an_unfinished_run(self, run: Run, project: Path) -> None:
        """Of several that are kept, before metrics.json tells."""
        words = ("--save_top_k", "3", "--max_epochs", "6", "--monitor", "val_acc")
        run(*QUICK, *words, "--lr", "5e-3")
        folder = project / "runs/digits-mlp/version_0"
        best = json.loads((folder / "metrics.json").read_text())["checkpoint"]
        assert len([*folder.glob("checkpoints/epoch=*.ckpt")]) == 3
        (folder / "metrics.json").unlink()
        for kept in folder.glob("checkpoints/*.ckpt"):
            kept.touch()  # as a copy of the folder does
        run("test")
        assert json.loads((folder / "metrics.json").read_text())["checkpoint"] == best
        assert best.removesuffix(".ckpt").partition("-")[2] in run("runs")

    def test_every_n_train_steps(self, run: Run, project: Path) -> None:
        """All are kept, and the metric in a name is that of its weights."""
        run(*QUICK, "--every_n_train_steps", "7", "--save_top_k", "-1")
        folder = project / "runs/digits-mlp/version_0/checkpoints"
        names = {file.stem for file in folder.iterdir()}
        assert {f"step={n}" for n in (7, 14, 21, 28, 35)} <= names
        best = [file for file in folder.iterdir() if "val_loss" in file.stem]
        steps = {torch.load(file)["global_step"] for file in best}
        assert len(best) == 2 and steps == {20, 40}, "where it was validated"
        assert torch.load(folder / "step=14.ckpt")["global_step"] == 14


def test_names_with_a_slash(run: Run, project: Path) -> None:
    run(*QUICK, "--name", "study/first", "--limit_train_batches", "2")
    assert "study/first/version_0" in run("runs")
    run("test", "study/first")
    run("--resume", "last", "--max_epochs", "3")
    assert "choose one of: study/first" in run("test", "nosuch", code=2)


def test_reproduce_under_another_root(run: Run, project: Path) -> None:
    few = (*QUICK, "--limit_train_batches", "2")
    run(*few)
    run(*few, "--default_root_dir", "other", "--lr", "0.1", "--name", "a")
    shown = " ".join(run("reproduce", "a", "--root", "other").split())
    assert "other/a/version_1 agrees with other/a/version_0 bit for bit" in shown
    assert not (project / "runs/digits-mlp/version_1").exists()


def test_profiler_of_lightning(run: Run, project: Path) -> None:
    shown = run(*QUICK, "--profiler", "simple", "--max_epochs", "1")
    folder = project / "runs/digits-mlp/version_0"
    assert f"the profile goes to runs/{folder.parent.name}/version_0" in shown
    assert "run_training_epoch" in (folder / "fit-profile.txt").read_text()


def test_a_missing_module(run: Run, project: Path) -> None:
    """Of a dropped-in file, or inside an optional package."""
    (project / "model/lacking.py").write_text(
        "import torch\nimport no_such.package\nclass Lacking: ..."
    )
    shown = run("--model_name", "lacking", code=2)
    assert "model/lacking.py, line 2, needs the module 'no_such'" in shown
    assert shown.endswith("type: uv add no_such\n") and "Traceback" not in shown
    (project / "wandb.py").write_text("import no_such_part\n")
    shown = run(*QUICK, "--loggers", "[wandb]", code=2)
    assert "Traceback" not in shown and "no_such_part" in shown
    assert not (project / "runs").exists()


FROM_PYTHON = """
import json, signal, sys, threading
from main import OWNERS, build, main, parse, run

words = ["--model_name", "mlp", "--max_epochs", "1", "--enable_progress_bar", "false"]
sys.argv = ["agent.py", "--sweep"]
codes = []
thread = threading.Thread(target=lambda: codes.append(main([*words, "--name", "thread"])))
thread.start()
thread.join()
assert codes == [0]
facts = json.load(open("runs/thread/version_0/run.json"))
assert facts["commands"] == [["main.py", *words, "--name", "thread"]]

job = run([*words, "--name", "direct"])
assert job.results == json.load(open(job.folder / "metrics.json"))
assert job.results["test_acc"] > 0.5
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "as before"

job = build(parse([*words, "--name", "built"], OWNERS))
job.trainer.fit(job.model, job.data)
assert job.trainer.global_step == 20 and (job.folder / "checkpoints/last.ckpt").exists()
"""


def test_from_python(project: Path) -> None:
    """In a thread, as agents of sweeps do; with the run and its metrics back; step by step."""
    done = subprocess.run(
        [sys.executable, "-c", FROM_PYTHON], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


DROPPED = {
    "commands/count.py": """
from core.job import Job, use

def count(job: Job, *, unit: int = 1, **which: str) -> None:
    '''Count the parameters of a run.

    Args:
        job: Whose.
        unit: How many are one.
    '''
    use(job, **which)
    print("counted", sum(p.numel() for p in job.model.parameters()) // unit)
""",
    "commands/names.py": """
from core.cli.options import Options

def names(options: Options) -> None:
    '''Tell what is chosen.'''
    print("chosen", options.values["model_name"])
""",
    "callbacks/shout.py": """
from pathlib import Path
import pytorch_lightning as pl

class Shout(pl.Callback):
    '''Tells what it was given.

    Args:
        folder: The run's.
        monitor: Metric.
        mode: Its direction.
        word: What is shouted.
    '''
    def __init__(self, folder: Path, monitor: str, mode: str, word: str = "hey"):
        self.text = f"{word} {folder} {monitor} {mode}"

    def on_fit_end(self, trainer, pl_module):
        print(self.text)
""",
}


def test_dropped_in_commands_and_callbacks(run: Run, project: Path) -> None:
    for name, text in DROPPED.items():
        (project / name).write_text(text)
    shown = run("--help")
    assert "count      Count the parameters of a run." in shown and "names " in shown
    words = ("--callbacks+=shout", "--callbacks+=Timer", "--shout.word", "hi")
    shown = run(*QUICK, *words, "--monitor", "val_acc", "--hidden_sizes", "8")
    assert "hi runs/digits-mlp/version_0 val_acc max" in shown
    config = yaml.safe_load((project / "runs/digits-mlp/version_0/config.yaml").read_text())
    assert config["callbacks"][-3:] == ["speed", "shout", "Timer"]
    assert config["shout"] == {"word": "hi"}
    file = "runs/digits-mlp/version_0/config.yaml"
    shown = run("--config", file, "--callbacks+=shout")  # which is there already
    assert shown.count("hi runs/digits-mlp/version_1") == 1
    parameters = 64 * 8 + 8 + 2 * 8 + 8 * 10 + 10  # with one batch norm
    assert f"counted {parameters // 2}" in run("count", "digits-mlp", "--unit", "2")
    assert "chosen vit" in run("names", "--model_name", "vit")
    assert "--shout.word" in run("--help", "shout", "--callbacks+=shout")


def test_a_callback_can_be_taken_out(run: Run, project: Path) -> None:
    shown = run(*QUICK[:4], "--callbacks", "[progress_bar]", "--lr", "1e-9")
    assert "Trainable params" not in shown
    rows = read(project / "runs/digits-mlp/version_0/metrics.csv")
    assert "lr-AdamW" not in rows[0]


def test_every_list_can_be_added_to(run: Run, project: Path) -> None:
    shown = run(
        "--help", "model", "--model_name", "mlp", "--hidden_sizes+=7", "--hidden_sizes+=[3]"
    )
    assert option(shown, "--model.hidden_sizes").endswith("; [256, 256, 7, 3])")
    (project / "a.yaml").write_text("model_name: mlp\nmodel:\n  hidden_sizes: [5]\n")
    shown = run("--config", "a.yaml", "--help", "model", "--model.hidden_sizes+=7")
    assert option(shown, "--model.hidden_sizes").endswith("; [5, 7])")


def test_a_logger_is_added_to_the_usual_ones(run: Run, project: Path) -> None:
    shown = run("--help", "run", "--loggers+=wandb")
    assert option(shown, "--loggers").endswith('; ["tensorboard", "csv", "wandb"])')
    run(*QUICK, "--loggers+=csv", "--limit_train_batches", "12")
    folder = project / "runs/digits-mlp/version_0"
    assert [*folder.glob("events.*")], "tensorboard is still there"
    rows = read(folder / "metrics.csv")
    assert len([row for row in rows if row["val_loss"]]) == 2, "each row once"


class TestHelp:
    def test_one_screen(self, run: Run, project: Path) -> None:
        """With a network and a dataset of many options."""
        arguments = ", ".join(f"n_{i}: int = {i}" for i in range(40))
        for folder, base in (("model", "nn.Module"), ("data", "utils.data.Dataset")):
            (project / folder / "many.py").write_text(
                f"import torch\nfrom torch import nn, utils\n\nclass Many({base}):\n"
                f"    def __init__(self, {arguments}): super().__init__()\n"
            )
        words = ("--callbacks", "[early_stopping,Timer,DeviceStatsMonitor,ModelSummary]")
        shown = run("--help", "--model_name", "many", "--dataset", "many", *words)
        assert len(shown.splitlines()) <= 60
        assert "--model.n_14 " in shown and "--model.n_15 " not in shown
        assert "And 25 more: --help model" in shown
        assert max(map(len, shown.splitlines())) <= 120

    def test_every_option_stands_on_one_page(self, run: Run) -> None:
        def keys(page: str) -> list[str]:
            return re.findall(r"^  --(\S+)$", run("--help", page), re.M)

        pages = run("--help", "nosuch", code=2).partition("choose one of: ")[2].split(", ")
        assert {"fit", "model", "data", "run", "trainer", "early_stopping"} <= {*pages}
        found = [key for page in pages[:-1] for key in keys(page)]
        assert pages[-1].strip() == "all" and found == keys("all")
        assert len(found) == len({*found}) > 100
