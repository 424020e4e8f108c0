"""Run folders: `runs/NAME/version_N` with options, logs, checkpoints and results.

`run.json` tells a run's state and how it was made; a lock on `.lock` that it is still running,
which the system takes back however the process ends.
"""

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from core.lookup import ROOT, UsageError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


# Those that ask to stop; the last is SLURM's, shortly before the time is up.
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
]


class RunError(Exception):
    """A run can't go on; the message says why."""


class TryAgain(Exception):
    """What was asked for can be done with other options, by key."""

    def __init__(self, changes: dict[str, Any]) -> None:
        super().__init__(changes)
        self.changes = changes


class Stopped(BaseException):
    """The process was asked to stop, by one of the `STOP_SIGNALS`."""

    last = 0  # the signal; whatever is raised afterwards, while Lightning cleans up, is its doing

    def __init__(self, number: int) -> None:
        super().__init__(number)
        Stopped.last = number

    @staticmethod
    def now(number: int, frame: Any) -> NoReturn:
        """A signal handler."""
        raise Stopped(number)


def make_folder(root: str, default_name: str, *, name: str | None = None) -> Path:
    """Makes the next free `root/name/version_N`.

    Args:
        root: Folder of all runs.
        default_name: Name where none is chosen.
        name: Name of the run's folder; by default DATASET-MODEL.

    Raises:
        UsageError: The folder can't be written.
    """
    if is_helper():  # process 0 makes it
        return Path(_shared(None))
    parent = Path(root) / (name or default_name)
    number = max((n for n, _ in _versions(parent)), default=-1)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            number += 1
            try:
                (parent / f"version_{number}").mkdir()
                break
            except FileExistsError:  # another run was quicker
                continue
    except OSError as error:
        raise UsageError(
            f"--default_root_dir {root}: can't write there ({error.strerror})"
        ) from None
    return Path(_shared(str(parent / f"version_{number}")))


def is_helper() -> bool:
    """Whether this is one of several processes of a run, and not the first."""
    numbers = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
    return any(int(os.environ.get(number) or 0) for number in numbers)


def _shared(folder: str | None) -> str:
    """Hands the folder over from process 0 to the others, which give None."""
    from lightning_fabric.plugins import environments as kinds
    from torch.distributed import TCPStore

    place: kinds.ClusterEnvironment | None = None
    is_torchrun = kinds.TorchElasticEnvironment.detect()  # it keeps a store
    if is_torchrun:
        place = kinds.TorchElasticEnvironment()
    elif kinds.SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1:
        place = kinds.SLURMEnvironment()
    elif "NODE_RANK" in os.environ and "RUN_FOLDER" not in os.environ:
        place = kinds.LightningEnvironment()
    if place:
        port, is_host = place.main_port + (not is_torchrun), not is_torchrun and folder is not None
        store = TCPStore(place.main_address, port, is_master=is_host, wait_for_workers=False)
        _kept.append(store)  # others may read it later
        key = f"run folder {os.environ.get('TORCHELASTIC_RESTART_COUNT')}"
        if folder:
            store.set(key, folder)
        folder = store.get(key).decode()
    os.environ["RUN_FOLDER"] = folder or os.environ["RUN_FOLDER"]  # Lightning starts the others
    return os.environ["RUN_FOLDER"]


_kept: list[Any] = []


def discard_folder(folder: Path | None) -> None:
    """Removes a folder made for a run that could not start."""
    if folder and not is_helper() and not (folder / "checkpoints").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.parents[:2]:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def find_folder(root: str, run: str, needs_weights: bool = True) -> Path:
    """The folder of an earlier run.

    Args:
        root: Folder of all runs.
        run: `last` for the newest; a folder; a name, with or without /version_N; or N alone, for
            the newest of this number.
        needs_weights: Whether to pass over runs that saved none.

    Raises:
        UsageError: There is no such run.
    """
    for place in (Path(run), Path(root) / run):
        if (place / "config.yaml").is_file():
            return place
        versions = [v for v in _versions(place) if not needs_weights or has_weights(v[1])]
        if versions and run != "last":
            return max(versions)[1]
        if run != "last" and _versions(place):
            raise UsageError(f"no run in {place} has saved weights")
    runs = [f for f in all_folders(root) if not needs_weights or has_weights(f)]
    if numbered := [f for f in runs if f.name == f"version_{run}"]:
        return numbered[0]
    if run == "last" and runs:
        return max(runs, key=lambda folder: (folder / "config.yaml").stat().st_mtime_ns)
    known = sorted({folder.parent.name for folder in runs})
    hint = (
        f"choose one of: {', '.join(known)}" if known else f"{Path(root).resolve()} holds none yet"
    )
    raise UsageError(f"there is no run {run}; {hint}")


def requeued(root: str) -> str | None:
    """The run that this SLURM job began before SLURM put it back into the queue."""
    if not int(os.environ.get("SLURM_RESTART_COUNT") or 0):
        return None
    job = os.environ["SLURM_JOB_ID"]
    return next((str(f) for f in all_folders(root) if read_run(f).get("slurm_job") == job), None)


