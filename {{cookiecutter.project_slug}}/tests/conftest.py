"""What the tests share: commands typed in a copy of this project."""

import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]

os.environ |= {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}

# To import all this takes most of the time of a short command: a fork server has done it.
IMPORTS = ["pytorch_lightning", "torchvision.transforms.v2", "torch.utils.tensorboard", "sklearn"]
processes: Any = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
if os.name != "nt":
    processes.set_forkserver_preload([*IMPORTS, "jsonargparse"])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project, to drop files into."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        top = {"runs", "datasets", "tests"} if Path(folder) == ROOT else set()
        return {name for name in names if name in top or name[0] == "." or name == "__pycache__"}

    return shutil.copytree(ROOT, tmp_path / "project", ignore=ignored)


@pytest.fixture
def run(project: Path) -> Run:
    """Types `python main.py …` in the copy: `run("fit", "--lr", "0.1", code=0)`."""

    def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        texts = [project.with_name(name) for name in ("stdout", "stderr")]
        typed = [*map(str, words)]
        process = processes.Process(target=main, args=(project, typed, *texts))
        process.start()
        process.join(300)
        done = subprocess.CompletedProcess(typed, code, *(text.read_text() for text in texts))
        assert process.exitcode == code, done.stdout + done.stderr
        return done

    return run


def main(project: Path, words: list[str], stdout: Path, stderr: Path) -> None:
    """Is `python main.py …` in a process of its own."""
    for number, file in enumerate((stdout, stderr), start=1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    multiprocessing.set_start_method(None, force=True)  # workers start as ever
    os.chdir(project)
    sys.path.insert(0, str(project))
    sys.argv = ["main.py", *words]
    runpy.run_path("main.py", run_name="__main__")
