"""Repositories in the layouts that people drop in as they are, each written here in its shape."""

import csv
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from .command import Project
from .conftest import TEMPLATE

pytestmark = pytest.mark.slow

ONCE = ("--fast_dev_run", "true", "--enable_progress_bar", "false")
NET = """
    from torch import nn

    class {name}(nn.Module):
        def __init__(self, {parameters}):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), {layers})

        def forward(self, x):
            return self.layers(x)
    """


def net(name: str, parameters: str = "num_classes=10", layers: str = "", before: str = "") -> str:
    """The source of a network that takes the digits."""
    layers = layers or "nn.Linear(64, num_classes)"
    text = NET.format(name=name, parameters=parameters, layers=layers)
    return textwrap.dedent(before) + textwrap.dedent(text)


class Dropped(Project):
    """A copy of the project, and what is dropped into it."""

    def add(self, **files: str) -> "Dropped":
        """Writes files: `model__pack__net` is model/pack/net.py."""
        for name, text in files.items():
            parts = ["__init__" if part == "init" else part for part in name.split("__")]
            file = self.folder.joinpath(*parts).with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return self

    def made(self, *words: object) -> str:
        """What `--model_name …` trains: the line of what the data told it, or nothing."""
        shown = self.run("--model_name", *words, *ONCE)
        lines = [line for line in shown.splitlines() if "gets from the data" in line]
        return lines[0] if lines else ""


@pytest.fixture
def project(tmp_path: Path) -> Dropped:
    return Dropped(Path(shutil.copytree(TEMPLATE, tmp_path / "project")))


