"""`--help`: one screen; `--help PAGE` and `--help all`: everything."""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator

from core.cli import names
from core.cli.construct import signature
from core.cli.names import suggest
from core.cli.options import Options, as_yaml, type_name
from core.cli.source import REQUIRED, Code, Parameter
from core.errors import UsageError

MOST = 15  # options of a class on the first screen
COMMON = (
    *("model_name", "dataset", "loss", "optimizer", "lr", "lr_scheduler", "batch_size"),
    *("trainer.max_epochs", "seed", "name", "callbacks", "resume"),
)
Known = dict[str, Parameter]


def help(options: Options, *, page: str = "") -> None:
    """Tell what can be typed: --help, --help PAGE or --help all.

    Args:
        options: What there is to be set.
        page: Which options to show; by default those that everyone uses.

    Raises:
        UsageError: There is no such page.
    """
    found = pages(options)
    if page not in ("", "all", *found):
        hint = suggest(page, [*found, "all"], f"; choose one of: {', '.join([*found, 'all'])}")
        raise UsageError(f"--help {page}: there is no such page{hint}")
    lines = [*_screen(options, found)] if not page else []
    for name in found if page == "all" else [page] if page else []:
        lines += _page(options, name, found[name])
    _show(lines)


def pages(options: Options) -> dict[str, Known]:
    """All options by page, each on one."""
    found: dict[str, Known] = {}
    seen: set[str] = set()
    for group in options.groups:
        known = {key: p for key, p in group.known().items() if key not in seen}
        if known:
            found.setdefault(group.page, {}).update(known)
        seen |= known.keys()
    return found


def _screen(options: Options, found: dict[str, Known]) -> Iterator[str]:
    """At most 60 lines, with the commands that are there."""
    yield "usage: python main.py [COMMAND] [--config FILE] [--name value ...]"
    if options.command not in ("fit", "help"):
        yield signature(names.locate("command", options.command)).help
        yield from _lines(options, found.get(options.command, {}))
        yield "All further options are those of the run; see --help all."
        return
    commands = names.files("command")
    for command in commands:
        yield f"  {command:10} {signature(names.locate('command', command)).help}"
    left = max(60 - 9 - len(COMMON) - len(commands), MOST)  # lines for network and dataset
    for group in (g for g in options.groups if g.section in ("model", "data")):
        own = dict([*group.known().items()][: min(MOST, left)])
        left -= len(own)
        more = len(group.parameters) - len(own)
        hint = f" And {more} more: --help {group.section}" if more else ""
        yield f"\n{group.target.partition(':')[2]}: {group.help}{hint}"
        yield from _lines(options, own)
    known = options.known()
    yield "\nOften used:"
    yield from _lines(options, {key: known[key] for key in COMMON if key in known})
    text = (
        "A section may be left out: --depth is --model.depth. More: --help PAGE, a page being all, "
    )
    yield from textwrap.wrap(text + ", ".join(found), 96, max_lines=2, placeholder=" …")


def _lines(options: Options, known: Known) -> Iterator[str]:
    """One line an option: name, value, what it is."""
    rows = [(f"--{key}", _value(options, key, p), _text(p)) for key, p in known.items()]
    first, second = (max([len(row[n]) for row in rows], default=0) for n in (0, 1))
    width = shutil.get_terminal_size((100, 24)).columns
    for name, value, text in rows:
        value = textwrap.shorten(value, 24, placeholder="…")
        line = f"  {name:{first}}  {value:{min(second, 24)}}  {text}".rstrip()
        yield line if len(line) <= width else line[: width - 1] + "…"


def _page(options: Options, name: str, known: Known) -> Iterator[str]:
    """All of a page's options with their types."""
    yield f"{name}:"
    for group in (g for g in options.groups if g.page == name and g.help):
        yield textwrap.fill(f"{group.target.partition(':')[2]}: {group.help}", 96)
    for key, parameter in known.items():
        choices = f" One of: {', '.join(names.choices(key))}." if key in names.KINDS else ""
        shown = f"{type_name(parameter.type)}; {_value(options, key, parameter)}"
        text = f"{_text(parameter)}{choices} ({shown})".strip()
        indent = " " * 6
        yield f"  --{key}"
        yield textwrap.fill(text, 96, initial_indent=indent, subsequent_indent=indent)
    yield ""


def _text(parameter: Parameter) -> str:
    """What a parameter means, without reST."""
    text = re.sub(r":\w+:`~?([^`<]*\w)[^`]*`", r"\1", " ".join(parameter.help.split()))
    return text.replace("``", "")


def _value(options: Options, key: str, parameter: Parameter) -> str:
    value = options.values.get(key, parameter.default)
    offered = [f"{group.section}.{name}" for group in options.groups for name in group.offered]
    if key in offered and key not in options.values:
        return "filled in"
    if value is REQUIRED:
        return "from the data, or required" if key.startswith("model.") else "required"
    if isinstance(value, Code | str):
        return value.text if isinstance(value, Code) else value or '""'
    return json.dumps(as_yaml(value), ensure_ascii=False)


def _show(lines: list[str]) -> None:
    """Prints them, on a terminal in colours."""
    if not sys.stdout.isatty():
        print("\n".join(lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        text = Text(line)
        text.highlight_regex(r"^\s+--\S+|^  [a-z_]+(?= {2})", "cyan")
        text.highlight_regex(r"^\n?\S[^:]*:(?=\s|$)", "bold")
        console.print(text)
