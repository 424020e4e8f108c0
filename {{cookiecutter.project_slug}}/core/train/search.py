"""A sweep: a study whose runs are chosen one after the other, by Optuna."""

import json
import math
import warnings
import zlib
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from core.cli.options import Options
from core.errors import UsageError
from core.runs.record import read_results, save_results
from core.train.study import Member, Study
from core.train.trials import FILE, open_storage


def distribution(text: Any, is_whole: bool) -> BaseDistribution:
    """What to draw from: `log 1e-4 1e-1`, `0 0.5`, `64 256 64` (in steps), or a list of choices.

    Args:
        text: As it was typed.
        is_whole: Whether the option takes whole numbers alone.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(text, list):
        plain = (type(None), bool, int, float, str)
        return CategoricalDistribution(
            [value if isinstance(value, plain) else json.dumps(value) for value in text]
        )
    words = str(text).split()
    is_log = words[0] == "log"
    low, high, *step = (float(word) for word in words[is_log:])
    if low >= high:
        raise ValueError(f"{words[is_log]} is not below {words[is_log + 1]}")
    if is_log and low <= 0:
        raise ValueError("log needs numbers above 0")
    if len(step) > 1 or (step and is_log):
        raise ValueError
    if is_whole:
        whole = [int(number) for number in (low, high, *step)]
        return IntDistribution(whole[0], whole[1], log=is_log, step=(whole[2:] or [1])[0])
    return FloatDistribution(low, high, log=is_log, step=step[0] if step else None)


class Search(Study):
    """The trials of a sweep.

    The values of a trial depend on the seed, its number and the trials before it alone.

    Args:
        options: All that was typed.
        space: What to draw the value of each option from.
        trials: How many trials.
        way: What else makes it another sweep: `sampler`, `pruner`, `direction`, `storage` and
            `monitor`.
    """

    fails_with_a_run = False

    def __init__(
        self, options: Options, space: dict[str, BaseDistribution], trials: int, way: dict[str, Any]
    ) -> None:
        super().__init__("sweep", options, [], way=way, space={n: str(d) for n, d in space.items()})
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.fit, self.space, self.trials, self.way = ["--final_test", "false"], space, trials, way
        self.seed, self.lock = options.values.get("seed", 0), FileLock(self.folder / ".sweep.lock")
        self.place = way["storage"] or str(self.folder.resolve() / "optuna.log")
        with self.lock:
            self.storage = open_storage(self.place)
            self.study = optuna.create_study(
                storage=self.storage,
                study_name=f"{self.folder}",
                direction=way["direction"],
                load_if_exists=True,
            )

    def found(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials, or those in some states."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def members(self) -> list[Member]:
        """The run of each trial."""
        return [self.member(trial) for trial in self.found()]

    def size(self) -> int:
        """How many there will be."""
        return self.trials

    def member(self, trial: FrozenTrial | optuna.Trial) -> Member:
        """The run of a trial."""
        words = [
            word for name, value in trial.params.items() for word in (f"--{name}", typed(value))
        ]
        return Member(f"trial_{trial.number}", tuple(words))

    def best(self) -> list[FrozenTrial]:
        """The trials that trained to the end, the best first."""
        is_more = self.way["direction"] == "maximize"
        done = self.found(TrialState.COMPLETE)
        return sorted(done, key=lambda trial: trial.value or 0.0, reverse=is_more)

    def counts(self) -> dict[str, int]:
        """How many trials ended in which way."""
        words = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
        return {word: len(self.found(TrialState[name])) for word, name in words.items()}

    def importances(self) -> dict[str, float]:
        """How much of the differences each option explains, by Optuna; nothing of too few."""
        if len(self.best()) < 10:  # too few to tell
            return {}
        try:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        except (RuntimeError, ValueError):
            return {}

    def draw(self) -> str:
        """Draws how the search went, and the values by each option; says where."""
        try:
            import matplotlib
        except ModuleNotFoundError:
            return "pictures need matplotlib; type: uv sync --extra studies"
        matplotlib.use("Agg")
        with warnings.catch_warnings(action="ignore"):  # these functions are called experimental
            pictures = {
                "history": optuna.visualization.matplotlib.plot_optimization_history(self.study),
                "slices": optuna.visualization.matplotlib.plot_slice(self.study),
            }
        for name, axes in pictures.items():
            first: Any = axes.flat[0] if hasattr(axes, "flat") else axes
            first.figure.savefig(self.folder / f"{name}.png", bbox_inches="tight", dpi=120)
        return f"pictures: {self.folder}/history.png, slices.png"

    def is_done(self, member: Member) -> bool:
        """Whether its trial has ended."""
        return self.found()[_number(member)].state.is_finished()

    def is_over(self) -> bool:
        """Whether there are as many trials as were asked for, and all have ended."""
        return not self.found(TrialState.RUNNING) and len(self.found()) >= self.trials

    def take(self) -> Member | None:
        """A trial that was cut off, else the next one; None while others do what is left."""
        with self.lock:
            for number in [trial.number for trial in self.found(TrialState.RUNNING)]:
                member = self._drawn(number)
                if self.claim(member):
                    if not self._settle(member):
                        return member
                    self.release(member)
            if len(self.found()) >= self.trials:
                return None
            member = self._drawn(None)
            return member if self.claim(member) else None

    def _drawn(self, number: int | None) -> Member:
        """A trial, or a new one, with all its values: what is drawn already stays."""
        self.study.sampler = self._sampler(len(self.found()) if number is None else number)
        if number is None:
            trial = self.study.ask()
        else:
            study = self.storage.get_study_id_from_name(self.study.study_name)
            id = self.storage.get_trial_id_from_study_id_trial_number(study, number)
            trial = optuna.Trial(self.study, id)
        for name, kind in self.space.items():
            self.study.sampler = self._sampler(trial.number, name)
            match kind:
                case CategoricalDistribution():
                    trial.suggest_categorical(name, kind.choices)
                case IntDistribution():
                    trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
                case FloatDistribution():
                    trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)
        return self.member(trial)

    def _sampler(self, *place: Any) -> optuna.samplers.BaseSampler:
        name = self.way["sampler"]
        place = () if name == "QMC" else place  # its sequence is one
        made: optuna.samplers.BaseSampler = getattr(optuna.samplers, f"{name}Sampler")(
            seed=zlib.crc32(repr((self.seed, *place)).encode())
        )
        return made

    def prepare(self, member: Member) -> None:
        """Writes down which trial the run is, too."""
        study = self.storage.get_study_id_from_name(self.study.study_name)
        id = self.storage.get_trial_id_from_study_id_trial_number(study, _number(member))
        about = {"storage": self.place, "study": self.study.study_name, "id": id}
        save_results(self.folder_of(member) / FILE, about | {"pruner": self.way["pruner"]})
        super().prepare(member)

    def ended(self, member: Member, code: int) -> None:
        """Tells Optuna, too."""
        try:
            super().ended(member, code)
        except UsageError:
            self.study.tell(_number(member), state=TrialState.FAIL)
            raise
        self._settle(member)

    def _settle(self, member: Member) -> bool:
        """Tells Optuna what a trial that has ended has come to; whether it has."""
        state, value, told = self.state(member), None, TrialState.FAIL
        if state == "finished":
            value = read_results(self.folder_of(member) / "metrics.json").get(self.way["monitor"])
            value = value if value is not None and math.isfinite(value) else None
            told = TrialState.FAIL if value is None else TrialState.COMPLETE
        elif state == "pruned":
            told = TrialState.PRUNED
        elif member.name not in self.given_up and (state != "failed" or self.is_full(member)):
            return False
        self.study.tell(_number(member), value, told, skip_if_finished=True)
        return True


def typed(value: Any) -> str:
    """A value as it is typed."""
    return value if isinstance(value, str) else json.dumps(value)


def _number(member: Member) -> int:
    return int(member.name.removeprefix("trial_"))
