"""Trains, tests and uses the networks in model/ on the datasets in data/.

python main.py --dataset digits --model_name resnet     # fit, then test the best weights
python main.py --model_name vit --patch_size 2          # options of the chosen classes
python main.py --help --model_name vit                  # and what they mean
python main.py test --run digits-resnet                 # measure a finished run again
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from core import lookup
from core.lookup import UsageError
from core.options import Options, parse
from core.runs import find_checkpoint, make_folder, remove_unused, save_results

if TYPE_CHECKING:  # importing torch takes seconds: only once all options are known to be good
    import pytorch_lightning as pl

    from data import DInterface

VERBS = {"fit": "main:fit", "validate": "main:use", "test": "main:use", "predict": "main:use"}


@dataclass
class Job:
    """What one command works with."""

    verb: str
    model: pl.LightningModule
    data: DInterface
    trainer: pl.Trainer
    folder: Path | None  # the run's; None if nothing is to be written


def fit(job: Job) -> dict[str, Any]:
    """Train, then test the best weights.

    Args:
        job: What to train.

    Returns:
        The best value of the monitor, its checkpoint's file name, and the test metrics.
    """
    from pytorch_lightning.utilities.model_helpers import is_overridden

    from core.callbacks import load_weights

    job.trainer.fit(job.model, job.data)
    best: Any = job.trainer.checkpoint_callback
    path = best.best_model_path if best else ""
    results: dict[str, Any] = {}
    if path:
        results = {best.monitor: best.best_model_score.item(), "checkpoint": Path(path).name}
        load_weights(job.model, Path(path))
    if job.data.part("test") is not None and is_overridden("test_step", job.model):
        results |= job.trainer.test(job.model, job.data, verbose=False)[0]
    return results


def use(job: Job, *, run: str = "last", ckpt: str = "best") -> dict[str, Any]:
    """Use a run's weights: metrics of the validation or test set, or predictions.csv.

    Args:
        job: What to use.
        run: The run: last, its name or its folder. Its options hold.
        ckpt: Its checkpoint: best, last or a file.

    Returns:
        Metrics by name; none of predictions.
    """
    from core.callbacks import load_weights, save_predictions

    assert job.folder is not None
    load_weights(job.model, find_checkpoint(job.folder, ckpt))
    if job.verb == "predict":
        save_predictions(job.folder, job.trainer.predict(job.model, job.data))
        return {}
    if job.data.part("val" if job.verb == "validate" else "test") is None:
        raise UsageError(f"there is no data to {job.verb}; set --val_fraction or --test_fraction")
    results: dict[str, Any] = getattr(job.trainer, job.verb)(job.model, job.data, verbose=False)[0]
    return results


def build(options: Options, *, seed: int = 0) -> Job:
    """Makes network, data and trainer.

    Args:
        options: Of `core.options.parse`.
        seed: Seed of the run: weights, order of the samples, augmentation, dropout.

    Raises:
        UsageError: Something can't work as the options say.
    """
    import pytorch_lightning as pl
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from core import callbacks
    from data import DInterface
    from model import MInterface

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for noise in (
        "not have many workers",
        "exists and is not empty",
        "LeafSpec",
        "logging interval",
    ):
        warnings.filterwarnings("ignore", f".*{noise}")
    warnings.filterwarnings("error", "Using a target size")  # not broadcast: the loss tells
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: expected 0 to {2**32 - 1}")
    pl.seed_everything(seed, workers=True, verbose=False)

    data = DInterface(**options.of("DInterface"))
    if not int(os.environ.get("LOCAL_RANK", 0)):  # once per node
        data.prepare_data()
    data.setup(options.verb)
    settings = options.section("trainer")
    if settings.get("accumulate_grad_batches", 1) < 1:  # Lightning would divide by it
        raise UsageError("--accumulate_grad_batches: expected 1 or more")
    if options.verb == "fit" and data.part("val") is None:
        settings["limit_val_batches"] = 0
    if settings.get("limit_val_batches") == 0 and options.values.get("monitor", "val_").startswith(
        "val_"
    ):
        print("nothing is validated: train_loss tells the best checkpoint and when to stop early")
        options.set("monitor", "train_loss")
    for key in options.known():
        if key.startswith("model."):
            options.fill(key, data.published(key.removeprefix("model.")))

    network, model_args = lookup.load(options.targets["model"]), options.section("model")
    if not isinstance(network, type) or not issubclass(network, pl.LightningModule):
        model: Any = MInterface(**options.of("MInterface"))
    elif issubclass(network, MInterface):
        common = options.of("MInterface")
        common = {n: v for n, v in common.items() if n not in ("model_name", "model_args")}
        model = lookup.construct(network, common | model_args)
    else:
        model = lookup.construct(network, model_args)
    if isinstance(model, MInterface):
        model.example_input_array, _ = model.split_batch(data.sample())

    settings["callbacks"] = callbacks.own_callbacks(settings.get("callbacks"))
    folder = options.run_folder
    writes = not settings.get("fast_dev_run") and not settings.get("barebones")
    try:
        if options.verb == "fit" and writes:
            names = [str(options.values[n]).replace(":", "-") for n in ("dataset", "model_name")]
            root = settings.get("default_root_dir") or "runs"
            folder = make_folder(root, "-".join(names), **options.of("make_folder"))
            settings["default_root_dir"] = folder
            if settings.get("logger") in (None, True):
                settings["logger"] = callbacks.make_loggers(folder, **options.of("make_loggers"))
            settings["callbacks"] += callbacks.make_callbacks(
                folder, model, settings, **options.of("make_callbacks")
            )
            text = yaml.safe_dump(options.complete(), sort_keys=False, allow_unicode=True)
            (folder / "config.yaml").write_text(text, encoding="utf-8")
        elif writes:
            settings["logger"] = False
        return Job(options.verb, model, data, pl.Trainer(**settings), folder)
    except UsageError:
        raise
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UsageError(f"trainer: {' '.join(str(error).split())}") from None


def main(arguments: list[str]) -> int:
    """Does what a command line says.

    Args:
        arguments: The words after `main.py`.

    Returns:
        Exit code: 0 if it was done, 2 if it can't be done as typed.
    """
    try:
        options = parse(arguments, VERBS)
        job = build(options, **options.of("build"))
        function = options.verb_target.partition(":")[2]
        results = globals()[function](job, **options.of(function))
    except UsageError as error:
        text = str(error).strip().rpartition("UsageError: ")[2]  # a worker adds its traceback
        print(f"error: {text}", file=sys.stderr)
        remove_unused()
        return 2
    if job.trainer.is_global_zero:
        from core.callbacks import show_results

        if job.folder and not options.values.get("trainer.fast_dev_run"):
            save_results(job.folder, results)
        show_results(results, job.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
