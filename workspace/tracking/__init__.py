"""Journals to MLflow, and MLflow to tidy tables.

The orchestrator alone holds a :class:`~workspace.tracking.tracker.Tracker`; workers know nothing of it. The only room
that knows MLflow, always through ``MlflowClient`` with explicit run ids.
"""

from workspace.tracking.fields import DataSet
from workspace.tracking.record import Publication, State
from workspace.tracking.store import default_uri
from workspace.tracking.tracker import Tracker

__all__ = ["DataSet", "Publication", "State", "Tracker", "default_uri"]
