"""What is written down of a run: `run.json`, how it was made and its state; `metrics.json`.

A lock on `.lock` tells that a run is still running; the system takes it back however the process
ends.
"""

import contextlib
import csv
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core import ROOT
from core.errors import Pruned, UsageError
from core.runs.processes import Stopped, is_helper

# What a logged name is made of: stage, metric, and whether it is of each step.
_LOGGED = re.compile(r"^(?:(train|val|test)[_/])?(.+?)(_step)?$")
_locks: dict[Path, Any] = {}  # kept until the run ends


@contextlib.contextmanager
def recorded(folder: Path | None, arguments: list[str], **facts: Any) -> Iterator[None]:
    """Records in a folder's `run.json` that a run begins, or goes on, and how it ends."""
    if folder is None or is_helper():
        yield
        return
    _start(folder, ["main.py", *arguments], facts)
    state = ""
    try:
        yield
        state = "finished"
    except Pruned:
        state = "pruned"
        raise
    finally:
        state = state or ("interrupted" if Stopped.last else "failed")
        with contextlib.suppress(OSError):  # the folder is gone, or the disk full
            update_run(folder, state=state)
        if folder in _locks:
            _locks.pop(folder).release()


def claim(folder: Path) -> None:
    """Locks a run's folder, before anything in it is touched.

    Raises:
        UsageError: The run is still running.
    """
    if not is_helper() and folder not in _locks:
        if not (lock := _lock(folder, timeout=1)):  # others may look at it
            raise UsageError(f"{folder} is still running")
        _locks[folder] = lock


def _lock(folder: Path, timeout: float = 0) -> Any:
    """The lock of a folder, None if it is locked for so many seconds."""
    from filelock import FileLock, Timeout  # only here: it takes a moment

    lock = FileLock(folder / ".lock")
    with contextlib.suppress(Timeout):
        lock.acquire(timeout)
    return lock if lock.is_locked else None


def _start(folder: Path, command: list[str], facts: dict[str, Any]) -> None:
    """Records all that is needed to repeat the run."""
    earlier = read_run(folder)
    source = _git("diff", "HEAD", "--binary")
    for file in _git("ls-files", "--others", "--exclude-standard", "--", "*.py", "*.yaml").split():
        source += _git("diff", "--no-index", os.devnull, file)
    if source:
        (folder / "uncommitted.diff").write_text(source, encoding="utf-8")
    found = [info.stem.partition("-") for p in sys.path for info in Path(p).glob("*.dist-info")]
    update_run(
        folder,
        state="running",
        started=earlier.get("started", time.time()),
        resumed=time.time(),
        seconds_before=earlier.get("seconds", 0),
        commands=[*earlier.get("commands", []), command],
        commit=_git("rev-parse", "--verify", "--quiet", "HEAD").strip(),
        host=platform.node(),
        platform=platform.platform(),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        python=platform.python_version(),
        packages=dict(sorted({name: version for name, _, version in found}.items())),
        **facts,
    )


def _git(*words: str) -> str:
    """What git prints about this project; nothing without git or repository."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")


def update_run(folder: Path, **facts: Any) -> None:
    """Changes what `run.json` tells."""
    now = time.time()
    found = {"started": now, "resumed": now, "seconds_before": 0} | read_run(folder) | facts
    found["seconds"] = round(found["seconds_before"] + now - found["resumed"])
    part = folder / ".run.json.part"
    part.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / "run.json")


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` tells, with the state that holds now."""
    found = read_results(folder / "run.json")
    if found.get("state") == "running" and not _is_locked(folder):
        found["state"] = "interrupted"
    return found


def _is_locked(folder: Path) -> bool:
    if folder in _locks or not (folder / ".lock").exists():
        return folder in _locks
    if lock := _lock(folder):
        lock.release()
    return lock is None


def read_results(file: Path) -> dict[str, Any]:
    """What such a file as `metrics.json` holds; nothing if there is none."""
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def read_first_steps(folder: Path) -> list[tuple[int, str]]:
    """A run's first steps and their losses, in full or empty; none if it wrote none down."""
    file = folder / "first_steps.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        return [(int(row["step"]), row["loss"]) for row in csv.DictReader(lines)]


def read_curves(file: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Steps and values in `metrics.csv`: by metric and stage, "" of what belongs to none."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    text = file.read_text("utf-8") if file.is_file() else ""
    for row in csv.DictReader(text.splitlines()):
        for name, value in row.items():
            stage, metric, each = _LOGGED.findall(name)[0]
            if value and metric not in ("step", "epoch") and stage != "test":
                lines = found.setdefault(metric, {})
                points = lines.setdefault(f"{stage}{', each step' if each else ''}", [])
                points.append((int(row["step"]), float(value)))
    return found


def save_results(file: Path, results: dict[str, Any]) -> None:
    """Writes final metrics to such a file as `metrics.json`, beside others of the same weights."""
    before = read_results(file)
    if before.get("checkpoint") == results.get("checkpoint"):
        results = before | results
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    part.replace(file)
