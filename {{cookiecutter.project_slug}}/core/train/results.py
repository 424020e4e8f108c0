"""What a test made of each sample, as it is drawn."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import IterableDataset, Subset

from core.train.batches import Batches, collate_of, given_as
from core.train.metrics import measured
from core.train.tasks import TASKS


class Labels(NamedTuple):
    """Of N labels, of which a sample may have several."""

    shares: Tensor  # (N, C), the probability of each class
    truth: Tensor  # (N,), int64
    sample: Tensor  # (N,), int64


class Results:
    """Outputs and targets of a test set.

    Args:
        model: An MInterface.
        data: A DInterface, or None.
        name: Of the set, "" of a single one.
        found: What `core.train.outputs.tested` tells of it.
    """

    def __init__(self, model: Any, data: Any, name: str, found: dict[str, Any]) -> None:
        self.model, self.data = model, data
        self.outputs, self.targets = found["output"], found["target"]
        self.scores, self.scored_by = found["score"], found["scored_by"]
        self.task = model.scores.of["test"][name].task
        self.kind = TASKS[self.task].kind if self.task else None
        number = [*model.scores.of["test"]].index(name)
        self.part: Any = [*data.sets("test").values()][number] if data else None
        self.files = found["names"]

    def name(self, index: int) -> str:
        """The file of a sample, or its number in the dataset."""
        if self.files:
            return str(self.files[index]).rpartition("/")[2]
        is_part = isinstance(self.part, Subset)
        return f"#{self.part.indices[index] if is_part else index}"

    def classes(self, count: int) -> list[str]:
        """The names of so many classes, which are their numbers where nobody tells."""
        for known in self.data.published("classes") if self.data else ():
            if isinstance(known, list | tuple) and len(known) == count:
                return [str(name) for name in known]
        return [str(number) for number in range(count)]

    def labels(self) -> Labels:
        """The probabilities, and true labels, of classes of which one is right."""
        outputs, targets = self.outputs, self.targets
        if len({(o.shape, t.shape) for o, t in zip(outputs, targets, strict=True)}) == 1:
            batches = [(torch.stack(outputs), torch.stack(targets))]
        else:
            batches = [(o[None], t[None]) for o, t in zip(outputs, targets, strict=True)]
        shares, truth, sample, begun = [], [], [], 0
        for output, target in batches:
            found, labels = measured(self.task, self.model.loss, output.float(), target)
            if self.kind == "binary":
                found = torch.stack([1 - found, found], 1)
            shares.append(found.movedim(1, -1).flatten(0, -2))
            truth.append(labels.flatten())
            numbers = torch.arange(begun, begun + len(output))
            sample.append(numbers.repeat_interleave(labels[0].numel()))
            begun += len(output)
        every = Labels(torch.cat(shares), torch.cat(truth), torch.cat(sample))
        ignored = self.model.named.facts.get("ignore_index")
        counts = (every.truth >= 0) & (every.truth < every.shares.shape[1])
        counts &= every.truth != (-1 if ignored is None else ignored)
        return Labels(*(values[counts] for values in every))

    def picture(self, index: int) -> Tensor | None:
        """What the network saw of a sample, (C, H, W) in [0, 1]; None if it is no picture.

        Values beyond that range are stretched to it.
        """
        if self.part is None or isinstance(self.part, IterableDataset):
            return None
        batch = Batches(self.part, 1, collate_of(self.part), evaluates=True)[index]
        inputs, _ = self.model.split_batch(given_as(batch, self.data.forms))
        tensors = [t for t in tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim == 4]
        found = next((t[0].float() for t in tensors if t.shape[1] in (1, 3)), None)
        return None if found is None else stretched(found, found)


def stretched(picture: Tensor, like: Tensor) -> Tensor:
    """A picture in [0, 1]: as it is, or stretched as another one has to be to lie there."""
    low, high = like.min(), like.max()
    if low < 0 or high > 1:
        picture = (picture - low) / (high - low).clamp_min(1e-12)
    return picture.clamp(0, 1)
