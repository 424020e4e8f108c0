"""What is done with whole batches of training, by name."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from core.errors import UsageError
from core.train.batch_transforms import BatchTransforms
from data import DInterface
from model import MInterface

CLASSES = 3
LABELS = torch.tensor([0, 1, 2, 1, 0, 2, 2, 1])
PLACE = (0, 0, 0)


def one_hot_pictures(size: int = 6) -> Tensor:
    """(8, 3, H, W): a picture of each label, whose channels are what its label is as shares."""
    shares = F.one_hot(LABELS, CLASSES).float()
    return shares[:, :, None, None].expand(-1, -1, size, size).clone()


class Pictures(TensorDataset):
    """Eight of them; with `num_classes`."""

    def __init__(self, target: Tensor = LABELS) -> None:
        super().__init__(one_hot_pictures(), target)
        self.num_classes = CLASSES


class Net(nn.Module):
    """Logits of the mean of each channel."""

    def __init__(self, outputs: int = CLASSES) -> None:
        super().__init__()
        self.head = nn.Linear(3, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, outputs)."""
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Seen(pl.Callback):
    """Keeps what the steps are given."""

    def __init__(self) -> None:
        self.train: list[Any] = []
        self.val: list[Any] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Of training."""
        self.train.append(batch)

    def on_validation_batch_start(self, trainer: pl.Trainer, *about: Any) -> None:
        """Of validation, and its rehearsal."""
        self.val.append(about[1])


class Halved:
    """One of your own, for the whole batch."""

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = factor

    def __call__(self, batch: Any) -> Any:
        """The pictures alone."""
        return batch[0] * self.factor, batch[1]


def by_hard_labels(output: Tensor, target: Tensor) -> Tensor:
    """A loss of one's own that takes no shares."""
    return -output.log_softmax(1).gather(1, target[:, None]).mean()


def applied(batch: Any, *names: str, place: Any = PLACE, **arguments: dict[str, Any]) -> Any:
    """A batch transformed, without a network."""

    def known(name: str) -> list[int]:
        return [CLASSES] * (name == "num_classes")

    return BatchTransforms([*names], arguments, object(), known)(batch, place)


def fit(
    chosen: list[str], net: nn.Module | None = None, target: Tensor = LABELS, **options: Any
) -> Seen:
    """Trains an epoch of two batches."""
    pl.seed_everything(0, verbose=False)
    seen, arguments = Seen(), options.pop("arguments", None)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = DInterface(
        Pictures(target),
        batch_size=2,
        val_fraction=0.25,
        test_fraction=0.25,
        batch_transforms=chosen,
        batch_transform_args=arguments,
    )
    trainer.fit(MInterface(net or Net(), **options), data)
    return seen


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
@pytest.mark.parametrize("form", ["tuple", "names"])
def test_labels_are_mixed_as_pictures_are(name: str, form: str) -> None:
    """Each picture's mean is what its label is; of a batch in any form."""
    x = one_hot_pictures(16)
    batch: Any = (x, LABELS) if form == "tuple" else {"x": x, "label": LABELS, "id": [*"abcdefgh"]}
    found = applied(batch, name)
    x, y = found if form == "tuple" else (found["x"], found["label"])
    assert y.shape == (8, CLASSES) and ((y > 0) & (y < 1)).any()
    assert torch.allclose(x.mean((2, 3)), y, atol=1e-5)
    assert type(x) is type(y) is Tensor
    assert form == "tuple" or found["id"] == [*"abcdefgh"]


def test_one_of_both_is_drawn() -> None:
    """MixUp's pictures are even, CutMix's are of two parts; a fair coin gives both in 20 draws."""
    drawn = set()
    for step in range(20):
        x, _ = applied((one_hot_pictures(), LABELS), "MixUp", "CutMix", place=(0, step, 0))
        drawn.add(bool(((x > 0.01) & (x < 0.99)).any()))
    assert drawn == {True, False}


def test_arguments() -> None:
    """A large alpha mixes halves, to five standard deviations: 0.5 ± 5 · 0.5 / sqrt(20001)."""
    _, y = applied((one_hot_pictures(), LABELS), "MixUp", MixUp={"alpha": 10000.0})
    assert torch.allclose(y, (2 * y).round() / 2, atol=0.018)
    x, _ = applied((one_hot_pictures(), LABELS), "Normalize", Normalize={"mean": [1], "std": [2]})
    assert torch.allclose(x, (one_hot_pictures() - 1) / 2)


def test_each_sample_has_a_draw_of_its_own() -> None:
    """Some are flipped, some not, and each with its mask; the labels stay."""
    x = torch.rand(32, 1, 4, 4)
    masks, labels = (x[:, 0] > 0.5).long(), torch.arange(32)
    flipped, moved, same = applied((x, masks, labels), "RandomHorizontalFlip")
    is_same = (flipped == x).flatten(1).all(1)
    assert 0 < is_same.sum() < 32
    assert torch.equal(flipped[~is_same], x[~is_same].flip(-1))
    assert torch.equal(moved, (flipped[:, 0] > 0.5).long()) and torch.equal(same, labels)


