"""The callbacks of a run: those chosen by name, and those that keep its checkpoints."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning import callbacks as cb

from core import lightning
from core.cli.construct import checked, construct, load, offer, parameters
from core.cli.names import import_path, locate, section
from core.cli.options import Options
from core.errors import UsageError
from core.runs.last_checkpoint import LastCheckpoint
from core.runs.logged import Logged
from core.runs.notes import FirstSteps, Looks
from core.runs.processes import say
from core.runs.shown import Shown
from core.runs.watch import EVALUATED
from core.train.direction import direction
from core.train.seeding import StatelessSeeding

Direction = Callable[[str | None], Literal["min", "max"]]
_SWITCHES = {cb.ProgressBar: "enable_progress_bar", cb.ModelSummary: "enable_model_summary"}


def direction_of(model: pl.LightningModule) -> Direction:
    """Gives what tells whether less or more of a metric is better, and says so if its name does."""
    said: set[str] = set()

    def tell(metric: str | None) -> Literal["min", "max"]:
        if not metric:
            return "min"
        found, by = direction(model, metric)
        if by == "its name" and metric not in said and metric != "val_loss":
            say(f"{metric}: {'more' if found == 'max' else 'less'} is better, as its name tells")
        said.add(metric)
        return found

    return tell


def make_own(options: Options, folder: Path | None) -> list[pl.Callback]:
    """Those of every run that no option names."""
    own: list[pl.Callback] = [StatelessSeeding(), Looks(options), Shown(options, folder)]
    return [*own, FirstSteps(folder)] if folder and options.command == "fit" else own


def make_callbacks(
    folder: Path | None,
    trainer: dict[str, Any],
    direction: Direction,
    *,
    callbacks: list[str | dict[str, Any]] | None = None,
    callback_args: dict[str, dict[str, Any]] | None = None,
    monitor: str | None = "val_loss",
    mode: Literal["min", "max"] | None = None,
    stop_early: bool = True,
) -> list[pl.Callback]:
    """The callbacks that are chosen by name.

    Args:
        folder: The run's folder; None if nothing is to be written.
        trainer: The trainer's settings; they may switch some off, and Lightning's own are off.
        direction: Tells whether less or more of a metric is better.
        callbacks: Files of callbacks/, Lightning's by their names, and your own as module.Class, or
            as mappings with `class_path` and `init_args`. --callbacks+=NAME adds one.
        callback_args: Their arguments, by section.
        monitor: Metric that tells the best checkpoint and when to stop early; null for none.
        mode: Whether less or more of it is better; by default what the metric itself says.
        stop_early: Whether to stop when the monitor no longer improves.

    Raises:
        UsageError: There is no such callback, or its arguments can't work.
    """
    found: list[pl.Callback] = []
    for entry in callbacks or []:
        if isinstance(entry, str):
            name, target = entry, locate("callbacks", entry)
            given = (callback_args or {}).get(section(entry), {})
        else:
            name, given = str(entry.get("class_path")), entry.get("init_args") or {}
            path = f"{cb.__name__}.{name}" if hasattr(cb, name) else name
            target = import_path("callbacks", path)
        watched = given.get("monitor", monitor)
        own = given.get("mode", mode if watched == monitor else None)
        facts = {"folder": folder, "monitor": watched, "mode": own or direction(watched)}
        if watched and not EVALUATED.match(watched):  # known when the epoch ends
            facts |= {"check_on_train_epoch_end": True}
        found.append(_make(name, load(target), given, facts))
    off: list[type] = [cb.EarlyStopping] * (not stop_early or not monitor)
    off += [kind for kind, switch in _SWITCHES.items() if trainer.get(switch) is False]
    if trainer.get("barebones"):
        off = [cb.EarlyStopping, cb.LearningRateMonitor, *_SWITCHES]
    found = [callback for callback in found if not isinstance(callback, (*off,))]
    for kind, switch in _SWITCHES.items():
        trainer[switch] = any(isinstance(callback, kind) for callback in found)
    return found


def _make(name: str, target: Any, given: dict[str, Any], facts: dict[str, Any]) -> pl.Callback:
    if isinstance(target, type) and issubclass(target, (cb.LearningRateFinder, cb.BatchSizeFinder)):
        why = "it would train otherwise than is recorded, and search again when the run goes on"
        find = "lr" if issubclass(target, cb.LearningRateFinder) else "batch_size"
        raise UsageError(f"--callbacks {name}: {why}; type python main.py tune --find {find}")
    if isinstance(target, type) and issubclass(target, cb.BaseFinetuning):
        why = "what it froze stays frozen where a run goes on"
        raise UsageError(f'--callbacks {name}: {why}; type --freeze "[NAME]" --unfreeze_at_epoch N')
    if isinstance(target, type) and issubclass(target, cb.StochasticWeightAveraging):
        why = "its average is in last.ckpt alone, not in the best weights, which are tested"
        raise UsageError(f"--callbacks {name}: {why}; type --callbacks+=ema")
    if target is cb.EMAWeightAveraging and "decay" not in given:
        say(f"{name} averages over 1,000 steps from the first; --callbacks+=ema begins with fewer")
    arguments = offer(parameters(target), given, facts)
    with lightning.refused(title=f"--callbacks {name}"):
        if "lightning" in target.__module__:  # a library: what it refuses is the user's to mend
            found = checked(f"--callbacks {name}", target, **arguments)
        else:
            found = construct(target, arguments, name)
    if not isinstance(found, pl.Callback):
        raise UsageError(f"--callbacks {name}: expected a Lightning Callback")
    return found


def make_checkpoints(
    folder: Path,
    trainer: dict[str, Any],
    direction: Direction,
    *,
    monitor: str | None = "val_loss",
    mode: Literal["min", "max"] | None = None,
    checkpoint: dict[str, Any] | None = None,
    checkpoint_every_n_steps: int = 1000,
) -> list[pl.Callback]:
    """The last and the best checkpoint; the first four parameters are those of `make_callbacks`.

    Args:
        checkpoint: Options of Lightning's ModelCheckpoint for the best weights. With
            every_n_train_steps or train_time_interval, further weights are kept so often.
        checkpoint_every_n_steps: The most steps that a killed run loses. It is saved more often
            where that costs less than a hundredth of the time.
    """
    if trainer.get("enable_checkpointing") is False:
        return []
    best: dict[str, Any] = {"monitor": monitor, "mode": mode or direction(monitor)}
    best |= {"filename": f"{{epoch}}-{{{monitor}:.4f}}" if monitor else "{epoch}"}
    if monitor and "/" in monitor:  # which would make a folder
        name = f"epoch={{epoch}}-{monitor.replace('/', '_')}={{{monitor}:.4f}}"
        best |= {"filename": name, "auto_insert_metric_name": False}
    if monitor and not EVALUATED.match(monitor):
        best |= {"save_on_train_epoch_end": True}
    best |= {"enable_version_counter": False} | (checkpoint or {})
    often = {n: best.pop(n, None) for n in ("every_n_train_steps", "train_time_interval")}
    if often["train_time_interval"]:
        often["train_time_interval"] = _interval(often["train_time_interval"])
    found: list[pl.Callback] = [LastCheckpoint(folder, checkpoint_every_n_steps), Logged()]
    if (folder / "trial.json").exists():
        from core.runs.pruning import Pruning  # only here: Optuna is not for everyone

        found.append(Pruning(folder, monitor))
    with lightning.refused(TypeError, ValueError):
        found += [cb.ModelCheckpoint(folder / "checkpoints", **best)]
        if any(often.values()):  # whose weights a metric of before says nothing of
            often |= {"filename": "{step}", "save_top_k": -1}
            found += [cb.ModelCheckpoint(folder / "checkpoints", **often)]
    return found


def _interval(text: str) -> timedelta:
    """As `--max_time` takes it."""
    try:
        days, hours, minutes, seconds = map(int, text.split(":"))
    except (AttributeError, ValueError):
        form = "expected DD:HH:MM:SS"
        raise UsageError(f"--checkpoint.train_time_interval {text}: {form}") from None
    return timedelta(days, seconds, hours=hours, minutes=minutes)
