"""What a trial gives the load engine."""

from types import SimpleNamespace

import pytest

from harness.profiles import PROFILES
from harness.schedule import Arrival
from harness.timeline import steady_timeline
from harness.trial import Script, build_job

RENDERED_NS = 100_000  # what rendering a request takes on this clock


class _Slow:
    """A request book, and the clock that says how long its work takes."""

    def __init__(self):
        self.now_ns = 0

    def clock(self):
        return self.now_ns

    def request(self, flow, learner):
        self.now_ns += RENDERED_NS
        return "GET", f"/{flow}/{learner}", (), None

    def accepts(self, flow):
        return frozenset({200})


@pytest.mark.parametrize(("outside", "closed"), [(500, 0), (0, 5000), (500, 5000)])
def test_a_job_begins_after_all_its_requests_are_rendered(outside, closed):
    """It did not for those of the closed loop: standard runs sent what was due meanwhile in one burst."""
    book, timeline = _Slow(), steady_timeline(PROFILES["standard"], saturation=bool(closed))
    flow = SimpleNamespace(name="browse", service="course")
    spec = SimpleNamespace(scenario=SimpleNamespace(flows=[flow]), base_urls=lambda *_: ["http://127.0.0.1:9"])
    settings = SimpleNamespace(book=book, connections=8, timeout_ms=1000.0, max_in_flight=4096)
    arrivals = [Arrival(number, "browse", number) for number in range(outside)]
    shots = [Arrival(0, "browse", number) for number in range(closed)]
    script = Script(timeline, arrivals, [], shots)
    job = build_job(script, settings, SimpleNamespace(spec=spec, pids={}), clock=book.clock)
    assert book.now_ns == (outside + closed) * RENDERED_NS
    assert job.t0_ns > book.now_ns + 20_000_000
    assert len(job.schedule) == outside
    assert (len(job.closed.requests) if job.closed else 0) == closed
