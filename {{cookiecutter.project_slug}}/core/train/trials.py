"""What Optuna keeps of a sweep: read and written by the sweep and by each of its runs."""

import json
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages.journal import JournalFileBackend

FILE = "trial.json"  # in the folder of a run: which trial it is


def open_storage(place: str) -> optuna.storages.BaseStorage:
    """Opens a database by its address, or a file that several processes may write to."""
    if "://" in place:
        return optuna.storages.RDBStorage(place)
    lock: Any = FileLock(f"{place}.lock")  # which the system takes back from whoever is killed
    with lock:
        file = Path(place)
        lines = file.read_bytes() if file.exists() else b""
        if lines and not lines.endswith(b"\n"):  # the disk was full
            file.write_bytes(lines[: lines.rfind(b"\n") + 1])
    backend = JournalFileBackend(place, lock_obj=lock)
    return optuna.storages.JournalStorage(backend)


class Trial:
    """The trial that a run is.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        about = json.loads((folder / FILE).read_text("utf-8"))
        self.storage, self.id = open_storage(about["storage"]), int(about["id"])
        self.study = optuna.load_study(study_name=about["study"], storage=self.storage)
        self.pruner: optuna.pruners.BasePruner = {
            "median": optuna.pruners.MedianPruner(n_warmup_steps=1),
            "hyperband": optuna.pruners.HyperbandPruner(),
            "none": optuna.pruners.NopPruner(),
        }[about["pruner"]]

    def is_hopeless(self, epoch: int, value: float) -> bool:
        """Whether it is worse than others were at that epoch, which is written down first."""
        if epoch not in self.storage.get_trial(self.id).intermediate_values:
            self.storage.set_trial_intermediate_value(self.id, epoch, value)
        return bool(self.pruner.prune(self.study, self.storage.get_trial(self.id)))
