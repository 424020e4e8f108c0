"""Many runs, one answer: folds, seeds, sweeps and ablations, whatever kills them."""

import contextlib
import csv
import functools
import json
import os
import random
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch.utils.data import Dataset

from core.errors import UsageError
from core.runs.tables import table
from core.train.folds import classes_of, fold_of
from core.train.search import distribution
from core.train.trials import Trial, open_storage
from data import DInterface

from .command import Project, until
from .conftest import Bake
from .test_runs import differences, load

MLP = ("--model_name", "mlp", "--callbacks", "[early_stopping]")


LONG = ("--max_epochs", "400", "--stop_early", "false")
FOLDS = (*MLP, "--folds", "3", "--max_epochs", "3", "--keep", "all")


@pytest.fixture(scope="module")
def project(bake: Bake) -> Project:
    return Project(bake())


@pytest.fixture(scope="module")
def peace(project: Project) -> Path:
    project.run("kfold", *FOLDS, "--name", "peace", "--jobs", "2")
    return project.folder / "runs/peace"


def content(part: Any) -> set[bytes]:
    return {part[i][0].numpy().tobytes() for i in range(len(part))}


class Known(Dataset[Any]):
    """Numbers 0 to 29: of three classes, and of twelve groups."""

    labels: list[int]
    groups: list[int]

    def __init__(self, publishes: tuple[str, ...] = ("labels", "groups"), rare: int = 0) -> None:
        self.x = torch.arange(30.0)[:, None]
        y = [index % 3 for index in range(30 - rare)] + [3] * rare
        known = {"labels": y, "groups": [(7 * index) % 12 for index in range(30)]}
        self.y = torch.tensor(y)
        vars(self).pop("y") if "labels" not in publishes else None
        self.classes_ = y
        for name in publishes:
            setattr(self, name, known[name])

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        return self.x[index], self.classes_[index]


