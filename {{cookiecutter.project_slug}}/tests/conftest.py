"""What the tests share: commands typed in a copy of this project."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project, to drop files into."""
    ignored = shutil.ignore_patterns("runs", "datasets", ".*", "__pycache__", "tests")
    return shutil.copytree(ROOT, tmp_path / "project", ignore=ignored)


@pytest.fixture
def run(project: Path) -> Run:
    """Types `python main.py …` in the copy: `run("fit", "--lr", "0.1", code=0)`."""

    def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "main.py", *map(str, words)]
        environment = os.environ | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run
