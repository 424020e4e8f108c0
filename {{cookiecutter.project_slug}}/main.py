"""Trains, tests and uses the networks in model/ on the datasets in data/.

python main.py --dataset digits --model_name resnet     # fit, then test the best weights
python main.py --model_name vit --patch_size 2          # options of the chosen classes
python main.py --help --model_name vit                  # and what they mean
python main.py test --run digits-resnet                 # measure a finished run again
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.cli.command_line import parse
from core.cli.construct import construct, load
from core.cli.options import Options
from core.errors import TryAgain, UsageError
from core.exit import answered
from core.runs.folders import discard_folder

if TYPE_CHECKING:  # importing torch takes seconds: only once all options are known to be good
    import pytorch_lightning as pl

    from core.job import Job
    from data import DInterface

# Whose parameters are options without a section, and on which page of the help they stand.
OWNERS = {
    "model.model_interface:MInterface": "model",
    "data.data_interface:DInterface": "data",
    "core.runs.callbacks:make_callbacks": "run",
    "core.runs.callbacks:make_checkpoints": "run",
    "core.runs.loggers:make_loggers": "run",
    "core.runs.folders:make_folder": "run",
    "core.train.weights:begin": "run",
    "main:build": "run",
}


def build(options: Options, *, seed: int = 0) -> Job:
    """Makes network, data and trainer.

    Args:
        options: Of `parse(arguments, OWNERS)`.
        seed: Seed of the run: weights, order of the samples, augmentation, dropout.
    """
    from core import lightning
    from core.job import Job
    from core.train.pretrained import offered
    from core.train.seeding import seed_everything
    from data import DInterface

    lightning.mute()
    seed_everything(seed)
    own = {"dataset": build_model(options)} if options.has_loaders else None
    data = DInterface(**(own or offered(options)))
    if not int(os.environ.get("LOCAL_RANK", 0)):  # once per node
        data.prepare_data()
    data.setup(options.command)
    if options.command == "fit" and data.part("val") is None:
        options.set("trainer.limit_val_batches", 0)
    model = own["dataset"] if own else build_model(options, data)
    trainer = build_trainer(options, model)
    return Job(options.command, model, data, trainer, options)


def build_model(options: Options, data: DInterface | None = None) -> pl.LightningModule:
    """The chosen network in an `MInterface`, or the chosen LightningModule as it is."""
    import pytorch_lightning as pl

    from model import MInterface

    if data:
        options.offer(data.published)
    network, settings = load(options.targets["model"]), options.of("MInterface")
    place, model_args = options.targets["model"].partition(":")[0], options.section("model")
    if not isinstance(network, type) or not issubclass(network, pl.LightningModule):
        model: pl.LightningModule = MInterface(**settings)
    else:
        is_own = not issubclass(network, MInterface)
        settings = {n: v for n, v in settings.items() if n not in ("model_name", "model_args")}
        model = construct(network, model_args if is_own else settings | model_args, "model", place)
    if data and isinstance(model, MInterface):
        model.example_input_array = data.example(model)
    return model


def build_trainer(options: Options, model: pl.LightningModule) -> pl.Trainer:
    """Lightning's Trainer with callbacks and loggers; for `fit` it writes into a run folder."""
    import pytorch_lightning as pl

    from core import lightning
    from core.runs.callbacks import direction_of, make_callbacks, make_checkpoints, make_own
    from core.runs.opening import open_run
    from core.runs.watch import Watch

    settings, direction = options.section("trainer"), direction_of(model)
    folder = open_run(options, settings)
    chosen = options.of("make_callbacks")
    callbacks = [*make_own(options, folder), *make_callbacks(folder, settings, direction, **chosen)]
    if folder and options.command == "fit":
        chosen = options.of("make_checkpoints")
        saving = make_checkpoints(folder, settings, direction, **chosen)
        callbacks = [Watch(options), *saving, *callbacks]
    with lightning.refused(RuntimeError, TypeError, ValueError):
        return pl.Trainer(**settings | {"callbacks": callbacks})


def load_run(run: str = "last", ckpt: str = "best") -> tuple[pl.LightningModule, DInterface]:
    """Network and data of a run, for a notebook: `model, data = load_run("digits-resnet")`.

    Args:
        run: The run: last, its name or its folder.
        ckpt: Its checkpoint: best, last or a file.
    """
    from core.job import use

    job = build(parse(["predict", "--run", run], OWNERS))
    use(job, run=run, ckpt=ckpt)
    return job.model.eval(), job.data


def run(arguments: Sequence[str]) -> Job | None:
    """Does what the words after `main.py` say, and returns what the command worked with.

    From Python: `run(["--lr", "0.1"]).results["test_acc"]`; there is `.folder`, too.
    """
    options = parse([*arguments], OWNERS)
    command = load(options.targets["command"])
    takes = inspect.signature(command).parameters
    try:
        while True:
            gc.freeze()  # what is imported stays: to look for garbage in it would take a second
            gc.enable()
            job = build(options, **options.of("build")) if "job" in takes else None
            try:
                given = {n: v for n, v in (("job", job), ("options", options)) if n in takes}
                command(**given, **options.of(command.__name__))
                return job
            except TryAgain as request:
                options.values |= request.changes
            del job, given  # the memory was full
            gc.unfreeze()
            gc.collect()
    except (UsageError, ModuleNotFoundError):
        if options.command == "fit" and "resume" not in options.values:
            discard_folder(options.run_folder)
        raise


def main(arguments: Sequence[str]) -> int:
    """Does the same for a terminal, and returns the exit code: see core/exit.py."""
    gc.disable()
    return answered(functools.partial(run, arguments))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # whoever reads, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
