"""What a name on the command line means: a file in model/ or data/, or a class of a library.

Names are looked up in source code first, so that a typo is answered before torch is imported.
A found object is written `module:Object`, for instance `model.resnet:ResNet`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from core.source import REQUIRED, Code, Definition, Module, Parameter, Signature, Unreadable, read

ROOT = Path(__file__).resolve().parent.parent


class UsageError(ValueError):
    """What the user typed can't work; the message says what was wrong and what to type."""


@dataclass(frozen=True)
class Kind:
    """A sort of thing that is chosen by name."""

    noun: str
    folder: str = ""  # where files are dropped in
    bases: tuple[str, ...] = ()  # what a class of this kind derives from
    libraries: tuple[tuple[str, str], ...] = ()  # prefix and module: `torchvision:NAME`
    module: str = ""  # library that plain names come from
    suffix: str = ""  # part of the class names that may be left out
    aliases: tuple[tuple[str, str], ...] = ()


_LIGHTNING = (
    "pytorch_lightning.LightningModule",
    "lightning.LightningModule",
    "lightning.pytorch.LightningModule",
)
KINDS = {
    "model_name": Kind(
        "model",
        folder="model",
        bases=("torch.nn.", "torchvision.models.", "timm.", "model.MInterface", *_LIGHTNING),
        libraries=(("torchvision", "torchvision.models"), ("timm", "timm")),
    ),
    "dataset": Kind(
        "dataset",
        folder="data",
        bases=("torch.utils.data.", "torchvision.datasets."),
        libraries=(("torchvision", "torchvision.datasets"),),
    ),
    "loss": Kind("loss", module="torch.nn", suffix="loss", aliases=(("bce", "BCEWithLogitsLoss"),)),
    "optimizer": Kind("optimizer", module="torch.optim"),
    "lr_scheduler": Kind(
        "lr_scheduler",
        module="torch.optim.lr_scheduler",
        suffix="lr",
        aliases=(("cosine", "CosineAnnealingLR"), ("plateau", "ReduceLROnPlateau")),
    ),
}

# Dropped-in files may import their neighbours as if these folders were on the path.
# Behind all else, so that no file here hides an installed package.
sys.path += [str(ROOT / kind.folder) for kind in KINDS.values() if kind.folder]


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`; did you mean 'resnet'?` where a known name is near, else `otherwise`."""
    near = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), near, n=1)
    return f"; did you mean '{near[close[0]]}'?" if close else otherwise


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def files(kind: str) -> list[str]:
    """The names that can be chosen from the folder of a kind, sorted."""
    folder = ROOT / KINDS[kind].folder
    found = [p.parent.name if p.name == "__init__.py" else p.stem for p in folder.glob("*.py")]
    found += [p.parent.name for p in folder.glob("*/__init__.py")]
    return sorted(
        {n for n in found if n not in ("__init__", folder.name, f"{folder.name}_interface")}
    )


def library_names(kind: str) -> list[str]:
    """The short names of a library's classes, such as `adamw` or `cross_entropy`, sorted."""
    about = KINDS[kind]
    module = read(about.module)
    names = (
        {n for n in module.names() if n[0].isupper() and n.lower().endswith(about.suffix)}
        if module
        else set()
    )
    return sorted(
        {_snake(n[: len(n) - len(about.suffix)]) for n in names} - {""}
        | {a for a, _ in about.aliases}
    )


def _snake(name: str) -> str:
    out = ""
    for previous, letter, following in zip(" " + name, name, name[1:] + " ", strict=False):
        split = letter.isupper() and (
            previous.islower() or (previous.isalnum() and following.islower())
        )
        out += "_" * split + letter.lower()
    return out


def locate(kind: str, name: str) -> str:
    """Finds what `name` means, as `module:Object`.

    Raises:
        UsageError: There is no such file or object, or several would do.
    """
    about = KINDS[kind]
    if about.module:
        return _in_library(kind, name)
    prefix, _, wanted = name.partition(":")
    library = dict(about.libraries).get(prefix)
    if library and wanted and prefix not in files(kind):
        return _from_prefix(about, prefix, library, wanted)
    if prefix not in files(kind):
        hint = suggest(prefix, files(kind), f"; choose one of: {', '.join(files(kind))}")
        raise UsageError(f"--{kind} {name}: there is no {about.folder}/{prefix}.py{hint}")
    module = read(f"{about.folder}.{prefix}")
    assert module is not None
    return f"{module.name}:{_named(module, wanted) if wanted else _chosen(about, module, prefix)}"


