"""Losses and metrics against a computation by hand: plain torch and scikit-learn."""

import json
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import sklearn.metrics as sk
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from core.errors import UsageError
from core.train.losses import ProbabilityLoss
from data import DInterface
from model import MInterface

from .command import Project
from .conftest import TEMPLATE


class Same(nn.Module):
    """Returns its input: the data holds what a network would have made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(high: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def found(
    output: Tensor, target: Tensor, batch_size: int = 7, model: Any = None, **options: Any
) -> dict[str, float]:
    """What a test measures of a network's outputs, in batches of which the last is smaller."""
    data = DInterface(TensorDataset(output, target), batch_size=batch_size, test_fraction=0)
    data.parts._parts["test"] = TensorDataset(output, target)
    fit = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    [results] = fit.test(MInterface(model or Same(), **options), data, verbose=False)
    return {name.removeprefix("test_"): value for name, value in results.items()}


def close(results: dict[str, float], **expected: Any) -> None:
    assert results == {
        name: pytest.approx(float(value), abs=1e-5) for name, value in expected.items()
    }


def f1(target: Tensor, prediction: Tensor, average: str = "macro") -> float:
    return float(sk.f1_score(target.flatten(), prediction.flatten(), average=average))


class TestTasks:
    def test_classification(self) -> None:
        output, target = draw(60, 4), labels(4, 60)
        best = output.argmax(1)
        shares = output.softmax(1)
        close(
            found(output, target, metrics=["auroc"]),
            loss=F.cross_entropy(output, target),
            acc=(best == target).float().mean(),
            f1=f1(target, best),
            auroc=sk.roc_auc_score(target, shares, multi_class="ovr"),
        )

    @pytest.mark.parametrize("shape", [(60, 1), (60,)])
    @pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.float32])
    def test_labels_of_other_shapes_and_types(self, shape: Any, kind: torch.dtype) -> None:
        output, target = draw(60, 4), labels(4, 60)
        assert found(output, target.reshape(shape).to(kind)) == found(output, target)

    def test_soft_labels(self) -> None:
        output, target = draw(60, 4), draw(60, 4, seed=2).softmax(1)
        best = target.argmax(1)
        close(
            found(output, target),
            loss=-(target * output.log_softmax(1)).sum(1).mean(),
            acc=(output.argmax(1) == best).float().mean(),
            f1=f1(best, output.argmax(1)),
        )

    @pytest.mark.parametrize("axis", [1, -1])
    def test_sequences_with_padding(self, axis: int) -> None:
        """Of several labels each, (B, T), with the classes on either axis, and -100 ignored."""
        output, target = draw(60, 4, 5), labels(4, 60, 5)
        target[:, 3:] = -100
        target[::3, 1:] = -100
        kept = target >= 0
        best = output.argmax(1)
        close(
            found(output.movedim(1, axis), target),
            loss=F.cross_entropy(output, target),
            acc=(best == target)[kept].float().mean(),
            f1=f1(target[kept], best[kept]),
        )

    def test_segmentation(self) -> None:
        output, target = draw(30, 3, 6, 6), labels(3, 30, 6, 6)
        target[:, 0] = 255
        target[:7] = 255  # a whole batch is void
        target[7, 1:] = 1
        kept, best = target != 255, output.argmax(1)
        close(
            found(output, target, loss_args={"ignore_index": 255}),
            loss=F.cross_entropy(output, target, ignore_index=255),
            acc=(best == target)[kept].float().mean(),
            iou=sk.jaccard_score(target[kept], best[kept], average="macro"),
        )

    @pytest.mark.parametrize("size", [4, 16, 64])
    def test_class_weights(self, size: int) -> None:
        """The loss is divided by the weights of all samples, whatever the batches are."""
        output, target = draw(60, 2), (draw(60, seed=3) > 1).long()
        expected = F.cross_entropy(output, target, torch.tensor([1.0, 20.0]))
        results = found(output, target, size, loss_args={"weight": [1.0, 20.0]})
        assert results["loss"] == pytest.approx(expected.item(), abs=1e-5)

    @pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
    def test_reductions(self, reduction: str) -> None:
        """Of each the mean of the samples is logged."""
        output, target = draw(60, 4), labels(4, 60)
        results = found(output, target, loss_args={"reduction": reduction})
        assert results["loss"] == pytest.approx(F.cross_entropy(output, target).item(), abs=1e-5)

    @pytest.mark.parametrize("shape", [(60,), (60, 1)])
    def test_binary(self, shape: tuple[int, ...]) -> None:
        output, target = draw(*shape) / 9 + 0.1, labels(2, 60)
        best = (output.flatten() > 0).long()
        close(
            found(output, target, loss="bce", metrics=["auroc"]),
            loss=F.binary_cross_entropy_with_logits(output.flatten(), target.float()),
            acc=(best == target).float().mean(),
            f1=f1(target, best, "binary"),
            auroc=sk.roc_auc_score(target, output.flatten()),
        )

    def test_logits_between_zero_and_one_are_logits(self) -> None:
        """All above zero: all are of class one."""
        output, target = draw(60).sigmoid(), labels(2, 60)
        results = found(output, target, loss="bce")
        assert results["acc"] == pytest.approx(target.float().mean().item(), abs=1e-5)

    def test_probabilities(self) -> None:
        output, target = draw(60).sigmoid(), labels(2, 60)
        results = found(output, target, loss="bce_loss")
        assert results["acc"] == pytest.approx(
            ((output > 0.5) == target).float().mean().item(), abs=1e-5
        )

    @pytest.mark.parametrize("axis", [1, -1])
    @pytest.mark.parametrize("is_typed", [False, True])
    def test_multilabel_of_sequences(self, axis: Any, is_typed: bool) -> None:
        """Three labels at each of five places: each label is measured over all places."""
        output, target = draw(40, 5, 3), labels(2, 40, 5, 3).float()
        right = [((output[..., n] > 0) == target[..., n]).float().mean() for n in range(3)]
        each = [f1(target[..., n], output[..., n] > 0, "binary") for n in range(3)]
        loss = F.binary_cross_entropy_with_logits(output, target)
        if axis == 1:
            output, target = output.movedim(-1, 1), target.movedim(-1, 1)
        model = MInterface(Same(), loss="bce", class_axis=axis if is_typed else None)
        model.comparison.num_classes = None if is_typed else 3
        step = model.step([output, target], "test")
        model.scores.add("test", 0, step | {"size": 40})
        results = {n.removeprefix("test_"): v.item() for n, v in model.scores.epoch("test").items()}
        close(results, loss=loss, acc=sum(right) / 3, f1=sum(each) / 3)

    def test_multilabel_of_sequences_is_told(self) -> None:
        """A mask (B, H, W) is of one label, and no sequence of several."""
        for shape in ((40, 5, 3), (40, 8, 8)):
            with pytest.raises(UsageError, match="which axis is that of labels"):
                found(draw(*shape), labels(2, *shape).float(), loss="bce")
        output, target = draw(20, 1, 8, 8), labels(2, 20, 1, 8, 8).float()
        right = ((output > 0) == target).float().mean()
        assert found(output, target, loss="bce")["acc"] == pytest.approx(right.item(), abs=1e-5)
        one = found(draw(20, 8, 1), labels(2, 20, 8, 1).float(), loss="bce")
        right = ((draw(20, 8, 1) > 0) == labels(2, 20, 8, 1)).float().mean()
        assert one["acc"] == pytest.approx(right.item(), abs=1e-5)

    def test_multilabel(self) -> None:
        output, target = draw(60, 3), labels(2, 60, 3)
        best = (output > 0).long()
        close(
            found(output, target, loss="bce"),
            loss=F.binary_cross_entropy_with_logits(output, target.float()),
            acc=(best == target).float().mean(),
            f1=sk.f1_score(target, best, average="macro"),
        )

    @pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3), (60, 3, 5)])
    @pytest.mark.parametrize("kind", [torch.float32, torch.float64])
    def test_regression(self, shape: tuple[int, ...], kind: torch.dtype) -> None:
        output, target = draw(*shape), draw(*shape, seed=1)
        rows = [
            value.reshape(60, -1) if len(shape) < 3 else value.flatten()
            for value in (output, target)
        ]
        close(
            found(output, target.to(kind), loss="mse"),
            loss=(output - target).square().mean(),
            mae=(output - target).abs().mean(),
            rmse=(output - target).square().mean().sqrt(),
            r2=sk.r2_score(rows[1], rows[0]),
        )

    def test_pictures(self) -> None:
        target = draw(20, 1, 12, 12).sigmoid()
        output = (target + 0.1 * draw(20, 1, 12, 12, seed=1)).clamp(0, 1)
        results = found(output, target, loss="l1")
        error = (output - target).square().mean()
        assert results["psnr"] == pytest.approx(10 * torch.log10(1 / error).item(), abs=1e-4)
        assert results["mae"] == pytest.approx((output - target).abs().mean().item(), abs=1e-5)
        assert results["ssim"] == pytest.approx(ssim(output, target), abs=1e-4)

    @pytest.mark.parametrize("published", [None, 2.0])
    def test_the_range_of_pictures_is_told(self, published: float | None, capsys: Any) -> None:
        """What the data says, else that of the first batch, in a line."""
        target = draw(20, 1, 12, 12).sigmoid()
        output = (target + 0.1 * draw(20, 1, 12, 12, seed=1)).clamp(0, 1)
        made = TensorDataset(output, target)
        if published:
            made.data_range = published  # type: ignore[attr-defined]
        data, model = DInterface(made), MInterface(Same(), loss="l1")
        data.setup()
        data.example(model)
        model.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        model.validation_step([output, target], 0)
        found = model.scores.epoch("val")["val_psnr"].item()
        error = (output - target).square().mean()
        expected = 10 * torch.log10((published or 1.0) ** 2 / error).item()
        assert found == pytest.approx(expected, abs=1e-4)
        assert ("span 1, as the first batch" in capsys.readouterr().out) is (published is None)

    def test_metrics_by_name(self) -> None:
        output, target = draw(60, 4), labels(4, 60)
        assert found(output, target, task="none").keys() == {"loss"}
        results = found(
            output,
            target,
            metrics=["precision"],
            metric_args={"precision": {"average": "macro"}},
        )
        best = output.argmax(1)
        expected = sk.precision_score(target, best, average="macro")
        assert results["precision"] == pytest.approx(expected, abs=1e-5)

    def test_a_metric_that_does_not_fit_is_left_out(self, capsys: Any) -> None:
        results = found(draw(60, 4), labels(4, 60), metrics=["ssim", "confusion_matrix"])
        assert results.keys() == {"loss", "acc", "f1"}
        shown = capsys.readouterr().out
        assert "not measured: ssim: " in shown
        assert "not measured: confusion_matrix: not a number" in shown


