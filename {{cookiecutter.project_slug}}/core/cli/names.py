"""What a name on the command line means: a file of this project, or a class of a library.

Names are looked up in source code, so that a typo is answered before torch is imported. A found
object is written `module:Object`, for instance `model.resnet:ResNet`.
"""

import ast
import difflib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from core import ROOT
from core.cli.source import Definition, Module, read
from core.errors import UsageError


@dataclass(frozen=True)
class Kind:
    """A sort of thing that is chosen by name: first of a folder, then of a library."""

    folder: str = ""  # where files are dropped in
    bases: tuple[str, ...] = ()  # what a class dropped in there derives from
    libraries: dict[str, str] = field(default_factory=dict)  # torchvision:NAME and its module
    module: str = ""  # library that plain names come from
    pattern: str = ""  # its classes' names; the group is what must be typed
    words: str | None = "_"  # between the words of their short names; None keeps the name
    aliases: dict[str, str] = field(default_factory=dict)


_LIGHTNING = ("pytorch_lightning.LightningModule", "lightning.LightningModule")
KINDS = {
    "command": Kind("commands"),
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
    "callbacks": Kind(
        "callbacks",
        ("pytorch_lightning.", "lightning.pytorch."),
        module="pytorch_lightning.callbacks",
        pattern="(?!Callback$|Base)([A-Z].+)",
        words=None,
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
sys.path += [str(ROOT / kind.folder) for kind in KINDS.values() if kind.folder and kind.bases]


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`; did you mean 'resnet'?` where a known name is near, else `otherwise`."""
    plain, near = _plain(name), dict[str, str]()
    for word in known:
        near.setdefault(_plain(word), word)
    close = [k for k in near if plain and k.startswith(plain)]
    ends = [k for k in near if len(plain) > 3 and k.endswith(plain)]  # epochs: max_epochs
    close = close or sorted(ends, key=len) or difflib.get_close_matches(plain, near, n=1)
    return f"; did you mean '{near[close[0]]}'?" if close else otherwise


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def files(kind: str) -> list[str]:
    """The names that can be chosen from the folder of a kind, sorted."""
    folder = ROOT / KINDS[kind].folder
    names = {file.stem for file in folder.glob("[!_]*.py")} - {f"{folder.name}_interface"}
    return sorted(names | {file.parent.name for file in folder.glob("*/__init__.py")})


def choices(kind: str) -> list[str]:
    """All names of a kind."""
    about = KINDS[kind]
    dropped = files(kind) if about.folder else []
    return [*dropped, *(f"{prefix}:NAME" for prefix in about.libraries), *sorted(_classes(kind))]


def _classes(kind: str) -> dict[str, str]:
    """The classes of a kind's library by short name: `{"cross_entropy": "CrossEntropyLoss"}`."""
    about, module = KINDS[kind], read(KINDS[kind].module) if KINDS[kind].module else None
    found = [re.fullmatch(about.pattern, n) for n in sorted(module.names() if module else [])]
    between = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
    words = about.words
    short = {m[1] if words is None else between.sub(words, m[1]).lower(): m[0] for m in found if m}
    for name in about.aliases.keys() & short.keys():
        short[f"{name}_{kind}"] = short.pop(name)
    return about.aliases | short


def locate(kind: str, name: str) -> str:
    """Finds what `name` means, as `module:Object`.

    Raises:
        UsageError: There is no such file or object, or several would do.
    """
    about = KINDS[kind]
    file, _, wanted = name.partition(":")
    if about.folder and file in files(kind):
        return _in_module(kind, name, f"{about.folder}.{file}")
    if wanted and file in about.libraries:
        return _in_module(kind, name, about.libraries[file])
    if about.module and "." in name:
        return import_path(kind, name)
    classes = _classes(kind)
    for short, full in classes.items():
        if _plain(name) in (_plain(short), _plain(full)):
            return f"{about.module}:{full}"
    known = [*files(kind), *classes] if about.folder else [*classes]
    hint = suggest(file, known, f"; choose one of: {', '.join(choices(kind))}")
    missing = (
        f"there is no {about.folder}/{file}.py" if about.folder else f"torch has no such {kind}"
    )
    own = ", or your own as module.Name" * (about.module != "" and hint.startswith("; choose"))
    raise UsageError(f"--{kind} {name}: {missing}{hint}{own}")


def _in_module(kind: str, name: str, path: str) -> str:
    """The object of a dropped-in file or library that a name means."""
    about, (file, _, wanted) = KINDS[kind], name.partition(":")
    module = read(path)
    if module is None:
        raise UsageError(
            f"--{kind} {name}: the package {file} is not installed; type: uv add {file}"
        )
    if path == "timm":  # whose names are known to timm.create_model alone
        return f"{path}:{wanted}"
    if wanted:
        return f"{path}:{_named(f'--{kind} {name}', module, wanted)}"
    return f"{path}:{_chosen(about, module, file)}"


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
    if not about.bases:  # a command is the function of its file's name
        if file in module.defined():
            return file
        raise UsageError(f"{about.folder}/{file}.py has no function {file}")
    camel = "".join(word[:1].upper() + word[1:] for word in file.replace("-", "_").split("_"))
    own = [n for n, node in module.bindings.items() if isinstance(node, ast.ClassDef)]
    same = [name for name in own if _plain(name) == _plain(file)]
    if camel in same or len(same) == 1:  # without a look at its imports
        return camel if camel in same else same[0]
    found = {name: d for name in module.names() if (d := Definition.find(module.name, name))}
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


def section(name: str) -> str:
    """The section of what has a name: `Timer` of `my_callbacks.Timer` or `file:Timer`."""
    return re.split("[.:]", name)[-1]
