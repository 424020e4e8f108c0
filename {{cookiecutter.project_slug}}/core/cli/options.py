"""The options of a command: whose parameters they are, and what was set.

An option exists because a constructor or function has that parameter: of this project's own, the
owners, without a section; of a chosen class in a section, such as `model.depth`.
"""

import functools
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from core.cli import facts, names, objects
from core.cli.construct import is_factory, is_plain, offer, signature
from core.cli.names import suggest
from core.cli.source import REQUIRED, Parameter, Signature, definition, literals
from core.errors import UsageError
from core.runs.processes import say


@dataclass(frozen=True)
class Section:
    """Options of one class: `model.depth`."""

    target: str = ""  # module:Object, or
    chosen_by: str = ""  # the option that names it
    hidden: tuple[str, ...] = ()  # parameters that this project's code passes itself
    offered: tuple[str, ...] = ()  # the same, unless the user sets them


SECTIONS = {
    "model": Section(chosen_by="model_name"),
    "data": Section(chosen_by="dataset", offered=("split", "train", "download")),
    "loss_args": Section(chosen_by="loss", hidden=("size_average", "reduce")),
    "optimizer_args": Section(chosen_by="optimizer", hidden=("params", "lr", "weight_decay")),
    "lr_scheduler_args": Section(
        chosen_by="lr_scheduler",
        hidden=("optimizer", "last_epoch"),
        offered=("total_steps", "T_max", "total_iters", "max_lr", "mode"),
    ),
    "checkpoint": Section(
        "pytorch_lightning.callbacks:ModelCheckpoint",
        hidden=("monitor", "mode", "dirpath"),
        offered=("filename", "enable_version_counter"),
    ),
    "trainer": Section("pytorch_lightning:Trainer", hidden=("callbacks",)),
}
SELECTORS = {about.chosen_by: name for name, about in SECTIONS.items() if about.chosen_by}
LISTS = {  # of names; each has a section of its own
    "callbacks": Section(offered=("folder", "monitor", "mode")),
    "metrics": Section(offered=("task", "num_classes", "num_labels", "ignore_index", "data_range")),
    "batch_transforms": Section(hidden=("labels_getter",), offered=("num_classes",)),
}
_PASSED = {"model": "model_args", "data": "data_args"}  # the parameter that takes a section
_LISTED = ("callback_args", "metric_args", "batch_transform_args")
_INNER = {*(_PASSED.get(name, name) for name in SECTIONS), *_LISTED}


NONE = Parameter("none", default=None)


class Text(str):
    """A value as it was written, in a command or a file: the option's type decides what it is."""


@dataclass
class Group:
    """The options of one owner."""

    target: str  # module:Object
    page: str  # of the help
    section: str  # "model", or "" for options without a section
    parameters: dict[str, Parameter]
    help: str
    offered: tuple[str, ...] = ()
    is_open: bool = False  # takes keywords that its source does not name
    hidden: set[str] = field(default_factory=set)  # what is no option
    is_setting: bool = True  # what belongs to a command is not, and is not written to config.yaml

    def known(self) -> dict[str, Parameter]:
        """Its options by key."""
        prefix = f"{self.section}." if self.section else ""
        return {prefix + name: p for name, p in self.parameters.items()}


