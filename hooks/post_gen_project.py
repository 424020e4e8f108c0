"""Makes the new project a git repository and says how to go on."""

import subprocess


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
