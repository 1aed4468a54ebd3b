"""The archbench command: a table of contents. Each command reads its choices from a registry and calls one function."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from harness.engines import ENGINES
from harness.gateways import GATEWAYS
from harness.profiles import PROFILES
from scenarios import SCENARIOS
from scenarios.faults import FAULTS
from scenarios.modes import MODES

OK, UNEXPECTED, BAD_INPUT, CHANGED, INCONCLUSIVE, INVALID = range(6)
INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Settles architecture arguments by measurement: direct calls, a gateway, or both.",
)


def _one_of(names: Iterable[str]) -> Any:
    """Return the settings of an option or argument whose choices come from a registry."""
    choices = list(names)

    def parse(value: str) -> str:
        if value not in choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, choices))}")
        return value

    return {"parser": parse, "metavar": f"[{'|'.join(choices)}]"}


def _gateway(value: str) -> str:
    """Return the choice of a gateway as it is written everywhere, or say what is wrong with it."""
    from harness.gateways.choice import parse_choice

    try:
        return parse_choice(value)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong


ScenarioArgument = Annotated[str, typer.Argument(help=f"{', '.join(SCENARIOS)}, or the path of a scenario file.")]
RunArgument = Annotated[Path, typer.Argument(help="The folder of a run, for example runs/latest.")]
ModeOption = Annotated[str, typer.Option("--mode", **_one_of(MODES))]
_GATEWAY: Any = {"parser": _gateway, "metavar": f"[{'|'.join(GATEWAYS)}][:POOL]"}
GatewayOption = Annotated[str, typer.Option("--gateway", **_GATEWAY)]
ReplicasOption = Annotated[
    int,
    typer.Option("--gateway-replicas", min=1, max=2, help="Instances of the gateway; callers fail over between two."),
]
WorkOption = Annotated[
    str, typer.Option("--work", **_one_of(("bare", "realistic")), help="How much work the services do.")
]
PolicyOption = Annotated[
    str,
    typer.Option("--policy", **_one_of(("none", "documented", "corrected")), help="How services retry their calls."),
]


@app.command()
def run(
    scenario: ScenarioArgument = "ielts",
    profile: Annotated[str, typer.Option("--profile", **_one_of(PROFILES))] = "quick",
    mode: Annotated[list[str] | None, typer.Option("--mode", **_one_of(MODES))] = None,
    flow: Annotated[list[str] | None, typer.Option("--flow", help="Only these flows; may be repeated.")] = None,
    gateway: Annotated[
        list[str] | None,
        typer.Option(
            "--gateway", help="May be repeated: each is an arm of its own. POOL: kept or go-default.", **_GATEWAY
        ),
    ] = None,
    gateway_replicas: ReplicasOption = 1,
    work: WorkOption = "bare",
    policy: PolicyOption = "none",
    policy_clock_scale: Annotated[
        float, typer.Option(min=1.0, help="Divide the policy's pauses and breaker times by this.")
    ] = 1.0,
    fault: Annotated[list[str] | None, typer.Option("--fault", help="KIND:TARGET; may be repeated.")] = None,
    no_faults: Annotated[bool, typer.Option("--no-faults", help="Inject nothing.")] = False,
    no_experiments: Annotated[
        bool, typer.Option("--no-experiments", help="Leave out what the scenario tries outside the load windows.")
    ] = False,
    engine: Annotated[str, typer.Option("--engine", **_one_of(ENGINES))] = "native",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes of the Locust engine, here.")] = 1,
    await_workers: Annotated[
        int, typer.Option("--await-workers", min=0, help="So many more join from other machines: archbench worker.")
    ] = 0,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Where workers from other machines join. It opens the master and the whole platform to that network.",
        ),
    ] = None,
    capacity: Annotated[
        str | None,
        typer.Option(
            "--capacity",
            help="Search for capacity: of the mix, or of each flow too.",
            **_one_of(("none", "mix", "flows")),
        ),
    ] = None,
    objective_p99_ms: Annotated[
        float | None, typer.Option(min=0.001, help="Capacity is what keeps the p99 within this.")
    ] = None,
    objective_error_share: Annotated[
        float | None, typer.Option(min=0.0, max=0.99, help="Capacity is what keeps failures within this share.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
    out: Annotated[Path, typer.Option("--out", help="The folder that gets the run's folder.")] = Path("runs"),
) -> None:
    """Run a scenario in every mode, break things, and answer each claim."""
    from harness.run import RunRequest
    from results.judge import check_claims
    from scenarios.load import load_scenario

    with _explained():
        loaded = load_scenario(scenario)
        check_claims(loaded)
        first_gateway, *further_gateways = gateway or ["builtin"]
        request = RunRequest(
            scenario=loaded,
            profile=PROFILES[profile],
            modes=tuple(dict.fromkeys(mode or MODES)),
            flows=tuple(flow or ()),
            gateway=first_gateway,
            further_gateways=tuple(further_gateways),
            work=work,
            policy=policy,
            clock_scale=policy_clock_scale,
            faults=_faults(fault, no_faults=no_faults, components=loaded.components),
            engine=engine,
            **_crew(engine, workers, await_workers, listen),
            seed=seed,
            out=out,
            capacity=capacity or "",
            objective_p99_ms=objective_p99_ms,
            objective_error_share=objective_error_share,
            gateway_replicas=gateway_replicas,
            experiments=not no_experiments,
        )
        run_dir, code = _measure(request)
        report_code = _report(run_dir) if run_dir else OK
        raise typer.Exit(code or report_code)


@app.command()
def report(run_dir: RunArgument) -> None:
    """Rebuild every report of a run from its record, without running anything."""
    with _explained():
        raise typer.Exit(_report(run_dir))


@app.command()
def check(
    run_dir: RunArgument,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="A run's folder or a results.json.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Inconclusive fails as well (exit 4).")] = False,
    tolerance: Annotated[float, typer.Option(min=0.0, help="A slowdown up to this share is no regression.")] = 0.03,
    margin: Annotated[float, typer.Option(min=0.0, help="A slowdown surely below this share passes.")] = 0.10,
) -> None:
    """Gate a run, alone or against a baseline: 0 fine, 3 regression or changed verdict, 4 inconclusive, 5 invalid."""
    from results import gate
    from results.reports import terminal

    with _explained():
        outcome = gate.check(run_dir, baseline, tolerance=tolerance, margin=margin, strict=strict)
        _show(terminal.gate_answer(outcome))
        raise typer.Exit(outcome.exit_code)


@app.command()
def compare(first: RunArgument, second: RunArgument) -> None:
    """Set two runs side by side: comparisons and verdicts that differ."""
    from results import gate
    from results.reports import terminal

    with _explained():
        _show(terminal.run_comparison(gate.compare(first, second)))


@app.command()
def up(
    scenario: ScenarioArgument = "ielts",
    mode: ModeOption = "hybrid",
    gateway: GatewayOption = "builtin",
    gateway_replicas: ReplicasOption = 1,
    work: WorkOption = "bare",
    policy: PolicyOption = "none",
) -> None:
    """Start the platform on the scenario's own ports, print how to talk to it, and keep it running until Ctrl-C."""
    from harness.up import platform_up
    from scenarios.load import load_scenario

    with (
        _explained(),
        contextlib.suppress(KeyboardInterrupt),
        platform_up(load_scenario(scenario), mode, gateway, work, policy, gateway_replicas) as (platform, wait),
    ):
        typer.echo(platform.describe(mode))
        wait()


