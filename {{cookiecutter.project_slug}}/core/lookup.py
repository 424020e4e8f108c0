"""What a name on the command line means: a file in model/ or data/, or a class of a library.

Names are looked up in source code first, so that a typo is answered before torch is imported.
A found object is written `module:Object`, for instance `model.resnet:ResNet`.
"""

import ast
import difflib
import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
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

    folder: str = ""  # where files are dropped in
    bases: tuple[str, ...] = ()  # what a class dropped in there derives from
    libraries: dict[str, str] = field(default_factory=dict)  # torchvision:NAME and its module
    module: str = ""  # library that plain names come from
    pattern: str = ""  # its classes' names; the group is what must be typed
    words: str = "_"  # what stands between the words of their short names
    aliases: dict[str, str] = field(default_factory=dict)


_LIGHTNING = ("pytorch_lightning.LightningModule", "lightning.LightningModule", "model.MInterface")
KINDS = {
    "model_name": Kind(
        "model",
        ("torch.nn.", "torchvision.models.", "timm.", "lightning.pytorch.", *_LIGHTNING),
        {"torchvision": "torchvision.models", "timm": "timm"},
    ),
    "dataset": Kind(
        "data",
        ("torch.utils.data.", "torchvision.datasets."),
        {"torchvision": "torchvision.datasets"},
    ),
    "loss": Kind(module="torch.nn", pattern="([A-Z].+)Loss", aliases={"bce": "BCEWithLogitsLoss"}),
    "optimizer": Kind(module="torch.optim", pattern="(?!Optimizer)([A-Z].+)", words=""),
    "lr_scheduler": Kind(
        module="torch.optim.lr_scheduler",
        pattern="(?!Lambda|Multiplicative|Sequential)([A-Z].+?)(?:LR|(?<=Restarts))",
        aliases={"cosine": "CosineAnnealingLR", "plateau": "ReduceLROnPlateau"},
    ),
}

# Dropped-in files may import their neighbours as if these folders were on the path: behind all
# else, so that no file there hides an installed package.
sys.path += [str(ROOT / kind.folder) for kind in KINDS.values() if kind.folder]


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`; did you mean 'resnet'?` where a known name is near, else `otherwise`."""
    near, plain = {_plain(k): k for k in known}, _plain(name)
    close = [k for k in near if plain and k.startswith(plain)]
    close = close or difflib.get_close_matches(plain, near, n=1)
    return f"; did you mean '{near[close[0]]}'?" if close else otherwise


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def files(kind: str) -> list[str]:
    """The names that can be chosen from the folder of a kind, sorted."""
    folder = ROOT / KINDS[kind].folder
    names = {file.stem for file in folder.glob("*.py")} - {"__init__", f"{folder.name}_interface"}
    return sorted(names | {file.parent.name for file in folder.glob("*/__init__.py")})


def choices(kind: str) -> list[str]:
    """All names of a kind."""
    about = KINDS[kind]
    if about.folder:
        return [*files(kind), *(f"{prefix}:NAME" for prefix in about.libraries)]
    return sorted(_classes(kind))


def _classes(kind: str) -> dict[str, str]:
    """The classes of a kind's library by short name: `{"cross_entropy": "CrossEntropyLoss"}`."""
    about, module = KINDS[kind], read(KINDS[kind].module)
    found = [re.fullmatch(about.pattern, n) for n in sorted(module.names() if module else [])]
    between = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
    short = {between.sub(about.words, m[1]).lower(): m[0] for m in found if m}
    for name in about.aliases.keys() & short.keys():
        short[f"{name}_{kind}"] = short.pop(name)
    return about.aliases | short


def locate(kind: str, name: str) -> str:
    """Finds what `name` means, as `module:Object`.

    Raises:
        UsageError: There is no such file or object, or several would do.
    """
    about = KINDS[kind]
    if not about.folder and "." in name:
        return import_path(kind, name)
    if not about.folder:
        for short, full in _classes(kind).items():
            if _plain(name) in (_plain(short), _plain(full)):
                return f"{about.module}:{full}"
        hint = suggest(name, choices(kind), f"; choose one of: {', '.join(choices(kind))}")
        raise UsageError(f"--{kind} {name}: torch has no such {kind}{hint}")
    file, _, wanted = name.partition(":")
    library = about.libraries.get(file, "") if wanted and file not in files(kind) else ""
    if not library and file not in files(kind):
        hint = suggest(file, files(kind), f"; choose one of: {', '.join(choices(kind))}")
        raise UsageError(f"--{kind} {name}: there is no {about.folder}/{file}.py{hint}")
    module = read(library or f"{about.folder}.{file}")
    if module is None:
        raise UsageError(
            f"--{kind} {name}: the package {file} is not installed; type: uv add {file}"
        )
    if library != "timm":  # whose names are known to timm.create_model alone
        wanted = (
            _named(f"--{kind} {name}", module, wanted) if wanted else _chosen(about, module, file)
        )
    return f"{module.name}:{wanted}"


def import_path(option: str, path: str) -> str:
    """Finds the user's own `module.Name`, as `module:Name`.

    Raises:
        UsageError: There is no such module or name.
    """
    name, _, wanted = path.rpartition(".")
    module = read(name) if name else None
    if module is None:
        raise UsageError(f"--{option} {path}: there is no module '{name}'; expected module.Name")
    return f"{name}:{_named(f'--{option} {path}', module, wanted)}"


def _named(option: str, module: Module, wanted: str) -> str:
    names = {*module.names()}
    if wanted not in names:
        hint = suggest(wanted, names, f"; it defines {', '.join(module.defined()) or 'nothing'}")
        raise UsageError(f"{option}: {module.name} has no '{wanted}'{hint}")
    return wanted


