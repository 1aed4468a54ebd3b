import pickle
from pathlib import Path

import pytest

from stub_services.settings import Settings, SettingsError, peer_address, peer_addresses


def from_environment(tmp_path, **environ):
    return Settings.from_environment("auth", 8081, {"STORE_DIR": str(tmp_path / "stores"), **environ})


def test_the_defaults_work(tmp_path):
    settings = from_environment(tmp_path)
    assert settings.store_dir.is_dir()
    assert settings.peers["user"] == "http://127.0.0.1:8082"
    assert (settings.work, settings.policy, settings.clock_scale, settings.log_dir) == ("bare", "none", 1.0, None)


def test_the_environment_is_read(tmp_path):
    settings = from_environment(
        tmp_path,
        USER_SERVICE_URL="http://127.0.0.1:9",
        WORK="realistic",
        POLICY="corrected",
        CLOCK_SCALE="20",
        SEED="7",
        LOG_DIR="logs",
        SWEEP_SCHEDULE="sweeps",
        JWT_SECRET="s" * 32,
        INTERNAL_API_KEY="k",
    )
    assert settings.peers["user"] == "http://127.0.0.1:9"
    assert (settings.work, settings.policy, settings.clock_scale, settings.seed) == ("realistic", "corrected", 20.0, 7)
    assert (settings.log_dir, settings.sweep_schedule) == (Path("logs"), Path("sweeps"))
    assert (settings.internal_api_key, settings.jwt_secret) == ("k", "s" * 32)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORK", "hard"),
        ("POLICY", "hope"),
        ("CLOCK_SCALE", "fast"),
        ("CLOCK_SCALE", "0"),
        ("CLOCK_SCALE", "nan"),
        ("CLOCK_SCALE", "inf"),
        ("SEED", "x"),
        ("SEED", "inf"),
        ("JWT_SECRET", "short"),
        ("INTERNAL_API_KEY", ""),
        ("INTERNAL_API_KEY", "two\nlines"),
        ("USER_SERVICE_URL", "127.0.0.1:80"),
        ("USER_SERVICE_URL", "https://127.0.0.1"),
        ("USER_SERVICE_URL", "http://127.0.0.1:99999"),
        ("USER_SERVICE_URL", "http://127.0.0.1/api"),
        ("USER_SERVICE_URL", "http://[::1"),
        ("USER_SERVICE_URL", "http://127.0.0.1:1,"),
        ("USER_SERVICE_URL", "http://127.0.0.1:1,http://127.0.0.1:2/api"),
        ("USER_SERVICE_URL", "http://127.0.0.1:1,http://127.0.0.1:1"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(tmp_path, variable, value):
    with pytest.raises(SettingsError) as refused:
        from_environment(tmp_path, **{variable: value})
    assert "\n" not in str(refused.value)
    assert variable.removesuffix("_SERVICE_URL").lower() in str(refused.value).lower()


def test_an_unknown_service_and_an_impossible_port_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="'gateway' is none of auth, user"):
        Settings.from_environment("gateway", 1, {"STORE_DIR": str(tmp_path)})
    with pytest.raises(SettingsError, match="70000"):
        Settings.from_environment("auth", 70000, {"STORE_DIR": str(tmp_path)})


def test_addresses_are_read():
    assert peer_address("user", "http://127.0.0.1:8082/") == ("127.0.0.1", 8082)
    assert peer_address("user", "http://localhost") == ("localhost", 80)


def test_several_addresses_of_one_peer_are_read_in_their_order():
    urls = "http://127.0.0.1:9002, http://127.0.0.1:9001/"
    assert peer_addresses("user", urls) == [("127.0.0.1", 9002), ("127.0.0.1", 9001)]
    assert peer_addresses("user", "http://127.0.0.1:9002") == [("127.0.0.1", 9002)]


def test_settings_travel_to_another_process(tmp_path):
    settings = from_environment(tmp_path)
    assert pickle.loads(pickle.dumps(settings)) == settings
