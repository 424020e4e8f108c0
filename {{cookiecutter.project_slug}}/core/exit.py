"""How a command ends: in a line, with an exit code."""

import gc
import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core import ROOT
from core.errors import RunError, UsageError
from core.runs.processes import Stopped, complain, on_stop, requeue


def answered(command: Callable[[], Any]) -> int:
    """Does something, and says in a line what is wrong with it.

    Returns:
        0 if it was done, 1 if it failed, 2 if it can't be done as typed, 130 after Ctrl-C, 143
        after SIGTERM.
    """
    Stopped.last, Stopped.hint = 0, ""
    on_stop(Stopped.now)
    try:
        command()
    except UsageError as error:
        complain(f"error: {str(error).strip().rpartition('UsageError: ')[2]}")
        return 2
    except ModuleNotFoundError as error:
        complain(f"error: {_missing(error)}")
        return 2
    except ImportError as error:
        if "beyond top-level" not in str(error):
            raise
        complain(f"error: a relative import leads out of its folder ({error}); drop in the whole")
        return 2
    except RunError as error:
        complain(f"error: {error}")
        return 1
    except (Exception, Stopped):
        if not Stopped.last:
            raise
        complain(f"stopped{Stopped.hint}")
        requeue()
        return 128 + Stopped.last
    finally:
        gc.unfreeze()
    return 0


def _missing(error: ModuleNotFoundError) -> str:
    """Which module is missing, where, and what to type."""
    if error.name is None:
        return str(error)
    where = "what was chosen needs"
    for frame in traceback.extract_tb(error.__traceback__):  # the innermost of the user's own files
        file = Path(frame.filename)
        if file.is_relative_to(ROOT) and not file.is_relative_to(ROOT / "core"):
            where = f"{file.relative_to(ROOT)}, line {frame.lineno}, needs"
    top, _, rest = error.name.partition(".")
    if (ROOT / top).is_dir() or (ROOT / f"{top}.py").is_file():
        return f"{where} the module '{error.name}', which is not there; copy it, too"
    if rest and importlib.util.find_spec(top):
        return f"{where} the module '{error.name}', which the installed {top} does not have"
    hint = f"copy {top}.py beside it, or type: uv add {top}"
    hint = hint if "line" in where else f"type: uv add {top}"
    return f"{where} the module '{error.name}', which is not installed; {hint}"
