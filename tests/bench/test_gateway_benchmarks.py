"""The gateway's benchmarks, each from end to end for a moment; and the proofs, on a gateway without any feature."""

import json

import pytest

from tests.bench import (
    feature_proofs,
    feature_rig,
    gateway_cpu,
    gateway_features,
    gateway_memory,
    profile_gateway,
    rig,
)
from tests.bench.feature_catalogue import CONTROL, FEATURES, configured, plain

pytestmark = pytest.mark.functional
FEW = 4  # connections: each is a process of h2load


@pytest.fixture(scope="module", autouse=True)
def _tools():
    try:
        rig.split_cores()
        rig.require("nginx", "nginx-light")
        rig.require("h2load", "nghttp2-client")
    except rig.MissingToolError as missing:
        pytest.skip(str(missing))


def test_two_gateways_are_compared_from_their_start_to_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gateway_cpu, "CONNECTIONS", FEW)
    monkeypatch.setattr(gateway_cpu, "WARMUP_S", 0.1)
    told = tmp_path / "figures.json"
    arguments = ["--rounds", "1", "--seconds", "0.3", "--gateway", "nginx", "--gateway", "builtin", "--json", str(told)]
    assert gateway_cpu.main(arguments) == 0
    measured = json.loads(told.read_text())
    logged, different = measured["seen"]
    assert logged == different > 100
    for turns in measured["rounds"][0].values():
        assert {name: 1 < turn["cpu_us"] < 10_000 for name, turn in turns.items()} == {"nginx": True, "builtin": True}
        assert all(turn["distinct"] == turn["completed"] for turn in turns.values())
    assert set(measured["latencies"][0]) == {"nginx", "builtin"}
    text = capsys.readouterr().out
    assert "| builtin / envoy, 1 kB answers | - | - | - | 1 | not measured |" in text
    assert "Void turns: " in text


def test_a_feature_is_measured_and_shown_to_be_in_force(capsys, monkeypatch):
    monkeypatch.setattr(feature_rig, "CONNECTIONS", FEW)
    monkeypatch.setattr(gateway_features, "WARMUP_S", 0.1)
    assert gateway_features.main(["--rounds", "1", "--seconds", "0.2", "--feature", "forwarding without via"]) == 0
    text = capsys.readouterr().out
    assert "| forwarding without via | yes | " in text
    assert "| two / one, paired | " in text


def test_no_proof_holds_of_a_gateway_without_features(monkeypatch):
    monkeypatch.setattr(feature_proofs, "PATIENCE_S", 0.2)
    monkeypatch.setattr(feature_proofs, "TIMEOUT_S", 1.0)
    with feature_rig.everything() as up:
        (place,) = up.places("plain")
        with feature_rig.gateway(up, place, plain(place)):
            believed = [
                name
                for name, feature in FEATURES.items()
                if name != CONTROL and gateway_features.in_force(up, feature, place)
            ]
    assert believed == []


def test_every_proof_holds_of_a_gateway_with_its_feature():
    with feature_rig.everything() as up:
        doubted = [name for name, feature in FEATURES.items() if name != CONTROL and not _holds(up, name, feature)]
    assert doubted == []


def _holds(up, name, feature):
    (place,) = up.places(name)
    with feature_rig.gateway(up, place, configured(feature, place)):
        return gateway_features.in_force(up, feature, place)


def test_memory_is_measured_while_connections_are_busy(capsys):
    arguments = ["--rounds", "1", "--seconds", "0.6", "--idle", "60", "--busy", "20"]
    assert gateway_memory.main(arguments) == 0
    text = capsys.readouterr().out
    assert "| 60 idle, 20 busy, most of all samples |" in text
    assert "| requests in flight, fewest of all samples | 20.00 | 20.00 | 20.00 | at least 19 | met |" in text
    assert "| file handles left over | 0.00 | 0.00 | 0.00 | at most 0 | met |" in text


@pytest.mark.parametrize("what", ["small", "post"])
def test_the_gateways_time_is_told_by_function(what, capsys, monkeypatch):
    monkeypatch.setattr(profile_gateway, "CONNECTIONS", FEW)
    assert profile_gateway.main(["--seconds", "0.2", "--what", what]) == 0
    text = capsys.readouterr().out
    assert "gateway_proxy/" in text
    assert " 0 not;" in text
