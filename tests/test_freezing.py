"""What is trained, and how fast: frozen until an epoch, slower by layer, without decay."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from core.errors import UsageError
from core.train.names import fits, layer_factors
from data import DInterface
from model import MInterface


class Net(nn.Module):
    """A backbone with batch norm and dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.backbone(x))
        return logits


class Points(torch.utils.data.TensorDataset):
    """Forty points of two classes."""

    def __init__(self) -> None:
        x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        super().__init__(x, (x[:, 0] > 0).long())


class Seen(pl.Callback):
    """Keeps what there is after each epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.trained: list[bool] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first weights."""
        self.epochs = self.epochs or [copied(pl_module)]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Whether dropout is on."""
        self.trained.append(pl_module.get_submodule("net.backbone.2").training)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Those of each epoch, also where it was validated."""
        self.epochs.append(copied(pl_module))


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Its state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def fit(epochs: int = 3, net: nn.Module | None = None, **options: Any) -> tuple[pl.Trainer, Seen]:
    """Trains a network."""
    pl.seed_everything(0, verbose=False)
    network, seen = net or Net(), Seen()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(MInterface(network, lr=0.1, **options), DInterface(Points, batch_size=8))
    return trainer, seen


def changed(seen: Seen, epoch: int) -> set[str]:
    """The words of what an epoch has changed."""
    before, after = seen.epochs[epoch], seen.epochs[epoch + 1]
    return {n.split(".")[1] for n in before if not torch.equal(before[n], after[n])}


def test_until_an_epoch() -> None:
    """Weights, what batch norm has seen, and dropout; the optimizer knows all from the start."""
    trainer, seen = fit(freeze=["backbone"], unfreeze_at_epoch=2)
    assert changed(seen, 0) == changed(seen, 1) == {"head"}
    assert changed(seen, 2) == {"head", "backbone"}
    batches = len(seen.trained) // 3
    assert seen.trained == [False] * 2 * batches + [True] * batches
    assert sum(len(group["params"]) for group in trainer.optimizers[0].param_groups) == 6


def test_momentum_comes_later() -> None:
    """Of what is thawed: torch's fused SGD would fail there."""
    _, seen = fit(
        freeze=["backbone"],
        unfreeze_at_epoch=1,
        optimizer="sgd",
        optimizer_args={"momentum": 0.9},
    )
    assert changed(seen, 0) == {"head"} and changed(seen, 1) == {"head", "backbone"}


def test_for_good() -> None:
    """All but what is excepted."""
    _, seen = fit(freeze=["net", "-head"])
    assert changed(seen, 0) == changed(seen, 2) == {"head"}


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
def test_the_head_alone_learns_as_without_the_rest() -> None:
    """To freeze is to have no step: the same as with a rate of zero, in eval mode."""
    _, frozen = fit(freeze=["backbone"], optimizer="sgd")

    class Still(Net):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self.backbone.eval()
            return self

    pl.seed_everything(0, verbose=False)
    net = Still().train()
    _, still = fit(net=net, optimizer="sgd", lr_factors={"backbone": 0.0})
    for name, value in still.epochs[-1].items():
        assert torch.equal(value, frozen.epochs[-1][name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": ["back"]}, "--freeze back: fits no parameter; did you mean 'backbone'"),
        ({"freeze": ["net"]}, "nothing is left to train"),
        ({"unfreeze_at_epoch": 1}, "--unfreeze_at_epoch 1 needs --freeze"),
        ({"lr_factors": {"haed": 1.0}}, "--lr_factors haed: .*did you mean 'head'"),
        ({"layer_decay": 1.5}, "--layer_decay 1.5: expected above 0"),
    ],
)
def test_told(options: dict[str, Any], message: str) -> None:
    """In a line."""
    with pytest.raises(UsageError, match=message):
        fit(**options)


def test_rates_by_layer() -> None:
    """From the last to the first each has half of it."""
    names = [
        "net.backbone.0.weight",
        "net.backbone.0.bias",
        "net.backbone.1.weight",
        "net.head.bias",
    ]
    assert [*layer_factors(names, 0.5).values()] == [0.25, 0.25, 0.5, 1.0]
    assert {*layer_factors(names, 1.0).values()} == {1.0}
    trainer, _ = fit(1, layer_decay=0.5, lr_factors={"backbone": 0.1}, decay_norm_and_bias=False)
    found = {
        (g["lr"], g["weight_decay"]): len(g["params"]) for g in trainer.optimizers[0].param_groups
    }
    expected = {(0.1, 0.01): 1, (0.1, 0.0): 1}  # the head: weight and bias
    expected |= {(0.1 * 0.25 * 0.1, 0.01): 1, (0.1 * 0.25 * 0.1, 0.0): 1}  # the layer
    expected |= {(0.1 * 0.5 * 0.1, 0.0): 2}  # batch norm
    assert {tuple(map(lambda v: round(v, 9), key)): n for key, n in found.items()} == {
        tuple(map(lambda v: round(v, 9), key)): n for key, n in expected.items()
    }


def test_words_of_names() -> None:
    """Whole ones."""
    assert fits("net.layer1.0.conv", "layer*") and fits("net.layer1.0.conv", "layer1.0")
    assert not fits("net.layer1.0.conv", "layer")
