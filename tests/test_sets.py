"""Several sets that validate, test or are predicted, each under its own name."""

import csv
import json
import shutil
import textwrap
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from core.errors import UsageError
from data import DInterface
from model import MInterface

from .command import Project
from .conftest import TEMPLATE

# A training set, and two sets to validate and to test.
DATA = """
    import torch
    from torch.utils.data import TensorDataset


    def made(size, noise, seed):
        generator = torch.Generator().manual_seed(seed)
        y = torch.randint(3, (size,), generator=generator)
        x = torch.nn.functional.one_hot(y, 3) + noise * torch.randn(size, 3, generator=generator)
        return TensorDataset(x, y)


    def sets(split: str = "train"):
        if split == "train":
            return made(96, 0.3, 0)
        if split not in ("val", "test"):
            raise KeyError(split)
        seed = {"val": 1, "test": 2}[split]
        return {"clean": made(21, 0.1, seed), "noisy": made(33, 2.0, seed)}
    """
NETWORK = """
    import torch
    from torch import nn


    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.scale * x
    """
# Ends training before a step, as a bug or a lack of memory would.
FALL = """
    import os
    import pytorch_lightning as pl


    class Fall(pl.Callback):
        def on_train_batch_start(self, trainer, *place):
            if trainer.global_step == int(os.environ.get("FALL", -1)):
                raise RuntimeError(f"in step {trainer.global_step}")
    """


class Same(nn.Module):
    """Returns its input."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def made(size: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (size,), generator=generator)
    return TensorDataset(torch.randn(size, 3, generator=generator), y)


TRAIN, VAL = made(40, 0), [made(11, 1), made(17, 2)]
CLEAN, NOISY = TEST = [made(12, 3), made(18, 4)]
PARTS: dict[str, Any] = {"train": TRAIN, "val": VAL, "test": TEST}


def by_list(split: str = "train") -> Any:
    return PARTS[split]


def by_dict(split: str = "train") -> Any:
    return TRAIN if split == "train" else dict(zip(("clean", "noisy"), PARTS[split], strict=True))


def by_type(split: Literal["train", "val", "val_noisy", "test", "test_noisy"]) -> Any:
    part, _, name = split.partition("_")
    return TRAIN if split == "train" else PARTS[part][name == "noisy"]


class Module(pl.LightningDataModule):
    """As people write them: each part is made in its stage."""

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.train, self.val = TRAIN, dict(zip(("clean", "noisy"), VAL, strict=True))
        if stage == "test":
            self.test = TEST

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, 8)

    def val_dataloader(self) -> Any:
        return {name: DataLoader(one, 4) for name, one in self.val.items()}

    def test_dataloader(self) -> Any:
        return [DataLoader(one, 4) for one in self.test]


def made_of(dataset: Any, **options: Any) -> DInterface:
    return DInterface(dataset, **options)


def trainer() -> pl.Trainer:
    quiet: Any = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary"), False)
    return pl.Trainer(accelerator="cpu", enable_progress_bar=False, **quiet)


def merged(found: Any) -> dict[str, float]:
    return {name: value for metrics in found for name, value in metrics.items()}


def close(found: dict[str, float], stage: str, **sets: Any) -> None:
    """Loss and accuracy by hand; those without a set's name are of the first one."""
    expected = dict[str, float]()
    for name, one in sets.items():
        x, y = one.tensors
        loss, right = F.cross_entropy(x, y), (x.argmax(1) == y).float().mean()
        for prefix in (name, "") if not expected else (name,):
            place = f"{stage}_{prefix}".strip("_")
            expected |= {f"{place}_loss": loss.item(), f"{place}_acc": right.item()}
    assert {n: v for n, v in found.items() if not n.endswith("f1")} == pytest.approx(
        expected, abs=1e-6
    )


class TestNames:
    """Whatever gives the sets."""

    @pytest.mark.parametrize("size", [4, 64])
    def test_of_a_dict(self, size: int) -> None:
        data = made_of(by_dict, batch_size=size)
        model, fit = MInterface(Same()), trainer()
        close(merged(fit.test(model, data, verbose=False)), "test", clean=CLEAN, noisy=NOISY)

    def test_of_a_list(self) -> None:
        data = made_of(by_list, batch_size=4)
        found = merged(trainer().validate(MInterface(Same()), data, verbose=False))
        close(found, "val", **{"0": VAL[0], "1": VAL[1]})

    def test_of_a_type(self) -> None:
        """Names of its `Literal` that begin with those of a part; the first has no other name."""
        data = made_of(by_type, batch_size=4)
        found = merged(trainer().test(MInterface(Same()), data, verbose=False))
        close(found, "test", **{"": CLEAN, "noisy": NOISY})

    def test_of_a_data_module(self) -> None:
        data, model = made_of(Module), MInterface(Same())
        found = merged(trainer().validate(model, data, verbose=False))
        close(found, "val", clean=VAL[0], noisy=VAL[1])
        found = merged(trainer().test(model, data, verbose=False))
        close(found, "test", **{"0": CLEAN, "1": NOISY})

    def test_of_an_interface(self) -> None:
        """`DInterface.part` may be changed."""

        class Own(DInterface):
            def part(self, split: str) -> Any:
                found = super().part(split)
                return {"clean": CLEAN, "noisy": found} if split == "test" else found

        def dataset(split: str) -> Any:
            return {"train": TRAIN, "val": VAL[0], "test": NOISY}[split]

        found = merged(trainer().test(MInterface(Same()), Own(cast(Any, dataset)), verbose=False))
        close(found, "test", clean=CLEAN, noisy=NOISY)

    def test_told(self) -> None:
        data = made_of(by_dict)
        data.setup("fit")
        told = "samples: train 40, val clean 11 and noisy 17 (val_loss is of the first)"
        assert data.parts.told() == told

    def test_one_with_a_name(self) -> None:
        data = made_of(lambda split: {"train": TRAIN, "test": {"clean": CLEAN}}[split])
        found = merged(trainer().test(MInterface(Same()), data, verbose=False))
        close(found, "test", clean=CLEAN)


