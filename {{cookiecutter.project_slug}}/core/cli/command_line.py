"""What was typed, and the options files below it, read into `Options`."""

import itertools
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader

from core import ROOT
from core.cli import names, objects
from core.cli.names import suggest
from core.cli.options import LISTS, NONE, SECTIONS, SELECTORS, Options, Text, own_parameters
from core.cli.source import REQUIRED, definition
from core.errors import UsageError
from core.runs.folders import find_folder, requeued
from core.runs.processes import say

# What makes no difference to network and data: it may be changed when a run goes on.
_FREE = (
    *("trainer.", "callbacks", "stop_early", "checkpoint", "loggers", "num_workers", "on_device"),
    *("compile", "channels_last", "float32_matmul_precision", "resume", "profile", "auto_batch"),
    "final_test",
)
_AVERAGING = tuple(
    f"pytorch_lightning.callbacks.{name}" for name in ("WeightAveraging", "weight_averaging.")
)
# What others call it.
_COMMON = {
    **{"learning_rate": "lr", "bs": "batch_size", "wd": "weight_decay", "model": "model_name"},
    **{"epochs": "trainer.max_epochs", "gpus": "trainer.devices", "workers": "num_workers"},
}
Pairs = list[tuple[str, Text]]  # of option and value


def parse(arguments: list[str], owners: dict[str, str]) -> Options:
    """Reads config.yaml, each --config file and the command line, the later over the earlier.

    Args:
        arguments: The command line without the program.
        owners: See `Options`.

    Raises:
        UsageError: Anything that can't be run as typed.
    """
    command, typed, page = _tokens(arguments)
    options = Options(command, owners, arguments)
    layers = _layers(options, typed, page is not None)
    typed = [(name, value) for name, value in typed if name != "config"]
    chosen = "", {n: v for n, v in typed if n in SELECTORS}
    values = _merged([*layers, chosen])
    origin, dataset = values.get("dataset", ("", None))
    is_open = dataset is None or origin == layers[0][0]  # none was typed
    if is_open and options.gives_loaders(values.get("model_name", ("", None))[1]):
        options.has_loaders = True
        values = _merged([*layers, (layers[0][0], {"dataset": None}), chosen])
    options.add_sections({n: values[n][1] for n in SELECTORS if n in values})
    recorded = {n: v for _, content in layers for n, v in content.items() if n in SELECTORS}
    for is_first in (True, False):  # the lists tell what further options there are
        for key, (origin, value) in values.items():
            if origin and (key.rstrip("+") in LISTS) == is_first:
                _set_from_file(options, key, value, origin)
        recorded = options.values | recorded
        for name, value in typed:
            if (name.rstrip("+") in LISTS) == is_first:
                _set_typed(options, name, value)
        if is_first:
            options.add_listed()
    if page is not None:
        options.targets["command"] = names.locate("command", "help")
        options.values["page"] = page
    elif command != "help":
        _check(options, recorded)
    return options


def _check(options: Options, recorded: dict[str, Any]) -> None:
    """Refuses what lacks an option, or gives one that an earlier run does not let be changed."""
    for name in ("model_name", "dataset"):
        if options.values.get(name) is None and not (name == "dataset" and options.has_loaders):
            raise UsageError(f"--{name} is missing; choose of: {', '.join(names.files(name))}")
    for name, parameter in own_parameters(options.targets["command"]).items():
        if parameter.default is REQUIRED and name not in options.values:
            command = options.command
            raise UsageError(f"{command} needs {name}; see python main.py {command} --help")
    bound = {*SECTIONS, *map(names.section, options.values.get("batch_transforms") or [])}
    free = (*_FREE, *(f"{s}." for s in options.targets if s not in bound))
    free = free if options.command == "fit" else (*free, "batch_size", "run", "ckpt", "format")
    known = options.known()
    for key, value in options.values.items():
        before = recorded.get(key, known[key].default)
        if options.run_folder and value != before and not key.startswith(free):
            options.changed.append(f"{key}={'null' if value is None else value}")
    average = [_averages(values.get("callbacks")) for values in (recorded, options.values)]
    if "resume" in options.values and average[0] != average[1]:
        raise UsageError("--callbacks: a run goes on as it began, with averaged weights or without")
    if options.changed and "resume" in options.values:
        hint = "a run goes on as it began; start a new one from its weights: --init_from"
        raise UsageError(f"--{options.changed[0].replace('=', ' ')}: {hint} {options.run_folder}")


