"""What `tune --find lr` suggests and leaves: the curve of the loss over the learning rate."""

import csv
import itertools
import math
from pathlib import Path

from core.cli.options import Options
from core.errors import RunError, UsageError
from core.runs.processes import say
from core.train.tuning import Ramp, Valley, valley


def rate_option(options: Options) -> tuple[str, float]:
    """The option of the learning rate, and its value."""
    known = options.known()
    own = [f"model.{name}" for name in ("lr", "learning_rate")]  # of a LightningModule
    keys = [key for key in ("lr", *own) if key in known]
    if not keys:
        network = options.targets["model"].partition(":")[2]
        raise UsageError(f"--find lr: {network} takes no lr that could be set")
    lr = options.values.get(keys[0], known[keys[0]].default)
    if not isinstance(lr, int | float) or not lr > 0:
        raise UsageError(f"--{keys[0]} {lr}: expected more than 0, to be multiplied")
    return keys[0], lr


def suggest(ramp: Ramp, folder: Path) -> float:
    """Suggests a learning rate, and writes `lr.csv` and `lr.png` in place of earlier ones.

    Raises:
        RunError: The loss does not fall, or the files can't be written.
    """
    losses = [*itertools.takewhile(math.isfinite, ramp.losses)]
    rates, hint = [*ramp.rates[: len(losses)]], "try other --min_lr and --max_lr, or more --steps"
    if len(losses) < 10:
        raise RunError(f"only {len(losses)} steps had a finite loss; {hint}")
    found = valley(rates, losses)
    steepest, lowest = f"{found.steepest:.2g}", f"{found.lowest:.2g}"
    if found.is_clear:
        say(f"the loss falls most steeply at {steepest}, and is least at {lowest}")
    try:
        _keep(folder, rates, losses, found)
    except OSError as error:
        raise RunError(f"can't write the curve to {folder}: {error.strerror}") from error
    if not found.is_clear:
        raise RunError(f"the loss does not fall, or by less than it scatters; {hint}")
    if found.lowest == ramp.rates[-1]:
        say(f"the loss still falls at {lowest}; a larger --max_lr tells more")
    return float(f"{found.middle:.2g}")


def _keep(folder: Path, rates: list[float], losses: list[float], found: Valley) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lr.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["lr", "loss", "smoothed"])
        writer.writerows(zip(rates, losses, found.smoothed.tolist(), strict=True))
    say(f"the curve is in {folder / 'lr.csv'}")
    try:
        _draw(folder / "lr.png", rates, losses, found)
        say(f"and as a picture in {folder / 'lr.png'}")
    except ModuleNotFoundError:
        say("a picture of it needs matplotlib; type uv sync --extra studies")


def _draw(file: Path, rates: list[float], losses: list[float], found: Valley) -> None:
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, ".", color="0.7", label="loss of each step")
    axes.semilogx(rates, found.smoothed, color="C0", label="smoothed")
    axes.axvline(found.steepest, color="C2", linestyle=":", label=f"steepest {found.steepest:.2g}")
    axes.axvline(found.lowest, color="C3", linestyle=":", label=f"lowest {found.lowest:.2g}")
    if found.is_clear:
        axes.axvline(found.middle, color="C1", label=f"suggested {found.middle:.2g}")
    shown = losses[: rates.index(found.lowest) + 1]  # how far it diverges is not
    margin = 0.1 * (max(shown) - min(shown))
    axes.set_ylim(min(shown) - margin, max(shown) + 2 * margin)
    axes.set(xlabel="learning rate", ylabel="training loss")
    axes.legend()
    figure.savefig(file, dpi=120)
