"""`python main.py …` without the seconds in which it imports torch: a fork server has done that."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

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
