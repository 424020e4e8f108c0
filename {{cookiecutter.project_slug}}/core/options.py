"""The command line and the options files.

An option exists because a constructor or function has that parameter: `OWNERS` and `SECTIONS` say
whose. Types, defaults and help are read from source, so nothing here imports torch.
"""

from __future__ import annotations

import argparse
import json
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from core import lookup
from core.lookup import ROOT, UsageError, is_plain, suggest
from core.runs import find_folder
from core.source import REQUIRED, Code, Parameter, Signature

# Whose parameters are options without a section.
OWNERS = (
    "model.model_interface:MInterface",
    "data.data_interface:DInterface",
    "core.callbacks:make_callbacks",
    "core.callbacks:make_loggers",
    "core.runs:make_folder",
    "main:build",
)


@dataclass(frozen=True)
class Section:
    """Options of one class: `model.depth`."""

    target: str = ""  # module:Object, or
    chosen_by: str = ""  # the option that names it
    hidden: tuple[str, ...] = ()  # parameters that this project's code passes itself
    open: tuple[str, ...] = ()  # the same, unless the user sets them


SECTIONS = {
    "model": Section(chosen_by="model_name"),
    "data": Section(chosen_by="dataset", open=("split", "train", "download")),
    "loss_args": Section(chosen_by="loss", hidden=("size_average", "reduce")),
    "optimizer_args": Section(chosen_by="optimizer", hidden=("params", "lr", "weight_decay")),
    "lr_scheduler_args": Section(
        chosen_by="lr_scheduler",
        hidden=("optimizer", "last_epoch"),
        open=("total_steps", "T_max", "total_iters", "max_lr"),
    ),
    "early_stopping": Section(
        "pytorch_lightning.callbacks:EarlyStopping", hidden=("monitor", "mode")
    ),
    "checkpoint": Section(
        "pytorch_lightning.callbacks:ModelCheckpoint", hidden=("monitor", "mode", "dirpath")
    ),
    "lr_monitor": Section("pytorch_lightning.callbacks:LearningRateMonitor"),
    "trainer": Section("pytorch_lightning:Trainer"),
}


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@dataclass
class Group:
    """The options of one owner."""

    title: str
    section: str  # "model", or "" for options without a section
    signature: Signature
    setting: bool = True  # written to config.yaml; what belongs to a verb is not

    def keys(self) -> dict[str, Parameter]:
        prefix = f"{self.section}." if self.section else ""
        return {prefix + name: p for name, p in self.signature.parameters.items()}


@dataclass
class Options:
    """All options of a run.

    Attributes:
        verb: What to do: `fit`, `test`, ….
        values: What the user set, by key: `{"lr": 0.1, "model.depth": 50}`.
        targets: The chosen classes as `module:Object`, by section.
        run_folder: The earlier run that the verb is about, if it is about one.
    """

    verb: str
    values: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    run_folder: Path | None = None

    def of(self, owner: str) -> dict[str, Any]:
        """What was set for a section ("model"), or for the function or class of that name."""
        if owner in SECTIONS:
            start = owner + "."
            return {k.removeprefix(start): v for k, v in self.values.items() if k.startswith(start)}
        target = next(t for t in (*OWNERS, f"main:{self.verb}") if t.endswith(":" + owner))
        sections = {_argument(section): self.of(section) for section in SECTIONS}
        takes = _taken(target)
        return {n: v for n, v in (self.values | sections).items() if n in takes}

    def keys(self) -> dict[str, Parameter]:
        return {key: p for group in self.groups for key, p in group.keys().items()}

    def complete(self) -> dict[str, Any]:
        """Every option with its value, nested, as an options file holds it."""
        out: dict[str, Any] = {}
        for group in self.groups:
            if not group.setting:
                continue
            place = out.setdefault(group.section, {}) if group.section else out
            for key, parameter in group.keys().items():
                if key in self.values or (is_plain(parameter.default) and not parameter.forwarded):
                    place[parameter.name] = to_plain(self.values.get(key, parameter.default))
        return out

    def fill(self, key: str, candidates: Iterable[Any]) -> None:
        """Sets an option that the user left open to the first of these values that fits its type."""
        for value in candidates:
            if key not in self.values and is_plain(value) and self.fits(key, value):
                self.values[key] = value

    def fits(self, key: str, value: Any) -> bool:
        try:
            self._checked(key, value)
        except ArgumentError:
            return False
        return True

    def _checked(self, key: str, value: Any, typed: bool = False) -> Any:
        """The value as the option's type; `typed` where it is a string from the command line."""
        parameter = self.keys()[key]
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--value", type=parameter.type)
        if typed:
            return parser.parse_args([f"--value={value}"])["value"]
        return parser.parse_object({"value": to_plain(value)})["value"]

    def set(self, key: str, value: Any, origin: str, typed: bool = False) -> None:
        """Checks and sets one option.

        Raises:
            UsageError: The value does not fit the option's type.
        """
        try:
            self.values[key] = self._checked(key, value, typed)
        except ArgumentError:
            kind = self.keys()[key].type
            choices = [str(c) for c in _literals(kind)]
            hint = suggest(str(value), choices) if choices else ""
            raise UsageError(f"{origin}: expected {type_name(kind)}, got {value!r}{hint}") from None


