"""Trains every example of a generated project over five seeds, and writes EXAMPLES.md.

python examples.py PROJECT               # the folder of a generated project, or the template's
python examples.py PROJECT regression    # those whose names have this in them, into EXAMPLES.md too

What a figure is compared with is another row, measured by the same script.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

HERE = Path(__file__).parent
# Example, metric, further words. One that others begin with has no metric: it is trained once.
ROWS = [
    ("classification/default", "test_acc", ""),
    ("classification/imbalanced", "test_f1", ""),
    ("classification/imbalanced", "test_f1", "--balanced false"),
    ("classification/transfer_1", "", ""),
    ("classification/transfer_2", "test_acc", ""),
    ("classification/transfer_2", "test_acc", "--init_from null --freeze null"),
    ("classification/probe_1", "", ""),
    ("classification/probe_2", "test_acc", ""),
    ("classification/probe_2", "test_acc", "--init_from null"),
    ("classification/probe_2", "test_acc", "--init_from null --freeze null"),
    ("classification/distillation_1", "", ""),
    ("classification/distillation_2", "test_acc", ""),
    ("classification/distillation_2", "test_acc", "--share 0"),
    ("regression/default", "test_r2", '--vary "[data,weights]"'),
    ("regression/default", "test_r2", '--vary "[data,weights]" --hidden_sizes [] --lr 0.03'),
    ("regression/inputs", "test_mae", ""),
    ("segmentation/default", "test_iou", ""),
    ("segmentation/default", "test_ink_iou", ""),
    ("segmentation/default", "test_ink_iou_threshold", ""),
    ("sequences/default", "test_exact_match", ""),
    ("sequences/characters", "test_bits", ""),
    ("sequences/bigram", "test_bits", ""),
    ("super_resolution/default", "test_psnr", ""),
    ("super_resolution/default", "test_psnr_bicubic", ""),
    ("super_resolution/guided", "test_psnr", ""),
]
TITLE = """# What the examples come to

Made by `benchmarks/examples.py`: each row is `seeds --num 5 --config examples/EXAMPLE.yaml` and the
words beside it, on the CPU. Examples in two stages begin with one run of the first.

| example | words | metric | mean | lowest | highest |
| --- | --- | --- | --- | --- | --- |
"""


def main(project: Path, *wanted: str) -> None:
    """Measures the examples with one of the wanted words in their name, or all."""
    file = HERE / "EXAMPLES.md"
    known = file.read_text("utf-8").splitlines() if file.exists() else []
    starts = [_start(*row) for row in ROWS]
    lines = {s: line for s in starts for line in known if line.startswith(s)}
    for start, row in zip(starts, ROWS, strict=True):
        if wanted and not any(word in row[0] for word in wanted):
            continue
        values = [*measured(project, *row)]
        if values:
            numbers = (f"{v:.3f}" for v in (mean(values), min(values), max(values)))
            lines[start] = f"{start} {' | '.join(numbers)} |"
            print(lines[start], flush=True)
            table = "\n".join(lines[s] for s in starts if s in lines)
            file.write_text(f"{TITLE}{table}\n", encoding="utf-8")


def measured(project: Path, example: str, metric: str, words: str) -> Iterator[float]:
    """A metric of an example's runs, of each seed; of one that others begin with nothing."""
    config = ["--config", f"examples/{example}.yaml", *shlex.split(words)]
    if not metric:
        _type(project, "fit", *config)
        return
    name = "-".join(["examples", example.replace("/", "-"), *words.split()]).replace('"', "")
    _type(project, "seeds", "--num", "5", "--keep", "none", "--name", name, *config)
    summary = json.loads((project / "runs" / name / "summary.json").read_text("utf-8"))
    yield from (member["metrics"][metric] for member in summary["members"])


def _start(example: str, metric: str, words: str) -> str:
    return f"| {example} | {f'`{words}`' if words else ''} | {metric} |"


def _type(project: Path, *words: str) -> None:
    command = [sys.executable, "main.py", *words, "--enable_progress_bar", "false"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
