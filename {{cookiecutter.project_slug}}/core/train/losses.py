"""What is compared with what, and what is said where it can't be."""

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from core.errors import UsageError
from core.runs.processes import say
from core.train.batches import TARGETS

IGNORED = -100  # the label that torch leaves out by default
_TRUE = (*("y_true", "true", "gt", "ground_truth", "trues"), *TARGETS)
_PREDICTED = (
    *("y_pred", "y_hat", "preds", "pred", "input", "inputs", "logit", "logits", "probs"),
    *("output", "outputs", "prediction", "predictions"),
)
_OUTPUTS = ("logits", "output", "out", "pred", "prediction", "predictions")


class ProbabilityLoss(nn.NLLLoss):
    """Cross entropy of a network that returns probabilities, (B, classes, …), not logits."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        return super().forward(input.clamp_min(torch.finfo(input.dtype).tiny).log(), target)


class Comparison:
    """Calls the loss with what it takes, in the shapes that it takes.

    Args:
        net: The network, which messages name.
        loss: What compares; None if the network returns its loss.
        has_classes: Whether the target is of classes.
        class_axis: Their axis in outputs of more than two dimensions; None if the shapes tell.
    """

    def __init__(
        self, net: nn.Module, loss: Any, has_classes: bool, class_axis: int | None = None
    ) -> None:
        self.net, self.loss, self.class_axis = net, loss, class_axis
        self.name, function = type(net).__name__, getattr(loss, "func", loss)
        self.title = getattr(function, "__name__", type(loss).__name__)
        is_known = type(loss).__module__.startswith("torch.nn") or isinstance(loss, ProbabilityLoss)
        self.is_plain = is_known and isinstance(loss, nn.modules.loss._Loss)  # compares two tensors
        self.is_checked = False
        self.num_classes: int | None = None  # that the data tells
        self.has_classes = has_classes or isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss)
        called = loss.forward if isinstance(loss, nn.Module) else loss or (lambda output: output)
        takes = inspect.signature(called).parameters.values()
        inputs = [p for p in takes if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.fewest = sum(p.default is p.empty for p in inputs)
        names = [p.name.lower() for p in inputs[:2]]
        self.is_reversed = len(names) > 1 and names[0] in _TRUE and names[1] in _PREDICTED
        self.reshapes = False  # whether a loss of one's own would broadcast
        self.most = 99 if any(p.kind is p.VAR_POSITIONAL for p in takes) else len(inputs)

    def __call__(self, output: Any, target: Any) -> dict[str, Any]:
        """Compares what the network returned with the target of a batch, None if it has none.

        Returns:
            loss: A scalar; output and target: for the metrics, None if there are none; size: what
            means are divided by, if it is not the samples; _mean: what is logged in place of a loss
            that is a sum; and the named parts of the loss.

        Raises:
            UsageError: They can't be compared.
        """
        if self.loss is None:
            found, compared = self._returned(output), main_output(output)
        elif self.is_plain and self.fewest == 2:
            return self._plain(output, target)
        else:
            found, compared = (
                _parts(self.title, self.loss(*self._inputs(output, target))),
                main_output(output),
            )
        with contextlib.suppress(UsageError):  # it is only measured
            compared, target = self._alike(compared, target)
        return {"output": compared, "target": target} | found

    def predict(self, inputs: Any, count: int) -> Any:
        """What a network that returns its loss makes of its `count` inputs alone."""
        if isinstance(inputs, dict):
            output = self.net(**{n: v for n, v in inputs.items() if n not in TARGETS})
        else:
            output = self.net(*inputs[:count])
        found = main_output(output)
        return output if found is None else found

    def _plain(self, output: Any, target: Any) -> dict[str, Any]:
        """The loss of two tensors."""
        if target is None:
            raise UsageError(self._no_target())
        if self.has_classes and getattr(output, "shape", ())[1:] == (1,):
            hint = "type --loss mse, or --loss bce for two classes"
            raise UsageError(
                f"{self.title} takes an output for each class, {self.name} has one; {hint}"
            )
        if not isinstance(output, Tensor):
            raise UsageError(
                f"{self.name} returns a {type(output).__name__}, and {self.title} compares one "
                "tensor; return the logits alone, or write a loss that takes it all "
                "(--loss module.Name)"
            )
        if not isinstance(target, Tensor):
            example = target[0] if isinstance(target, list | tuple) and target else target
            is_text = isinstance(example, str)
            hint = "return numbers, such as classes.index(label)" if is_text else "return a tensor"
            raise UsageError(
                f"the target is {example!r}, and {self.title} compares tensors; {hint}"
            )
        output = output.to(torch.promote_types(output.dtype, torch.float32))  # half would round
        output, target = self._alike(output, target)
        if not self.is_checked:
            self._check(output, target)
            self.is_checked = True
        with self._explained(output, target):
            loss = self.loss(output, target)
        found = {"output": output, "target": target, "loss": loss}
        if self.title in ("BCEWithLogitsLoss", "BCELoss") and self._labels_last(output):
            found |= {"output": output.movedim(-1, 1), "target": target.movedim(-1, 1)}
        if self.has_classes and target.ndim < output.ndim and hasattr(self.loss, "ignore_index"):
            if target.ndim == 1 and self._is_mean_of_all():
                found |= {"size": len(target), "_labels": target}  # counted many batches at a time
            else:
                found["size"] = self._weight(target)
        if self.loss.reduction == "none":
            found["loss"] = loss.sum() / found["size"] if "size" in found else loss.mean()
        if "size" in found and "_labels" not in found:
            # all of a batch may be ignored
            found["_mean"] = found["loss"].where(found["size"] > 0, 0.0)
        if self.loss.reduction == "sum":
            found["_mean"] = loss / found.setdefault("size", len(output))
        return found

    def _labels_last(self, output: Tensor) -> bool:
        """Whether the labels that are measured one by one are along the last axis, not the second.

        Raises:
            UsageError: Nothing tells.
        """
        if output.ndim < 3 or self.class_axis:
            return output.ndim > 2 and self.class_axis == -1
        fitting = [axis for axis in (1, -1) if output.shape[axis] in (1, self.num_classes)]
        if output.ndim == 3 and len(fitting) != 1:
            hint = "type --class_axis 1 or --class_axis -1; of one label alone return (B, 1, …)"
            raise UsageError(
                f"{self.name} returns {described(output)}: which axis is that of labels? {hint}"
            )
        return output.ndim == 3 and fitting == [-1]

    def _is_mean_of_all(self) -> bool:
        """Whether it is the mean over all labels but those that torch ignores by default."""
        settings = self.loss.weight is None, self.loss.reduction, self.loss.ignore_index
        return settings == (True, "mean", IGNORED)

    def _weight(self, target: Tensor) -> Any:
        """What torch divides a mean by: the weights of all labels that are not ignored."""
        is_valid = target != self.loss.ignore_index
        if self.loss.weight is None:
            return is_valid.sum()
        return (self.loss.weight[target.where(is_valid, 0)] * is_valid).sum()

    def _alike(self, output: Any, target: Any) -> tuple[Any, Any]:
        """Output and target in the shapes and types that are compared.

        Only axes of length one come and go, and that of the classes becomes the second.
        """
        if not isinstance(output, Tensor) or not isinstance(target, Tensor):
            return output, target
        if not self.has_classes:
            if not _fits(target.shape, output.shape):
                raise UsageError(self._shapes(output, target))
            return output, target.reshape(output.shape).to(output.dtype)
        if output.ndim == 2 and target.dtype == torch.long and target.shape == output.shape[:1]:
            return output, target  # as ever
        if target.shape == output.shape and output.ndim > 1:
            if not self.is_checked and not torch.allclose(
                target.sum(1).float(), target.new_ones(()).float(), atol=1e-2
            ):
                hint = "of several classes at once? type --loss bce"
                raise UsageError(f"{self.title} takes one class, the target has several: {hint}")
            return output, target.to(output.dtype)
        if target.is_floating_point() and bool((target == target.round()).all()):
            target = target.long()
        first, last = output.shape[:1] + output.shape[2:], output.shape[:-1]
        is_first, is_last = _fits(target.shape, first), _fits(target.shape, last)
        if output.ndim > 2 and is_first and is_last and self.class_axis is None:
            hint = "type --class_axis 1 or --class_axis -1"
            raise UsageError(
                f"{self._shapes(output, target)}: which axis is that of classes? {hint}"
            )
        if output.ndim > 2 and is_last and self.class_axis != 1:
            output, first, is_first = output.movedim(-1, 1), last, True
        if not is_first:
            raise UsageError(self._shapes(output, target))
        target = target.reshape(first)
        return output, target if target.is_floating_point() else target.long()

    def _check(self, output: Tensor, target: Tensor) -> None:
        """Refuses probabilities for a loss that takes logits, and the other way round."""
        output = output.detach()
        is_share = bool(((output >= 0) & (output <= 1)).all())
        sums = output.sum(1) if output.ndim > 1 and output.shape[1] > 1 else torch.zeros(1)
        has_shares = is_share and bool(((sums - 1).abs() < 1e-3).all())
        own, what = "type --loss core.train.losses.ProbabilityLoss", "probabilities"
        match self.title:
            case "CrossEntropyLoss" if has_shares:
                hint = f"return what comes before the softmax, or {own}"
            case "CrossEntropyLoss" if is_share and self._has_sigmoid(output):
                hint = "return what comes before the sigmoid, or type --loss bce_loss"
            case "BCEWithLogitsLoss" if is_share and self._has_sigmoid(output):
                hint = "return what comes before the sigmoid, or type --loss bce_loss"
            case "BCEWithLogitsLoss" | "BCELoss" if bool(((target < 0) | (target > 1)).any()):
                low, high = target.min().item(), target.max().item()
                hint = "divide them by 255" if high == 255 else "type --loss mse for other values"
                raise UsageError(
                    f"{self.title} takes targets of 0 to 1, not {low} to {high}; {hint}"
                )
            case "NLLLoss" if bool((output > 1e-3).any()):
                hint = own if has_shares else "type --loss cross_entropy"
                what = what if has_shares else "no log-probabilities"
            case "ProbabilityLoss" if not has_shares:
                hint, what = "type --loss cross_entropy", "no probabilities"
            case _:
                return
        raise UsageError(f"{self.name} returns {what}, which {self.title} does not take; {hint}")

    def _has_sigmoid(self, output: Tensor) -> bool:
        """Whether what lies in [0, 1] does so because of a sigmoid."""
        inner = [*self.net.modules()]
        with contextlib.suppress(OSError, TypeError):
            if "sigmoid(" in inspect.getsource(type(self.net)):
                return True
        is_last = isinstance(inner[-1], nn.Sigmoid)
        return is_last or (output.numel() > 15 and any(isinstance(m, nn.Sigmoid) for m in inner))

    def _inputs(self, output: Any, target: Any) -> list[Any]:
        """What a loss of one's own is called with."""
        outputs = [*output] if isinstance(output, list | tuple) else [output]
        targets = (
            [] if target is None else [*target] if isinstance(target, list | tuple) else [target]
        )
        if self.fewest <= 2 <= self.most and target is not None:
            pair = [output, self._shaped(output, target)]
            return pair[::-1] if self.is_reversed else pair
        if self.fewest <= 1:
            return [output]
        if self.fewest <= len(outputs) + len(targets) <= self.most:
            return [*outputs, *targets]
        if target is None:
            raise UsageError(self._no_target())
        raise UsageError(
            f"{self.title} takes {self.fewest} tensors; {self.name} returns {len(outputs)} and the "
            f"batch holds {len(targets)} for it; override MInterface.step"
        )

    def _shaped(self, output: Any, target: Any) -> Any:
        """The target of a loss of one's own, in the output's shape if it would broadcast."""
        if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
            return target
        differ = output.shape != target.shape and output.numel() == target.numel()
        if not differ or len(output) < 2 or not _fits(target.shape, output.shape):
            return target
        shaped = target.reshape(output.shape)
        if not self.is_checked:
            self.is_checked = True
            pairs = ((output, target), (output, shaped), (output.reshape(target.shape), target))
            values = [self.tried(*pair) for pair in pairs]
            self.reshapes = values[1] is not None and values[1] == values[2] != values[0]
            if self.reshapes:
                form = f"{tuple(target.shape)} as {tuple(output.shape)}"
                say(f"{self.title} gets the target {form}; it would broadcast")
        return shaped if self.reshapes else target

    def tried(self, output: Tensor, target: Tensor) -> float | None:
        """The loss of a pair, None if it refuses it."""
        pair = (target, output) if self.is_reversed else (output, target)
        try:
            with torch.no_grad():
                return round(float(_parts(self.title, self.loss(*pair))["loss"]), 5)
        except Exception:  # which is seen in what follows
            return None

    def _no_target(self) -> str:
        takes = inspect.signature(self.net.forward).parameters.values()
        count = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in takes)
        why = f": all of them are inputs of its forward, which takes {count}" if count > 1 else ""
        hint = "return (input, target) tuples, or type --loss null if the network returns its loss"
        return f"the batches hold no target for {self.name}{why}; {hint}"

    def _returned(self, output: Any) -> dict[str, Any]:
        """The loss that a network returned: a scalar, `.loss`, (logits, loss), a dict of losses."""
        own = getattr(output, "loss", None)
        values = [*output] if isinstance(output, list | tuple) else [output]
        found = [own] if isinstance(own, Tensor) else [v for v in values if _is_loss(v)]
        if len(found) == 1:
            return _parts(self.name, found[0])
        hint = "expected a scalar, .loss, (logits, loss) or a dict of losses"
        raise UsageError(f"--loss null: {self.name} returns {described(output)}; {hint}")

    @contextlib.contextmanager
    def _explained(self, output: Tensor, target: Tensor) -> Iterator[None]:
        """Says what was compared where a loss of torch refuses."""
        try:
            yield
        except (IndexError, RuntimeError, TypeError, UserWarning, ValueError) as error:
            values = f"{target.min()} to {target.max()}"
            text = f"{self._shapes(output, target)}, {values}: {str(error).splitlines()[0]}"
            if self.has_classes and output.ndim > 1 and not target.is_floating_point():
                count = output.shape[1]
                text += f"; labels are 0 to {count - 1}, another is left out by "
                text += "--loss_args.ignore_index VALUE"
            elif self.has_classes:
                text += "; for values, type --loss mse"
            raise UsageError(text) from error

    def _shapes(self, output: Tensor, target: Tensor) -> str:
        return (
            f"{self.title} can't compare the output of {self.name}, {described(output)}, with the "
            f"target, {described(target)}"
        )