class TestWhichObject:
    """The object that a file or folder was dropped in for."""

    def test_a_single_file(self, project: Dropped) -> None:
        """Its class, whatever it is called, if no other uses it; functions that do count, too."""
        helper = net("Block", "size", "nn.Linear(size, size)")
        maker = "\ndef blocks(size):\n    return nn.Sequential(Block(size))\n"
        text = helper + maker + net("Whole", layers="blocks(64), nn.Linear(64, num_classes)")
        train = "\ndef train():\n    return Whole()\n"
        assert "Whole gets from the data: num_classes 10" in project.add(
            model__single=text + train
        ).made("single")

    def test_relative_imports(self, project: Dropped) -> None:
        """A package with an `__init__` that passes the network on."""
        project.add(
            model__pack__init="from .models.net import Whole\n",
            model__pack__models__init="",
            model__pack__models__net="from ..blocks import Block\n"
            + net("Whole", layers="Block(64), nn.Linear(64, num_classes)"),
            model__pack__blocks=net("Block", "size", "nn.Linear(size, size)"),
        )
        assert project.made("pack").startswith("Whole")

    @pytest.mark.parametrize("has_init", [True, False])
    def test_a_clone(self, project: Dropped, has_init: bool) -> None:
        """Without `__init__`, or with an empty one, and imports from where the clone begins."""
        before = "from models.blocks import Block\n"
        project.add(
            model__clone__models__net=net(
                "Whole", layers="Block(64), nn.Linear(64, num_classes)", before=before
            ),
            model__clone__models__blocks=net("Block", "size", "nn.Linear(size, size)"),
            model__clone__train="import argparse\nargs = argparse.ArgumentParser().parse_args()\n",
            model__clone__tests__test_net="from models.net import Whole\nWhole()\n",
        )
        if has_init:
            project.add(model__clone__init="", model__clone__models__init="")
        for name in ("clone", "clone:Whole", "clone.models.net", "clone.models.net:Whole"):
            assert project.made(name).startswith("Whole"), name
        shown = project.run("--model_name", "clone.models.nett", code=2)
        assert "there is no model/clone/models/nett.py; did you mean 'clone.models.net'" in shown
        shown = project.run("--model_name", "clone:Wholes", code=2)
        assert "model/clone has no 'Wholes'; did you mean 'Whole'?" in shown

    def test_several_networks_are_listed(self, project: Dropped) -> None:
        """With the file that each is in."""
        project.add(model__zoo__a=net("First"), model__zoo__deep__b=net("Second"))
        shown = project.run("--model_name", "zoo", code=2)
        assert "model/zoo has no class Zoo; choose one of: zoo.a:First, zoo.deep.b:Second" in shown

    def test_factory_only(self, project: Dropped) -> None:
        """A function that makes the network."""
        text = """
            from torch import nn

            def _head(num_classes):
                return nn.Linear(64, num_classes)

            def build_model(num_classes):
                return nn.Sequential(nn.Flatten(), _head(num_classes))
            """
        assert project.add(model__factory=text).made("factory").startswith("build_model")

    def test_factory_before_a_class_that_nobody_can_make(self, project: Dropped) -> None:
        """But after one whose arguments the data tells."""
        cell = net("Cell", "size", "nn.Linear(size, size)")
        stacked = net("Stacked", "cell, num_classes=10", "cell(64), nn.Linear(64, num_classes)")
        maker = "\ndef stacked(num_classes):\n    return Stacked(Cell, num_classes)\n"
        project.add(model__stacked=cell + stacked + maker)
        assert project.made("stacked").startswith("stacked gets")
        maker = "\ndef plain(num_classes):\n    raise AssertionError\n"
        assert project.add(model__plain=net("Plain") + maker).made("plain").startswith("Plain")

    def test_reexport(self, project: Dropped) -> None:
        """A file that only passes on what stands elsewhere means that."""
        project.add(
            model__short="from torch import nn\nfrom model.long_name.net import Whole\n",
            model__long_name__net=net("Whole"),
            model__theirs="from torchvision.models import squeezenet1_0 as wanted\n",
        )
        assert project.made("short").startswith("Whole")
        shown = project.run("--model_name", "theirs", "--help")
        assert "\nwanted: " in shown

    def test_classes_as_arguments(self, project: Dropped) -> None:
        """By a name of the network's file, of the chosen file, or in full."""
        body = net("Built", "block, act, num_classes", "block(), act(), nn.Linear(64, num_classes)")
        project.add(
            model__built="from model.parts.inner import Built\nfrom model.parts.more import Same\n",
            model__parts__inner=body + net("Own", "", "nn.Identity()"),
            model__parts__more=net("Same", "", "nn.Identity()"),
        )
        for block in ("Own", "Same", "nn.Identity", "model.parts.more.Same"):
            words = ("--block", block, "--act", "torch.nn.modules.activation.ReLU")
            assert project.made("built:Built", *words).startswith("Built")
        words = ("--act", "nn.ReLU", "--block", "nn.Idenity")
        shown = project.run("--model_name", "built:Built", *words, code=2)
        assert "--block nn.Idenity: there is no such name" in shown

    def test_a_function_of_helpers(self, project: Dropped) -> None:
        """A network that is a function, as lucidrains writes some."""
        text = """
            from torch import nn

            class Residual(nn.Module):
                def __init__(self, dim, fn):
                    super().__init__()
                    self.fn = fn

                def forward(self, x):
                    return self.fn(x) + x

            def FeedForward(dim):
                return Residual(dim, nn.Linear(dim, dim))

            def Mixer(num_classes):
                return nn.Sequential(nn.Flatten(), FeedForward(64), nn.Linear(64, num_classes))
            """
        project.add(model__odd_name=text)
        assert project.made("odd_name").startswith("Mixer")

    def test_what_a_folder_exports(self, project: Dropped) -> None:
        """`import *` takes what `__all__` names; a function is found in any file."""
        maker = "\n__all__ = ['small']\ndef small(num_classes):\n    return Whole(num_classes)\n"
        project.add(
            model__zoo__init="from .nets import *\n",
            model__zoo__nets=net("Whole", "num_classes") + maker,
            model__zoo__more="def other(num_classes):\n    from .nets import Whole\n"
            "    return Whole(num_classes)\n",
        )
        assert project.made("zoo:small").startswith("small")
        assert project.made("zoo:other").startswith("other")
        assert project.made("zoo:Whole").startswith("Whole")

    def test_names_that_are_paths(self, project: Dropped) -> None:
        project.add(model__mine=net("Mine"))
        (project.folder / "model/mine.py").rename(project.folder / "model/mine_v1.0.py")
        assert "rename it" in project.run("--model_name", "mine_v1.0", code=2)
        for name in ("mlp.py", "model/mlp.py"):
            assert "did you mean 'mlp'?" in project.run("--model_name", name, code=2)

    def test_keywords_that_are_passed_on(self, project: Dropped) -> None:
        """As timm does; and where the source does not tell, what the data knows is told."""
        body = net("Net", "num_classes=3, in_chans=1")
        passed = (
            "\ndef _create(**kwargs):\n    return Net(**kwargs)\n"
            "\ndef net_small(**kwargs):\n    args = dict(in_chans=1, **kwargs)\n"
            "    return _create(**args)\n"
        )
        unknown = "\ndef any_net(name='a', **kwargs):\n    return {'a': Net}[name](**kwargs)\n"
        project.add(model__net_small=body + passed, model__any_net=body + unknown)
        assert project.made("net_small") == "net_small gets from the data: num_classes 10"
        words = ("--model_name", "any_net", "--loss", "my.loss")
        project.add(my="def loss(output, target):\n    return output.square().mean()\n")
        assert "type --model.num_classes 10" in project.run(*words, *ONCE)
        project.run("--model_name", "any_net", "--model.num_classes", "10", *ONCE)


