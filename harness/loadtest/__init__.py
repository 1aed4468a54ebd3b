"""Load on one URL, as a tool of its own: the native engine, and figures that say whether they are to be believed.

    LoadRequest (request) -> Job (plan) -> floor and engine (drive) -> LoadSummary (summary), judged by validity

Latency is counted from the intended start, service time from the send, slip is the difference of the two; each is
kept for every request, in an HdrHistogram of its own. docs/load.md says how to read them.
"""

from harness.loadtest.drive import load
from harness.loadtest.observer import LoadObserver
from harness.loadtest.request import LoadRequest
from harness.loadtest.summary import Distribution, LoadSummary

__all__ = ["Distribution", "LoadObserver", "LoadRequest", "LoadSummary", "load"]
