"""Whether less or more of a metric is better."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from core.errors import UsageError

_MORE = (
    "acc accuracy f1 auc auroc iou miou jaccard dice psnr ssim precision recall map r2 bleu kappa"
)
_LESS = "loss error err mae mse rmse nll ppl perplexity wer cer fid lpips mape ce bce elbo"


def direction(model: Any, metric: str) -> tuple[Literal["min", "max"], str]:
    """The direction, and what tells it.

    Args:
        model: May tell by `higher_is_better`: a method that takes a metric's name, or a mapping.
        metric: The name that it is logged by.

    Raises:
        UsageError: Nothing tells.
    """
    told: Any = getattr(model, "higher_is_better", None)
    more = told.get(metric) if isinstance(told, Mapping) else told(metric) if told else None
    if more is not None:
        return ("max" if more else "min"), "the metric"
    words = {*re.split(r"[^a-z0-9]+", metric.lower())}
    is_more, is_less = bool(words & {*_MORE.split()}), bool(words & {*_LESS.split()})
    if is_more == is_less:
        hint = "type --mode min if less of it is better, or --mode max"
        raise UsageError(
            f"--monitor {metric}: nothing tells whether less or more is better; {hint}"
        )
    return ("max" if is_more else "min"), "its name"
