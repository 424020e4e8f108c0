"""The examples: each trains as it is typed, is small, and is named in the README."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from .command import Project
from .conftest import TEMPLATE, Bake

EXAMPLES = sorted(
    f.relative_to(TEMPLATE / "examples").as_posix() for f in TEMPLATE.glob("examples/*/*.yaml")
)
QUICK = (
    *("--max_epochs", "1", "--limit_train_batches", "2", "--limit_val_batches", "1"),
    *("--limit_test_batches", "1", "--enable_progress_bar", "false"),
)
STUDENT = ("--config", "examples/classification/distillation_2.yaml", "--max_epochs", "2")


def chosen(example: str) -> dict[str, Any]:
    """What its file says."""
    found: dict[str, Any] = yaml.safe_load((TEMPLATE / "examples" / example).read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def project(bake: Bake) -> Project:
    """A project in which the first stage of each example is done."""
    project = Project(bake())
    for example in EXAMPLES:
        if "name" in chosen(example):
            project.run("--config", f"examples/{example}", *QUICK)
    return project


@pytest.mark.parametrize("example", EXAMPLES)
def test_is_small(example: str) -> None:
    """A dataset and a network in files of at most 110 lines; a comment with the command."""
    content = chosen(example)
    for folder, key in (("data", "dataset"), ("model", "model_name")):
        file = TEMPLATE / folder / f"{content[key].partition(':')[0]}.py"
        if content[key] not in ("resnet", "image_folder"):
            assert file.read_text("utf-8").count("\n") <= 110
    text = (TEMPLATE / "examples" / example).read_text("utf-8")
    assert f"python main.py --config examples/{example}" in text
    assert f"`{example.removesuffix('.yaml')}`" in (TEMPLATE / "README.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_trains(project: Project, example: str) -> None:
    """As it is typed, for two steps, and tests."""
    shown = project.run("--config", f"examples/{example}", *QUICK, "--name", f"one/{example[:-5]}")
    assert "Results in" in shown
    assert ("tensors taken from" in shown) == ("init_from" in chosen(example))


@pytest.mark.slow
def test_distillation(project: Project) -> None:
    """No checkpoint holds the teacher; a run that goes on finds it, and refuses another."""
    words = (*QUICK[2:], "--lr_scheduler", "null")
    project.run(*STUDENT, *words, "--name", "whole")
    project.run(*STUDENT, *words, "--max_epochs", "1", "--name", "cut")
    saved = torch.load(project.of("cut") / "checkpoints/last.ckpt", weights_only=True)
    sizes = [value.numel() for value in saved["state_dict"].values()]
    assert not [name for name in saved["state_dict"] if "teacher" in name]
    # a student of 64-32-10: weights and biases, batch norm's two, and its two means and a count
    assert sum(sizes) == 64 * 32 + 32 + 32 * 2 + 32 * 2 + 1 + 32 * 10 + 10
    moments = saved["optimizer_states"][0]["state"]
    assert sum(m["exp_avg"].numel() for m in moments.values()) == 64 * 32 + 32 + 64 + 320 + 10
    [teacher] = (project.of("distillation_1") / "checkpoints").glob("epoch*.ckpt")
    kept = teacher.read_bytes()
    other = torch.load(teacher, weights_only=True)
    other["state_dict"]["net.layers.1.weight"] += 1
    torch.save(other, teacher)
    resumed = ("--resume", "cut", "--max_epochs", "2")
    shown = project.run(*resumed, code=2)
    assert "--teacher distillation_1: its weights are not those that taught this run" in shown
    teacher.write_bytes(kept)
    project.run(*resumed)
    ends = [
        torch.load(project.of(n) / "checkpoints/last.ckpt", weights_only=True)
        for n in ("cut", "whole")
    ]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
    teacher.unlink()
    project.run("test", "whole")  # which needs no teacher
    shown = project.run(*STUDENT, *words, "--model.teacher", "nosuch", code=2)
    assert "there is no run nosuch" in shown


@pytest.mark.slow
def test_begin_from_in_a_study(project: Project) -> None:
    """The runs of a study begin with the same weights, and its options say so; null is another."""
    words = ("seeds", "--num", "1", "--config", "examples/classification/transfer_2.yaml", *QUICK)
    project.run(*words, "--name", "warm")
    folder = project.folder / "runs/warm"
    assert yaml.safe_load((folder / "seed_0/config.yaml").read_text())["init_from"] == "transfer_1"
    first, own = (weights(f) for f in (project.of("transfer_1"), folder / "seed_0"))
    assert torch.equal(first["net.layers.1.weight"], own["net.layers.1.weight"])  # frozen
    project.run(*words, "--name", "warm", "--init_from", "null", "--freeze", "null")
    assert not torch.equal(
        first["net.layers.1.weight"],
        weights(project.folder / "runs/warm-1/seed_0")["net.layers.1.weight"],
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a run's best checkpoint."""
    name = json.loads((folder / "metrics.json").read_text())["checkpoint"]
    found: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / name, weights_only=True)[
        "state_dict"
    ]
    return found


@pytest.mark.slow
def test_frozen_is_not_counted_as_trained(project: Project) -> None:
    """In the table of layers; 64 * 256 + 256 and batch norm's 512 rest, of 84,741."""
    shown = project.run("--config", "examples/classification/transfer_2.yaml", *QUICK)
    assert "frozen: 17,152 of 84,741 parameters" in shown and "Trainable params: 67.6 K" in shown