class TestRefused:
    def test_several_to_train(self) -> None:
        with pytest.raises(UsageError, match="gives 2 sets to train; return one"):
            made_of(lambda split="train": {"a": TRAIN, "b": CLEAN}).part("train")

    def test_the_same_for_validation_and_test(self) -> None:
        """The monitored set must not be the test's."""
        data = made_of(lambda split="train": TRAIN if split == "train" else by_dict("test"))
        assert len(data.part("val")) == 4 and {*data.part("test")} == {"clean", "noisy"}
        assert "same data for val and test" in data.parts.reasons["val"]

    def test_a_step_that_cannot_tell_them_apart(self) -> None:
        class Old(MInterface):
            def test_step(self, batch: Any, batch_idx: int) -> Any:  # type: ignore[override]
                return super().test_step(batch, batch_idx)

        told = "there are several test sets; give Old.test_step dataloader_idx=0, too"
        with pytest.raises(UsageError, match=told):
            trainer().test(Old(Same()), made_of(by_dict), verbose=False)

    def test_a_monitor_of_no_set(self) -> None:
        model = MInterface(Same())
        data = made_of(by_type)
        data.setup("fit")
        data.example(model)
        assert model.higher_is_better("val_noisy_acc") is True
        with pytest.raises(UsageError, match="did you mean 'val_noisy_acc'"):
            model.higher_is_better("val_nosy_acc")


class Drawn(Dataset[Any]):
    """Noise in each sample."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return torch.randn(3), torch.tensor(index % 3)


@pytest.mark.parametrize("size", [2, 5])
def test_evaluation_is_a_function_of_the_sample(size: int) -> None:
    """Two sets that draw alike are measured alike, whatever the size of a batch."""

    def dataset(split: str = "train") -> Any:
        return {"train": TRAIN, "test": {"first": Drawn(), "second": Drawn()}}[split]

    def losses(size: int) -> list[float]:
        data = made_of(dataset, batch_size=size)
        found = merged(trainer().test(MInterface(Same()), data, verbose=False))
        return [found["test_first_loss"], found["test_second_loss"]]

    found = losses(size)
    assert found == pytest.approx(losses(3)) and found[0] == pytest.approx(found[1])


def project_in(folder: Path) -> Project:
    shutil.copytree(TEMPLATE, folder / "project")
    (folder / "project/data/sets.py").write_text(textwrap.dedent(DATA))
    (folder / "project/model/same.py").write_text(textwrap.dedent(NETWORK))
    return Project(folder / "project")


WORDS = ("--dataset", "sets", "--model_name", "same", "--enable_progress_bar", "false")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run(tmp_path: Path, processes: int) -> None:
    """Metrics, outputs and predictions of each set; one process or two."""
    project, space = project_in(tmp_path), dict[str, Any]()
    exec(textwrap.dedent(DATA), space)
    ddp = ("--devices", "2", "--strategy", "ddp", "--accelerator", "cpu")
    words = [*WORDS, "--max_epochs", "2", "--lr", "0", "--batch_size", "4"]
    words += ["--monitor", "val_noisy_acc", "--lr_scheduler", "null"]
    words += ddp if processes > 1 else ()
    shown = project.run(*words, python=[] if processes > 1 else None)
    told = "train 96, val clean 21 and noisy 33 (val_loss is of the first), test clean 21"
    assert told in shown
    folder = project.of("sets-same")
    results = json.loads((folder / "metrics.json").read_text())
    assert results.pop("checkpoint").startswith("epoch=0-val_noisy_acc=")
    best = results.pop("val_noisy_acc")
    tests, val = space["sets"]("test"), space["sets"]("val")["noisy"].tensors
    assert best == pytest.approx((val[0].argmax(1) == val[1]).float().mean().item())
    close(results, "test", **tests)
    outputs = torch.load(folder / "outputs.pt")
    for name, one in tests.items():
        assert torch.equal(torch.stack(outputs[name]["output"]), one.tensors[0])
        assert torch.equal(torch.stack(outputs[name]["target"]), one.tensors[1])
    if processes == 1:
        project.run("predict", "sets-same")
        for name, one in tests.items():
            text = (folder / f"predictions-{name}.csv").read_text()
            rows = [*csv.DictReader(text.splitlines())]
            assert [int(row["prediction"]) for row in rows] == one.tensors[0].argmax(1).tolist()


@pytest.mark.slow
def test_a_cut_changes_nothing(tmp_path: Path) -> None:
    """In the middle of an epoch, with a set that tells the best."""
    project = project_in(tmp_path)
    words = (*WORDS, "--batch_size", "8", "--monitor", "val_noisy_loss", "--max_epochs", "2")
    (project.folder / "callbacks/fall.py").write_text(textwrap.dedent(FALL))
    typed = [*words, "--callbacks+=fall", "--checkpoint_every_n_steps", "1"]
    project.run(*typed, "--name", "whole")
    assert "in step 17" in project.run(*typed, "--name", "cut", code=1, FALL="17")
    assert "going on from" in project.run("--resume", "cut")
    found = [
        torch.load(project.of(name) / "checkpoints/last.ckpt")["state_dict"]
        for name in ("whole", "cut")
    ]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    texts = [(project.of(name) / "metrics.csv").read_text() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
