"""Journals to MLflow, and MLflow to tidy tables.

The orchestrator alone holds a :class:`~workspace.tracking.tracker.Tracker`; workers know nothing of it. The only room
that knows MLflow, always through ``MlflowClient`` with explicit run ids.
"""
