"""`MInterface` and `DInterface` from Python."""

import random
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset, default_collate

from callbacks.speed import Speed
from core.errors import UsageError
from core.train.batches import Batches, BatchSampler
from core.train.splits import divide
from data import DInterface
from model import MInterface


class Net(nn.Module):
    """Takes as many inputs as it is told to."""

    def __init__(self, width: int = 3, num_classes: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Whole(Dataset[tuple[Tensor, int]]):
    """A hundred numbered samples without splits."""

    classes = ("even", "odd")

    def __init__(self, size: int = 100, augment: bool = False) -> None:
        self.size, self.augment = size, augment

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = 0.5 if self.augment else 0.0
        return torch.full((3,), index + noise), index % 2


class Flagged(Whole):
    """A dataset in torchvision's manner; `calls` tells how it was made."""

    calls: ClassVar[list[dict[str, bool]]] = []

    def __init__(self, train: bool = True, download: bool = False, size: int = 50) -> None:
        super().__init__(size if train else 10)
        self.calls.append({"train": train, "download": download})


class Stream(IterableDataset[tuple[Tensor, int]]):
    """Samples one after the other, validated by their own split."""

    def __init__(self, split: str = "train") -> None:
        if split == "test":
            raise ValueError(split)

    def __iter__(self) -> Any:
        yield from ((torch.rand(3), index % 2) for index in range(16))


def indices(part: Any) -> list[int]:
    return [int(part[i][0][0]) for i in range(len(part))]


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        **options,
    )


class TestDInterface:
    def test_a_whole_is_split_by_seeded_fractions(self) -> None:
        data = DInterface(Whole, val_fraction=0.2, test_fraction=0.3)
        parts = {split: indices(data.part(split)) for split in ("train", "val", "test")}
        assert [len(parts[split]) for split in parts] == [50, 20, 30]
        assert sorted(i for part in parts.values() for i in part) == list(range(100))
        again = DInterface(Whole, val_fraction=0.2, test_fraction=0.3)
        assert indices(again.part("val")) == parts["val"]
        other = DInterface(Whole, val_fraction=0.2, test_fraction=0.3, split_seed=1)
        assert indices(other.part("val")) != parts["val"]

    def test_only_the_training_part_is_augmented(self) -> None:
        data = DInterface(Whole, {"augment": True})
        assert data.part("train")[0][0][0] % 1 == 0.5
        assert data.part("val")[0][0][0] % 1 == 0
        assert data.part("test")[0][0][0] % 1 == 0

    def test_train_flag_and_download(self) -> None:
        Flagged.calls.clear()
        data = DInterface(Flagged, test_fraction=0.5)
        data.prepare_data()
        assert {"train": True, "download": True} in Flagged.calls
        Flagged.calls.clear()
        data.setup()
        assert len(data.part("train")) + len(data.part("val")) == 50
        assert len(data.part("test")) == 10
        assert not any(call["download"] for call in Flagged.calls)
        data.prepare_data()
        assert not any(call["download"] for call in Flagged.calls), "once is enough"

    def test_iterable_and_a_split_that_it_does_not_know(self) -> None:
        data = DInterface(Stream, batch_size=4)
        assert len(list(data.train_dataloader())) == 4
        assert len(list(data.val_dataloader())) == 4
        assert data.test_dataloader() == []

    def test_a_split_is_asked_for_by_the_names_of_its_type(self) -> None:
        class Own(Whole):
            def __init__(self, split: Literal["training", "test"] = "training") -> None:
                super().__init__(50 if split == "training" else 10)

        data = DInterface(Own)
        assert [len(data.part(name)) for name in ("train", "val", "test")] == [45, 5, 10]

    def test_a_dataset_as_an_object(self) -> None:
        data = DInterface(Whole(50), val_fraction=0.2)
        assert [len(data.part(name)) for name in ("train", "val", "test")] == [35, 10, 5]

    def test_a_download_that_fails(self) -> None:
        def offline(download: bool = False) -> Whole:
            if download:
                raise OSError("no connection")
            raise RuntimeError("Dataset not found. You can use download=True to download it")

        with pytest.raises(UsageError, match=r"no connection.*--data.download false"):
            DInterface(offline).prepare_data()  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"type --data.download true"):
            DInterface(offline).setup()  # type: ignore[arg-type]

    def test_collate_fn_of_the_dataset(self) -> None:
        class Own(Whole):
            def collate_fn(self, items: list[Any]) -> str:
                return f"{len(items)} items"

        assert next(iter(DInterface(Own, batch_size=7).train_dataloader())) == "7 items"

    def test_prepare_data_of_the_dataset_gets_its_arguments(self) -> None:
        class Own(Whole):
            seen: ClassVar[list[int]] = []

            @classmethod
            def prepare_data(cls, size: int) -> None:
                cls.seen.append(size)

        data = DInterface(Own, {"size": 7})
        data.prepare_data()
        data.prepare_data()
        assert Own.seen == [7]

    def test_what_the_data_tells(self) -> None:
        data = DInterface(Whole)
        data.setup("fit")
        assert [*data.published("num_classes")] == [2]
        assert [*data.published("input_size")] == [[3]]
        assert [*data.published("depth")] == []

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (torch.full((40,), 0.5), [1]),
            (torch.full((40, 3), 0.5), [3]),
            (torch.full((40, 3, 8), 0.5), []),
            (torch.ones(40), []),  # may be classes
            (torch.ones(40).long(), []),
        ],
    )
    def test_how_many_values_are_wanted(self, target: torch.Tensor, expected: list[int]) -> None:
        data = DInterface(torch.utils.data.TensorDataset(torch.zeros(40, 2), target))
        data.setup("fit")
        assert [*data.published("num_classes")] == expected

    @pytest.mark.parametrize(
        "options", [{"batch_size": 0}, {"num_workers": -1}, {"val_fraction": 1.0}]
    )
    def test_bad_values(self, options: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match="--"):
            DInterface(Whole, **options)


