"""The list of runs."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from core.runs.folders import all_folders, find_checkpoint, has_weights, run_name
from core.runs.looks import looks, read
from core.runs.record import read_run
from core.runs.tables import Format, print_table

Sort = Literal["run", "state", "epochs", "best", "params", "looks", "time", "started"]


def runs(*, sort: Sort = "started", format: Format = "table", root: str = "runs") -> None:
    """List the runs; looks is how often the test part of a run was looked at, by any run.

    Args:
        sort: Column to sort by; the newest, or the largest, first.
        format: How to print it.
        root: Folder of all runs.
    """
    looked = read(Path(root))
    found = [_facts(folder, root, looked) for folder in all_folders(root)]
    found.sort(key=lambda row: (row[sort] is not None, row[sort]), reverse=True)
    for row in found:
        if row["started"]:
            row["time"] = timedelta(seconds=row["time"])
            row["started"] = f"{datetime.fromtimestamp(row['started']):%m-%d %H:%M}"
    print_table([*get_args(Sort)], [list(row.values()) for row in found], format)


def _facts(folder: Path, root: str, looked: list[dict[str, Any]]) -> dict[str, Any]:
    about = read_run(folder)
    best = find_checkpoint(folder, "best").stem if has_weights(folder) else ""
    facts = {
        "run": run_name(folder, root),
        "state": about.get("state"),
        "epochs": about.get("epochs"),
    }
    facts["best"] = best.partition("-")[2] or None  # epoch=4-val_loss=0.3178
    facts |= {"params": about.get("parameters"), "looks": looks(looked, about.get("test_part"))}
    facts["time"] = about.get("seconds")
    return facts | {"started": about.get("started")}
