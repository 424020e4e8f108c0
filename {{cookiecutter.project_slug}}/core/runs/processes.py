"""The processes of a run: which one this is, who speaks, what it is told from outside."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

# Those that ask to stop; the last is SLURM's, shortly before the time is up.
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
]
_stores: list[Any] = []  # of process 0, which others may read later


class Stopped(BaseException):
    """The process was asked to stop, by one of the `STOP_SIGNALS`."""

    last = 0  # the signal; whatever is raised afterwards, while Lightning cleans up, is its doing
    hint = ""  # how to go on

    def __init__(self, number: int) -> None:
        super().__init__(number)
        Stopped.last = number

    @staticmethod
    def now(number: int, frame: Any) -> NoReturn:
        """A signal handler."""
        raise Stopped(number)


def on_stop(handler: Callable[[int, Any], Any]) -> None:
    """Has the `STOP_SIGNALS` answered, which only the main thread may."""
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            signal.signal(number, handler)


def is_helper() -> bool:
    """Whether this is one of several processes of a run, and not the first."""
    numbers = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
    return any(int(os.environ.get(number) or 0) for number in numbers)


def say(*lines: str) -> None:
    """Prints words for the user, once for all processes and nodes."""
    if not is_helper():
        print(*lines, sep="\n")


def complain(text: str) -> None:
    """Prints what is wrong: once, while all processes do the same, and then whoever finds it."""
    distributed = sys.modules.get("torch.distributed")
    have_met = distributed is not None and distributed.is_initialized()
    is_alike = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    if have_met or not is_alike or not is_helper():
        print(text, file=sys.stderr)


def share(text: str | None) -> str:
    """Hands a text over from process 0, which gives it, to the others, which give None."""
    from lightning_fabric.plugins import environments as kinds
    from torch.distributed import TCPStore

    place: kinds.ClusterEnvironment | None = None
    is_torchrun = kinds.TorchElasticEnvironment.detect()  # it keeps a store
    if is_torchrun:
        place = kinds.TorchElasticEnvironment()
    elif kinds.SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1:
        place = kinds.SLURMEnvironment()
    elif "NODE_RANK" in os.environ and "RUN_FOLDER" not in os.environ:
        place = kinds.LightningEnvironment()
    if place:
        port, is_host = place.main_port + (not is_torchrun), not is_torchrun and text is not None
        store = TCPStore(place.main_address, port, is_master=is_host, wait_for_workers=False)
        _stores.append(store)
        key = f"run folder {os.environ.get('TORCHELASTIC_RESTART_COUNT')}"
        if text:
            store.set(key, text)
        text = store.get(key).decode()
    os.environ["RUN_FOLDER"] = text or os.environ["RUN_FOLDER"]  # Lightning starts the others
    return os.environ["RUN_FOLDER"]


def requeue() -> None:
    """Puts this SLURM job back into the queue if it stops because its time is up."""
    job = os.environ.get("SLURM_JOB_ID")
    if job and not is_helper() and Stopped.last == STOP_SIGNALS[-1]:
        subprocess.run(["scontrol", "requeue", job], check=False)
