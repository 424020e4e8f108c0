"""Whatever text is typed at the prompts arrives unchanged in every generated file."""

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from cookiecutter.main import cookiecutter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import ROOT
from .test_bake import CHOICES, parsed

FRAGMENTS = [
    "'", '"', "\\", "`", "\n", "\r\n", "\t", "\0", "\x7f", "\x85", "\u2028", '"""', "'''", "\\n",
    "\\u0041", "{", "}", "{{", "}}", "{{ cookiecutter.email }}", "{% raw %}", "{% endraw %}", "{#",
    "${HOME}", "$(id)", "[tool.x]", "= 1", "#", ": ", "- ", "&a *a", "!!python/object:x", "|", "%",
    "<b>", "&amp;", "😀", "é", "\ufeff", "\u202e",
]  # fmt: skip

# Half-written emoji (surrogates) cannot be typed, nor saved as UTF-8.
texts = st.lists(
    st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_categories=["Cs"]))
).map("".join)


def typed(answers: dict[str, str], folder: str) -> Path:
    """Generates a project from answers typed at the prompts, which jinja never renders."""

    def answer(name: str, default: Any, *_: object) -> str:
        return answers.get(name, default)

    with (
        mock.patch("cookiecutter.prompt.read_user_variable", answer),
        mock.patch("cookiecutter.prompt.read_user_choice", answer),
    ):
        return Path(cookiecutter(str(ROOT), output_dir=folder, accept_hooks=False))


@given(
    project_name=texts,
    description=texts,
    author=texts,
    email=texts,
    license_=st.sampled_from(CHOICES["license"]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_text_arrives(
    project_name: str, description: str, author: str, email: str, license_: str
) -> None:
    """TOML, YAML and JSON parse, and every value compares equal."""
    answers = {
        "project_name": project_name,
        "project_slug": "hostile",
        "description": description,
        "author": author,
        "email": email,
        "license": license_,
    }
    with tempfile.TemporaryDirectory() as folder:
        project = typed(answers, folder)
        contents = dict(parsed(project))
        readme = (project / "README.md").read_bytes().decode()
        license_file = project / "LICENSE"
        license_text = license_file.read_bytes().decode() if license_file.exists() else None

    metadata = contents["pyproject.toml"]["project"]
    assert metadata["name"] == "hostile"
    assert metadata["description"] == description
    assert metadata["authors"] == [{"name": author} | ({"email": email} if email else {})]
    # Where a line is all there is room for, white space becomes single spaces.
    assert readme.startswith(f"# {' '.join(project_name.split())}\n")
    assert description in readme
    assert (license_text is None) == (license_ == "none")
    assert license_text is None or " ".join(author.split()) in license_text
