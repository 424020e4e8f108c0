"""`python main.py …` without the seconds in which it imports torch: a fork server has done that."""

import csv
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

IMPORTS = ["pytorch_lightning", "torchvision.transforms.v2", "torch.utils.tensorboard", "sklearn"]
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([*IMPORTS, "jsonargparse"])


class Command:
    """A process that types a command, used as a `subprocess.Popen` that joins its two outputs.

    Args:
        words: Words after `main.py`.
        folder: Where they are typed.
        env: All environment variables.
    """

    def __init__(self, words: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self._output, output = processes.Pipe(duplex=False)
        arguments = ([*words], folder, dict(env), output)
        self._process = processes.Process(target=_type, args=arguments)
        self._process.start()
        output.close()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """Exit code, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends it a signal."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, None]:
        """Waits until it and its children have ended; returns what they printed.

        Raises:
            TimeoutError: They print nothing for so many seconds, and do not end.
        """
        parts = []
        while wait([self._output], timeout):
            parts.append(os.read(self._output.fileno(), 2**16))
            if not parts[-1]:
                self._process.join(timeout)
                return b"".join(parts).decode(), None
        raise TimeoutError(b"".join(parts).decode())


class Project:
    """A generated project, and `python main.py …` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *words: object, python: Sequence[str] | None = None, **env: str) -> Any:
        """`python` are words before main.py; without, the process has imported torch already."""
        env = os.environ | {"COLUMNS": "120"} | env
        typed = [*map(str, words)]
        if python is None:
            return Command(typed, self.folder, env)
        return subprocess.Popen(
            [sys.executable, *python, "main.py", *typed],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: object, code: int = 0, **options: Any) -> str:
        """Types it, waits for the exit code, and returns what was printed."""
        process = self.start(*words, **options)
        shown: str = process.communicate(timeout=300)[0]
        assert process.returncode == code, shown
        return shown

    def of(self, name: str) -> Path:
        """The folder of the first run of a name."""
        return self.folder / "runs" / name / "version_0"

    def state(self, name: str) -> str:
        """Its state."""
        rows = csv.DictReader(self.run("runs", "--format", "csv").splitlines())
        return {row["run"]: row["state"] for row in rows}[f"{name}/version_0"]

    def kill(self, process: Any, name: str, seconds: float, number: int) -> int:
        """Waits until a run begins or goes on, and so many seconds, and sends a signal."""
        file, before = self.of(name) / "run.json", time.time_ns()
        while process.poll() is None:
            if file.exists() and file.stat().st_mtime_ns > before:
                break
            time.sleep(0.01)
        time.sleep(seconds)
        if process.poll() is None:
            send = os.killpg if number == signal.SIGKILL else os.kill
            send(process.pid, number)
        shown = process.communicate(timeout=300)[0]
        assert process.returncode in (0, -9, -2, -15, 130, 143), shown
        return int(process.returncode)


def until(process: Any, happened: Callable[[], bool]) -> None:
    """Waits for something that a process is about to do."""
    while not happened():
        assert process.poll() is None, process.communicate(timeout=300)[0]
        time.sleep(0.01)


def _type(words: Sequence[str], folder: Path, env: Mapping[str, str], output: Connection) -> None:
    os.setsid()  # so that a whole group can be killed
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    multiprocessing.set_start_method(None, force=True)  # workers start as ever
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv = ["main.py", *words]
    runpy.run_path("main.py", run_name="__main__")
