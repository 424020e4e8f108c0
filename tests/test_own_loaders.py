"""LightningModules that bring their loaders along, and what is typed for them."""

import csv
import json
import shutil
import textwrap
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from .command import Project
from .conftest import TEMPLATE

WHOLE = """
    import pytorch_lightning as pl
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset


    def made(size, seed):
        x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
        return TensorDataset(x, x[:, :3].argmax(1))


    class Whole(pl.LightningModule):
        def __init__(self, lr: float = 0.01, size: int = 16):
            super().__init__()
            self.save_hyperparameters()
            self.layer = nn.Linear(4, 3)

        def setup(self, stage):
            assert self.trainer is not None
            if stage == "fit":
                self.train_set, self.val_set = made(80, 0), made(21, 1)
            if stage == "test":
                self.test_set = made(33, 2)

        def forward(self, x):
            return self.layer(x)

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def test_step(self, batch, batch_idx):
            self.log("test_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), self.hparams.lr)

        def train_dataloader(self):
            return DataLoader(self.train_set, self.hparams.size, shuffle=True)

        def val_dataloader(self):
            return DataLoader(self.val_set, self.hparams.size)

        def test_dataloader(self):
            return DataLoader(self.test_set, self.hparams.size)
    """
# One that inherits all that from another file, and one with the least.
CHILD = """
    from model.whole import Whole


    class Child(Whole):
        pass
    """
BARE = """
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader, TensorDataset


    class Bare(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)

        def training_step(self, batch, batch_idx):
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

        def train_dataloader(self):
            return DataLoader(TensorDataset(torch.ones(32, 4)), batch_size=8)
    """
# The rate follows what nobody logs.
PLATEAU = """
    from model.whole import Whole
    from torch.optim import SGD
    from torch.optim.lr_scheduler import ReduceLROnPlateau


    class Plateau(Whole):
        def configure_optimizers(self):
            optimizer = SGD(self.parameters(), 0.1)
            schedule = {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "valid_loss"}
            return {"optimizer": optimizer, "lr_scheduler": schedule}
    """
QUICK = ("--enable_progress_bar", "false", "--enable_model_summary", "false", "--max_epochs")
MODULES = {"whole": WHOLE, "child": CHILD, "bare": BARE, "plateau": PLATEAU}
TOLD = "the loaders are those of {} itself, as no --dataset is typed"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("own") / "project"
    shutil.copytree(TEMPLATE, folder)
    for name, text in MODULES.items():
        (folder / f"model/{name}.py").write_text(textwrap.dedent(text))
    return Project(folder)


def results(project: Project, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.of(name) / "metrics.json").read_text())
    return found


def outputs(project: Project, seed: int, size: int) -> tuple[Tensor, Tensor]:
    """What the best weights make of a set, by hand; and the labels."""
    folder, layer = project.of("whole"), nn.Linear(4, 3)
    weights = torch.load(folder / "checkpoints" / results(project, "whole")["checkpoint"])
    layer.load_state_dict({n.removeprefix("layer."): v for n, v in weights["state_dict"].items()})
    x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
    return layer(x).detach(), x[:, :3].argmax(1)


@pytest.mark.slow
class TestNothingTyped:
    """Its own loaders are the data."""

    def test_a_run_and_what_is_done_with_it(self, project: Project) -> None:
        words = ("--model_name", "whole", "--model.size", "20")
        assert TOLD.format("Whole") in project.run(*words, *QUICK, 2)
        folder = project.of("whole")
        recorded = yaml.safe_load((folder / "config.yaml").read_text())
        assert recorded["dataset"] is None and "batch_size" not in recorded
        assert "data" not in recorded and recorded["model"]["size"] == 20
        output, target = outputs(project, 2, 33)
        expected = pytest.approx(F.cross_entropy(output, target).item(), abs=1e-5)
        assert results(project, "whole")["test_loss"] == expected
        project.run("test", "whole", "--model.size", "7")
        assert (
            json.loads((folder / "metrics-model.size=7.json").read_text())["test_loss"] == expected
        )
        project.run("validate", "whole")
        output, target = outputs(project, 1, 21)
        expected = pytest.approx(F.cross_entropy(output, target).item(), abs=1e-5)
        assert results(project, "whole")["val_loss"] == expected

    def test_predict(self, project: Project) -> None:
        """Lightning's own `predict_step` would call forward with the list of inputs and target."""
        shown = project.run("predict", "whole")
        assert "Whole has no predict_step: its forward is given x of each batch" in shown
        rows = csv.DictReader((project.of("whole") / "predictions.csv").read_text().splitlines())
        output = outputs(project, 2, 33)[0]
        found = [[float(row[f"p_{n}"]) for n in range(3)] for row in rows]
        assert torch.allclose(torch.tensor(found), output.softmax(1), atol=1e-5)

    def test_resume(self, project: Project) -> None:
        assert TOLD.format("Whole") in project.run("--resume", "whole", "--max_epochs", 3)
        epochs = json.loads((project.of("whole") / "run.json").read_text())["epochs"]
        assert epochs == 3

    def test_from_its_options(self, project: Project) -> None:
        words = ("--config", project.of("whole") / "config.yaml", "--name", "again")
        assert TOLD.format("Whole") in project.run(*words, *QUICK, 1)

    def test_loaders_of_a_base_class(self, project: Project) -> None:
        assert TOLD.format("Child") in project.run("--model_name", "child", *QUICK, 1)

    def test_training_alone(self, project: Project) -> None:
        shown = project.run("--model_name", "bare", *QUICK, 1)
        assert TOLD.format("Bare") in shown and "train_loss is not logged" in shown
        assert len([*project.of("bare").glob("checkpoints/epoch=0.ckpt")]) == 1
        told = "there is no data to test; give Bare a test_dataloader"
        assert told in project.run("test", "bare", code=2)

    def test_a_plateau_of_what_is_not_logged(self, project: Project) -> None:
        told = "Plateau.configure_optimizers has a plateau of valid_loss, which is not logged"
        shown = project.run("--model_name", "plateau", *QUICK, 1, code=2)
        assert f"{told}; logged in validation: val_loss" in shown


@pytest.mark.slow
class TestTyped:
    def test_a_dataset(self, project: Project) -> None:
        words = ("--model_name", "bare", "--dataset", "digits", "--fast_dev_run", "true")
        shown = project.run(*words, code=1)
        assert "the loaders of Bare are not used: the data is --dataset digits" in shown

    @pytest.mark.parametrize("option", ["batch_size", "num_workers", "val_fraction", "augment"])
    def test_options_of_other_data(self, project: Project, option: str) -> None:
        shown = project.run("--model_name", "whole", f"--{option}", "1", code=2)
        assert f"--{option}: the chosen classes have no such option" in shown

    def test_null_needs_loaders(self, project: Project) -> None:
        words = ("--dataset", "null", "--model_name", "mlp")
        assert "--dataset is missing; choose of" in project.run(*words, code=2)
        assert TOLD.format("Bare") in project.run(
            "--dataset", "null", "--model_name", "bare", "--fast_dev_run", "true"
        )
