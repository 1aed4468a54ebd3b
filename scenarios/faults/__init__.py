"""Faults that can be injected. A new fault is one new file and one line in FAULTS.

A fault here is only described; the harness knows how to reach processes and applies what `inject` and `lift` say.
"""

from scenarios.faults import crash
from scenarios.faults.fault import FaultKind, FaultSpec, parse_fault

FAULTS: dict[str, FaultKind] = {
    "crash": crash.KIND,
}

__all__ = ["FAULTS", "FaultKind", "FaultSpec", "parse_fault"]
