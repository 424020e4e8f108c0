"""What a name on the command line means: a file of this project, or a class of a library.

Names are looked up in source code, so that a typo is answered before torch is imported. A found
object is written `module:Object`, for instance `model.resnet:ResNet`.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from core import ROOT
from core.cli import objects, programs
from core.cli.objects import plain
from core.cli.source import Module, read
from core.errors import UsageError


@dataclass(frozen=True)
class Kind:
    """A sort of thing that is chosen by name: first of a folder, then of a library."""

    folder: str = ""  # where files are dropped in
    bases: tuple[str, ...] = ()  # what a class dropped in there derives from
    libraries: dict[str, str] = field(default_factory=dict)  # torchvision:NAME and its module
    modules: tuple[str, ...] = ()  # of a library, that plain names come from
    pattern: str = ""  # its classes' names; the group is what must be typed
    words: str | None = "_"  # between the words of their short names; None keeps the name
    aliases: dict[str, str] = field(default_factory=dict)


LIGHTNING = (
    *("pytorch_lightning.LightningModule", "lightning.pytorch.LightningModule"),
    *("pytorch_lightning.core.LightningModule", "pytorch_lightning.core.module."),
    "lightning.LightningModule",
)
_MODULES = tuple(name.replace("LightningModule", "LightningDataModule") for name in LIGHTNING)
KINDS = {
    "command": Kind("commands"),
    "model_name": Kind(
        "model",
        ("torch.nn.", "torchvision.models.", "timm.", *LIGHTNING),
        {"torchvision": "torchvision.models", "timm": "timm"},
    ),
    "dataset": Kind(
        "data",
        ("torch.utils.data.", "torchvision.datasets.", *_MODULES),
        {"torchvision": "torchvision.datasets"},
    ),
    "callbacks": Kind(
        "callbacks",
        ("pytorch_lightning.", "lightning.pytorch."),
        modules=("pytorch_lightning.callbacks",),
        pattern="(?!Callback$|Base)([A-Z].+)",
        words=None,
    ),
    "metrics": Kind(
        modules=(
            *("torchmetrics.classification", "torchmetrics.regression", "torchmetrics.image"),
            *("torchmetrics.segmentation", "torchmetrics.text", "torchmetrics.audio"),
        ),
        pattern="(?!Binary|Multiclass|Multilabel)([A-Z].+)",
        aliases={
            **{"acc": "Accuracy", "f1": "F1Score", "iou": "JaccardIndex", "r2": "R2Score"},
            **{"mae": "MeanAbsoluteError", "mse": "MeanSquaredError"},
            **{"psnr": "PeakSignalNoiseRatio", "ssim": "StructuralSimilarityIndexMeasure"},
        },
    ),
    "batch_transforms": Kind(
        modules=("torchvision.transforms.v2",),
        pattern="(?!Transform$|AutoAugmentPolicy|InterpolationMode)([A-Z].+)",
        words=None,
    ),
    "loss": Kind(
        modules=("torch.nn",), pattern="([A-Z].+)Loss", aliases={"bce": "BCEWithLogitsLoss"}
    ),
    "optimizer": Kind(modules=("torch.optim",), pattern="(?!Optimizer)([A-Z].+)", words=""),
    "lr_scheduler": Kind(
        modules=("torch.optim.lr_scheduler",),
        pattern="(?!Lambda|Multiplicative|Sequential)([A-Z].+?)(?:LR|(?<=Restarts))",
        aliases={"cosine": "CosineAnnealingLR", "plateau": "ReduceLROnPlateau"},
    ),
}


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """`; did you mean 'resnet'?` where a known name is near, else `otherwise`."""
    typed, near = plain(name), dict[str, str]()
    for word in known:
        near.setdefault(plain(word), word)
    close = [k for k in near if typed and k.startswith(typed)]
    ends = [k for k in near if len(typed) > 3 and k.endswith(typed)]  # epochs: max_epochs
    close = close or sorted(ends, key=len) or difflib.get_close_matches(typed, near, n=1)
    return f"; did you mean '{near[close[0]]}'?" if close else otherwise


def listed(names: Iterable[str], most: int = 30) -> str:
    """Names in a line, not too many."""
    every = [*names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def files(kind: str) -> list[str]:
    """The names that can be chosen from the folder of a kind, sorted."""
    folder = ROOT / KINDS[kind].folder
    names = {file.stem for file in folder.glob("[!_]*.py")} - {f"{folder.name}_interface"}
    inner = {file.relative_to(folder).parts[0] for file in folder.glob("[!_.]*/**/*.py")}
    return sorted(names | inner)


def choices(kind: str) -> list[str]:
    """All names of a kind."""
    about = KINDS[kind]
    dropped = files(kind) if about.folder else []
    return [*dropped, *(f"{prefix}:NAME" for prefix in about.libraries), *sorted(_classes(kind))]


def _classes(kind: str) -> dict[str, str]:
    """A kind's library by short names: `{"cross_entropy": "torch.nn:CrossEntropyLoss"}`."""
    about, found = KINDS[kind], dict[str, str]()
    between = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
    for path in about.modules:
        module = read(path)
        for match in (
            re.fullmatch(about.pattern, n) for n in sorted(module.names() if module else [])
        ):
            if match:
                words = about.words
                short = match[1] if words is None else between.sub(words, match[1]).lower()
                found[short] = f"{path}:{match[0]}"
    for name in about.aliases.keys() & found.keys():
        found[f"{name}_{kind}"] = found.pop(name)
    full = {target.partition(":")[2]: target for target in found.values()}
    first = "".join(about.modules[:1])
    return {name: full.get(n, f"{first}:{n}") for name, n in about.aliases.items()} | found


