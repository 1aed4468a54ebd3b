"""The controls of one gateway process: what the admin application, signals and a supervisor ask of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from gateway_proxy.assembly import AssemblyProblem
from gateway_proxy.config import GatewayConfig
from gateway_proxy.controls import BreakerStatus, PoolStatus, ReloadOutcome, Status, TargetStatus
from gateway_proxy.reloading import read_again
from scenarios.files import FileProblem

if TYPE_CHECKING:
    import ssl

    from gateway_proxy.pool import Pool, Target
    from gateway_proxy.state import Gateway

NO_METRICS = (b"", "text/plain; version=0.0.4")


class LocalControls:
    """Controls of the gateway in this process. `path` is the file of its configuration; empty: it has none."""

    def __init__(
        self, gateway: Gateway, path: str, stop: Callable[[], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self._gateway = gateway
        self._path = path
        self._stop = stop
        self._tls = tls
        self._started = gateway.loop.time()

    def config(self) -> GatewayConfig:
        """Return the configuration in force."""
        return self._gateway.config

    async def status(self) -> Status:
        """Return the gateway at a glance; it is its own only worker."""
        gateway = self._gateway
        uptime_s = round(gateway.loop.time() - self._started, 3)
        worker = {"number": 0, "pid": os.getpid(), "uptime_s": uptime_s, "generation": gateway.generation}
        return {
            "version": _version(),
            "pid": os.getpid(),
            "uptime_s": uptime_s,
            "config_file": self._path,
            "generation": gateway.generation,
            "connections": len(gateway.clients),
            "draining": gateway.draining,
            "workers": [{**worker, "connections": len(gateway.clients), "silent": False, "restarts": 0}],  # type: ignore[typeddict-item]
        }

    async def pools(self) -> dict[str, PoolStatus]:
        """Return every upstream's targets."""
        return {name: _pool(pool) for name, pool in self._gateway.pools.items()}

    async def breakers(self) -> dict[str, BreakerStatus]:
        """Return every circuit breaker."""
        now = self._gateway.now
        found: dict[str, Any] = {
            name: pool.breaker.shown(now) for name, pool in self._gateway.pools.items() if pool.breaker is not None
        }
        return found

    async def metrics(self) -> tuple[bytes, str]:
        """Return the metrics as text, and its media type; empty when metrics are off."""
        counted = self._gateway.assembly.metrics
        return counted.render() if counted is not None else NO_METRICS

    async def snapshot(self) -> dict[str, Any] | None:
        """Return what the metrics are made of, to be added to other workers'; None when metrics are off."""
        counted = self._gateway.assembly.metrics
        return counted.snapshot() if counted is not None else None

    async def reload(self) -> ReloadOutcome:
        """Read the configuration again, and put it in force; a bad one changes nothing."""
        try:
            fresh, _ = read_again(self._path, self._gateway.config)
            self.apply(fresh)
        except FileProblem as problem:
            return ReloadOutcome(self._gateway.generation, problem)
        except AssemblyProblem as problem:
            return ReloadOutcome(self._gateway.generation, FileProblem(self._path, 1, str(problem)))
        return ReloadOutcome(self._gateway.generation)

    def apply(self, fresh: GatewayConfig) -> None:
        """Put a configuration in force, and open logs anew. Raises AssemblyProblem, and then nothing has changed."""
        certificate = fresh.listen.tls
        if self._tls is not None and certificate is not None:
            load_certificate(self._tls, certificate.certificate_file, certificate.key_file)
        self._gateway.apply(fresh)
        self._gateway.assembly.reopen()

    async def drain(self) -> None:
        """Begin to stop as after SIGTERM."""
        self._stop()


def load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Take the certificate for handshakes from now on. Raises AssemblyProblem when the files cannot be used."""
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise AssemblyProblem(f"listen.tls: {certificate} with {key}: {error}") from None


def _no_password() -> str:
    raise ValueError("the key needs a password, and nobody is there to type it")


def _pool(pool: Pool) -> PoolStatus:
    return {"balance": pool.config.balance, "targets": [_target(target) for target in pool.targets]}


def _target(target: Target) -> TargetStatus:
    """Requests in flight are connections that are not idle: each carries one."""
    return {
        "address": target.address,
        "weight": target.weight,
        "active": target.opened - len(target.idle),
        "idle": len(target.idle),
        "opened": target.opened,
        "held_out": sorted(target.held_out),
    }


def _version() -> str:
    try:
        return version("archbench")
    except PackageNotFoundError:
        return "unknown"


def told(outcome: ReloadOutcome) -> str:
    """Return what became of a reload in a sentence for the log."""
    if outcome.problem is not None:
        return f"configuration not reloaded, generation {outcome.generation} stays: {outcome.problem}"
    if outcome.failed:
        return f"generation {outcome.generation} is not in force everywhere: {'; '.join(outcome.failed)}"
    return f"configuration reloaded: generation {outcome.generation}"
