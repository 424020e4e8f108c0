"""Studies, by what the `summary.json` in their folder tells of their members."""

from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UsageError
from core.runs.record import read_results, read_run
from core.train.statistics import Difference, of_groups, of_pairs


class Study:
    """A study of folds or seeds: members that differ in nothing else.

    Args:
        folder: Where its summary.json is.

    Raises:
        UsageError: Its members differ in their options, so that their mean says nothing.
    """

    def __init__(self, folder: Path) -> None:
        summary = read_results(folder / "summary.json")
        self.name, self.kind = folder.name, summary["kind"]
        if self.kind not in ("kfold", "seeds"):
            what = f"the runs of {self.name} ({self.kind}) differ in their options"
            raise UsageError(f"{what}, so their mean says nothing; compare two of them")
        every = summary["members"]
        self.folders = [Path(member["folder"]) for member in every]
        self.members = {m["name"]: m for m in every if m["state"] == "finished"}
        self.missing = [m["name"] for m in every if m["state"] != "finished"]
        self.options: dict[str, Any] = read_results(folder / "study.json").get("options", {})
        self.parts = {m["name"]: read_run(Path(m["folder"])).get("test_part") for m in every}

    @staticmethod
    def at(folder: Path) -> bool:
        """Whether a folder is that of a study.

        Raises:
            UsageError: Of one that has not ended.
        """
        has_ended = (folder / "summary.json").is_file()
        if not has_ended and (folder / "study.json").is_file():
            raise UsageError(f"{folder} has not ended; type its command again to go on")
        return has_ended

    def metrics(self) -> list[str]:
        """The names of all that was measured."""
        every = [member.get("metrics", {}).items() for member in self.members.values()]
        return [*dict.fromkeys(n for found in every for n, v in found if isinstance(v, float))]

    def values(self, metric: str) -> dict[str, float]:
        """A metric of each member that has it."""
        found = {name: m.get("metrics", {}).get(metric) for name, m in self.members.items()}
        return {name: value for name, value in found.items() if isinstance(value, float)}

    def overlap(self) -> float | None:
        """Test samples to training samples of a fold; None if they are not written down."""
        every = [(m.get("n_test"), m.get("n_train")) for m in self.members.values()]
        known = [tested / trained for tested, trained in every if tested and trained]
        return float(np.mean(known)) if known and len(known) == len(every) else None


def difference(first: Study, second: Study, metric: str) -> Difference | None:
    """Of the means of a metric; in pairs if the members have the same names; None of too few."""
    one, other = (study.values(metric) for study in (first, second))
    if min(len(one), len(other)) < 2:
        return None
    if one.keys() != other.keys():
        return of_groups([*one.values()], [*other.values()])
    overlap = 0.0
    if "kfold" in (first.kind, second.kind):
        known = [study.overlap() for study in (first, second)]
        overlap = max(1 / (len(one) - 1) if ratio is None else ratio for ratio in known)
    return of_pairs([*one.values()], [other[name] for name in one], overlap)


def is_alike(first: Study, second: Study) -> bool:
    """Whether two studies were tested on the same data: each fold, or all seeds."""
    if "kfold" in (first.kind, second.kind):
        common = first.parts.keys() & second.parts.keys()
        return all(first.parts[name] == second.parts[name] for name in common)
    return [*first.parts.values()][:1] == [*second.parts.values()][:1]


def remarks(studies: list[Study]) -> list[str]:
    """What is to be known of a comparison."""
    lines = [
        f"{s.name}: {', '.join(s.missing)} not finished, left out" for s in studies if s.missing
    ]
    if len(studies) == 2 and not is_alike(*studies):
        what = "the studies were not tested on the same data"
        return [*lines, f"{what}: their means are shown, and nothing is said of the difference"]
    folds = [study for study in studies if study.kind == "kfold"]
    if len(studies) != 2 or not folds:
        return lines
    if studies[0].members.keys() != studies[1].members.keys():
        return [*lines, "the folds of a study share training data: the intervals are too narrow"]
    text = "the folds share training data, for which the intervals allow (Nadeau and Bengio, 2003)"
    if any(study.overlap() is None for study in folds):
        text += ", as if each trained on all others: how many samples it had is not written down"
    return [*lines, text]
