"""What the gateway does with a request, by host, path, method and fields. Every part that is left out costs nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway_proxy.config.kinds import (
    Count,
    FieldName,
    FieldValue,
    FileName,
    Frozen,
    Method,
    Name,
    OwnField,
    Path,
    Seconds,
    Share,
    Size,
    Status,
    Weight,
)
from scenarios.files import LocatedError

Host = Annotated[str, StringConstraints(pattern=r"^(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$", to_lower=True)]
# As browsers write it: no path, no slash at the end, no upper case (the HTML standard's serialisation of an origin).
Origin = Annotated[str, StringConstraints(pattern=r"^(?:\*|null|[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+)$")]
LimitKey = Annotated[
    str, StringConstraints(pattern=r"^(?:client|route|field:[!#$%&'*+.^_`|~0-9A-Za-z-]+|claim:[!-~]+)$")
]
_SAFE: tuple[Method, ...] = ("GET", "HEAD", "OPTIONS", "TRACE")


class UpstreamShare(Frozen):
    """One upstream of a split, and its weight."""

    upstream: Name
    weight: Weight = 1


class Timeouts(Frozen):
    """In place of the upstream's: to connect, for the head of the answer, between bytes, for the whole exchange."""

    connect_s: Seconds | None = None
    response_head_s: Seconds | None = None
    idle_s: Seconds | None = None
    exchange_s: Seconds | None = None


class RetryBudget(Frozen):
    """Retries may be this share of requests, and at least so many a second (Finagle's rule)."""

    share: Share = 0.2
    min_per_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3.0


class Retry(Frozen):
    """Try again when the upstream did not answer, or answered with one of `statuses`.

    Only for `methods`; a body is sent again only if it was held whole, in at most `max_body_bytes`. The pause is drawn
    from 0 to min(max_backoff_s, backoff_s * 2 ** retry): full jitter.
    """

    attempts: Annotated[int, Field(strict=True, ge=2, le=10)] = 3
    methods: tuple[Method, ...] = Field(default=_SAFE, min_length=1)
    statuses: tuple[Status, ...] = (502, 503, 504)
    backoff_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.025
    max_backoff_s: Seconds = 0.25
    budget: RetryBudget = RetryBudget()
    max_body_bytes: Size = 65536


class RateLimit(Frozen):
    """A token bucket for each key: `requests` in `window_s`, at most `burst` at once; 429 beyond that."""

    requests: Count
    window_s: Seconds = 1.0
    burst: Count | None = None
    key: LimitKey = "client"
    max_keys: Count = 10000


class Jwt(Frozen):
    """Check the bearer token here. Exactly one of the sources of keys; files are read at start and at every reload."""

    algorithms: tuple[Literal["HS256", "RS256"], ...] = Field(min_length=1)
    secret: Annotated[str, Field(min_length=1)] | None = None
    secret_file: FileName | None = None
    public_key_file: FileName | None = None
    jwks_file: FileName | None = None
    issuer: str | None = None
    audience: str | None = None
    leeway_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    cached_tokens: Size = 10000

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = ("secret", "secret_file", "public_key_file", "jwks_file")
        given = [name for name in sources if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(sources)}; {len(given)} are given")
        shared = given[0] in ("secret", "secret_file")
        for algorithm in self.algorithms:
            if given[0] != "jwks_file" and (algorithm == "HS256") != shared:
                raise LocatedError(("algorithms",), f"{algorithm} does not go with {given[0]}")
        return self


class Ask(Frozen):
    """Have an upstream judge the token: GET `path` with the client's Authorization; 2xx lets the request pass.

    401 and 403 are passed on; any other answer, or none, is a 503. Answers are kept for `cache_s`.
    """

    upstream: Name
    path: Path
    timeout_s: Seconds = 1.0
    cache_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    cached_tokens: Size = 10000


class Auth(Frozen):
    """Who may pass: checked here or by asking. `claims`: claim of the token -> field that tells the upstream."""

    jwt: Jwt | None = None
    ask: Ask | None = None
    claims: dict[str, OwnField] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.jwt is None) == (self.ask is None):
            raise ValueError("needs one of jwt and ask")
        if self.claims and self.jwt is None:
            raise LocatedError(("claims",), "needs jwt: a token that is judged elsewhere is not read here")
        fields = [field.lower() for field in self.claims.values()]
        if len(set(fields)) < len(fields):
            raise LocatedError(("claims",), "two claims in one field: each needs its own")
        return self


class Cors(Frozen):
    """Answers preflights here and lets `origins` read answers (the Fetch standard's CORS protocol)."""

    origins: tuple[Origin, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = ("GET", "HEAD", "POST")
    headers: tuple[FieldName, ...] = ()
    expose: tuple[FieldName, ...] = ()
    credentials: bool = False
    max_age_s: Annotated[int, Field(strict=True, ge=0, le=86400)] = 600

    @model_validator(mode="after")
    def _no_open_credentials(self) -> Self:
        for name in ("origins", "headers"):
            if self.credentials and "*" in getattr(self, name):
                raise LocatedError((name,), f"'*' does not go with credentials; name the {name}")
        return self


class Fault(Frozen):
    """Spoil a share of requests on purpose: hold them back, or answer in the upstream's place."""

    delay_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    delay_share: Share = 0.0
    abort_status: Status = 503
    abort_share: Share = 0.0


class Route(Frozen):
    """Requests whose path is `prefix`, or goes on below it (whole path segments, raw bytes), go to `upstream`.

    Of routes that match, the longest prefix wins, then the one with a host, with more fields, with methods, and last
    the order in the file. `split` sends shares to several upstreams in place of one.
    """

    prefix: Path
    host: Host | None = None
    methods: tuple[Method, ...] = ()
    fields: dict[FieldName, FieldValue] = Field(default_factory=dict)
    upstream: Name | None = None
    split: tuple[UpstreamShare, ...] = ()
    strip_prefix: bool = False
    rewrite_prefix: Path | None = None
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    rate_limit: RateLimit | None = None
    auth: Auth | None = None
    cors: Cors | None = None
    fault: Fault | None = None
    upgrade: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9./_-]+$", to_lower=True)], ...] = ()

    @property
    def shares(self) -> tuple[UpstreamShare, ...]:
        """The upstreams with their weights; one, unless split."""
        return self.split or (UpstreamShare(upstream=self.upstream or ""),)

    @property
    def matchers(self) -> tuple[Any, ...]:
        """What two routes must differ in."""
        return (self.prefix.rstrip("/"), self.host, frozenset(self.methods), frozenset(self.fields.items()))

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.upstream is None) == (not self.split):
            raise ValueError("needs one of upstream and split")
        if self.strip_prefix and self.rewrite_prefix is not None:
            raise LocatedError(("strip_prefix",), "does not go with rewrite_prefix; rewriting replaces the prefix")
        if (
            self.rate_limit is not None
            and self.rate_limit.key.startswith("claim:")
            and not (self.auth and self.auth.jwt)
        ):
            raise LocatedError(("rate_limit", "key"), "a claim needs auth with jwt on the same route")
        return self
