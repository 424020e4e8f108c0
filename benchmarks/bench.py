"""Measures a generated project against loops written by hand, and writes RESULTS.md.

python bench.py PROJECT      # the folder of a generated project, run by its own Python

Each figure is a ratio of processes that ran side by side, in turns.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
MLP = "--dataset benchmark:Vectors --model_name mlp --hidden_sizes [64,128,64]".split()
RESNET = "--dataset benchmark:Pictures --model_name torchvision:resnet18 --num_classes 10".split()
LONG = (
    "--limit_val_batches 0 --val_fraction 0 --test_fraction 0 --lr_scheduler null "
    "--callbacks+=benchmark.Timer --enable_model_summary false --accelerator cpu"
).split()
TWO = "--devices 2 --strategy ddp --batch_size 32".split()


class Bench:
    """Runs processes in a project and collects what they show.

    Args:
        project: The generated project.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.rows: list[tuple[str, str, str, str]] = []

    def run(self, words: Sequence[str], **env: str) -> tuple[float, str]:
        """Seconds of a process, and what it printed."""
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.project,
            env=os.environ | {"PYTHONPATH": str(HERE)} | env,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - begin
        if done.returncode not in (0, 2):
            raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")
        return seconds, done.stdout

    def loop(self, name: str, measure: str = "", **env: str) -> Callable[[], float]:
        """A loop of loops.py: how fast it was, or how much memory it took where it tells both."""
        return lambda: _figure(self.run([str(HERE / "loops.py"), name], **env)[1], measure)

    def main(self, *words: str, **env: str) -> Callable[[], float]:
        """The same for this project's main.py."""
        return lambda: _figure(self.run(["main.py", *words], **env)[1])

    def seconds(self, *words: str) -> Callable[[], float]:
        """How long a process takes in all."""
        return lambda: self.run(words)[0]

    def compare(
        self,
        ours: Callable[[], float],
        *others: tuple[str, str, Callable[[], float]],
        times: int = 3,
        best: Callable[[list[float]], float] = min,
    ) -> None:
        """Measures things in turns, and notes ours as a multiple of each other one.

        Args:
            ours: What this project does.
            others: Of each: what is compared, the goal, and what another does.
            times: How often.
            best: Which of the figures counts.
        """
        works = [ours, *(work for _, _, work in others)]
        found = [[work() for work in works] for _ in range(times)]
        first, *rest = (best([*column]) for column in zip(*found, strict=True))
        for (what, goal, _), other in zip(others, rest, strict=True):
            figures = f"{_short(first)} against {_short(other)}"
            self.note(what, f"{first / other:.3g}", figures, goal)

    def note(self, what: str, ratio: str, figures: str, goal: str) -> None:
        """Notes one row of the table."""
        print(f"{what}: {ratio} ({figures}); goal {goal}", flush=True)
        self.rows.append((what, ratio, figures, goal))


def _figure(shown: str, measure: str = "") -> float:
    """The best epoch's seconds, or a rate, that a process printed."""
    words = ("RATE",) if measure == "gigabytes" else ("SECONDS", "RATE")
    line = next(line for line in shown.splitlines() if line.startswith(words))
    return min(map(float, line.split()[1:]))


def _short(figure: float) -> str:
    return f"{figure:.3g}" if figure < 100 else f"{figure:.0f}"


def start_up(bench: Bench) -> None:
    """What is refused or told without training, and how soon training begins."""
    imported = min(bench.seconds("-c", "import pytorch_lightning")() for _ in range(3))
    for what, words in {
        "`--help`": ["--help"],
        "an unknown option": ["--learning_rat", "1"],
        "a wrong value": ["--lr", "much"],
        "an unknown network": ["--model_name", "resnt"],
    }.items():
        title = f"{what}, to `import pytorch_lightning`"
        command = bench.seconds("main.py", *words)
        bench.compare(command, (title, "below 1 s", lambda: imported))
    first = bench.seconds("main.py", "--model_name", "mlp", "--callbacks+=benchmark.Exit")
    least = bench.seconds(str(HERE / "loops.py"), "first_step")
    bench.compare(first, ("first step, to a script of 20 lines", "+0.5 s", least))


def small_data(bench: Bench) -> None:
    """Tiny steps of an MLP with batch normalisation, loss and metrics logged."""
    bench.compare(
        bench.main(*MLP, *LONG, "--max_epochs", "3"),
        ("epoch of tiny steps, to a plain loop", "2.2", bench.loop("vectors")),
        ("the same, to one with the fused optimizer", "2.2", bench.loop("vectors_fused")),
    )


def ordinary_steps(bench: Bench) -> None:
    """ResNet-18 on 32x32 images, batches of 64."""
    bench.compare(
        bench.main(*RESNET, *LONG, "--max_epochs", "5"),
        ("epoch of ResNet-18, to a plain loop", "1.03", bench.loop("pictures")),
        ("resume, checks, logging and bar, to Lightning without", "1.01", bench.loop("bare")),
    )


