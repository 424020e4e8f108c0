"""What a dropped-in file imports is looked for beside it first.

`import utils` in model/clone/net.py means model/clone/utils.py, or else model/utils.py; data/ has
its own. What is installed keeps its name.
"""

import builtins
import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from core import ROOT


def is_dropped_in(module: str) -> bool:
    """Whether a module is a file in one of the folders for them, and none of this project's own."""
    room, _, rest = module.partition(".")
    is_room = room not in ("core", "tests") and (ROOT / room).is_dir()
    return is_room and rest not in ("", f"{room}_interface")


def neighbour(importer: str, name: str) -> str | None:
    """What a dropped-in module means by a name, such as `utils`: in full, or None if no neighbour.

    The nearest folder counts, from the module's own up to the one for dropped-in files.
    """
    top = name.partition(".")[0]
    if not is_dropped_in(importer) or _is_installed(top):
        return None
    is_package = ROOT.joinpath(*importer.split(".")).is_dir()
    package = importer if is_package else importer.rpartition(".")[0]
    while package:
        place = ROOT.joinpath(*package.split("."))
        if (place / f"{top}.py").is_file() or any((place / top).rglob("*.py")):
            return f"{package}.{name}"
        package = package.rpartition(".")[0]
    return None


@functools.cache
def _is_installed(top: str) -> bool:
    if top in sys.stdlib_module_names:
        return True
    found = PathFinder.find_spec(top, [p for p in sys.path if Path(p).resolve() != ROOT])
    return found is not None and found.origin is not None


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Python's `__import__` for dropped-in modules."""
    own = None if level else neighbour(str((globals or {}).get("__name__")), name)
    if own is None:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    importlib.import_module(own)
    if fromlist:
        return builtins.__import__(own, globals, locals, fromlist)
    return sys.modules[own.removesuffix(name) + name.partition(".")[0]]


class _Loader(SourceFileLoader):
    """Gives a module an `__import__` of its own."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": _import}
        super().exec_module(module)


class _Finder:
    """Finds what is dropped in, also in processes that load data."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if not is_dropped_in(name):
            return None
        found = PathFinder.find_spec(name, path)
        if found and type(found.loader) is SourceFileLoader:
            found.loader = _Loader(name, str(found.origin))
        return found


sys.meta_path.insert(0, _Finder)
