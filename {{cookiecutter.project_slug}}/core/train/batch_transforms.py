"""What is done with whole batches of training, by name: torchvision's transforms, or your own."""

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torchvision import tv_tensors
from torchvision.transforms import v2

from core import lightning
from core.cli.construct import checked, construct, load, offer, parameters
from core.cli.names import locate, section
from core.errors import UsageError
from core.runs.processes import say
from core.train.batches import inputs_of, is_channels_last
from core.train.losses import described
from core.train.seeding import seed_at

_MIXING = (v2.MixUp, v2.CutMix)


class BatchTransforms:
    """Transforms of the batches of training, one after the other, on the device.

    Of MixUp and CutMix side by side one is drawn each batch. Of torchvision's others those that
    draw are given each sample by itself, with the targets that are masks or pictures as well. What
    is no transform of torchvision, such as a function object of your own, is given the whole batch.

    Args:
        chosen: Names of torchvision.transforms.v2, or your own as module.Class.
        arguments: Their arguments, by section.
        model: What is trained: its loss has to take what MixUp and CutMix make of labels.
        told: Gives what the data says of `num_classes`, the surest first.

    Raises:
        UsageError: The arguments, or the loss, can't work.
    """

    def __init__(
        self,
        chosen: list[str] | None,
        arguments: Mapping[str, dict[str, Any]] | None,
        model: Any,
        told: Callable[[str], Iterable[Any]],
    ) -> None:
        self.model, self.is_begun = model, False
        self.steps: list[dict[str, Any]] = []  # of each the alternatives, by section
        known = dict(zip(("num_classes",), told("num_classes"), strict=False))
        for name in chosen or []:
            target, title = load(locate("batch_transforms", name)), section(name)
            given = offer(parameters(target), (arguments or {}).get(title, {}), known)
            if target.__module__.startswith("torchvision."):
                made = checked(f"--batch_transforms {name}", target, **given)
            else:
                made = construct(target, given, title)
            if not callable(made):
                raise UsageError(f"--batch_transforms {name}: expected what is called with a batch")
            if isinstance(made, _MIXING):
                self._check_loss(title)
            before = [*self.steps[-1].values()] if self.steps else []
            if before and isinstance(made, _MIXING) and isinstance(before[0], _MIXING):
                self.steps[-1][title] = made
            else:
                self.steps.append({title: made})
        if self.steps:
            self._say()

    def __call__(self, batch: Any, place: tuple[int, ...]) -> Any:
        """A batch transformed, a function of the place in training.

        Raises:
            UsageError: A transform can't work on it.
        """
        if self.steps:
            seed_at(*place, "batch_transforms")
        for alternatives in self.steps:
            title, transform = random.choice([*alternatives.items()])
            if isinstance(transform, v2.Transform):
                batch = self._applied(title, transform, batch)
            else:
                batch = transform(batch)
        self.is_begun = True
        return batch

    def _say(self) -> None:
        every = {title: made for step in self.steps for title, made in step.items()}
        text = f"each batch of training: {', then '.join(' or '.join(step) for step in self.steps)}"
        if any(isinstance(made, _MIXING) for made in every.values()):
            text += "; of a mixed label, training's metrics take the class with the larger share"
        say(text)
        if fixed := [title for title, made in every.items() if _is_fixed(made)]:
            say(f"{', '.join(fixed)}: always the same, and neither in validation nor in the test")

    def _check_loss(self, title: str) -> None:
        """Refuses a loss that takes labels but not the shares of classes."""
        comparison = getattr(self.model, "comparison", None)
        if comparison is None or comparison.loss is None:
            return
        if self.model.tasks[0] in ("regression", "image"):
            text = f"mixes labels of classes, and {comparison.title} compares values"
            raise UsageError(f"--batch_transforms {title}: {text}")
        output = torch.zeros(2, 2, device=self.model.device)
        shares, labels = (comparison.tried(output, t) for t in (output + 0.5, output[0].long()))
        if shares is None and labels is not None:
            text = f"makes labels shares, float32 (B, num_classes), which {comparison.title} with "
            text += "its arguments does not take; type --loss cross_entropy"
            raise UsageError(f"--batch_transforms {title}: {text}")

    def _applied(self, title: str, transform: v2.Transform, batch: Any) -> Any:
        leaves = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
        inputs, target = self._split(batch)
        given = [t for t in tree_leaves(inputs) if isinstance(t, Tensor) and t is not target]
        pictures = [t for t in given if t.ndim == 4 and not is_channels_last(t.shape)]
        if not pictures or not {*map(id, pictures)} <= {*map(id, leaves)}:
            found = ", ".join(map(described, leaves or [batch]))
            raise UsageError(
                f"--batch_transforms {title}: takes pictures (B, C, H, W); a batch holds {found}"
            )
        with _told(title, transform):
            if isinstance(transform, _MIXING):
                if len(pictures) < len(given):
                    raise ValueError("mixes pictures, and the network is given more than these")
                labels = self._labels(transform, target)
                mixed = transform({"pictures": _as_pictures(pictures), "labels": labels})
                before, after = [*pictures, target], [*mixed["pictures"], mixed["labels"]]
            else:
                self._check_values(transform, pictures)
                before, wrapped = _wrapped(transform, pictures, leaves)
                after = _changed(transform, wrapped)
        plain = (tensor.as_subclass(Tensor) for tensor in after)
        new = dict(zip(map(id, before), plain, strict=True))
        return tree_map(lambda leaf: new.get(id(leaf), leaf), batch)

    def _split(self, batch: Any) -> tuple[Any, Any]:
        """The inputs of a batch, and its target."""
        if hasattr(self.model, "split_batch"):
            inputs, target = self.model.split_batch(batch)
            return inputs, target
        inputs = inputs_of(batch)[0]
        ids = {*map(id, tree_leaves(inputs))}
        return inputs, next((leaf for leaf in tree_leaves(batch) if id(leaf) not in ids), None)

    def _labels(self, transform: Any, target: Any) -> Tensor:
        """Labels (B,) int64, or the shares of each class (B, num_classes), to be mixed."""
        tasks = getattr(self.model, "tasks", ())
        if isinstance(target, Tensor):
            if target.ndim == 2 and target.shape[1] > 1:
                return target
            if not target.is_floating_point() and target.numel() == len(target):
                if "binary" in tasks:
                    hint = "with two outputs, type --loss cross_entropy"
                    raise ValueError(
                        f"makes shares of two classes, for which is one output; {hint}"
                    )
                if transform.num_classes is None:
                    raise ValueError("needs num_classes, which the data does not tell")
                return target.flatten().long()
        form = "labels, int64 (B,), or shares, float32 (B, num_classes)"
        raise ValueError(f"mixes {form}; the target is {described(target)}")

    def _check_values(self, transform: v2.Transform, pictures: list[Tensor]) -> None:
        """Refuses, once, pictures whose values a change of colours would cut off."""
        cuts = _module(transform) in ("_color", "_auto_augment")
        if self.is_begun or not (cuts or isinstance(transform, v2.GaussianNoise)):
            return
        for picture in (p for p in pictures if p.is_floating_point()):
            low, high = float(picture.min()), float(picture.max())
            if low < 0 or high > 1:
                text = f"takes pictures of 0 to 1, not {low:.3g} to {high:.3g}"
                raise ValueError(f"{text}; let the network normalize them")


