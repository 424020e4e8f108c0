"""The command line and the options files.

An option exists because a constructor or function has that parameter: `OWNERS` and `SECTIONS` say
whose. Types, defaults and help are read from source, so nothing here imports torch.
"""

import contextlib
import itertools
import json
import re
import textwrap
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from core import lookup
from core.lookup import ROOT, UsageError, is_plain, suggest
from core.runs import find_folder, requeued
from core.source import REQUIRED, Code, Parameter, literals

# Whose parameters are options without a section: of classes all, of functions those after the `*`.
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
    filled: tuple[str, ...] = ()  # the same, unless the user sets them


_CALLBACKS = "pytorch_lightning.callbacks"
SECTIONS = {
    "model": Section(chosen_by="model_name"),
    "data": Section(chosen_by="dataset", filled=("split", "train", "download")),
    "loss_args": Section(chosen_by="loss", hidden=("size_average", "reduce")),
    "optimizer_args": Section(chosen_by="optimizer", hidden=("params", "lr", "weight_decay")),
    "lr_scheduler_args": Section(
        chosen_by="lr_scheduler",
        hidden=("optimizer", "last_epoch"),
        filled=("total_steps", "T_max", "total_iters", "max_lr"),
    ),
    "early_stopping": Section(f"{_CALLBACKS}:EarlyStopping", hidden=("monitor", "mode")),
    "checkpoint": Section(
        f"{_CALLBACKS}:ModelCheckpoint",
        hidden=("monitor", "mode", "dirpath"),
        filled=("filename", "enable_version_counter"),
    ),
    "lr_monitor": Section(f"{_CALLBACKS}:LearningRateMonitor"),
    "trainer": Section("pytorch_lightning:Trainer"),
}
_SELECTORS = {about.chosen_by: name for name, about in SECTIONS.items() if about.chosen_by}
# What makes no difference to network and data: it may be changed when a run goes on.
_FREE = (
    *("trainer.", "early_stopping.", "stop_early", "checkpoint", "lr_monitor.", "loggers"),
    *("num_workers", "on_device", "compile", "channels_last", "float32_matmul_precision"),
    *("resume", "profile", "auto_batch"),
)
_PASSED = {"model": "model_args", "data": "data_args"}  # the parameter that takes a section


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@dataclass
class Group:
    """The options of one owner."""

    target: str  # module:Object
    section: str  # "model", or "" for options without a section
    parameters: dict[str, Parameter]
    help: str
    is_open: bool = False  # takes keywords that its source does not name
    is_setting: bool = True  # what belongs to a verb is not, and is not written to config.yaml

    def known(self) -> dict[str, Parameter]:
        """Its options by key."""
        prefix = f"{self.section}." if self.section else ""
        return {prefix + name: p for name, p in self.parameters.items()}