def normalised(found: Any, batch: Any) -> dict[str, Any]:
    """What a step returned, as a dict with the loss, a scalar, and the size of the batch.

    Raises:
        UsageError: It holds no loss.
    """
    found = dict(found) if isinstance(found, Mapping) else {"loss": found}
    loss = found.get("loss")
    if not isinstance(loss, Tensor):
        raise UsageError("step returned no loss: return a scalar tensor, or a dict with 'loss'")
    found["loss"] = loss.mean() if loss.ndim else loss
    if "size" not in found:
        lengths = (len(v) for v in tree_leaves(batch) if isinstance(v, Tensor) and v.ndim)
        found["size"] = next(lengths, 1)
    return found


def main_output(output: Any) -> Tensor | None:
    """What metrics measure of all that a network returned: the logits, or the first tensor."""
    if isinstance(output, Tensor):
        return output if output.ndim else None
    known = [getattr(output, name, None) for name in _OUTPUTS]
    if isinstance(output, Mapping):
        known = [output.get(name) for name in _OUTPUTS] + [*output.values()]
    if isinstance(output, list | tuple):
        known = [main_output(value) for value in output]
    return next((v for v in known if isinstance(v, Tensor) and v.ndim), None)


def _is_loss(value: Any) -> bool:
    """Whether it is a scalar, or a dict with or of them."""
    if isinstance(value, Mapping):
        return _is_loss(value.get("loss")) or all(map(_is_loss, value.values()))
    return isinstance(value, Tensor) and value.numel() == 1


def _parts(title: str, found: Any) -> dict[str, Any]:
    """What a loss returned, as a scalar and its named parts."""
    parts: dict[str, Any] = {}
    if isinstance(found, Mapping):
        parts = {str(name): value for name, value in found.items() if _is_loss(value)}
        found = parts.pop("loss") if "loss" in parts else sum(v for v in parts.values())
    if not isinstance(found, Tensor):
        raise UsageError(
            f"{title} returned {described(found)}; expected a scalar or a dict of them"
        )
    return parts | {"loss": found.mean() if found.ndim else found}


def _fits(shape: torch.Size, other: torch.Size) -> bool:
    """Whether two shapes differ by nothing but axes of length one behind the first."""
    if not shape or not other:
        return shape == other
    return shape[0] == other[0] and [n for n in shape[1:] if n > 1] == [
        n for n in other[1:] if n > 1
    ]


def described(value: Any) -> str:
    """What a value is, in an error: `float32 (64, 10)`, `a dict`."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
