"""Ends a run whose loss is not finite, and tells where that comes from."""

import contextlib
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from core.errors import RunError
from core.runs.last_checkpoint import fail


class FiniteLoss(pl.Callback):
    """Looks at each loss before the gradients spoil the weights."""

    batch: Any = None
    batch_idx = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remembers the batch."""
        self.batch, self.batch_idx = batch, batch_idx

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Ends the run if the loss is not finite."""
        if loss.isfinite().all():
            return
        place = (
            f"step {trainer.global_step} (epoch {trainer.current_epoch}, batch {self.batch_idx})"
        )
        saved = "; last.ckpt is of before" if trainer.checkpoint_callbacks else ""
        layer = self._find_layer(pl_module)
        fail(trainer, RunError(f"the loss of {place} is not finite; {layer}{saved}"))

    def _find_layer(self, pl_module: pl.LightningModule) -> str:
        """Calls the step again, and looks at what each layer returns."""
        found: list[str] = []

        def check(name: str, module: torch.nn.Module, output: Any) -> None:
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            if not all(tensor.isfinite().all() for tensor in tensors):
                found.append(f"{name.removeprefix('net.')} ({type(module).__name__})")

        handles = [
            module.register_forward_hook(lambda m, i, output, name=name: check(name, m, output))
            for name, module in pl_module.named_modules()
            if not any(module.children()) and name != "loss"
        ]
        with (
            contextlib.suppress(Exception),  # this is only to tell more
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),
        ):
            pl_module.training_step(self.batch, self.batch_idx)
        for handle in handles:
            handle.remove()
        if not found:
            return "all outputs are finite"
        return f"the first such output is that of {found[0]}"
