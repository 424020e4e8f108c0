"""Runs that a command starts, each a process and a folder of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

from core import ROOT
from core.runs.folders import discard_folder, next_version


def repeat(folder: Path) -> tuple[Path, int]:
    """Trains a run again: the next folder beside its own, which can be resumed; the exit code."""
    new = next_version(folder.parent, str(folder.parent.parent))
    shutil.copy(folder / "config.yaml", new)
    words = [sys.executable, str(ROOT / "main.py"), "fit", "--resume", str(new.resolve())]
    code = subprocess.run(words, check=False).returncode
    if code == 2:
        discard_folder(new)
    return new, code