@app.command()
def load(
    url: Annotated[str, typer.Argument(help="An http:// URL.")],
    rate: Annotated[float, typer.Option("--rate", help="Requests a second, whatever becomes of them.")] = 100.0,
    closed: Annotated[
        bool, typer.Option("--closed", help="Keep every connection busy instead; --rate is not used.")
    ] = False,
    duration: Annotated[float, typer.Option("--duration", help="Seconds that are measured.")] = 10.0,
    warmup: Annotated[float, typer.Option("--warmup", help="Seconds before that; sent, and not counted.")] = 0.0,
    arrivals: Annotated[str, typer.Option("--arrivals", **_one_of(("constant", "poisson")))] = "constant",
    connections: Annotated[
        int | None, typer.Option("--connections", help="At most so many requests in flight: 1000, or 64 if closed.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-X", help="The method, as it is to be sent.")] = "GET",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="'Name: value'; may be repeated.")] = None,
    body: Annotated[str | None, typer.Option("--body", help="Text to send with every request.")] = None,
    body_file: Annotated[Path | None, typer.Option("--body-file", help="A file to send with every request.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds after which a request has failed.")] = 5.0,
    accept: Annotated[str, typer.Option("--accept", help="Statuses that count as completed.")] = "200-399",
    seed: Annotated[int, typer.Option("--seed", help="What Poisson arrivals are drawn from.")] = 1,
    json_: Annotated[str | None, typer.Option("--json", help="A file for the figures, - for standard output.")] = None,
    progress: Annotated[
        bool | None, typer.Option("--progress/--no-progress", help="Show how far it is; by default on a terminal.")
    ] = None,
) -> None:
    """Load one URL with the native engine; exit code 5 when the figures are not to be believed."""
    from harness.loadtest import LoadRequest
    from harness.loadtest.request import parse_header, parse_statuses

    with _explained():
        request = LoadRequest(
            url=url,
            rate_per_s=rate,
            closed=closed,
            duration_s=duration,
            warmup_s=warmup,
            arrivals=arrivals,  # type: ignore[arg-type]
            connections=connections,
            method=method,
            headers=tuple(parse_header(text) for text in header or ()),
            body=_body(body, body_file),
            timeout_s=timeout,
            accepts=parse_statuses(accept),
            seed=seed,
        )
        raise typer.Exit(_load(request, json_, progress))


