"""The configuration file, routes and the pool, without processes."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.balance import RoundRobin
from gateway_proxy.config import FileProblem, Upstream, load, parse
from gateway_proxy.config import Route as RouteConfig
from gateway_proxy.pool import Pool
from gateway_proxy.routes import Route, Routes, Timeouts

SHORTEST = """\
listen: {port: 8080}
upstreams:
  a: {targets: ["127.0.0.1:1"]}
routes:
  - {prefix: /a, upstream: a}
"""


def test_everything_but_the_essential_has_a_default():
    config = parse(SHORTEST, "f")
    assert (config.url, config.limits.head_bytes, config.limits.fields) == ("http://127.0.0.1:8080", 65536, 100)
    assert (config.limits.body_bytes, config.health_path, config.workers) == (None, None, 1)
    assert (config.upstreams["a"].connect_timeout_s, config.upstreams["a"].response_timeout_s) == (1, 10)


def problem(text):
    with pytest.raises(FileProblem) as caught:
        parse(text, "f.yaml")
    assert str(caught.value) == f"f.yaml:{caught.value.line}: {caught.value.message}"
    return caught.value.line, caught.value.message


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        (SHORTEST + "lisen: 1\n", 6, "did you mean 'listen'?"),
        (SHORTEST + "limits:\n  head_bytes: 1\n  hed_bytes: 1\n", 7, "greater than or equal to 256"),
        (SHORTEST + "limits:\n  fields: 1\n  field: 1\n", 8, "allowed: body_bytes, body_timeout_s, connections"),
        (SHORTEST + "limits: 3\n", 6, "limits must be a mapping with the keys body_bytes"),
        (SHORTEST.replace("8080", "true"), 1, "listen.port"),
        (SHORTEST.replace("8080", "'8080'"), 1, "listen.port"),
        (SHORTEST.replace("{port: 8080}", "{}"), 1, "missing key 'port' in listen"),
        (SHORTEST + "grace_s: .inf\n", 6, "grace_s"),
        (SHORTEST + "health_path: /a?b\n", 6, "a path alone"),
        (SHORTEST.replace(':1"', ':0"'), 3, "HOST:PORT"),
        (SHORTEST.replace(':1"', ':99999"'), 3, "HOST:PORT"),
        (SHORTEST.replace("127.0.0.1", "h" * 64), 3, "HOST:PORT"),
        (SHORTEST.replace("127.0.0.1", "::1"), 3, "HOST:PORT"),
        (SHORTEST.replace("prefix: /a", "prefix: /a b"), 5, "routes[0].prefix"),
        ("- 1\n", 1, "the document must be a mapping with the keys access_log, admin, forwarding"),
        ("a: &x [*x]\n", 1, "unknown key 'a'"),
        ("a: !!python/name:os.system\n", 1, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("a: 1\nb: \x07\n", 2, "not allowed"),
        ("? [a]\n: 1\n", 1, "not valid YAML"),
        ("---\na: 1\n---\nb: 1\n", 3, "not valid YAML"),
        ("[" * 5000, 1, "nested too deeply"),
        (SHORTEST + "limits:\n  <<: {fields: 5}\n  fields: 6\n  fields: 7\n", 9, "given twice, first on line 8"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, line, hint):
    found_line, message = problem(text)
    assert hint in message
    assert found_line == line


def test_the_first_line_that_is_wrong_is_told_and_the_others_counted():
    line, message = problem(SHORTEST.replace("port: 8080", "port: 0").replace("/a", "a"))
    assert line == 1
    assert message.endswith("(and 1 more problem)")


def test_a_file_that_cannot_be_read_is_a_problem_of_that_file(tmp_path):
    (tmp_path / "latin").write_bytes(b"a: \xe4")
    for name in ("none", ".", "latin"):
        with pytest.raises(FileProblem, match="cannot be read"):
            load(tmp_path / name)


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_a_problem(text):
    with pytest.raises(FileProblem):
        parse(text, "f")


# -- routes ------------------------------------------------------------------------------------------------------------

SEGMENT = st.sampled_from(["a", "ab", "b", "", "%61", ".", "...", "a.."])
PATH = st.lists(SEGMENT, max_size=5).map(lambda parts: "/" + "/".join(parts))


def route(prefix, **conditions):
    """Return a route as it is taken; a prefix may be the root's, which the configuration writes as a slash."""
    settings = RouteConfig(prefix=prefix or "/", upstream="a", **conditions)
    return Route(prefix, [(pool("h:1"), 1)], Timeouts(1, 1, 1), settings, random.Random(1))


def pool(*targets, **more):
    return Pool("a", Upstream(targets=targets, **more), RoundRobin())


@given(st.dictionaries(PATH, st.integers(), max_size=6), PATH, st.sampled_from(["", "?", "?a/b", "?/a"]), st.booleans())
def test_the_longest_prefix_of_whole_segments_wins(routes, path, query, deep):
    routes = {prefix.rstrip("/"): to for prefix, to in routes.items()}
    path += "/c" * 200 if deep else ""
    fitting = [prefix for prefix in routes if path == prefix or path.startswith(prefix + "/")]
    expected = max(fitting, key=len) if fitting else None
    found = Routes(route(prefix) for prefix in routes).find(SimpleNamespace(target=(path + query).encode()))
    assert (found.prefix.decode() if found else None) == expected


