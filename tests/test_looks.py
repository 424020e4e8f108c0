"""Each look at a test part is counted: `looks.json` at the root of the runs."""

import csv
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from core.runs import looks

from .command import Project
from .conftest import Bake

QUICK = ("--model_name", "mlp", "--max_epochs", "1", "--enable_progress_bar", "false")
DIGITS = {"dataset": "digits", "part": "test", "options": {}}
OTHER = DIGITS | {"options": {"data.image_size": 16}}


class TestFile:
    def test_counts_by_part(self, tmp_path: Path) -> None:
        for part in (DIGITS, OTHER, DIGITS):
            looks.count(tmp_path, part)
        entries = looks.read(tmp_path)
        assert [entry["looks"] for entry in entries] == [2, 1]
        assert [looks.looks(entries, part) for part in (DIGITS, OTHER)] == [2, 1]
        assert looks.looks(entries, DIGITS | {"dataset": "x"}) == 0
        assert looks.looks(entries, None) is None

    def test_words(self, tmp_path: Path) -> None:
        assert looks.told(tmp_path, [None]) == []
        looks.count(tmp_path, DIGITS)
        once = "the test part of digits has been looked at once"
        assert looks.told(tmp_path, [DIGITS, DIGITS, None]) == [once]
        looks.count(tmp_path, OTHER)
        together = "2 test parts of digits have been looked at 2 times"
        assert looks.told(tmp_path, [DIGITS, OTHER]) == [together]

    def test_no_look_is_lost(self, tmp_path: Path) -> None:
        def count() -> None:
            for _ in range(10):
                looks.count(tmp_path, DIGITS)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert looks.read(tmp_path)[0]["looks"] == 40

    @pytest.mark.parametrize("text", ["[{", "{}", "3", "[3]", '[{"looks": "x"}]'])
    def test_a_damaged_file_stays(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "looks.json").write_text(text)
        with pytest.raises(UsageError, match=r"looks\.json is damaged: expected"):
            looks.count(tmp_path, DIGITS)
        assert (tmp_path / "looks.json").read_text() == text


@pytest.fixture(scope="module")
def project(bake: Bake) -> Project:
    """A project with a run."""
    project = Project(bake())
    project.run(*QUICK, "--name", "first")
    return project


@pytest.mark.slow
class TestRuns:
    def counted(self, project: Project) -> dict[str, int]:
        entries: list[dict[str, Any]] = looks.read(project.folder / "runs")
        return {json.dumps(entry["options"]): entry["looks"] for entry in entries}

    def test_fit_and_test(self, project: Project) -> None:
        before = self.counted(project)["{}"]
        project.run("test", "first")
        project.run("test", "first", "--augment", "false")
        assert self.counted(project) == {"{}": before + 2}
        (row,) = csv.DictReader(project.run("runs", "--format", "csv").splitlines())
        assert row["looks"] == str(before + 2)
        times = f"the test part of digits has been looked at {before + 2} times"
        assert times in " ".join(project.run("compare", "first").split())

    def test_other_data_is_another_part(self, project: Project) -> None:
        before = self.counted(project)["{}"]
        words = ("--dataset", "torchvision:FakeData", "--size", "50", "--image_size", "[1,8,8]")
        project.run("test", "first", *words, "--test_fraction", "0.2")
        project.run("test", "first", *words, "--test_fraction", "0.2", "--batch_size", "7")
        project.run("test", "first", *words, "--test_fraction", "0.3")
        entries = looks.read(project.folder / "runs")
        shares = {entry["options"].get("test_fraction"): entry["looks"] for entry in entries}
        assert shares == {None: before, 0.2: 2, 0.3: 1}
        file = project.folder / "runs/looks.json"
        file.write_text(json.dumps([e for e in entries if e["dataset"] == "digits"]))

    def test_what_is_no_look(self, project: Project) -> None:
        """Nothing tested; validation; what a run that goes on has found before."""
        before = self.counted(project)
        project.run(*QUICK, "--limit_test_batches", "0", "--name", "untested")
        project.run(*QUICK, "--fast_dev_run", "true")
        project.run("test", "first", "--limit_test_batches", "0")
        project.run("validate", "first")
        project.run("--resume", "first", code=2)
        file = project.of("first") / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"state": "interrupted"}))
        project.run("--resume", "first")
        assert self.counted(project) == before
        project.run("--resume", "untested", "--max_epochs", "2", "--limit_test_batches", "1.0")
        assert self.counted(project) == {"{}": before["{}"] + 1}
        shutil.rmtree(project.folder / "runs/untested")

    def test_what_can_not_be_written_ends_no_test(self, project: Project) -> None:
        before, runs = self.counted(project), project.folder / "runs"
        (runs / ".looks.lock").unlink()
        (runs / ".looks.lock").mkdir()
        shown = project.run("test", "first")
        assert "this look at the test part is not counted: " in shown and "test_acc" in shown
        (runs / ".looks.lock").rmdir()
        assert self.counted(project) == before
        (runs / "looks.json").write_text("{")
        assert "not counted: runs/looks.json is damaged" in project.run("test", "first")
        assert "looks.json is damaged" in project.run("runs", code=2)
        (runs / "looks.json").unlink()
