"""Parameters by their names."""

import fnmatch
import re
from collections.abc import Iterable

from core.cli.names import suggest
from core.errors import UsageError


def fits(name: str, pattern: str) -> bool:
    """Whether a pattern, `backbone`, `layer*` or `head.bias`, stands for words of a name."""
    return fnmatch.fnmatchcase(f".{name}.", f"*.{pattern}.*")


def fitting(pattern: str, names: Iterable[str], option: str) -> list[str]:
    """The names that a pattern stands for.

    Raises:
        UsageError: There are none.
    """
    known = [*names]
    found = [name for name in known if fits(name, pattern)]
    if not found:
        if "." in pattern:
            words = [*dict.fromkeys(n.removeprefix("net.").rpartition(".")[0] for n in known)][:12]
            raise UsageError(f"{option} {pattern}: fits no parameter; there are {', '.join(words)}")
        words = sorted({word for name in known for word in name.split(".") if not word.isdigit()})
        hint = suggest(pattern, words, f"; there are {', '.join(words)}")
        raise UsageError(f"{option} {pattern}: fits no parameter{hint}")
    return found


def layer_factors(names: list[str], decay: float) -> dict[str, float]:
    """A factor for each parameter: 1 for the last layer, `decay` for the one before it, and so on.

    A layer is what stands before the first number of a name, with that number, `blocks.3`; without
    one, the module that holds the parameter. (Layer-wise decay: Clark et al., ELECTRA, 2020.)
    """
    layers = {name: re.match(r"(?:.*?\.\d+(?=\.)|.*(?=\.))?", name).group() for name in names}  # type: ignore[union-attr]
    order = [*dict.fromkeys(layers.values())]
    return {name: decay ** (len(order) - 1 - order.index(layer)) for name, layer in layers.items()}