class TestNeighbours:
    """Each file or folder finds its own."""

    SCALER = "class Scaler:\n    name = {name!r}\n\ndef scaled(x):\n    return x\n"
    DATA = """
        import torch
        from torch.utils.data import TensorDataset

        import tools
        from utils.scalers import Scaler

        class {name}(TensorDataset):
            num_classes = 3

            def __init__(self):
                super().__init__(torch.rand(60, 1, 8, 8), torch.arange(60) % 3)

            def __getitem__(self, index):
                import utils.scalers
                from utils.scalers import Scaler as again
                assert utils.scalers.Scaler is again is Scaler
                assert (Scaler.name, tools.name) == ("{scaler}", "{tools}")
                return super().__getitem__(index)
        """

    def test_two_repositories(self, project: Dropped) -> None:
        """That bring helpers of the same name, also in processes that load data."""
        asserted = """
            from utils import scalers
            import tools

            assert (scalers.Scaler.name, tools.name) == ("{0}", "{1}")
            """
        project.add(
            model__first__net=net("First", before=asserted.format("model first", "model")),
            model__second__net=net("Second", before=asserted.format("model second", "own")),
            model__first__utils__scalers=self.SCALER.format(name="model first"),
            model__second__utils__scalers=self.SCALER.format(name="model second"),
            model__second__tools="name = 'own'\n",
            model__tools="name = 'model'\n",
            data__third__set=self.DATA.format(name="Third", scaler="data third", tools="data"),
            data__third__utils__scalers=self.SCALER.format(name="data third"),
            data__tools="name = 'data'\n",
            data__fourth=self.DATA.format(name="Fourth", scaler="data", tools="data"),
            data__utils__scalers=self.SCALER.format(name="data"),
        )
        assert project.made("first").startswith("First")
        for dataset in ("third", "fourth"):
            project.run("--model_name", "second", "--dataset", dataset, "--num_workers", "2", *ONCE)

    def test_spawned_processes(self, project: Dropped) -> None:
        """Python's other ways to start workers."""
        project.add(
            data__third__set=self.DATA.format(name="Third", scaler="data third", tools="data"),
            data__third__utils__scalers=self.SCALER.format(name="data third"),
            data__tools="name = 'data'\n",
            spawned="""
                import multiprocessing
                from data import DInterface

                if __name__ == "__main__":
                    multiprocessing.set_start_method("spawn")
                    data = DInterface("third", num_workers=1)
                    print(next(iter(data.train_dataloader()))[0].shape)
                """,
        )
        done = subprocess.run(
            [sys.executable, "spawned.py"], cwd=project.folder, capture_output=True, text=True
        )
        assert "[48, 1, 8, 8]" in done.stdout, done.stderr

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("from data.missing import x", "'data.missing', which is not there"),
            ("import torchvision.nothing", "which the installed torchvision does not have"),
            ("import nosuch", "copy nosuch.py beside it, or type: uv add nosuch"),
            ("from ..above import x", "a relative import leads out of its folder"),
        ],
    )
    def test_what_is_missing(self, project: Dropped, line: str, told: str) -> None:
        project.add(model__mine=net("Mine", before=f"{line}\n"))
        assert told in project.run("--model_name", "mine", code=2)

    def test_installed_packages_keep_their_names(self, project: Dropped) -> None:
        before = "import json\nimport torchmetrics\nassert json.loads and torchmetrics.Metric\n"
        project.add(
            model__torchmetrics="raise AssertionError\n",
            model__json="raise AssertionError\n",
            model__mine=net("Mine", before=before),
        )
        assert project.made("mine").startswith("Mine")


