"""Taking rendered requests apart gives back what they were made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.http1 import render_request
from harness.engines.rendered import label_of, parse_rendered

TOKENS = st.text("abcXYZ-09", min_size=1, max_size=8).filter(
    lambda name: name.lower() not in {"host", "content-length", "transfer-encoding"}
)
VALUES = st.text("abc XYZ:;=é", max_size=12).map(str.strip)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    target=st.text("abc/?=&%20", max_size=20).map(lambda text: "/" + text),
    fields=st.lists(st.tuples(TOKENS, VALUES), max_size=6),
    body=st.none() | st.binary(max_size=60),
)
def test_the_parts_are_what_was_rendered(method, target, fields, body):
    found = parse_rendered(render_request(method, target, "host:80", fields, body))
    assert (found.method, found.target, found.body) == (method, target, body or b"")
    expected = [("Host", "host:80"), *fields, *([] if body is None else [("Content-Length", str(len(body)))])]
    for name in {name for name, _ in expected}:
        values = [value for other, value in expected if other == name]
        assert found.headers[name] == (values[0] if len(values) == 1 else values)
    assert list(found.headers) == list(dict.fromkeys(name for name, _ in expected))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nab",
    ],
)
def test_what_cannot_have_been_rendered_is_refused(payload):
    with pytest.raises(ValueError, match=r"not a rendered|its head says otherwise"):
        parse_rendered(payload)


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ("/", "GET /"),
        ("/api/v1/courses", "GET /api/v1/courses"),
        ("/api/v1/courses/lessons/course-1-lesson-8/complete", "GET /api/v1/courses/lessons/*/complete"),
        ("/api/v1/exercises/exercise-17/submit?try=2", "GET /api/v1/exercises/*/submit"),
        ("/users/00000000000000000000000000000abc", "GET /users/*"),
        ("/v1x/42", "GET /*/*"),
    ],
)
def test_requests_that_differ_in_a_number_share_a_label(target, label):
    assert label_of("GET", target) == label
