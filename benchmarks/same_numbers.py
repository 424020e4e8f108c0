"""Shows that a change of the code changed no number: two checkouts train the same, bit for bit.

python same_numbers.py OLD NEW                  # two checkouts of this repository
python same_numbers.py OLD NEW --keep FOLDER    # the next time OLD need not be trained again

Compared are the weights of all checkpoints, every logged value and the final results; then what NEW
makes of the runs of OLD: it tests them, repeats them from their config.yaml, and goes on with them.
"""

import argparse
import contextlib
import csv
import hashlib
import importlib
import json
import multiprocessing
import os
import runpy
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPLATE = "{{cookiecutter.project_slug}}"

# To import all this takes most of the time of a short run: the process that is forked has done it.
IMPORTS = ["pytorch_lightning", "torchvision.transforms.v2", "torch.utils.tensorboard"]
IMPORTS += ["jsonargparse", "sklearn.datasets"]

MLP = "--model_name mlp --dropout 0.2 --max_epochs"
PLATEAU = "--lr 0.03 --lr_scheduler plateau --lr_scheduler_args.patience 0 --monitor val_acc"
PICTURES = "--dataset image_folder --root pictures --image_size 32 --batch_size 4 --num_workers 1"
AVERAGE = "--lr_scheduler null --callbacks+=pytorch_lightning.callbacks.EMAWeightAveraging"

# By name: what is typed, and what is typed then to go on with the run.
RUNS: dict[str, list[str]] = {
    "resnet": ["--width 8 --max_epochs 2"],
    "mlp": [f"{MLP} 3"],
    "workers": [f"{MLP} 3 --num_workers 2"],
    "plateau": [f"{MLP} 12 {PLATEAU} --mode max --save_top_k 2 --early_stopping.patience 2"],
    "one_cycle": [f"{MLP} 3 --lr_scheduler one_cycle --accumulate_grad_batches 3"],
    "cosine": [f"{MLP} 3 --lr_scheduler cosine --warmup_steps 30 --val_check_interval 7"],
    "own": ["--model_name own --max_epochs 3"],
    "pictures": [f"{PICTURES} --width 8 --max_epochs 2"],
    "regression": ["--dataset waves --model_name mlp --loss mse --max_epochs 3"],
    "average": [f"{MLP} 3 {AVERAGE}"],
    "ddp": [f"{MLP} 2 --accelerator cpu --devices 2 --strategy ddp --batch_size 16"],
    "stopped": [f"{MLP} 3 --callbacks+=stop.Stop", "--resume stopped"],
    "longer": [f"{MLP} 2", "--resume longer --max_epochs 3"],
}
REPEATED = ["resnet", "plateau", "cosine", "own", "regression", "average"]
TESTED = ["resnet", "mlp", "plateau", "own", "pictures", "regression", "average"]

FILES = {
    "stop.py": """
import os
import signal

import pytorch_lightning as pl

class Stop(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 27 and not os.path.exists("has_stopped"):
            open("has_stopped", "w").close()  # only once
            os.kill(os.getpid(), signal.SIGTERM)
""",
    "model/own.py": """
import pytorch_lightning as pl
import torch

class Own(pl.LightningModule):
    def __init__(self, num_classes: int):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))

    def training_step(self, batch, batch_idx, stage="train"):
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log(f"{stage}_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.training_step(batch, batch_idx, "val")

    def test_step(self, batch, batch_idx):
        self.training_step(batch, batch_idx, "test")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 1.0, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]
""",
    "data/waves.py": """
import torch

class Waves(torch.utils.data.TensorDataset):
    input_size = (4,)
    num_classes = 1

    def __init__(self, size: int = 300):
        inputs = torch.randn(size, 4, generator=torch.Generator().manual_seed(0))
        super().__init__(inputs, inputs.sin().sum(1))
""",
}


def type_command(project: Path, command: str) -> None:
    """Types `python main.py …` in a project; what is printed goes to its shown.txt.

    Raises:
        RuntimeError: It ends with another exit code than it should.
    """
    if not (project / "callbacks").is_dir():  # how it was typed before callbacks had a folder
        command = command.replace("--callbacks+=", "--callbacks ")
    process = multiprocessing.get_context("fork").Process(target=_main, args=(project, command))
    process.start()
    assert process.pid
    try:
        process.join()
    finally:  # what a process leaves behind goes with it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.exitcode != (143 if "stop.Stop" in command else 0):
        end = (project / "shown.txt").read_text(errors="replace").splitlines()[-8:]
        raise RuntimeError("\n    ".join([f"exit code {process.exitcode} of {command}", *end]))


