"""Trains, tests and uses the networks in model/ on the datasets in data/.

python main.py --dataset digits --model_name resnet     # fit, then test the best weights
python main.py --model_name vit --patch_size 2          # options of the chosen classes
python main.py --help --model_name vit                  # and what they mean
python main.py test --run digits-resnet                 # a finished run again
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
from core.runs import find_checkpoint, make_folder, save_results

if TYPE_CHECKING:  # importing torch takes seconds: only once all options are known to be good
    import pytorch_lightning as pl

    from data import DInterface

VERBS = {verb: f"main:{verb}" for verb in ("fit", "validate", "test", "predict")}


@dataclass
class Job:
    """What one command works with."""

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
    job.trainer.fit(job.model, job.data)
    best: Any = job.trainer.checkpoint_callback
    path = best.best_model_path if best else ""
    results = (
        {best.monitor: best.best_model_score.item(), "checkpoint": Path(path).name} if path else {}
    )
    return results | (
        _measure(job, "test", path or None) if job.data.part("test") is not None else {}
    )


def validate(job: Job, *, run: str = "last", ckpt: str = "best") -> dict[str, Any]:
    """Measure a run's weights on the validation set.

    Args:
        job: What to validate.
        run: The run: last, its name or its folder. Its options hold.
        ckpt: Its checkpoint: best, last or a file.
    """
    return _measure(job, "validate", find_checkpoint(job.folder, ckpt))


def test(job: Job, *, run: str = "last", ckpt: str = "best") -> dict[str, Any]:
    """Measure a run's weights on the test set.

    Args:
        job: What to test.
        run: The run: last, its name or its folder. Its options hold.
        ckpt: Its checkpoint: best, last or a file.
    """
    return _measure(job, "test", find_checkpoint(job.folder, ckpt))


def predict(job: Job, *, run: str = "last", ckpt: str = "best") -> dict[str, Any]:
    """Write a run's predictions to its predictions.csv, in the order of the samples.

    Args:
        job: What predicts.
        run: The run: last, its name or its folder. Its options hold.
        ckpt: Its checkpoint: best, last or a file.
    """
    from core.callbacks import save_predictions

    path = find_checkpoint(job.folder, ckpt)
    save_predictions(
        job.folder / "predictions.csv", job.trainer.predict(job.model, job.data, ckpt_path=path)
    )
    return {}


def _measure(job: Job, verb: str, path: str | Path | None) -> dict[str, Any]:
    results: dict[str, Any] = getattr(job.trainer, verb)(
        job.model, job.data, ckpt_path=path, weights_only=True, verbose=False
    )[0]
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
        ".*does not have many workers.*",
        ".*directory .* exists and is not empty.*",
        ".*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", noise)
    pl.seed_everything(seed, workers=True, verbose=False)

    data = DInterface(**options.of("DInterface"))
    if not int(os.environ.get("LOCAL_RANK", 0)):
        data.prepare_data()
    data.setup(options.verb)
    for key in [k for k in options.keys() if k.startswith("model.")]:
        options.fill(key, data.published(key.removeprefix("model.")))

    network = lookup.load(options.targets["model"])
    if isinstance(network, type) and issubclass(network, MInterface):
        model = lookup.construct(network, options.of("MInterface") | options.of("model"))
    elif isinstance(network, type) and issubclass(network, pl.LightningModule):
        model = lookup.construct(network, options.of("model"))
    else:
        model = MInterface(**options.of("MInterface"))
    if isinstance(model, MInterface):
        model.example_input_array, _ = model.split_batch(data.sample())

    settings = {"logger": False} if options.verb != "fit" else {}
    settings |= options.of("trainer")
    settings["callbacks"] = callbacks.own_callbacks(settings.get("callbacks"))
    folder = options.run_folder
    if options.verb == "fit" and not settings.get("fast_dev_run") and not settings.get("barebones"):
        names = [str(options.values[n]).replace(":", "-") for n in ("dataset", "model_name")]
        folder = make_folder(
            settings.get("default_root_dir") or "runs", "-".join(names), **options.of("make_folder")
        )
        settings["default_root_dir"] = folder
        if settings.get("logger") in (None, True):
            settings["logger"] = callbacks.make_loggers(folder, **options.of("make_loggers"))
        settings["callbacks"] += callbacks.make_callbacks(
            folder, model, settings, **options.of("make_callbacks")
        )
        (folder / "config.yaml").write_text(
            yaml.safe_dump(options.complete(), sort_keys=False, allow_unicode=True)
        )
    try:
        return Job(model, data, pl.Trainer(**settings), folder)
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
        results = globals()[options.verb](job, **options.of(options.verb))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if job.trainer.is_global_zero:
        from core.callbacks import show_results

        if job.folder and not job.trainer.fast_dev_run:
            save_results(job.folder, results)
        show_results(results, job.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
