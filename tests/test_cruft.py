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


def test_update_after_large_edits(checkout: Path, tmp_path: Path) -> None:
    """The step rewritten, options added, files deleted: a mend of the engine still comes."""
    run([*CRUFT, "create", str(checkout), "--no-input"], tmp_path)
    project, template = tmp_path / "my-project", checkout / TEMPLATE.name

    interface = project / "model/model_interface.py"
    text = interface.read_text()
    begin, end = text.index("    def training_step"), text.index("    def validation_step")
    own = "    def training_step(self, batch, batch_idx):\n        return self.net(batch).sum()\n\n"
    text = text[:begin] + own + text[end:]
    text = text.replace(
        "        task: Task | None = None,\n",
        "        task: Task | None = None,\n        own: int = 3,\n",
    )
    interface.write_text(text)
    main = project / "main.py"
    main.write_text(main.read_text().replace("seed: int = 0)", "seed: int = 1, own: bool = False)"))
    for name in ("model/vit.py", "data/cifar10.py", "callbacks/speed.py", "commands/export.py"):
        (project / name).unlink()
    (project / "callbacks/mine.py").write_text("# my own callback\n")
    commit(project, "My work")
    before = {name: (project / name).read_text() for name in ("main.py", "callbacks/mine.py")}

    seeding = template / "core/train/seeding.py"
    seeding.write_text(f"{seeding.read_text()}# mended\n")
    told = template / "model/model_interface.py"
    first = '"""`MInterface`: everything that is the same for every network."""\n'
    told.write_text(told.read_text().replace(first, f"{first}# mended, too\n"))
    (template / "callbacks/new.py").write_text("# a new callback\n")
    commit(checkout, "Mend the engine")
    run([*CRUFT, "update", "--skip-apply-ask"], project)

    changed = run(["git", "status", "--porcelain", "--untracked-files=all"], project)
    names = {line[3:] for line in changed.splitlines()}
    expected = {".cruft.json", "callbacks/new.py", "core/train/seeding.py"}
    assert names == expected | {"model/model_interface.py"}
    assert (project / "core/train/seeding.py").read_text().endswith("# mended\n")
    assert interface.read_text() == text.replace(first, f"{first}# mended, too\n")
    assert before == {name: (project / name).read_text() for name in before}
    assert not [*project.rglob("*.rej")]
