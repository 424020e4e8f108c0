"""Verbs about many runs: listed, compared, repeated. Nothing here imports torch."""

import csv
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from rich.console import Console
from rich.table import Column, Table

from core.lookup import UsageError
from core.runs import (
    RunError,
    all_folders,
    find_checkpoint,
    find_folder,
    has_weights,
    read_results,
    read_run,
    run_name,
)

Format = Literal["table", "csv", "markdown"]
Sort = Literal["run", "state", "epochs", "best", "params", "time", "started"]


def runs(*, sort: Sort = "started", format: Format = "table", root: str = "runs") -> None:
    """List the runs.

    Args:
        sort: Column to sort by; the newest, or the largest, first.
        format: How to print it.
        root: Folder of all runs.
    """
    found = [_facts(folder) for folder in all_folders(root)]
    found.sort(key=lambda row: (row[sort] is not None, row[sort]), reverse=True)
    for row in found:
        if row["started"]:
            row["time"] = timedelta(seconds=row["time"])
            row["started"] = f"{datetime.fromtimestamp(row['started']):%m-%d %H:%M}"
    _print([*get_args(Sort)], [list(row.values()) for row in found], format)


def _facts(folder: Path) -> dict[str, Any]:
    about = read_run(folder)
    best = find_checkpoint(folder, "best").stem if has_weights(folder) else ""
    facts = {"run": run_name(folder), "state": about.get("state"), "epochs": about.get("epochs")}
    facts["best"] = best.partition("-")[2] or None  # epoch=4-val_loss=0.3178
    facts |= {"params": about.get("parameters"), "time": about.get("seconds")}
    return facts | {"started": about.get("started")}


def compare(*, runs: list[str], format: Format = "table", root: str = "runs") -> None:
    """Show the options in which runs differ, and their metrics: compare RUN RUN ….

    Args:
        runs: The runs, each by name or folder.
        format: How to print it.
        root: Folder of all runs.

    Raises:
        UsageError: There is no such run.
    """
    folders = [find_folder(root, run, needs_weights=False) for run in runs]
    options = [_flat(yaml.safe_load((f / "config.yaml").read_text("utf-8"))) for f in folders]
    results = [read_results(folder / "metrics.json") for folder in folders]
    lines = []
    for name in dict.fromkeys(name for found in options for name in found):
        values = [found.get(name) for found in options]
        if any(value != values[0] for value in values):
            lines.append([name, *values])
    for name in dict.fromkeys(name for found in results for name in found):
        values = [found.get(name) for found in results]
        if format != "csv":
            values = [f"{v:.5g}" if isinstance(v, float) else v for v in values]
        lines.append([name, *values])
    _print(["", *map(run_name, folders)], lines, format)


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        inner = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name}.{key}": v for key, v in inner} or {name: value}
    return flat


def reproduce(*, run: str = "last", root: str = "runs") -> None:
    """Train a run again from what it recorded, and tell whether the metrics agree.

    Args:
        run: The run: last, its name or its folder.
        root: Folder of all runs.

    Raises:
        RunError: They do not.
    """
    from main import main

    folder = find_folder(root, run)
    before = read_results(folder / "metrics.json")
    if not before:
        raise UsageError(f"{folder} has no metrics.json to compare with; let it finish: --resume")
    if code := main(["fit", "--config", str(folder / "config.yaml")]):
        raise SystemExit(code)
    again = all_folders(root)[0]
    then, now = read_run(folder), read_run(again)
    for what in ("commit", "python", "packages", "platform"):
        if then.get(what) != now.get(what):
            print(f"another {what} than then; {folder / 'run.json'} tells which")
    if (folder / "uncommitted.diff").exists():
        print(f"the code then was commit {then['commit'][:8]} with {folder / 'uncommitted.diff'}")
    after = read_results(again / "metrics.json")
    names = [name for name, value in before.items() if isinstance(value, float)]
    _print(["metric", "then", "now"], [[n, before[n], after.get(n)] for n in names], "table")
    differing = [name for name in names if before[name] != after.get(name)]
    if differing:
        raise RunError(f"{', '.join(differing)} of {again} differ from {folder}")
    print(f"{again} agrees with {folder} bit for bit")


def _print(header: list[str], rows: list[list[Any]], format: Format) -> None:
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    if format == "csv":
        csv.writer(sys.stdout).writerows([header, *texts])
    elif format == "markdown":
        for row in [header, ["---"] * len(header), *texts]:
            print(f"| {' | '.join(row)} |")
    else:
        columns = [Column(name, no_wrap=True) for name in header]
        table = Table(*columns, box=None, padding=(0, 2, 0, 0))
        for row in texts:
            table.add_row(*row)
        width = Console(width=1000).measure(table).maximum  # so that nothing is cut off
        Console(width=width).print(table)
