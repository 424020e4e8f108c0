"""The network and the loss, chosen by name."""

import copy
import functools
import inspect
import warnings
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset

from core.cli.construct import checked, construct, is_factory, load
from core.cli.names import locate
from core.errors import UsageError
from core.train.own_loaders import OwnLoaders
from core.train.pretrained import maker


def build_loss(chosen: Any, arguments: dict[str, Any]) -> Any:
    """What is called with output and target.

    Args:
        chosen: Its name; or a class, function or module.
        arguments: Of its constructor; of a function those after output and target.
    """
    warnings.filterwarnings("error", "Using a target size")  # not broadcast: the loss tells
    if chosen is None or isinstance(chosen, nn.Module):
        return chosen
    target = load(locate("loss", chosen)) if isinstance(chosen, str) else chosen
    if not isinstance(target, type):
        if is_factory(inspect.signature(target).parameters.values()):
            made = construct(target, arguments, "loss_args")
            if not callable(made):
                raise UsageError(f"--loss {chosen} takes no tensors and returns no loss")
            return made
        return functools.partial(target, **arguments)
    lists: dict[str, Any] = {n: v for n, v in arguments.items() if isinstance(v, list)}
    if any(kind.__module__.startswith("torch.nn.modules.loss") for kind in target.__mro__):
        lists = {n: v for n, v in lists.items() if n in ("weight", "pos_weight")}
        try:
            lists = {n: torch.tensor(v, dtype=torch.float32) for n, v in lists.items()}
        except (TypeError, ValueError) as error:
            raise UsageError(f"--loss_args {lists}: {error}") from error
    return checked(f"--loss {chosen}", target, **arguments | lists)


def can_take(model: Any, inputs: Any) -> bool:
    """Whether a network makes something of inputs, positional or by name; it stays as it is."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            model(**inputs) if isinstance(inputs, dict) else model(*inputs)
    except Exception:  # training will tell
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode
    return True


def build_network(chosen: Any, arguments: dict[str, Any]) -> nn.Module:
    """The network, chosen by its name, or as a class, function or module."""
    if isinstance(chosen, nn.Module):
        return chosen
    place = locate("model_name", chosen) if isinstance(chosen, str) else ""
    target = load(place) if place else chosen
    try:
        network = construct(maker(target), arguments, "model", place.partition(":")[0])
    except OSError as error:
        if not (arguments.get("pretrained") or arguments.get("weights")):
            raise
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--model_name {chosen}: no weights could be loaded: {reason}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"--model_name {chosen}: expected a network, got {type(network).__name__}")
    return network


def check_last_batch(data: Any, network: Any, processes: int) -> None:
    """Refuses a last batch of one sample, if batch norm can make nothing of it."""
    if isinstance(data.parts, OwnLoaders):
        return
    part, size = data.part("train"), data.batch_size * processes
    is_single = not isinstance(part, IterableDataset) and len(part) % size == 1 and len(part) > 1
    if not is_single or data.drop_last or network.example_input_array is None:
        return
    try:
        copy.deepcopy(network).train()(*network.example_input_array)
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            what = f"the last batch of {len(part)} samples holds one, too few for batch norm"
            raise UsageError(f"{what}; type --drop_last true") from error