def requeue() -> None:
    """Puts this SLURM job back into the queue if it stops because its time is up."""
    job = os.environ.get("SLURM_JOB_ID")
    if job and not is_helper() and Stopped.last == STOP_SIGNALS[-1]:
        subprocess.run(["scontrol", "requeue", job], check=False)


def find_checkpoint(folder: Path, ckpt: str) -> Path:
    """A checkpoint of a run.

    Args:
        folder: The run's folder.
        ckpt: `best`, `last` or a file.

    Raises:
        UsageError: There is no such checkpoint.
    """
    saved = [*(folder / "checkpoints").glob("*.ckpt")]
    last = [file for file in saved if file.stem == "last"]
    best = [file for file in saved if file.stem != "last"]
    if results := read_results(folder / "metrics.json").get("checkpoint"):
        best = [file for file in best if file.name == results] or best
    found = {"best": best[-1:] or last, "last": last}.get(ckpt, [Path(ckpt)])
    if not found or not found[0].is_file():
        raise UsageError(
            f"--ckpt {ckpt}: {folder} has no such checkpoint; expected best, last or a file"
        )
    return found[0]


def read_results(file: Path) -> dict[str, float | str]:
    """What such a file as `metrics.json` holds; nothing if there is none."""
    found: dict[str, float | str] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def save_results(file: Path, results: dict[str, float | str]) -> None:
    """Adds final metrics to such a file as `metrics.json`."""
    file.write_text(json.dumps(read_results(file) | results, indent=2) + "\n")


def run_name(folder: Path) -> str:
    """`digits-resnet/version_0`."""
    return f"{folder.parent.name}/{folder.name}"


def all_folders(root: str) -> list[Path]:
    """The folders of all runs, the newest first."""
    files = sorted(Path(root).glob("*/version_*/config.yaml"), key=lambda f: f.stat().st_mtime_ns)
    return [file.parent for file in reversed(files)]


@contextlib.contextmanager
def recorded(folder: Path | None, **facts: Any) -> Iterator[None]:
    """Records in `run.json` that a run begins, or goes on, and how it ends.

    Args:
        folder: The run's folder; None records nothing.
        facts: More to record.
    """
    if folder is None or is_helper():
        yield
        return
    _start(folder, facts)
    state = ""
    try:
        yield
        state = "finished"
    finally:
        state = state or ("interrupted" if Stopped.last else "failed")
        with contextlib.suppress(OSError):  # the folder is gone, or the disk full
            update_run(folder, state=state)
        if folder in _locks:
            _locks.pop(folder).close()


def claim(folder: Path) -> None:
    """Locks a run's folder, before anything in it is touched.

    Raises:
        UsageError: The run is still running.
    """
    if is_helper() or not fcntl:
        return
    _locks[folder] = (folder / ".lock").open("a")
    try:
        fcntl.flock(_locks[folder], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{folder} is still running") from None


def _start(folder: Path, facts: dict[str, Any]) -> None:
    """Records all that is needed to repeat the run."""
    earlier = read_run(folder)
    source = _git("diff", "HEAD", "--binary")
    for file in _git("ls-files", "--others", "--exclude-standard", "--", "*.py", "*.yaml").split():
        source += _git("diff", "--no-index", os.devnull, file)
    if source:
        (folder / "uncommitted.diff").write_text(source, encoding="utf-8")
    found = [info.stem for place in sys.path for info in Path(place).glob("*.dist-info")]
    packages = {name: version for name, _, version in (stem.partition("-") for stem in found)}
    update_run(
        folder,
        state="running",
        started=earlier.get("started", time.time()),
        resumed=time.time(),
        seconds_before=earlier.get("seconds", 0),
        commands=[*earlier.get("commands", []), sys.argv],
        commit=_git("rev-parse", "--verify", "--quiet", "HEAD").strip(),
        host=platform.node(),
        platform=platform.platform(),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        python=platform.python_version(),
        packages=dict(sorted(packages.items())),
        **facts,
    )


def update_run(folder: Path, **facts: Any) -> None:
    """Changes what `run.json` tells."""
    found = read_run(folder) | facts
    found["seconds"] = round(found["seconds_before"] + time.time() - found["resumed"])
    text = json.dumps(found, indent=2)
    part = folder / ".run.json.part"
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(folder / "run.json")


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` tells, with the state that holds now."""
    file = folder / "run.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if found.get("state") == "running" and not _is_locked(folder):
        found["state"] = "interrupted"
    return found


_locks: dict[Path, Any] = {}  # kept open until the process ends


def _is_locked(folder: Path) -> bool:
    if folder in _locks or not fcntl or not (folder / ".lock").exists():
        return folder in _locks
    with (folder / ".lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _git(*words: str) -> str:
    """What git prints about this project; nothing without git or repository."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")


def has_weights(folder: Path) -> bool:
    """Whether a run has saved a checkpoint."""
    return (folder / "config.yaml").is_file() and any(folder.glob("checkpoints/*.ckpt"))


def _versions(parent: Path) -> list[tuple[int, Path]]:
    return [(int(p.name[8:]), p) for p in parent.glob("version_*") if p.name[8:].isdigit()]