class TestPrograms:
    """A file that would be a program when it is imported is told; nothing of it has run."""

    WRITES = "open('written.txt', 'w').close()\n"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("import argparse\np = argparse.ArgumentParser()\nargs = p.parse_args()\n", 3),
            ("import sys\nwidth = int(sys.argv[1])\n", 2),
            ("def options():\n    return parser.parse_args()\n\nargs = options()\n", 4),
            ("def main():\n    loss = 1\n    loss.backward()\n\nmain()\n", 5),
            ("for epoch in range(3):\n    for x in []:\n        x.backward()\n", 1),
            ("import torchvision\ndata = torchvision.datasets.MNIST('.', download=True)\n", 2),
            ("from urllib import request\nrequest.urlretrieve('http://x', 'y')\n", 2),
            ("import requests\nfound = requests.get('http://x')\n", 2),
            ("class Solver:\n    def fit(self):\n        self.x.backward()\n\nSolver().fit()\n", 5),
            ("import pytorch_lightning as pl\ntrainer = pl.Trainer()\ntrainer.fit(None)\n", 3),
            ("if True:\n    while True:\n        optimizer.step()\n", 1),
            ("class Config:\n    args = parser.parse_args()\n", 1),
            ("class C:\n    def __init__(self):\n        parser.parse_args()\n\nC()\n", 5),
            ("import sys\nFLAGS(sys.argv)\n", 2),
            ("import click\n@click.command()\ndef cli():\n    pass\n\ncli()\n", 6),
        ],
    )  # fmt: skip
    def test_told(self, project: Dropped, text: str, line: int) -> None:
        project.add(model__program=text + self.WRITES + net("Program"))
        shown = project.run("--model_name", "program", code=2)
        assert f"model/program.py is a program: line {line} (" in shown
        assert 'under if __name__ == "__main__":' in shown and len(shown.splitlines()) == 1
        assert not (project.folder / "written.txt").exists()
        assert not (project.folder / "runs").exists()

    @pytest.mark.parametrize(
        "text",
        [
            "import argparse\nargs = argparse.ArgumentParser().parse_args([])\n",
            "def main():\n    parser.parse_args()\n\nif __name__ == '__main__':\n    main()\n",
            "import warnings, sys\nwarnings.filterwarnings('ignore')\nsys.path.append('.')\n",
            "try:\n    import apex\nexcept ImportError:\n    apex = None\n",
            "class A:\n    def update(self):\n        x.backward()\n\nD = {}\nD.update(a=1)\n",
            "import sys\nif sys.version_info < (3, 6):\n    sys.exit(1)\n",
            "import sys\nif len(sys.argv) > 1 and sys.argv[1] == 'debug':\n    pass\n",
            "ON = True\nif __name__ == '__main__' and ON:\n    parser.parse_args()\n",
            "MODELS = {'a': dict(pretrained=True, url='x')}\n",
        ],
    )  # fmt: skip
    def test_not_told(self, project: Dropped, text: str) -> None:
        assert project.add(model__fine=text + net("Fine")).made("fine").startswith("Fine")

    def test_of_a_neighbour_a_loss_a_callback_and_a_dataset(self, project: Dropped) -> None:
        program = "import argparse\n\nargs = argparse.ArgumentParser().parse_args()\n"
        project.add(
            model__pack__net=net("Net", before="from options import args\n"),
            model__pack__options=program,
            model__uses__net=net(
                "Net", before="from opts import Options\nopt = Options().parse()\n"
            ),
            model__uses__opts="class Base:\n    def parse(self):\n        return p.parse_args()\n"
            "\nclass Options(Base):\n    pass\n",
            my_loss=program + "def loss(output, target):\n    return output.sum()\n",
            callbacks__mine=program + "class Mine: ...\n",
            data__mine=program + "class Mine: ...\n",
        )
        for words, file in {
            ("--model_name", "pack.net"): "model/pack/options.py",
            ("--model_name", "uses"): "model/uses/net.py",
            ("--model_name", "mlp", "--loss", "my_loss.loss"): "my_loss.py",
            ("--model_name", "mlp", "--callbacks+=mine"): "callbacks/mine.py",
            ("--model_name", "mlp", "--dataset", "mine"): "data/mine.py",
        }.items():
            assert f"error: {file} is a program: line " in project.run(*words, code=2)


