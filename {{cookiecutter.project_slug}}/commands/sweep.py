"""The search for good options, by Optuna."""

import importlib.util
import itertools
import shlex
from typing import Any, Literal

from core.cli.command_line import parse
from core.cli.options import SELECTORS, Options, own_parameters
from core.errors import RunError, UsageError
from core.runs.processes import say
from core.train.direction import direction
from core.train.work import Rows, carry_out, without


def sweep(
    options: Options,
    *,
    search: dict[str, Any],
    trials: int = 20,
    sampler: Literal["TPE", "Random", "CmaEs", "GP", "QMC"] = "TPE",
    pruner: Literal["median", "hyperband", "none"] = "median",
    storage: str | None = None,
    **how: Any,
) -> None:
    """Search for good options; type the same again to go on, twice to share the work.

    Each trial is a run that trains, is measured by the monitor, and ends early where it is worse
    than others were. The test part is not looked at: test the best one when you have chosen.

    Args:
        options: All that was typed.
        search: What to try, as --search.lr "log 1e-4 1e-1" --search.dropout "0 0.5" (a range),
            --search.width "64 256 64" (in steps) or --search.depth "[18,34]" (a choice).
        trials: How many to train.
        sampler: What chooses the values, by Optuna's name
        pruner: What ends hopeless trials, after any epoch.
        storage: Address of a database that Optuna keeps the trials in, as sqlite:///FILE or
            mysql://…; by default a file in the folder of the sweep.

    Raises:
        UsageError: An option or value that can't be searched, or Optuna is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("optuna is not installed; type: uv sync --extra studies")
    from core.train.search import Search, distribution, typed

    monitor = options.values.get("monitor", "val_loss")
    if trials < 1 or not monitor:
        raise UsageError("sweep needs --trials of 1 or more, and a --monitor")
    mode = options.values.get("mode") or direction(None, monitor)[0]
    space = {}
    for name, text in search.items():
        try:
            space[name] = distribution(text, _is_whole(options, name, text))
        except (ValueError, IndexError) as error:
            hint = 'expected "LOW HIGH", "LOW HIGH STEP", "log LOW HIGH" or "[ONE,OTHER]"'
            hint = str(error) if "not below" in str(error) or "above 0" in str(error) else hint
            raise UsageError(f"--search.{name} {text}: {hint}") from error
    _check(options, {n: [*map(typed, _ends(d))] for n, d in space.items()})
    say("; ".join(f"{name}: {_described(d)}" for name, d in space.items()))
    way = {"sampler": sampler, "pruner": pruner, "storage": storage, "monitor": monitor}
    way["direction"] = {"min": "minimize", "max": "maximize"}[mode]
    study = Search(options, space, trials, way)
    carry_out(study, _summary, **how)
    if study.is_over():
        _tell(study, options)


def _is_whole(options: Options, name: str, text: Any) -> bool:
    """Whether a range is one of whole numbers: they are typed, and the option takes no others."""
    words = str(text).removeprefix("log").split()
    if isinstance(text, list) or not all(word.lstrip("-").isdigit() for word in words):
        return False
    try:
        _parsed(options, [f"--{name}", f"{words[0]}.5"])
    except UsageError:
        return True
    known = options.known()
    return all(known[key].type is Any for key in options.keys(name))


def _parsed(options: Options, words: list[str]) -> Options:
    own = own_parameters(options.targets["command"])
    return parse(["fit", *without(options.arguments[1:], *own), *words], options.owners)


def _ends(kind: Any) -> list[Any]:
    return [*kind.choices] if hasattr(kind, "choices") else [kind.low, kind.high]


def _check(options: Options, values: dict[str, list[str]]) -> None:
    """Refuses what can't be typed, for each choice of network, dataset, loss and so on."""
    chosen = [[(f"--{n}", v) for v in found] for n, found in values.items() if n in SELECTORS]
    for pairs in itertools.product(*chosen):
        base = [word for pair in pairs for word in pair]
        for name, ends in values.items():
            for value in ends:
                try:
                    _parsed(options, [*base, f"--{name}", value] if name not in SELECTORS else base)
                except UsageError as error:
                    raise UsageError(f"--search.{name}: {error}") from None


def _described(kind: Any) -> str:
    if hasattr(kind, "choices"):
        return " or ".join(map(str, kind.choices))
    whole = "whole " if isinstance(kind.low, int) else ""
    how = ", log" * kind.log + f", in steps of {kind.step}" * bool(kind.step and kind.step != 1)
    return f"{whole}numbers from {kind.low:g} to {kind.high:g}{how}"


def _summary(study: Any) -> Rows:
    """The ten best trials."""
    if not (best := study.best()):
        failed = study.members()[-1]
        hint = f"{failed.name} ended with: {study.last_line(failed)}"
        raise RunError(f"no trial has come to a {study.way['monitor']}; {hint}")
    rows = [
        [f"trial_{t.number}", f"{t.value:.5g}", *map(_short, t.params.values())] for t in best[:10]
    ]
    return ["trial", study.way["monitor"], *best[0].params], rows


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tell(study: Any, options: Options) -> None:
    """How the trials ended, what the options matter, pictures, and what to type."""
    say(", ".join(f"{count} {state}" for state, count in study.counts().items()))
    if importances := study.importances():
        shown = ", ".join(f"{name} {share:.0%}" for name, share in importances.items())
        say(f"how much each option explains of the differences: {shown}")
    say(study.draw())
    best, own = study.member(study.best()[0]), own_parameters(options.targets["command"])
    words = [*without(options.arguments[1:], *own, "name"), *best.words]
    say(f"the best again: python main.py {shlex.join(words)}")
    say(f"and on the test part: python main.py test {study.folder_of(best)}")
