"""Tables for a terminal, a program or a paper."""

import csv
import io
from typing import Any, Literal

from rich.console import Console
from rich.table import Column, Table

Format = Literal["table", "csv", "markdown", "latex"]
SUFFIXES = {"table": ".txt", "csv": ".csv", "markdown": ".md", "latex": ".tex"}


def print_table(header: list[str], rows: list[list[Any]], format: Format = "table") -> None:
    """Prints a table, as wide as it is; see `table`."""
    print(table(header, rows, format), end="")


def table(header: list[str], rows: list[list[Any]], format: Format = "table") -> str:
    """Sets a table.

    Args:
        header: Name of each column.
        rows: Their values; None is empty.
        format: For a terminal, a program or a paper (booktabs in LaTeX).
    """
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    out = io.StringIO()
    if format == "csv":
        csv.writer(out, lineterminator="\n").writerows([header, *texts])
    elif format == "markdown":
        for row in [header, ["---"] * len(header), *texts]:
            print(f"| {' | '.join(row)} |", file=out)
    elif format == "latex":
        lines = [" & ".join(_in_latex(text) for text in row) + r" \\" for row in [header, *texts]]
        top = [r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}", r"\toprule"]
        print(*top, lines[0], r"\midrule", *lines[1:], r"\bottomrule", sep="\n", file=out)
        print(r"\end{tabular}", file=out)
    else:
        columns = [Column(name, no_wrap=True) for name in header]
        shown = Table(*columns, box=None, padding=(0, 2, 0, 0))
        for row in texts:
            shown.add_row(*row)
        width = Console(width=1000).measure(shown).maximum  # so that nothing is cut off
        Console(file=out, width=width).print(shown)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _in_latex(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("±", r"$\pm$")
