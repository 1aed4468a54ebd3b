"""Every feature of the built-in gateway that a request can meet, each alone: what to configure and how it shows.

A configuration begins as `plain`; a feature changes one thing in it. Some add a second route, `/strict`, with the same
feature set so that it shows at once: no load goes there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import feature_proofs as proofs
from tests.bench.feature_keys import Keys
from tests.bench.feature_proofs import PREFIX, STRICT, Proof

Config = dict[str, Any]
CONTROL = "nothing (control)"
ORIGIN = "https://app.example"
HOST = "api.example"
_OFTEN = 1_000_000


@dataclass(frozen=True)
class Place:
    """Where a gateway finds itself: its ports, its upstreams' ports, its folder, and the keys of the run."""

    port: int
    admin_port: int
    ports: Sequence[int]
    failing: int
    silent: int
    folder: Path
    keys: Keys

    @property
    def access_log(self) -> Path:
        """The file that an access log goes to."""
        return self.folder / "access.log"

    def addresses(self, *numbers: int) -> list[str]:
        """Return the addresses of the upstream's ports with these numbers."""
        return [f"127.0.0.1:{self.ports[number]}" for number in numbers]


Change = Callable[[Config, Place], None]
Fields = Callable[[Keys, int], tuple[str, ...]]


def _no_fields(_: Keys, __: int) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Feature:
    """One feature: the change, the field lines of its load (by connection; the base gets them too), and its proof."""

    change: Change
    proof: Proof | None
    fields: Fields = _no_fields
    secure: bool = False


def plain(place: Place) -> Config:
    """Return the configuration without any feature."""
    return {
        "listen": {"host": "127.0.0.1", "port": place.port},
        "upstreams": {"all": {"targets": place.addresses(0)}},
        "routes": [{"prefix": PREFIX, "upstream": "all"}],
    }


def configured(feature: Feature, place: Place) -> Config:
    """Return the configuration with the feature."""
    config = plain(place)
    feature.change(config, place)
    return config


def _top(**values: Any) -> Change:
    return lambda config, _: config.update(values)


def _route(**values: Any) -> Change:
    return lambda config, _: config["routes"][0].update(values)


def _upstream(**values: Any) -> Change:
    return lambda config, _: config["upstreams"]["all"].update(values)


def _both(*changes: Change) -> Change:
    def change(config: Config, place: Place) -> None:
        for one in changes:
            one(config, place)

    return change


def _strict(kind: str = "all", route: Config | None = None, upstream: Config | None = None) -> Change:
    """Add the strict route. `kind` is its upstream: all (the load's), failing, half (one of two fails), or silent."""

    def change(config: Config, place: Place) -> None:
        failing = f"127.0.0.1:{place.failing}"
        targets = {
            "failing": [failing],
            "half": [*place.addresses(0), failing],
            "silent": [f"127.0.0.1:{place.silent}"],
        }
        if kind in targets:
            config["upstreams"][kind] = {"targets": targets[kind], **(upstream or {})}
        config["routes"].append({"prefix": STRICT, "upstream": kind, **(route or {})})

    return change


def _access_log(config: Config, place: Place) -> None:
    config["access_log"] = {"file": str(place.access_log), "flush_s": 0.5}


def _metrics(config: Config, place: Place) -> None:
    config.update(admin={"port": place.admin_port}, metrics=True)


def _tls(config: Config, place: Place) -> None:
    files = {"certificate_file": str(place.keys.certificate_file), "key_file": str(place.keys.key_file)}
    config["listen"]["tls"] = files


def _jwt(algorithm: str, cached_tokens: int) -> Change:
    def change(config: Config, place: Place) -> None:
        public = {"public_key_file": str(place.keys.public_key_file)}
        key = {"secret": place.keys.secret} if algorithm == "HS256" else public
        config["routes"][0]["auth"] = {"jwt": {"algorithms": [algorithm], "cached_tokens": cached_tokens, **key}}

    return change


def _ask(cache_s: float) -> Change:
    return _route(auth={"ask": {"upstream": "all", "path": "/ask", "cache_s": cache_s}})


def _bearer(algorithm: str) -> Fields:
    return lambda keys, connection: (f"authorization: Bearer {keys.token(algorithm, connection)}",)


def _always(*lines: str) -> Fields:
    return lambda _, __: lines


def _balance(kind: str, **more: Any) -> Change:
    def change(config: Config, place: Place) -> None:
        config["upstreams"]["all"] = {"targets": place.addresses(0, 1, 2), "balance": kind, **more}

    return change


def _split(config: Config, place: Place) -> None:
    config["upstreams"]["other"] = {"targets": place.addresses(1)}
    route = config["routes"][0]
    del route["upstream"]
    route["split"] = [{"upstream": "all", "weight": 1}, {"upstream": "other", "weight": 1}]


