"""Networks that begin with published weights of torchvision or timm; the files are made here."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models import resnet18

from core.errors import UsageError
from core.train import pretrained
from core.train.pretrained import AsPublished, of_torchvision
from model import MInterface

from .command import Project
from .conftest import Bake

# A user's own data: pictures from PIL, one of them grey, and what they may be made of.
SHADES = """
from PIL import Image
from torch.utils.data import Dataset


class Shades(Dataset):
    num_classes = 3
    in_channels = 1  # before the transform

    def __init__(self, transform=None):
        self.transform = transform

    def __len__(self):
        return 30

    def __getitem__(self, index):
        picture = Image.new("L", (40, 30), index % 3 * 100)
        return self.transform(picture), index % 3
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache as if ResNet-18's weights had been downloaded."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "hub/checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), folder / "hub/checkpoints/resnet18-f37072fd.pth")
    return folder


@pytest.fixture
def published(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is in it."""
    monkeypatch.setenv("TORCH_HOME", str(hub))
    return torch.load(hub / "hub/checkpoints/resnet18-f37072fd.pth")


@pytest.mark.parametrize(
    "words",
    [{"pretrained": True}, {"weights": "DEFAULT"}, {"weights": "ResNet18_Weights.IMAGENET1K_V1"}],
)
def test_all_but_the_head(words: dict[str, Any], published: Any) -> None:
    """Other classes: the last layer is new, all else is as published."""
    network: Any = of_torchvision(resnet18, **words, num_classes=7)
    found = network.state_dict()
    assert found["fc.weight"].shape == (7, 512)
    assert all(torch.equal(found[n], v) for n, v in published.items() if n[:3] != "fc.")
    assert network.begins_with == "resnet18 begins with the weights IMAGENET1K_V1; new: fc"


def test_the_same_classes(published: Any) -> None:
    """The head is published, too."""
    for count in (None, 1000):
        found = of_torchvision(resnet18, pretrained=True, num_classes=count).state_dict()
        assert all(torch.equal(found[name], value) for name, value in published.items())


def test_other_channels(published: Any) -> None:
    """One has the sum of the colours; the fourth of four is red again; all are scaled."""
    colours = published["conv1.weight"]
    one: Any = of_torchvision(resnet18, pretrained=True, in_channels=1)
    torch.testing.assert_close(one.conv1.weight, colours.sum(1, keepdim=True))
    four: Any = of_torchvision(resnet18, pretrained=True, in_channels=4)
    torch.testing.assert_close(four.conv1.weight[:, 3], colours[:, 0] * 0.75)
    torch.testing.assert_close(four.conv1.weight[:, 1], colours[:, 1] * 0.75)
    assert four.conv1.stride == (2, 2) and four.conv1.padding == (3, 3) and four.conv1.bias is None


def test_not_pretrained() -> None:
    """Without weights it is torchvision's network, from the same seed the same."""
    torch.manual_seed(1)
    expected = resnet18(num_classes=4).state_dict()
    torch.manual_seed(1)
    found = MInterface("torchvision:resnet18", {"num_classes": 4}).net.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("create", "words", "told"),
    [
        ("resnet18", {"weights": "IMAGENET1K_V2"}, "did you mean 'IMAGENET1K_V1'"),
        ("resnet18", {"weights": 3}, "choose one of: IMAGENET1K_V1, DEFAULT"),
        ("mnasnet0_5", {"pretrained": True, "num_classes": 2}, None),
        ("vit_b_32", {"pretrained": True, "image_size": 64}, "expected value 224 but got 64"),
    ],
)
def test_weights_that_are_not(
    create: str, words: dict[str, Any], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is none, and an argument that the weights have otherwise."""
    target = getattr(torchvision.models, create)
    own = target().state_dict()
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *a, **k: own)
    if told is None:
        network: Any = of_torchvision(target, **words)
        assert network.classifier[1].out_features == 2
    else:
        with pytest.raises(UsageError, match=told):
            of_torchvision(target, **words)


def test_a_transform_of_pictures_alone() -> None:
    """What masks would have to go through, too, is told and not offered."""
    target = "torchvision.models.segmentation:lraspp_mobilenet_v3_large"
    transform, text = pretrained._transform(target, {"pretrained": True})
    assert transform is None
    assert text == "mean [0.485, 0.456, 0.406], deviation [0.229, 0.224, 0.225]"
    assert pretrained._transform("torch.nn:Linear", {"pretrained": True}) == (None, "")


def test_grey_pictures() -> None:
    """Of PIL or a tensor, they get three colours before the library's transform."""
    transform = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    grey = AsPublished(transform)(Image.new("L", (300, 260), 51))
    assert grey.shape == (3, 224, 224)
    expected = torch.tensor([(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(grey[:, 100, 100], expected)
    torch.testing.assert_close(AsPublished(transform)(torch.full((1, 260, 300), 0.2)), grey)


class TestCommand:
    """As typed."""

    @pytest.fixture
    def project(self, bake: Bake) -> Project:
        """One with pictures, which take a transform."""
        folder = bake()
        (folder / "data/shades.py").write_text(SHADES)
        return Project(folder)

    FIT = (
        *("--model_name", "torchvision:resnet18", "--dataset", "shades", "--pretrained", "true"),
        *("--max_epochs", "1", "--batch_size", "8", "--callbacks", "[]", "--name", "own"),
    )

    def test_a_run(self, project: Project, hub: Path) -> None:
        """It trains, is used again with the same transform, and says from what it begins."""
        shown = project.run(*self.FIT, TORCH_HOME=str(hub))
        assert "Shades gets the transform of the weights: (3, 224, 224), mean [0.485" in shown
        assert "gets from the data: num_classes 3, in_channels 3" in shown
        assert "resnet18 begins with the weights IMAGENET1K_V1; new: fc" in shown
        shown = project.run("predict", "own", TORCH_HOME=str(hub))
        assert "gets the transform of the weights" in shown and "begins with" not in shown
        shown = project.run(*self.FIT, "--dataset=digits", "--batch_size=9", TORCH_HOME=str(hub))
        assert "expect pictures (3, 224, 224)" in shown and "Digits gives its own" in shown
        assert "conv1 takes in_channels 1" in shown

    def test_no_network(self, project: Project, tmp_path: Path) -> None:
        """Weights that are not there and can't be downloaded are told in a line."""
        nowhere = {"TORCH_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
        *_, last = project.run(*self.FIT, code=2, **nowhere).strip().splitlines()
        assert last.startswith("error: --model_name torchvision:resnet18: no weights could be")
        assert not project.of("own").exists()

    def test_timm(self, project: Project, tmp_path: Path) -> None:
        """Its own `pretrained`, with the transform of its weights."""
        timm = pytest.importorskip("timm")
        file = tmp_path / "weights.pth"
        torch.save(timm.create_model("test_resnet").state_dict(), file)
        words = (
            "--model_name",
            "timm:test_resnet",
            "--pretrained_cfg_overlay",
            f"{{file: {file}}}",
        )
        shown = project.run(*self.FIT, *words)
        assert "Shades gets the transform of the weights: (3, 160, 160)" in shown
        assert "test_resnet gets from the data: num_classes 3, in_chans 3" in shown
        saved = torch.load(project.of("own") / "checkpoints/last.ckpt")["state_dict"]
        assert saved["net.fc.weight"].shape[0] == 3
