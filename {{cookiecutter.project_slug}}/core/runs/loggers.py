"""Loggers that write into the run's folder."""

import csv
import itertools
import os
import uuid
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pytorch_lightning.loggers import (
    CometLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from core import ROOT
from core.cli.construct import is_plain
from core.errors import UsageError
from core.runs.checkpoints import read
from core.runs.folders import run_name
from core.runs.processes import is_helper
from core.runs.record import read_run

_USUAL: Any = ("tensorboard", "csv")


class CSVLogger(Logger):
    """Writes `metrics.csv`, a row a step, of which no kill takes one, and `hparams.yaml`.

    Args:
        folder: Where they are.
        rows: How many of the rows that are there to keep, once there is one more.
    """

    name = version = save_dir = ""  # all is in the folder itself

    def __init__(self, folder: Path, rows: int = 0) -> None:
        super().__init__()
        self.save_dir, self.file, self.names = str(folder), folder / "metrics.csv", ["step"]
        self.kept: list[dict[str, Any]] = []  # not yet written
        self.rows: int | None = rows  # None once they were kept

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Takes note of a row; what is logged of one step in parts are rows of their own."""
        if not is_helper():
            self.kept.append(metrics | {"step": len(self.kept) if step is None else step})
            if len(self.kept) == 100:
                self.save()

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *more: Any, **named: Any) -> None:
        """Writes them."""
        if not is_helper():
            values = vars(params) if isinstance(params, Namespace) else params
            plain = {name: value for name, value in values.items() if is_plain(value)}
            text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
            (self.file.parent / "hparams.yaml").write_text(text, encoding="utf-8")

    def save(self) -> None:
        """Writes the rows; a new column comes in by a new file, which takes the old one's place."""
        is_begun = self.rows is None or not self.file.exists()
        if is_helper() or (is_begun and not self.kept):
            return
        if self.rows and self.file.exists():
            with self.file.open(newline="") as lines:
                self.names = next(csv.reader(lines))
        names = sorted({*self.names, *(name for row in self.kept for name in row)})
        if self.rows is not None or names != self.names or not self.file.exists():
            self.names = names
            self._rewrite(self.rows)
            self.rows = None
        with self.file.open("a", newline="") as lines:
            csv.DictWriter(lines, self.names).writerows(self.kept)
        self.kept = []

    def _rewrite(self, rows: int | None = None) -> None:
        part = self.file.with_name(".metrics.csv.part")
        with part.open("w", newline="") as new:
            writer = csv.DictWriter(new, self.names)
            writer.writeheader()
            if self.file.exists():
                with self.file.open(newline="") as old:
                    writer.writerows(itertools.islice(csv.DictReader(old), rows))
        part.replace(self.file)


def make_loggers(
    folder: Path,
    checkpoint: Path | None = None,
    *,
    loggers: Sequence[Literal["tensorboard", "csv", "wandb", "mlflow", "comet"]] | None = _USUAL,
) -> list[Logger]:
    """Loggers that write into the run's folder.

    Args:
        folder: The run's folder.
        checkpoint: What a run goes on from; what was logged later is taken back.
        loggers: Which to use; by default tensorboard and csv (metrics.csv). Without COMET_API_KEY
            comet writes an archive, to be uploaded later.

    Raises:
        UsageError: A package is not installed, or a service can't be used.
    """
    saved = read(checkpoint) if checkpoint else {}
    purged, rows = saved.get("global_step"), saved.get("logged_rows", 0)
    name, ids = run_name(folder), read_run(folder).get("loggers", {})
    mlflow = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    pictures = None if "MLFLOW_TRACKING_URI" in os.environ else (folder / "mlflow").resolve()
    study = os.environ.get("MLFLOW_PARENT_RUN_ID")
    parent = {"mlflow.parentRunId": study} if study else None
    wandb = {"project": ROOT.name, "id": ids.get("WandbLogger", uuid.uuid4().hex)}
    makers: dict[str, Callable[[], Logger]] = {
        "tensorboard": lambda: TensorBoardLogger(folder, "", "", purge_step=purged),
        "csv": lambda: CSVLogger(folder, rows),
        "wandb": lambda: WandbLogger(name, folder, **wandb, resume="allow"),
        "mlflow": lambda: MLFlowLogger(
            ROOT.name,
            name,
            mlflow,
            parent,
            artifact_location=pictures.as_uri() if pictures else None,
            run_id=ids.get("MLFlowLogger"),
        ),
        "comet": lambda: CometLogger(
            project=ROOT.name,
            experiment_key=ids.get("CometLogger", uuid.uuid4().hex),
            name=name,
            offline_directory=str(folder / "comet"),
            auto_output_logging=False,
        ),
    }
    # Lightning's online=False has Comet log nothing at all.
    os.environ.setdefault("COMET_START_ONLINE", str("COMET_API_KEY" in os.environ))
    found: list[Any] = []
    for kind in dict.fromkeys(loggers or _USUAL):  # each once
        try:
            found.append(makers[kind]())
            if kind in ("wandb", "mlflow", "comet"):
                assert found[-1].experiment  # what is wrong with a service, it says now
        except ModuleNotFoundError as error:
            missing, hint = error.name or kind, "type uv sync --extra loggers"
            raise UsageError(f"--loggers {kind}: {missing} is not installed; {hint}") from error
        except Exception as error:
            raise UsageError(f"--loggers {kind}: {error}") from error
    return found
