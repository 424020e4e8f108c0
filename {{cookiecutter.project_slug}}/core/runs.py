"""Run folders: `runs/NAME/version_N` with options, logs, checkpoints and results."""

import json
import os
import shutil
from pathlib import Path

from core.lookup import UsageError


def make_folder(root: str, default_name: str, *, name: str | None = None) -> Path:
    """Makes the next free `root/name/version_N`.

    Args:
        root: Folder of all runs.
        default_name: Name where none is chosen.
        name: Name of the run's folder; by default DATASET-MODEL.

    Raises:
        UsageError: The folder can't be written.
    """
    if int(os.environ.get("LOCAL_RANK", 0)):  # the first process made it and started this one
        return Path(os.environ["RUN_FOLDER"])
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
    os.environ["RUN_FOLDER"] = str(parent / f"version_{number}")
    return parent / f"version_{number}"


def discard_folder(folder: Path) -> None:
    """Removes a folder made for a run that could not start."""
    if not (folder / "checkpoints").exists():
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.parents[:2]:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def find_folder(root: str, run: str) -> Path:
    """The folder of an earlier run.

    Args:
        root: Folder of all runs.
        run: `last` for the newest that has weights; a folder; or a name, with or without
            /version_N.

    Raises:
        UsageError: There is no such run.
    """
    for place in (Path(run), Path(root) / run):
        if (place / "config.yaml").is_file():
            return place
        if versions := [v for v in _versions(place) if _has_weights(v[1])]:
            return max(versions)[1]
    runs = [folder for folder in Path(root).glob("*/version_*") if _has_weights(folder)]
    if run == "last" and runs:
        return max(runs, key=lambda folder: (folder / "config.yaml").stat().st_mtime_ns)
    known = sorted({folder.parent.name for folder in runs})
    hint = f"choose one of: {', '.join(known)}" if known else f"{root}/ holds none yet"
    raise UsageError(f"--run {run}: there is no such run; {hint}")


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


def _has_weights(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and any(folder.glob("checkpoints/*.ckpt"))


def _versions(parent: Path) -> list[tuple[int, Path]]:
    return [(int(p.name[8:]), p) for p in parent.glob("version_*") if p.name[8:].isdigit()]