def processes(bench: Bench) -> None:
    """Two processes of one thread each, batches of 32."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

    def theirs() -> float:
        words = [*torchrun, str(HERE / "loops.py"), "ddp"]
        return _figure(bench.run(words, OMP_NUM_THREADS="1", BATCH="32")[1])

    ours = bench.main(*RESNET, *LONG, "--max_epochs", "5", *TWO, OMP_NUM_THREADS="1")
    what = "epoch on two processes, to PyTorch's DDP"
    bench.compare(ours, (what, "1.05", theirs), times=2)


def gpu(bench: Bench) -> None:
    """ResNet-50 in half precision, small images and tiny steps, on data that stays on a GPU."""
    import torch

    if not torch.cuda.is_available():
        return
    long = (*LONG, *"--accelerator gpu --on_device true --max_epochs 4".split())
    tuned = "--precision bf16-mixed --compile default --channels_last true --batch_size 256".split()
    network = "--dataset benchmark:Photographs --model_name torchvision:resnet50".split()
    bench.compare(
        bench.main(*network, "--num_classes", "1000", *tuned, *long),
        (
            "epoch of ResNet-50 on a GPU, to a tuned loop",
            "1.02",
            bench.loop("photographs", BATCH="256"),
        ),
    )
    for what, words in {"pictures": [*RESNET, "--size", "19200"], "vectors": MLP}.items():
        loop = bench.loop(f"{what}_on_device")
        title = f"epoch of {words[3]} on a GPU, to a loop on resident tensors"
        bench.compare(bench.main(*words, *long), (title, "1.3", loop))


def images(bench: Bench) -> None:
    """A folder of 256x256 photographs, quality 90, cut to 224x224 and flipped at random."""
    reference = bench.loop("loader_reference")
    what = "images/s of the loader, 2 workers, to torchvision's recipe with PIL"
    bench.compare(bench.loop("loader_ours"), (what, "1.5", reference), times=2, best=max)
    what = "the same, flipped and normalised on the CPU that trains instead of a GPU"
    bench.compare(bench.loop("loader_finished"), (what, "", reference), times=2, best=max)
    what, decode = "images/s of the loader, one process, to decoding alone", bench.loop("decode")
    bench.compare(bench.loop("loader_alone"), (what, "0.9", decode), best=max)


def memory(bench: Bench) -> None:
    """Four workers and 376 MB of data in memory."""
    if not sys.platform.startswith("linux"):
        return
    full, empty = bench.loop("memory")(), bench.loop("memory_empty")()
    copies = (full - empty) / 0.376
    figures = f"{full:.2f} GB against {empty:.2f} GB with little data"
    bench.note("copies of the data in memory, four workers", f"{copies:.2f}", figures, "1.2")


def length(bench: Bench) -> None:
    """A hundred million samples: time and memory until the first batches, to two orders of them."""
    if not sys.platform.startswith("linux"):
        return
    for what, fraction in {"split by fraction": "0.1", "not split": "0"}.items():
        for measure, goal in {"seconds": "2", "gigabytes": "1"}.items():
            ours = bench.loop("length", measure, FRACTION=fraction)
            title = f"{measure} to start with 100 million samples, {what}, to two `randperm`"
            bench.compare(ours, (title, goal, bench.loop("length_least", measure)), times=2)


def template(bench: Bench) -> None:
    """How long generating takes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [os.environ.get("COOKIECUTTER", "cookiecutter"), str(HERE.parent), "--no-input"]
        seconds = []
        for number in range(3):
            begin = time.perf_counter()
            subprocess.run([*command, "-o", f"{folder}/{number}"], check=True, capture_output=True)
            seconds.append(time.perf_counter() - begin)
    bench.note("`cookiecutter . --no-input`", "", f"{median(seconds):.2f} s", "below 1 s")


def make_photographs(folder: Path) -> None:
    """Cuts the two photographs that scikit-learn has into 600 of 256x256."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    places = np.random.default_rng(0)
    for number in range(600):
        image = load_sample_images().images[number % 2]
        top, left = places.integers(427 - 256), places.integers(640 - 256)
        file = folder / f"train/{('china', 'flower')[number % 2]}/{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[top : top + 256, left : left + 256]).save(file, quality=90)


def main(project: Path) -> None:
    """Measures all, and writes RESULTS.md."""
    import pytorch_lightning
    import torch

    bench = Bench(project)
    shutil.copy(HERE / "benchmark.py", project / "data/benchmark.py")
    make_photographs(project / "jpegs")
    begin = time.perf_counter()
    for part in (
        start_up,
        small_data,
        ordinary_steps,
        processes,
        gpu,
        images,
        memory,
        length,
        template,
    ):
        part(bench)
    about = [f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"]
    about += [f"Python {platform.python_version()}, torch {torch.__version__}"]
    about += [f"pytorch-lightning {pytorch_lightning.__version__}"]
    about += ["a GPU" if torch.cuda.is_available() else "no GPU: nothing was measured on one"]
    lines = ["# Benchmark", "", f"`make bench` on {date.today()}; {'; '.join(about)}.", ""]
    lines += [f"It took {(time.perf_counter() - begin) / 60:.0f} minutes.", ""]
    lines += ["| what | ratio | s, GB or images/s | goal |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in bench.rows]
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
