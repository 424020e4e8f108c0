"""The seam, `core/lightning.py`: a test fails by the name of what a release has moved."""

import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import lightning_fabric
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.profilers import Profiler
from torch import Tensor, nn
from torchmetrics import MeanMetric

from core import lightning
from core.errors import UsageError
from core.runs.notes import StopAfter

pytestmark = pytest.mark.filterwarnings("ignore:.*dataloader is not resumable")


class Module(pl.LightningModule):
    """One layer, three values to two; eight samples in batches of two."""

    def __init__(self, net: nn.Module | None = None) -> None:
        super().__init__()
        self.net = net or nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        return output

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val_loss", self(batch).square().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=100)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.ones(8, 3), 2)  # type: ignore[arg-type]

    val_dataloader = train_dataloader


class Watch(pl.Callback):
    """Calls a function before each step."""

    def __init__(self, function: Callable[[pl.Trainer, int], Any]) -> None:
        self.function, self.found = function, list[Any]()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.found.append(self.function(trainer, batch_idx))


def trainer(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    silent |= {"enable_checkpointing": False}
    return pl.Trainer(
        accelerator="cpu", callbacks=[*callbacks], **silent | {"max_epochs": 2} | options
    )


def watched(
    function: Callable[[pl.Trainer, int], Any], model: Module | None = None, **options: Any
) -> list[Any]:
    """What a function returns before each of the eight steps."""
    watch = Watch(function)
    trainer(watch, **options).fit(model or Module())
    return watch.found


def test_epoch() -> None:
    assert watched(lambda t, i: lightning.epoch(t)) == [0] * 4 + [1] * 4


def test_batches_begun() -> None:
    assert watched(lambda t, i: lightning.batches_begun(t)) == [1, 2, 3, 4] * 2


def test_batches_done() -> None:
    assert watched(lambda t, i: lightning.batches_done(t)) == [0, 1, 2, 3] * 2
    fit = trainer()
    fit.fit(Module())
    assert lightning.batches_done(fit) == 0, "the epoch is over"


class Manual(Module):
    """Two optimizers of the same numbers, each with a schedule of epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            self.manual_backward(self(batch).square().mean())
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        made = [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)]
        return made, [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in made]


def test_take_refused() -> None:
    """With it Lightning trains what it refuses, and the values are handed over."""
    settings: dict[str, Any] = {"gradient_clip_val": 0.5, "accumulate_grad_batches": 2}
    made = trainer(**settings)
    assert lightning.take_refused(made) == settings
    made.fit(Manual())
    with pytest.raises(MisconfigurationException, match="not supported for manual optimization"):
        trainer(**settings).fit(Manual())


class Prepare(pl.Callback):
    """Prepares a trainer before it begins."""

    def __init__(self, function: Callable[[pl.Trainer], Any]) -> None:
        self.function = function

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.function(trainer)


def test_count_once() -> None:
    """Two steps a batch are one, and what is left over is made before it is counted."""
    for function, steps in ((lambda t: None, 16), (lambda t: lightning.count_once(t, print), 8)):
        made = trainer(Prepare(function))
        made.fit(Manual())
        assert made.global_step == steps
    flushed: list[Any] = []
    made = trainer(Prepare(lambda t: lightning.count_once(t, flushed.append)))
    made.fit(Manual())
    assert [type(model) for model in flushed] == [Manual] * 8


def test_move_schedules_of_epochs() -> None:
    """Lightning leaves them; here the rate is halved twice."""
    for function, rate in ((lambda t: None, 0.1), (lightning.move_schedules_of_epochs, 0.025)):
        made = trainer(Prepare(function))
        made.fit(Manual())
        assert [o.param_groups[0]["lr"] for o in made.optimizers] == [rate] * 2


class Logs(Module):
    """Logs 1, 2, 3, 4 in each epoch, in all ways; `seldom` in the first batch only."""

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        value = torch.tensor(batch_idx + 1.0)
        self.log("mean", value, on_step=True, on_epoch=True)
        for reduce in (torch.max, min, "sum"):
            name = reduce if isinstance(reduce, str) else reduce.__name__
            self.log(name, value, on_step=False, on_epoch=True, reduce_fx=reduce)
        if batch_idx == 0:
            self.log("seldom", value, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)


def test_logged_sums_and_go_on_summing() -> None:
    """What two batches summed up, in an epoch that begins with the third."""
    sums = watched(lambda t, i: lightning.logged_sums(t), model=Logs())
    assert [saved["states"]["value"].item() for saved in sums[2]] == [6, 2, 1, 3, 2]
    assert sums[0] == [] and [saved["how"]["name"] for saved in sums[2]][4] == "seldom"

    def begin(trainer: pl.Trainer, batch_idx: int) -> None:
        if batch_idx == 0:
            lightning.go_on_summing(trainer, sums[2])

    made = trainer(Watch(begin), max_epochs=1)
    made.fit(Logs())
    expected = {"mean_epoch": 13 / 6, "max": 4, "min": 1, "sum": 13, "seldom": 1}
    found = {n: v.item() for n, v in made.callback_metrics.items() if n in expected}
    assert found == pytest.approx(expected)


def test_known(tmp_path: Path) -> None:
    """What validation logged is there for who looks at it, and may be given back."""

    class Plateau(Module):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), 0.1)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
            }

    def known(trainer: pl.Trainer, batch_idx: int) -> Any:
        lightning.known(trainer).update(val_loss=torch.tensor(3.0))  # as if validated before

    made = trainer(Watch(known), max_epochs=1, limit_val_batches=0)
    made.fit(Plateau())
    plateau: Any = made.lr_scheduler_configs[0].scheduler
    assert plateau.best == 3
    made = trainer(Watch(known), max_epochs=1)
    made.fit(Plateau())
    assert lightning.known(made)["val_loss"] == made.callback_metrics["val_loss"] != 3


def test_let_plateau_step(tmp_path: Path) -> None:
    watched(lambda t, i: t.save_checkpoint(tmp_path / "a.ckpt") if i == 2 else None, max_epochs=1)

    def look(fit: pl.Trainer, batch: int) -> tuple[bool, bool]:
        before = fit.fit_loop.restarting
        lightning.let_plateau_step(fit)
        return before, fit.fit_loop.restarting

    watch = Watch(look)
    trainer(watch, max_epochs=3).fit(Module(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert watch.found[0] == (True, False), "Lightning would withhold the epoch"


def test_end_training() -> None:
    """After the step, without validation; no minimum holds it up."""
    fit = trainer(StopAfter(2), min_epochs=2)
    fit.fit(Module())
    assert fit.global_step == 2 and "val_loss" not in fit.callback_metrics


def test_count_steps_before(tmp_path: Path) -> None:
    """A checkpoint of before step 2 goes on with step 2."""

    def save(fit: pl.Trainer, batch: int) -> None:
        if batch == 2:
            fit.save_checkpoint(tmp_path / "a.ckpt")
            checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
            lightning.count_steps_before(fit, checkpoint)
            torch.save(checkpoint, tmp_path / "b.ckpt")

    watched(save, max_epochs=1)
    for name, expected in (("a", 3), ("b", 2)):
        watch = Watch(lambda fit, i: fit.fit_loop.epoch_loop._batches_that_stepped)
        file = tmp_path / f"{name}.ckpt"
        trainer(watch, max_epochs=1).fit(Module(), ckpt_path=file, weights_only=True)
        assert watch.found[0] == expected


def test_count_batches_anew(tmp_path: Path) -> None:
    watched(lambda t, i: t.save_checkpoint(tmp_path / "a.ckpt") if i == 2 else None, max_epochs=1)
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    lightning.count_batches_anew(checkpoint, then=2, now=1)
    done = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert done["processed"] == 4 and done["ready"] == 6


def test_forget_lengths(tmp_path: Path) -> None:
    fit = trainer()
    fit.fit(Module())
    fit.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert {"total_steps", "_schedule_phases"} <= checkpoint["lr_schedulers"][0].keys()
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    parts = [
        torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=3),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5),
    ]
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [3])
    checkpoint["lr_schedulers"].append(both.state_dict())
    inner = checkpoint["lr_schedulers"][1]["_schedulers"]
    assert "total_iters" in inner[0] and "T_max" in inner[1]
    lightning.forget_lengths(checkpoint)
    lengths = {"total_steps", "_schedule_phases", "T_max", "total_iters"}
    assert not any(lengths & s.keys() for s in [*checkpoint["lr_schedulers"], *inner])


def test_restore() -> None:
    first, second = MeanMetric(), MeanMetric()
    first.update(torch.tensor([1.0, 3.0]))
    lightning.restore(second, first.metric_state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torchmetrics warns of a metric that was never updated
        assert second.compute() == 2
    second.update(5.0)
    assert second.compute() == 3


class Expanded(nn.Module):
    """Hands a view of a parameter to a layer, as class tokens and latent queries are."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.ones(1, 1, 3))
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(self.query.expand(len(x), 1, 3)).squeeze(1)
        return output


class Nested(nn.Module):
    """Hands a nested tensor to a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a prototype
            nested = torch.nested.nested_tensor([*x.unsqueeze(1)])
        return torch.cat([*self.layer(nested).unbind()])


class Failing(nn.Module):
    """Can't be called with the example."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("too small an example")


class TestSummary:
    """Layers, sizes and FLOPs as far as they can be computed."""

    def make(self, net: nn.Module | None = None) -> lightning.Summary:
        model = Module(net)
        model.example_input_array = torch.ones(1, 3)
        summary = lightning.Summary(model, max_depth=2)
        assert all(module.training for module in model.modules())
        return summary

    def test_all(self) -> None:
        summary = self.make()
        columns, parameters, *_, flops = summary.table()
        assert parameters == 8 and flops == 2 * 3 * 2 and not summary.missing
        assert dict(columns)["In sizes"] == ["[1, 3]"]
        assert dict(columns)["Out sizes"] == ["[1, 2]"]

    def test_a_view_of_a_parameter(self) -> None:
        summary = self.make(Expanded())
        assert not summary.missing and summary.total_flops == 2 * 3 * 2

    def test_a_nested_tensor(self) -> None:
        summary = self.make(Nested())
        assert summary.missing.startswith("no sizes: RuntimeError")
        assert dict(summary.table()[0])["Name"] == ["net", "net.layer"]

    def test_a_network_that_fails(self) -> None:
        summary = self.make(Failing())
        assert summary.missing == "no sizes: ValueError: too small an example"
        assert summary.table()[1] == 8


def test_as_precise() -> None:
    fit = trainer(precision="64-true")
    assert lightning.as_precise(fit, torch.ones(1)).dtype is torch.float64


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"gradient_clip_val": 1.0}, True),
        ({"precision": "bf16-mixed"}, True),
        ({"precision": "bf16-mixed", "gradient_clip_val": 1.0}, False),
    ],
)
def test_can_fuse(options: dict[str, Any], expected: bool) -> None:
    """As long as Lightning refuses, and no longer."""

    class Fused(Module):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1, fused=True)

    fit = trainer(fast_dev_run=True, **options)
    assert lightning.can_fuse(fit) is expected
    if expected:
        fit.fit(Fused())
    else:
        with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
            fit.fit(Fused())


