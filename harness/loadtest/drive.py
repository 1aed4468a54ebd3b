"""Carries a load out: floor first, then the engine in a process of its own, watched until it has ended."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from harness.cpu import pin, usable_cores
from harness.engines.board import Progress, ask_stop, new_board, read_board
from harness.engines.forked import ForkedLoad
from harness.engines.job import Job, LoadResult
from harness.errors import BadInputError
from harness.floor import Ceiling, Floor, measure_ceiling, measure_floor
from harness.forkserver import ForkServer
from harness.loadtest.observer import LoadObserver, LoadPlan, Silent
from harness.loadtest.plan import build_job
from harness.loadtest.request import LoadRequest, Prepared, prepare
from harness.loadtest.summary import LoadSummary, summarise
from harness.scratch import scratch_folder

_LOOK_S = 0.25  # looking costs a little on another core than the engine's
_LOOK_AT_THE_END_S = 0.05
_PATIENCE_S = 30.0
_FILE_BYTES_A_REQUEST = 31  # the job's 12 and the result's 19


def load(request: LoadRequest, observer: LoadObserver | None = None) -> LoadSummary:
    """Drive the URL and return the figures; a KeyboardInterrupt during the window ends it early and keeps what was.

    Raises BadInputError for a request that cannot be carried out, HarnessError when the engine brings nothing.
    """
    observer = observer or Silent()
    prepared = prepare(request)
    cores = usable_cores()
    generator, others = cores[:1], cores[1:] or cores
    with contextlib.ExitStack() as stack:
        stack.enter_context(_pinned(others, cores))
        folder = Path(stack.enter_context(_scratch(request)))
        server = stack.enter_context(contextlib.closing(ForkServer(("harness.engines.native",), others)))
        observer.preparing("measuring the generator's own floor")
        floor = _measure_floor(request, prepared, server, generator, others)
        job, result, interrupted = _carry_out(request, prepared, folder, (server, generator), observer)
    return summarise(request, job, result, floor, own_core=len(cores) > 1, interrupted=interrupted)


@contextlib.contextmanager
def _pinned(cores: list[int], before: list[int]) -> Iterator[None]:
    """Keep ourselves off the generator's core, and give back what was before."""
    pin(cores)
    try:
        yield
    finally:
        pin(before)


@contextlib.contextmanager
def _scratch(request: LoadRequest) -> Iterator[str]:
    """Yield a folder for what passes to the engine and back. Raises BadInputError when it has too little room."""
    with scratch_folder() as folder:
        if request.planned * _FILE_BYTES_A_REQUEST > shutil.disk_usage(folder).free:
            raise BadInputError(
                f"{request.planned:.3g} planned requests are too many for the room in {Path(folder).parent}; lower the "
                f"rate or the duration"
            )
        yield folder


def _measure_floor(
    request: LoadRequest, prepared: Prepared, server: ForkServer, generator: list[int], others: list[int]
) -> Floor | Ceiling:
    if request.closed:
        return measure_ceiling(server, generator, others, request.in_flight_at_most, payload=prepared.payload)
    return measure_floor(server, generator, others, request.rate_per_s, payload=prepared.payload)


def _carry_out(
    request: LoadRequest,
    prepared: Prepared,
    folder: Path,
    where: tuple[ForkServer, list[int]],
    observer: LoadObserver,
) -> tuple[Job, LoadResult, bool]:
    """Return the job, what came of it, and whether it was interrupted.

    The schedule is drawn again for the figures, and not held while the engine has its own copy of it.
    """
    board = folder / "board"
    new_board(board)
    now_ns = time.monotonic_ns()
    pending = ForkedLoad(build_job(request, prepared, now_ns, str(board)), folder, *where)
    rate = None if request.closed else request.rate_per_s
    observer.begins(LoadPlan(request.total_s, request.warmup_s, rate, request.in_flight_at_most))
    give_up_s = request.total_s + request.timeout_s + _PATIENCE_S
    interrupted = False
    try:
        _show(pending, board, give_up_s, observer)
    except KeyboardInterrupt:
        interrupted = True
        ask_stop(board)
        observer.stopping()
        _show(pending, board, request.timeout_s + _PATIENCE_S, observer)
    pending.end_ns = 0  # it has ended: there is no window to sleep through
    result = pending.wait(_PATIENCE_S)
    return build_job(request, prepared, now_ns, str(board)), result, interrupted


def _show(pending: ForkedLoad, board: Path, give_up_s: float, observer: LoadObserver) -> None:
    for progress in watch(pending, board, give_up_s):
        observer.progress(progress)


def watch(pending: ForkedLoad, board: Path, give_up_s: float) -> Iterator[Progress]:
    """Yield how far the engine is until it has ended or `give_up_s` have passed: often only when the window is over."""
    give_up_ns = time.monotonic_ns() + round(give_up_s * 1e9)
    while pending.server.exit_code(pending.pid) is None and (now := time.monotonic_ns()) < give_up_ns:
        yield read_board(board)
        left_s = (pending.end_ns - now) / 1e9
        time.sleep(min(_LOOK_S, max(_LOOK_AT_THE_END_S, left_s)))
