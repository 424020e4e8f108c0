"""The table of epochs."""

import csv

import pytest

from .command import Project
from .conftest import Bake


@pytest.mark.slow
def test_a_line_an_epoch(bake: Bake) -> None:
    """What metrics.csv holds of each, with four digits."""
    project = Project(bake())
    words = ("--model_name", "mlp", "--max_epochs", "3", "--callbacks+=table", "--name", "t")
    shown = project.run(*words).splitlines()
    start = next(n for n, line in enumerate(shown) if line.startswith("epoch "))
    names = shown[start].split()[1:]
    assert {"train_loss", "val_loss", "val_acc"} <= {*names}
    logged = [*csv.DictReader((project.of("t") / "metrics.csv").read_text().splitlines())]
    for epoch, line in enumerate(shown[start + 1 : start + 4]):
        for name, text in zip(names, line.split()[1:], strict=True):
            values = [row[name] for row in logged if row["epoch"] == str(epoch) and row[name]]
            assert text == f"{float(values[-1]):.4g}"