def _chosen(about: Kind, module: Module, file: str) -> str:
    """The object that a file was dropped in for."""
    found = {name: d for name in module.names() if (d := Definition.find(module.name, name))}
    camel = "".join(word[:1].upper() + word[1:] for word in file.replace("-", "_").split("_"))
    for kind in (ast.ClassDef, ast.FunctionDef):
        same = [
            n for n, d in found.items() if _plain(n) == _plain(file) and isinstance(d.node, kind)
        ]
        if camel in same or len(same) == 1:
            return camel if camel in same else same[0]
    here = {n: d for n, d in found.items() if d.module is module or _belongs(d.module, module)}
    classes = {n: d for n, d in here.items() if isinstance(d.node, ast.ClassDef)}
    fitting = [n for n, d in classes.items() if _derives(d, about.bases)]
    free = [
        name
        for name in fitting
        if not any(_uses(d.node, name) for other, d in classes.items() if other != name)
    ]
    if len(free) == 1:
        return free[0]
    listing = ", ".join(f"{file}:{name}" for name in free or fitting or module.defined())
    hint = f"choose one of: {listing}" if listing else f"write a class {camel}"
    raise UsageError(f"{about.folder}/{file} has no class {camel}; {hint}")


def _belongs(file: Module, module: Module) -> bool:
    """Whether a file is part of the sub-folder that was chosen."""
    return module.path.name == "__init__.py" and module.path.parent in file.path.parents


def _derives(definition: Definition | None, bases: tuple[str, ...]) -> bool:
    expressions = getattr(definition.node, "bases", []) if definition else []
    return any(
        definition.qualified(base).startswith(bases) or _derives(definition.resolve(base), bases)
        for base in expressions
        if definition
    )


def _uses(node: ast.AST, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def signature(target: str) -> Signature:
    """What the class or function `module:Object` takes, read from source, else by importing it."""
    module, _, name = target.partition(":")
    try:
        if module == "timm" and (creator := Definition.find(module, "create_model")):
            own = creator.signature()
            shared = {n: Parameter(n, int | None, None) for n in ("num_classes", "in_chans")}
            return Signature(own.parameters | shared, own.help, open=True)
        if definition := Definition.find(module, name):
            return definition.signature()
    except Unreadable:
        pass
    found = {}
    for n, p in inspect.signature(load(target)).parameters.items():
        default = REQUIRED if p.default is p.empty else p.default
        default = default if default is REQUIRED or is_plain(default) else Code(repr(default))
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            found[n] = Parameter(n, default=default)
    return Signature(found)


def load(target: str) -> Any:
    """Imports the class or function `module:Object`.

    Raises:
        UsageError: It is neither.
    """
    module, _, name = target.partition(":")
    package = importlib.import_module(module)
    if module == "timm":
        if not package.is_model(name):
            hint = suggest(name, package.list_models())
            raise UsageError(f"--model_name timm:{name}: timm has no such model{hint}")
        return functools.partial(package.create_model, name)
    found = getattr(package, name)
    if not callable(found):
        raise UsageError(f"{module}.{name} is a {type(found).__name__}; choose a class or function")
    return found


def construct(target: Any, arguments: dict[str, Any]) -> Any:
    """Calls a class or function with options, which are plain values.

    A string given where the default is a class or function (`act_layer=nn.GELU`), or where the
    parameter has neither type nor default, is looked up in the file: `--act_layer nn.ReLU`.

    Raises:
        UsageError: A required argument is missing.
    """
    parameters = inspect.signature(target).parameters
    module = getattr(target, "__module__", "")
    scope = {"torch": sys.modules.get("torch"), "nn": sys.modules.get("torch.nn")}
    scope |= vars(sys.modules[module]) if module in sys.modules else {}
    fixed = [p for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if missing := [p.name for p in fixed if p.default is p.empty and p.name not in arguments]:
        made = [n for n, f in scope.items() if inspect.isfunction(f) and f.__module__ == module]
        makers = [f"{module.rpartition('.')[2]}:{n}" for n in made if n[0] != "_" and n != "test"]
        hint = f", or choose one of: {', '.join(makers)}" if makers else ""
        options = " ".join(f"--{name} VALUE" for name in missing)
        raise UsageError(f"{target.__name__} needs {', '.join(missing)}; type {options}{hint}")
    values = {n: _object(v, parameters.get(n), scope) for n, v in arguments.items()}
    first = [p.name for p in fixed if p.kind is p.POSITIONAL_ONLY and p.name in values]
    return target(*[values.pop(name) for name in first], **values)


def _object(value: Any, parameter: inspect.Parameter | None, scope: dict[str, Any]) -> Any:
    """What a string stands for where the parameter takes no string."""
    if not isinstance(value, str) or parameter is None:
        return value
    default, kind, empty = parameter.default, parameter.annotation, parameter.empty
    kind = scope.get(kind) if isinstance(kind, str) else kind
    kind = type(default) if isinstance(default, Enum) else kind
    if kind is Path:
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind.__members__.get(value, value)
    if (default is empty and kind is empty) or (default is not empty and callable(default)):
        name, *rest = value.split(".")
        found = functools.reduce(lambda o, part: getattr(o, part, None), rest, scope.get(name))
        if found is None and rest:
            raise UsageError(f"--{parameter.name} {value}: there is no such name; type nn.NAME")
        return value if found is None else found
    return value


def is_plain(value: Any) -> bool:
    """Whether YAML and a checkpoint can hold a value without running code."""
    if isinstance(value, dict):
        return all(is_plain(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(is_plain(inner) for inner in value)
    return value is None or isinstance(value, bool | int | float | str)
