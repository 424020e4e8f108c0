"""Asks a classifier what a GAN has made: the share of each class of 1,000 samples.

In a project, `python main.py --name classifier` and
`python main.py seeds --num 5 --config examples/generative/default.yaml --name gan` come before:

python samples.py PROJECT classifier gan/seed_*
"""

import os
import sys
from pathlib import Path
from statistics import mean


def main(project: Path, classifier: str, *patterns: str) -> None:
    """Prints a row for each of the GAN's runs."""
    os.chdir(project)
    sys.path.insert(0, str(project))
    import torch

    from main import load_run

    judge, data = load_run(classifier)
    real = torch.stack([data.part("test")[i][0] for i in range(len(data.part("test")))])
    print("| run | fewest of a class | most | classes | mean confidence |")
    print("| --- | --- | --- | --- | --- |")
    confidences = []
    with torch.no_grad():
        about = judge(real).softmax(1).amax(1).mean()
        for folder in sorted(f for p in patterns for f in Path("runs").glob(p) if f.is_dir()):
            gan, _ = load_run(str(folder))
            torch.manual_seed(0)
            shares = judge(gan(torch.empty(1000))).softmax(1)
            counts = torch.bincount(shares.argmax(1), minlength=shares.shape[1]).tolist()
            confidences.append(shares.amax(1).mean().item())
            found = sum(count > 0 for count in counts)
            row = f"{min(counts) / 10:.1f} % | {max(counts) / 10:.1f} %"
            print(f"| {folder.name} | {row} | {found} | {confidences[-1]:.3f} |")
    print(f"\nMean confidence {mean(confidences):.3f}; in real test images {about:.3f}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