@dataclass
class Options:
    """All options of a run.

    Attributes:
        verb: What to do: `fit`, `test`, ….
        verb_target: The function that does it, as `module:function`.
        values: What the user set, by key: `{"lr": 0.1, "model.depth": 50}`.
        targets: The chosen classes as `module:Object`, by section.
        groups: What can be set, by owner.
        run_folder: The earlier run that the verb is about, if it is about one.
        checkpoint: What that run goes on from, if it does.
        changed: What was given anew for it that makes a difference, as "lr=0.1".
    """

    verb: str
    verb_target: str
    values: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    run_folder: Path | None = None
    checkpoint: Path | None = None
    changed: list[str] = field(default_factory=list)

    def section(self, name: str) -> dict[str, Any]:
        """What was set in a section, such as "model"."""
        found = (key.partition(".") for key in self.values)
        return {key: self.values[f"{s}.{key}"] for s, dot, key in found if dot and s == name}

    def of(self, target: str) -> dict[str, Any]:
        """What was set for a function or class of this project, named by its last word."""
        owner = next(o for o in (*OWNERS, self.verb_target) if o.endswith(":" + target))
        sections = {_PASSED.get(name, name): self.section(name) for name in SECTIONS}
        taken = _taken(owner)
        return {name: v for name, v in (self.values | sections).items() if name in taken}

    def known(self) -> dict[str, Parameter]:
        """Every option by its key."""
        return {key: p for group in self.groups for key, p in group.known().items()}

    def complete(self) -> dict[str, Any]:
        """Every option with its value, nested as in an options file."""
        found: dict[str, Any] = {}
        for group in (g for g in self.groups if g.is_setting):
            place = found.setdefault(group.section, {}) if group.section else found
            for key, p in group.known().items():
                if key in self.values or (is_plain(p.default) and not p.forwarded):
                    place[p.name] = _as_yaml(self.values.get(key, p.default))
        return found

    def save(self, file: Path) -> None:
        """Writes the complete options, which `--config` reads."""
        text = yaml.safe_dump(self.complete(), sort_keys=False, allow_unicode=True)
        part = file.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)

    def fill(self, key: str, candidates: Iterable[Any]) -> None:
        """Sets what the user left open to the first of some values that fits its type."""
        for value in candidates:
            if key not in self.values and is_plain(value):
                try:
                    self.set(key, value)
                except UsageError:
                    continue

    def set(self, key: str, value: Any, origin: str = "", typed: bool = False) -> None:
        """Checks and sets one option.

        Args:
            key: The option.
            value: Its value.
            origin: Where it was set, for the message.
            typed: Whether it is text from the command line.

        Raises:
            UsageError: The value does not fit the option's type.
        """
        kind = self.known()[key].type
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--value", type=kind)
        allowed = (Any, None, type(None))
        no_null = value is None and not any(k in allowed for k in (kind, *typing.get_args(kind)))
        forms: list[Any] = [{"value": _as_yaml(value)}]
        if typed:  # a list of one needs no brackets
            forms = [[f"--value={value}"], [f"--value=[{value}]"]]
        read: Any = parser.parse_args if typed else parser.parse_object
        for form in [] if no_null else forms:  # the parser would let any null through
            with contextlib.suppress(ArgumentError):
                self.values[key] = read(form)["value"]
                return
        hint = suggest(str(value), map(str, literals(kind)))
        raise UsageError(f"{origin}: expected {type_name(kind)}, got {value!r}{hint}")


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
    options = Options(verb, verbs[verb])
    layers = _layers(options, typed, wants_help)
    typed = [(name, value) for name, value in typed if name != "config"]
    values: dict[str, tuple[str, Any]] = {}  # key: origin and value
    chosen = {n: None if v == "null" else v for n, v in typed if n in _SELECTORS}
    for origin, content in [*layers, ("", chosen)]:
        for selector, section in _SELECTORS.items():  # arguments of another class don't carry over
            if selector in content and content[selector] != values.get(selector, ("", None))[1]:
                values = {k: v for k, v in values.items() if not k.startswith(section + ".")}
        values |= {key: (origin, value) for key, value in content.items()}
    _add_groups(options, {name: values[name][1] for name in _SELECTORS if name in values})

    for key, (origin, value) in values.items():
        _owners(options, key)
        if key not in options.known():
            raise UsageError(f"{origin}: unknown key '{key}'{suggest(key, options.known())}")
        if origin:
            options.set(key, value, f"{origin}: {key}")
    chosen = {n: v for _, content in layers for n, v in content.items() if n in _SELECTORS}
    recorded = options.values | chosen
    for name, value in typed:
        _set_typed(options, name, value)
    if wants_help:
        _print_help(options, verbs)
        raise SystemExit(0)
    for name in ("model_name", "dataset"):
        if options.values.get(name) is None:
            raise UsageError(f"--{name} is missing; choose of: {', '.join(lookup.files(name))}")
    for name, parameter in _taken(options.verb_target).items():
        if parameter.default is REQUIRED and name not in options.values:
            raise UsageError(f"{verb} needs {name}; see python main.py {verb} --help")
    free = _FREE if verb == "fit" else (*_FREE, "batch_size", "run", "ckpt", "format")
    for key, value in options.values.items():
        before = recorded.get(key, options.known()[key].default)
        if options.run_folder and value != before and not key.startswith(free):
            options.changed.append(f"{key}={'null' if value is None else value}")
    if options.changed and "resume" in options.values:
        hint = "a run goes on as it began; start a new one from its weights: --init_from"
        raise UsageError(f"--{options.changed[0].replace('=', ' ')}: {hint} {options.run_folder}")
    return options


