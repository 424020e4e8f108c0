"""What makes the same training faster."""

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from core.errors import UsageError


class Speed(pl.Callback):
    """Prepares network and data for speed.

    Args:
        compile: Mode of torch.compile to train the network with; by default it is not compiled.
        channels_last: Whether images and convolutions have their channels last in memory, which
            is faster on a GPU with half precision and done there by default.
        float32_matmul_precision: How exact a GPU multiplies 32-bit matrices, see
            torch.set_float32_matmul_precision; high is several times faster than highest.
        on_device: Whether the training and validation data stay on the GPU, if they fit there. The
            dataset must be one that hands over whole batches, see get_batch in README.md.
    """

    def __init__(
        self,
        compile: Literal["default", "reduce-overhead", "max-autotune"] | None = None,
        channels_last: bool | None = None,
        float32_matmul_precision: Literal["highest", "high", "medium"] = "high",
        on_device: bool = False,
    ) -> None:
        self.compile, self.channels_last, self.on_device = compile, channels_last, on_device
        self.float32_matmul_precision = float32_matmul_precision
        self.device = torch.device("cpu")

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Sets what holds for all commands, and before the loaders are made."""
        torch.set_float32_matmul_precision(self.float32_matmul_precision)
        data: Any = getattr(trainer, "datamodule", None)
        if data is None and self.on_device:
            raise UsageError("--on_device true: the loaders are the network's own")
        if data is not None:
            data.on_device = self.on_device

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepares the network.

        Raises:
            UsageError: It is a LightningModule that does not tell which network it calls.
        """
        net, self.device = getattr(pl_module, "net", None), trainer.strategy.root_device
        if net is None:
            if self.compile or self.channels_last:
                name = "compile" if self.compile else "channels_last"
                own = type(pl_module).__name__
                raise UsageError(f"--{name}: {own} has no network self.net that could be prepared")
            return
        if self.channels_last is None:
            self.channels_last = "16" in str(trainer.precision) and self.device.type == "cuda"
        others = getattr(getattr(pl_module, "alternation", None), "times", {})
        for each in dict.fromkeys([net, *map(pl_module.get_submodule, others)]):
            if self.channels_last:
                each.to(memory_format=torch.channels_last)
                each.register_forward_pre_hook(_with_channels_last, with_kwargs=True)
            if self.compile:
                each.compile(mode=self.compile)

    def words(self) -> list[str]:
        """What is in use, for the summary."""
        is_cuda = self.device.type == "cuda"
        found = [f"float32 matmul {torch.get_float32_matmul_precision()}"] * is_cuda
        found += ["channels last"] * bool(self.channels_last) + ["data on device"] * self.on_device
        return found + [f"compiled ({self.compile})"] * bool(self.compile)


def _with_channels_last(net: Any, inputs: Any, named: Any) -> Any:
    def convert(images: Tensor) -> Tensor:
        is_images = images.ndim == 4
        return images.contiguous(memory_format=torch.channels_last) if is_images else images

    return tree_map_only(Tensor, convert, (inputs, named))