def ssim(first: Tensor, second: Tensor) -> float:
    """Structural similarity, https://doi.org/10.1109/TIP.2003.819861; edges are reflected."""
    place = torch.arange(11) - 5
    line = torch.exp(-place.square() / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None].double()
    a, b = (F.pad(x.double(), (5,) * 4, mode="reflect") for x in (first, second))

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, window)

    mu, nu = mean(a), mean(b)
    var, war, cov = mean(a * a) - mu**2, mean(b * b) - nu**2, mean(a * b) - mu * nu
    value = (2 * mu * nu + 1e-4) * (2 * cov + 9e-4)
    return float((value / ((mu**2 + nu**2 + 1e-4) * (var + war + 9e-4))).mean())


class TestTold:
    """What can't be compared, or means something else than it looks like."""

    @pytest.mark.parametrize(
        ("output", "target", "options", "told"),
        [
            (
                draw(8, 3, 6, 6),
                draw(8, 6, 6, 3),
                {"loss": "mse"},
                "3, 6, 6), with the target, float32 (",
            ),
            (draw(8, 3), draw(8), {"loss": "mse"}, "can't compare"),
            (draw(8, 5, 5), labels(5, 8, 5), {}, "--class_axis"),
            (draw(64, 3).softmax(1), labels(3, 64), {}, "ProbabilityLoss"),
            (draw(64, 3), labels(3, 64), {"loss": "nll"}, "--loss cross_entropy"),
            (draw(64, 3).softmax(1), labels(3, 64), {"loss": "nll"}, "ProbabilityLoss"),
            (draw(64, 3), labels(3, 64), {"loss": ProbabilityLoss}, "--loss cross_entropy"),
            (draw(8, 3), labels(2, 8, 3), {}, "--loss bce"),
            (draw(8, 3), draw(8), {}, "can't compare"),
            (draw(8, 3), labels(9, 8) + 3, {}, "3 to"),
            (draw(8, 1), labels(2, 8), {}, "--loss mse"),
            (draw(8, 5, 3).softmax(-1), labels(3, 8, 5), {}, "ProbabilityLoss"),
            (draw(64, 1, 4, 4), 255 * labels(2, 64, 1, 4, 4), {"loss": "bce"}, "by 255"),
            (draw(64), 2 * labels(2, 64) - 1, {"loss": "bce"}, "0 to 1, not -1"),
            (draw(64, 3), labels(3, 64) + 1, {}, "ignore_index"),
            (draw(64, 3), draw(64), {}, "--loss mse"),
        ],
    )
    def test_told(self, output: Tensor, target: Tensor, options: Any, told: str) -> None:
        with pytest.raises(UsageError) as error:
            found(output, target, **options)
        assert told in str(error.value)

    def test_what_is_told_to_type_is_right(self) -> None:
        output, target = draw(60, 4), labels(4, 60)
        expected = found(output, target)
        results = found(output.softmax(1), target, loss=ProbabilityLoss)
        assert results == {name: pytest.approx(value, abs=1e-5) for name, value in expected.items()}
        square, wanted = draw(60, 5, 5), labels(5, 60, 5)
        expected = found(square, wanted, class_axis=1)
        assert found(square.movedim(1, -1), wanted, class_axis=-1) == expected
        assert expected["loss"] == pytest.approx(F.cross_entropy(square, wanted).item(), abs=1e-5)


