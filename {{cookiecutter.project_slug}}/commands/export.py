"""Writing a network to a file that runs without this project."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from core.errors import RunError, UsageError
from core.job import Job, use
from core.runs.processes import say

TOLERANCE = 1e-4  # largest difference between the outputs of network and file


def export(job: Job, *, format: Literal["onnx", "torch_export"] = "onnx", **which: str) -> None:
    """Write a run's network to a file that runs without this project.

    Args:
        job: What to export.
        format: onnx for ONNX Runtime and others, torch_export for PyTorch.

    Raises:
        RunError: The file's outputs are others than the network's.
        UsageError: A package is not installed.
    """
    checkpoint = use(job, **which)
    if not hasattr(job.model, "split_batch"):
        raise UsageError("export takes plain networks; a LightningModule has its own to_onnx")
    network = getattr(job.model, "net", job.model).eval()
    parts = map(job.data.sets, ("test", "val", "train"))
    part = next(part for sets in parts for part in sets.values())
    samples = [part[index] for index in range(min(8, len(part)))]
    several, two = (_inputs(job, samples[:count]) for count in (len(samples), 2))
    with torch.no_grad():
        if not isinstance(network(*two), Tensor):
            raise UsageError("export takes a network that returns one tensor")
    write = _to_onnx if format == "onnx" else _to_torch
    file = checkpoint.with_suffix({"onnx": ".onnx", "torch_export": ".pt2"}[format])
    again, lines = write(network, two, file)
    with torch.no_grad():
        difference = (network(*several) - again(*several)).abs().max().item()
    if not difference <= TOLERANCE:
        file.unlink()
        raise RunError(f"the outputs of {file} differ by up to {difference:.1e}; it is removed")
    say(f"{file}: largest difference to {checkpoint.name} on real samples {difference:.1e}\n")
    say(*lines)


def _inputs(job: Job, samples: list[Any]) -> tuple[Tensor, ...]:
    inputs, _ = job.model.split_batch(job.data.collate(samples))  # type: ignore[operator]
    return tuple(inputs.values()) if isinstance(inputs, dict) else inputs


def _sizes(inputs: tuple[Tensor, ...]) -> tuple[dict[int, Any], ...]:
    """Any number of samples."""
    return tuple({0: torch.export.Dim("batch")} for _ in inputs)


def _to_onnx(
    network: nn.Module, inputs: tuple[Tensor, ...], file: Path
) -> tuple[Callable[..., Tensor], list[str]]:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"{name} is not installed; type: uv sync --extra export")
    names = [f"input_{number}" for number in range(len(inputs))]
    program = torch.onnx.export(
        network,
        inputs,
        input_names=names,
        dynamic_shapes=_sizes(inputs),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(file)
    session = importlib.import_module("onnxruntime").InferenceSession(file)

    def run(*values: Tensor) -> Tensor:
        feed = {name: value.numpy() for name, value in zip(names, values, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    feed = ", ".join(f'"{name}": {name}' for name in names)
    return run, [
        "import onnxruntime",
        f'session = onnxruntime.InferenceSession("{file}")',
        f"(output,) = session.run(None, {{{feed}}})  # NumPy arrays",
    ]


def _to_torch(
    network: nn.Module, inputs: tuple[Tensor, ...], file: Path
) -> tuple[Callable[..., Tensor], list[str]]:
    torch.export.save(torch.export.export(network, inputs, dynamic_shapes=_sizes(inputs)), file)
    names = ", ".join(f"input_{number}" for number in range(len(inputs)))
    return torch.export.load(file).module(), [
        "import torch",
        f'network = torch.export.load("{file}").module()',
        f"output = network({names})",
    ]