@app.command()
def doctor(
    json_: Annotated[str | None, typer.Option("--json", help="A file for the findings, - for standard output.")] = None,
) -> None:
    """Say whether this machine can give trustworthy figures, what to do about it, and what is installed."""
    from dataclasses import asdict

    from rich.console import Console

    from harness.doctor import can_run, examine
    from harness.doctorview import show_findings

    with _explained():
        _require_writable(json_)
        findings = examine()
        if json_ != "-":
            show_findings(Console(), findings)
        runs = can_run(findings)
        _write_json({"can_run": runs, "findings": [asdict(finding) for finding in findings]}, json_)
        raise typer.Exit(OK if runs else UNEXPECTED)


@app.command()
def worker(
    master: Annotated[str, typer.Option("--master", metavar="HOST:PORT", help="What `run` was told to --listen on.")],
) -> None:
    """Be one more load worker of a run on another machine (`run --engine locust`), until that run is over."""
    from harness.engines.locust_crew import become_worker

    with _explained():
        become_worker(master)


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(**_one_of(("scenarios", "modes", "flows", "faults", "experiments", "gateways", "claims")))
    ],
    scenario: Annotated[str, typer.Option("--scenario", help="Whose flows or claims.")] = "ielts",
) -> None:
    """List what can be asked for."""
    with _explained():
        for name, says in _listing(what, scenario):
            typer.echo(f"{name:<24}{says}".rstrip())