# -- the pool ----------------------------------------------------------------------------------------------------------


class Connection:
    def __init__(self, target):
        self.target, self.idle_since, self.closed = target, 0.0, False

    def close(self):
        self.closed = True


def test_targets_are_taken_in_turn_and_idle_connections_close_when_old():
    two = pool("h:1", "h:2", max_idle_per_target=2, idle_timeout_s=10)
    assert len({two.next_target().port for _ in range(2)}) == 2
    target = two.next_target()
    old, young, surplus = (Connection(target) for _ in range(3))
    assert (two.release(old, 0), two.release(young, 5), two.release(surplus, 6)) == (True, True, False)
    two.close_idle(12)
    assert (old.closed, young.closed, target.idle) == (True, False, [young])
    two.close()
    assert young.closed
    assert not two.release(Connection(target), 13)


def test_a_full_target_is_no_candidate():
    two = pool("h:1", "h:2", max_connections_per_target=1)
    first, second = two.targets
    first.dialling = 1
    assert list(two.candidates(first)) == [second]
    second.opened = 1
    assert list(two.candidates(first)) == []


def test_a_target_that_is_held_out_gets_nothing_until_none_is_left():
    two = pool("h:1", "h:2")
    first, second = two.targets
    two.hold_out(first, "a")
    two.hold_out(first, "b")
    assert {two.next_target() for _ in range(4)} == {second}
    assert two.another(second, b"") is second
    two.hold_out(second, "a")
    assert {two.next_target() for _ in range(4)} == {first, second}
    two.readmit(first, "a")
    assert {two.next_target() for _ in range(4)} == {first, second}  # b still stands against it
    two.readmit(first, "b")
    assert {two.next_target() for _ in range(4)} == {first}


def test_a_second_attempt_goes_to_another_target_if_there_is_one():
    three = pool("h:1", "h:2", "h:3")
    for than in three.targets:
        assert all(three.another(than, b"") is not than for _ in range(6))


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        (SHORTEST.replace("upstream: a}", "upstream: a, split: [{upstream: a}]}"), "one of upstream and split"),
        (SHORTEST.replace("upstream: a}", "split: [{upstream: b}]}"), "'b' is no upstream"),
        (SHORTEST.replace("upstream: a}", "upstream: a, auth: {}}"), "needs one of jwt and ask"),
        (SHORTEST.replace("upstream: a}", "upstream: a, auth: {ask: {upstream: z, path: /}}}"), "'z' is no upstream"),
        (
            SHORTEST.replace("upstream: a}", "upstream: a, auth: {jwt: {algorithms: [RS256], secret: x}}}"),
            "RS256 does not",
        ),
        (SHORTEST.replace("upstream: a}", "upstream: a, auth: {jwt: {algorithms: [HS256]}}}"), "0 are given"),
        (
            SHORTEST.replace("upstream: a}", "upstream: a, cors: {origins: ['*'], credentials: true}}"),
            "name the origins",
        ),
        (
            SHORTEST.replace("upstream: a}", "upstream: a, rate_limit: {requests: 1, key: 'claim:x'}}"),
            "needs auth with jwt",
        ),
        (
            SHORTEST.replace("upstream: a}", "upstream: a, strip_prefix: true, rewrite_prefix: /b}"),
            "rewriting replaces",
        ),
        (SHORTEST + "  - {prefix: /a/, upstream: a}\n", "each prefix once"),
        (SHORTEST + "metrics: true\n", "needs admin"),
        (SHORTEST + "admin: {host: 0.0.0.0, port: 1}\n", "not on loopback"),
        (SHORTEST + "workers: 0\n", "workers"),
        (SHORTEST.replace('["127.0.0.1:1"]', '["h:1", "h:1"]'), "is a target already"),
    ],
)
def test_what_does_not_go_together_is_refused(shown, hint):
    assert hint in problem(shown)[1]


@pytest.mark.parametrize(
    "path", ["/a/..", "/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/a%2f..%2fb", "/a/..%5Cb", "/a/..?x", "/..", "/a\\..\\b"]
)
def test_no_route_matches_a_path_that_climbs(path):
    assert Routes([route("/a"), route("")]).find(SimpleNamespace(target=path.encode())) is None


@pytest.mark.parametrize("path", ["/a/.", "/a/...", "/a/..b", "/a/b..", "/a/x?y=/../z", "/a/%2ea", "/a/.well-known"])
def test_dots_that_do_not_climb_are_dots(path):
    assert Routes([route("/a")]).find(SimpleNamespace(target=path.encode())) is not None


def test_the_same_prefix_may_stand_again_under_other_conditions():
    parse(SHORTEST + "  - {prefix: /a, methods: [POST], upstream: a}\n  - {prefix: /a, host: b, upstream: a}\n", "f")
