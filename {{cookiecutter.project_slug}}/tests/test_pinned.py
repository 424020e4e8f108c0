"""Runs that are pinned still train as they did: `python main.py reproduce RUN --pin true`.

Their first losses are the same bit for bit on the machine, and with the versions, that they were
made with; elsewhere rounding is allowed for, and only the first few are compared. If a change is
meant to change them, pin the run anew.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

PINNED = sorted(file.parent for file in ROOT.glob("tests/pinned/*/first_steps.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("folder", PINNED, ids=lambda folder: folder.name)
def test_first_steps(folder: Path) -> None:
    words = [sys.executable, "main.py", "reproduce", str(folder), "--steps", "20"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
