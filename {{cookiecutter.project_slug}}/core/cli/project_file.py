"""Changing one option in the project's `config.yaml`, of which all else stays as it is."""

import io
import os
import shutil
from pathlib import Path
from typing import Any

from core.errors import UsageError


class ProjectFile:
    """An options file whose comments, order and quotes are kept: ruamel.yaml's round trip.

    Args:
        file: The file; it need not be there.

    Raises:
        UsageError: It can't be changed, or ruamel.yaml is not installed.
    """

    def __init__(self, file: Path) -> None:
        try:
            from ruamel.yaml import YAML, YAMLError
            from ruamel.yaml.util import load_yaml_guess_indent
        except ModuleNotFoundError:
            hint = "type uv sync --extra studies"
            raise UsageError(f"--write true: ruamel.yaml is not installed; {hint}") from None
        self.file, self.yaml = file.resolve(), YAML()  # what a link points to
        self.yaml.preserve_quotes, self.yaml.width = True, 10_000
        try:
            text = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
            _, indent, offset = load_yaml_guess_indent(text, yaml=self.yaml)
            self.yaml.indent(mapping=2, sequence=indent or 2, offset=offset or 0)
            self.yaml.explicit_start = text.startswith("---")
            self.content = self.yaml.load(text) or self.yaml.map()
        except (OSError, YAMLError) as error:
            raise UsageError(f"{file}: {' '.join(str(error).split())}") from None
        if not os.access(self.file if self.file.exists() else self.file.parent, os.W_OK):
            raise UsageError(f"--write true: {file} can't be written")

    def set(self, key: str, value: Any) -> None:
        """Sets an option, such as `lr` or `model.lr`, and replaces the file in one go."""
        section, _, name = key.rpartition(".")
        place = self.content
        if section and key not in place:
            place[section] = place.get(section) or self.yaml.map()
            place = place[section]
        place[name if place is not self.content else key] = value
        text = io.StringIO()
        self.yaml.dump(self.content, text)
        part = self.file.with_name(f".{self.file.name}.part")
        part.write_text(text.getvalue(), encoding="utf-8")
        if self.file.exists():
            shutil.copymode(self.file, part)
        part.replace(self.file)
