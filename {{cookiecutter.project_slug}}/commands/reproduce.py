"""Training a run again."""

from commands.runs import print_table
from core.errors import RunError, UsageError
from core.runs.folders import find_folder
from core.runs.processes import say
from core.runs.record import read_results, read_run
from core.train.study import repeat


def reproduce(*, run: str = "last", root: str = "runs") -> None:
    """Train a run again from what it recorded, and tell whether the metrics agree.

    Args:
        run: The run: last, its name or its folder.
        root: Folder of all runs.

    Raises:
        RunError: They do not.
    """
    folder = find_folder(root, run)
    before = read_results(folder / "metrics.json")
    if not before:
        raise UsageError(f"{folder} has no metrics.json to compare with; let it finish: --resume")
    again, code = repeat(folder)
    if code:
        raise SystemExit(code)
    then, now = read_run(folder), read_run(again)
    for what in ("commit", "python", "packages", "platform"):
        if then.get(what) != now.get(what):
            say(f"another {what} than then; {folder / 'run.json'} tells which")
    if (folder / "uncommitted.diff").exists():
        commit = then.get("commit", "")[:8]
        say(f"the code then was commit {commit} with {folder / 'uncommitted.diff'}")
    after = read_results(again / "metrics.json")
    names = [name for name, value in before.items() if isinstance(value, float)]
    print_table(["metric", "then", "now"], [[n, before[n], after.get(n)] for n in names])
    differing = [name for name in names if before[name] != after.get(name)]
    if differing:
        raise RunError(f"{', '.join(differing)} of {again} differ from {folder}")
    say(f"{again} agrees with {folder} bit for bit")