class Table(Whole):
    """The same, whole batches at once; the device's part of the work doubles them."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        raise AssertionError("batches are asked for")

    def get_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return indices[:, None].repeat(1, 3).float(), indices % 2

    def transform_batch(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return batch[0] * 2, batch[1]


class Doubled(Stream):
    """A stream of ones, bytes, which the device's part of the work doubles."""

    def __iter__(self) -> Any:
        yield from ((torch.ones(3, dtype=torch.uint8), index % 2) for index in range(16))

    def transform_batch(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        return batch[0].float() * 2, batch[1]


class TestBatches:
    def test_whole_batches(self) -> None:
        data = DInterface(Table(100), batch_size=8, test_fraction=0)
        data.parts.any = lambda: Whole(100)
        batches = [*data.val_dataloader()]
        expected = [2.0 * index for index in data.part("val").indices]
        assert [x for batch, _ in batches for x in batch[:, 0].tolist()] == expected
        assert [len(batch) for batch, _ in batches] == [8, 2]

    def test_transform_batch_is_called_once_in_training(self) -> None:
        seen: list[float] = []

        class Watch(pl.Callback):
            def on_validation_batch_start(self, *hook: Any) -> None:
                seen.extend(hook[2][0][:, 0].tolist())

        data = DInterface(Table(100), batch_size=50, test_fraction=0)
        data.sample = lambda: data.collate([])  # type: ignore[method-assign]
        fit = trainer(max_epochs=1, callbacks=[Watch()], num_sanity_val_steps=0)
        fit.fit(MInterface(Net()), data)
        assert seen == [2.0 * index for index in data.part("val").indices]

    @pytest.mark.parametrize("precision", ["32-true", "64-true"])
    def test_transform_batch_of_a_stream(self, precision: str) -> None:
        seen: list[Tensor] = []

        class Watch(pl.Callback):
            def on_train_batch_start(self, *hook: Any) -> None:
                seen.append(hook[2][0])

        fit = trainer(max_epochs=1, callbacks=[Watch()], precision=precision)
        fit.fit(MInterface(Net()), DInterface(Doubled, batch_size=4))
        assert len(seen) == 4 and torch.stack(seen).eq(2).all()

    def test_tensors_are_indexed_at_once(self) -> None:
        tensors = TensorDataset(torch.arange(10.0), torch.arange(10))
        batches = Batches(Subset(Subset(tensors, range(5, 10)), [4, 0]), 2, default_collate)
        inputs, targets = batches[0]
        assert inputs.tolist() == [9, 5] and targets.tolist() == [9, 5]

    def test_what_is_asked_of_the_data_draws_nothing(self) -> None:
        """Or a run that is repeated, which asks less, would begin with other weights."""

        class Noisy(Whole):
            def __getitem__(self, index: int) -> Any:
                return torch.randn(1, 4, 4), random.randrange(3)

        data = DInterface(Noisy)
        data.setup()
        states = torch.get_rng_state(), random.getstate()
        assert [*data.published("in_channels")] == [1]
        assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]

    @pytest.mark.parametrize("size", [9, 10, 11])
    def test_two_processes_see_each_sample_once(self, size: int) -> None:
        samplers = [BatchSampler(Whole(size), 2, rank=r, world_size=2) for r in range(2)]
        found = [index for sampler in samplers for _, batch in sampler for index in batch.tolist()]
        assert sorted(found) == list(range(size))
        assert all(len([*sampler]) == len(sampler) >= sampler.fewest for sampler in samplers)
        with pytest.raises(UsageError, match="1 samples to evaluate for 2 processes"):
            BatchSampler(Whole(1), 2, rank=1, world_size=2)

    def test_shuffled_anew_each_epoch_and_gone_on_with(self) -> None:
        def order(epoch: int, samples: int = 0) -> list[int]:
            sampler = BatchSampler(Whole(50), 8, shuffle=True, epoch=epoch, samples=samples)
            return [index for _, batch in sampler for index in batch.tolist()]

        assert sorted(order(0)) == list(range(50)) != order(0)
        assert order(0) != order(1)
        assert order(1, samples=16) == order(1)[16:]

    def test_on_device(self) -> None:
        part = Subset(TensorDataset(torch.arange(10.0)), [1, 2])
        batches = Batches(part, 2, default_collate)
        batches.move(torch.device("meta"))
        assert batches.dataset.tensors[0].is_meta and batches.indices.is_meta  # type: ignore[union-attr]
        with pytest.raises(UsageError, match="Whole needs tensors"):
            Batches(Whole(), 2, default_collate).move(torch.device("meta"))

    def test_workers_only_where_they_pay(self) -> None:
        class Slow(Whole):
            def __getitem__(self, index: int) -> tuple[Tensor, int]:
                time.sleep(0.01)
                return super().__getitem__(index)

        assert DInterface(Slow).train_dataloader().num_workers >= 1
        assert DInterface(Whole).train_dataloader().num_workers == 0