def _averages(callbacks: list[Any] | None) -> bool:
    """Whether one of these callbacks averages the weights, and keeps that in place of them."""
    chosen = [names.locate("callbacks", name) for name in callbacks or [] if isinstance(name, str)]
    return any(objects.derives(definition(target), _AVERAGING) for target in chosen)


def _tokens(arguments: list[str]) -> tuple[str, Pairs, str | None]:
    """The command, pairs of option and value, and the page of help: None for none, "" the first."""
    rest, page = [*arguments], None
    pairs: Pairs = []
    command = rest.pop(0) if rest and not rest[0].startswith("-") else "fit"
    known = names.files("command")
    if command not in known:
        hint = suggest(command, known, f"; choose one of: {', '.join(known)}")
        raise UsageError(f"there is no command '{command}'{hint}")
    takes = own_parameters(names.locate("command", command))
    named = [name for name in takes if name in ("run", "runs", "page")]
    words = [*itertools.takewhile(lambda word: not word.startswith("-"), rest)]
    if named and words:  # test digits-resnet is test --run digits-resnet
        runs = words[0] if len(words) == 1 else f"[{','.join(words)}]"
        pairs.append((named[0], Text(runs)))
        del rest[: len(words)]
    while rest:
        token = rest.pop(0)
        name, equals, value = token[2:].partition("=")
        is_last = not rest or rest[0].startswith("--")
        if token in ("-h", "--help"):
            page = "" if is_last else rest.pop(0)
        elif not token.startswith("--") or not name:
            raise UsageError(f"unexpected '{token}'; type --name value, and lists as '[1,2]'")
        elif token == "--resume" and is_last:
            pairs.append(("resume", Text("last")))
        elif not equals and is_last:
            raise UsageError(f"--{name} needs a value; a switch is typed as --{name} true")
        else:
            pairs.append((name, Text(value if equals else rest.pop(0))))
    return command, pairs, page


def _layers(options: Options, typed: Pairs, wants_help: bool) -> list[tuple[str, dict[str, Any]]]:
    """The options files by name, the stronger ones later."""
    project = ROOT / "config.yaml"
    defaults = _flat(options, project) if project.exists() else {}
    files = [Path(value) for name, value in typed if name == "config"]
    takes, words = own_parameters(options.targets["command"]), dict(typed)
    roots = (words.get("root"), words.get("default_root_dir"))
    root = str(next(filter(None, (*roots, defaults.get("trainer.default_root_dir"), "runs"))))
    if "resume" in takes and "resume" not in words and (begun := requeued(root)):
        typed.append(("resume", Text(begun)))
        words["resume"] = Text(begun)
    run = words.get("run", takes["run"].default) if "run" in takes else words.get("resume")
    if run not in (None, "null") and not wants_help:  # the command is about an earlier run
        options.run_folder = find_folder(root, run, needs_weights="run" in takes)
        files.insert(0, options.run_folder / "config.yaml")
    return [(project.name, defaults), *((str(file), _flat(options, file)) for file in files)]


def _merged(layers: list[tuple[str, dict[str, Any]]]) -> dict[str, tuple[str, Any]]:
    """The origin and value that hold of each key; "callbacks+" is what is added to callbacks."""
    values: dict[str, tuple[str, Any]] = {}
    for origin, content in layers:
        for selector, section in SELECTORS.items():  # arguments of another class don't carry over
            if selector in content and content[selector] != values.get(selector, ("", None))[1]:
                values = {k: v for k, v in values.items() if not k.startswith(section + ".")}
        for key, value in content.items():
            if key.endswith("+"):
                more = value if isinstance(value, list) else [str(value)]
                values[key] = origin, [*values.get(key, ("", []))[1], *more]
            else:
                is_null = isinstance(value, Text) and value == "null"
                values[key] = origin, None if is_null else value
                values.pop(f"{key}+", None)
    return values


