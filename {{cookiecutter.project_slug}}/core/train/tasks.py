"""What a task is: the losses that imply it, and its metrics."""

from collections.abc import Callable
from typing import Literal

from torchmetrics import Metric
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
