"""How a command ends: in a line, with an exit code."""

import gc
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
    trace = error.__traceback__
    place = Path(__file__), 0
    while trace is not None:  # the innermost line of a file of this project, else of all
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(ROOT) and "core" not in file.relative_to(ROOT).parts[:1]:
            place = file.relative_to(ROOT), trace.tb_lineno
        trace = trace.tb_next
    where = f"{place[0]}, line {place[1]}, needs" if place[1] else "what was chosen needs"
    hint = f"type: uv add {error.name.partition('.')[0]}"
    return f"{where} the module '{error.name}', which is not installed; {hint}"