class TestLosses:
    """Of one's own, and of the network."""

    @staticmethod
    def of(network: nn.Module, batch: Any, loss: Any) -> dict[str, Any]:
        return MInterface(network, loss=loss).step(batch, "train")

    def test_parts(self) -> None:
        def loss(output: Tensor, target: Tensor) -> dict[str, Tensor]:
            return {"a": output.mean(), "b": target.float().mean()}

        step = self.of(Same(), (draw(6, 2), labels(2, 6)), loss)
        assert step["loss"] == step["a"] + step["b"]

    @pytest.mark.parametrize("kind", ["function", "module", "typed"])
    def test_what_makes_a_loss(self, kind: str) -> None:
        """A function without tensors: it is called once, and what it returns is the loss."""

        def function(scale: float = 2.0) -> Any:
            return lambda output, target: scale * F.mse_loss(output, target)

        def module() -> Any:
            return nn.MSELoss()

        def typed(scale: float) -> Any:
            return function(scale)

        makers: dict[str, Callable[..., Any]] = {"function": function, "module": module}
        maker, arguments = makers.get(kind, typed), {"scale": 3.0} if kind == "typed" else {}
        factor = {"function": 2.0, "module": 1.0, "typed": 3.0}[kind]
        output, target = draw(30, 2), draw(30, 2, seed=1)
        results = found(output, target, loss=maker, loss_args=arguments)
        expected = factor * F.mse_loss(output, target).item()
        assert results["loss"] == pytest.approx(expected, abs=1e-5)
        assert ("mae" in results) is (kind == "module")

    def test_what_makes_no_loss(self) -> None:
        with pytest.raises(UsageError, match="takes no tensors and returns no loss"):
            MInterface(Same(), loss=lambda scale=1.0: None)

    def test_a_value_for_each_sample(self) -> None:
        step = self.of(Same(), (draw(6, 2), labels(2, 6)), lambda o, t: o.sum(1))
        assert step["loss"].item() == pytest.approx(draw(6, 2).sum(1).mean().item())

    def test_the_order_that_its_names_tell(self) -> None:
        def mape(y_true: Tensor, y_pred: Tensor) -> Tensor:
            return ((y_true - y_pred) / y_true).abs().mean()

        output, target = draw(6), draw(6, seed=1)
        step = self.of(Same(), (output, target), mape)
        assert step["loss"].item() == pytest.approx(
            ((target - output) / target).abs().mean().item()
        )

    @pytest.mark.parametrize("squeezes", [False, True])
    def test_what_would_broadcast_is_aligned(self, squeezes: bool, capsys: Any) -> None:
        def mse(output: Tensor, target: Tensor) -> Tensor:
            return ((output.squeeze(1) if squeezes else output) - target).square().mean()

        output, target = draw(6, 1), draw(6, seed=1)
        step = self.of(Same(), (output, target), mse)
        expected = (output.flatten() - target).square().mean().item()
        assert step["loss"].item() == pytest.approx(expected)
        assert ("it would broadcast" in capsys.readouterr().out) is not squeezes

    def test_probabilities_of_a_loss_of_ones_own(self) -> None:
        output, target = draw(60).sigmoid(), labels(2, 60)
        results = found(
            output,
            target,
            loss=lambda o, t: F.binary_cross_entropy(o, t.float()),
            task="binary",
        )
        best = (output > 0.5).long()
        assert results["acc"] == pytest.approx((best == target).float().mean().item(), abs=1e-5)

    def test_a_step_of_the_network(self) -> None:
        class System(Same):
            def step(self, batch: Any, stage: str) -> dict[str, Any]:
                return {"loss": self(batch[0]).square(), "count": len(batch[0]), "half": 0.5}

        output = draw(60)
        results = found(output, output, 7, model=System())
        assert results["loss"] == pytest.approx(output.square().mean().item(), abs=1e-5)
        assert results["half"] == 0.5
        assert results["count"] == pytest.approx((56 * 7 + 4 * 4) / 60)

    def test_what_a_step_has_measured_beside_the_output(self) -> None:
        """A baseline by the metrics of the output: 20 dB are an error of a tenth of the range."""

        class System(Same):
            def step(self, batch: Any, stage: str) -> dict[str, Any]:
                zeros = torch.zeros_like(batch[1])
                done = {"loss": self(batch[0]).mean(), "output": batch[0], "target": zeros}
                return done | {"tenth": zeros + 0.1, "twentieth": zeros + 0.05}

        output, target = torch.rand(9, 1, 16, 16), torch.zeros(9, 1, 16, 16)
        results = found(output, target, 4, model=System(), loss="mse", task="image")
        assert results["mae"] == pytest.approx(output.mean().item(), abs=1e-5)
        assert results["psnr_tenth"] == pytest.approx(20, abs=1e-4)
        assert results["psnr_twentieth"] == pytest.approx(26.0206, abs=1e-4)
        assert results["mae_tenth"] == pytest.approx(0.1, abs=1e-5)

    def test_what_is_not_like_the_output_is_told(self) -> None:
        class System(Same):
            def step(self, batch: Any, stage: str) -> dict[str, Any]:
                return {"loss": self(batch[0]).mean(), "output": batch[0], "half": batch[0][:, :1]}

        with pytest.raises(UsageError, match=r"step returned 'half' of shape \(7, 1\): expected"):
            found(draw(20, 3), draw(20, 3), 7, model=System(), loss="mse")

    def test_no_target(self) -> None:
        assert (
            self.of(Same(), draw(6, 2), lambda output: output.mean())["loss"] == draw(6, 2).mean()
        )

    def test_two_views(self) -> None:
        class Twins(nn.Module):
            def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
                return 2 * first, 3 * second

        def loss(first: Tensor, second: Tensor) -> Tensor:
            return (first + second).mean()

        views = draw(6, 2), draw(6, 2, seed=1)
        expected = (2 * views[0] + 3 * views[1]).mean()
        assert self.of(Twins(), views, loss)["loss"] == expected
        step = self.of(Twins(), (views, labels(2, 6)), lambda a, b, c: (a + b + c[:, None]).mean())
        assert step["loss"] == (2 * views[0] + 3 * views[1] + labels(2, 6)[:, None]).mean()

    @pytest.mark.parametrize(
        "form",
        [
            lambda logits, loss: loss,
            lambda logits, loss: (logits, loss),
            lambda logits, loss: (loss, logits),
            lambda logits, loss: {"a": 0.25 * loss, "b": 0.75 * loss},
            lambda logits, loss: {"loss": loss, "logits": logits},
            lambda logits, loss: type("Output", (), {"loss": loss, "logits": logits})(),
        ],
    )
    def test_of_the_network(self, form: Callable[..., Any]) -> None:
        class Own(nn.Module):
            def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
                assert labels is not None
                return form(x, F.cross_entropy(x, labels))

        x, y = draw(6, 3), labels(3, 6)
        for batch in ((x, y), {"x": x, "labels": y}):
            step = self.of(Own(), batch, None)
            assert step["loss"].item() == pytest.approx(F.cross_entropy(x, y).item())
            assert step["target"] is y or (step["target"] == y).all()

    def test_none(self) -> None:
        with pytest.raises(UsageError, match="returned None"):
            self.of(Same(), (draw(6, 2), labels(2, 6)), lambda output, target: None)