DATA = """
    import torch
    from torch.utils.data import TensorDataset

    class Data(TensorDataset):
        scale, hidden, classes = 0.5, 3, ("a", "b", "c")

        def __init__(self, shape: list[int]):
            super().__init__(torch.rand(60, *shape), torch.arange(60) % 3)
    """


class TestWhatFillsWhat:
    """The data tells a network what it has no default for, and what is known."""

    @pytest.mark.parametrize(
        ("shape", "parameters", "layer", "told"),
        [
            ("[2,9]", "in_channels, num_classes=9", "nn.Conv1d(in_channels, num_classes, 9)",
             "in_channels 2, num_classes 3"),
            ("[2,3,4,5]", "in_chans=7, n_classes=9", "nn.Conv3d(in_chans, n_classes, (3, 4, 5))",
             "in_chans 2, n_classes 3"),
            ("[5]", "input_size, num_classes", "nn.Linear(input_size, num_classes)",
             "input_size 5, num_classes 3"),
            ("[2,4]", "input_dim=784, n_classes=10",
             "nn.Sequential(nn.Flatten(), nn.Linear(input_dim, n_classes))",
             "input_dim 8, n_classes 3"),
            ("[1,6,6]", "img_size, n_channels, num_classes",
             "nn.Sequential(nn.Conv2d(n_channels, num_classes, img_size))",
             "img_size 6, n_channels 1, num_classes 3"),
            ("[3,6,6]", "img_size: tuple, num_classes, num_channels=(4,)",
             "nn.Sequential(nn.Flatten(), nn.Linear(3 * img_size[0] * img_size[1], num_classes))",
             "img_size [6, 6], num_classes 3"),
            ("[4]", "input_size, output_size, hidden=8, scale=1.0",
             "nn.Sequential(nn.Linear(input_size, hidden), nn.Linear(hidden, output_size))",
             "input_size 4, output_size 3"),
        ],
    )  # fmt: skip
    def test_filled(
        self, project: Dropped, shape: str, parameters: str, layer: str, told: str
    ) -> None:
        text = net("Net", parameters, "nn.Identity()").replace("nn.Flatten(), nn.Identity()", layer)
        text = text.replace("self.layers(x)", "self.layers(x).flatten(1)")
        project.add(model__net=text, data__data=DATA)
        shown = project.made("net", "--dataset", "data", "--shape", shape)
        assert shown == f"Net gets from the data: {told}"

    def test_recurrent(self, project: Dropped) -> None:
        """The last dimension of the input."""
        text = """
            from torch import nn

            class Net(nn.Module):
                def __init__(self, input_size, num_classes):
                    super().__init__()
                    self.rnn = nn.GRU(input_size, 8, batch_first=True)
                    self.head = nn.Linear(8, num_classes)

                def forward(self, x):
                    return self.head(self.rnn(x)[0][:, -1])
            """
        project.add(model__net=text, data__data=DATA)
        shown = project.made("net", "--dataset", "data", "--shape", "[24,7]")
        assert shown == "Net gets from the data: input_size 7, num_classes 3"

    @pytest.mark.parametrize(
        ("parameters", "layer"),
        [
            ("channels", "nn.Sequential(nn.Conv2d(3, channels, 3), nn.Flatten())"),
            ("num_channels", "nn.Linear(3, num_channels[-1] * len(num_channels))"),
        ],
    )
    def test_a_width_is_not_filled(self, project: Dropped, parameters: str, layer: str) -> None:
        text = net("Net", parameters, "nn.Identity()").replace("nn.Flatten(), nn.Identity()", layer)
        project.add(model__net=text, data__data=DATA)
        words = ("--model_name", "net", "--dataset", "data", "--shape", "[3,6,6]")
        assert f"Net needs {parameters}; type --model.{parameters}" in project.run(*words, code=2)

    def test_what_nobody_can_know_is_asked_for(self, project: Dropped) -> None:
        project.add(model__net=net("Net", "input_size, config, name"), data__data=DATA)
        words = ("--model_name", "net", "--dataset", "data", "--shape", "[24,7]")
        told = "type --model.input_size VALUE --model.config VALUE --model.name VALUE"
        assert told in project.run(*words, code=2)

    def test_what_was_typed_holds(self, project: Dropped) -> None:
        assert project.add(model__net=net("Net")).made("net", "--num_classes", "12") == ""

    def test_a_data_module(self, project: Dropped) -> None:
        """Of Lightning: its loaders are used as they are."""
        project.add(data__module="""
            import torch
            import pytorch_lightning as pl
            from torch.utils.data import DataLoader, TensorDataset

            class Module(pl.LightningDataModule):
                num_classes = 3

                def __init__(self, batch_size: int = 20):
                    super().__init__()
                    self.batch_size = batch_size

                def setup(self, stage):
                    labels = torch.arange(60) % 3
                    self.made = TensorDataset(torch.rand(60, 1, 8, 8), labels)

                def train_dataloader(self):
                    return DataLoader(self.made, self.batch_size)

                val_dataloader = test_dataloader = train_dataloader
            """)  # fmt: skip
        words = ("--dataset", "module", "--model_name", "mlp", "--data.batch_size", "30")
        shown = project.run(*words, "--max_epochs", "1", "--log_every_n_steps", "1")
        assert "num_classes 3" in shown and "the loaders are those of Module" in shown
        text = (project.of("module-mlp") / "metrics.csv").read_text()
        steps = [row for row in csv.DictReader(text.splitlines()) if row["train_loss_step"]]
        assert len(steps) == 2, "batches of 30"
        project.run("test")
        project.run("predict")
        rows = (project.of("module-mlp") / "predictions.csv").read_text().splitlines()
        assert len(rows) == 61
        project.run("--resume", "--max_epochs", "2")