def test_colours_leave_masks() -> None:
    """As they are; and samples differ."""
    x, masks = torch.full((16, 3, 4, 4), 0.5), torch.ones(16, 4, 4, dtype=torch.long)
    brighter, same = applied((x, masks), "ColorJitter", ColorJitter={"brightness": 0.5})
    assert torch.equal(same, masks) and len(brighter[:, 0, 0, 0].unique()) == 16


def test_pictures_of_two_sizes_move_alike() -> None:
    """As for super-resolution."""
    x = torch.rand(16, 3, 4, 4)
    large = F.interpolate(x, scale_factor=2)
    x, large = applied((x, large), "RandomVerticalFlip", "RandomHorizontalFlip")
    assert torch.equal(F.interpolate(x, scale_factor=2), large)


def test_a_function_of_the_place() -> None:
    """The same at one, another at another; also on another process."""
    batch = torch.rand(8, 3, 6, 6), LABELS
    names, crop = ("RandomCrop", "MixUp", "CutMix"), {"size": 6, "padding": 2}
    found = [
        applied(batch, *names, place=p, RandomCrop=crop) for p in (PLACE, (0, 1, 0), (0, 0, 1))
    ]
    torch.rand(7)
    again = applied(batch, *names, place=PLACE, RandomCrop=crop)
    assert all(map(torch.equal, found[0], again))
    assert not torch.equal(found[0][0], found[1][0]) and not torch.equal(found[0][0], found[2][0])


def test_training_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """With the classes that the data tells; it is said how the metrics take it."""
    seen = fit(["MixUp"], loss="cross_entropy")
    assert [y.shape for _, y in seen.train] == [(2, CLASSES)] * 2
    assert len(seen.val) == 2 and all(y.dtype == torch.int64 for _, y in seen.val)
    shown = capsys.readouterr().out
    assert "each batch of training: MixUp; of a mixed label" in shown


def test_your_own() -> None:
    """Gets and returns the whole batch."""
    name = f"{__name__}.Halved"
    seen = fit([name], arguments={"Halved": {"factor": 0.25}})
    assert all(x.max() == 0.25 for x, _ in seen.train) and all(x.max() == 1 for x, _ in seen.val)


def test_several_labels_at_once() -> None:
    """Shares of each are what binary cross entropy takes."""
    target = torch.tensor([[1, 0, 1], [0, 1, 1]] * 4)
    seen = fit(["CutMix"], target=target, loss="bce")
    assert all(y.shape == (2, 3) for _, y in seen.train)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["MixUp"], {"loss": "nll"}, "MixUp: makes labels shares.*NLLLoss.*type --loss cross_ent"),
        (["MixUp"], {"loss": by_hard_labels}, "MixUp: makes labels shares.*by_hard_labels"),
        (["MixUp"], {"loss_args": {"ignore_index": 2}}, "CrossEntropyLoss with its arguments does"),
        (["MixUp"], {"loss": "mse"}, "MixUp: mixes labels of classes, and MSELoss compares values"),
        (
            ["MixUp"],
            {"loss": "bce", "net": Net(1), "target": LABELS % 2},
            "one output; with two outputs, type --loss cross_entropy",
        ),
        (["RandomCrop"], {}, "RandomCrop needs size"),
        (["RandomCorp"], {}, "did you mean 'RandomCrop'"),
        (
            ["MixUp"],
            {"arguments": {"MixUp": {"alpha": -1}}},
            "MixUp: Expected parameter conc[^\n]*$",
        ),
    ],
)
def test_told_before_the_first_step(
    names: list[str], options: dict[str, Any], message: str
) -> None:
    """In a line, by what is wrong."""
    with pytest.raises(UsageError, match=message):
        fit(names, **options)


@pytest.mark.parametrize(
    ("name", "batch", "message"),
    [
        (
            "MixUp",
            (torch.rand(8, 5), LABELS),
            r"takes pictures \(B, C, H, W\); a batch holds float32",
        ),
        ("MixUp", (one_hot_pictures(), LABELS.float()), r"the target is float32 \(8,\)"),
        ("MixUp", (one_hot_pictures(), LABELS * 2), "Class values must be smaller"),
        (
            "MixUp",
            (one_hot_pictures(), torch.ones(8, 6, 6).long()),
            r"the target is int64 \(8, 6, 6\)",
        ),
        ("MixUp", {"x": one_hot_pictures(), "boxes": torch.rand(8, 4)}, "more than these"),
        ("MixUp", object(), "a batch holds a object"),
        ("RandomHorizontalFlip", (one_hot_pictures(), torch.rand(8, 2, 4)), "can't move float32"),
        ("ColorJitter", (one_hot_pictures() * 3, LABELS), "takes pictures of 0 to 1, not 0 to 3"),
        ("ColorJitter", (one_hot_pictures(), one_hot_pictures()), "the target is one, too"),
        ("RandomZoomOut", (one_hot_pictures(), LABELS), "gives samples several sizes, such as"),
        ("ToPILImage", (one_hot_pictures(), LABELS), "ToPILImage: "),
    ],
)
def test_told_of_a_batch(name: str, batch: Any, message: str) -> None:
    """In a line, in place of what torchvision raises."""
    with pytest.raises(UsageError, match=message):
        for step in range(9):
            applied(batch, name, place=(0, step, 0))
