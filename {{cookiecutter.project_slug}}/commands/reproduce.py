"""Training a run again."""

import json
import math
import shutil
import tempfile
from pathlib import Path

import yaml

from core import ROOT
from core.errors import RunError, UsageError
from core.runs.folders import find_folder, run_name
from core.runs.processes import say
from core.runs.record import read_first_steps, read_results, read_run
from core.runs.tables import print_table
from core.train.again import repeat, train_again

# What the last bits depend on, and what is only told.
_PLACE = ("cpu", "devices", "cuda", "python", "torch", "torchvision", "numpy", "pytorch_lightning")
_TOLD = ("commit", "python", "packages", "platform", "cpu", "devices", "cuda")


def reproduce(
    *,
    run: str = "last",
    root: str = "runs",
    steps: int | None = None,
    exact: bool | None = None,
    tolerance: float = 1e-5,
    pin: bool = False,
) -> None:
    """Train a run again from what it recorded, and tell whether the metrics agree.

    Args:
        run: The run: last, its name or its folder.
        root: Folder of all runs.
        steps: Train these first steps alone, and compare their losses.
        exact: Whether bit for bit, which holds on one machine with the same versions; by default if
            that is where the run was made. Else rounding is allowed for.
        tolerance: Part of the first loss that is taken for rounding. It may grow tenfold each step,
            so that only a few are compared.
        pin: Instead keep the run's options and first losses in tests/pinned, for
            tests/test_pinned.py.

    Raises:
        RunError: They do not.
    """
    folder = find_folder(root, run)
    if pin:
        _pin(folder, ROOT / "tests/pinned" / run_name(folder, root).replace("/", "-"))
    elif steps is not None:
        _repeat_steps(folder, steps, exact, tolerance)
    else:
        _repeat_all(folder)


def _repeat_all(folder: Path) -> None:
    """The whole run, beside it."""
    before = read_results(folder / "metrics.json")
    if not before:
        raise UsageError(f"{folder} has no metrics.json to compare with; let it finish: --resume")
    again, code = repeat(folder)
    if code:
        raise SystemExit(code)
    _is_same_place(folder, again)
    after = read_results(again / "metrics.json")
    names = [name for name, value in before.items() if isinstance(value, float)]
    print_table(["metric", "then", "now"], [[n, before[n], after.get(n)] for n in names])
    differing = [name for name in names if before[name] != after.get(name)]
    if differing:
        raise RunError(f"{', '.join(differing)} of {again} differ from {folder}")
    say(f"{again} agrees with {folder} bit for bit")


def _repeat_steps(folder: Path, steps: int, exact: bool | None, tolerance: float) -> None:
    """The first steps, in a folder that is removed."""
    if steps < 1 or not 0 < tolerance < 1:
        raise UsageError(f"--steps {steps} --tolerance {tolerance}: expected 1 or more, and 0 to 1")
    before = _losses(folder)[:steps]
    if len(before) < steps:
        say(f"{folder} has written down {len(before)} steps: these are made again")
    with tempfile.TemporaryDirectory() as place:
        again = Path(place)
        callbacks = (
            yaml.safe_load((folder / "config.yaml").read_text("utf-8")).get("callbacks") or []
        )
        every = json.dumps([*callbacks, "core.runs.notes.StopAfter"])  # each process adds it once
        words = ["--callbacks", every, "--StopAfter.steps", str(before[-1][0])]
        for name in ("logger", "enable_checkpointing", "enable_progress_bar"):
            words += [f"--{name}", "false"]
        words += ["--limit_test_batches", "0"]  # nobody looks at the test part
        if code := train_again(folder, again, *words, is_quiet=True):
            raise SystemExit(code)
        is_same, after = _is_same_place(folder, again), dict(read_first_steps(again))
    exact, how = is_same if exact is None else exact, "bit for bit"
    # Rounding grows: by two threads in place of one, of resnet on digits tenfold each step.
    allowed = [0.0 if exact else tolerance * 10**number for number in range(len(before))]
    allowed = [part for part in allowed if part < 1]
    if not exact:
        how = f"within {tolerance:g} of the loss, and ten times more each step"
    for (step, loss), part in zip(before, allowed, strict=False):
        then, now = float(loss), float(after.get(step) or "nan")
        both_are_nan = math.isnan(then) and math.isnan(now)
        if not both_are_nan and not math.isclose(then, now, rel_tol=part):
            what = f"the first to differ is step {step}: its loss was {loss}, and is {now!r} now"
            raise RunError(f"{what}; {len(allowed)} steps of {folder} were to agree {how}")
    say(f"{len(allowed)} steps agree with {folder} {how}")


def _losses(folder: Path) -> list[tuple[int, str]]:
    """The losses of a run's first steps.

    Raises:
        UsageError: It wrote none down, or began with weights of others.
    """
    found = read_first_steps(folder)
    if not found or not all(loss for _, loss in found):
        raise UsageError(f"{folder} has written down no losses of its first steps: first_steps.csv")
    if yaml.safe_load((folder / "config.yaml").read_text("utf-8")).get("init_from"):
        raise UsageError(f"{folder} began with the weights of another run, which it does not keep")
    return found


def _pin(folder: Path, place: Path) -> None:
    """Keeps what a test needs to make the first steps again."""
    _losses(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name in ("config.yaml", "first_steps.csv"):
        shutil.copy(folder / name, place)
    kept = (*_TOLD, *_PLACE, "threads")
    about = {name: value for name, value in read_run(folder).items() if name in kept}
    (place / "run.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    say(f"{place.relative_to(ROOT)} is what uv run pytest tests/test_pinned.py makes again")


def _is_same_place(folder: Path, again: Path) -> bool:
    """Whether bits are to agree: the machine and the versions are the same; tells what is not."""
    then, now = read_run(folder), read_run(again)
    for what in _TOLD:
        if what in then and then[what] != now.get(what):
            say(f"another {what} than then; {folder / 'run.json'} tells which")
    if (folder / "uncommitted.diff").exists():
        commit = then.get("commit", "")[:8]
        say(f"the code then was commit {commit} with {folder / 'uncommitted.diff'}")
    first, second = ({**about, **about.get("packages", {})} for about in (then, now))
    return all(first[name] == second.get(name) for name in _PLACE if name in first)