DATA = """
    import torch
    from torch.utils.data import TensorDataset

    class Made(TensorDataset):
        num_classes, class_weights = 3, torch.tensor([1.0, 2.0, 9.0])

        def __init__(self, size: int = 101):
            generator = torch.Generator().manual_seed(0)
            x = torch.randn(size, 3, generator=generator)
            super().__init__(x, torch.randint(3, (size,), generator=generator))
    """
NETWORK = """
    import torch
    from torch import nn

    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return x + self.shift
    """


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_processes_and_the_weights_of_the_data(tmp_path: Path, processes: int) -> None:
    """One process or two measure the same, with the weights that the dataset publishes."""
    folder = shutil.copytree(TEMPLATE, tmp_path / "project")
    (folder / "data/made.py").write_text(textwrap.dedent(DATA))
    (folder / "model/same.py").write_text(textwrap.dedent(NETWORK))
    project = Project(folder)
    words = ["--dataset", "made", "--model_name", "same", "--max_epochs", "1", "--lr", "0"]
    words += ["--batch_size", "8", "--lr_scheduler", "null", "--weight_decay", "0"]
    if processes > 1:
        words += ["--devices", "2", "--strategy", "ddp"]
    shown = project.run(*words, python=[] if processes > 1 else None)
    assert "CrossEntropyLoss gets from the data: weight [1.0, 2.0, 9.0]" in shown
    results = json.loads((project.of("made-same") / "metrics.json").read_text())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(101, 3, generator=generator)
    y = torch.randint(3, (101,), generator=generator)
    data = DInterface(TensorDataset(x, y))
    chosen = data.part("test").indices
    x, y = x[chosen], y[chosen]
    assert len(chosen) == 10
    expected = F.cross_entropy(x, y, torch.tensor([1.0, 2.0, 9.0])).item()
    assert results["test_loss"] == pytest.approx(expected, abs=1e-5)
    assert results["test_acc"] == pytest.approx((x.argmax(1) == y).float().mean().item(), abs=1e-5)
    assert results["test_f1"] == pytest.approx(f1(y, x.argmax(1)), abs=1e-5)
