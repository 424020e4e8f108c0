"""What each choice is worth."""

import json
from typing import Any

from core.cli.command_line import parse
from core.cli.options import SELECTORS, Options, as_yaml
from core.errors import UsageError
from core.runs.processes import say
from core.train.study import Member, Study
from core.train.work import Rows, carry_out, means, shown

# What tells nothing of a network: where and how it is trained, not what.
_ASIDE = (
    *("seed", "split_seed", "name", "dataset", "loggers", "num_workers", "on_device"),
    *("checkpoint", "trainer.default_root_dir", "trainer.log_every_n_steps", "trainer.profiler"),
    *("trainer.enable_", "trainer.devices", "trainer.accelerator", "trainer.num_nodes"),
)
_PLAIN = (type(None), bool, int, float, str, list, dict)


def ablate(
    options: Options,
    *,
    run: str = "last",
    seeds: int = 3,
    only: list[str] | None = None,
    **how: Any,
) -> None:
    """Set back each option of a run to the project's default, one at a time: ablate RUN.

    Args:
        options: Those of the run.
        run: The run: last, its name or its folder.
        seeds: How many seeds of each.
        only: The options to set back; by default all in which the run differs.

    Raises:
        UsageError: There is nothing to set back.
    """
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: expected 1 or more")
    if "--name" not in options.arguments:
        options.values.pop("name", None)  # it is the run's
    changes = _differences(options)
    if unknown := [key for key in only or [] if key not in changes]:
        hint = f"it differs in {', '.join(changes) or 'none'}"
        raise UsageError(f"--only {unknown[0]}: {run} does not differ in it; {hint}")
    changes = {key: value for key, value in changes.items() if not only or key in only}
    if not changes:
        raise UsageError(f"{options.run_folder} differs in no option from the project's defaults")
    titles = [f"{key} {_text(options.values[key])} → {_text(v)}" for key, v in changes.items()]
    say("set back, one at a time: " + ", ".join(titles))
    rows: dict[str, tuple[str, ...]] = {"all": ()}
    rows |= {key: (f"--{key}", _text(value)) for key, value in changes.items()}
    first = options.values.get("seed", 0)
    members = [
        Member(f"{row}-seed_{first + n}", (*words, "--seed", str(first + n)))
        for row, words in rows.items()
        for n in range(seeds)
    ]
    carry_out(
        Study("ablate", options, members, run=str(options.run_folder)),
        lambda study: _summary(study, ["all as it is", *titles], seeds),
        **how,
    )


def _differences(options: Options) -> dict[str, Any]:
    """The options in which a run differs, with the project's defaults for what it has chosen."""
    chosen = {n: options.values[n] for n in SELECTORS if options.values.get(n) is not None}
    words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
    plain, alike = (parse(["fit", *more], options.owners) for more in ([], words))
    found = {}
    for key, value in options.values.items():
        usual = plain if key in SELECTORS else alike
        if key not in usual.known() or key.startswith(_ASIDE):
            continue
        default = as_yaml(usual.values.get(key, usual.known()[key].default))
        if as_yaml(value) != default and isinstance(default, _PLAIN):
            found[key] = default
    return found


def _text(value: Any) -> str:
    """A value as it is typed."""
    return value if isinstance(value, str) else json.dumps(as_yaml(value))


def _summary(study: Study, titles: list[str], seeds: int) -> Rows:
    """A line for each option, with what the metrics differ from those of all options by."""
    runs = study.results()
    of_rows = [means(runs[i * seeds : (i + 1) * seeds]) for i in range(len(titles))]
    rows: list[list[Any]] = []
    for title, found in zip(titles, of_rows, strict=True):
        row: list[Any] = [title]
        for name, whole in of_rows[0].items():
            value = shown(found[name]) if name in found else None
            if value and found is not of_rows[0]:
                value += f" ({found[name]['mean'] - whole['mean']:+.4f})"
            row.append(value)
        rows.append(row)
    return ["set back", *of_rows[0]], rows