@dataclass
class Options:
    """All options of a command.

    Attributes:
        command: What to do: `fit`, `test`, ….
        owners: Of whose parameters there are options without a section, as `module:Object`, each
            with its page of the help. Of classes all, of functions those after the `*`.
        arguments: What was typed.
        values: What is set, by key: `{"lr": 0.1, "model.depth": 50}`.
        targets: The chosen classes as `module:Object`, by section.
        groups: What can be set, by owner.
        run_folder: The earlier run that the command is about, if it is about one.
        checkpoint: What that run goes on from, if it does.
        changed: What was given anew for it that makes a difference, as "lr=0.1".
        label: What that, and weights other than the best, add to the names of results.
        idle: Options of the interfaces that the chosen LightningModule has no use for.
        has_loaders: Whether the data is what that module's own loaders give.
    """

    command: str
    owners: dict[str, str]
    arguments: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    run_folder: Path | None = None
    checkpoint: Path | None = None
    changed: list[str] = field(default_factory=list)
    label: str = ""
    idle: set[str] = field(default_factory=set)
    has_loaders: bool = False

    def __post_init__(self) -> None:
        self.targets["command"] = names.locate("command", self.command)
        for target, page in {self.targets["command"]: self.command, **self.owners}.items():
            own = {n: p for n, p in own_parameters(target).items() if n not in _INNER}
            text, is_setting = signature(target).help, target in self.owners
            self.groups.append(Group(target, page, "", own, text, is_setting=is_setting))

    def add_sections(self, chosen: dict[str, Any]) -> None:
        """Adds the options of the classes chosen by options: `{"model_name": "resnet"}`."""
        defaults = {key: p.default for key, p in self.known().items()}
        if self.has_loaders:
            data = next(g for g in self.groups if "dataset" in g.parameters)
            self.idle |= data.parameters.keys() - {"dataset"}
            data.parameters = {"dataset": data.parameters["dataset"]}
        for section, about in SECTIONS.items():
            name = chosen.get(about.chosen_by, defaults.get(about.chosen_by))
            if about.target or (name not in (None, REQUIRED) and about.chosen_by not in self.idle):
                target = about.target or names.locate(about.chosen_by, str(name))
                self._add(section, about, target)

    def add_listed(self) -> None:
        """Adds those of the chosen callbacks and metrics, each in a section of its name."""
        for kind, about in LISTS.items():
            for name in self.values.get(kind) or []:
                if isinstance(name, str):
                    section, target = names.section(name), names.locate(kind, name)
                    if section in (*SECTIONS, *self.targets):
                        raise UsageError(f"--{kind} {name}: there is another '{section}'")
                    self._add(section, about, target)

    def _add(self, section: str, about: Section, target: str) -> None:
        self.targets[section], found = target, signature(target)
        hidden = {*about.hidden}
        if section == "model":
            hidden |= self._give_way(found)
        is_function = section == "loss_args" and not found.is_class
        if is_function and not is_factory(found.parameters.values()):  # what it compares
            hidden |= {*[*found.parameters][:2]}
        if "total_steps" in found.parameters:  # in place of which OneCycleLR takes these
            hidden |= {"epochs", "steps_per_epoch"}
        own = {n: p for n, p in found.parameters.items() if n not in hidden}
        own |= {n: replace(own[n], forwarded=True) for n in about.offered if n in own}
        group = Group(target, section, section, own, found.help, about.offered, found.open, hidden)
        self.groups.append(group)

    def _give_way(self, network: Signature) -> set[str]:
        """Takes out the options of the interface that a LightningModule does not have from it.

        Returns:
            Those that it has, which are no options of its own.
        """
        interface = next(g for g in self.groups if "model_name" in g.parameters)
        if not objects.derives(definition(self.targets["model"]), names.LIGHTNING):
            return set()
        shared: set[str] = set()
        if objects.is_a(definition(self.targets["model"]), definition(interface.target)):
            if network.parameters.get("model_name", NONE).default is REQUIRED:
                name = self.targets["model"].partition(":")[2]
                hint = "give it an __init__ that calls super().__init__(NETWORK, **options)"
                raise UsageError(f"{name} says nothing of its network; {hint}")
            shared = {*own_parameters(interface.target)}
            shared = shared if network.open else shared & network.parameters.keys()
        others = {n for g in self.groups if g is not interface for n in g.parameters}
        self.idle |= {*own_parameters(interface.target)} - shared - others - {"model_name"}
        for name in self.idle & interface.parameters.keys():
            del interface.parameters[name]
        return shared

    def gives_loaders(self, model_name: Any) -> bool:
        """Whether a network is a LightningModule, no interface, that has loaders of its own."""
        is_named = model_name and isinstance(model_name, str)
        found = definition(names.locate("model_name", model_name)) if is_named else None
        interface = next(g.target for g in self.groups if "model_name" in g.parameters)
        return (
            objects.derives(found, names.LIGHTNING)
            and not objects.is_a(found, definition(interface))
            and objects.has_method(found, "train_dataloader", names.LIGHTNING)
        )

    def section(self, name: str) -> dict[str, Any]:
        """What was set in a section, such as "model", to something else than the default."""
        known = {key: p for g in self.groups if g.section == name for key, p in g.known().items()}
        given = {key: self.values[key] for key in self.values if key in known}
        return {
            known[key].name: value
            for key, value in given.items()
            if known[key].forwarded or as_yaml(value) != as_yaml(known[key].default)
        }

    def of(self, owner: str) -> dict[str, Any]:
        """What was set for an owner or the command, named by its last word."""
        targets = (self.targets["command"], *self.owners)
        taken = own_parameters(next(t for t in targets if t.endswith(":" + owner)))
        passed: dict[str, Any] = {_PASSED.get(n, n): self.section(n) for n in SECTIONS}
        chosen = [n for n in self.targets if n not in SECTIONS and n != "command"]
        listed = {name: self.section(name) for name in chosen}
        passed |= dict.fromkeys(_LISTED, listed)
        given = self.values | passed
        return {name: v for name, v in given.items() if name in taken.keys() - self.idle}

    def known(self) -> dict[str, Parameter]:
        """Every option by its key."""
        return {key: p for group in self.groups for key, p in group.known().items()}

    def keys(self, name: str) -> list[str]:
        """The keys that a name means: without a section the project's, else that of every class."""
        section, dot, keyword = name.partition(".")
        for group in self.groups:
            if dot and group.is_open and section == group.section:
                group.parameters.setdefault(keyword, Parameter(keyword, forwarded=True))
        keys = self.known()
        if dot or name in ("model_name", "dataset"):
            return [name] if name in keys else []
        found = sorted((key for key in keys if key.rpartition(".")[2] == name), key=len)
        if name in keys:
            return [name]
        offered = [f"{g.section}.{name}" for g in self.groups if name in g.offered]
        return [key for key in found if key not in offered] or found

    def complete(self, given: bool = False) -> dict[str, Any]:
        """Every option with its value, or those `given`, nested as in an options file."""
        found: dict[str, Any] = {}
        for group in (g for g in self.groups if g.is_setting):
            place = found.setdefault(group.section, {}) if group.section else found
            for key, p in group.known().items():
                if key in self.values or (is_plain(p.default) and not p.forwarded and not given):
                    place[p.name] = as_yaml(self.values.get(key, p.default))
        return found

    def save(self, file: Path, given: bool = False) -> None:
        """Writes the complete options, or those `given`, which `--config` reads."""
        text = yaml.dump(self.complete(given), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        part = file.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)

    def offer(self, told: Callable[[str], Iterable[Any]]) -> None:
        """Sets what the user left open and the data tells, and says what it was.

        Args:
            told: Gives what the data says of a fact, such as `num_classes`, the surest first.
        """
        for group in [g for g in self.groups if g.section in ("model", "loss_args")]:
            self._offer(group, told)
        kind = self.known().get("task", Parameter("task")).type
        task = next((value for value in told("task") if value in literals(kind)), None)
        if task and "task" not in self.values:
            self.set("task", task)
            say(f"the data is for the task {task}")

    def _offer(self, group: Group, told: Callable[[str], Iterable[Any]]) -> None:
        section, title = group.section, group.target.partition(":")[2]
        given = {n: None for n in group.parameters if f"{section}.{n}" in self.values}

        def known(name: str) -> Iterator[Any]:
            parameter = group.parameters[name]
            for fact in facts.asked(parameter, section):
                for value in told(fact):
                    yield from facts.meant(group.target, parameter, fact, value)

        def fits(name: str, value: Any) -> bool:
            return is_plain(value) and bool(_read(group.parameters[name].type, value))

        found = offer(group.parameters, given, known, fits)
        filled = {name: value for name, value in found.items() if name not in given}
        for name, value in filled.items():
            self.set(f"{section}.{name}", value)
        if filled:
            text = ", ".join(f"{name} {value}" for name, value in filled.items())
            say(f"{title} gets from the data: {text}")
        elif group.is_open and section == "model":
            sure = {n: next(iter(told(n)), None) for n in ("num_classes", "in_channels")}
            typed = [f"--model.{n} {v}" for n, v in sure.items() if v and n not in group.parameters]
            if typed:
                say(f"{title} takes **kwargs; if it knows them, type {' '.join(typed)}")

    def set(self, key: str, value: Any, origin: str = "") -> None:
        """Checks and sets one option; a value that does not fit its type is a UsageError.

        The message names the origin, which is the file and key, or what was typed.
        """
        kind = self.known()[key].type
        found = _read(kind, value)
        if not found:
            hint = suggest(str(value), map(str, literals(kind)))
            shown = "null" if value is None else repr(value)
            raise UsageError(f"{origin}: expected {type_name(kind)}, got {shown}{hint}")
        self.values[key] = found[0]

    def add(self, key: str, value: Any, origin: str = "") -> None:
        """Checks a value and adds it to a list, in the same way; no name to a list that has it."""
        default = self.known()[key].default
        before = self.values.get(key, as_yaml(default) if is_plain(default) else None)
        self.set(key, value, origin)
        if not isinstance(self.values[key], list):
            raise UsageError(f"{origin}: {key} is no list to add to")
        given, known = self.values[key], before or []
        self.values[key] = known + [v for v in given if key not in LISTS or v not in known]


