"""What a GPU would find: tensors of two devices that do not mix. No GPU is needed.

`other_device/` makes a device of the host's memory, with g++.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from .command import Project, until
from .conftest import Bake
from .test_runs import NOISY, assert_same_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="compiles with g++"),
]

HERE = Path(__file__).parent / "other_device"
BUILD = """
import subprocess, sys
from torch.utils.cpp_extension import include_paths, library_paths
folders = [f"-I{place}" for place in include_paths()] + [f"-L{place}" for place in library_paths()]
flags = ["-shared", "-fPIC", "-std=c++20", "-ltorch_cpu", "-lc10", "-o", sys.argv[2]]
subprocess.run(["g++", sys.argv[1], *folders, *flags], check=True)
"""


class OnDevice(Project):
    """`python main.py …` where a device called `other` is there, on that device."""

    def __init__(self, folder: Path, device: Path) -> None:
        super().__init__(folder)
        self.device = device

    def start(self, *words: object, python: Sequence[str] | None = None, **env: str) -> Any:
        """Starts it."""
        python = (str(HERE / "run.py"), str(self.device))
        on_device = ("--accelerator", "other", "--strategy", "other")
        return super().start(*words, *on_device, python=python, **env)


@pytest.fixture(scope="module")
def project(bake: Bake) -> Project:
    """A generated project."""
    return Project(bake())


@pytest.fixture(scope="module")
def device(project: Project, tmp_path_factory: pytest.TempPathFactory) -> OnDevice:
    """The same project, on the device."""
    library = tmp_path_factory.mktemp("device") / "device.so"
    subprocess.run([sys.executable, "-c", BUILD, HERE / "device.cpp", library], check=True)
    return OnDevice(project.folder, library)


WORDS = (*NOISY, "--loss_args.weight", "[1,2,1,1,1,1,1,1,1,1]", "--lr_scheduler", "one_cycle")


def results(project: Project, name: str) -> dict[str, Any]:
    """Its final metrics."""
    found: dict[str, Any] = json.loads((project.of(name) / "metrics.json").read_text())
    return {metric: value for metric, value in found.items() if metric != "checkpoint"}


def test_all_ends_as_on_the_cpu(project: Project, device: OnDevice) -> None:
    """Training, validation, test and prediction; with batches from either place."""
    words = (*WORDS, "--max_epochs", "2", "--name")
    project.run(*words, "cpu")
    device.run(*words, "loaded")
    shown = device.run(*words, "resident", "--on_device", "true", "--enable_model_summary", "true")
    assert "other:0, precision 32-true, AdamW, data on device" in shown
    for name in ("loaded", "resident"):
        assert results(device, name) == pytest.approx(results(project, "cpu"), rel=1e-4)
    for verb in ("test", "predict"):
        device.run(verb, "loaded")
    predictions = (device.of("loaded") / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 361


def test_a_stopped_run_goes_on(device: OnDevice) -> None:
    """Bit for bit, with all that the metrics had summed up."""
    words = (*WORDS, "--max_epochs", "8", "--name")
    device.run(*words, "peace")
    process = device.start(*words, "stopped")
    until(process, (device.of("stopped") / "checkpoints/last.ckpt").exists)
    process.send_signal(signal.SIGTERM)
    shown = process.communicate(timeout=300)[0]
    assert process.returncode == 143, shown
    device.run("--resume", "stopped")
    assert_same_run(device.of("peace"), device.of("stopped"))


def test_images_are_finished_there(device: OnDevice) -> None:
    """Those that workers have loaded, in a network whose images have their channels last."""
    for number, picture in enumerate(load_sample_images().images):
        folder = device.folder / "datasets/pictures" / f"class_{number}"
        folder.mkdir(parents=True)
        for left in range(0, 200, 20):
            Image.fromarray(picture[:100, left : left + 100]).save(folder / f"{left}.jpg")
    words = ["--dataset", "image_folder", "--root", "datasets/pictures", "--image_size", "32"]
    words += ["--num_workers", "2", "--channels_last", "true", "--batch_size", "4", "--width", "8"]
    device.run(*words, "--max_epochs", "2", "--enable_progress_bar", "false", "--name", "pictures")
    assert results(device, "pictures")["test_acc"] >= 0.5
