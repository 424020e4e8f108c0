"""What the outputs of a network are written as."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

from core import lightning
from core.errors import UsageError
from core.runs.processes import say
from core.train.batches import file_names, in_order
from core.train.build import can_take
from core.train.scores import StageScores


def predict_inputs(model: pl.LightningModule) -> None:
    """Has Lightning's `predict_step` call forward with its inputs alone, not the whole batch."""
    if lightning.has_step(model, "predict_step"):
        return
    takes = [p for p in inspect.signature(model.forward).parameters.values() if p.kind < 2]
    names = [p.name for p in takes if p.default is p.empty]

    def inputs_of(batch: Any) -> Any:
        if isinstance(batch, Mapping) and {*names} <= {*batch}:
            return {name: batch[name] for name in names}
        is_tuple = isinstance(batch, tuple | list)
        return tuple(batch[: len(names) or -1]) if is_tuple else (batch,)

    def predict_step(batch: Any, *place: Any) -> Any:
        if not asked:
            with torch.random.fork_rng():
                asked.append(can_take(model, (batch,)))
            if not asked[0]:
                text = f"{type(model).__name__} has no predict_step: its forward is given"
                say(f"{text} {', '.join(names) or 'all but the last item'} of each batch")
        inputs = (batch,) if asked[0] else inputs_of(batch)
        return model(**inputs) if isinstance(inputs, dict) else model(*inputs)

    asked: list[bool] = []  # whether it takes the whole batch
    model.predict_step = predict_step  # type: ignore[method-assign]


def picture_of(output: Any, task: str | None) -> Tensor | None:
    """Bytes (C, H, W): the class of each pixel, or a picture; None of what is neither."""
    if not isinstance(output, Tensor) or output.ndim != 3:
        return None
    if task == "segmentation":
        return output.argmax(0, keepdim=True).to(torch.uint8)
    if task in ("binary", "multilabel") and len(output) == 1:
        return (output > 0).to(torch.uint8) * 255
    is_picture = task == "image" and len(output) in (1, 3)
    return (output.clamp(0, 1) * 255).round().to(torch.uint8) if is_picture else None


def names_of(data: Any, trainer: pl.Trainer, count: int) -> dict[str, Sequence[Any]]:
    """The file of each sample if the data tells, in `samples` or last in its items, or its index.

    Of a fold, both.

    Raises:
        UsageError: There are not as many as samples.
    """
    (part,) = data.sets("predict").values()
    if data.trainer is None:  # the loaders are the network's own
        part = getattr(trainer.predict_dataloaders, "dataset", part)
    if isinstance(part, IterableDataset):
        return {"index": range(count)}
    limit = trainer.limit_predict_batches  # 1 is a batch, 1.0 all
    is_part = count < len(part) and (isinstance(limit, int) or limit < 1)
    if count != len(part) and not is_part:
        hint = "return the batch axis first"
        raise UsageError(f"the network returns {count} rows for {len(part)} samples; {hint}")
    indices = [*map(int, part.indices[:count])] if isinstance(part, Subset) else range(count)
    numbers = {"index": indices} if getattr(data.parts, "fold", None) else {}
    item, files = part[0], file_names(part, count)
    if not files and isinstance(item, tuple) and len(item) > 2 and isinstance(item[-1], str):
        files = [part[index][-1] for index in range(count)]
    return numbers | {"file": files} if files else {"index": indices}


def tested(model: pl.LightningModule, data: Any) -> dict[str, dict[str, Any]]:
    """What the test made of each sample, in all processes, by name of the set.

    These are `output`, `target`, `score`, called `scored_by` and None if there is none, and
    `names`, of files, if they are known.
    """
    scores: Any = getattr(model, "scores", None)
    found: dict[str, dict[str, Any]] = {}
    sets = scores.of["test"] if isinstance(scores, StageScores) else {}
    for number, (name, one) in enumerate(sets.items()):
        rows = in_order([row for batch in one.each() for row in zip(*batch, strict=True)])
        if rows:
            outputs, targets, values = zip(*rows, strict=True)
            found[name] = {"output": [*outputs], "target": [*targets], "score": [*values]}
            found[name] |= {"scored_by": one.scored_by}
            parts = [*data.sets("test").values()] if data else []
            found[name]["names"] = file_names(parts[number], len(rows)) if parts else None
    return found
