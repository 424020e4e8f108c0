"""What a task is: the losses and shapes that imply it, its metrics, and how they are given."""

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

Task = Literal[
    "classification", "binary", "multilabel", "regression", "segmentation", "image", "none"
]
Metrics = dict[str, tuple[str, dict[str, Any]]]  # by name: class of torchmetrics, and arguments


@dataclass(frozen=True)
class About:
    """A row of the table of tasks."""

    kind: str | None = None  # what torchmetrics calls it
    metrics: Metrics = field(default_factory=dict)


_REGRESSION: Metrics = {
    "mae": ("regression:MeanAbsoluteError", {}),
    "rmse": ("regression:MeanSquaredError", {"squared": False}),
    "r2": ("regression:R2Score", {}),
}
TASKS: dict[Task, About] = {
    "classification": About(
        "multiclass",
        {
            "acc": ("classification:Accuracy", {}),
            "f1": ("classification:F1Score", {"average": "macro"}),
        },
    ),
    "segmentation": About(
        "multiclass",
        {"acc": ("classification:Accuracy", {}), "iou": ("classification:JaccardIndex", {})},
    ),
    "binary": About(
        "binary", {"acc": ("classification:Accuracy", {}), "f1": ("classification:F1Score", {})}
    ),
    "multilabel": About(
        "multilabel",
        {
            "acc": ("classification:Accuracy", {"average": "macro"}),
            "f1": ("classification:F1Score", {"average": "macro"}),
        },
    ),
    "regression": About(metrics=_REGRESSION),
    "image": About(
        metrics={
            "mae": ("regression:MeanAbsoluteError", {}),
            "psnr": ("image:PeakSignalNoiseRatio", {}),
            "ssim": ("image:StructuralSimilarityIndexMeasure", {}),
        }
    ),
    "none": About(),
}
# What the loss implies; shapes decide between those of one row.
_LOSSES: dict[str, tuple[Task, ...]] = {
    "CrossEntropyLoss": ("classification", "segmentation"),
    "NLLLoss": ("classification", "segmentation"),
    "ProbabilityLoss": ("classification", "segmentation"),
    "BCELoss": ("binary", "multilabel"),
    "BCEWithLogitsLoss": ("binary", "multilabel"),
    **dict.fromkeys(("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"), ("regression", "image")),
}


def tasks_of(task: Task | None, loss: Any) -> tuple[Task, ...]:
    """What a run may be about: what was said, else what goes with the loss."""
    if task == "binary":
        return ("binary", "multilabel")
    return (task,) if task else _LOSSES.get(type(loss).__name__, ("none",))


def task_of(tasks: tuple[Task, ...], output: Tensor) -> Task:
    """Which of them it is, by the shape of an output, (B, …)."""
    if "segmentation" in tasks:
        return tasks[output.ndim > 3 and len(tasks) > 1]
    if "image" in tasks:
        return tasks[output.ndim == 4 and len(tasks) > 1]
    if "multilabel" in tasks:
        return tasks[output.ndim > 1 and output.shape[1] > 1 and len(tasks) > 1]
    return tasks[0]