def _in_library(kind: str, name: str) -> str:
    about = KINDS[kind]
    if "." in name:
        return own_object(kind, name)
    wanted = _plain(dict(about.aliases).get(name, name))
    module = read(about.module)
    for candidate in module.names() if module else ():
        plain = _plain(candidate)
        if candidate[0].isupper() and wanted in (plain, plain.removesuffix(about.suffix)):
            return f"{about.module}:{candidate}"
    known = library_names(kind)
    hint = suggest(name, known, f"; choose one of: {', '.join(known)}")
    raise UsageError(f"--{kind} {name}: there is no such {about.noun}{hint}")


def own_object(option: str, path: str) -> str:
    """Finds the user's own `module.Name`, as `module:Name`.

    Raises:
        UsageError: There is no such module or name.
    """
    name, _, attribute = path.rpartition(".")
    module = read(name) if name else None
    if module is None:
        raise UsageError(
            f"--{option} {path}: expected module.Name, and there is no Python module '{name}'"
        )
    return f"{name}:{_named(module, attribute)}"


def _from_prefix(about: Kind, prefix: str, library: str, wanted: str) -> str:
    module = read(library)
    if module is None:
        raise UsageError(f"{prefix}:{wanted} needs the package {prefix}; type: uv add {prefix}")
    if prefix == "timm":
        return f"core.timm:{wanted}"
    if Definition.find(library, wanted) is None:
        raise UsageError(
            f"{prefix}:{wanted}: {library} has no '{wanted}'{suggest(wanted, module.names())}"
        )
    return f"{library}:{wanted}"


def _named(module: Module, wanted: str) -> str:
    names = {*module.names()}
    if wanted not in names and not hasattr(importlib.import_module(module.name), wanted):
        choices = ", ".join(module.defined()) or "nothing"
        raise UsageError(
            f"{_shown(module)} has no '{wanted}'{suggest(wanted, names, f'; it defines {choices}')}"
        )
    return wanted


def _chosen(about: Kind, module: Module, name: str) -> str:
    """The object that a file is dropped in for."""
    names = dict.fromkeys(module.names())
    camel = "".join(word[:1].upper() + word[1:] for word in name.replace("-", "_").split("_"))
    same = {
        n: d.node
        for n in names
        if _plain(n) == _plain(name) and (d := Definition.find(module.name, n))
    }
    for kind in (ast.ClassDef, ast.FunctionDef):
        called = [n for n, node in same.items() if isinstance(node, kind)]
        if camel in called or len(called) == 1:
            return camel if camel in called else called[0]
    found = {
        n: d
        for n in names
        if (d := Definition.find(module.name, n)) and isinstance(d.node, ast.ClassDef)
    }
    own = {n: d.node for n, d in found.items() if d.module is module or _belongs(d.module, module)}
    fitting = [n for n in own if _derives(module.name, n, about.bases)]
    free = [
        n for n in fitting if not any(_uses(node, n) for other, node in own.items() if other != n)
    ]
    if len(free) == 1:
        return free[0]
    choices = free or fitting or [*module.defined()]
    if not choices:
        raise UsageError(f"{_shown(module)} defines no class; it should hold a class {camel}")
    listing = ", ".join(f"{name}:{choice}" for choice in choices)
    raise UsageError(f"{_shown(module)} has no class {camel}; choose one of: {listing}")


def _belongs(file: Module, module: Module) -> bool:
    """Whether a file is part of the sub-folder that was chosen."""
    return module.path.name == "__init__.py" and module.path.parent in file.path.parents


def _derives(module: str, name: str, bases: tuple[str, ...]) -> bool:
    definition = Definition.find(module, name)
    for base in getattr(definition and definition.node, "bases", []):
        full = definition.qualified(base)
        owner, _, attribute = full.rpartition(".")
        if full.startswith(bases) or (owner and _derives(owner, attribute, bases)):
            return True
    return False


