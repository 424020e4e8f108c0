"""Runs that a command starts, each a process and a folder of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

from core import ROOT
from core.runs.folders import discard_folder, next_version


def repeat(folder: Path) -> tuple[Path, int]:
    """Trains a run again, in the next folder beside its own.

    Args:
        folder: The run's.

    Returns:
        The new folder, in which `--resume` goes on if it was interrupted; and the exit code.
    """
    new = next_version(folder.parent, str(folder.parent.parent))
    shutil.copy(folder / "config.yaml", new)
    code = train(["--resume", str(new.resolve())])
    if code == 2:
        discard_folder(new)
    return new, code


def train(words: list[str]) -> int:
    """Types `python main.py fit …`, and returns the exit code."""
    return subprocess.run([sys.executable, ROOT / "main.py", "fit", *words], check=False).returncode
