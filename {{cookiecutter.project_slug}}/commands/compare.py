"""What runs differ in, and whether it is more than noise."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from core.errors import UsageError
from core.runs.folders import find_folder, run_name
from core.runs.looks import told
from core.runs.processes import say
from core.runs.record import read_results, read_run
from core.runs.summaries import Study, difference, is_alike, remarks
from core.runs.tables import Format, print_table
from core.train.statistics import mean_and_std, of_samples


def compare(*, runs: list[str], format: Format = "table", root: str = "runs") -> None:
    """Show in what runs or studies differ, and whether it is more than noise: compare A B ….

    Args:
        runs: The runs, or studies of folds or seeds, each by name or folder.
        format: How to print it; csv is the table alone.
        root: Folder of all runs.

    Raises:
        UsageError: There is no such run, or a study whose mean says nothing.
    """
    places = [next((p for p in (Path(r), Path(root) / r) if Study.at(p)), None) for r in runs]
    studies = [Study(place) for place in places if place]
    if studies and len(studies) < len(runs):
        raise UsageError(f"{studies[0].name} is a study; compare it with another study, not a run")
    if studies:
        folders = [folder for study in studies for folder in study.folders]
        words = _print_studies(studies, format)
    else:
        folders = [find_folder(root, run, needs_weights=False) for run in runs]
        _print_runs(folders, format, root)
        words = [*_samples(folders, root)] if len(folders) == 2 and format != "csv" else []
    if format != "csv":
        say(*words)
        say(*told(Path(root), [read_run(folder).get("test_part") for folder in folders]))


def _print_studies(studies: list[Study], format: Format) -> list[str]:
    """Prints the metrics of studies; and of two whether they differ, in words."""
    names, words = [study.name for study in studies], []
    table = _differing([study.options for study in studies], 2 if format == "csv" else 1)
    for metric in dict.fromkeys(name for study in studies for name in study.metrics()):
        found = [mean_and_std([*study.values(metric).values()]) for study in studies]
        numbers = [number for pair in found for number in pair]
        texts = [f"{m:.4g} ± {s:.2g}" if not np.isnan(m) else None for m, s in found]
        table.append([metric, *(numbers if format == "csv" else texts)])
        can_differ = len(studies) == 2 and is_alike(*studies)
        if can_differ and (apart := difference(studies[0], studies[1], metric)):
            words.append(apart.told(metric))
    header = [part for n in names for part in ([n, f"{n} std"] if format == "csv" else [n])]
    print_table(["", *header], table, format)
    return [*words, *remarks(studies)]


def _print_runs(folders: list[Path], format: Format, root: str) -> None:
    """Prints the options in which runs differ, and their metrics."""
    options = [yaml.safe_load((f / "config.yaml").read_text("utf-8")) for f in folders]
    results = [read_results(folder / "metrics.json") for folder in folders]
    lines = _differing(options)
    for name in dict.fromkeys(name for found in results for name in found):
        values = [found.get(name) for found in results]
        if format != "csv":
            values = [f"{v:.5g}" if isinstance(v, float) else v for v in values]
        lines.append([name, *values])
    print_table(["", *(run_name(folder, root) for folder in folders)], lines, format)


def _differing(options: list[dict[str, Any]], columns: int = 1) -> list[list[Any]]:
    """A line for each option in which some differ, with so many columns of each."""
    flat, lines = [_flat(found) for found in options], []
    for name in dict.fromkeys(name for found in flat for name in found):
        values = [found.get(name) for found in flat]
        if any(value != values[0] for value in values):
            lines.append([name, *(v for value in values for v in (value, *[None] * (columns - 1)))])
    return lines


def _samples(folders: list[Path], root: str) -> Iterator[str]:
    """Whether two runs differ in the samples that both were tested on, in words."""
    import torch

    names, kept = [run_name(folder, root) for folder in folders], []
    for name, file in zip(names, [folder / "outputs.pt" for folder in folders], strict=True):
        found = torch.load(file, weights_only=True) if file.is_file() else {"output": []}
        kept.append(found if "output" in found else next(iter(found.values())))  # the first set
        if kept[-1].get("scored_by") is None:
            yield f"{name} keeps no score of each test sample; type: python main.py test {name}"
            return
    by, targets = kept[0]["scored_by"], [found["target"] for found in kept]
    is_same = len(targets[0]) == len(targets[1]) and all(map(torch.equal, *targets))
    if not is_same or by != kept[1]["scored_by"]:
        yield "the runs were not tested on the same samples: their targets differ"
        return
    scores = np.array([found["score"] for found in kept], float)  # (2, N), nan where nothing counts
    there = ~np.isnan(scores).any(0)
    if there.sum() < 2:
        yield f"the runs have {there.sum()} test samples with a score, too few to compare"
        return
    means = [f"{scores[n, there].mean():.4g} of {names[n]}" for n in (0, 1)]
    yield f"{by} over the same {there.sum()} samples: {', '.join(means)}"
    apart = of_samples(*scores[:, there])
    yield apart.told(by)
    if apart.p is not None:
        file = folders[1] / f"flipped-{names[0].replace('/', '-')}.csv"
        samples = kept[1]["names"] or kept[0]["names"] or range(len(there))
        yield from _flips(scores, samples, names, file)


def _flips(scores: Any, samples: Sequence[Any], names: list[str], file: Path) -> Iterator[str]:
    """Which samples one run got right and the other wrong; all of them go to a file."""
    flipped = np.flatnonzero(scores[0] + scores[1] == 1).tolist()
    if not flipped:
        return
    gained = sum(scores[1][n] == 1 for n in flipped)
    first = ", ".join(str(samples[n]) for n in flipped[:10])
    more = ", …" if len(flipped) > 10 else ""
    yield f"flipped: {gained} samples to right, {len(flipped) - gained} to wrong: {first}{more}"
    words = ("wrong", "right")
    rows = [[samples[n], *(words[int(score)] for score in scores[:, n])] for n in flipped]
    try:
        with file.open("w", newline="", encoding="utf-8") as lines:
            csv.writer(lines).writerows([("sample", *names), *rows])
        yield f"all of them are in {file}"
    except OSError as error:
        yield f"they are not written down: {error}"


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        inner = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name}.{key}": v for key, v in inner} or {name: value}
    return flat
