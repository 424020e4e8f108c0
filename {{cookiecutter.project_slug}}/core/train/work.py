"""The work on a study: its runs, side by side, until none is left."""

import errno
import math
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from statistics import mean, stdev
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.table import Table

from core import ROOT
from core.errors import RunError, UsageError
from core.runs.processes import Stopped, say
from core.runs.record import read_run, save_results
from core.runs.tables import SUFFIXES, Format, print_table, table
from core.train.members import start, stop
from core.train.study import Member, Study

Rows = tuple[list[str], list[list[Any]]]  # the header of a table, and its lines


def carry_out(
    study: Study,
    summary: Callable[[Study], Rows],
    *,
    jobs: int = 1,
    take: int | None = None,
    keep: Literal["best", "all", "none"] = "best",
    format: Format = "table",
    submit: str | None = None,
) -> None:
    """Trains the runs of a study that are not done, and tells what all have come to.

    Args:
        study: The study.
        summary: Makes the table of it when all are done.
        jobs: How many train at once, each with its share of the cores and, of several GPUs, one.
        take: How many to train before this process ends; by default all that are left.
        keep: Which checkpoints of each run stay.
        format: How to print the table.
        submit: Has a SLURM cluster do it, an array of jobs of which each takes one run: true, or
            sbatch's options, typed --submit="--time=4:00:00 --gres=gpu:1".

    Raises:
        UsageError: What was typed can't work.
        RunError: Runs failed, or the disk is full.
    """
    if min(jobs, take or 1) < 1:
        raise UsageError("--jobs and --take: expected 1 or more")
    if submit:
        _submit(study, "" if submit == "true" else submit)
        return
    say(f"{study.folder}: {study.size()} run{'s' * (study.size() != 1)}")
    Stopped.hint = "; to go on, type the same again"
    try:
        _work(study, jobs, take, keep)
        if not study.is_over():
            return
        header, rows = summary(study)
        runs = study.results()
        results = {"kind": study.kind, "members": runs, "metrics": means(runs)}
        save_results(study.folder / "summary.json", results)
        file = study.folder / f"summary{SUFFIXES[format]}"
        file.write_text(table(header, rows, format), encoding="utf-8")
    except UsageError:
        if not any(study.folder.glob("*/checkpoints")):  # no run could begin
            shutil.rmtree(study.folder, ignore_errors=True)
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        hint = "type the same again to go on"
        raise RunError(f"the disk of {study.folder} is full; {hint}") from error
    print_table(header, rows, format)
    say(f"Results in {study.folder}")
    failed = [m for m in study.members() if m.name in study.given_up and study.fails_with_a_run]
    for member in [m for m in failed if study.state(m) == "finished"]:
        say(f"{member.name} is not predicted: {study.last_line(member)}")
        failed.remove(member)
    if failed:
        hint = f"see output.txt of each in {study.folder}; type the same again to go on"
        raise RunError(f"{', '.join(m.name for m in failed)} failed; {hint}")


def without(arguments: list[str], *names: str) -> list[str]:
    """What was typed, but for some options, and those within: `--search.lr`."""
    words, rest = [], iter(arguments)
    for word in rest:
        if word.startswith("--") and word[2:].partition("=")[0].partition(".")[0] in names:
            next(rest, None) if "=" not in word else None
        else:
            words.append(word)
    return words


def means(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean and sample standard deviation (n - 1) of each metric, over the runs that have it."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run["metrics"].items():
            found.setdefault(name, []).append(value)
    return {
        name: {"mean": mean(v), "std": stdev(v) if len(v) > 1 else None, "n": len(v)}
        for name, v in found.items()
    }


def shown(values: Mapping[str, Any]) -> str:
    """`0.9712 ± 0.0042`; of one value that alone."""
    spread = "" if values["std"] is None else f" ± {values['std']:.2g}"
    return f"{values['mean']:.4g}{spread}"


def _work(study: Study, jobs: int, take: int | None, keep: str) -> None:
    """Has runs trained until none is left."""
    running: dict[BaseProcess, tuple[Member, int]] = {}
    left, env = math.inf if take is None else take, study.env()
    screen = Live(console=Console(), auto_refresh=False) if sys.stdout.isatty() else None
    try:
        if screen:
            screen.start()
        while True:
            while len(running) < jobs and left and (member := study.take()):
                slot = min({*range(jobs)} - {slot for _, slot in running.values()})
                output = study.folder_of(member) / "output.txt"
                process = start(study.steps(member), output, slot, jobs, env)
                running[process] = member, slot
                left -= 1
            if not running:
                if study.is_over() or not left:
                    return
                time.sleep(1)  # others do what is left
                continue
            wait([process.sentinel for process in running], timeout=1)
            if screen:
                screen.update(_progress(study, running.values()), refresh=True)
            for process in [process for process in running if not process.is_alive()]:
                process.join()
                member, _ = running.pop(process)
                code = process.exitcode or 0
                study.ended(member, code)
                study.tidy(member, keep)
                study.release(member)
                _tell(study, member)
    except Stopped:
        say("stopping the runs, each of which saves; once more stops them at once")
        for process in running:
            process.terminate()
        for process in running:
            process.join()
        raise
    finally:
        if screen:
            screen.stop()
        for process in running:
            stop(process)


def _progress(study: Study, running: Iterable[tuple[Member, int]]) -> Table:
    """What is trained now."""
    states = [study.state(member) for member in study.members()]
    shown = Table("run", "state", "epochs", "best", box=None, padding=(0, 2, 0, 0))
    for member, _ in running:
        about = read_run(study.folder_of(member))
        best = str(about.get("best", "")).partition("-")[2].removesuffix(".ckpt")
        shown.add_row(member.name, about.get("state"), str(about.get("epochs", "")), best)
    shown.add_row(f"{states.count('finished')} of {study.size()} finished")
    return shown


def _tell(study: Study, member: Member) -> None:
    """One line of a run that ended; before the first, what the parts of its data are."""
    about = read_run(study.folder_of(member))
    if study.kind == "kfold" and not study.was_told and "parts" in about:
        study.was_told = True
        say(f"{member.name}: {about['parts']}")
    results = next(r for r in study.results() if r["name"] == member.name)["metrics"]
    tested = [name for name in results if name.startswith("test_")][:3] or results
    said = ", ".join(f"{name} {results[name]:.4g}" for name in tested)
    state, seconds = about.get("state", "failed"), about.get("seconds", 0)
    say(f"{member.name}: {state}, {seconds} s; {said or study.last_line(member)}")


def _submit(study: Study, options: str) -> None:
    """Writes a script of an array of jobs, and submits it where there is sbatch."""
    words = without(study.arguments, "submit")
    last = study.size() - 1
    lines = ["#!/bin/bash", f"#SBATCH --array=0-{last}", f"#SBATCH --job-name={study.folder.name}"]
    lines += [f"#SBATCH --output={study.folder.resolve()}/slurm-%a.out"]
    lines += [f"#SBATCH {option}" for option in shlex.split(options)]
    command = shlex.join([sys.executable, "main.py", *words, "--take", "1"])
    lines += [f"cd {shlex.quote(str(ROOT))}", f"exec {command}"]
    file = study.folder / "submit.sh"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if shutil.which("sbatch") is None:
        say(f"there is no sbatch here; on the cluster, type sbatch {file}")
        return
    if subprocess.run(["sbatch", str(file)], check=False).returncode:
        raise RunError(f"sbatch did not take {file}")