def _module(transform: v2.Transform) -> str:
    """Of torchvision, where it is from: `_geometry`, `_color`, …"""
    return type(transform).__module__.rpartition(".")[2]


def _is_fixed(transform: Any) -> bool:
    """Whether it draws nothing."""
    kind = type(transform)
    is_known = isinstance(transform, v2.Transform) and kind.__module__.startswith("torchvision.")
    draws = isinstance(transform, v2.GaussianNoise) or (
        is_known and kind.make_params is not v2.Transform.make_params
    )
    return is_known and not draws and kind.forward is v2.Transform.forward


def _as_pictures(tensors: list[Tensor]) -> list[Any]:
    return [tv_tensors.Image(tensor) for tensor in tensors]


def _wrapped(
    transform: v2.Transform, pictures: list[Tensor], leaves: list[Tensor]
) -> tuple[list[Tensor], list[Any]]:
    """What is to be transformed of a batch, and the same as torchvision's pictures and masks."""
    sizes, channels = {p.shape[-2:] for p in pictures}, {p.shape[1] for p in pictures}
    own, is_moving = {*map(id, pictures)}, _module(transform) == "_geometry"
    before, wrapped = [*pictures], _as_pictures(pictures)
    for leaf in (leaf for leaf in leaves if id(leaf) not in own and leaf.ndim > 2):
        is_picture = leaf.ndim == 4 and leaf.is_floating_point() and leaf.shape[1] in channels
        if is_picture and not is_moving:
            text = "changes pictures, and the target is one, too"
            raise ValueError(f"{text}; what is to change, a method transform_batch tells")
        if is_picture or (leaf.ndim < 5 and leaf.shape[-2:] in sizes):
            before.append(leaf)
            wrapped.append((tv_tensors.Image if is_picture else tv_tensors.Mask)(leaf))
        elif is_moving:
            raise ValueError(f"moves pictures, and can't move {described(leaf)} of the batch")
    return before, wrapped


def _changed(transform: v2.Transform, wrapped: list[Any]) -> list[Tensor]:
    """Whole batches, (B, …), transformed sample by sample if what is drawn is to differ."""
    if _is_fixed(transform):
        found = [transform(tuple(wrapped))]
    else:
        samples = zip(*([tv_tensors.wrap(t, like=w) for t in w] for w in wrapped), strict=True)
        found = [transform(sample) for sample in samples]
    columns = [*zip(*found, strict=True)]
    for column in columns:
        kinds = {type(value).__name__ for value in column if not isinstance(value, Tensor)}
        if kinds:
            raise ValueError(f"makes of a tensor a {min(kinds)}")
        shapes = sorted({tuple(value.shape) for value in column})
        if len(shapes) > 1:
            raise ValueError(f"gives samples several sizes, such as {shapes[0]} and {shapes[-1]}")
    return [c[0] if _is_fixed(transform) else torch.stack(c) for c in columns]


@contextlib.contextmanager
def _told(title: str, transform: Any) -> Iterator[None]:
    """Tells in a line what a transform of torchvision refuses."""
    try:
        yield
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        is_own = not type(transform).__module__.startswith("torchvision.")
        if is_own or lightning.is_out_of_memory(error):
            raise
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"--batch_transforms {title}: {text}") from error
