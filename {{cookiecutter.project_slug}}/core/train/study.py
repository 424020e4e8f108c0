"""A study: many ordinary runs, each a process and a folder of its own, and one answer.

What is done is read from the folders alone. A study that is started again goes on, and of several
processes that work on one, each takes the runs that no other has.
"""

import contextlib
import hashlib
import importlib
import io
import itertools
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from core import ROOT
from core.cli.command_line import parse
from core.cli.options import Options
from core.errors import RunError, UsageError
from core.runs.folders import find_checkpoint, has_weights
from core.runs.processes import say
from core.runs.record import read_results, read_run, save_results

_ROOMS = ("callbacks", "commands", "core", "data", "model")


@dataclass(frozen=True)
class Member:
    """One run of a study: the name of its folder, and what is its own, as it would be typed."""

    name: str
    words: tuple[str, ...] = ()


class Study:
    """The runs of a study, those that there are and those to come.

    Args:
        kind: The command, such as kfold.
        options: All that was typed. The same go on with the study that there is, others make a new
            folder.
        members: Its runs.
        about: What else makes it another study.

    Attributes:
        folder: `runs/DATASET-MODEL-KIND`, or `runs/NAME`, or the same with a number.
        fit: Words of `fit` for each run.
        then: Words of a further command for each run that has trained, and the pattern of its file.
        given_up: Names of the runs that failed.
        fails_with_a_run: Whether one that failed makes the study fail.
    """

    fails_with_a_run = True
    was_told = False  # how the data is divided

    def __init__(
        self, kind: str, options: Options, members: Iterable[Member], **about: Any
    ) -> None:
        self.kind, self._members, self.owners = kind, [*members], options.owners
        self.then: tuple[list[str], str] | None = None
        self.fit: list[str] = []
        self.given_up: set[str] = set()
        self.locks: dict[str, FileLock] = {}
        self.arguments, self.loggers = options.arguments, options.values.get("loggers") or []
        root = Path(options.values.get("trainer.default_root_dir") or "runs")
        self.folder = self._open(root, options, {"kind": kind, **about})

    def _open(self, root: Path, options: Options, about: dict[str, Any]) -> Path:
        chosen = [options.values[n] for n in ("dataset", "model_name")]
        names = [str(name).replace(":", "-") for name in chosen if name is not None]
        name = options.values.get("name") or "-".join([*names, self.kind])
        about |= {"options": {k: v for k, v in options.complete(given=True).items() if k != "name"}}
        about = json.loads(json.dumps(about))  # as it is read again
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / ".studies.lock"):
                for number in itertools.count():
                    folder = root / (f"{name}-{number}" if number else name)
                    found = read_results(folder / "study.json")
                    if found and {**found, "code": None} == {**about, "code": None}:
                        known, now = found["code"], _code()
                        if other := [file for file in known if now.get(file) != known[file]]:
                            text = f"not as when {folder} began; its runs may differ"
                            say(f"{', '.join(other)}: {text}")
                        return folder
                    is_used = folder.exists() and any(p.is_dir() for p in folder.iterdir())
                    if not found and not is_used:
                        folder.mkdir(parents=True, exist_ok=True)
                        options.save(folder / "options.yaml", given=True)
                        save_results(folder / "study.json", about | {"code": _code()})
                        return folder
        except OSError as error:
            hint = f"can't write there ({error.strerror})"
            raise UsageError(f"--default_root_dir {root}: {hint}") from None
        raise AssertionError

    def members(self) -> list[Member]:
        """Its runs."""
        return self._members

    def size(self) -> int:
        """How many there will be."""
        return len(self._members)

    def folder_of(self, member: Member) -> Path:
        """The folder of a run."""
        return self.folder / member.name

    def state(self, member: Member) -> str | None:
        """That of `run.json`, such as finished; None before it has begun."""
        found: str | None = read_run(self.folder_of(member)).get("state")
        return found

    def is_done(self, member: Member) -> bool:
        """Whether nothing is left to do for a run."""
        return self.state(member) == "finished" and (
            not self.then or self.written(member) is not None
        )

    def written(self, member: Member) -> Path | None:
        """The file that the further command writes."""
        assert self.then
        return next(self.folder_of(member).glob(self.then[1]), None)

    def is_over(self) -> bool:
        """Whether no run is left that could still be done."""
        return all(self.is_done(m) or m.name in self.given_up for m in self.members())

    def take(self) -> Member | None:
        """A run that nobody else does, with its options written down; None if there is none now."""
        for member in self.members():
            if self.claim(member):
                return member
        return None

    def claim(self, member: Member) -> bool:
        """Whether a run is this process's to do, until it is released."""
        if member.name in self.given_up or member.name in self.locks or self.is_done(member):
            return False
        folder = self.folder_of(member)
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / ".member.lock", blocking=False)
        with contextlib.suppress(TimeoutError):
            lock.acquire()
        is_free = lock.is_locked and not self.is_done(member) and self.state(member) != "running"
        if not is_free:
            lock.release()
            return False
        self.locks[member.name] = lock
        if not (folder / "config.yaml").exists():
            self.prepare(member)
        return True

    def prepare(self, member: Member) -> None:
        """Writes down a run's options, with which it can begin."""
        self.options(member).save(self.folder_of(member) / "config.yaml", given=True)

    def options(self, member: Member) -> Options:
        """The options of a run.

        Raises:
            UsageError: They can't work.
        """
        with contextlib.redirect_stdout(io.StringIO()):  # what they mean was said before
            words = ["fit", "--config", str(self.folder / "options.yaml"), *member.words]
            return parse(words, self.owners)

    def steps(self, member: Member) -> list[list[str]]:
        """The commands that a run consists of and that are not done."""
        folder = self.folder_of(member)
        steps = [["fit", "--resume", str(folder), *self.fit]] * (self.state(member) != "finished")
        if self.then and not self.written(member):
            steps.append([*self.then[0], "--run", str(folder)])
        return steps

    def ended(self, member: Member, code: int) -> None:
        """Takes note of how a run ended, which is tried again where a signal ended it once.

        Raises:
            UsageError: What was typed can't work.
            RunError: The disk is full.
        """
        last = self.last_line(member)
        has_any = any(self.state(other) == "finished" for other in self.members())
        if code == 2 and not has_any:
            raise UsageError(last.removeprefix("error: "))
        if code == 1 and self.is_full(member):
            raise RunError(last.removeprefix("error: "))
        is_failed = code in (1, 2) or (code == 0 and not self.is_done(member))
        if is_failed or (code and self.deaths(member, add=1) == 2):
            self.given_up.add(member.name)

    def last_line(self, member: Member) -> str:
        """The last line that a run printed, or what it said is wrong."""
        file = self.folder_of(member) / "output.txt"
        lines = file.read_text("utf-8", errors="replace").split("\n") if file.exists() else []
        told = [line for line in lines[-20:] if line.startswith("error: ")]
        return next((line for line in [*lines, *told][::-1] if line.strip()), "")

    def is_full(self, member: Member) -> bool:
        """Whether a run ended because the disk was full."""
        words = ("No space left", "earlier checkpoints are kept")
        has_room = shutil.disk_usage(self.folder).free > 2**20
        return not has_room or any(text in self.last_line(member) for text in words)

    def env(self) -> dict[str, str]:
        """What loggers are to know: W&B has all runs as a group, MLflow as children of one run."""
        known = {"WANDB_RUN_GROUP": self.folder.name}
        if "mlflow" not in self.loggers:
            return known
        place = f"sqlite:///{self.folder.resolve() / 'mlflow.db'}"
        known["MLFLOW_TRACKING_URI"] = os.environ.get("MLFLOW_TRACKING_URI", place)
        file = self.folder / "mlflow.json"
        with FileLock(self.folder / ".mlflow.lock"):
            if not file.exists():
                mlflow = importlib.import_module("mlflow")  # only here: it takes seconds
                client = mlflow.MlflowClient(known["MLFLOW_TRACKING_URI"])
                found = client.get_experiment_by_name(ROOT.name)
                is_own = "MLFLOW_TRACKING_URI" not in os.environ
                kept = (self.folder / "mlflow").resolve().as_uri() if is_own else None
                id = found.experiment_id if found else client.create_experiment(ROOT.name, kept)
                run = client.create_run(id, run_name=self.folder.name)
                save_results(file, {"parent": run.info.run_id})
        return known | {"MLFLOW_PARENT_RUN_ID": read_results(file)["parent"]}

    def deaths(self, member: Member, add: int = 0) -> int:
        """How often a signal has ended a run while its study looked on."""
        file = self.folder_of(member) / "deaths.json"
        count: int = read_results(file).get("deaths", 0) + add
        if add:
            save_results(file, {"deaths": count})
        return count

    def release(self, member: Member) -> None:
        """Lets others have a run."""
        self.locks.pop(member.name).release()

    def results(self) -> list[dict[str, Any]]:
        """What each run has come to: its name, folder, state and metrics."""
        found = []
        for member in self.members():
            folder = self.folder_of(member)
            metrics = read_results(folder / "metrics.json")
            numbers = {n: v for n, v in metrics.items() if isinstance(v, float)}
            about = {"name": member.name, "folder": str(folder), "state": self.state(member)}
            sizes = read_run(folder).get("samples", {})
            about |= {f"n_{part}": sizes[part] for part in ("train", "test") if part in sizes}
            found.append(about | {"metrics": numbers})
        return found

    def tidy(self, member: Member, keep: str) -> None:
        """Removes the checkpoints that need not stay: see `carry_out`."""
        folder = self.folder_of(member)
        if keep != "all" and self.is_done(member) and has_weights(folder):
            best = find_checkpoint(folder, "best") if keep == "best" else None
            for file in (folder / "checkpoints").glob("*.ckpt"):
                if file != best:
                    file.unlink()


def _code() -> dict[str, str]:
    """What tells whether the code is the same, by file."""
    files = [ROOT / "main.py", *(f for room in _ROOMS for f in (ROOT / room).rglob("*.py"))]
    return {
        file.relative_to(ROOT).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in sorted(files)
    }
