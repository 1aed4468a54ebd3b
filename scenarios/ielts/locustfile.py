"""The external flows of this scenario as plain Locust users, for people who live in Locust; web UI included.

    archbench up --mode hybrid                                # in another terminal: the platform
    locust -f scenarios/ielts/locustfile.py                   # then http://localhost:8089
    locust -f scenarios/ielts/locustfile.py --headless -u 50 -r 10 -t 1m --exit-code-on-error 0

Flows, weights, ports and the timeout are those of scenario.yaml, which is read from beside this file: copy both.
`--host` is the gateway; with `--direct` every flow calls its service's own port on that host.

Locust's own ways that are changed here: response times are kept to three figures instead of whole milliseconds; a
request is never sent a second time by the client library; what is in flight when users are stopped comes to its end.
Not changed: Locust exits with 1 when any request failed, unless told `--exit-code-on-error 0`. And what users do here
is a closed loop: while the platform stands still, so do they, and their percentiles do not show it. For figures that
do, `archbench run --engine locust`.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import locust.stats
import yaml
from geventhttpclient.client import HTTPClient, HTTPClientPool
from locust import FastHttpUser, TaskSet, between, events
from locust.exception import RescheduleTask

SCENARIO = yaml.safe_load(Path(__file__).with_name("scenario.yaml").read_text(encoding="utf-8"))
PORTS = {service["name"]: service["port"] for service in SCENARIO["services"]}
FLOWS = {flow["name"]: flow for flow in SCENARIO["flows"] if flow["origin"] == "external"}
TIMEOUT_S = SCENARIO["load"]["timeout_ms"] / 1000

_LESSONS = [f"course-{course}-lesson-{lesson}" for course in range(1, 7) for lesson in range(1, 9)]
_EXERCISES = 40
_QUESTIONS = 40
_CONCURRENCY = 1000  # the default of 10 would be a queue for whoever spawns greenlets in a task


def three_figures(response_time: float) -> float:
    """Return milliseconds with three significant figures: 7.3 stays, 147.26 becomes 147."""
    return float(f"{response_time:.3g}")


setattr(locust.stats, "bucket_response_time", three_figures)  # noqa: B010 - Locust types it as returning int


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: Any) -> None:
    parser.add_argument("--direct", action="store_true", help="Call each service on its own port, not the gateway.")


@events.init.add_listener  # type: ignore[untyped-decorator]
def _let_requests_end(environment: Any, **_: Any) -> None:
    """Without a stop timeout Locust kills what is in flight."""
    environment.stop_timeout = max(environment.stop_timeout, TIMEOUT_S + 1)


class SendOnce(HTTPClientPool):
    """Clients that send a request once: HTTPClient sends a GET whose connection breaks again, `concurrency` times."""

    def get_client(self, url: Any) -> HTTPClient:
        """Return the client of the URL's host."""
        client = super().get_client(url)
        client._connection_pool.size = -1  # noqa: SLF001 - it tries size + 1 times more, and there is no setting
        return client


def register(learner: Learner) -> None:
    """Somebody else signs up."""
    learner.sign_up("register")


def login(learner: Learner) -> None:
    """The learner logs in."""
    learner.log_in("login")


def view_profile(learner: Learner) -> None:
    """The learner looks at the own profile."""
    learner.call("view_profile", "GET", "/api/v1/user/profile", headers=learner.authorization())


def browse_courses(learner: Learner) -> None:
    """The learner lists the courses."""
    learner.call("browse_courses", "GET", "/api/v1/courses")


def complete_lesson(learner: Learner) -> None:
    """The learner completes a lesson that has not been completed before; after the last one, it is another learner."""
    if not learner.lessons:
        learner.become_somebody()
    headers = learner.authorization()
    path = f"/api/v1/courses/lessons/{learner.lessons.pop()}/complete"
    learner.call("complete_lesson", "POST", path, headers=headers, json={"minutes_spent": 25})


def submit_exercise(learner: Learner) -> None:
    """The learner submits the answers to an exercise."""
    answers = [
        {
            "question_id": f"question-{number:03d}",
            "answer": random.choice("ABCD"),
            "text": "the writer argues that the evidence of the early studies was mixed",
            "seconds": 60,
        }
        for number in range(1, _QUESTIONS + 1)
    ]
    body = {"submission_id": uuid.uuid4().hex, "answers": answers}
    path = f"/api/v1/exercises/exercise-{random.randint(1, _EXERCISES)}/submit"
    learner.call("submit_exercise", "POST", path, headers=learner.authorization(), json=body)


_TASKS = (register, login, view_profile, browse_courses, complete_lesson, submit_exercise)


def weighted_tasks() -> list[TaskSet | Callable[..., Any]]:
    """Return the external flows' tasks, each as often as its weight says. Raises KeyError for a flow without a task."""
    known = {task.__name__: task for task in _TASKS}
    weights = {name: Fraction(str(flow["weight"])) for name, flow in FLOWS.items()}
    whole = lcm(*(weight.denominator for weight in weights.values()))
    return [known[name] for name, weight in weights.items() for _ in range(int(weight * whole))]


class Learner(FastHttpUser):
    """A learner with an account and a token of its own; one task after the other, with pauses."""

    host = f"http://127.0.0.1:{SCENARIO['gateway_port']}"
    wait_time = between(1, 2)
    tasks = weighted_tasks()

    def __init__(self, environment: Any) -> None:
        self.client_pool = SendOnce(concurrency=_CONCURRENCY, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S)
        super().__init__(environment)
        self.username = ""
        self.password = ""
        self.token = ""
        self.lessons: list[str] = []

    def on_start(self) -> None:
        """Sign up and log in."""
        self.become_somebody()

    def become_somebody(self) -> None:
        """Be a new learner, who has all lessons still to do; its requests do not count with the flows'."""
        self.username, self.password = self.sign_up("(start) register")
        self.token = self.log_in("(start) login")
        self.lessons = random.sample(_LESSONS, len(_LESSONS))

    def authorization(self) -> dict[str, str]:
        """Return the field that says who this is. Without a token the task is put off: the start is tried again."""
        if not self.token:
            self.become_somebody()
        if not self.token:
            raise RescheduleTask
        return {"Authorization": f"Bearer {self.token}"}

    def sign_up(self, name: str) -> tuple[str, str]:
        """Register an account, counted under a name; return username and password."""
        username, password = uuid.uuid4().hex, uuid.uuid4().hex
        account = {"username": username, "password": password, "full_name": "Locust Learner"}
        self.call(name, "POST", "/api/v1/auth/register", json={**account, "email": f"{username}@example.org"})
        return username, password

    def log_in(self, name: str) -> str:
        """Log in, counted under a name; return the token, empty when there was none."""
        known = {"username": self.username, "password": self.password}
        answer = self.call(name, "POST", "/api/v1/auth/login", json=known)
        return str(answer.json()["access_token"]) if answer.status_code == 200 else ""

    def call(self, name: str, method: str, path: str, **fields: Any) -> Any:
        """Send a request of a flow to where the flow enters."""
        return self.client.request(method, self._entry(name) + path, name=name, **fields)

    def _entry(self, name: str) -> str:
        options = self.environment.parsed_options
        if options is None or not options.direct:
            return str(self.host).rstrip("/")
        service = FLOWS[name.rpartition(" ")[2]]["service"]
        return f"http://{urlsplit(self.host).hostname}:{PORTS[service]}"
