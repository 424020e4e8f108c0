"""Refuses answers that a Python package can't have, and says what to type instead."""

import json
import keyword
import re
import sys
import unicodedata

# Folders of the project itself, and what it imports or installs: a project of that name would
# depend on itself, or hide the real package from a Python started one folder up.
TAKEN = """
    main core data model callbacks commands checks examples test tests runs datasets
    torch torchgen functorch torchvision torchmetrics timm
    pytorch-lightning lightning lightning-fabric lightning-utilities
    jsonargparse docstring-parser filelock numpy pillow pil pyyaml yaml yaml-stubs types-pyyaml
    rich scikit-learn sklearn scipy simplejpeg tensorboard
    onnx onnxruntime onnxscript wandb mlflow comet-ml optuna matplotlib mpl-toolkits pylab
    ruamel-yaml ruamel
    pytest py ruff mypy mypyc uv pip setuptools
""".split()
TAKEN += [word.lower() for word in keyword.kwlist]


def clean(slug):
    """Returns the valid slug that is nearest to any text."""
    text = unicodedata.normalize("NFKD", slug).encode("ascii", "ignore").decode().lower()
    words = re.sub("[^a-z0-9]+", "-", text)[:56].strip("-")
    if not words[:1].isalpha():
        words = f"project-{words}".strip("-")
    return f"{words}-project" if words in TAKEN else words


email = json.loads({{ cookiecutter.email | tojson | tojson }})
word = r"[\w!#$%&'*+/=?^`{|}~-]+"
if email and not re.fullmatch(rf"{word}(\.{word})*@([a-zA-Z0-9-]+\.)+[a-zA-Z0-9-]+", email, re.A):
    sys.exit(f"email {ascii(email)} is no address: type one such as you@example.com")

# The answer itself: cookiecutter.json has put a harmless folder name in place of one that is none.
slug = json.loads({{ cookiecutter.__slug_answer | tojson | tojson }})

if not slug:
    problem = "is empty"
elif slug.replace("_", "-") in TAKEN:
    problem = "is the name of a folder, package or keyword that the project needs"
elif len(slug) > 64:
    problem = "is longer than 64 characters"
elif not re.fullmatch("[a-z][a-z0-9]*([-_][a-z0-9]+)*", slug):
    problem = "must be lower-case letters, digits and single dashes, and start with a letter"
else:
    sys.exit()

shown = ascii(slug if len(slug) <= 40 else f"{slug[:40]}...")
sys.exit(f"project_slug {shown} {problem}: type {clean(slug)} instead")