def to_plain(value: Any) -> Any:
    """A value as YAML holds it: no tuples, no namespaces."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items()}
    return [to_plain(v) for v in value] if isinstance(value, list | tuple | set) else value


def type_name(kind: Any) -> str:
    """A type as a user reads it: `int or null`, `one of 'min', 'max'`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (None, type(None)):
        return "null"
    if kind is Any:
        return "any value"
    if origin is typing.Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(map(repr, arguments))
    if origin in (typing.Union, UnionType):
        return " or ".join(type_name(a) for a in arguments if a is not Any)
    if arguments:
        name = getattr(origin, "__name__", str(origin)).lower()
        return f"{name}[{', '.join('...' if a is ... else type_name(a) for a in arguments)}]"
    return getattr(kind, "__name__", str(kind))


def _literals(kind: Any) -> Iterator[Any]:
    if typing.get_origin(kind) is typing.Literal:
        yield from typing.get_args(kind)
    else:
        for argument in typing.get_args(kind):
            yield from _literals(argument)


def _taken(target: str) -> dict[str, Parameter]:
    """The parameters of this project's own code that are options: of functions those after the `*`."""
    is_class = target.partition(":")[2][0].isupper()
    return {
        n: p for n, p in lookup.signature(target).parameters.items() if is_class or p.keyword_only
    }


def _argument(section: str) -> str:
    """The parameter that takes a section: model_args takes "model"."""
    return f"{section}_args" if section in ("model", "data") else section


def parse(arguments: list[str], verbs: dict[str, str]) -> Options:
    """Reads config.yaml, each --config file and the command line, the later over the earlier.

    Args:
        arguments: The command line without the program.
        verbs: What can be done, each with the `module:function` that does it.

    Raises:
        UsageError: Anything that can't be run as typed.
        SystemExit: With 0, after `--help` was printed.
    """
    verb, typed, wants_help = _tokens(arguments, verbs)
    options = Options(verb)
    layers = _layers(options, _taken(verbs[verb]).get("run"), wants_help, typed)
    typed = [(name, value) for name, value in typed if name != "config"]

    chosen = {about.chosen_by: section for section, about in SECTIONS.items() if about.chosen_by}
    values: dict[str, tuple[str, Any]] = {}  # key: origin and value
    for origin, content in [*layers, ("", {n: v for n, v in typed if n in chosen})]:
        for selector, section in chosen.items():  # arguments of another class don't carry over
            if selector in content and content[selector] != values.get(selector, ("", None))[1]:
                values = {k: v for k, v in values.items() if not k.startswith(section + ".")}
        values |= {key: (origin, value) for key, value in content.items()}
    names = {selector: values[selector][1] for selector in chosen if selector in values}
    options.groups = _groups(verbs[verb], names, options.targets)

    for key, (origin, value) in values.items():
        _allow(options, key)
        if key not in options.keys():
            raise UsageError(f"{origin}: unknown key '{key}'{suggest(key, options.keys())}")
        if origin:
            options.set(key, value, f"{origin}: {key}")
    for name, value in typed:
        _set_typed(options, name, value)
    if wants_help:
        _print_help(options, verbs)
        raise SystemExit(0)
    for selector in ("model_name", "dataset"):
        if selector not in options.values:
            names_known = ", ".join(lookup.files(selector))
            raise UsageError(f"--{selector} is missing; choose one of: {names_known}")
    return options