def _layers(
    options: Options, typed: list[tuple[str, str]], wants_help: bool
) -> list[tuple[str, dict[str, Any]]]:
    """The options files by name, the stronger ones later."""
    project = ROOT / "config.yaml"
    defaults = _flat(project) if project.exists() else {}
    files = [Path(value) for name, value in typed if name == "config"]
    taken, words = _taken(options.verb_target), dict(typed)
    root = words.get("default_root_dir") or defaults.get("trainer.default_root_dir") or "runs"
    if "resume" in taken and "resume" not in words and (begun := requeued(root)):
        typed.append(("resume", begun))
        words["resume"] = begun
    run = words.get("run", taken["run"].default) if "run" in taken else words.get("resume")
    if run not in (None, "null") and not wants_help:  # the verb is about an earlier run
        options.run_folder = find_folder(root, run, needs_weights="run" in taken)
        files.insert(0, options.run_folder / "config.yaml")
    return [(project.name, defaults), *((str(file), _flat(file)) for file in files)]


def _tokens(arguments: list[str], verbs: dict[str, str]) -> tuple[str, list[tuple[str, str]], bool]:
    """Splits a command line into verb, pairs of option and value, and whether help is wanted."""
    rest, pairs, wants_help = list(arguments), [], False
    verb = rest.pop(0) if rest and not rest[0].startswith("-") else "fit"
    if verb not in verbs:
        hint = suggest(verb, verbs, f"; choose one of: {', '.join(verbs)}")
        raise UsageError(f"there is no verb '{verb}'{hint}")
    named = [name for name in _taken(verbs[verb]) if name in ("run", "runs")]
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), rest))
    if named and words:  # test digits-resnet is test --run digits-resnet
        pairs.append((named[0], words[0] if len(words) == 1 else f"[{','.join(words)}]"))
        del rest[: len(words)]
    while rest:
        token = rest.pop(0)
        name, equals, value = token[2:].partition("=")
        if token in ("-h", "--help"):
            wants_help = True
        elif not token.startswith("--") or not name:
            raise UsageError(f"unexpected '{token}'; type --name value, and lists as '[1,2]'")
        elif token == "--resume" and (not rest or rest[0].startswith("--")):
            pairs.append(("resume", "last"))
        elif not equals and (not rest or rest[0].startswith("--")):
            raise UsageError(f"--{name} needs a value; a switch is typed as --{name} true")
        else:
            pairs.append((name, value if equals else rest.pop(0)))
    return verb, pairs, wants_help


def _flat(file: Path) -> dict[str, Any]:
    """An options file by key, such as "model.depth"."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader) or {}
    except OSError as error:
        raise UsageError(f"--config {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{file}: expected lines of 'name: value', got {type(content).__name__}")
    flat = {}
    for key, value in content.items():
        if key not in SECTIONS:
            flat[str(key)] = value
        elif isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif value is not None:
            raise UsageError(f"{file}: {key}: expected lines of 'name: value', got {value!r}")
    return flat


def _taken(target: str) -> dict[str, Parameter]:
    """The parameters of this project's own code that are options."""
    is_class = target.partition(":")[2][0].isupper()
    parameters = lookup.signature(target).parameters
    return {name: p for name, p in parameters.items() if is_class or p.keyword_only}


def _add_groups(options: Options, chosen: dict[str, Any]) -> None:
    defaults: dict[str, Any] = {}
    for target in (options.verb_target, *OWNERS):
        passed = [_PASSED.get(name, name) for name in SECTIONS]
        own = {name: p for name, p in _taken(target).items() if name not in passed}
        text, is_setting = lookup.signature(target).help, target != options.verb_target
        options.groups.append(Group(target, "", own, text, is_setting=is_setting))
        defaults |= {name: p.default for name, p in own.items()}
    interface = lookup.signature(OWNERS[0]).parameters
    for section, about in SECTIONS.items():
        name = chosen.get(about.chosen_by, defaults.get(about.chosen_by))
        if about.chosen_by and name in (None, REQUIRED):
            continue
        target = about.target or lookup.locate(about.chosen_by, str(name))
        options.targets[section] = target
        found = lookup.signature(target)
        hidden = {*about.hidden}
        if "loss_args" in found.parameters:  # a subclass of MInterface passes its **kwargs on
            hidden |= interface.keys()
        if section == "loss_args":  # what has no default is what it compares
            hidden |= {n for n, p in found.parameters.items() if p.default is REQUIRED}
        own = {n: p for n, p in found.parameters.items() if n not in hidden}
        own |= {n: replace(own[n], forwarded=True) for n in about.filled if n in own}
        options.groups.append(Group(target, section, own, found.help, found.open))


