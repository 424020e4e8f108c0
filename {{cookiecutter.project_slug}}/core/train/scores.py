"""Loss and metrics of an epoch."""

import contextlib
import math
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torchmetrics import MeanMetric, Metric

from core import lightning
from core.errors import UsageError
from core.runs.processes import say
from core.train.losses import IGNORED
from core.train.metrics import Named, measured, score_each
from core.train.tasks import Task, task_of

_OWN = ("loss", "output", "target", "size", "_mean", "_labels", "_beside")  # of all a step returns


class Scores:
    """Means and metrics over one stage's epoch.

    Batches are kept and measured many at a time: measuring each would take longer than the step of
    a small network.

    Args:
        tasks: What the metrics may measure; the first output tells.
        named: Makes them.
        loss: Tells how the output is meant.
        keeps: Whether to keep output and target of each sample, up to 100 MB.
    """

    MOST_BATCHES, MOST_VALUES, MOST_BYTES = 64, 2**20, 100_000_000

    def __init__(
        self, tasks: tuple[Task, ...], named: Named, loss: Any, keeps: bool = False
    ) -> None:
        self.history: list[tuple[Tensor, Tensor]] | None = [] if keeps else None
        self._bytes = 0  # in it
        self.tasks, self.named = tasks, named
        self.task: Task | None = None  # once there was an output
        self.scored_by: str | None = None  # what `each` gives
        self.loss = loss
        self.means: dict[str, Metric] = {}
        self.metrics: dict[str, Metric] = {}
        self._measures: dict[str, str] = {}  # what each measures: "output", or what is beside it
        self._kept: list[dict[str, Any]] = []
        self._saved: list[dict[str, Any]] = []  # by process, until there are metrics to take it

    def make(self, output: Any, target: Any) -> None:
        """Makes the metrics, once the first output (B, …) tells what they measure."""
        if self.task or not isinstance(output, Tensor) or not isinstance(target, Tensor):
            return
        self.task = task_of(self.tasks, output)
        size = output.shape[1] if output.ndim > 1 else 1
        facts: dict[str, Any] = {"num_classes": size, "num_labels": size}
        if self.task == "image":
            facts["data_range"] = self.named.range_of(target)
        self._facts = dict(self.named.facts) | facts
        self._measure("output", output.device)

    def _measure(self, what: str, device: torch.device) -> None:
        assert self.task
        suffix = "" if what == "output" else f"_{what}"
        for name, metric in self.named.make(self.task, self._facts).items():
            self.metrics[name + suffix] = metric.to(device)
            self._measures[name + suffix] = what

    def _beside(self, found: dict[str, Any]) -> dict[str, Tensor]:
        """Takes from a batch what is measured beside the output, and makes metrics for it."""
        shape = getattr(found.get("output"), "shape", None)
        beside = {
            name: value.detach().clone()
            for name, value in found.items()
            if isinstance(value, Tensor) and name not in _OWN
            if value.ndim and (value.shape == shape or value.numel() > 1)
        }
        for name, value in beside.items():
            if value.shape != shape:
                hint = "expected a scalar, or as many values as in 'output'"
                raise UsageError(f"step returned '{name}' of shape {tuple(value.shape)}: {hint}")
            if self.task and name not in self._measures.values():
                self._measure(name, value.device)
            del found[name]
        return beside if self.metrics else {}

    def add(self, found: dict[str, Any]) -> None:
        """Takes note of what a step returned.

        Args:
            found: The loss, a scalar; what else it returned; `size` is what means are divided by.
        """
        found = found | {"loss": found.pop("_mean", found["loss"])}
        beside = self._beside(found)
        self._restore(found["loss"].device)
        for name, value in found.items():
            if isinstance(value, Tensor):
                found[name] = value.detach()
            elif isinstance(value, int | float) and name != "size":
                found[name] = torch.tensor(float(value), device=found["loss"].device)
        if self.metrics and isinstance(found.get("output"), Tensor):
            found["output"] = found["output"].clone()  # CUDA graphs write the next in its place
            if self.history is not None:
                self._keep(found["output"], found["target"])
        else:
            found |= {"output": None, "target": None}
        self._kept.append(found | {"_beside": beside})
        values = 0 if found["output"] is None else found["output"].numel() * len(self._kept)
        if len(self._kept) == self.MOST_BATCHES or values > self.MOST_VALUES:
            self.measure()

    def _keep(self, output: Tensor, target: Tensor) -> None:
        assert self.history is not None
        self._bytes += output.nbytes + target.nbytes
        self.history.append((output.cpu(), target.cpu()))
        if self._bytes > self.MOST_BYTES:
            say("outputs of more than 100 MB are not kept")
            self.history = None

    def measure(self) -> None:
        """Measures the batches kept."""
        if not self._kept:
            return
        kept, self._kept = self._kept, []
        device = kept[0]["loss"].device
        _leave_out_ignored(kept)
        for name in dict.fromkeys(name for found in kept for name in found):
            if name in _OWN and name != "loss":
                continue
            if name not in self.means:
                self.means[name] = _mean(device)
            there = [found for found in kept if name in found]
            sizes = _stacked([found["size"] for found in there], device)
            self.means[name].update(torch.stack([found[name] for found in there]), sizes)
        kept = [found for found in kept if found["output"] is not None]
        if not kept:
            return
        is_large = kept[0]["output"].ndim > 2  # images may be of several sizes
        for group in [[found] for found in kept] if is_large else [kept]:
            for what in dict.fromkeys(self._measures.values()):
                held = [(f | f.get("_beside", {}), f["target"]) for f in group]
                pairs = [(found[what], target) for found, target in held if what in found]
                if pairs:
                    self._update(what, *map(torch.cat, zip(*pairs, strict=True)))

    def _update(self, what: str, output: Tensor, target: Tensor) -> None:
        assert self.task
        names = [name for name in self.metrics if self._measures[name] == what]
        try:
            pair = measured(self.task, self.loss, output, target)
        except (IndexError, RuntimeError) as error:
            self._leave_out(names, error)
        for name in [name for name in names if name in self.metrics]:
            try:
                self.metrics[name].update(*pair)
            except Exception as error:  # it measures something else, and is only shown
                self._leave_out([name], error)

    def _leave_out(self, names: list[str], error: Exception) -> None:
        """Does without metrics of torchmetrics; in one of the user's own it is a fault."""
        if not all(type(self.metrics[n]).__module__.startswith("torchmetrics") for n in names):
            raise error
        if new := [name for name in names if name not in self.named.left_out]:
            say(f"not measured: {', '.join(new)}: {' '.join(str(error).split())[:200]}")
        self.named.left_out |= {*names}
        for name in names:
            del self.metrics[name]

    def epoch(self) -> dict[str, Tensor]:
        """The means and metrics of the epoch by name; the next one begins anew."""
        self.measure()
        found = {name: mean.compute() for name, mean in self.means.items()}
        for name, metric in [*self.metrics.items()]:
            try:
                if name in self.named.left_out:
                    raise ValueError
                found[name] = metric.compute()
                if found[name].numel() != 1:
                    raise ValueError(f"not a number, but {tuple(found.pop(name).shape)} of them")
            except Exception as error:
                self._leave_out([name], error)
        for metric in [*self.means.values(), *self.metrics.values()]:
            metric.reset()
        return found

    def each(self) -> list[tuple[Tensor, Tensor, list[float | None]]]:
        """Output, target and score of each sample, by batch, if they are kept."""
        found: list[tuple[Tensor, Tensor, list[float | None]]] = []
        ignored = self.named.facts.get("ignore_index")
        task = self.task
        if task is None or task == "none":
            return [(*pair, [None] * len(pair[0])) for pair in self.history or []]
        for output, target in self.history or []:
            values: list[float | None] = [None] * len(output)
            with contextlib.suppress(IndexError, RuntimeError):  # nor could a metric measure it
                self.scored_by, score = score_each(task, self.loss, output, target, ignored)
                values = score.tolist()
            found.append((output, target, values))
        return found

    def saved(self) -> list[dict[str, Any]]:
        """All that has come in since the epoch began, of each process, for a checkpoint."""
        if self._saved:  # the run went on, and has not begun a step
            return self._saved
        both = [*self.means.items(), *self.metrics.items()]
        states = {name: metric.metric_state for name, metric in both}
        own = tree_map_only(Tensor, Tensor.cpu, {"states": states, "kept": self._kept})
        found: list[dict[str, Any]] = [own] * _rank_and_size()[1]
        if len(found) > 1:
            torch.distributed.all_gather_object(found, own)
        return found

    def go_on_from(self, saved: list[dict[str, Any]]) -> None:
        """Takes it over again with the next batch; with another number of processes it is lost."""
        self._saved = saved

    def _restore(self, device: torch.device) -> None:
        if not self._saved:
            return
        of_all, self._saved = self._saved, []
        rank, size = _rank_and_size()
        if len(of_all) != size:
            return
        saved = tree_map_only(Tensor, lambda tensor: tensor.to(device), of_all[rank])
        for name, states in saved["states"].items():
            if name not in self.metrics and name not in self.means:
                self.means[name] = _mean(device)
            metric = self.metrics[name] if name in self.metrics else self.means[name]
            lightning.restore(metric, states)
        names = ("loss", "size", "output", "target")  # of runs of before
        self._kept = [
            dict(zip(names, kept, strict=True)) if isinstance(kept, tuple) else kept
            for kept in saved["kept"]
        ]