def _layers(
    options: Options, run: Parameter | None, wants_help: bool, typed: list[tuple[str, str]]
) -> list[tuple[str, dict[str, Any]]]:
    """The options files by name, the stronger ones later."""
    project = ROOT / "config.yaml"
    defaults = _flat(project) if project.exists() else {}
    layers = [(project.name, defaults)]
    words = dict(typed)
    if run is not None and not wants_help:  # the verb is about an earlier run
        root = words.get("default_root_dir") or defaults.get("trainer.default_root_dir") or "runs"
        options.run_folder = find_folder(root, words.get("run", run.default))
        file = options.run_folder / "config.yaml"
        layers.append((str(file), _flat(file)))
    return layers + [(value, _flat(Path(value))) for name, value in typed if name == "config"]


def _tokens(arguments: list[str], verbs: dict[str, str]) -> tuple[str, list[tuple[str, str]], bool]:
    """Splits a command line into its verb, pairs of option and value, and whether help is asked for."""
    rest, pairs, wants_help = list(arguments), [], False
    verb = rest.pop(0) if rest and not rest[0].startswith("-") else "fit"
    if verb not in verbs:
        hint = suggest(verb, verbs, f"; choose one of: {', '.join(verbs)}")
        raise UsageError(f"there is no verb '{verb}'{hint}")
    while rest:
        token = rest.pop(0)
        if token in ("-h", "--help"):
            wants_help = True
            continue
        if not token.startswith("--") or token == "--":
            last = (
                f" after --{pairs[-1][0]} {pairs[-1][1]}; a list is written '[1,2]'"
                if pairs
                else ""
            )
            raise UsageError(f"unexpected '{token}'{last}; options are written --name value")
        name, equals, value = token[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{name} needs a value; for a switch type: --{name} true")
            value = rest.pop(0)
        pairs.append((name, value))
    return verb, pairs, wants_help


def _flat(file: Path) -> dict[str, Any]:
    """An options file by key, one level of sections deep."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader) or {}
    except OSError as error:
        raise UsageError(f"--config {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UsageError(
            f"{file}{line}: not valid YAML ({getattr(error, 'problem', error)})"
        ) from None
    if not isinstance(content, dict):
        raise UsageError(f"{file}: expected lines of 'name: value', got {type(content).__name__}")
    flat = {}
    for key, value in content.items():
        if key not in SECTIONS:
            flat[str(key)] = value
        elif isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif value is not None:
            raise UsageError(f"{file}: {key}: expected 'name: value' lines below it, got {value!r}")
    return flat


def _groups(verb: str, chosen: dict[str, Any], targets: dict[str, str]) -> list[Group]:
    groups = []
    for target in (verb, *OWNERS):
        found = lookup.signature(target)
        module, _, name = target.partition(":")
        own = {n: p for n, p in _taken(target).items() if n not in map(_argument, SECTIONS)}
        title = f"{name} ({module.replace('.', '/')}.py)"
        groups.append(Group(title, "", Signature(own, found.help), setting=target != verb))
    defaults = {n: p.default for group in groups for n, p in group.keys().items()}
    interface = lookup.signature(OWNERS[0]).parameters
    constants = {
        n: p.default for t in OWNERS for n, p in _taken(t).items() if isinstance(p.default, dict)
    }
    for section, about in SECTIONS.items():
        name = chosen.get(about.chosen_by, defaults.get(about.chosen_by))
        if about.chosen_by and (name is None or name is REQUIRED):
            continue
        target = about.target or lookup.locate(about.chosen_by, str(name))
        targets[section] = target
        found = lookup.signature(target)
        hidden = set(about.hidden)
        if (
            "loss_args" in found.parameters
        ):  # a subclass of MInterface, which passes its **kwargs on
            hidden |= interface.keys()
        if section == "loss_args" and lookup.is_function(target):
            hidden |= {*list(found.parameters)[:2]}  # what it compares
        own = {n: p for n, p in found.parameters.items() if n not in hidden}
        title = f"{section}.* of {target.replace(':', '.')}"
        ours = constants.get(section, {})
        own = {
            n: replace(p, default=ours.get(n, p.default), forwarded=p.forwarded or n in about.open)
            for n, p in own.items()
        }
        groups.append(Group(title, section, Signature(own, found.help, found.open)))
    return groups


def _allow(options: Options, key: str) -> None:
    """Takes a keyword that a class accepts through **kwargs without naming it."""
    for group in options.groups:
        section, dot, name = key.partition(".")
        if group.signature.open and dot and section == group.section:
            group.signature.parameters.setdefault(name, Parameter(name, forwarded=True))


def _set_typed(options: Options, name: str, value: str) -> None:
    """Sets what was typed; a name without its section sets it for every owner."""
    _allow(options, name)
    keys = options.keys()
    owners = (
        [name]
        if "." in name or name in ("model_name", "dataset")
        else [k for k in keys if k.rpartition(".")[2] == name]
    )
    if not owners or owners[0] not in keys:
        bare = {k.rpartition(".")[2] for k in keys}
        raise UsageError(f"--{name}: no such option{suggest(name, [*keys, *bare], '; see --help')}")
    if len(owners) == 1:
        options.set(owners[0], value, f"--{name}", typed=True)
        return
    for key in owners:
        try:
            options.set(key, value, f"--{key}", typed=True)
        except UsageError as error:
            forms = " or ".join(f"--{k} VALUE" for k in owners)
            raise UsageError(
                f"--{name} {value}: does not fit every owner ({error}); type {forms}"
            ) from None


def _print_help(options: Options, verbs: dict[str, str]) -> None:
    usage = f"python main.py [{'|'.join(verbs)}] [--config FILE] [--name value ...]"
    about = "\n".join(
        f"  {verb:10}{lookup.signature(target).help}" for verb, target in verbs.items()
    )
    parser = argparse.ArgumentParser(
        usage=usage,
        description=about,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    section = parser.add_argument_group("always")
    section.add_argument("--help", metavar="", help="Show the options of the chosen classes.")
    section.add_argument(
        "--config", metavar="FILE", help="Options file (YAML); the command line overrides it."
    )
    for group in options.groups:
        section = parser.add_argument_group(group.title, group.signature.help)
        for key, parameter in group.keys().items():
            if f"--{key}" not in parser._option_string_actions:
                section.add_argument(
                    f"--{key}", metavar="", help=_help(key, parameter, options).replace("%", "%%")
                )
    print(parser.format_help())


def _help(key: str, parameter: Parameter, options: Options) -> str:
    default = options.values.get(key, parameter.default)
    shown = (
        "required"
        if default is REQUIRED
        else default.text
        if isinstance(default, Code)
        else json.dumps(default)
    )
    text = " ".join(parameter.help.split())
    if key in lookup.KINDS:
        kind = lookup.KINDS[key]
        names = lookup.files(key) if kind.folder else lookup.library_names(key)
        text += (
            f" One of: {', '.join([*names, *(f'{prefix}:NAME' for prefix, _ in kind.libraries)])}."
        )
    return f"{text} ({type_name(parameter.type)}; {shown})"
