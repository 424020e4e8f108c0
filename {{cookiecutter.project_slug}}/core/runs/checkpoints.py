"""Checkpoints: written so that no kill can damage them, read so that none can run code."""

import io
import os
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from core.errors import RunError, UsageError
from core.runs.processes import say
from core.runs.record import read_run


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is safe on the disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint, or leaves the one before it as it is."""
        place = Path(path)
        temporary = place.with_name(f".{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(place)
            if hasattr(os, "O_DIRECTORY"):  # not on Windows
                folder = os.open(place.parent, os.O_DIRECTORY)
                os.fsync(folder)
                os.close(folder)
        except (OSError, RuntimeError) as error:  # torch turns some into RuntimeError
            temporary.unlink(missing_ok=True)
            raise RunError(f"can't write {place}: {error}; earlier checkpoints are kept") from error

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint, as `read` does."""
        return read(path)


def read(file: Path | str) -> dict[str, Any]:
    """Reads a checkpoint of tensors and plain values; nothing in it is run.

    Raises:
        UsageError: It is an address, damaged, no checkpoint, or holds anything else.
    """
    if "://" in str(file):
        raise UsageError(f"{file}: expected a file; download it first")
    broken = (EOFError, LookupError, RuntimeError, ValueError)
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                is_packed = any(p.compress_size != p.file_size for p in archive.infolist())
                if is_packed or archive.testzip():  # torch compresses nothing, and checks no sums
                    raise zipfile.BadZipFile
        with torch.serialization.safe_globals([Namespace]):  # options, in many a checkpoint
            found: dict[str, Any] = torch.load(file, "cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        where = "it may hold a whole network; if you trust it, save the weights alone in Python"
        code = f"torch.save(torch.load({str(file)!r}, weights_only=False).state_dict(), 'new.pt')"
        what = "is no checkpoint, or a damaged one, or holds code, which is not run"
        raise UsageError(f"{file} {what}; {where}: {code}") from error
    except (*broken, zipfile.BadZipFile) as error:
        raise UsageError(f"{file} is no checkpoint, or a damaged one, or holds code") from error
    if not isinstance(found, dict):
        raise UsageError(f"{file} is no checkpoint: it holds a {type(found).__name__}")
    return found


def check_storable(hparams: Mapping[str, Any]) -> None:
    """Refuses hyper-parameters with which no checkpoint could be read again."""
    for name, value in hparams.items():
        buffer = io.BytesIO()
        try:
            torch.save(value, buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=True)
        except (pickle.PickleError, AttributeError, TypeError) as error:
            hint = f"pass it on as plain values, or save_hyperparameters(ignore=['{name}'])"
            what = f"the argument {name}, a {type(value).__name__}"
            raise UsageError(f"no checkpoint can hold {what}; {hint}") from error


def newest(folder: Path, max_epochs: int | None = None) -> Path | None:
    """The checkpoint to go on from: `last.ckpt`, or the newest other one where it is damaged.

    Raises:
        UsageError: The run has gone as far as `max_epochs` already, and was tested.
    """
    for leftover in folder.glob("checkpoints/.*.part"):
        leftover.unlink()
    saved = sorted(folder.glob("checkpoints/*.ckpt"), key=lambda f: f.stat().st_mtime_ns)
    for file in sorted(saved[::-1], key=lambda file: file.stem != "last"):
        try:
            epochs = read(file)["epoch"]
        except UsageError as error:
            say(f"{error}; the one before it is taken")
            continue
        is_over = max_epochs is not None and 0 <= max_epochs <= epochs
        if is_over and read_run(folder).get("state") == "finished":
            raise UsageError(f"{folder} has trained {epochs} epochs; type --max_epochs VALUE")
        return file
    return None
