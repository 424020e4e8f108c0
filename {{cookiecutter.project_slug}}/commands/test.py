"""Measuring a run on its test set."""

from core.job import Job, measure


def test(job: Job, **which: str) -> None:
    """Measure a run's weights on the test set."""
    measure(job, job.trainer.test, **which)
