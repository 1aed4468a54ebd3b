"""Runs one service: `serve` blocks until the process is told to end.

Everything heavy is imported up here and nothing is made at import, so that a process forked from a parent that has
this module loaded is listening within milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
import uvicorn.lifespan.off
import uvloop
from starlette.routing import Route

from stub_services import auth, course, exercise, notification, user
from stub_services.service import Context, SweepFlow
from stub_services.settings import Settings
from stub_services.sweeps import Sweeper
from stub_services.web import Application, InternalEndpoint, health
from stub_services.wire import LeanProtocol

ROUTES: dict[str, Callable[[Context], list[Route]]] = {
    "auth": auth.routes,
    "user": user.routes,
    "course": course.routes,
    "exercise": exercise.routes,
    "notification": notification.routes,
}
SWEEPS: dict[str, Callable[[Context], SweepFlow]] = {
    "course": lambda context: course.Course(context).remind,
    "exercise": lambda context: exercise.Exercise(context).sync_progress,
}

GRACE_S = 3
BACKLOG = 2048


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT, then finish what is under way and return.

    Raises OSError naming the port when it cannot be listened on, sqlite3.Error when the store cannot be opened.
    """
    listener = _listen(settings.host, settings.port)
    logging.basicConfig(level=logging.WARNING, format=f"%(asctime)s {settings.name} %(levelname)s %(message)s")
    with contextlib.closing(listener), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, listener))


async def _run(settings: Settings, listener: socket.socket) -> None:
    context = Context(settings)
    routes = ROUTES[settings.name](context)
    sweeper = _sweeper(context)
    if sweeper is not None:
        reload = InternalEndpoint(sweeper.reload, settings.internal_api_key)
        routes.append(Route("/admin/sweep", reload, methods=["POST"]))
        sweeper.load()
    server = _Server(_config(Application([*routes, health(settings.name)])))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    gc.collect()
    gc.freeze()
    try:
        await server.serve([listener])
    finally:
        if sweeper is not None:
            sweeper.close()
        context.close()


def _sweeper(context: Context) -> Sweeper | None:
    settings = context.settings
    if settings.name not in SWEEPS:
        return None
    log = None if settings.log_dir is None else settings.log_dir / f"{settings.name}.sweeps"
    return Sweeper(SWEEPS[settings.name](context), settings.sweep_schedule, log)


def _config(app: Application) -> uvicorn.Config:
    """Configure uvicorn for the least work a request: nothing is added to an answer, nothing is logged."""
    return uvicorn.Config(
        app,
        http=LeanProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
    )


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which would end the process by the signal it was asked with."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_run`."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as taken:
        listener.close()
        raise OSError(taken.errno, f"cannot listen on {host} port {port}: {taken.strerror}") from None
    listener.setblocking(False)
    return listener
