"""A run that is trained again, from what it recorded."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from core import ROOT
from core.runs.folders import discard_folder, next_version
from core.runs.record import read_run


def repeat(folder: Path) -> tuple[Path, int]:
    """Trains a run again: the next folder beside its own, which can be resumed; the exit code."""
    new = next_version(folder.parent, str(folder.parent.parent))
    code = train_again(folder, new)
    if code == 2:
        discard_folder(new)
    return new, code


def train_again(folder: Path, new: Path, *words: str, is_quiet: bool = False) -> int:
    """Trains a run again in another folder, with as many threads; the exit code.

    Args:
        folder: The run's.
        new: Where it is trained again.
        words: Further ones of the command line.
        is_quiet: Whether to print nothing but what is wrong.
    """
    shutil.copy(folder / "config.yaml", new)
    threads = read_run(folder).get("threads")  # the order of sums depends on it
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if threads else ()
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "fit", "--resume", str(new.resolve()), *words],
        check=False,
        env=os.environ | {name: str(threads) for name in names},
        stdout=subprocess.DEVNULL if is_quiet else None,
    )
    return done.returncode
