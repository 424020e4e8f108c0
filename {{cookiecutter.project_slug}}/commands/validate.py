"""Measuring a run on its validation set."""

from core.job import Job, measure


def validate(job: Job, **which: str) -> None:
    """Measure a run's weights on the validation set."""
    measure(job, job.trainer.validate, **which)
