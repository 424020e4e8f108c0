"""Networks of torchvision and timm with published weights, and the pictures that these expect."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn
from torchvision import models

from core.cli.construct import load, signature
from core.cli.names import suggest
from core.cli.options import Options
from core.errors import UsageError
from core.runs.processes import say


def maker(target: Any) -> Any:
    """What makes a network: for a function of torchvision, one that can begin with its weights."""
    is_theirs = inspect.isfunction(target) and target.__module__.startswith("torchvision.models.")
    takes = inspect.signature(target).parameters if is_theirs else ()
    return functools.partial(of_torchvision, target) if "weights" in takes else target


def of_torchvision(
    create: Callable[..., nn.Module],
    *,
    pretrained: bool = False,
    weights: str | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    **options: Any,
) -> nn.Module:
    """A network of torchvision for any number of classes and channels, pretrained or not.

    Args:
        create: Its function, such as `torchvision.models.resnet18`.
        pretrained: Whether to begin with its default weights.
        weights: The name of others, such as IMAGENET1K_V1.
        num_classes: If the weights are for another number, layers of so many outputs are new.
        in_channels: If not 3, the first layer has, as in timm, for one channel the sum of weights
            of all colours, for more these in turn, scaled by 3 / channels.
        options: All else that the function takes.

    Raises:
        UsageError: There are no such weights.
    """
    chosen, told = _weights(create, pretrained, weights), ""
    if not chosen:
        sized = {} if num_classes is None else {"num_classes": num_classes}
        network = create(**sized, **options)
    else:
        try:
            network = create(weights=chosen, **options)
        except ValueError as error:  # of an argument that the weights say otherwise
            raise UsageError(f"the weights {chosen.name} of {create.__name__}: {error}") from error
        known = len(chosen.meta["categories"])
        is_other = num_classes not in (None, known)
        heads = [n for n, layer in network.named_modules() if is_other and _outputs(layer) == known]
        for name in heads:
            network.set_submodule(name, _resized(network.get_submodule(name), num_classes))
        told = f"; new: {', '.join(heads)}" * bool(heads)
    if in_channels != 3:
        told += f"; {_rewire(network, in_channels)} takes in_channels {in_channels}"
    if chosen:
        begins_with: Any = f"{create.__name__} begins with the weights {chosen.name}{told}"
        network.begins_with = begins_with  # for core/train/weights.py, where training begins
    return network


def _rewire(network: Any, in_channels: int) -> str:
    """Gives a network a first layer for so many channels, and returns its name."""
    layers = network.named_modules()
    name, first = next((n, layer) for n, layer in layers if isinstance(layer, nn.Conv2d))
    stem: Any = _resized(first, first.out_channels, in_channels)
    weight = first.weight.detach()
    if in_channels == 1:
        weight = weight.sum(1, keepdim=True)
    else:
        weight = weight.repeat(1, -(-in_channels // 3), 1, 1)[:, :in_channels] * 3 / in_channels
    stem.load_state_dict(first.state_dict() | {"weight": weight})
    network.set_submodule(name, stem)
    if hasattr(network, "transform_input"):  # of GoogLeNet and Inception, for three colours
        network.transform_input = False
    return name


def _weights(create: Callable[..., nn.Module], pretrained: bool, name: str | None) -> Any:
    """The weights by their name; None if none were chosen."""
    if not pretrained and name is None:
        return None
    typed = "--pretrained true" if name is None else f"--weights {name}"
    try:
        known = models.get_model_weights(create).__members__
    except ValueError:
        known = {}
    if not known:
        raise UsageError(f"{typed}: torchvision has no weights of {create.__name__}")
    word = str(name or "DEFAULT").rpartition(".")[2]  # ResNet18_Weights.IMAGENET1K_V1
    if word not in known:
        hint = suggest(word, known, f"; choose one of: {', '.join(known)}")
        raise UsageError(f"{typed}: torchvision has no such weights of {create.__name__}{hint}")
    return known[word]


def _outputs(layer: nn.Module) -> int | None:
    """How many values a linear or convolutional layer returns."""
    return getattr(layer, "out_features", getattr(layer, "out_channels", None))


def _resized(layer: Any, outputs: int | None, inputs: int | None = None) -> nn.Module:
    """A new layer like one, but for its sizes."""
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs or layer.in_features, outputs or layer.out_features, bias=has_bias)
    places = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups
    return nn.Conv2d(inputs or layer.in_channels, outputs or layer.out_channels, *places, has_bias)


class AsPublished:
    """Makes of a picture, of PIL or a tensor (C, H, W), what published weights expect.

    Args:
        transform: The library's; grey pictures are given to it in three colours.
    """

    def __init__(self, transform: Callable[[Any], Tensor]) -> None:
        self.transform = transform

    def __call__(self, picture: Any) -> Tensor:
        if isinstance(picture, Image):
            picture = picture.convert("RGB")
        elif isinstance(picture, Tensor) and picture.shape[-3:-2] == torch.Size([1]):
            picture = picture.expand(*picture.shape[:-3], 3, *picture.shape[-2:])
        return self.transform(picture)


def offered(options: Options) -> dict[str, Any]:
    """Arguments of `DInterface`, with the transform that belongs to the network's weights.

    It is offered where the dataset takes a `transform` and none was typed, and one picture is all
    that it is for: masks would not be cut alike. Else what the weights expect is told.
    """
    settings, network = options.of("DInterface"), options.section("model")
    chosen: dict[str, Any] = settings["data_args"]
    if not (network.get("pretrained") or network.get("weights")) or chosen.get("transform"):
        return settings
    transform, text = _transform(options.targets["model"], network)
    title = options.targets["data"].partition(":")[2]
    if transform and "transform" in signature(options.targets["data"]).parameters:
        say(f"{title} gets the transform of the weights: {text}")
        settings["data_args"] = chosen | {"transform": AsPublished(transform)}
    elif text:
        say(f"the weights expect pictures {text}; {title} gives its own")
    return settings


def _transform(target: str, network: Any) -> tuple[Callable[[Any], Tensor] | None, str]:
    """The library's for a network's weights, and what it makes; nothing of a network of one's own.

    For other tasks than classes of pictures there is but the text.
    """
    library, _, name = target.partition(":")
    create = load(target)
    if library == "timm":
        timm: Any = importlib.import_module(library)  # only here: few have it
        published = timm.get_pretrained_cfg(name).to_dict()
        about = timm.data.resolve_data_config(pretrained_cfg=published)
        size, mean, std = about["input_size"], about["mean"], about["std"]
        transform = timm.data.create_transform(**about)
    elif maker(create) is not create:
        chosen = _weights(create, bool(network.get("pretrained")), network.get("weights"))
        transform = chosen.transforms()
        size, mean, std = (getattr(transform, n, None) for n in ("crop_size", "mean", "std"))
        size = (3, *(size * 2)[:2]) if size else None
        transform = transform if type(transform).__name__ == "ImageClassification" else None
    else:
        return None, ""
    rounded = [[round(float(value), 3) for value in values or ()] for values in (mean, std)]
    known = {"": size and tuple(size), "mean ": rounded[0], "deviation ": rounded[1]}
    return transform, ", ".join(f"{what}{value}" for what, value in known.items() if value)
