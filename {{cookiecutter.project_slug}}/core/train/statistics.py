"""Whether a difference is more than noise. Pure functions of arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95  # of all intervals


@dataclass(frozen=True)
class Difference:
    """By how much the second exceeds the first, in the mean, and the interval of that.

    The ends of the interval are nan where nothing tells how large the noise is. `p` is McNemar's,
    of samples that are right or wrong.
    """

    value: float
    low: float
    high: float
    p: float | None = None

    @property
    def is_noise(self) -> bool:
        """Whether it may be noise: 0 is in the interval, or McNemar's test does not reject it."""
        is_rejected = self.p is None or self.p < 1 - LEVEL
        return not ((self.low > 0 or self.high < 0) and is_rejected)

    def told(self, of: str) -> str:
        """The same in words.

        Args:
            of: What differs.
        """
        what = f"the difference of {self.value:.3g} in {of}"
        if np.isnan(self.low):
            return f"{what} is not told from noise: what it is the mean of does not vary"
        p = f"; McNemar's test: p = {self.p:.2g}" if self.p is not None else ""
        interval = f"{LEVEL:.0%} interval {self.low:.3g} to {self.high:.3g}".replace("%", " %")
        verdict = "is not more than noise" if self.is_noise else "is more than noise"
        return f"{what} ({interval}{p}) {verdict}"


def of_samples(first: Any, second: Any, resamples: int = 5000, seed: int = 0) -> Difference:
    """The difference of two scores of each sample: a paired bootstrap of percentiles.

    The percentiles are those of a t interval, or the interval of a few samples were too narrow:
    Hesterberg, What Teachers Should Know about the Bootstrap (2015), "expanded percentile".

    Args:
        first: Scores of the samples, (N,), N at least 2.
        second: Scores of the same samples, in the same order.
        resamples: How many samples of N are drawn.
        seed: Seed of these.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    differences, size = second - first, len(first)
    rng = np.random.default_rng(seed)
    means = [differences[rng.integers(size, size=size)].mean() for _ in range(resamples)]
    t = stats.t.ppf((1 + LEVEL) / 2, size - 1)
    tail = float(stats.norm.sf(t * np.sqrt(size / (size - 1))))
    low, high = np.quantile(means, [tail, 1 - tail]).tolist()
    is_right = np.isin([first, second], [0, 1]).all()
    p = mcnemar(first, second) if is_right else None
    return Difference(differences.mean().item(), low, high, p)


def mcnemar(first: Any, second: Any) -> float:
    """The p-value of McNemar's exact test: whether as many samples got right as wrong, (N,)."""
    right, wrong = (int(np.sum(np.subtract(second, first) == sign)) for sign in (1, -1))
    return stats.binomtest(right, right + wrong).pvalue if right + wrong else 1.0


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the sample standard deviation (n - 1), nan of a single value."""
    if not len(values):
        return np.nan, np.nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def of_pairs(first: Any, second: Any, overlap: float = 0.0) -> Difference:
    """The difference of values in pairs, such as of the same seeds: a t interval.

    Args:
        first: Values, (N,).
        second: Those that belong to them.
        overlap: Test samples to training samples of each fold of a cross-validation, whose training
            sets overlap: Nadeau and Bengio, Inference for the Generalization Error (2003).
    """
    differences = np.subtract(second, first)
    count = len(differences)
    variance = (1 / count + overlap) * mean_and_std(differences)[1] ** 2
    return _interval(differences.mean().item(), variance, count - 1)


def of_groups(first: Any, second: Any) -> Difference:
    """The difference of the means of two groups of values: Welch's t interval."""
    squares = [mean_and_std(values)[1] ** 2 / len(values) for values in (first, second)]
    variance = sum(squares)
    parts = [s**2 / (len(v) - 1) if s else 0 for s, v in zip(squares, (first, second), strict=True)]
    freedom = variance**2 / sum(parts) if sum(parts) else 0
    return _interval(float(np.mean(second) - np.mean(first)), variance, freedom)


def _interval(value: float, variance: float, freedom: float) -> Difference:
    """Values that are all the same, but for rounding, tell nothing of the noise."""
    if not variance > 1e-24 * max(1.0, value**2):
        return Difference(value, np.nan, np.nan)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance))
    return Difference(value, value - half, value + half)
