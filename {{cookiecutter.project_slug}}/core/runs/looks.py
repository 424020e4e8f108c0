"""How often each test part was looked at: `looks.json` at the root of the runs.

Whoever looks often, and keeps what did best, has chosen by the test part.
"""

import contextlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from core.errors import UsageError

Part = dict[str, Any]  # `dataset`, `part`, and the `options` that its data depends on


def count(root: Path, part: Part) -> None:
    """Counts a look at a part.

    Raises:
        OSError: The folder can't be written.
        UsageError: What is there is no such file.
    """
    from filelock import FileLock  # only here: it takes a moment

    with FileLock(root / ".looks.lock", timeout=10):
        entries = read(root)
        found = next((e for e in entries if _part(e) == part), None)
        if found is None:
            found = part | {"looks": 0}
            entries.append(found)
        found["looks"] += 1
        new = root / ".looks.json.part"
        new.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        new.replace(root / "looks.json")


def read(root: Path) -> list[dict[str, Any]]:
    """Parts, each with its number of `looks`; none if there is no file."""
    file = root / "looks.json"
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found: list[dict[str, Any]] = json.loads(file.read_text("utf-8")) if file.exists() else []
        if all(isinstance(entry["looks"], int) for entry in found) and found != {}:
            return found
    raise UsageError(f"{file} is damaged: expected a list of parts and their looks; remove it")


def looks(entries: list[dict[str, Any]], part: Part | None) -> int | None:
    """How often a part was looked at, as `read` tells; None without a part."""
    return next((e["looks"] for e in entries if _part(e) == part), 0) if part else None


def told(root: Path, parts: list[Part | None]) -> list[str]:
    """A line for each dataset: how often these parts of it were looked at."""
    entries = read(root)
    different = {json.dumps(part, sort_keys=True): part for part in parts if part}
    counts: dict[str, list[int]] = defaultdict(list)
    for part in different.values():
        counts[f"of {part['dataset']}"].append(looks(entries, part) or 0)
    lines = []
    for name, found in counts.items():
        times = "once" if sum(found) == 1 else f"{sum(found)} times"
        which = "the test part" if len(found) == 1 else f"{len(found)} test parts"
        lines.append(
            f"{which} {name} {'has' if len(found) == 1 else 'have'} been looked at {times}"
        )
    return lines


def _part(entry: dict[str, Any]) -> Part:
    return {name: value for name, value in entry.items() if name != "looks"}