class TestTextStaysText:
    """What is typed for a parameter without type and default."""

    @pytest.mark.parametrize("text", ["data/train.csv", "./raw", "../x", "data", "torch", "a.csv"])
    def test_of_a_dataset(self, project: Dropped, text: str) -> None:
        body = (
            DATA.replace("shape: list[int]", "root")
            .replace("*shape", "1, 8, 8")
            .replace("super()", f"assert root == {text!r}, root\n            super()")
        )
        project.add(data__data=body, data__torch="raise AssertionError")
        project.run("--model_name", "mlp", "--dataset", "data", "--root", text, *ONCE)

    @pytest.mark.parametrize("text", ["weights/net.pt", "relu", "nn", "a.b", "data"])
    def test_of_a_network(self, project: Dropped, text: str) -> None:
        before = f"import data\n\n\ndef check(x):\n    assert x == {text!r}\n    return 64\n"
        body = net("Net", "path, num_classes", "nn.Linear(check(path), num_classes)", before)
        assert project.add(model__net=body).made("net", "--path", text).startswith("Net")

    def test_configs(self, project: Dropped) -> None:
        """A mapping has attributes where the network asks for them."""
        body = net(
            "Net",
            "configs",
            "nn.Linear(configs.sizes.width, configs.num_classes)",
        )
        words = ("--model_name", "net", *ONCE)
        project.add(model__net=body)
        project.run(*words, "--configs", "{sizes: {width: 64}, num_classes: 10}")
        shown = project.run(*words, code=2)
        form = "'{sizes: VALUE, num_classes: VALUE}'"
        assert f"Net needs configs; type --model.configs {form}" in shown
        shown = project.run(*words, "--configs", "{num_classes: 10}", code=2)
        assert "configs has no 'sizes'; add sizes: VALUE to it" in shown

    @pytest.mark.parametrize(
        ("before", "parameter"),
        [
            ("class Config:\n    width: int = 3\n    num_classes: int = 10\n", "config: Config"),
            ("class Config:\n    width: int = 64\n    num_classes: int = 9\n", "config: 'Config'"),
            ("class Config:\n    width: int = 64\n", "config: Config | None = None"),
            ("class Config:\n    num_classes: int = 10\n    width: int = 4\n",
             "config: Config = Config()"),
        ],
    )  # fmt: skip
    def test_a_dataclass(self, project: Dropped, before: str, parameter: str) -> None:
        before = "from dataclasses import dataclass\n\n@dataclass(frozen=True)\n" + before
        before = before.replace(" 64\n", " 64\n    num_classes: int = 10\n", "9" not in before)
        body = net("Net", parameter, "nn.Linear(config.width, config.num_classes)", before)
        project.add(model__net=body)
        project.run("--model_name", "net", "--model.config", "{width: 64, num_classes: 10}", *ONCE)
        shown = project.run("--model_name", "net", "--model.config", "{depth: 1}", code=2)
        assert "--config: " in shown and "'depth'" in shown

    def test_a_namespace(self, project: Dropped) -> None:
        body = net(
            "Net",
            "args: argparse.Namespace",
            "nn.Linear(vars(args)['width'], args.num_classes)",
            "import argparse\n",
        )
        words = ("--model_name", "net", "--args", "{width: 64, num_classes: 10}")
        project.add(model__net=body).run(*words, *ONCE)
        shown = project.run("--model_name", "net", "--args.width", "64", code=2)
        assert "type --args '{width: 64}'" in shown

    @pytest.mark.parametrize("parameter", ["act", "act=None", "act: Callable | None = None"])
    def test_a_class(self, project: Dropped, parameter: str) -> None:
        """Of a parameter that is called; what is no such name is told."""
        body = net(
            "Net",
            f"{parameter}, num_classes=10" if "=" in parameter else "act, num_classes",
            "(act or nn.ReLU)() if act is None else act(), nn.Linear(64, num_classes)",
            "from typing import Callable\n",
        )
        project.add(model__net=body)
        for name in ("nn.Tanh", "Tanh", "torch.nn.Tanh"):
            project.run("--model_name", "net", "--act", name, *ONCE)
        for name in ("nn.Tahn", "Tahn"):
            shown = project.run("--model_name", "net", "--act", name, code=2)
            assert f"--act {name}: there is no such name; did you mean 'Tanh'?" in shown
        if parameter == "act":
            assert "type --model.act CLASS" in project.run("--model_name", "net", code=2)

    def test_a_member(self, project: Dropped) -> None:
        before = "import enum\n\nclass Norm(enum.Enum):\n    LAYER = 'layer'\n    BATCH = 'batch'\n"
        layers = "nn.Linear({Norm.LAYER: 64}[norm], num_classes)"
        body = net("Net", "norm: Norm = Norm.BATCH, num_classes=10", layers, before)
        project.add(model__net=body)
        for name in ("LAYER", "layer"):
            project.run("--model_name", "net", "--norm", name, *ONCE)
        shown = project.run("--model_name", "net", "--norm", "layr", code=2)
        assert "--norm layr: no member of Norm; did you mean 'LAYER'?" in shown


