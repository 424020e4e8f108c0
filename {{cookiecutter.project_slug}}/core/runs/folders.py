"""Run folders: `runs/NAME/version_N` with options, logs, checkpoints and results."""

import os
import shutil
from collections.abc import Iterator
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

    Raises:
        UsageError: The folder can't be written.
    """
    if is_helper():  # process 0 makes it
        return Path(share(None))
    return Path(share(str(next_version(Path(root) / (name or default_name), root))))


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
            try:
                (parent / f"version_{number}").mkdir()
                return parent / f"version_{number}"
            except FileExistsError:  # another run was quicker
                continue
    except OSError as error:
        raise UsageError(
            f"--default_root_dir {root}: can't write there ({error.strerror})"
        ) from None


def discard_folder(folder: Path | None) -> None:
    """Removes a folder made for a run that could not start."""
    if folder and not is_helper() and not (folder / "checkpoints").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.parents:
            if not parent.is_dir() or any(parent.iterdir()):
                break
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
        return runs[0]
    known = sorted({run_name(folder, root).rpartition("/")[0] for folder in runs})
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


def find_checkpoint(folder: Path, ckpt: str) -> Path:
    """A checkpoint of a run.

    Args:
        folder: The run's folder.
        ckpt: `best`, `last` or a file.

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
        raise UsageError(
            f"--ckpt {ckpt}: {folder} has no such checkpoint; expected best, last or a file"
        )
    return found[0]


def run_name(folder: Path, root: str | None = None) -> str:
    """`digits-resnet/version_0`; below a root also `sweep/a/version_0`."""
    if root is not None and folder.is_relative_to(root):
        return folder.relative_to(root).as_posix()
    return f"{folder.parent.name}/{folder.name}"


def all_folders(root: str) -> list[Path]:
    """The folders of all runs, the newest first."""
    found = [(file.stat().st_mtime_ns, file.parent) for file in _configs(root)]
    return [folder for _, folder in sorted(found, reverse=True)]


def _configs(root: str) -> Iterator[Path]:
    """Of each run, whose name may have slashes; what is in its folder is not looked through."""
    for place, folders, files in os.walk(root):
        if Path(place).name.startswith("version_"):
            folders.clear()
            if "config.yaml" in files:
                yield Path(place) / "config.yaml"


def has_weights(folder: Path) -> bool:
    """Whether a run has saved a checkpoint."""
    return (folder / "config.yaml").is_file() and any(folder.glob("checkpoints/*.ckpt"))


def _versions(parent: Path) -> list[tuple[int, Path]]:
    return [(int(p.name[8:]), p) for p in parent.glob("version_*") if p.name[8:].isdigit()]
