"""Loss and metrics of an epoch."""

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torchmetrics import MeanMetric, Metric
from torchmetrics import classification as c
from torchmetrics import regression as r

Task = Literal["classification", "binary", "multilabel", "regression"]

# What the metrics are about, where only the loss tells.
TASKS: dict[str, Task] = {
    "CrossEntropyLoss": "classification",
    "NLLLoss": "classification",
    "BCELoss": "binary",
    "BCEWithLogitsLoss": "binary",
    "MSELoss": "regression",
    "L1Loss": "regression",
    "SmoothL1Loss": "regression",
    "HuberLoss": "regression",
}

# By task: name, maker (of the number of outputs), and whether more is better.
METRICS: dict[str | None, dict[str, tuple[Callable[[int], Metric], bool]]] = {
    None: {},
    "classification": {
        "acc": (lambda size: c.MulticlassAccuracy(size, average="micro"), True),
        "f1": (lambda size: c.MulticlassF1Score(size, average="macro"), True),
    },
    "binary": {
        "acc": (lambda size: c.BinaryAccuracy(), True),
        "f1": (lambda size: c.BinaryF1Score(), True),
    },
    "multilabel": {"acc": (c.MultilabelAccuracy, True), "f1": (c.MultilabelF1Score, True)},
    "regression": {
        "mae": (lambda size: r.MeanAbsoluteError(), False),
        "rmse": (lambda size: r.MeanSquaredError(squared=False), False),
        "r2": (lambda size: r.R2Score(), True),
    },
}


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
        self.by_name = nn.ModuleDict({"loss": MeanMetric(nan_strategy=math.nan)})
        self._kept: list[tuple[Tensor, int, Any, Any]] = []  # loss, samples, output, target
        self._num_values = 0

    def make(self, output: Tensor) -> None:
        """Makes the metrics, once the first output (B, …) tells the number of classes."""
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
        size = len(target if isinstance(target, Tensor) else tree_leaves(target)[0])
        if len(self.by_name) == 1:
            output = target = None
        else:
            output = output.detach().clone()  # CUDA graphs write the next one in its place
            self._num_values += output.numel()
        self._kept.append((loss.detach(), size, output, target))
        if len(self._kept) == self.MOST_BATCHES or self._num_values > self.MOST_VALUES:
            self.measure()

    def measure(self) -> None:
        """Measures the batches kept."""
        if not self._kept:
            return
        losses, sizes, outputs, targets = zip(*self._kept, strict=True)
        loss = torch.stack(losses)
        self._metrics["loss"].update(loss, torch.tensor(sizes, device=loss.device))
        groups = [(outputs, targets)]
        if outputs[0] is not None and outputs[0].ndim > 2:  # images may be of several sizes
            groups = [((output,), (target,)) for _, _, output, target in self._kept]
        for name, metric in self._metrics.items():
            for some, wanted in groups if name != "loss" else []:
                metric.update(torch.cat(some), torch.cat(wanted))
        self._kept, self._num_values = [], 0

    def epoch(self) -> dict[str, Metric]:
        """The metrics of the epoch by name, ready to be computed."""
        self.measure()
        return self._metrics

    @property
    def _metrics(self) -> dict[str, Metric]:
        return {name: cast(Metric, metric) for name, metric in self.by_name.items()}

    def saved(self) -> dict[str, Any]:
        """All that has come in since the epoch began, for a checkpoint."""
        states = {name: metric.metric_state for name, metric in self._metrics.items()}
        return tree_map_only(Tensor, Tensor.cpu, {"states": states, "kept": self._kept})

    def restore(self, saved: dict[str, Any]) -> None:
        """Takes it over again."""
        device = self._metrics["loss"].device
        saved = tree_map_only(Tensor, lambda tensor: tensor.to(device), saved)
        for name, states in saved["states"].items():
            metric = self._metrics[name]
            for state, value in states.items():
                setattr(metric, state, value)
            metric._update_count = 1
        self._kept = saved["kept"]
        self._num_values = sum(kept[2].numel() for kept in self._kept if kept[2] is not None)