class TestFolds:
    @pytest.mark.parametrize(
        "publishes", [(), ("labels",), ("groups",), ("labels", "groups")], ids=str
    )
    def test_parts(self, publishes: tuple[str, ...]) -> None:
        """Disjoint by content and group; the test parts are the whole; validation is apart."""
        tested: set[bytes] = set()
        for fold in range(5):
            data = DInterface(Known(publishes), folds=5, fold=fold, val_fraction=0.2)
            parts = {split: data.part(split) for split in ("train", "val", "test")}
            found = [content(part) for part in parts.values()]
            assert sum(map(len, found)) == len(set.union(*found)) == 30
            assert not tested & found[2]
            tested |= found[2]
            if "groups" in publishes:
                groups = [{Known().groups[i] for i in part.indices} for part in parts.values()]
                assert sum(map(len, groups)) == len(set.union(*groups)) == 12
            if publishes == ("labels",):
                counts = np.bincount([Known().labels[i] for i in parts["test"].indices])
                assert [*counts] == [2, 2, 2]  # of 10 of each
        assert tested == content(Known())

    def test_a_class_of_two(self) -> None:
        tested: list[int] = []
        for fold in range(5):
            data = DInterface(Known(("labels",), rare=2), folds=5, fold=fold)
            tested += [*data.part("test").indices]
        assert sorted(tested) == [*range(30)]

        told = data.parts.told()
        assert "by labels; the smallest class has 2 samples" in told

    def test_what_is_predicted(self) -> None:
        """The fold, also of a dataset that has parts of its own, and several, to predict."""

        def several(split: str) -> Any:
            return Known() if split == "train" else {"clean": Known(), "noisy": Known()}

        data = DInterface(several, folds=5, fold=1)  # type: ignore[arg-type]
        assert data.part("predict") is data.part("test")
        assert len(data.part("test")) in (5, 6, 7)

    def test_what_counts_as_classes(self) -> None:
        assert classes_of([0, 0, 1, 1], 2) == [0, 0, 1, 1]
        assert classes_of(["a", "a", "b"], 2) == ["a", "a", "b"]
        assert classes_of([0.5, 0.5, 1.0], 2) is None  # a regression
        assert classes_of([0, 1, 2, 3], 2) is None  # none has two
        assert classes_of(None, 2) is None

    def test_the_same_for_the_same_seed(self) -> None:
        assert [*fold_of(30, 5, 1, seed=0)] == [*fold_of(30, 5, 1, seed=0)]
        assert [*fold_of(30, 5, 1, seed=0)] != [*fold_of(30, 5, 1, seed=1)]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"folds": 40}, "--folds 40: the dataset has 12 groups"),
            ({"folds": 1}, "--folds 1: expected 2 or more"),
            ({"folds": 5, "fold": 5}, "--fold 5: of 5 folds, expected 0 to 4"),
            ({"fold": 1}, "--fold needs --folds"),
            ({"folds": 5, "pool": True}, "--pool true: the dataset has no val or test part"),
            ({"folds": 5, "split_by": "time"}, "what is divided by time has no folds"),
        ],
    )
    def test_told(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            DInterface(Known(), **options).part("train")

    def test_digits(self) -> None:
        """Its own validation validates, its own test part is held out, or all are one."""
        whole = {split: content(DInterface("digits").part(split)) for split in ("train", "test")}
        data = DInterface("digits", folds=5, fold=2)
        own = content(DInterface("digits").part("val"))
        assert content(data.part("val")) == own
        assert content(data.part("test")) < whole["train"]
        assert data.parts.take_heldout() and content(data.part("test")) == whole["test"]
        pooled = DInterface("digits", folds=5, fold=2, pool=True)
        sizes = [len(pooled.part(split)) for split in ("train", "val", "test")]
        assert sum(sizes) == 1797 and sizes[2] in (359, 360)
        assert not pooled.parts.take_heldout()
        found = [content(pooled.part(split)) for split in ("train", "val", "test")]
        assert len(found[2] & found[0]) == len(found[2] & found[1]) == 0


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def metrics(folder: Path) -> dict[str, dict[str, Any]]:
    """By member."""
    return {run["name"]: run["metrics"] for run in summary(folder)["members"]}


def processes(mark: str) -> list[int]:
    """All that were started with a mark in their environment, and what they forked."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
class TestKfold:
    WORDS = FOLDS

    def test_mean_and_deviation(self, project: Project, peace: Path) -> None:
        """Of a sample (n - 1), from the files."""
        found = [json.loads((peace / f"fold_{n}/metrics.json").read_text()) for n in range(3)]
        told = summary(peace)["metrics"]
        for name in ("test_acc", "heldout_loss"):
            values = [run[name] for run in found]
            assert told[name]["mean"] == pytest.approx(sum(values) / 3, abs=1e-12)
            squares = sum((value - sum(values) / 3) ** 2 for value in values)
            assert told[name]["std"] == pytest.approx((squares / 2) ** 0.5, abs=1e-12)

    def test_predictions(self, project: Project, peace: Path) -> None:
        """Of all folds, in the order of the data; as many are right as the folds say."""
        text = (peace / "predictions.csv").read_text()
        rows = [*csv.DictReader(text.splitlines())]
        assert [int(row["index"]) for row in rows] == [*range(1257)]
        targets = [int(y) for _, y in DInterface("digits").part("train")]
        right = [row["prediction"] == str(y) for row, y in zip(rows, targets, strict=True)]
        of_folds = [run["test_acc"] * 419 for run in metrics(peace).values()]
        assert sum(right) == pytest.approx(sum(of_folds), abs=1e-2)

    def test_one_of_them(self, project: Project, peace: Path) -> None:
        """Is an ordinary run."""
        project.run("fit", *self.WORDS[:-2], "--fold", "1", "--name", "alone")
        alone = json.loads((project.of("alone") / "metrics.json").read_text())
        alone.pop("checkpoint")
        assert alone == metrics(peace)["fold_1"]
        shown = project.run("test", "peace/fold_1")
        assert f"{alone['test_acc']:.4f}" in shown

    def test_again(self, project: Project, peace: Path) -> None:
        """Nothing is trained, and the answer is given."""
        before = {file: file.stat().st_mtime_ns for file in peace.glob("fold_*/run.json")}
        shown = project.run("kfold", *self.WORDS, "--name", "peace", "--jobs", "1")
        assert "mean ± std" in shown
        assert before == {file: file.stat().st_mtime_ns for file in peace.glob("fold_*/run.json")}

    def test_killed(self, project: Project, peace: Path) -> None:
        kill_study(project, ("kfold", *self.WORDS), peace, "study", kills=1, seed=0)

    def test_stopped(self, project: Project, peace: Path) -> None:
        """Ctrl-C: each run saves, and the same words go on."""
        words = ("kfold", *self.WORDS, "--name", "stopped", "--jobs", "2", *LONG)
        process = project.start(*words, STUDY_MARK="stopped")
        folder = project.folder / "runs/stopped"
        runs = [folder / f"fold_{n}/checkpoints/last.ckpt" for n in range(2)]
        until(process, lambda: all(file.exists() for file in runs))
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=300)[0]
        assert process.returncode == 130, shown
        assert "stopped; to go on, type the same again" in shown
        states = [json.loads((folder / f"fold_{n}/run.json").read_text()) for n in range(2)]
        assert [state["state"] for state in states] == ["interrupted", "interrupted"]
        assert not processes("STUDY_MARK=stopped")


def kill_study(
    project: Project, words: tuple[str, ...], peace: Path, victim: str, kills: int, seed: int
) -> None:
    """Kills it at random moments; it ends with the same runs, bit for bit, none trained twice."""
    draw, name = random.Random(seed), f"{words[0]}_{victim}_{seed}"
    folder = project.folder / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    for left in range(kills, -1, -1):
        process = project.start(*words, "--name", name, STUDY_MARK=name)
        if left:
            begun = {file: file.stat().st_mtime_ns for file in folder.glob("*/run.json")}
            until(process, functools.partial(is_training, folder, begun))
            time.sleep(draw.uniform(0, 1))
            others = [pid for pid in processes(f"STUDY_MARK={name}") if pid != process.pid]
            if victim == "all":
                chosen = [process.pid, *others]
            else:
                chosen = [process.pid] if victim == "study" else leaders(others)[:1]
            for pid in chosen:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        shown = process.communicate(timeout=600)[0]
        assert process.returncode == (0 if not left or victim == "member" else -9), shown
    assert not processes(f"STUDY_MARK={name}")
    assert metrics(folder) == metrics(peace)
    for member in metrics(folder):
        runs = [load(place / member) for place in (folder, peace)]
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            assert not differences(runs[0][part], runs[1][part], part)
        files = [place / member / "metrics.csv" for place in (folder, peace)]
        assert files[0].read_text().count("\n") == files[1].read_text().count("\n")


def is_training(folder: Path, before: dict[Path, int]) -> bool:
    """Whether a run has begun, or gone on."""
    runs = folder.glob("*/run.json")
    return any(file.stat().st_mtime_ns != before.get(file) for file in runs)


def leaders(pids: list[int]) -> list[int]:
    """Those that are a session of their own: the runs."""
    return [pid for pid in pids if os.getsid(pid) == pid]


def test_latex() -> None:
    assert table(["a_b", "c"], [["1 ± 2", None]], "latex").splitlines() == [
        *(r"\begin{tabular}{lr}", r"\toprule", r"a\_b & c \\", r"\midrule"),
        *(r"1 $\pm$ 2 &  \\", r"\bottomrule", r"\end{tabular}"),
    ]


class TestSpace:
    @pytest.mark.parametrize(
        ("text", "is_whole", "expected"),
        [
            ("log 1e-4 1e-1", False, FloatDistribution(1e-4, 1e-1, log=True)),
            ("0 0.5", False, FloatDistribution(0, 0.5)),
            ("0 1 0.25", False, FloatDistribution(0, 1, step=0.25)),
            ("64 256 64", True, IntDistribution(64, 256, step=64)),
            ([18, 34], False, CategoricalDistribution([18, 34])),
            ([[64], [128, 64]], False, CategoricalDistribution(["[64]", "[128, 64]"])),
        ],
    )
    def test_distribution(self, text: Any, is_whole: bool, expected: Any) -> None:
        assert distribution(text, is_whole) == expected

    @pytest.mark.parametrize(
        "text", ["0,1", "1", "1 0", "log 0 1", "a b", "", "log 1 2 3", "1 2 3 4"]
    )
    def test_none_of_these(self, text: str) -> None:
        with pytest.raises((ValueError, IndexError)):
            distribution(text, False)

    def test_hopeless(self, tmp_path: Path) -> None:
        """After the second epoch, where it is worse than 0.5, the median of the others."""
        place = str(tmp_path / "optuna.log")
        study = optuna.create_study(study_name="s", storage=open_storage(place))
        for value in (0.3, 0.4, 0.5, 0.6, 0.7):
            trial = study.ask()
            trial.report(1.0, 0)
            trial.report(value, 1)
            study.tell(trial, value)
        for number, (value, expected) in enumerate([(0.51, True), (0.49, False)], 5):
            study.ask()
            about = {"storage": place, "study": "s", "id": number, "pruner": "median"}
            (tmp_path / "trial.json").write_text(json.dumps(about))
            assert not Trial(tmp_path).is_hopeless(0, 2.0)
            assert Trial(tmp_path).is_hopeless(1, value) is expected

    def test_a_torn_line(self, tmp_path: Path) -> None:
        """Of a full disk, is taken away, and nothing else."""
        place = str(tmp_path / "optuna.log")
        study = optuna.create_study(study_name="s", storage=open_storage(place))
        study.tell(study.ask(), 0.5)
        with Path(place).open("a") as file:
            file.write('{"op_code": 4, "wor')
        again = optuna.load_study(study_name="s", storage=open_storage(place))
        assert [trial.value for trial in again.trials] == [0.5]
        again.tell(again.ask(), 0.25)
        assert optuna.load_study(study_name="s", storage=open_storage(place)).best_value == 0.25


FRAGILE = """
import os
import signal
from torch import nn


class Fragile(nn.Module):
    def __init__(self, kind: str, num_classes: int):
        super().__init__()
        self.layer = nn.Linear(64, num_classes)
        if kind == "raises":
            raise RuntimeError("no such kind")
        if kind == "dies":
            os.kill(os.getpid(), signal.SIGKILL)

    def forward(self, x):
        return self.layer(x.flatten(1))
"""


def trials(folder: Path) -> list[Any]:
    """Those of a sweep, as Optuna reads them."""
    place = str(folder / "optuna.log")
    name = folder.relative_to(folder.parents[1]).as_posix()
    return optuna.load_study(study_name=name, storage=open_storage(place)).trials


@pytest.mark.slow
class TestSweep:
    WORDS = (
        *("sweep", *MLP, "--trials", "4", "--max_epochs", "2", "--keep", "all"),
        *("--search.lr", "log 1e-4 1e-1", "--search.dropout", "[0.0,0.2]"),
    )

    def test_killed(self, project: Project) -> None:
        """All at once; then the table, the pictures and the words for the best."""
        shown = project.run(*self.WORDS, "--name", "calm")
        calm = project.folder / "runs/calm"
        kill_study(project, self.WORDS, calm, "all", kills=1, seed=1)
        killed = project.folder / "runs/sweep_all_1"
        assert [t.params for t in trials(killed)] == [t.params for t in trials(calm)]
        assert [t.value for t in trials(killed)] == [t.value for t in trials(calm)]
        best = min(trials(calm), key=lambda trial: trial.value)
        assert f"--lr {best.params['lr']} --dropout {best.params['dropout']}" in shown
        assert "4 finished, 0 pruned, 0 failed" in shown
        assert (calm / "history.png").stat().st_size > 10_000
        assert (calm / "slices.png").stat().st_size > 10_000
        assert not list(calm.glob("*/outputs.pt"))  # the test part was not looked at
        command = re.search(r"again: python main.py (.*)", shown)
        assert command
        project.run(*shlex.split(command[1]), "--name", "best")
        found = json.loads((project.of("best") / "metrics.json").read_text())
        assert found["val_loss"] == best.value and "test_acc" in found

    def test_two_workers(self, project: Project) -> None:
        """Never train one trial both, also when both are killed and started again."""
        words = (*self.WORDS, "--trials", "6", "--name", "shared")
        folder = project.folder / "runs/shared"
        for is_last in (False, True):
            workers = [project.start(*words, STUDY_MARK="shared") for _ in range(2)]
            if not is_last:
                until(workers[0], lambda: len([*folder.glob("*/checkpoints/last.ckpt")]) >= 2)
                for pid in [*processes("STUDY_MARK=shared"), *(worker.pid for worker in workers)]:
                    os.kill(pid, signal.SIGKILL)
            for worker in workers:
                shown = worker.communicate(timeout=600)[0]
                assert worker.returncode == (0 if is_last else -9), shown
        found = trials(folder)
        assert [trial.state.name for trial in found] == ["COMPLETE"] * 6
        assert sorted(path.name for path in folder.glob("trial_*")) == [
            f"trial_{n}" for n in range(6)
        ]
        for run in folder.glob("trial_*"):
            assert load(run)["epoch"] == 2
            steps = [
                int(row["step"])
                for row in csv.DictReader((run / "metrics.csv").read_text().splitlines())
            ]
            assert steps == sorted(steps)

    def test_failed(self, project: Project) -> None:
        """It goes on, and says how the trials ended."""
        (project.folder / "model/fragile.py").write_text(FRAGILE)
        words = ("sweep", "--model_name", "fragile", "--trials", "9", "--sampler", "Random")
        more = ("--search.kind", "[good,raises,dies]", "--max_epochs", "1", "--name", "fragile")
        shown = project.run(*words, *more, "--callbacks", "null")
        found = {t.params["kind"]: set[str]() for t in trials(project.folder / "runs/fragile")}
        for trial in trials(project.folder / "runs/fragile"):
            found[trial.params["kind"]].add(trial.state.name)
        assert found == {"good": {"COMPLETE"}, "raises": {"FAIL"}, "dies": {"FAIL"}}
        assert "RuntimeError: no such kind" in shown
        died = [
            t.number for t in trials(project.folder / "runs/fragile") if t.params["kind"] == "dies"
        ]
        file = project.folder / f"runs/fragile/trial_{died[0]}/deaths.json"
        assert json.loads(file.read_text()) == {"deaths": 2}

    def test_pruned(self, project: Project) -> None:
        """A rate that is far too small ends early, and is recorded so."""
        words = ("sweep", *MLP, "--trials", "8", "--max_epochs", "4", "--sampler", "Random")
        shown = project.run(*words, "--search.lr", "log 1e-6 1e-1", "--name", "pruned")
        states = {
            trial.number: trial.state.name for trial in trials(project.folder / "runs/pruned")
        }
        pruned = [number for number, state in states.items() if state == "PRUNED"]
        assert pruned and f"{8 - len(pruned)} finished, {len(pruned)} pruned, 0 failed" in shown
        for number in pruned:
            run = json.loads((project.folder / f"runs/pruned/trial_{number}/run.json").read_text())
            assert run["state"] == "pruned" and run.get("epochs", 0) < 4
            assert number >= 5  # the first ones are what the median is of

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("--search.lrr '0 1'", "--search.lrr: --lrr: the chosen classes have no such option"),
            ("--search.lr '[a,b]'", "--search.lr: --lr a: expected float, got 'a'"),
            ("--search.lr 0,1", 'expected "LOW HIGH"'),
            ("--search.lr '0 1' --monitor what", "nothing tells whether less or more is better"),
            ("--search.lr '0 1' --trials 0", "sweep needs --trials of 1 or more"),
            ("--search.lr '0 1' --sampler Best", "expected one of"),
            ("--search.lr '[1,2'", "--search.lr [1,2: not valid YAML"),
            ("", "sweep needs search"),
        ],
    )
    def test_told(self, project: Project, words: str, message: str) -> None:
        shown = project.run("sweep", "--name", "told", *shlex.split(words), code=2)
        assert message in shown and "Traceback" not in shown
        assert not (project.folder / "runs/told").exists()


@pytest.mark.slow
class TestOthers:
    def test_seeds(self, project: Project) -> None:
        """Are ordinary runs with that seed."""
        (project.folder / "data/undivided.py").write_text(
            "from data.digits import Digits\n\n\ndef undivided():\n    return Digits('train')\n"
        )
        words = ("--dataset", "undivided", *MLP, "--max_epochs", "1")
        typed = ("--num", "2", "--vary", "data,weights", "--seed", "3", "--keep", "none")
        shown = project.run("seeds", *typed, *words)
        assert "mean ± std" in shown
        study = project.folder / "runs/undivided-mlp-seeds"
        project.run(*words, "--seed", "4", "--split_seed", "1", "--name", "one")
        one = json.loads((project.of("one") / "metrics.json").read_text())
        one.pop("checkpoint")
        assert metrics(study)["seed_4"] == one
        assert not list(study.glob("*/checkpoints/*.ckpt"))
        shown = project.run("seeds", "--vary", "data", *MLP, code=2)
        assert "the parts are the dataset's own" in shown

    def test_ablate(self, project: Project) -> None:
        """A row for each option that differs, each a run with that option alone set back."""
        words = (*MLP, "--max_epochs", "1", "--dropout", "0.3")
        project.run(*words, "--lr", "0.01", "--name", "mine")
        only = ("--only", "[lr,model.dropout]", "--seeds", "2")
        shown = project.run("ablate", "mine", *only, "--format", "csv")
        rows = [*csv.DictReader(shown[shown.index("set back,val_loss") :].splitlines())]
        assert [row["set back"] for row in rows[:3]] == [
            *("all as it is", "lr 0.01 → 0.001", "model.dropout 0.3 → 0.0")
        ]
        project.run(*words, "--seed", "1", "--name", "back")
        back = json.loads((project.of("back") / "metrics.json").read_text())
        study = project.folder / "runs/digits-mlp-ablate"
        kept = [file.stem.partition("=")[0] for file in study.glob("*/checkpoints/*.ckpt")]
        assert kept == ["epoch"] * 6  # the best of each
        assert metrics(study)["lr-seed_1"]["test_acc"] == back["test_acc"]
        mean = (metrics(study)["lr-seed_0"]["test_acc"] + back["test_acc"]) / 2
        assert rows[1]["test_acc"].startswith(f"{mean:.4g} ±")
        shown = project.run("ablate", "mine", "--only", "[weight_decay]", code=2)
        assert "does not differ in it; it differs in" in shown


@pytest.mark.slow
class TestElsewhere:
    def test_loggers(self, project: Project) -> None:
        """MLflow has the runs as children of one, W&B as one group."""
        words = ("seeds", "--num", "1", *MLP, "--max_epochs", "1", "--name", "logged")
        project.run(*words, "--loggers", "[mlflow,wandb]", WANDB_MODE="offline")
        folder = project.folder / "runs/logged"
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
            named = dict(database.execute("SELECT name, run_uuid FROM runs"))
            query = "SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'"
            parents = dict(database.execute(query))
        assert parents == {named["logged/seed_0"]: named["logged"]}
        for file in folder.glob("seed_*/wandb/offline-run-*/run-*.wandb"):
            assert b"logged" in file.read_bytes()
        assert len([*folder.glob("seed_*/wandb/offline-run-*")]) == 1

    def test_submit(self, project: Project, tmp_path: Path) -> None:
        """A stand-in for sbatch runs the script for each number of the array."""
        stand_in = tmp_path / "sbatch"
        stand_in.write_text(
            "#!/bin/bash\nset -e\n"
            "last=$(sed -n 's/^#SBATCH --array=0-//p' $1)\n"
            "for n in $(seq 0 $last); do SLURM_ARRAY_TASK_ID=$n bash $1; done\n"
        )
        stand_in.chmod(0o755)
        words = ("seeds", "--num", "2", *MLP, "--max_epochs", "1", "--name", "array")
        path = f"{tmp_path}:{os.environ['PATH']}"
        shown = project.run(*words, "--submit=--time=1:00:00 --gres=gpu:1", PATH=path)
        script = (project.folder / "runs/array/submit.sh").read_text()
        assert "#SBATCH --gres=gpu:1\n" in script and "#SBATCH --array=0-1\n" in script
        assert shown.count("seed_0: finished") == shown.count("seed_1: finished") == 1
        assert shown.count("mean ± std") == 1
        assert {*metrics(project.folder / "runs/array")} == {"seed_0", "seed_1"}

    def test_a_full_disk(self, project: Project, tmp_path: Path) -> None:
        mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(tmp_path)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting a small tmpfs is not permitted")
        words = ("seeds", "--num", "2", *MLP, "--max_epochs", "2", "--default_root_dir", tmp_path)
        try:
            free = shutil.disk_usage(tmp_path).free
            (tmp_path / "other").write_bytes(b"\0" * (free - 600_000))
            shown = project.run(*words, code=1)
            assert shown.splitlines()[-1].startswith("error: ") and "Traceback" not in shown
            (tmp_path / "other").unlink()
            assert "mean ± std" in project.run(*words)
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("victim", ["study", "member", "all"])
@pytest.mark.parametrize("kind", ["kfold", "sweep"])
def test_many_kills(project: Project, peace: Path, kind: str, victim: str, seed: int) -> None:
    words: tuple[str, ...] = ("kfold", *FOLDS)
    calm = peace
    if kind == "sweep":
        words, calm = TestSweep.WORDS, project.folder / "runs/calm"
        project.run(*words, "--name", "calm")
    kill_study(project, words, calm, victim, kills=3, seed=seed)
