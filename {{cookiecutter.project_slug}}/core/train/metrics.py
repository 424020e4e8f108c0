"""Metrics of torchmetrics by name, and what is given to them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from core.cli.construct import checked, load, offer, parameters
from core.cli.names import locate, section
from core.errors import UsageError
from core.runs.processes import say
from core.train.tasks import TASKS, Task


class Named:
    """The metrics of a run by their short names: a task's own, and those that were chosen.

    Args:
        chosen: Names of torchmetrics' classes without Binary, Multiclass and Multilabel, such as
            auroc or iou, or your own as module.Class.
        arguments: Their arguments, by section.
        facts: What is known for all of them, such as `ignore_index`.
    """

    def __init__(
        self,
        chosen: list[str] | None,
        arguments: Mapping[str, dict[str, Any]] | None,
        facts: Mapping[str, Any],
    ) -> None:
        self.facts = facts
        self.data_range: float | None = None  # of pictures
        self.left_out: set[str] = set()  # what could not measure this output or target
        self.chosen: dict[str, tuple[Any, dict[str, Any]]] = {}
        for name in chosen or []:
            given = (arguments or {}).get(section(name), {})
            target = load(locate("metrics", name))
            if not isinstance(target, type):
                raise UsageError(f"--metrics {name}: expected a Metric of torchmetrics, a class")
            self.chosen[section(name).lower()] = target, given

    def range_of(self, target: Tensor) -> float:
        """The range of images: what the data says, else that of the first batch, which is told."""
        if self.data_range is None:
            self.data_range = data_range(target)
            text = f"PSNR and SSIM take pictures to span {self.data_range:g}, as the first batch"
            say(f"{text}; the dataset's attribute data_range tells another")
        return self.data_range

    def check(self, tasks: tuple[Task, ...]) -> dict[str, bool | None]:
        """Whether more is better, by name, of all that may come; None where nobody tells.

        Raises:
            UsageError: There is no such metric, or its arguments can't work.
        """
        found: dict[str, bool | None] = {}
        for task in tasks:
            facts = dict(self.facts) | {"num_classes": 2, "num_labels": 2, "data_range": 1.0}
            made = self.make(task, facts)
            found |= {name: metric.higher_is_better for name, metric in made.items()}
        return found

    def make(self, task: Task, facts: Mapping[str, Any]) -> dict[str, Metric]:
        """The metrics of a task."""
        about = TASKS[task]
        own = {n: (load(f"torchmetrics.{name}"), args) for n, (name, args) in about.metrics.items()}
        found: dict[str, Metric] = {}
        for name, (target, given) in (own | self.chosen).items():
            known = {"task": about.kind} | dict(facts)
            known = {n: value for n, value in known.items() if value is not None}
            arguments = offer(parameters(target), given, known)
            metric = checked(f"--metrics {name}", target, **arguments)
            if not isinstance(metric, Metric):
                raise UsageError(f"--metrics {name}: expected a Metric of torchmetrics")
            found[name] = metric
        return found


def data_range(target: Tensor) -> float:
    """The range of images: 1 of [0, 1], 2 of [-1, 1], 255 of bytes, else what they span."""
    low, high = float(target.min()), float(target.max())
    for floor, ceiling in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if floor <= low and high <= ceiling:
            return ceiling - floor
    return high - low


def are_probabilities(loss: Any, output: Tensor, is_multiclass: bool) -> bool:
    """Whether an output, (B, …), is of probabilities, not logits: the loss tells, or the values."""
    if isinstance(loss, nn.BCELoss) or type(loss).__name__ == "ProbabilityLoss":
        return True
    if type(loss).__module__.startswith("torch.nn"):
        return False
    is_share = bool(((output >= 0) & (output <= 1)).all())
    is_whole = (
        is_share and bool(((output.sum(1) - 1).abs() < 1e-3).all()) if is_multiclass else True
    )
    return is_share and is_whole


def score_each(
    task: Task, loss: Any, output: Tensor, target: Tensor, ignore_index: int | None = None
) -> tuple[str, Tensor]:
    """What two runs are compared by: a score of each sample of a batch, the more the better.

    Args:
        task: What it is about.
        loss: As `measured` takes it, like output and target.
        output: (B, …); classes along the second axis.
        target: (B, …).
        ignore_index: A label that does not count.

    Returns:
        Its name; and (B,) float32: the share of the labels that are right; of a segmentation the
        mean IoU of the classes that are there or predicted; of values minus the mean absolute
        error. It is nan where nothing counts.
    """
    kind = TASKS[task].kind
    if not kind:
        error = (output.float() - target.float().reshape(output.shape)).abs()
        return "negative absolute error", -error.reshape(len(error), -1).mean(1)
    output, target = measured(task, loss, output.float(), target)
    found = output.argmax(1) if kind == "multiclass" else (output > 0.5).long()
    found, target = (labels.reshape(len(labels), -1) for labels in (found, target))
    counts = target != ignore_index if ignore_index is not None else torch.ones_like(target) > 0
    if task != "segmentation":
        return "accuracy", ((found == target) & counts).sum(1) / counts.sum(1)
    both, either = [], []
    for label in range(output.shape[1]):
        there, told = (target == label) & counts, (found == label) & counts
        both.append((there & told).sum(1))
        either.append((there | told).sum(1))
    return "IoU", (torch.stack(both) / torch.stack(either)).nanmean(0)


def measured(task: Task, loss: Any, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """What metrics take: probabilities, or values, and labels.

    Args:
        task: What it is about.
        loss: Tells whether the output is on logits.
        output: (B, …); classes along the second axis.
        target: (B, …), of classes also their probabilities.
    """
    kind = TASKS[task].kind
    is_share = kind is not None and are_probabilities(loss, output, kind == "multiclass")
    if kind == "multiclass":
        if target.ndim == output.ndim:  # probabilities of each class
            target = target.argmax(1)
        return output if is_share else output.softmax(1), target.long()
    if kind:
        output = output if is_share else output.sigmoid()
        return output.reshape(target.shape), (target > 0.5).long()
    if task == "regression" and output.ndim > 2:
        return output.flatten(), target.flatten()
    return output, target