def main() -> None:
    """Run the command line. Terminated politely it tidies up as after Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _listing(what: str, scenario: str) -> Iterator[tuple[str, str]]:
    from scenarios.load import load_scenario

    if what in {"flows", "claims"}:
        loaded = load_scenario(scenario)
        yield from ((flow.name, flow.says) for flow in loaded.flows if what == "flows")
        yield from ((claim.id, claim.says) for claim in loaded.claims if what == "claims")
    elif what == "scenarios":
        yield from ((name, load_scenario(name).title) for name in SCENARIOS)
    elif what == "modes":
        yield from ((name, _path_in_words(name)) for name in MODES)
    elif what == "faults":
        yield from ((f"{name}:TARGET", kind.says) for name, kind in FAULTS.items())
    elif what == "experiments":
        from harness.experiments import EXPERIMENTS

        yield from ((name, experiment.says) for name, experiment in EXPERIMENTS.items())
    else:
        yield from _gateways()


def _gateways() -> Iterator[tuple[str, str]]:
    from harness.gateways.pools import KEPT, POOLS

    for name, gateway in GATEWAYS.items():
        yield name, gateway.version()
        for pool in POOLS.values():
            if pool is not KEPT:
                lack = gateway.cannot(pool)
                yield f"{name}:{pool.name}", f"missing in this product: {lack}" if lack else pool.says


def _path_in_words(mode: str) -> str:
    paths = {origin: MODES[mode](origin) for origin in ("external", "internal")}
    return ", ".join(f"{origin} calls: {' -> '.join(path) or 'direct'}" for origin, path in paths.items())


def _faults(wanted: list[str] | None, *, no_faults: bool, components: tuple[str, ...]) -> tuple[str, ...]:
    from harness.errors import BadInputError
    from scenarios.faults import parse_fault

    if no_faults and wanted:
        raise BadInputError("--fault and --no-faults exclude each other")
    if no_faults:
        return ()
    if not wanted:
        return tuple(f"crash:{component}" for component in components)
    try:
        return tuple(str(parse_fault(text, FAULTS, components)) for text in wanted)
    except ValueError as unknown:
        raise BadInputError(str(unknown)) from unknown


def _body(text: str | None, path: Path | None) -> bytes | None:
    from harness.errors import BadInputError
    from harness.loadtest.request import read_body

    if text is not None and path is not None:
        raise BadInputError("--body and --body-file exclude each other")
    if path is not None:
        return read_body(path)
    return None if text is None else text.encode("utf-8")


def _load(request: Any, out: str | None, progress: bool | None) -> int:
    """Carry the load out, show it, and return the exit code."""
    from rich.console import Console

    from harness.loadtest import load as drive
    from harness.loadview import LoadProgress, show_summary

    _require_writable(out)
    errors = Console(stderr=True)
    with LoadProgress(errors, shown=errors.is_terminal if progress is None else progress) as shown:
        summary = drive(request, shown)
    if out != "-":
        show_summary(Console(), summary)
    _write_json(summary.as_dict(), out)
    if summary.interrupted:
        return INTERRUPTED
    return OK if summary.valid else INVALID


def _require_writable(out: str | None) -> None:
    from harness.loadtest.request import require_writable

    if out not in {None, "-"}:
        require_writable(Path(str(out)))


def _write_json(figures: Any, out: str | None) -> None:
    """Write figures to a file, or for - to standard output."""
    import json

    text = json.dumps(figures, indent=1, allow_nan=False)
    if out == "-":
        typer.echo(text)
    elif out is not None:
        Path(out).write_text(text + "\n", encoding="utf-8")


def _crew(engine: str, workers: int, await_workers: int, listen: str | None) -> dict[str, Any]:
    """Return the fields of a RunRequest that say who drives the load."""
    from harness.engines.locust_crew import parse_listen
    from harness.errors import BadInputError

    several = workers > 1 or await_workers or listen is not None
    if several and not ENGINES[engine].several:
        raise BadInputError(f"the {engine} engine is one process; workers are for --engine locust")
    if await_workers and listen is None:
        raise BadInputError("--await-workers needs --listen HOST:PORT, where they are to join")
    where = {} if listen is None else {"listen": parse_listen(listen)}
    return {"workers": workers, "await_workers": await_workers, **where}


def _measure(request: Any) -> tuple[Path | None, int]:
    """Run the request with progress bars; return where the record stands and the exit code so far."""
    from rich.console import Console

    from harness.errors import HarnessError
    from harness.progress import ProgressBars
    from harness.run import run as carry_out

    run_dir: Path | None = None
    try:
        with ProgressBars(Console(stderr=True)) as bars, contextlib.closing(carry_out(request, bars)) as outcomes:
            for outcome in outcomes:
                run_dir = outcome.run_dir
    except KeyboardInterrupt:
        typer.echo("interrupted; what was measured so far is kept", err=True)
        return run_dir, INTERRUPTED
    except (HarnessError, OSError) as problem:
        if run_dir is None:
            raise
        typer.echo(f"stopped early: {problem}; what was measured so far is kept in {run_dir}", err=True)
        return run_dir, UNEXPECTED
    return run_dir, OK


def _report(run_dir: Path) -> int:
    """Write the reports, show the verdicts, and return 5 when the measurement is invalid."""
    from rich.console import Console

    from results.build import build
    from results.reports import terminal, write

    results = build(run_dir)
    _show(terminal.run_summary(results, write(results, run_dir), Console().width))
    return OK if results.all_valid else INVALID


def _show(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn the errors that a user can do something about into a sentence and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except Exception as problem:
        code = _code_of(problem)
        if code is None:
            raise
        typer.echo(f"archbench: {problem}", err=True)
        raise typer.Exit(code) from None


def _code_of(problem: Exception) -> int | None:
    """Return the exit code of an error whose message is enough, or None for one that needs its traceback."""
    from harness.errors import BadInputError, HarnessError
    from results.claims.kind import ClaimProblem
    from results.files import BadInput
    from results.record import RecordError
    from scenarios.files import FileProblem
    from scenarios.load import UnknownScenarioError

    if isinstance(problem, BadInputError | BadInput | ClaimProblem | RecordError | FileProblem | UnknownScenarioError):
        return BAD_INPUT
    return UNEXPECTED if isinstance(problem, HarnessError | OSError) else None


if __name__ == "__main__":
    main()
