"""Cross-validation."""

import csv
from typing import Any

from core.cli.options import Options
from core.runs.processes import say
from core.train.study import Member, Study
from core.train.work import Rows, carry_out, means, shown


def kfold(options: Options, **how: Any) -> None:
    """Train and test once for each fold; type the same again to go on: kfold --folds 5.

    The fold tests, and nothing else is done with it: what stops early and picks the best weights is
    a part of the rest. A test part of the dataset's own is measured as heldout, by each.
    """
    folds = options.values.setdefault("folds", 5)
    members = [Member(f"fold_{n}", ("--fold", str(n))) for n in range(folds)]
    study = Study("kfold", options, members)
    study.then = ["predict"], "predictions.*"
    carry_out(study, summarize, **how)
    if study.is_over():
        _collect(study)


def summarize(study: Study) -> Rows:
    """A line for each run, and one for mean and standard deviation."""
    runs = study.results()
    metrics = means(runs)
    rows: list[list[Any]] = []
    for run in runs:
        values = [run["metrics"].get(name) for name in metrics]
        rows.append([run["name"], *(None if v is None else f"{v:.4f}" for v in values)])
    return ["run", *metrics], [*rows, ["mean ± std", *map(shown, metrics.values())]]


def _collect(study: Study) -> None:
    """Puts the predictions of all folds into one file, in the order of the data."""
    files = [file for member in study.members() if (file := study.written(member))]
    kinds = {file.suffix for file in files}
    if len(files) < len(study.members()) or len(kinds) > 1:
        return
    place = study.folder / files[0].name
    if kinds == {".csv"}:
        tables = [[*csv.reader(file.read_text("utf-8").splitlines())] for file in files]
        rows = sorted((row for table in tables for row in table[1:]), key=lambda row: int(row[0]))
        with place.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([tables[0][0], *rows])
    else:
        import torch  # only here: it takes seconds

        found = [torch.load(file, weights_only=True) for file in files]
        joined = {name: [v for part in found for v in part[name]] for name in found[0]}
        order = sorted(range(len(joined["index"])), key=joined["index"].__getitem__)
        torch.save({name: [values[i] for i in order] for name, values in joined.items()}, place)
    say(f"Predictions in {place}")
