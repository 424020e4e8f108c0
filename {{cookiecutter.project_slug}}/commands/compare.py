"""What runs differ in."""

from typing import Any

import yaml

from commands.runs import Format, print_table
from core.runs.folders import find_folder, run_name
from core.runs.record import read_results


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
    print_table(["", *(run_name(folder, root) for folder in folders)], lines, format)


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        inner = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name}.{key}": v for key, v in inner} or {name: value}
    return flat
