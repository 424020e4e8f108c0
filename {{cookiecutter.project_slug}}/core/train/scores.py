"""Loss and metrics of an epoch."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torchmetrics import MeanMetric, Metric

from core import lightning
from core.train.tasks import METRICS, Task


class Scores(nn.Module):
    """Loss and metrics over one stage's epoch.

    Batches are kept and measured many at a time: measuring each would take longer than the step of
    a small network.

    Args:
        task: What the metrics measure; None for the loss alone.
    """

    MOST_BATCHES, MOST_VALUES = 64, 2**20

    def __init__(self, task: Task | None) -> None:
        super().__init__()
        self.task = task
        # A loss that is not a number stays so; torchmetrics' "disable" would forget the weights.
        loss = {"loss": MeanMetric(nan_strategy=math.nan)}
        self.by_name: dict[str, Metric] = nn.ModuleDict(loss)  # type: ignore[assignment]
        self._kept: list[tuple[Tensor, int, Any, Any]] = []  # loss, samples, output, target
        self._saved: list[dict[str, Any]] = []  # by process, until there are metrics to take it

    def make(self, output: Any) -> None:
        """Makes the metrics, once the first output (B, …) tells the number of classes."""
        if not self.task or len(self.by_name) > 1 or not isinstance(output, Tensor):
            return
        size = output.shape[1] if output.ndim > 1 else 1
        task = "multilabel" if self.task == "binary" and size > 1 else self.task
        for name, (make, _) in METRICS[task].items():
            self.by_name[name] = make(size).to(output.device)

    def add(self, loss: Tensor, output: Any, target: Any) -> None:
        """Takes note of a batch.

        Args:
            loss: Its mean, a scalar.
            output: What the network made of it, (B, …).
            target: The same for the target, or whatever the loss took.
        """
        self._restore()
        size = len(target if isinstance(target, Tensor) else tree_leaves(target)[0])
        if len(self.by_name) == 1:
            output = target = None
        else:
            output = output.detach().clone()  # CUDA graphs write the next one in its place
        self._kept.append((loss.detach(), size, output, target))
        values = 0 if output is None else output.numel() * len(self._kept)
        if len(self._kept) == self.MOST_BATCHES or values > self.MOST_VALUES:
            self.measure()

    def measure(self) -> None:
        """Measures the batches kept."""
        if not self._kept:
            return
        losses, sizes, outputs, targets = zip(*self._kept, strict=True)
        loss = torch.stack(losses)
        self.by_name["loss"].update(loss, torch.tensor(sizes, device=loss.device))
        groups = [(outputs, targets)]
        if outputs[0] is not None and outputs[0].ndim > 2:  # images may be of several sizes
            groups = [((output,), (target,)) for _, _, output, target in self._kept]
        for name, metric in self.by_name.items():
            for some, wanted in groups if name != "loss" else []:
                metric.update(torch.cat(some), torch.cat(wanted))
        self._kept = []

    def epoch(self) -> dict[str, Metric]:
        """The metrics of the epoch by name, ready to be computed."""
        self.measure()
        return self.by_name

    def saved(self) -> list[dict[str, Any]]:
        """All that has come in since the epoch began, of each process, for a checkpoint."""
        if self._saved:  # the run went on, and has not begun a step
            return self._saved
        states = {name: metric.metric_state for name, metric in self.by_name.items()}
        own = tree_map_only(Tensor, Tensor.cpu, {"states": states, "kept": self._kept})
        found: list[dict[str, Any]] = [own] * _rank_and_size()[1]
        if len(found) > 1:
            torch.distributed.all_gather_object(found, own)
        return found

    def go_on_from(self, saved: list[dict[str, Any]]) -> None:
        """Takes it over again with the next batch; with another number of processes it is lost."""
        self._saved = saved

    def _restore(self) -> None:
        of_all, self._saved = self._saved, []
        rank, size = _rank_and_size()
        if len(of_all) != size:
            return
        device = self.by_name["loss"].device
        saved = tree_map_only(Tensor, lambda tensor: tensor.to(device), of_all[rank])
        for name, states in saved["states"].items():
            lightning.restore(self.by_name[name], states)
        self._kept = saved["kept"]


def _rank_and_size() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
