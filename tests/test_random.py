"""Random command lines: none ends in an error of this project's own code."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.cli.command_line import parse
from core.cli.options import Options
from core.cli.source import literals
from main import OWNERS

from .command import Project
from .conftest import TEMPLATE

FEW, MANY = 100, 2000
NETWORKS = {
    "mlp": ["--model.hidden_sizes", "[8]"],
    "resnet": ["--model.width", "4"],
    "vit": ["--model.dim", "8", "--model.depth", "1", "--model.num_heads", "2"],
}
FIXED = [
    *("--max_steps", "2", "--limit_val_batches", "1", "--limit_test_batches", "1"),
    *("--enable_progress_bar", "false", "--callbacks", "[early_stopping,finite_loss,speed]"),
]
# What would take long, need other hardware, or is another command's subject.
LEFT_OUT = re.compile(
    r"trainer\.(devices|num_nodes|accelerator|strategy|max_|min_|limit_(val|test)|default_root|"
    r"profiler|plugins|logger|callbacks|enable_progress|model_registry|benchmark|precision|"
    r"detect_anomaly|overfit|val_check|num_sanity|fast_dev_run|barebones)|model\.(dim|depth|width|num_classes|"
    r"hidden|num_heads)|data.(image_size|in_channels)|speed\.compile|resume|init_from|callbacks|loggers|num_workers|profile|"
    r"auto_batch|dataset|model_name|name$|param_groups|checkpoint\.(dirpath|train_time)|metrics$|batch_transforms$"
)
LISTS = {
    "loss": ["cross_entropy", "mse", "l1", "bce", "nll", "huber", "smooth_l1", "kl_div", "null"],
    "optimizer": ["adamw", "sgd", "adam", "rmsprop", "adagrad", "nadam", "lion"],
    "lr_scheduler": ["cosine", "step", "plateau", "one_cycle", "exponential", "linear", "null"],
    "monitor": ["val_loss", "val_acc", "train_loss", "val_mae", "null", "nothing"],
}
OPTIONS: Options = parse(["fit", "--model_name", "mlp"], OWNERS)


def values(key: str, kind: Any) -> st.SearchStrategy[str]:
    """What might be typed for an option of a type."""
    if key in LISTS:
        return st.sampled_from(LISTS[key])
    found: list[st.SearchStrategy[str]] = []
    text = str(kind)
    if named := [*literals(kind)]:
        found.append(st.sampled_from([str(value) for value in named]))
    if "bool" in text:
        found.append(st.sampled_from(["true", "false"]))
    if "int" in text:
        found.append(st.sampled_from(["0", "1", "2", "3", "-1", "7"]))
    if "float" in text:
        found.append(st.sampled_from(["0", "0.1", "0.5", "1", "1e-3", "-0.1"]))
    if "None" in text or "Optional" in text:
        found.append(st.just("null"))
    if not found or "list" in text:
        found.append(st.sampled_from(["x", "[1,2]", "0.5", "null"]))
    return st.one_of(found)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command line."""
    network = draw(st.sampled_from(sorted(NETWORKS)))
    words = ["--model_name", network, *NETWORKS[network], *FIXED]
    known = {k: p for k, p in OPTIONS.known().items() if not LEFT_OUT.match(k)}
    known = {k: p for k, p in known.items() if not k.startswith("model.") or network == "mlp"}
    for key in draw(st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True)):
        words += [f"--{key}", draw(values(key, known[key].type))]
    return words


def check(tmp_path: Path, count: int) -> None:
    """Types so many lines."""
    project = Project(shutil.copytree(TEMPLATE, tmp_path / "project"))
    trained: list[bool] = []
    wrong: list[str] = []

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(lines())
    def each(words: list[str]) -> None:
        process = project.start(*words, OMP_NUM_THREADS="1")
        shown = process.communicate(timeout=300)[0]
        typed = " ".join(words)
        frames = re.findall(r'File "(.+?)", line', shown)
        ends_here = frames and Path(frames[-1]).is_relative_to(project.folder)
        if process.returncode not in (0, 1, 2) or ends_here:
            wrong.append(f"{typed}\n{shown[-1500:]}")
        trained.append(process.returncode == 0)

    each()
    assert not wrong, "\n\n".join(wrong)
    assert len(trained) >= count * 0.9 and sum(trained) >= len(trained) / 2
    assert os.path.exists(project.folder / "runs")


@pytest.mark.slow
def test_random_lines(tmp_path: Path) -> None:
    """A hundred of them."""
    check(tmp_path, FEW)


@pytest.mark.chaos
def test_many_random_lines(tmp_path: Path) -> None:
    """Two thousand."""
    check(tmp_path, MANY)
