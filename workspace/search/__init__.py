"""Words for search spaces, and the study that searches one."""

from workspace.search.fidelity import CHEAP, Fidelity, Selection
from workspace.search.ranks import Ranks
from workspace.search.space import (
    Choice,
    Label,
    Range,
    Space,
    Times,
    choice,
    integer,
    log_uniform,
    resolve,
    times,
    uniform,
)
from workspace.search.storage import default_url, study_file
from workspace.search.study import Study, Trial, TrialRow, TrialState

__all__ = [
    "CHEAP",
    "Choice",
    "Fidelity",
    "Label",
    "Range",
    "Ranks",
    "Selection",
    "Space",
    "Study",
    "Times",
    "Trial",
    "TrialRow",
    "TrialState",
    "choice",
    "default_url",
    "integer",
    "log_uniform",
    "resolve",
    "study_file",
    "times",
    "uniform",
]