_RARE = {"delay_s": 0.001, "delay_share": 1e-9, "abort_share": 1e-9}
_TIMEOUTS = {"connect_s": 1, "response_head_s": 9, "idle_s": 9, "exchange_s": 20}
_PASSIVE = {"unhealthy_after": 1, "retry_after_s": 60}
_ACTIVE = {"path": f"{PREFIX}/1", "interval_s": 0.1, "unhealthy_after": 1}
_EJECT = {"error_share": 0.4, "min_requests": 2, "interval_s": 0.25, "ejection_s": 60}

FEATURES: dict[str, Feature] = {
    CONTROL: Feature(lambda _, __: None, None),
    "access_log": Feature(_access_log, proofs.logs),
    "metrics, with admin": Feature(_metrics, proofs.has_metrics),
    "request_id": Feature(_top(request_id={}), proofs.sees("id")),
    "trace": Feature(_top(trace={}), proofs.sees("trace")),
    "forwarding.forwarded": Feature(_top(forwarding={"forwarded": True}), proofs.sees("forwarded")),
    "forwarding without via": Feature(_top(forwarding={"via": False}), proofs.hides("via")),
    "forwarding without x_forwarded": Feature(_top(forwarding={"x_forwarded": False}), proofs.hides("client")),
    "tls": Feature(_tls, proofs.serves, secure=True),
    "cors": Feature(
        _route(cors={"origins": [ORIGIN]}),
        proofs.answers_with("access-control-allow-origin"),
        _always(f"origin: {ORIGIN}"),
    ),
    "rate_limit, by client": Feature(
        _both(
            _route(rate_limit={"requests": _OFTEN, "window_s": 1, "key": "client"}),
            _strict(route={"rate_limit": {"requests": 1, "window_s": 3600, "key": "client"}}),
        ),
        proofs.strict_gives(200, 429),
    ),
    "auth.jwt HS256, token known": Feature(_jwt("HS256", 10_000), proofs.refuses(401), _bearer("HS256")),
    "auth.jwt HS256, token new": Feature(_jwt("HS256", 1), proofs.refuses(401), _bearer("HS256")),
    "auth.jwt RS256, token known": Feature(_jwt("RS256", 10_000), proofs.refuses(401), _bearer("RS256")),
    "auth.ask, every time": Feature(_ask(0), proofs.refuses(401), _bearer("HS256")),
    "auth.ask, answer known": Feature(_ask(600), proofs.refuses(401), _bearer("HS256")),
    "retry, none happening": Feature(
        _both(_route(retry={}), _strict("failing", {"retry": {"attempts": 3}})), proofs.asks_more_than_once
    ),
    "circuit_breaker": Feature(
        _both(
            _upstream(circuit_breaker={}),
            _strict("failing", upstream={"circuit_breaker": {"failures": 2, "half_open_requests": 1}}),
        ),
        proofs.stops_asking,
    ),
    "health.passive": Feature(
        _both(_upstream(health={"passive": {}}), _strict("half", upstream={"health": {"passive": _PASSIVE}})),
        proofs.leaves_the_bad_one_alone,
    ),
    "health.active, every 2 s": Feature(
        _both(
            _upstream(health={"active": {"path": f"{PREFIX}/1"}}),
            _strict("half", upstream={"health": {"active": _ACTIVE}}),
        ),
        proofs.finds_the_bad_one_unasked,
    ),
    "outlier_ejection": Feature(
        _both(_upstream(outlier_ejection={}), _strict("half", upstream={"outlier_ejection": _EJECT})),
        proofs.leaves_the_bad_one_alone,
    ),
    "balance of 3, round_robin": Feature(_balance("round_robin"), proofs.takes_turns),
    "balance of 3, least_connections": Feature(_balance("least_connections"), proofs.avoids_the_busy_one),
    "balance of 3, two_choices": Feature(_balance("two_choices"), proofs.chooses_by_chance),
    "balance of 3, consistent_hash": Feature(_balance("consistent_hash", hash_on="path"), proofs.keeps_to_the_path),
    "split over two upstreams": Feature(_split, proofs.reaches_both),
    "route by field": Feature(_route(fields={"X-Api-Version": "2"}), proofs.refuses(404), _always("x-api-version: 2")),
    "route by method": Feature(_route(methods=["GET"]), proofs.refuses_other_methods),
    "route by host": Feature(_route(host=HOST), proofs.refuses(404), _always(f"host: {HOST}")),
    "upgrade, none asked for": Feature(_route(upgrade=["websocket"]), proofs.passes_an_upgrade),
    "strip_prefix": Feature(_route(strip_prefix=True), proofs.target("/echo/0")),
    "rewrite_prefix": Feature(_route(rewrite_prefix="/v2/users"), proofs.target("/v2/users/echo/0")),
    "timeouts of the route": Feature(
        _both(_route(timeouts=_TIMEOUTS), _strict("silent", {"timeouts": {"response_head_s": 0.2}})),
        proofs.strict_gives(504),
    ),
    "fault, of one in a thousand million": Feature(
        _both(_route(fault=_RARE), _strict(route={"fault": {"abort_share": 1, "abort_status": 418}})),
        proofs.strict_gives(418),
    ),
}