def test_has_step() -> None:
    assert lightning.has_step(Module(), "validation_step")
    assert not lightning.has_step(Module(), "test_step")


def test_is_out_of_memory() -> None:
    assert lightning.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert lightning.is_out_of_memory(MemoryError())
    assert not lightning.is_out_of_memory(ValueError("wrong"))


def test_most_workers() -> None:
    assert lightning.most_workers(1) >= 1


def test_refused() -> None:
    with pytest.raises(UsageError, match=r"trainer: .*devices"), lightning.refused():
        pl.Trainer(accelerator="cpu", devices=0)
    with pytest.raises(ValueError, match=r"^other$"), lightning.refused():
        raise ValueError("other")


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_check_strategy(strategy: str) -> None:
    with pytest.raises(UsageError, match=f"--strategy {strategy}: .*type --strategy ddp"):
        lightning.check_strategy(strategy)
    lightning.check_strategy("ddp")


def test_profile() -> None:
    """All parts have the names that Lightning gives them."""

    class Names(Profiler):
        found: ClassVar[set[str]] = set()

        def start(self, action_name: str) -> None:
            self.found.add(action_name)

        def stop(self, action_name: str) -> None:
            pass

    class Attach(pl.Callback):
        def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
            lightning.profile(trainer, Names())

    trainer(Attach()).fit(Module())
    assert lightning.EPOCH in Names.found
    for end in lightning.PARTS.keys() - {"logging"}:  # which is what this project calls it
        assert any(name.endswith(end) for name in Names.found), end


def test_mute() -> None:
    """Each text that is muted is still one of Lightning's or torch's."""
    noises = re.findall(r'^        "(.+)",$', inspect.getsource(lightning.mute), re.M)
    assert len(noises) > 5
    folders = [Path(package.__path__[0]) for package in (pl, lightning_fabric)]
    text = " ".join(file.read_text() for folder in folders for file in folder.rglob("*.py"))
    text += Path(torch.utils._pytree.__file__).read_text()
    text = re.sub(r'"\s*f?"', "", text)
    missing = [noise for noise in noises if noise not in text]
    assert missing == []