def _owners(options: Options, name: str) -> list[str]:
    """The keys that a name means: with its section one, without it that of every owner."""
    section, dot, keyword = name.partition(".")
    for group in options.groups:
        if dot and group.is_open and section == group.section:
            group.parameters.setdefault(keyword, Parameter(keyword, forwarded=True))
    keys = options.known()
    if dot or name in ("model_name", "dataset"):
        return [name] if name in keys else []
    return sorted((key for key in keys if key.rpartition(".")[2] == name), key=len)


def _set_typed(options: Options, name: str, value: str) -> None:
    keys = _owners(options, name)
    if not keys:
        known = [*options.known(), *(key.rpartition(".")[2] for key in options.known())]
        hint = suggest(name, known, "; see --help")
        raise UsageError(f"--{name}: the chosen classes have no such option{hint}")
    for key in keys:
        try:
            options.set(key, value, f"--{key} {value}", typed=True)
        except UsageError as error:
            forms = f"; type {' or '.join(f'--{k} VALUE' for k in keys)}" if len(keys) > 1 else ""
            raise UsageError(f"{error}{forms}") from None


def _as_yaml(value: Any) -> Any:
    """A value without tuples, namespaces, and what is only a default, such as a device."""
    value = value.as_dict() if isinstance(value, Namespace) else value
    if isinstance(value, dict):
        plain = ((key, _as_yaml(inner)) for key, inner in value.items())
        return {key: inner for key, inner in plain if is_plain(inner)}
    return [_as_yaml(v) for v in value] if isinstance(value, list | tuple | set) else value


def type_name(kind: Any) -> str:
    """A type as a user reads it: `int or null`, `one of 'min', 'max'`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (None, type(None)):
        return "null"
    if origin is typing.Literal:
        return "one of " * (len(arguments) > 1) + ", ".join(map(repr, arguments))
    if origin in (typing.Union, UnionType):
        named = [a for a in arguments if typing.get_origin(a) is typing.Literal]
        values = {str(v): v for a in named for v in typing.get_args(a)}  # 16 and "16" are one
        parts = [typing.Literal[(*values.values(),)]] if values else []
        parts += [a for a in arguments if a is not Any and a not in named]
        return " or ".join(map(type_name, parts))
    name = "any value" if kind is Any else getattr(origin or kind, "__name__", str(kind)).lower()
    inner = ", ".join("..." if a is ... else type_name(a) for a in arguments)
    return f"{name}[{inner}]" if inner else name


def _print_help(options: Options, verbs: dict[str, str]) -> None:
    print(f"usage: python main.py [{'|'.join(verbs)}] [--config FILE] [--name value ...]\n")
    for verb, target in verbs.items():
        print(f"  {verb:10}{lookup.signature(target).help}")
    print(
        "\nA section may be left out: --depth is --model.depth. Values of --config FILE, of YAML,"
    )
    print("hold over those of config.yaml, and the command line over both.")
    shown: set[str] = set()
    groups = {group.section or group.target: group for group in options.groups}
    order = [options.verb_target, "model", "data", *groups]
    if _taken(options.verb_target).get("run"):
        print("All further options are those of the run.")
        order = [options.verb_target, "data", OWNERS[1], "trainer"]
    for group in [groups.pop(name) for name in order if name in groups]:
        module, _, name = group.target.partition(":")
        print(f"\n{name} ({module}): {group.help}")
        for key, parameter in group.known().items():
            if key not in shown:
                text = _help(key, parameter, options.values.get(key, parameter.default))
                text = textwrap.fill(text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
                print(f"  --{key}\n{text}")
            shown.add(key)


def _help(key: str, parameter: Parameter, default: Any) -> str:
    if default is REQUIRED:
        shown = "from the data, or required" if key.startswith("model.") else "required"
    else:
        shown = default.text if isinstance(default, Code) else json.dumps(_as_yaml(default))
    choices = f" One of: {', '.join(lookup.choices(key))}." if key in lookup.KINDS else ""
    text = re.sub(r":\w+:`~?([^`<]*\w)[^`]*`", r"\1", " ".join(parameter.help.split()))  # reST
    text = text.replace("``", "")
    return f"{text}{choices} ({type_name(parameter.type)}; {shown})"
