"""What a LightningModule's own `self.log(on_epoch=True)` has summed up survives a cut."""

from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torchmetrics import Metric

from core import lightning


class Logged(pl.Callback):
    """Keeps the sums of the epoch, and the states of the module's metrics, in each checkpoint.

    Each process has its own. With another number of processes they are lost.
    """

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] = []  # of each process, until it is taken over

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Saves them; what is not yet taken over as it is."""
        metrics = {n: m for n, m in pl_module.named_modules() if isinstance(m, Metric)}
        states = {n: m.metric_state for n, m in metrics.items() if m.update_called}
        own = {"sums": lightning.logged_sums(trainer), "metrics": states}
        own |= {"known": dict(lightning.known(trainer))}
        own = tree_map_only(Tensor, lambda tensor: tensor.cpu().clone(), own)
        of_all = [own] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(of_all, own)
        checkpoint["logged"] = self.saved or of_all

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes note of them."""
        self.saved = checkpoint.get("logged", [])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Takes them over before the first batch."""
        self.on_train_epoch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Or where none was left."""
        saved, self.saved = self.saved, []
        if len(saved) != trainer.world_size:
            return
        own = saved[trainer.global_rank]
        known = lightning.known(trainer)
        known.update({n: value for n, value in own.get("known", {}).items() if n not in known})
        lightning.go_on_summing(trainer, own["sums"])
        for name, state in own["metrics"].items():
            lightning.restore(cast(Metric, pl_module.get_submodule(name)), state)
