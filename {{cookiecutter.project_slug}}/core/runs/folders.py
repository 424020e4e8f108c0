"""Run folders: `runs/NAME/version_N` with options, logs, checkpoints and results."""

import contextlib
import os
import shutil
from pathlib import Path

from core.errors import UsageError
from core.runs.processes import is_helper, share
from core.runs.record import read_results, read_run


def make_folder(root: str, default_name: str, *, name: str | None = None) -> Path:
    """Makes the next free `root/name/version_N`.

    Args:
        root: Folder of all runs.
        default_name: Name where none is chosen.
        name: Name of the run's folder; by default DATASET-MODEL.
    """
    parent = Path(root) / (name or default_name)
    return Path(share(None if is_helper() else str(next_version(parent, root))))


def next_version(parent: Path, root: str) -> Path:
    """Makes the next free `parent/version_N`; of runs that start at once each gets its own.

    Raises:
        UsageError: The folder can't be written.
    """
    number = max((n for n, _ in _versions(parent)), default=-1)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            number += 1
            with contextlib.suppress(FileExistsError):  # another run was quicker
                (parent / f"version_{number}").mkdir()
                return parent / f"version_{number}"
    except OSError as error:
        reason = f"can't write there ({error.strerror})"
        raise UsageError(f"--default_root_dir {root}: {reason}") from None


def discard_folder(folder: Path | None) -> None:
    """Removes a folder made for a run that could not start."""
    if folder and not is_helper() and not (folder / "checkpoints").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # there are other runs
            os.removedirs(folder.parent)


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
        if (place / "study.json").is_file():
            members = ", ".join(sorted(f.parent.name for f in place.glob("*/config.yaml"))[:10])
            raise UsageError(f"{place} is a study; choose one of its runs: {members}")
        versions = _versions(place) if run != "last" else []
        if usable := [v for v in versions if not needs_weights or has_weights(v[1])]:
            return max(usable)[1]
        if versions:
            raise UsageError(f"no run in {place} has saved weights")
    runs = [f for f in all_folders(root) if not needs_weights or has_weights(f)]
    if fitting := [f for f in runs if run == "last" or f.name == f"version_{run}"]:
        return fitting[0]
    known = ", ".join(sorted({run_name(f, root).rpartition("/")[0] for f in runs}))
    hint = f"choose one of: {known}" if runs else f"{Path(root).resolve()} holds none yet"
    raise UsageError(f"there is no run {run}; {hint}")


def requeued(root: str) -> str | None:
    """The run that this SLURM job began before SLURM put it back into the queue."""
    if not int(os.environ.get("SLURM_RESTART_COUNT") or 0):
        return None
    job = os.environ["SLURM_JOB_ID"]
    return next((str(f) for f in all_folders(root) if read_run(f).get("slurm_job") == job), None)


def find_checkpoint(folder: Path, ckpt: str) -> Path:
    """A checkpoint of a run: `best`, `last` or a file.

    Raises:
        UsageError: There is no such checkpoint.
    """
    saved = sorted(folder.glob("checkpoints/*.ckpt"), key=lambda file: file.stat().st_mtime_ns)
    last = [file for file in saved if file.stem == "last"]
    best = [file for file in saved if file.stem != "last" and not file.stem.startswith("step=")]
    known = (read_run(folder).get("best"), read_results(folder / "metrics.json").get("checkpoint"))
    told = [file for name in known for file in best if file.name == name]
    # Of a single best one that was replaced when the run was killed, the newer one is it.
    found = {"best": told[:1] or best[-1:] or last, "last": last}.get(ckpt, [Path(ckpt)])
    if not found or not found[0].is_file():
        hint = "expected best, last or a file"
        raise UsageError(f"--ckpt {ckpt}: {folder} has no such checkpoint; {hint}")
    return found[0]


def run_name(folder: Path, root: str | None = None) -> str:
    """`digits-resnet/version_0`; below a root also `sweep/a/version_0`."""
    if root is not None and folder.is_relative_to(root):
        return folder.relative_to(root).as_posix()
    return f"{folder.parent.name}/{folder.name}"


def all_folders(root: str) -> list[Path]:
    """The folders of all runs, whose names may have slashes, the newest first."""
    found = []
    for place, inner, files in os.walk(root):
        if "config.yaml" in files:
            found.append(Path(place))
        if "config.yaml" in files or Path(place).name.startswith("version_"):
            inner.clear()  # what is in a run's folder is not looked through
    return sorted(found, key=lambda f: ((f / "config.yaml").stat().st_mtime_ns, f), reverse=True)


def has_weights(folder: Path) -> bool:
    """Whether a run has saved a checkpoint."""
    return (folder / "config.yaml").is_file() and any(folder.glob("checkpoints/*.ckpt"))


def _versions(parent: Path) -> list[tuple[int, Path]]:
    return [(int(p.name[8:]), p) for p in parent.glob("version_*") if p.name[8:].isdigit()]