def locate(kind: str, name: str) -> str:
    """Finds what `name` means, as `module:Object`.

    Raises:
        UsageError: There is no such file or object, or several would do.
    """
    about = KINDS[kind]
    file, _, wanted = name.partition(":")
    place = ROOT / about.folder / file
    if (
        about.folder
        and "." in file
        and (place.is_dir() or place.with_name(f"{place.name}.py").exists())
    ):
        raise UsageError(
            f"--{kind} {name}: Python imports nothing with a dot in its name; rename it"
        )
    if about.folder and re.search(r"\.py$|/", file):  # a path
        hint = suggest(Path(file).stem, files(kind), f"; choose one of: {listed(files(kind))}")
        raise UsageError(f"--{kind} {name}: expected a name, not a path{hint}")
    if about.folder and file.partition(".")[0] in files(kind):
        return _dropped_in(kind, name)
    if wanted and file in about.libraries:
        return _of_library(kind, name)
    if about.modules and "." in name:
        return import_path(kind, name)
    classes = _classes(kind)
    for short, target in classes.items():
        if plain(name) in (plain(short), plain(target.partition(":")[2])):
            return target
    known = [*files(kind), *classes] if about.folder else [*classes]
    hint = suggest(file, known, f"; choose one of: {listed(choices(kind))}")
    library = "".join(about.modules[:1]).partition(".")[0]
    missing = (
        f"there is no {about.folder}/{file}.py"
        if about.folder
        else f"{library} has no such {kind.rstrip('s')}"
    )
    own = ", or your own as module.Name" * (about.modules != () and hint.startswith("; choose"))
    raise UsageError(f"--{kind} {name}: {missing}{hint}{own}")


def _of_library(kind: str, name: str) -> str:
    file, _, wanted = name.partition(":")
    path = KINDS[kind].libraries[file]
    module = read(path)
    if module is None:
        hint = f"type: uv add {file}"
        raise UsageError(f"--{kind} {name}: the package {file} is not installed; {hint}")
    # The names of timm are known to timm.create_model alone.
    return f"{path}:{wanted if path == 'timm' else _named(f'--{kind} {name}', module, wanted)}"


def _dropped_in(kind: str, name: str) -> str:
    """The object that a file, or a folder or a file in it, was dropped in for."""
    about, (file, _, wanted) = KINDS[kind], name.partition(":")
    path, option = f"{about.folder}.{file}", f"--{kind} {name}"
    place, module = path.replace(".", "/"), read(path)
    if module:
        programs.check(path)
    elif not (ROOT / place).is_dir():
        beside = (ROOT / place).parent
        near = [
            ".".join(f.relative_to(ROOT / about.folder).with_suffix("").parts)
            for f in beside.glob("*.py")
        ]
        raise UsageError(f"{option}: there is no {place}.py{suggest(file, near)}")
    names = {*module.names()} if module else set()
    if wanted in names:
        return f"{path}:{wanted}"
    if not about.bases:  # a command is the function of its file's name
        if module and file in module.defined():
            return f"{path}:{file}"
        raise UsageError(f"{place}.py has no function {file}")
    found = objects.choose(path, about.bases, wanted)
    if len(found) == 1:
        programs.check(found[0].partition(":")[0])
        return found[0]
    known = [target.partition(".")[2] for target in found or objects.there(path)]
    hint = f"choose one of: {listed(known)}" if known else f"write a class {objects.camel(file)}"
    what = f"'{wanted}'" if wanted else f"class {objects.camel(file)}"
    meant = suggest(wanted, [*names, *map(section, known)], f"; {hint}")
    raise UsageError(f"{option}: {place} has no {what}{meant}")


def import_path(option: str, path: str) -> str:
    """Finds the user's own `module.Name`, as `module:Name`.

    Raises:
        UsageError: There is no such module or name.
    """
    name, _, wanted = path.rpartition(".")
    module = read(name) if name else None
    if module is None:
        raise UsageError(f"--{option} {path}: there is no module '{name}'; expected module.Name")
    programs.check(name)
    return f"{name}:{_named(f'--{option} {path}', module, wanted)}"


def _named(option: str, module: Module, wanted: str) -> str:
    names = {*module.names()}
    if wanted not in names:
        hint = suggest(wanted, names, f"; it defines {', '.join(module.defined()) or 'nothing'}")
        raise UsageError(f"{option}: {module.name} has no '{wanted}'{hint}")
    return wanted


def section(name: str) -> str:
    """The section of what has a name: `Timer` of `my_callbacks.Timer` or `file:Timer`."""
    return re.split("[.:]", name)[-1]
