"""Whether a difference is more than noise: statistics by hand, and `python main.py compare`."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from commands.compare import compare
from core.errors import UsageError
from core.train.metrics import score_each
from core.train.statistics import (
    Difference,
    mcnemar,
    mean_and_std,
    of_groups,
    of_pairs,
    of_samples,
)
from core.train.tasks import Task


class TestStatistics:
    def test_mcnemar(self) -> None:
        """Of ten samples that flip, nine or more to one side: 2 (1 + 10) / 2^10."""
        first, second = np.repeat([0, 1, 1], [9, 1, 30]), np.repeat([1, 0, 1], [9, 1, 30])
        by_hand = 2 * sum(math.comb(10, k) for k in (0, 1)) / 2**10
        assert mcnemar(first, second) == pytest.approx(by_hand)
        assert mcnemar(second, first) == pytest.approx(by_hand)
        assert mcnemar(first, first) == 1
        assert mcnemar([0, 1], [1, 0]) == 1

    def test_mean_and_std(self) -> None:
        """(1 + 2 + 3 + 6) / 4 = 3, and sqrt((4 + 1 + 0 + 9) / 3)."""
        assert mean_and_std([1, 2, 3, 6]) == (3, pytest.approx(math.sqrt(14 / 3)))
        assert math.isnan(mean_and_std([1.0])[1])

    def test_of_pairs(self) -> None:
        """Differences 1, 2, 3: t with 2 degrees of freedom is 4.302653, the error 1 / sqrt(3)."""
        found = of_pairs([1, 1, 1], [2, 3, 4])
        half = 4.302653 / math.sqrt(3)
        assert (found.value, found.low) == (2, pytest.approx(2 - half, abs=1e-5))
        assert found.high == pytest.approx(2 + half, abs=1e-5) and found.is_noise
        wide = of_pairs([1, 1, 1], [2, 3, 4], overlap=0.5)
        assert wide.high == pytest.approx(2 + 4.302653 * math.sqrt(1 / 3 + 0.5), abs=1e-5)
        assert not of_pairs([1, 1, 1], [12, 13, 14]).is_noise

    def test_of_groups(self) -> None:
        """Variances 1 and 4 of three each: 5 / 3, with (5/3)^2 / (1/18 + 16/18) = 50/17 degrees."""
        found = of_groups([1, 2, 3], [4, 6, 8])
        assert found.value == 4
        quantile = 3.2181  # of 50/17 degrees of freedom, between 4.3027 of 2 and 3.1824 of 3
        assert found.high - 4 == pytest.approx(quantile * math.sqrt(5 / 3), abs=1e-3)

    def test_what_does_not_vary(self) -> None:
        """No noise is seen, so nothing is told from it."""
        for found in (of_pairs([0.9, 0.8], [0.95, 0.85]), of_groups([1.0, 1.0], [2.0, 2.0])):
            assert math.isnan(found.low) and found.is_noise and "not told" in found.told("x")

    def test_words(self) -> None:
        words = "the difference of 0.012 in accuracy (95 % interval -0.004 to 0.028) is not more"
        assert Difference(0.012, -0.004, 0.028).told("accuracy").startswith(words)
        assert Difference(0.1, 0.05, 0.15).told("x").endswith(" is more than noise")
        told = Difference(0.1, 0.05, 0.15, p=0.0625).told("x")
        assert told.endswith("; McNemar's test: p = 0.062) is not more than noise")

    def test_bootstrap(self) -> None:
        """As a t interval, for many values of a bell."""
        rng = np.random.default_rng(1)
        first = rng.normal(size=2000)
        second = first + rng.normal(0.1, 0.5, size=2000)
        found, expected = of_samples(first, second), of_pairs(first, second)
        assert found.value == pytest.approx(expected.value) and found.p is None
        assert found.low == pytest.approx(expected.low, abs=2e-3)
        assert found.high == pytest.approx(expected.high, abs=2e-3)
        assert found == of_samples(first, second), "seeded"


def accuracies(rng: np.random.Generator, size: int, gain: float) -> tuple[Any, Any]:
    """Right or wrong of two networks that are right alike in most samples."""
    hard, luck = rng.random(size), rng.random((2, size))
    return hard < 0.8 + 0.1 * luck[0], hard < 0.8 + 0.1 * luck[1] + gain


def errors(rng: np.random.Generator, size: int, gain: float) -> tuple[Any, Any]:
    """Minus the absolute errors of two, large in the same samples, with a long tail."""
    scale = rng.lognormal(size=size)
    first, second = -np.abs(rng.normal(size=(2, size))) * scale
    return first, second + gain


@pytest.mark.parametrize("draw", [accuracies, errors])
@pytest.mark.parametrize("size", [20, 200])
def test_noise_is_not_taken_for_more(draw: Any, size: int) -> None:
    """Of pairs without a difference at most 8 in 100 are called different."""
    rng = np.random.default_rng(0)
    pairs = [draw(rng, size, 0) for _ in range(400)]
    found = [of_samples(first, second, resamples=500) for first, second in pairs]
    assert sum(not each.is_noise for each in found) <= 0.08 * len(found)


@pytest.mark.parametrize(("draw", "gain"), [(accuracies, 0.1), (errors, 0.6)])
def test_a_difference_is_found(draw: Any, gain: float) -> None:
    rng = np.random.default_rng(0)
    pairs = [draw(rng, 400, gain) for _ in range(50)]
    found = [of_samples(first, second, resamples=500) for first, second in pairs]
    assert sum(not each.is_noise and each.value > 0 for each in found) >= 49


def test_folds_and_seeds_of_no_difference() -> None:
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 5)) for _ in range(1000)]
    for interval in (of_pairs, of_groups):
        assert sum(not interval(*pair).is_noise for pair in pairs) <= 80
    assert not of_pairs(*(pairs[0] * 0.1 + [[0], [5]])).is_noise


def each(task: Task, loss: Any, output: Any, target: Any, **more: Any) -> tuple[str, Any]:
    name, score = score_each(task, loss, torch.tensor(output), torch.tensor(target), **more)
    return name, [pytest.approx(value, nan_ok=True) for value in score.tolist()]


def test_scores_of_samples() -> None:
    cross, bce = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()
    logits = [[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]]
    assert each("classification", cross, logits, [0, 1]) == ("accuracy", [1, 0])
    ignored = each("classification", cross, logits, [0, -100], ignore_index=-100)
    assert ignored == ("accuracy", [1, math.nan])
    assert each("binary", bce, [[1.0], [-1.0], [2.0]], [[1.0], [1.0], [1.0]])[1] == [1, 0, 1]
    assert each("binary", nn.BCELoss(), [0.4, 0.6], [1.0, 1.0])[1] == [0, 1]
    several = each("multilabel", bce, [[1.0, -1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    assert several == ("accuracy", [1, 0.5])
    assert each("regression", nn.MSELoss(), [[1.0], [5.0]], [1.5, 3.0])[1] == [-0.5, -2]
    image = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.25)
    assert score_each("image", nn.L1Loss(), *image)[1].tolist() == [-0.25, -0.25]


def test_iou_of_samples() -> None:
    """Classes 0, 1, 2 of four pixels: told 0 0 1 1, there 0 1 1 void; IoU (1/2 + 1/2) / 2."""
    told, there = torch.tensor([[[0, 0], [1, 1]]]), torch.tensor([[[0, 1], [1, 255]]])
    logits: Tensor = nn.functional.one_hot(told, 3).movedim(-1, 1).float() * 9  # (1, 3, 2, 2)
    loss = nn.CrossEntropyLoss(ignore_index=255)
    name, score = score_each("segmentation", loss, logits, there, ignore_index=255)
    assert (name, score.tolist()) == ("IoU", [0.5])


def make_run(root: Path, name: str, score: list[float], target: list[int], **more: Any) -> Path:
    folder = root / name / "version_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"dataset: digits\nmodel_name: {name}\n")
    (folder / "metrics.json").write_text(json.dumps({"test_acc": sum(score) / len(score)}))
    part = {"dataset": "digits", "part": "test", "options": {}}
    (folder / "run.json").write_text(json.dumps({"state": "finished", "test_part": part}))
    kept: dict[str, Any] = {"score": score, "scored_by": "accuracy", "names": None}
    kept |= {"target": [torch.tensor(t) for t in target], "output": []}
    torch.save(kept | more, folder / "outputs.pt")
    return folder


def make_study(root: Path, name: str, kind: str, values: list[float], **more: Any) -> None:
    members: list[dict[str, Any]] = []
    for number, value in enumerate(values):
        member: dict[str, Any] = {"name": f"{more.get('of', 'seed')}_{number}", "state": "finished"}
        member |= {"folder": f"{root}/{name}/{number}", "metrics": {"test_acc": value}}
        members.append(member | more.get("sizes", {}))
    members += more.get("others", [])
    (root / name).mkdir(parents=True)
    (root / name / "summary.json").write_text(json.dumps({"kind": kind, "members": members}))


class TestCompare:
    @pytest.fixture
    def shown(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
        def shown(*runs: str, format: Any = "markdown") -> str:
            compare(runs=[*runs], format=format, root=str(tmp_path))
            return capsys.readouterr().out

        return shown

    def test_runs(self, tmp_path: Path, shown: Any) -> None:
        """Twelve samples flip to right, one to wrong: p = 2 (1 + 13) / 2^13."""
        first, second = [0.0] * 12 + [1.0] * 88, [1.0] * 12 + [0.0] + [1.0] * 87
        make_run(tmp_path, "a", first, [*range(100)])
        folder = make_run(tmp_path, "b", second, [*range(100)])
        entry = {"dataset": "digits", "part": "test", "options": {}, "looks": 17}
        (tmp_path / "looks.json").write_text(json.dumps([entry]))
        lines = shown("a", "b").splitlines()
        assert "| model_name | a | b |" in lines
        assert (
            "accuracy over the same 100 samples: 0.88 of a/version_0, 0.99 of b/version_0" in lines
        )
        (told,) = (line for line in lines if line.startswith("the difference of 0.11 in accuracy"))
        assert told.endswith("p = 0.0034) is more than noise")
        assert "flipped: 12 samples to right, 1 to wrong: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …" in lines
        assert lines[-1] == "the test part of digits has been looked at 17 times"
        rows = [*csv.reader((folder / "flipped-a-version_0.csv").read_text().splitlines())]
        assert rows[0] == ["sample", "a/version_0", "b/version_0"] and len(rows) == 14
        assert rows[-1] == ["12", "right", "wrong"]
        assert shown("a", "b", format="csv").splitlines() == [
            ",a/version_0,b/version_0",
            "model_name,a,b",
            "test_acc,0.88,0.99",
        ]

    def test_files_that_flipped(self, tmp_path: Path, shown: Any) -> None:
        names = ["cat/0.png", "cat/1.png", "dog/2.png"]
        for name, score in (("a", [1.0, 0.0, 1.0]), ("b", [1.0, 1.0, 0.0])):
            make_run(tmp_path, name, score, [0, 0, 1], names=names)
        assert "flipped: 1 samples to right, 1 to wrong: cat/1.png, dog/2.png\n" in shown("a", "b")

    def test_runs_that_can_not_be_compared(self, tmp_path: Path, shown: Any) -> None:
        make_run(tmp_path, "a", [1.0, 0.0], [0, 1])
        make_run(tmp_path, "b", [1.0, 0.0], [1, 1])
        make_run(tmp_path, "c", [1.0, 0.0, 1.0], [0, 1, 1])
        (make_run(tmp_path, "d", [1.0, 0.0], [0, 1]) / "outputs.pt").unlink()
        for other in ("b", "c"):
            assert "not tested on the same samples: their targets differ\n" in shown("a", other)
        assert "d/version_0 keeps no score of each test sample; type: " in shown("a", "d")
        assert "samples" not in shown("a", "a", "a")

    def test_seeds(self, tmp_path: Path, shown: Any) -> None:
        """Differences 0.01, 0.02, 0.03: 0.02 ± 4.302653 * 0.01 / sqrt(3)."""
        make_study(tmp_path, "a", "seeds", [0.90, 0.92, 0.94])
        make_study(tmp_path, "b", "seeds", [0.91, 0.94, 0.97])
        lines = shown("a", "b").splitlines()
        assert "| test_acc | 0.92 ± 0.02 | 0.94 ± 0.03 |" in lines
        interval = "(95 % interval -0.00484 to 0.0448) is not more than noise"
        assert f"the difference of 0.02 in test_acc {interval}" in lines
        header, row = csv.reader(shown("a", "b", format="csv").splitlines())
        assert header == ["", "a", "a std", "b", "b std"]
        assert [float(value) for value in row[1:]] == pytest.approx([0.92, 0.02, 0.94, 0.03])

    def test_other_seeds_are_no_pairs(self, tmp_path: Path, shown: Any) -> None:
        make_study(tmp_path, "a", "seeds", [1.0, 2.0, 3.0])
        make_study(tmp_path, "b", "seeds", [4.0, 6.0, 8.0], of="other")
        found = of_groups([1, 2, 3], [4, 6, 8])
        assert f"(95 % interval {found.low:.3g} to {found.high:.3g})" in shown("a", "b")

    def test_folds(self, tmp_path: Path, shown: Any) -> None:
        """The variance's factor is 1/3 + 40/100, of Nadeau and Bengio; else 1/3 + 1/2."""
        for sizes, factor in (({"n_test": 40, "n_train": 100}, 0.4), ({}, 0.5)):
            root = tmp_path / f"{factor}"
            make_study(root, "a", "kfold", [0.90, 0.92, 0.94], sizes=sizes)
            failed = {"name": "seed_3", "folder": "", "state": "failed", "metrics": {}}
            make_study(root, "b", "kfold", [0.91, 0.94, 0.97], sizes=sizes, others=[failed])
            half = 4.302653 * 0.01 * math.sqrt(1 / 3 + factor)
            text = shown(str(root / "a"), str(root / "b"))
            assert f"interval {0.02 - half:.3g} to {0.02 + half:.3g}) is not" in text
            assert "the folds share training data, for which the intervals allow" in text
            assert ("is not written down" in text) is (not sizes)
            assert "b: seed_3 not finished, left out" in text

    def test_other_folds(self, tmp_path: Path, shown: Any) -> None:
        """Of other data nothing is said; the options that differ are shown."""
        for name, seed in (("a", 0), ("b", 1)):
            make_study(tmp_path, name, "kfold", [0.90, 0.92, 0.94])
            (tmp_path / name / "study.json").write_text(
                json.dumps({"options": {"split_seed": seed, "lr": 0.1}})
            )
            for member in json.loads((tmp_path / name / "summary.json").read_text())["members"]:
                folder = Path(member["folder"])
                folder.mkdir(parents=True, exist_ok=True)
                part = {"dataset": "x", "part": "test", "options": {"split_seed": seed}}
                (folder / "run.json").write_text(json.dumps({"test_part": part}))
        text = shown("a", "b")
        assert "| split_seed | 0 | 1 |" in text and "| lr |" not in text
        assert "the studies were not tested on the same data" in text and "noise" not in text
        (tmp_path / "b" / "summary.json").unlink()
        with pytest.raises(UsageError, match="b has not ended; type its command again to go on"):
            shown("a", "b")

    def test_studies_that_can_not_be_compared(self, tmp_path: Path, shown: Any) -> None:
        make_study(tmp_path, "a", "seeds", [0.9])
        make_study(tmp_path, "b", "sweep", [0.9, 0.8])
        make_run(tmp_path, "c", [1.0, 0.0], [0, 1])
        assert "| test_acc | 0.9 ± nan | 0.9 ± nan |" in shown("a", "a")
        assert "difference" not in shown("a", "a")
        with pytest.raises(UsageError, match=r"the runs of b \(sweep\) differ in their options"):
            shown("a", "b")
        with pytest.raises(UsageError, match="a is a study; compare it with another study"):
            shown("a", "c")
