"""A trial's runs: its cheap one, where the plan has a fidelity, and its full one, which is its own where it has none.

Which of them were begun is stored with the trial, so that after a restart it goes on where it was: a trial that was
promoted stays so, whatever else has finished since.
"""

from workspace.orchestrator.plan import Job
from workspace.search import CHEAP, Study, TrialRow

_CHEAP, _FULL = "cheap_signature", "signature"


def begin(study: Study, job: Job) -> None:
    """The study is told that this run of a trial is begun."""
    assert job.trial is not None
    study.annotate(job.trial, **{_CHEAP if job.full is not None else _FULL: job.spec.signature})


def settle_cheap(study: Study, job: Job, ap: float) -> Job | None:
    """A trial's cheap run has finished with that AP in points: the full run that follows, where it is promoted."""
    assert job.trial is not None
    assert job.full is not None
    if study.report(job.trial, CHEAP, ap):
        study.prune(job.trial)
        return None
    begin(study, job.full)
    return job.full


def is_begun(row: TrialRow) -> bool:
    """Whether a run of the trial was begun; the study has all of its parameters then."""
    return had_cheap_run(row) or is_promoted(row)


def had_cheap_run(row: TrialRow) -> bool:
    return _CHEAP in row.attrs


def is_promoted(row: TrialRow) -> bool:
    """Whether its full run was begun, after a cheap one or without."""
    return _FULL in row.attrs