class TestMInterface:
    @pytest.mark.parametrize(
        ("batch", "inputs", "target"),
        [
            (("x", "y"), ("x",), "y"),
            (("x", "y", "filename"), ("x",), "y"),
            ("x", ("x",), None),
            ({"x": 1, "y": 2}, {"x": 1}, 2),
            ({"x": 1, "label": 2, "path": 3}, {"x": 1}, 2),
        ],
    )
    def test_split_batch(self, batch: Any, inputs: Any, target: Any) -> None:
        assert MInterface(Net()).split_batch(batch) == (inputs, target)

    def test_split_batch_of_several_inputs(self) -> None:
        class Three(nn.Module):
            def forward(self, a: Any, b: Any, c: Any, scale: float = 1.0) -> Any:
                return None

        class Variadic(nn.Module):
            def forward(self, *parts: Any) -> Any:
                return None

        assert MInterface(Three()).split_batch("abcyz") == (("abcyz",), None)
        assert MInterface(Three()).split_batch([*"abcyz"]) == (("a", "b", "c"), "y")
        assert MInterface(Variadic()).split_batch([*"abcdy"]) == (("a", "b", "c", "d"), "y")

    @pytest.mark.parametrize(
        ("loss", "outputs", "metrics"),
        [
            ("cross_entropy", 2, {"val_acc", "val_f1"}),
            ("bce", 1, {"val_acc", "val_f1"}),
            ("mse", 1, {"val_mae", "val_rmse", "val_r2"}),
            ("l1", 1, {"val_mae", "val_rmse", "val_r2"}),
        ],
    )
    def test_losses_and_their_metrics(self, loss: str, outputs: int, metrics: set[str]) -> None:
        model = MInterface(Net(num_classes=outputs), loss=loss, lr=1e-4)
        fit = trainer(max_epochs=1)
        fit.fit(model, DInterface(Whole))
        assert metrics | {"train_loss", "val_loss"} <= fit.callback_metrics.keys()

    def test_one_output_against_a_flat_target_does_not_broadcast(self) -> None:
        model = MInterface(Net(num_classes=1), loss="mse")
        output, target = torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 1.0])
        assert model.comparison(output, target)["loss"].item() == 0

    def test_half_precision_does_not_round_the_target(self) -> None:
        model = MInterface(Net(num_classes=1), loss="mse")
        output = torch.zeros(1, 1, dtype=torch.bfloat16)
        assert model.comparison(output, torch.tensor([1001.0]))["loss"].item() == 1001**2

    def test_metrics_are_those_of_all_samples(self) -> None:
        """They are measured many batches at a time, and come out as if each alone.

        Even if a network writes all its outputs to one place, as CUDA graphs do.
        """
        outputs: list[Tensor] = []
        place = torch.empty(3, 2)

        class Keeping(Net):
            def forward(self, x: Tensor) -> Tensor:
                outputs.append(torch.stack([x[:, 0] % 3, x[:, 1] % 2], 1))
                return place[: len(x)].copy_(outputs[-1])

        data = DInterface(Whole(1000), batch_size=3, test_fraction=0)
        fit = trainer(max_epochs=1, num_sanity_val_steps=0, limit_train_batches=0)
        fit.validate(MInterface(Keeping()), data, verbose=False)
        targets = torch.tensor([index % 2 for index in data.part("val").indices])
        found, logits = fit.callback_metrics, torch.cat(outputs)
        assert found["val_acc"] == (logits.argmax(1) == targets).float().mean()
        expected = nn.functional.cross_entropy(logits, targets)
        assert found["val_loss"].item() == pytest.approx(expected.item(), rel=1e-5)

    def test_metrics_outlive_a_stop_before_the_first_step(self) -> None:
        """What a resumed run has not yet taken over goes into the next checkpoint as it is."""
        model, fit = MInterface(Net()), trainer()
        checkpoint: dict[str, Any] = {"train_scores": [{"states": {}, "kept": []}]}
        model.scores.on_load_checkpoint(fit, model, checkpoint)
        again: dict[str, Any] = {}
        model.scores.on_save_checkpoint(fit, model, again)
        assert again == checkpoint

    @pytest.mark.parametrize("fused", [None, False])
    def test_the_optimizer_is_fused_unless_told_otherwise(self, fused: bool | None) -> None:
        fit = trainer(max_epochs=1, limit_train_batches=1)
        fit.fit(MInterface(Net(), optimizer_args={"fused": fused}), DInterface(Whole))
        assert fit.optimizers[0].defaults["fused"] is (fused is None)

    def test_channels_last(self) -> None:
        model = MInterface("resnet", {"in_channels": 1, "num_classes": 10})
        speed = Speed(channels_last=True)
        fit = trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=1, callbacks=[speed])
        fit.fit(model, DInterface("digits"))
        weights = [p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)

    def test_a_loss_and_an_optimizer_class_from_python(self) -> None:
        def loss(output: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
            return scale * output.square().mean()

        model = MInterface(Net, loss=loss, loss_args={"scale": 0.0}, optimizer=torch.optim.SGD)
        fit = trainer(max_epochs=1)
        fit.fit(model, DInterface(Whole))
        assert isinstance(fit.optimizers[0], torch.optim.SGD)
        assert fit.callback_metrics["train_loss"] == 0

    def test_optimizer_arguments(self) -> None:
        model = MInterface(
            Net(), optimizer="sgd", lr=0.5, weight_decay=0.1, optimizer_args={"momentum": 0.9}
        )
        fit = trainer(max_epochs=1, limit_train_batches=1)
        fit.fit(model, DInterface(Whole))
        group = fit.optimizers[0].param_groups[0]
        assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.5, 0.1, 0.9)

    @pytest.mark.parametrize(
        ("options", "first", "last"),
        [
            ({"lr_scheduler": "cosine"}, 1.0, 0.0),
            ({"lr_scheduler": "one_cycle"}, 0.04, 0.0),
            ({"lr_scheduler": "cosine", "warmup_steps": 4}, 0.01, 0.0),
            ({"warmup_steps": 4}, 0.01, 1.0),
            ({"lr_scheduler": "step", "lr_scheduler_args": {"step_size": 1}}, 1.0, 0.1),
            ({"lr_scheduler": "plateau"}, 1.0, 1.0),
        ],
    )
    def test_schedules_end_with_the_run(
        self, options: dict[str, Any], first: float, last: float
    ) -> None:
        rates: list[float] = []

        class Watch(pl.Callback):
            def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
                rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        model = MInterface(Net(), optimizer="sgd", lr=1.0, **options)
        fit = trainer(max_epochs=2, callbacks=[Watch()])
        fit.fit(model, DInterface(Whole, batch_size=8))
        assert rates[0] == pytest.approx(first, abs=1e-2)
        assert rates[-1] == pytest.approx(last, abs=2e-2)

    @pytest.mark.parametrize(
        ("options", "moved"),
        [
            ({"optimizer": "sgd", "optimizer_args": {"momentum": 0.8}}, "0.8"),
            ({"optimizer": "sgd"}, "0"),
            ({"optimizer": "adam", "optimizer_args": {"betas": [0.5, 0.9]}}, "0.5"),
            ({"optimizer": "adam"}, None),  # 0.9, which nobody typed, is within what it moves to
            ({"optimizer": "sgd", "lr_scheduler_args": {"cycle_momentum": False}}, None),
            ({"optimizer": "rmsprop", "lr_scheduler_args": {"cycle_momentum": False}}, None),
        ],
    )
    def test_a_schedule_that_moves_the_momentum_says_so(
        self, options: dict[str, Any], moved: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = MInterface(Net(), lr_scheduler="one_cycle", **options)
        assert capsys.readouterr().out == ""
        trainer(max_epochs=1).fit(model, DInterface(Whole))
        told = f"moves the momentum from 0.85 to 0.95 in place of {moved}; type"
        assert (told in capsys.readouterr().out) == (moved is not None)

    def test_checkpoint_rebuilds_the_network(self, tmp_path: Path) -> None:
        model = MInterface("mlp", {"input_size": [3], "num_classes": 2}, lr=0.25)
        fit = trainer(max_epochs=1)
        fit.fit(model, DInterface(Whole))
        fit.save_checkpoint(tmp_path / "a.ckpt")
        again = MInterface.load_from_checkpoint(tmp_path / "a.ckpt")
        assert again.hparams["lr"] == 0.25
        for name, value in model.state_dict().items():
            torch.testing.assert_close(again.state_dict()[name], value)
        other = MInterface.load_from_checkpoint(tmp_path / "a.ckpt", lr=0.5)
        assert other.hparams["lr"] == 0.5

    def test_only_plain_values_reach_a_checkpoint(self, tmp_path: Path) -> None:
        model = MInterface(Net(), loss=nn.CrossEntropyLoss(), optimizer=torch.optim.SGD)
        fit = trainer(max_epochs=1)
        fit.fit(model, DInterface(Whole))
        fit.save_checkpoint(tmp_path / "a.ckpt")
        saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
        assert not {"model_name", "loss", "optimizer"} & saved["hyper_parameters"].keys()
        again = MInterface.load_from_checkpoint(tmp_path / "a.ckpt", model_name=Net())
        torch.testing.assert_close(again.net.linear.weight, model.net.linear.weight)  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"optimizer": "adm"}, "did you mean 'adam'"),
            ({"loss": "crss_entropy"}, "did you mean 'cross_entropy'"),
            ({"lr": -1.0}, "--optimizer adamw: Invalid learning rate"),
            ({"lr_scheduler": "step"}, "type --step_size VALUE"),
            ({"lr_scheduler": "plateau", "warmup_steps": 5}, "--lr_interval step"),
            ({"optimizer": "rprop", "weight_decay": 0.1}, "weight_decay"),
        ],
    )
    def test_bad_values(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            MInterface(Net(), **options)

    def test_a_class_as_an_argument(self) -> None:
        class Own(Net):
            def __init__(self, layer: Any = torch.nn.Linear) -> None:
                super().__init__()
                self.own = layer(1)

        assert isinstance(MInterface(Own, {"layer": "nn.Softmax"}).net.own, nn.Softmax)
        with pytest.raises(UsageError, match=r"--layer nn.Sftmax"):
            MInterface(Own, {"layer": "nn.Sftmax"})

    def test_one_output_is_no_class(self) -> None:
        with pytest.raises(UsageError, match="--loss mse"):
            trainer(max_epochs=1).fit(MInterface(Net(num_classes=1)), DInterface(Whole))

    def test_a_stream_has_no_length(self) -> None:
        model = MInterface(Net(), lr_scheduler="one_cycle")
        with pytest.raises(UsageError, match="--max_steps VALUE"):
            trainer(max_epochs=1).fit(model, DInterface(Stream))

    def test_a_tuple_output_is_a_clear_error(self) -> None:
        class Two(Net):
            def forward(self, x: Tensor) -> Any:
                return self.linear(x), x

        with pytest.raises(UsageError, match="Two returns a tuple"):
            trainer(max_epochs=1).fit(MInterface(Two()), DInterface(Whole))


class Layered(nn.Module):
    """A backbone with a norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


class TestParameterGroups:
    """The table: by pattern, the factor of the rate and the decay."""

    def groups(self, table: dict[str, dict[str, float]], **options: Any) -> list[dict[str, Any]]:
        model = MInterface(Layered(), lr=0.1, weight_decay=0.5, param_groups=table, **options)
        fit = trainer(max_epochs=1, limit_train_batches=1)
        fit.fit(model, DInterface(Whole))
        self.names = {id(p): name for name, p in model.net.named_parameters()}
        return fit.optimizers[0].param_groups

    def test_rates_and_decay(self) -> None:
        table = {"backbone": {"lr_factor": 0.1}, "backbone.1": {"weight_decay": 0.0}}
        backbone, norm, rest = self.groups(table)
        assert [self.names[id(p)] for p in backbone["params"]] == [
            "backbone.0.weight",
            "backbone.0.bias",
        ]
        assert (backbone["lr"], backbone["weight_decay"]) == (pytest.approx(0.01), 0.5)
        assert [self.names[id(p)] for p in norm["params"]] == [
            "backbone.1.weight",
            "backbone.1.bias",
        ]
        assert (norm["lr"], norm["weight_decay"]) == (0.1, 0.0), "of several rows the last"
        assert (rest["lr"], rest["weight_decay"]) == (0.1, 0.5) and len(rest["params"]) == 2

    def test_patterns(self) -> None:
        """Whole words between the dots, or what a star stands for."""
        biases, rest = sorted(self.groups({"bias": {"weight_decay": 0}}), key=lambda g: g["lr"])
        assert {len(biases["params"]), len(rest["params"])} == {3}
        assert len(self.groups({"back*": {"lr_factor": 2}})) == 2
        with pytest.raises(UsageError, match=r"--param_groups back: .*did you mean 'backbone'"):
            self.groups({"back": {"lr_factor": 2}})
        with pytest.raises(UsageError, match="no 'lr'; expected lr_factor, weight_decay"):
            MInterface(Layered(), param_groups={"head": {"lr": 2}})

    def test_each_has_its_own_peak(self) -> None:
        """One-cycle, of whose peak a group has its factor."""
        head, rest = self.groups({"head": {"lr_factor": 10}}, lr_scheduler="one_cycle")
        assert sorted(group["max_lr"] for group in (head, rest)) == pytest.approx([0.1, 1.0])

    def test_the_rate_is_that_of_the_hyper_parameters(self) -> None:
        """Where the optimizer is built: a finder, or a user, may have changed it."""
        model = MInterface(Net(), lr=0.1)
        model.hparams["lr"] = 0.25
        fit = trainer(max_epochs=1, limit_train_batches=1)
        fit.fit(model, DInterface(Whole))
        assert fit.optimizers[0].param_groups[0]["lr"] == 0.25


class TestDivide:
    def test_as_many_of_each_class(self) -> None:
        labels = [0] * 80 + [1] * 20
        parts = divide(100, {"val": 0.2, "test": 0.1}, seed=0, labels=labels)
        assert {name: len(part) for name, part in parts.items()} == {
            "val": 20,
            "test": 10,
            "train": 70,
        }
        assert [sum(labels[i] for i in parts[n]) for n in ("val", "test", "train")] == [4, 2, 14]
        assert sorted(i for part in parts.values() for i in part) == list(range(100))

    def test_no_group_is_divided(self) -> None:
        groups = [index // 10 for index in range(100)]
        parts = divide(100, {"val": 0.2, "test": 0.1}, seed=0, groups=groups)
        found = [{groups[i] for i in part} for part in parts.values()]
        assert sum(map(len, found)) == 10 and sorted(map(len, found)) == [1, 2, 7]


def test_step_is_the_place_to_change() -> None:
    """A subclass that trains something else inherits the rest."""

    class Halved(MInterface):
        def step(self, batch: Any, stage: str) -> dict[str, Any]:
            found = super().step(batch, stage)
            return found | {"loss": found["loss"] * (0.5 if stage == "train" else 1.0)}

    losses = []
    for kind in (MInterface, Halved):
        torch.manual_seed(0)
        fit = trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=1)
        fit.fit(kind(Net(), lr=1e-9), DInterface(Whole))
        losses.append([fit.callback_metrics[n].item() for n in ("train_loss", "val_loss")])
    (train, val), (half, same) = losses
    assert half == pytest.approx(train / 2, rel=1e-5) and same == pytest.approx(val, rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*will run with no optimizer")
def test_a_lightning_module_without_net_is_told() -> None:
    """That compiling and the order of channels would have no effect."""

    class Bare(pl.LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> None: ...

        def configure_optimizers(self) -> None: ...

        validation_step = training_step

    fit = trainer(max_epochs=1, callbacks=[Speed(compile="default")])
    with pytest.raises(UsageError, match=r"--compile: Bare has no network self.net"):
        fit.fit(Bare(), DInterface(Whole))
