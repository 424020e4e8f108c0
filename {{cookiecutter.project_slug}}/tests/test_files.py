"""Every file in model/, data/, callbacks/ and commands/: a dropped-in file is tested at once.

A network is given images, `SHAPE`. For one that takes something else write a line in `INPUTS`.
A system, which is no network but trains several, is built and no more.
"""

from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset, Subset

from core.cli.construct import construct, load, signature
from core.cli.names import files, locate
from core.cli.source import REQUIRED
from data import DInterface

NUM_CLASSES = 5
SHAPE = (3, 32, 32)
KNOWN = {"num_classes": NUM_CLASSES, "in_channels": 3, "image_size": 32, "input_size": SHAPE}

# By name of the file: makes the inputs of a batch of so many samples.
INPUTS: dict[str, Callable[[int], tuple[Tensor, ...]]] = {
    "two_pictures": lambda size: (*torch.rand(2, size, *SHAPE), torch.rand(size)),
}


def required(kind: str, name: str) -> list[str]:
    parameters = signature(locate(kind, name)).parameters
    return [n for n, p in parameters.items() if p.default is REQUIRED]


def build(name: str) -> nn.Module:
    if unknown := [n for n in required("model_name", name) if n not in KNOWN]:
        pytest.skip(f"model/{name} needs {', '.join(unknown)}")
    target = locate("model_name", name)
    takes = signature(target).parameters
    network: nn.Module = construct(load(target), {n: KNOWN[n] for n in KNOWN if n in takes})
    return network


def inputs(name: str, size: int) -> tuple[Tensor, ...]:
    """A batch for a network, which may take something else than images."""
    if name in INPUTS:
        return INPUTS[name](size)
    if isinstance(build(name), pl.LightningModule):
        pytest.skip(f"model/{name} is a system; write INPUTS['{name}'] if it is a network, too")
    batch = torch.rand(size, *SHAPE)
    try:
        build(name)(batch)
    except (RuntimeError, TypeError, ValueError) as error:
        pytest.skip(f"model/{name} takes no images {SHAPE}; write INPUTS['{name}']: {error}")
    return (batch,)


@pytest.mark.parametrize("name", files("model_name"))
class TestModel:
    """A network of model/, on a batch of four samples."""

    def test_forward_and_backward(self, name: str) -> None:
        batch, network = inputs(name, 4), build(name)
        output = network(*batch)
        assert output.shape[0] == 4
        output.square().mean().backward()
        missing = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing, "these get no gradient"

    def test_state_dict_round_trip(self, name: str) -> None:
        batch, first, second = inputs(name, 2), build(name).eval(), build(name).eval()
        second.load_state_dict(first.state_dict())
        torch.testing.assert_close(first(*batch), second(*batch))

    def test_samples_do_not_leak(self, name: str) -> None:
        batch, network = inputs(name, 2), build(name).eval()
        floats = [value.requires_grad_() for value in batch if value.is_floating_point()]
        for gradient in torch.autograd.grad(network(*batch)[0].sum(), floats):
            assert gradient[0].any() and not gradient[1].any()

    def test_makes_its_tensors_on_the_device_of_its_input(self, name: str) -> None:
        batch = [value.to("meta") for value in inputs(name, 2)]
        assert build(name).to("meta")(*batch).device.type == "meta"


@pytest.mark.parametrize("name", files("dataset"))
class TestDataset:
    """A dataset of data/, if it needs nothing that is not here."""

    @pytest.fixture
    def data(self, name: str) -> DInterface:
        if unknown := {*required("dataset", name)} - {"split", "train"}:
            pytest.skip(f"data/{name} needs {', '.join(unknown)}")
        if "download" in signature(locate("dataset", name)).parameters:
            pytest.skip(f"data/{name} is downloaded")
        data = DInterface(name, batch_size=4)
        data.prepare_data()
        return data

    def test_batches(self, data: DInterface) -> None:
        data.setup("fit")
        batch = next(iter(data.train_dataloader()))
        values = [*batch.values()] if isinstance(batch, dict) else batch
        for value in values if isinstance(values, list | tuple) else [values]:
            if isinstance(value, Tensor) and value.is_floating_point():
                assert value.isfinite().all()
        dataset: Any = data.part("train")
        if isinstance(batch, list | tuple) and len(batch) == 2 and hasattr(dataset, "num_classes"):
            assert batch[1].min() >= 0 and batch[1].max() < dataset.num_classes
        if isinstance(batch, list | tuple) and hasattr(dataset, "input_size"):
            assert tuple(batch[0].shape[1:]) == tuple(dataset.input_size)

    def test_splits_share_no_sample(self, data: DInterface) -> None:
        data.setup()
        seen: set[bytes] = set()
        for part in filter(None, map(data.part, ("train", "val", "test"))):
            if isinstance(part, IterableDataset | Subset):
                pytest.skip("a stream, which may have no end, or parts that DInterface made")
            inputs = {self.content(part[index]) for index in range(len(part))}
            assert not inputs & seen
            seen |= inputs

    @staticmethod
    def content(item: Any) -> bytes:
        values = [*item.values()] if isinstance(item, dict) else item
        first = values[0] if isinstance(values, list | tuple) else values
        return first.numpy().tobytes() if isinstance(first, Tensor) else repr(first).encode()


@pytest.mark.parametrize("name", files("callbacks"))
def test_callback(name: str) -> None:
    """A callback of callbacks/, made as a run makes it."""
    known = {"monitor": "val_loss", "mode": "min", "folder": None}
    takes = signature(locate("callbacks", name)).parameters
    if unknown := {n for n, p in takes.items() if p.default is REQUIRED} - known.keys():
        pytest.skip(f"callbacks/{name} needs {', '.join(unknown)}")
    target = load(locate("callbacks", name))
    assert isinstance(construct(target, {n: known[n] for n in known if n in takes}), pl.Callback)


@pytest.mark.parametrize("name", files("command"))
def test_command(name: str) -> None:
    """A command of commands/ can be imported, and says what it does."""
    target = locate("command", name)
    assert callable(load(target)) and signature(target).help
