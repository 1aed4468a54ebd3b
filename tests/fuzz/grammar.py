"""Conversations made by hypothesis from the grammar: correct ones with odd parts in the places where readers differ."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.conversation import ENDINGS, Answer, Conversation
from tests.fuzz.marker import Mark

_TOKEN = "!#$%&'*+-.^_`|~0123456789abcXYZ"
_METHODS = ["GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]
_names = st.text(_TOKEN, min_size=1, max_size=12).map(lambda text: b"X-" + text.encode())
_values = st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127).strip())
_suffixes = st.text("abc/.;=?&%2fF~-_:@!$'()*+,", max_size=20).map(str.encode)
_hosts = st.sampled_from([b"h", b"h:80", b"a.example", b"[::1]:8080", b"127.0.0.1", b"A-b.C"])
_ODD_LENGTHS = [
    b"%d, %d",
    b"+%d",
    b"%d\r\nContent-Length: %d",
    b"%dx",
    b"0x%x",
    b"\t%d",
    b"%d\x0b",
    b"-%d",
    b"%d ",
    b"00%d",
]
_ODD_CODINGS = [
    *(b"chunked, chunked", b"gzip, chunked", b"xchunked", b"chunked\r\nTransfer-Encoding: identity", b"\x0bchunked"),
    *(b"Chunked", b"chunked;q=1", b"identity", b"", b"chunked\r\nContent-Length: 3", b"\tchunked", b"chunked "),
]
_ODD_LINES = [
    *(
        b"X: a\r\n b",
        b"X : a",
        b"X\t: a",
        b": a",
        b"X",
        b"X: a\x00b",
        b"X: a\nY: b",
        b"X: a\rY: b",
        b"Host: other",
        b"X: \x7f",
    ),
    *(
        b" X: a",
        b"Connection: close",
        b"Connection: host, x-a",
        b"Transfer_Encoding: chunked",
        b"Content-Length: 3",
        b"TE: x",
    ),
    *(
        b"Expect: 100-continue",
        b"Expect: x",
        b"Upgrade: h2c",
        b"Via: 1.1 archbench",
        b"X-Forwarded-For: x",
        b"Keep-Alive: 1",
    ),
]
_ODD_VERSIONS = [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b""]
_ODD_SIZES = [
    b"+%x",
    b"-%x",
    b"0x%x",
    b" %x",
    b"%x ",
    b"0%x",
    b"%x_",
    b"%x;a",
    b"%x ;a",
    b'%x;a="\n"',
    b"%x\n",
    b"1%x",
    b"%X",
]


@st.composite
def _bodies(draw: st.DrawFn, mark: bytes, odd: bool) -> tuple[bytes, bytes]:
    """Return a framing line and the bytes of the body in it."""
    body = draw(st.sampled_from([b"", mark, mark + b"\r\n0\r\n\r\n" + mark]) | st.binary(max_size=40))
    kind = draw(st.sampled_from(["none", "sized", "chunked"]))
    if kind == "sized":
        length = draw(st.sampled_from(_ODD_LENGTHS)) if odd and draw(st.booleans()) else b"%d"
        return b"Content-Length: " + length % ((len(body),) * length.count(b"%")) + b"\r\n", body
    if kind == "none":
        return b"", body if odd and draw(st.booleans()) else b""
    coding = draw(st.sampled_from(_ODD_CODINGS)) if odd and draw(st.booleans()) else b"chunked"
    return b"Transfer-Encoding: " + coding + b"\r\n", draw(_chunks(body, odd))


@st.composite
def _chunks(draw: st.DrawFn, body: bytes, odd: bool) -> bytes:
    data = b""
    while body:
        length = draw(st.integers(1, len(body)))
        size = draw(st.sampled_from(_ODD_SIZES)) if odd and draw(st.integers(0, 3)) == 0 else b"%x"
        end = draw(st.sampled_from([b"\n", b"", b"\r", b"x\r\n"])) if odd and draw(st.integers(0, 5)) == 0 else b"\r\n"
        data += size % length + b"\r\n" + body[:length] + end
        body = body[length:]
    trailers = draw(st.lists(st.sampled_from(_ODD_LINES if odd else [b"X-A: 1", b"Host: x", b"x-b:"]), max_size=2))
    return data + b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


@st.composite
def _requests(draw: st.DrawFn, mark: Mark, odd: bool) -> bytes:
    name = bytes(mark)
    framing, body = draw(_bodies(name, odd))
    version = draw(st.sampled_from(_ODD_VERSIONS)) if odd and draw(st.integers(0, 4)) == 0 else b"HTTP/1.1"
    lines = [b"Host: " + draw(_hosts), framing.removesuffix(b"\r\n")]
    lines += [draw(_names) + b": " + draw(_values) for _ in range(draw(st.integers(0, 3)))]
    if odd:
        lines += draw(st.lists(st.sampled_from(_ODD_LINES), max_size=2))
    lines = draw(st.permutations([line for line in lines if line]))
    method = draw(st.sampled_from(_METHODS)).encode()
    start = b"%b /%b%b %b" % (method, name, draw(_suffixes).replace(b"#", b""), version)
    return b"\r\n".join([start, *lines, b"", b""]) + body


@st.composite
def _answers(draw: st.DrawFn, mark: Mark, odd: bool) -> Answer:
    framing, body = draw(_bodies(bytes(mark), odd))
    interim = b"HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n" * draw(st.integers(0, 2))
    status = draw(st.sampled_from([200, 200, 201, 204, 304, 404, 500]))
    if status in (204, 304) and not odd:
        framing = body = b""
    start = b"HTTP/1.1 %d Reason\r\n" % status
    lines = [draw(_names) + b": " + draw(_values) + b"\r\n" for _ in range(draw(st.integers(0, 2)))]
    if odd:
        lines += [line + b"\r\n" for line in draw(st.lists(st.sampled_from(_ODD_LINES), max_size=1))]
    whole = (
        interim
        + start
        + b"X-Echo: %b\r\n" % bytes(mark)
        + b"".join(draw(st.permutations([*lines, framing])))
        + b"\r\n"
        + body
    )
    if not framing:
        return Answer(draw(_pieces(whole)), "close")
    then = draw(st.sampled_from(["keep", "close", "reset"])) if odd else "keep"
    return Answer(draw(_pieces(whole)), then, odd and draw(st.booleans()))


@st.composite
def _pieces(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=3)))
    return tuple(filter(None, (data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True))))


@st.composite
def _conversations(draw: st.DrawFn, number: int) -> Conversation:
    count = draw(st.integers(1, 4))
    odd = draw(st.booleans())
    places = {draw(st.integers(0, count - 1))} if odd else set()
    sent = b"".join(draw(_requests(Mark(number, n), n in places)) for n in range(count))
    answered = draw(st.sets(st.integers(0, count - 1), max_size=2))
    odd_answers = draw(st.integers(0, 3)) == 0
    answers = {n: draw(_answers(Mark(number, n), odd_answers)) for n in answered}
    pristine = not odd and not odd_answers
    ending = "wait" if pristine else draw(st.sampled_from((*ENDINGS, *["wait"] * 6)))
    return Conversation(number, draw(_pieces(sent)), ending, answers, pristine)


def conversations(first: int, count: int, chosen_seed: int) -> list[Conversation]:
    """Return conversations numbered from `first`; the same for the same arguments and version of hypothesis."""
    made: list[Conversation] = []

    @seed(chosen_seed)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=HealthCheck
    )
    @given(st.data())
    def make(data: st.DataObject) -> None:
        made.append(data.draw(_conversations(first + len(made))))

    make()
    return made
