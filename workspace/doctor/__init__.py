"""Whether this machine can do what it is asked to: what an engineer runs first, and pastes into a bug report."""

from workspace.doctor.check import Check, Request, Status
from workspace.doctor.examination import examine

__all__ = ["Check", "Request", "Status", "examine"]
