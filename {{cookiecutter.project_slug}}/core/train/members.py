"""The processes of a study's runs: as if `python main.py …` were typed, but without its start.

They come from a process that has imported torch and touched no device. Where that is not safe, each
is started anew.
"""

import atexit
import functools
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from core import ROOT

_IMPORTED = ["core.job", "core.runs.callbacks", "core.runs.loggers", "core.train.parts"]


def start(
    steps: Sequence[Sequence[str]], output: Path, slot: int, slots: int, env: Mapping[str, str]
) -> BaseProcess:
    """Starts a run, which stops as after SIGTERM if this process is gone.

    Args:
        steps: The words after `main.py`, of one command after the other.
        output: The file that what they print is added to.
        slot: Which of the runs at the same time it is, from 0.
        slots: How many there are; each has its share of the cores and GPUs.
        env: Further variables of its environment.
    """
    arguments = (steps, output, slot, slots, {**os.environ, **env}, os.getcwd())
    process: BaseProcess = _context().Process(target=_type, args=arguments)
    script = sys.modules["__main__"]
    try:
        sys.modules["__main__"] = ModuleType("__main__")  # or whatever called us would run again
        process.start()
    finally:
        sys.modules["__main__"] = script
    return process


def stop(process: BaseProcess) -> None:
    """Ends a run and all its processes at once."""
    if process.is_alive() and process.pid:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.join()


@functools.cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(_IMPORTED)
    return context


def _type(
    steps: Sequence[Sequence[str]],
    output: Path,
    slot: int,
    slots: int,
    env: Mapping[str, str],
    folder: str,
) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C is for the study, which tells its runs
    threading.Thread(target=_follow, daemon=True).start()
    with output.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    multiprocessing.set_start_method(None, force=True)  # the workers of loaders start as ever
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    _take_share(slot, slots)
    try:
        for words in steps:
            sys.argv = [str(ROOT / "main.py"), *words]  # with which Lightning starts processes
            try:
                runpy.run_path(sys.argv[0], run_name="__main__")
            except SystemExit as end:
                if end.code:
                    raise
    finally:
        atexit._run_exitfuncs()  # loggers write what is left; by itself a forked process does not


def _follow() -> None:
    """Stops this run when its study is gone."""
    if study := multiprocessing.parent_process():
        study.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _take_share(slot: int, slots: int) -> None:
    """Takes its part of the cores, and one GPU if there are several."""
    import torch

    if slots == 1:
        return
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[slot % len(cores) :: slots] or cores)
    threads = max(1, torch.get_num_threads() // slots)
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    count = torch.cuda.device_count()  # asks the driver, and touches none
    if count > 1:
        known = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        os.environ["CUDA_VISIBLE_DEVICES"] = known.split(",")[slot % count]
