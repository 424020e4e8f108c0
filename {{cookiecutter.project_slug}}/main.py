"""Trains, tests and uses the networks in model/ on the datasets in data/.

python main.py --dataset digits --model_name resnet     # fit, then test the best weights
python main.py --model_name vit --patch_size 2          # options of the chosen classes
python main.py --help --model_name vit                  # and what they mean
python main.py test --run digits-resnet                 # measure a finished run again
"""

from __future__ import annotations

import gc
import inspect
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Literal

from core import lookup
from core.lookup import UsageError
from core.options import Options, parse
from core.runs import (
    STOP_SIGNALS,
    RunError,
    Stopped,
    TryAgain,
    claim,
    discard_folder,
    is_helper,
    make_folder,
    requeue,
)

if TYPE_CHECKING:  # importing torch takes seconds: only once all options are known to be good
    import pytorch_lightning as pl

    from core.verbs import Job
    from data import DInterface

VERBS = {verb: f"core.verbs:{verb}" for verb in ("fit", "validate", "test", "predict")}
VERBS |= {"export": "core.export:export"}
VERBS |= {verb: f"core.report:{verb}" for verb in ("runs", "compare", "reproduce")}


def build(
    options: Options,
    *,
    seed: int = 0,
    float32_matmul_precision: Literal["highest", "high", "medium"] = "high",
) -> Job:
    """Makes network, data and trainer.

    Args:
        options: Of `core.options.parse`.
        seed: Seed of the run: weights, order of the samples, augmentation, dropout.
        float32_matmul_precision: How exact a GPU multiplies 32-bit matrices, see
            torch.set_float32_matmul_precision; high is several times faster than highest.

    Raises:
        UsageError: Something can't work as the options say.
    """
    import torch

    from core.callbacks import seed_everything
    from core.verbs import Job
    from data import DInterface

    torch.set_float32_matmul_precision(float32_matmul_precision)
    seed_everything(seed)
    data = DInterface(**options.of("DInterface"))
    if not int(os.environ.get("LOCAL_RANK", 0)):  # once per node
        data.prepare_data()
    data.setup(options.verb)
    if options.verb == "fit" and data.part("val") is None:
        options.set("trainer.limit_val_batches", 0)
    watched = options.values.get("monitor", "val_loss")
    if options.values.get("trainer.limit_val_batches") == 0 and watched.startswith("val_"):
        print("nothing is validated: train_loss tells the best checkpoint and when to stop early")
        options.set("monitor", "train_loss")
    model = build_model(options, data)
    trainer = build_trainer(options, model)
    about = (options.run_folder, options.checkpoint, options.changed)
    return Job(options.verb, model, data, trainer, *about)


def build_model(options: Options, data: DInterface) -> pl.LightningModule:
    """The chosen network in an `MInterface`, or the chosen LightningModule as it is."""
    import pytorch_lightning as pl

    from model import MInterface

    for key in options.known():
        if key.startswith("model."):
            options.fill(key, data.published(key.removeprefix("model.")))
    network, settings = lookup.load(options.targets["model"]), options.of("MInterface")
    model_args = options.section("model")
    if not isinstance(network, type) or not issubclass(network, pl.LightningModule):
        model = MInterface(**settings)
    elif issubclass(network, MInterface):
        settings = {n: v for n, v in settings.items() if n not in ("model_name", "model_args")}
        model = lookup.construct(network, settings | model_args)
    else:
        found: pl.LightningModule = lookup.construct(network, model_args)
        return found
    model.example_input_array, _ = model.split_batch(data.sample())
    return model


def build_trainer(options: Options, model: pl.LightningModule) -> pl.Trainer:
    """Lightning's Trainer; for `fit` with a run folder, callbacks and loggers."""
    import pytorch_lightning as pl
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from core import callbacks
    from core.checkpoints import AtomicCheckpointIO, newest

    settings = options.section("trainer")
    settings["callbacks"] = callbacks.own_callbacks(settings.get("callbacks"))
    writes = not settings.get("fast_dev_run") and not settings.get("barebones")
    try:
        if options.verb == "fit" and writes:
            names = [str(options.values[n]).replace(":", "-") for n in ("dataset", "model_name")]
            root = settings.get("default_root_dir") or "runs"
            folder = options.run_folder or make_folder(
                root, "-".join(names), **options.of("make_folder")
            )
            claim(folder)
            options.run_folder = settings["default_root_dir"] = folder
            options.checkpoint = newest(folder, settings.get("max_epochs"))
            if settings.get("logger") in (None, True):
                chosen = options.of("make_loggers")
                settings["logger"] = callbacks.make_loggers(folder, options.checkpoint, **chosen)
            chosen = options.of("make_callbacks")
            settings["callbacks"][:0] = callbacks.make_callbacks(folder, model, settings, **chosen)
            settings["plugins"] = [*(settings.get("plugins") or []), AtomicCheckpointIO()]
        elif writes:
            settings["logger"] = False
        trainer = pl.Trainer(**settings)
    except UsageError:
        raise
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UsageError(f"trainer: {' '.join(str(error).split())}") from None
    if options.verb == "fit" and writes and not is_helper():
        options.save(folder / "config.yaml")
    return trainer


def run(options: Options) -> None:
    """Does what the options say; with others, if the verb asks for that."""
    verb = lookup.load(options.verb_target)
    changes = {}
    gc.freeze()
    gc.enable()
    try:
        needs_job = "job" in inspect.signature(verb).parameters
        jobs = [build(options, **options.of("build"))] if needs_job else []
        verb(*jobs, **options.of(verb.__name__))
    except TryAgain as request:
        changes = request.changes
    if changes:
        options.values |= changes
        jobs.clear()
        gc.unfreeze()
        gc.collect()
        run(options)


def main(arguments: list[str]) -> int:
    """Does what a command line says.

    Args:
        arguments: The words after `main.py`.

    Returns:
        Exit code: 0 if it was done, 1 if it failed, 2 if it can't be done as typed, 130 after
        Ctrl-C, 143 after SIGTERM.
    """
    options: Any = None
    for number in STOP_SIGNALS:
        signal.signal(number, Stopped.now)
    gc.disable()  # what is imported stays: to look for garbage in it would take a second
    try:
        options = parse(arguments, VERBS)
        run(options)
    except UsageError as error:
        print(f"error: {str(error).strip().rpartition('UsageError: ')[2]}", file=sys.stderr)
        if options and options.verb == "fit" and "resume" not in options.values:
            discard_folder(options.run_folder)
        return 2
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (Exception, Stopped):
        if not Stopped.last:
            raise
        folder = options and options.verb == "fit" and options.run_folder
        hint = f"; to go on: python main.py --resume {folder}" if folder else ""
        print(f"stopped{hint}", file=sys.stderr)
        requeue()
        return 128 + Stopped.last
    finally:
        gc.unfreeze()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # whoever reads, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