class TestBareNames:
    """An option without a section is the project's, where that has an effect."""

    def test_name_and_mode(self, project: Dropped) -> None:
        body = (
            DATA.replace("shape: list[int]", "mode='fast'")
            .replace("*shape", "1, 8, 8")
            .replace("super()", "assert mode == 'fast'\n            super()")
        )
        before = "def check(name):\n    assert name == 'relu'\n    return 64\n"
        network = net(
            "Net", "name='relu', num_classes=1", "nn.Linear(check(name), num_classes)", before
        )
        project.add(model__net=network, data__data=body)
        words = ("--model_name", "net", "--dataset", "data", "--max_epochs", "1")
        project.run(*words, "--name", "trial", "--mode", "max")
        config = yaml.safe_load((project.of("trial") / "config.yaml").read_text())
        assert (config["name"], config["mode"]) == ("trial", "max")
        assert (config["model"]["name"], config["data"]["mode"]) == ("relu", "fast")
        assert "assert name == 'relu'" in project.run(*words, "--model.name", "gelu", code=1)

    def test_of_a_lightning_module(self, project: Dropped) -> None:
        """Its `lr` is its own, and what would have no effect is told."""
        project.add(model__own="""
            import torch
            import pytorch_lightning as pl

            class Own(pl.LightningModule):
                def __init__(self, lr=0.5):
                    super().__init__()
                    self.save_hyperparameters()
                    self.layer = torch.nn.Linear(64, 10)

                def training_step(self, batch, batch_idx):
                    return self.layer(batch[0].flatten(1)).logsumexp(1).mean()

                def validation_step(self, batch, batch_idx):
                    self.log("val_loss", self.training_step(batch, batch_idx))

                def configure_optimizers(self):
                    return torch.optim.SGD(self.parameters(), self.hparams.lr)
            """)  # fmt: skip
        words = ("--model_name", "own", "--max_epochs", "1", "--name")
        for name, more, lr in (("a", (), 0.5), ("b", ("--lr", "0.25"), 0.25)):
            project.run(*words, name, *more)
            config = yaml.safe_load((project.of(name) / "config.yaml").read_text())
            assert config["model"].get("lr", 0.5) == lr and "lr" not in config
            rows = csv.DictReader((project.of(name) / "metrics.csv").read_text().splitlines())
            assert {float(row["lr-SGD"]) for row in rows if row.get("lr-SGD")} == {lr}
        for option in ("--optimizer", "--loss", "--warmup_steps", "--loss_args.weight"):
            shown = project.run(*words, "c", option, "3", code=2)
            assert "Own is a LightningModule, which does that by itself" in shown
        assert "No `test_step()` method" in project.run("test", "--run", "b", code=2)

    def test_config_of_a_network(self, project: Dropped) -> None:
        project.add(model__net=net("Net", "config, num_classes", "nn.Linear(config, num_classes)"))
        shown = project.run("--model_name", "net", "--config", "64", code=2)
        assert "--config 64: No such file or directory; " in shown and "--model.config" in shown
        project.run("--model_name", "net", "--model.config", "64", *ONCE)