class StageScores(pl.Callback):
    """Those of training, and of each validation or test set.

    A checkpoint holds what those of training have summed up in its epoch.

    Args:
        tasks: See `Scores`.
        named: See `Scores`.
        loss: See `Scores`.
    """

    def __init__(self, tasks: tuple[Task, ...], named: Named, loss: Any) -> None:
        self._about = tasks, named, loss
        self.of: dict[str, dict[str, Scores]] = {}  # by stage and name of the set
        for stage in ("train", "val", "test"):
            self.divide(stage, ())

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Asks the data whether there are several sets."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        part = {"fit": "val", "validate": "val", "test": "test"}.get(stage)
        if part and hasattr(data, "sets"):
            self.divide(part, data.sets(part))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Saves the sums."""
        checkpoint["train_scores"] = self.of["train"][""].saved()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Goes on from them."""
        self.of["train"][""].go_on_from(checkpoint.get("train_scores", []))

    def divide(self, stage: str, sets: Iterable[str]) -> None:
        """Has scores for each of the sets of a stage, if there are several."""
        names = ["" if n == stage else n.removeprefix(f"{stage}_") for n in sets] or [""]
        if stage == "test" or names != [*self.of.get(stage, ())]:  # each test keeps its own
            keeps, self._is_made = stage == "test", False
            self.of[stage] = {name: Scores(*self._about, keeps) for name in names}

    @property
    def task(self) -> Task | None:
        """What is measured, once there was an output."""
        return self.of["train"][""].task

    def names(self, known: dict[str, Any]) -> dict[str, Any]:
        """What is known of metrics, by the names that are logged.

        These begin with `train`; `val`, which is the first set; and `val_noisy`.
        """
        sets = [(stage, name) for stage in ("train", "val") for name in ("", *self.of[stage])]
        places = [f"{stage}_{name}".strip("_") for stage, name in sets]
        return {f"{place}_{name}": known[name] for place in places for name in known}

    def add(self, stage: str, number: int, found: dict[str, Any]) -> None:
        """Takes note of what a step returned for a batch of the stage's set of that number."""
        if not self._is_made:
            for scores in (scores for sets in self.of.values() for scores in sets.values()):
                scores.make(found.get("output"), found.get("target"))
                self._is_made = scores.task is not None
        [*self.of[stage].values()][number].add(found)

    def epoch(self, stage: str) -> dict[str, Tensor]:
        """The means and metrics of the stage's epoch, by the names that are logged."""
        logged: dict[str, Tensor] = {}
        for number, (place, scores) in enumerate(self.of[stage].items()):
            found = scores.epoch()
            for prefix in dict.fromkeys([stage] * (not number) + [f"{stage}_{place}".strip("_")]):
                logged |= {f"{prefix}_{name}": value for name, value in found.items()}
        return logged


def _leave_out_ignored(kept: list[dict[str, Any]]) -> None:
    """Takes the labels that torch ignores from the sizes of batches, where nobody has set these."""
    counted = [f for f in kept if "_labels" in f and f["size"] == len(f["_labels"])]
    if counted:
        ignored = torch.cat([found["_labels"] for found in counted]) == IGNORED
        if ignored.any():
            parts = ignored.split([found["size"] for found in counted])
            for found, part in zip(counted, parts, strict=True):
                found["size"] -= int(part.sum())


def _stacked(values: list[Any], device: torch.device) -> Tensor:
    """Numbers, or scalar tensors, as one tensor."""
    if any(isinstance(value, Tensor) for value in values):
        return torch.stack([torch.as_tensor(value, device=device).float() for value in values])
    return torch.tensor(values, dtype=torch.float32, device=device)


def _mean(device: torch.device) -> Metric:
    # A loss that is not a number stays so; torchmetrics' "disable" would forget the weights.
    return MeanMetric(nan_strategy=math.nan).to(device)


def _rank_and_size() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
