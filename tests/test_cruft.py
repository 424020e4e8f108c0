"""A project keeps up with the template and keeps what its user made of it."""

import sys
from pathlib import Path

import pytest

from .conftest import TEMPLATE, commit, run

CRUFT = [sys.executable, "-m", "cruft"]


@pytest.mark.parametrize("license_", ["MIT", "none"])
def test_update(checkout: Path, tmp_path: Path, license_: str) -> None:
    """`cruft update` brings the template's change and leaves the user's own files alone."""
    answers = f'{{"license": "{license_}", "description": "Reads \\"digits\\" {{ fast }}"}}'
    run([*CRUFT, "create", str(checkout), "--no-input", "--extra-context", answers], tmp_path)
    project = tmp_path / "my-project"
    assert (project / "LICENSE").exists() == (license_ != "none")
    (project / "model" / "mine.py").write_text("# my own model\n")
    config = (project / "config.yaml").read_text()
    (project / "config.yaml").write_text(f"{config}# my own default\n")
    commit(project, "My work")

    template = checkout / TEMPLATE.name
    main = (template / "main.py").read_text()
    (template / "main.py").write_text(f"{main}# a new version\n")
    (template / "data" / "new.py").write_text("# a new dataset\n")
    commit(checkout, "Change the template")
    assert "upstream" not in run([*CRUFT, "update", "--skip-apply-ask"], project)

    changed = run(["git", "status", "--porcelain", "--untracked-files=all"], project)
    names = {line[3:] for line in changed.splitlines()}
    assert names == {".cruft.json", "data/new.py", "main.py"}
    assert (project / "main.py").read_text() == f"{main}# a new version\n"
    assert (project / "model" / "mine.py").read_text() == "# my own model\n"
    assert (project / "config.yaml").read_text() == f"{config}# my own default\n"
    run([*CRUFT, "check"], project)