def _uses(node: ast.AST, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def _shown(module: Module) -> str:
    return str(module.path.relative_to(ROOT)) if ROOT in module.path.parents else module.name


def is_function(target: str) -> bool:
    """Whether `module:Object` is a function rather than a class."""
    module, _, name = target.partition(":")
    definition = Definition.find(module, name)
    return definition is not None and isinstance(definition.node, ast.FunctionDef)


def signature(target: str) -> Signature:
    """What the class or function `module:Object` takes, read from source, else by importing it."""
    module, _, name = target.partition(":")
    if module == "core.timm":
        return _timm_signature()
    try:
        if (definition := Definition.find(module, name)) is not None:
            return definition.signature()
    except Unreadable:
        pass
    parameters = {}
    for parameter in inspect.signature(load(target)).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            plain = parameter.default is None or isinstance(
                parameter.default, int | float | str | tuple | list
            )
            default = parameter.default if plain else Code(repr(parameter.default))
            missing = parameter.default is parameter.empty
            parameters[parameter.name] = Parameter(
                parameter.name, default=REQUIRED if missing else default
            )
    return Signature(parameters)


def _timm_signature() -> Signature:
    """`timm.create_model`, with the two keywords that every model of timm takes."""
    definition = Definition.find("timm", "create_model")
    assert definition is not None
    found = definition.signature()
    common = [
        Parameter("num_classes", int | None, None, "Size of the head."),
        Parameter("in_chans", int | None, None, "Channels of the images."),
    ]
    own = {n: p for n, p in found.parameters.items() if n != "model_name"}
    return Signature(own | {p.name: p for p in common}, found.help, open=True)


def load(target: str) -> Any:
    """Imports the class or function `module:Object`."""
    module, _, name = target.partition(":")
    if module == "core.timm":
        import timm

        if not timm.is_model(name) and ":" not in name:
            raise UsageError(
                f"timm:{name}: timm has no such model{suggest(name, timm.list_models())}"
            )
        return lambda **arguments: timm.create_model(name, **arguments)
    found = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise UsageError(
            f"{target.replace(':', '.')} is a {type(found).__name__}; expected a class or a function"
        )
    return found


def construct(target: Any, arguments: dict[str, Any]) -> Any:
    """Calls a class or function with options, which are plain values.

    A string given where the default is a class or function (`act_layer=nn.GELU`), or where the
    parameter has neither type nor default, is looked up in the file: `--act_layer nn.ReLU`.

    Raises:
        UsageError: A required argument is missing.
    """
    parameters = inspect.signature(target).parameters
    scope = vars(sys.modules.get(getattr(target, "__module__", None) or "", object))
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [n for n, p in parameters.items() if p.default is p.empty and p.kind not in variadic]
    if missing := [n for n in required if n not in arguments]:
        options = " ".join(f"--{n} VALUE" for n in missing)
        file = target.__module__.rpartition(".")[2]
        functions = [
            n
            for n, f in scope.items()
            if inspect.isfunction(f) and f.__module__ == target.__module__
        ]
        makers = [f"{file}:{n}" for n in functions if not n.startswith(("_", "test"))]
        hint = f", or choose a function of the file: {', '.join(makers)}" if makers else ""
        raise UsageError(f"{target.__name__} needs {', '.join(missing)}; type {options}{hint}")
    values = {n: _value(v, parameters.get(n), scope) for n, v in arguments.items()}
    first = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_ONLY and n in values]
    return target(*[values.pop(n) for n in first], **values)


def _value(value: Any, parameter: inspect.Parameter | None, scope: dict[str, Any]) -> Any:
    if not isinstance(value, str) or parameter is None:
        return value
    default, kind = parameter.default, parameter.annotation
    kind = scope.get(kind) if isinstance(kind, str) else kind
    kind = type(default) if isinstance(default, Enum) else kind
    if kind is Path:
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[value] if value in kind.__members__ else value
    if callable(default) and (
        default is not parameter.empty or parameter.annotation is parameter.empty
    ):
        found: Any = scope.get(value.partition(".")[0])
        for part in value.split(".")[1:]:
            found = getattr(found, part, None)
        return value if found is None else found
    return value


def is_plain(value: Any) -> bool:
    """Whether YAML and a checkpoint can hold a value without running code."""
    if isinstance(value, dict):
        return all(is_plain(v) for v in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(v) for v in value)
    return value is None or isinstance(value, bool | int | float | str)