def own_parameters(target: str) -> dict[str, Parameter]:
    """The parameters of this project's own code that are options."""
    found: Signature = signature(target)
    return {n: p for n, p in found.parameters.items() if found.is_class or p.keyword_only}


@functools.cache
def _parser(kind: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    return parser


def _read(kind: Any, value: Any) -> list[Any]:
    """The value, as a list of one, if it fits a type; else nothing."""
    allowed = (Any, None, type(None))
    if value is None and not any(k in allowed for k in (kind, *typing.get_args(kind))):
        return []  # the parser would let any null through
    if isinstance(value, Text):  # a list of one needs no brackets
        forms: list[Any] = [[f"--value={value}"], [f"--value=[{value}]"]]
        read: Any = _parser(kind).parse_args
    else:
        forms, read = [{"value": as_yaml(value)}], _parser(kind).parse_object
    for form in forms:
        try:
            found = read(form)["value"]
            return [as_yaml(found) if kind is Any or "dict" in str(kind) else found]
        except ArgumentError:
            continue
    return []


class _Dumper(yaml.SafeDumper):
    """Quotes the text 1e-3, which the loader reads as a number."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*[eE][-+]?\d+$"), list("-+0123456789")
)


def as_yaml(value: Any) -> Any:
    """A value without tuples, namespaces, and what is only a default, such as a device."""
    value = value.as_dict() if isinstance(value, Namespace) else value
    if isinstance(value, dict):
        plain = ((key, as_yaml(inner)) for key, inner in value.items())
        return {key: inner for key, inner in plain if is_plain(inner)}
    return [as_yaml(v) for v in value] if isinstance(value, list | tuple | set) else value


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
    name = "list" if name == "sequence" else name
    inner = ", ".join("..." if a is ... else type_name(a) for a in arguments)
    return f"{name}[{inner}]" if inner else name
