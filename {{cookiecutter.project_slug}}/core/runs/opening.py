"""The beginning of a run: its folder, what it goes on from, and what Lightning writes there."""

from pathlib import Path
from typing import Any

from pytorch_lightning import profilers

from core import lightning
from core.cli.options import Options
from core.runs.checkpoints import AtomicCheckpointIO, newest
from core.runs.folders import make_folder
from core.runs.loggers import make_loggers
from core.runs.processes import Stopped, is_helper, say
from core.runs.record import claim


def open_run(options: Options, settings: dict[str, Any]) -> Path | None:
    """Makes or finds the run's folder, and returns it; None if nothing is to be written.

    Args:
        options: All that was typed; gets the folder, and the checkpoint to go on from.
        settings: The trainer's; gets loggers, profiler and the writer of checkpoints.
    """
    lightning.check_strategy(settings.get("strategy"))
    watched = options.values.get("monitor", "val_loss") or ""
    if settings.get("limit_val_batches") == 0 and watched.startswith("val_"):
        say("nothing is validated: train_loss tells the best checkpoint and when to stop early")
        options.set("monitor", "train_loss")
    if settings.get("fast_dev_run") or settings.get("barebones"):
        return None
    if options.command == "fit":
        folder = options.run_folder or make_folder(*place(options), **options.of("make_folder"))
        claim(folder)
        if not is_helper() and not (folder / "config.yaml").exists():
            options.save(folder / "config.yaml")  # of a run that goes on once that is sure
        options.run_folder = settings["default_root_dir"] = folder
        options.checkpoint = newest(folder, settings.get("max_epochs"))
        Stopped.hint = f"; to go on: python main.py --resume {folder}"
        if settings.get("logger") in (None, True):
            chosen = options.of("make_loggers")
            settings["logger"] = make_loggers(folder, options.checkpoint, **chosen)
        settings["plugins"] = [*(settings.get("plugins") or []), AtomicCheckpointIO()]
    else:
        settings["logger"] = False
    settings["profiler"] = _profiler(settings.get("profiler"), options.run_folder)
    return options.run_folder


def place(options: Options) -> tuple[str, str]:
    """The folder of all runs, and the name of one for which none is chosen."""
    chosen = [options.values[n] for n in ("dataset", "model_name")]
    names = [str(name).replace(":", "-") for name in chosen if name is not None]
    return options.values.get("trainer.default_root_dir") or "runs", "-".join(names)


def _profiler(chosen: Any, folder: Path | None) -> Any:
    """Lightning's profiler by name, which writes into the run's folder."""
    kinds = {
        "simple": profilers.SimpleProfiler,
        "advanced": profilers.AdvancedProfiler,
        "pytorch": profilers.PyTorchProfiler,
    }
    if folder is None or chosen not in kinds:
        return chosen
    say(f"the profile goes to {folder}/*-profile.*")
    return kinds[chosen](dirpath=folder, filename="profile")
