"""Leaves the examples of what is trained, makes a git repository and says how to go on."""

import re
import subprocess
from pathlib import Path

# What README.md types in every project, in the folders data/ and model/.
BASE = {"digits", "cifar10", "image_folder", "mlp", "resnet", "vit"}


def leave_examples(task):
    """Deletes the examples of other tasks, and makes the first of this one config.yaml."""
    examples = {file: set() for file in Path("examples").glob("*/*.yaml")}
    for file, names in examples.items():
        names.update(re.findall(r"^(?:dataset|model_name): (\w+)", file.read_text("utf-8"), re.M))
    kept = {file for file in examples if file.parent.name == task}
    kept.add(Path("examples/classification/default.yaml"))
    left = BASE.union(*(examples[file] for file in kept))
    for file in examples.keys() - kept:
        for name in examples[file] - left:
            for folder in ("data", "model"):
                Path(folder, f"{name}.py").unlink(missing_ok=True)
        file.unlink()
    for folder in Path("examples").iterdir():
        if not any(folder.iterdir()):
            folder.rmdir()
    config, first = Path("config.yaml"), Path("examples", task, "default.yaml")
    about = config.read_text("utf-8").splitlines(True)[0]
    text = first.read_text("utf-8")
    if task != "classification":  # that one is config.yaml as it is
        config.write_text(about + re.sub(r"\A(#.*\n)+", "", text), "utf-8")


if "{{ cookiecutter.task }}" != "everything":
    leave_examples("{{ cookiecutter.task }}")


def git(*arguments):
    """Returns whether the git command succeeded; without git nothing does."""
    command = ["git", "-c", "init.defaultBranch=main", *arguments]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


# No repository inside another one, and no commit: `cruft create` has a file to add yet.
if not git("rev-parse", "--is-inside-work-tree"):
    git("init")

# `cruft update` generates the project twice into temporary folders: nothing to go on with there.
if not "{{ cookiecutter._commit | default }}":
    print(
        """
Created {{ cookiecutter.project_slug }}. Next:

    cd {{ cookiecutter.project_slug }}
    uv sync
    uv run main.py
"""
    )
