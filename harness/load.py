"""From planned arrivals to a load engine at work: rendering, the job, the process and its result."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

from gateway_proxy.http1 import render_request
from harness.engines import ENGINES
from harness.engines.job import ClosedLoop, Job, LoadResult, Shot
from harness.errors import HarnessError
from harness.forkserver import ForkServer, Spawn
from harness.platform import PlatformSpec
from harness.schedule import Arrival
from harness.timeline import Timeline
from stub_services.requests import RequestBook


class Renderer:
    """Turns arrivals into rendered requests for the targets of one platform, before anything is timed."""

    def __init__(self, book: RequestBook, spec: PlatformSpec) -> None:
        self.book = book
        self.targets: list[tuple[str, int]] = []
        self._target_of: dict[str, tuple[int, str]] = {}
        for flow in spec.scenario.flows:
            host, _, port = spec.base_url(flow.service, "external").removeprefix("http://").partition(":")
            address = (host, int(port))
            if address not in self.targets:
                self.targets.append(address)
            self._target_of[flow.name] = (self.targets.index(address), f"{host}:{port}")

    def shot(self, arrival: Arrival) -> Shot:
        """Return the request of one arrival."""
        method, path, headers, body = self.book.request(arrival.flow, arrival.learner)
        target, host = self._target_of[arrival.flow]
        payload = render_request(method, path, host, headers, body)
        return Shot(arrival.at_ns, target, payload, self.book.accepts(arrival.flow))

    def closed_loop(self, arrivals: list[Arrival], connections: int, timeline: Timeline) -> ClosedLoop | None:
        """Return the closed loop over these requests, or None when there are none."""
        if not arrivals:
            return None
        shots = [self.shot(arrival) for arrival in arrivals]
        return ClosedLoop(shots, connections, timeline.closed_start_ns, timeline.end_ns)


class PendingLoad:
    """A load engine at work in a process of its own."""

    def __init__(self, job: Job, engine: str, folder: Path, server: ForkServer, cores: list[int]) -> None:
        self.server = server
        self.end_ns = job.t0_ns + (job.marks_ns[-1] if job.marks_ns else 0)
        self.log = folder / "engine.log"
        self.result_path = folder / "load.result"
        job_path = folder / "load.job"
        job_path.write_bytes(pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL))
        arguments = (str(job_path), str(self.result_path))
        self.pid = server.spawn(Spawn(ENGINES[engine], arguments, str(self.log), cores))

    def wait(self, timeout_s: float) -> LoadResult:
        """Wait for the engine to end and return what it brought. Raises HarnessError when it brought nothing.

        Sleeps through the windows: whoever looks every few milliseconds disturbs the core that it looks from.
        """
        time.sleep(max(0, self.end_ns - time.monotonic_ns()) / 1e9)
        deadline = time.monotonic() + timeout_s
        while (code := self.server.exit_code(self.pid)) is None:
            if time.monotonic() > deadline:
                raise HarnessError(f"the load engine did not end within {timeout_s:.0f} s")
            time.sleep(0.005)
        if code != 0:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise HarnessError(f"the load engine ended with code {code}:\n{tail}")
        result: LoadResult = pickle.loads(self.result_path.read_bytes())  # noqa: S301 - from our own child
        return result
