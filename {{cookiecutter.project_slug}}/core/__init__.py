"""The engine: it finds, checks and trains what is dropped in. Nothing here needs an edit."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of this project
