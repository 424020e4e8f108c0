"""Every file in model/ and data/: a dropped-in file is tested at once."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core import lookup
from core.lookup import files, load, locate, signature
from core.source import REQUIRED

NUM_CLASSES = 5
SHAPE = (3, 32, 32)  # of the images that the networks are tested on
KNOWN = {"num_classes": NUM_CLASSES, "in_channels": 3, "image_size": 32, "input_size": SHAPE}
LOCAL = [
    name for name in files("dataset") if "root" not in signature(locate("dataset", name)).parameters
]


def build(name: str) -> nn.Module:
    target = locate("model_name", name)
    takes = signature(target).parameters
    unknown = [n for n, p in takes.items() if p.default is REQUIRED and n not in KNOWN]
    if unknown:
        pytest.skip(f"{target} needs {', '.join(unknown)}")
    network: nn.Module = lookup.construct(load(target), {n: KNOWN[n] for n in KNOWN if n in takes})
    return network


@pytest.mark.parametrize("name", files("model_name"))
class TestModel:
    """A network of model/, on a batch of four images."""

    def test_forward_and_backward(self, name: str) -> None:
        network = build(name)
        output = network(torch.rand(4, *SHAPE))
        assert output.shape[0] == 4
        output.square().mean().backward()
        missing = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing, "these get no gradient"

    def test_state_dict_round_trip(self, name: str) -> None:
        first, second = build(name).eval(), build(name).eval()
        second.load_state_dict(first.state_dict())
        images = torch.rand(2, *SHAPE)
        torch.testing.assert_close(first(images), second(images))

    def test_samples_do_not_leak(self, name: str) -> None:
        network = build(name).eval()
        images = torch.rand(2, *SHAPE, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(images)[0].sum(), images)
        assert gradient[0].any() and not gradient[1].any()

    def test_makes_its_tensors_on_the_device_of_its_input(self, name: str) -> None:
        network = build(name).to("meta")
        assert network(torch.rand(2, *SHAPE, device="meta")).device.type == "meta"


@pytest.mark.parametrize("name", LOCAL)
def test_dataset(name: str) -> None:
    target = load(locate("dataset", name))
    dataset: Any = target()
    items = [dataset[index] for index in (0, len(dataset) - 1)]
    for item in items:
        values = list(item.values()) if isinstance(item, dict) else list(item)
        assert all(isinstance(value, Tensor | int | float | str) for value in values)
        assert isinstance(values[0], Tensor) and values[0].is_floating_point()
        assert values[0].isfinite().all()
        if hasattr(dataset, "num_classes"):
            assert 0 <= int(values[1]) < dataset.num_classes
        if hasattr(dataset, "input_size"):
            assert tuple(values[0].shape) == tuple(dataset.input_size)


@pytest.mark.parametrize("name", LOCAL)
def test_splits_share_no_sample(name: str) -> None:
    target = load(locate("dataset", name))
    if "split" not in inspect.signature(target).parameters:
        pytest.skip("parts of one whole, made by DInterface")
    seen: set[bytes] = set()
    for split in ("train", "val", "test"):
        dataset: Any = target(split=split)
        keys = {bytes(dataset[i][0].numpy().tobytes()) for i in range(len(dataset))}
        assert not keys & seen
        seen |= keys
