"""Where workers run: one process per run, its output in a log, its end seen at once."""

from workspace.execution.cluster import RayExecutor
from workspace.execution.executor import Ended, Executor
from workspace.execution.local import LocalExecutor, default_workers

__all__ = ["Ended", "Executor", "LocalExecutor", "RayExecutor", "default_workers"]
