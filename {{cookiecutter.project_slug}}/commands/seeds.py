"""The same over seeds."""

from collections.abc import Sequence
from typing import Any, Literal

from commands.kfold import summarize
from core.cli.options import Options
from core.errors import UsageError
from core.train.study import Member, Study
from core.train.work import carry_out


def seeds(
    options: Options,
    *,
    num: int = 5,
    vary: Sequence[Literal["data", "weights"]] = ("weights",),
    **how: Any,
) -> None:
    """Train and test with several seeds; type the same again to go on: seeds --num 5.

    Args:
        options: All that was typed; the first seed is that of `--seed`.
        num: How many.
        vary: What changes with the seed: weights (the first ones, and the order of the samples,
            augmentation and dropout), or data (which samples validate and test), or both.

    Raises:
        UsageError: There is nothing to vary.
    """
    if num < 1 or not vary:
        raise UsageError("--num and --vary: expected 1 or more, and data, weights or both")
    if "data" in vary:
        from data import DInterface  # only here: it takes seconds

        if not DInterface(**options.of("DInterface")).parts.is_divided():
            hint = "the parts are the dataset's own, and the same for each seed"
            raise UsageError(f"--vary data: {hint}; type --vary weights")
    keys = [key for key, what in (("seed", "weights"), ("split_seed", "data")) if what in vary]
    first = [options.values.get(key, 0) for key in keys]
    members = []
    for n in range(num):
        words = [
            w for key, base in zip(keys, first, strict=True) for w in (f"--{key}", str(base + n))
        ]
        members.append(Member(f"seed_{first[0] + n}", tuple(words)))
    carry_out(Study("seeds", options, members, vary=sorted(vary)), summarize, **how)
