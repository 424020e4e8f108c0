"""What ends a command in one line."""

from typing import Any


class UsageError(ValueError):
    """What the user typed can't work; the message says what was wrong and what to type."""


class RunError(Exception):
    """A run can't go on; the message says why."""


class Pruned(RunError):
    """A trial of a sweep is worse than others."""


class TryAgain(Exception):
    """What was asked for can be done with other options, by key."""

    def __init__(self, changes: dict[str, Any]) -> None:
        super().__init__(changes)
        self.changes = changes
