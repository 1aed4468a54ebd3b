"""Asking a platform for single answers, outside all windows, each a Probe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from harness.control import answer_status
from results.record import Probe
from stub_services.requests import WireRequest

AT_GATEWAY = "the gateway"
_TIMEOUT = aiohttp.ClientTimeout(total=5)


class Question(NamedTuple):
    """A request to a base URL, the name of its probe, and where that is in words."""

    name: str
    base_url: str
    where: str
    request: WireRequest


def ask(questions: Sequence[Question]) -> list[Probe]:
    """Ask one after the other on fresh connections; a status of 0 is no answer."""
    return asyncio.run(_ask(questions))


async def _ask(questions: Sequence[Question]) -> list[Probe]:
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        return [await _probe(session, question) for question in questions]


async def _probe(session: aiohttp.ClientSession, question: Question) -> Probe:
    method, path, headers, body = question.request
    status = await answer_status(session, method, question.base_url + path, dict(headers), body)
    return Probe(question.name, f"{method} {path} at {question.where}", status)


def without_token(request: WireRequest) -> WireRequest:
    """Return the request as somebody sends it who has no token."""
    method, path, headers, body = request
    return method, path, [(name, value) for name, value in headers if name != "Authorization"], body