def _main(project: Path, command: str) -> None:
    os.setsid()
    os.chdir(project)
    shown = os.open("shown.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(shown, f"\n$ python main.py {command}\n".encode())
    for number in (1, 2):
        os.dup2(shown, number)
    signal.alarm(300)  # none takes as long, unless it hangs
    sys.path.insert(0, str(project))
    sys.argv = ["main.py", *shlex.split(command)]
    runpy.run_path("main.py", run_name="__main__")


def make_project(checkout: Path, project: Path) -> None:
    """Copies a checkout's project, whose Python and config.yaml hold no template syntax."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    source = checkout / TEMPLATE

    def ignored(folder: str, names: list[str]) -> set[str]:
        results = {"runs", "datasets"} if Path(folder) == source else set()  # not core/runs
        return results | {n for n in names if n.startswith(".") or n == "__pycache__"}

    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(source, project, ignore=ignored)
    for name, text in FILES.items():
        (project / name).write_text(text)
    for number, photograph in enumerate(load_sample_images().images):
        folder = project / f"pictures/class_{number}"
        folder.mkdir(parents=True)
        for left in range(0, 200, 20):
            Image.fromarray(photograph[:100, left : left + 100]).save(folder / f"{left}.jpg")


def train(project: Path, name: str, commands: list[str]) -> dict[str, Any]:
    """Trains a run and tells its numbers: those of its weights, what was logged, the results."""
    try:
        for number, command in enumerate(commands):
            if number:
                shutil.copytree(project / "runs" / name, project / "runs_before" / name)
            begins = not command.startswith(("--resume", "test"))
            begun = f" --name {name} --enable_progress_bar false" if begins else ""
            type_command(project, command + begun)
        folder = project / "runs" / name / "version_0"
        table = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
        rows = [{k: v for k, v in row.items() if v and "time" not in k} for row in table]
        weights = {file.stem: _digest(file) for file in folder.glob("checkpoints/*.ckpt")}
        results = json.loads((folder / "metrics.json").read_text())
        return {"rows": rows, "weights": weights, "results": results}
    except (OSError, RuntimeError) as error:
        return {"error": str(error)}


def _digest(checkpoint: Path) -> str:
    """One of the names, types, shapes and bytes of all weights."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(torch.load(checkpoint, weights_only=True)["state_dict"].items()):
        digest.update(repr((name, value.dtype, value.shape)).encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def kept(checkout: Path, folder: Path) -> Path:
    """The project of OLD with its runs and records.json, trained unless it is there already."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted((checkout / TEMPLATE).rglob("*")):
        if file.suffix in (".py", ".yaml"):
            digest.update(repr((file.name, file.read_bytes())).encode())
    place, project = folder / f"old_{digest.hexdigest()[:12]}", folder / "project"
    if not place.exists():
        make_project(checkout, project)
        records = {name: train(project, name, commands) for name, commands in RUNS.items()}
        for name, found in records.items():
            if "error" in found:
                raise SystemExit(f"OLD does not train {name}: {found['error']}")
        (project / "records.json").write_text(json.dumps(records))
        project.rename(place)
    return place


def pairs(old: Path, new: Path, project: Path) -> Iterator[tuple[str, Any, Any]]:
    """What should be the same: its title, the numbers of OLD, those of the checkout NEW.

    Both are trained in one folder, for in another a run that goes on forgets its best checkpoints.
    """
    records = json.loads((old / "records.json").read_text())
    make_project(new, project)
    for name, commands in RUNS.items():
        found = train(project, name, commands)
        yield name, records[name], found
        if name == "stopped":
            yield "stopped, as if nothing had happened", records["mlp"], found
    (project / "runs").mkdir(exist_ok=True)  # if nothing could be trained
    (project / "runs").rename(project / "runs_new")
    shutil.copytree(old / "runs", project / "runs")
    for name in TESTED:
        file = project / "runs" / name / "version_0/metrics.json"
        results = json.loads(file.read_text())  # those of the test are to come back
        file.write_text(json.dumps({k: v for k, v in results.items() if k[:5] != "test_"}))
        yield f"{name} of OLD, tested", records[name], train(project, name, [f"test {name}"])
    for name in REPEATED:
        commands = [f"--config runs/{name}/version_0/config.yaml"]
        yield f"{name} of OLD, repeated", records[name], train(project, f"again_{name}", commands)
    for name in ("stopped", "longer"):
        shutil.rmtree(project / "runs" / name)
        shutil.copytree(old / "runs_before" / name, project / "runs" / name)
        yield f"{name} of OLD, gone on with", records[name], train(project, name, RUNS[name][1:])


def differences(one: Any, other: Any) -> list[str]:
    """Where they are not the same."""
    if "error" in other:
        return [other["error"]]
    before, after = _flat(one), _flat(other)
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return [f"{name}: {before.get(name)} became {after.get(name)}" for name in names]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if not isinstance(value, dict | list):
        return {name.removeprefix("."): str(value)}  # of a float all digits, and nan equals nan
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {n: v for key, inner in items for n, v in _flat(inner, f"{name}.{key}").items()}


def main() -> int:
    """Prints a line for each pair; 1 if any differs."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--keep", type=Path)
    chosen, code = parser.parse_args(), 0
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120"}
    for module in IMPORTS:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        old = kept(chosen.old, folder)
        for title, one, other in pairs(old, chosen.new, folder / "project"):
            found = differences(one, other)
            print(f"{title}: {'; '.join(found[:3]) or 'same'}", flush=True)
            code |= bool(found)
    return code


if __name__ == "__main__":
    sys.exit(main())
