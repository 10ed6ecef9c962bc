"""Where a run loses precision: one step computed in half and in FP32, and by turns with its parts in the other.

It measures and explains; it trains nothing for good, and no search or verdict takes part in it. The search reads the
file that `Diagnosis.write` leaves.
"""

from workspace.diagnosis.diagnose import diagnose
from workspace.diagnosis.findings import Cause, Diagnosis, MemberFinding, Moment, Proposal
from workspace.diagnosis.gauge import Errors
from workspace.diagnosis.observation import Deviation
from workspace.diagnosis.watch import along_a_run

__all__ = [
    "Cause",
    "Deviation",
    "Diagnosis",
    "Errors",
    "MemberFinding",
    "Moment",
    "Proposal",
    "along_a_run",
    "diagnose",
]
