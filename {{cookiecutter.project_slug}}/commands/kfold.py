"""Cross-validation."""

import csv
from typing import Any

from core.cli.options import Options
from core.errors import UsageError
from core.runs.processes import say
from core.train.study import Member, Study
from core.train.work import Rows, carry_out, means, shown


def kfold(options: Options, **how: Any) -> None:
    """Train and test once for each fold; type the same again to go on: kfold --folds 5.

    The fold tests, and nothing else is done with it: what stops early and picks the best weights is
    a part of the rest. A test part of the dataset's own is measured as heldout, by each.

    Raises:
        UsageError: Fewer than two folds, or one of them.
    """
    folds = options.values.setdefault("folds", 5)
    if folds < 2:
        raise UsageError(f"--folds {folds}: expected 2 or more")
    if "fold" in options.values:
        fold = options.values["fold"]
        raise UsageError(f"kfold trains all folds; type fit --folds {folds} --fold {fold} for one")
    members = [Member(f"fold_{n}", ("--fold", str(n))) for n in range(folds)]
    study = Study("kfold", options, members)
    study.then = ["predict"], "predictions.*"
    carry_out(study, summarize, **how)
    if study.is_over():
        _collect(study)


def summarize(study: Study) -> Rows:
    """A line for each metric: mean and standard deviation, and the values of up to ten runs."""
    runs = study.results()
    columns = runs if len(runs) <= 10 else []
    rows: list[list[Any]] = []
    for name, found in means(runs).items():
        values = [run["metrics"].get(name) for run in columns]
        rows.append([name, shown(found), *(None if v is None else f"{v:.4g}" for v in values)])
    return ["", "mean ± std", *(run["name"] for run in columns)], rows


def _collect(study: Study) -> None:
    """Puts the predictions of all folds into one file, in the order of the data."""
    files = [file for member in study.members() if (file := study.written(member))]
    kinds = {file.suffix for file in files}
    if len(files) < len(study.members()) or len(kinds) > 1:
        return
    place = study.folder / files[0].name
    if kinds == {".csv"}:
        tables = [[*csv.reader(file.read_text("utf-8").splitlines())] for file in files]
        found = [[*row, fold] for fold, table in enumerate(tables) for row in table[1:]]
        found.sort(key=lambda row: int(row[0]))
        with place.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([[*tables[0][0], "fold"], *found])
    else:
        import torch  # only here: it takes seconds

        parts = [torch.load(file, weights_only=True) for file in files]
        joined = {name: [v for part in parts for v in part[name]] for name in parts[0]}
        order = sorted(range(len(joined["index"])), key=joined["index"].__getitem__)
        torch.save({name: [values[i] for i in order] for name, values in joined.items()}, place)
    say(f"Predictions in {place}")