def _flat(options: Options, file: Path) -> dict[str, Any]:
    """An options file by key, such as "model.depth"; what is written there plainly as `Text`."""
    try:
        text = file.read_text(encoding="utf-8")
        content, root = get_loader("yaml")(text) or {}, yaml.compose(text, yaml.CSafeLoader)
    except OSError as error:
        hint = "an option of a network or dataset is typed --model.config or --data.config"
        raise UsageError(f"--config {file}: {error.strerror}; {hint}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    nodes = root.value if isinstance(root, yaml.MappingNode) else []
    if nodes and isinstance(content, str):  # nothing but nulls
        content = {key.value: None for key, _ in nodes}
    if not isinstance(content, dict):
        raise UsageError(f"{file}: expected lines of 'name: value', got {type(content).__name__}")
    flat, known = dict[str, Any](), options.known()
    for (key, value), (_, node) in zip(content.items(), nodes, strict=True):
        if isinstance(value, dict) and str(key) not in known:
            inner = zip(value.items(), node.value, strict=True)
            flat |= {f"{key}.{name}": _text(v, n) for (name, v), (_, n) in inner}
        elif key not in SECTIONS:
            flat[str(key)] = _text(value, node)
        elif value is not None:
            raise UsageError(f"{file}: {key}: expected lines of 'name: value', got {value!r}")
    if before := flat.pop("trainer.callbacks", None):  # where they were once
        flat["callbacks+"] = before
    return flat


def _text(value: Any, node: Any) -> Any:
    """A value of a file, read as if it had been typed unless it is in quotes."""
    is_typed = isinstance(node, yaml.ScalarNode) and not node.style and value is not None
    return Text(node.value) if is_typed else value


def _set_from_file(options: Options, key: str, value: Any, origin: str) -> None:
    name = key.rstrip("+")
    found = options.keys(name) if name not in options.idle else []
    if not found:
        section, dot, inner = name.partition(".")
        if section in options.idle:
            return  # of another network's
        if (
            dot
            and section not in options.targets
            and any(section in names.choices(n) for n in LISTS)
        ):
            return  # of what is not chosen
        if value is None and any(
            g.section == section and inner in g.hidden for g in options.groups
        ):
            return  # once it was an option
        raise UsageError(f"{origin}: unknown key '{name}'{suggest(name, options.known())}")
    for known in found:
        (options.add if key.endswith("+") else options.set)(known, value, f"{origin}: {known}")


def _set_typed(options: Options, name: str, value: Text) -> None:
    bare = name.removesuffix("+")
    keys = options.keys(bare)
    holder, dot, item = bare.partition(".")
    if not keys and dot and "dict" in str(options.known().get(holder, NONE).type):
        try:
            inner = get_loader("yaml")(str(value))
        except yaml.YAMLError:
            raise UsageError(f"--{bare} {value}: not valid YAML; lists as '[1,2]'") from None
        named = {**(options.values.get(holder) or {}), item: inner}
        options.set(holder, named, f"--{bare} {value}")
        return
    if not keys:
        section, _, inner = bare.rpartition(".")
        words = {key.rpartition(".")[2]: key for key in options.known()}
        hint = suggest(bare, [*options.known(), *words], "; see --help")
        if bare in _COMMON and _COMMON[bare] in options.known():
            hint = f"; did you mean '{_COMMON[bare].rpartition('.')[2]}'?"
        if section.rpartition(".")[2] in words:
            hint = f"; type --{section} '{{{inner}: {value}}}'"
        opened = next((g for g in options.groups if g.section == "model" and g.is_open), None)
        if opened and not section:
            name = opened.target.partition(":")[2]
            hint += f" ({name} takes **kwargs: type --model.{bare} if it knows that)"
        if bare.partition(".")[0] in options.idle:
            network = options.targets["model"].partition(":")[2]
            hint = f"; {network} is a LightningModule, which does that by itself"
        lists = [name for name in LISTS if section in names.choices(name)]
        if lists and section not in options.targets:
            hint = f"; type --{lists[0]}+={section} before"
        elif section and inner in words:
            hint = f"; did you mean '{inner}'?"
        raise UsageError(f"--{bare}: the chosen classes have no such option{hint}")
    others = [
        k for k in options.known() if k.endswith(f".{bare}") and k.startswith(("model.", "data."))
    ]
    if keys == [bare] and others:
        say(f"--{bare} is this project's; that of {others[0].partition('.')[0]} is --{others[0]}")
    for key in keys:
        try:
            (options.add if name != bare else options.set)(key, value, f"--{key} {value}")
        except UsageError as error:
            every = [*keys, *others]
            forms = f"; type {' or '.join(f'--{k} VALUE' for k in every)}" if len(every) > 1 else ""
            raise UsageError(f"{error}{forms}") from None
