"""The published schema: current, valid, and of one opinion with the gateway about what it can judge."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from gateway_proxy.config import FileProblem, parse
from gateway_proxy.schema import json_schema, text

PUBLISHED = Path(__file__).parents[2] / "docs" / "gateway.schema.json"
SHORTEST = """\
listen: {port: 8080}
upstreams:
  a: {targets: ["127.0.0.1:1"]}
routes:
  - {prefix: /a, upstream: a}
"""
EVERYTHING = """\
listen: {host: localhost, port: 8443, tls: {certificate_file: c.pem, key_file: k.pem}}
upstreams:
  a:
    targets: ["127.0.0.1:1", {address: "[::1]:2", weight: 3}]
    balance: consistent_hash
    hash_on: X-User
    health: {active: {path: /health, statuses: [200, 204]}, passive: {retry_after_s: 5}}
    outlier_ejection: {error_share: 0.25}
    circuit_breaker: {}
    max_connections_per_target: null
  b: {targets: ["b.example:80"]}
routes:
  - prefix: /a
    host: "*.example.org"
    methods: [GET]
    fields: {X-Version: "2"}
    split: [{upstream: a, weight: 9}, {upstream: b}]
    retry: {methods: [GET, PUT], budget: {share: 0.1}}
    rate_limit: {requests: 10, key: "field:X-User"}
    auth: {jwt: {algorithms: [HS256], secret: s}, claims: {sub: X-User}}
    cors: {origins: ["https://example.org"]}
    fault: {delay_s: 1, delay_share: 0.5}
    timeouts: {exchange_s: 3}
    upgrade: [websocket]
limits: {body_bytes: null}
workers: 4
admin: {port: 9901}
metrics: true
access_log: {file: access.log}
request_id: {trust: true}
trace: {sampled_share: 0}
seed: 1
"""


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_published_schema_is_current():
    assert PUBLISHED.read_text(encoding="utf-8") == text(), (
        "write it again: .venv/bin/python -m gateway_proxy.schema > docs/gateway.schema.json"
    )


@pytest.mark.parametrize("config", [SHORTEST, EVERYTHING])
def test_what_the_gateway_takes_the_schema_takes(validator, config):
    parse(config, "f")
    validator.validate(yaml.safe_load(config))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("port: 8080", "port: 0"),
        ("port: 8080", "prot: 8080"),
        ("{port: 8080}", "{}"),
        ('["127.0.0.1:1"]', "[]"),
        ('["127.0.0.1:1"]', "[1]"),
        ('"127.0.0.1:1"', '{address: "127.0.0.1:1", weight: 0}'),
        ('"127.0.0.1:1"', '{address: "127.0.0.1:1", wait: 1}'),
        ('["127.0.0.1:1"]', '["127.0.0.1:1"], balance: random'),
        ("  a: {t", "  a b: {t"),
        ("prefix: /a", "prefix: a"),
        ("upstream: a}", "upstream: a, retry: {attempts: 1}}"),
        ("upstream: a}", "upstream: a, host: 'a b'}"),
    ],
)
def test_what_the_schema_refuses_the_gateway_refuses(validator, old, new):
    assert old in SHORTEST
    config = SHORTEST.replace(old, new)
    assert not validator.is_valid(yaml.safe_load(config))
    with pytest.raises(FileProblem):
        parse(config, "f")


def test_every_key_says_what_it_is_by_its_model_and_not_by_its_name_again():
    assert '"title": "Flush S"' not in text()
    assert "full jitter" in json_schema()["$defs"]["Retry"]["description"]
