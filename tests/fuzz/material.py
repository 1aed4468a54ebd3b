"""What real programs send, as material for mutations: requests of clients, answers of servers. MARK is replaced."""

from __future__ import annotations

MARK = b"MARK"


def _head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _answer(body: bytes, *lines: str) -> bytes:
    return _head(*lines, "") + body


# Heads without their framing: curl, browsers, requests, Go, Wget, ApacheBench, a gateway before us, services' clients.
HEADS: list[bytes] = [
    _head("GET /MARK HTTP/1.1", "Host: localhost:8080", "User-Agent: curl/7.88.1", "Accept: */*"),
    _head("HEAD /MARK HTTP/1.1", "Host: localhost:8080", "User-Agent: curl/7.88.1", "Accept: */*"),
    _head(
        "OPTIONS /MARK HTTP/1.1", "Host: api.example", "Access-Control-Request-Method: PUT", "Origin: http://a.example"
    ),
    _head("DELETE /MARK?id=7 HTTP/1.1", "Host: api.example", "Authorization: Bearer e30.e30.x", "Accept: */*"),
    _head(
        "GET /api/v1/courses/MARK?page=1&size=20&q=%C3%A4+b HTTP/1.1",
        "Host: localhost",
        "Connection: keep-alive",
        'sec-ch-ua: "Chromium";v="120", "Not?A_Brand";v="8"',
        "sec-ch-ua-mobile: ?0",
        "Upgrade-Insecure-Requests: 1",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
        "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        "Accept-Encoding: gzip, deflate, br",
        "Cookie: sid=abc; theme=dark",
        "Cookie: second=1",
    ),
    _head(
        "GET /static/MARK.js HTTP/1.1",
        "Host: localhost",
        'If-None-Match: W/"5e-18c"',
        "Range: bytes=0-99",
        "If-Modified-Since: Tue, 15 Nov 1994 08:12:31 GMT",
        "Cache-Control: max-age=0",
    ),
    _head("GET /MARK HTTP/1.1", "Host: 127.0.0.1:8080", "User-Agent: python-requests/2.31.0", "Connection: keep-alive"),
    _head("GET /MARK HTTP/1.1", "host: 127.0.0.1", "user-agent: Go-http-client/1.1", "accept-encoding: gzip"),
    _head(
        "GET http://proxy.example:8080/MARK?x=1 HTTP/1.1",
        "Host: proxy.example:8080",
        "Proxy-Connection: Keep-Alive",
        "Proxy-Authorization: Basic eDp5",
        "User-Agent: Wget/1.21",
    ),
    _head("GET /MARK HTTP/1.0", "User-Agent: ApacheBench/2.3", "Accept: */*", "Host: h", "Connection: Keep-Alive"),
    _head(
        "GET /MARK HTTP/1.1",
        "Host: h",
        "Via: 1.0 fred, 1.1 p.example.net",
        "X-Forwarded-For: 10.1.2.3, 10.4.5.6",
        "X-Forwarded-Proto: https",
        "X-Request-Id: 7b1c",
        "Connection: X-Trace, keep-alive",
        "X-Trace: 1",
        "TE: trailers",
    ),
    _head("PUT /files/MARK;v=1/a%2Fb HTTP/1.1", "Host: [::1]:8080", "Content-Type: text/plain", "Trailer: X-Sum"),
    _head("PATCH /MARK HTTP/1.1", "Host: h", "Content-Type: application/merge-patch+json", 'If-Match: "1"'),
    _head("POST /api/v1/auth/register/MARK HTTP/1.1", "Host: localhost:8081", "X-Internal-API-Key: secret-key"),
    _head("POST /MARK HTTP/1.1", "Host: h", "Expect: 100-continue", "Content-Type: application/x-www-form-urlencoded"),
    _head("POST /upload/MARK HTTP/1.1", "Host: h", "Content-Type: multipart/form-data; boundary=xx", "Accept: */*"),
    _head("POST /MARK HTTP/1.1", "HOST:h", "X-Empty:", "X-Latin: \xe4\xf6", "X-Tabs:\t a\tb ", "x-dup: 1", "X-Dup: 2"),
]
BODIES: list[bytes] = [
    b"",
    b"MARK",
    b'{"email": "a@b.example", "password": "pa55", "mark": "MARK"}',
    b"name=MARK&value=%20x&empty=",
    b'--xx\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nMARK\r\n--xx--\r\n',
    b"0\r\n\r\n",
    b"MARK" * 300,
    b"\r\n\r\nGET /smuggled/MARK HTTP/1.1\r\nHost: h\r\n\r\n",
    bytes(range(256)) + b"MARK",
]
_ECHO = "X-Echo: MARK"
_LENGTH = "Content-Length: 2"
# Whole answers; the framing stands in them.
ANSWERS: list[bytes] = [
    _answer(b"ok", "HTTP/1.1 200 OK", "Server: uvicorn", "Content-Type: application/json", _LENGTH, _ECHO),
    _answer(
        b"",
        "HTTP/1.1 201 Created",
        "Location: /x/MARK",
        "Set-Cookie: a=1; Path=/",
        "Set-Cookie: b=2",
        "Content-Length: 0",
    ),
    _answer(
        b'1b\r\nand-some-of-the-body-here!!\r\n1;ext="a;b"\r\nx\r\n0\r\nX-Sum: MARK\r\n\r\n',
        "HTTP/1.1 200 OK",
        "Transfer-Encoding: chunked",
        "Connection: keep-alive",
    ),
    _answer(b"", "HTTP/1.1 204 No Content", "Server: nginx", _ECHO),
    _answer(b"", "HTTP/1.1 304 Not Modified", 'ETag: "MARK"', "Content-Length: 100"),
    _answer(b"not found", "HTTP/1.1 404 Not Found", "Content-Length: 9", "Content-Type: text/plain", _ECHO),
    _answer(b"", "HTTP/1.1 100 Continue") + _answer(b"ok", "HTTP/1.1 200 OK", _LENGTH, _ECHO),
    _answer(b"", "HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload") * 2
    + _answer(b"ok", "HTTP/1.1 200 OK", _LENGTH, _ECHO),
    _answer(b"error", "HTTP/1.1 500 Internal Server Error", "Content-Length: 5", "Connection: close", _ECHO),
    _answer(b"ok", "HTTP/1.0 200 OK", "Server: SimpleHTTP/0.6", _LENGTH, _ECHO),
    _answer(
        b"ok",
        "HTTP/1.1 200 OK",
        "Connection: x-hop, keep-alive",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "Via: 1.1 other",
        _LENGTH,
        _ECHO,
    ),
    _answer(b"ok", "HTTP/1.1 206 Partial Content", "Content-Range: bytes 0-1/10", _LENGTH, _ECHO),
]
# Answers that only a close ends.
CLOSED_ANSWERS: list[bytes] = [
    _answer(b"data: 1\n\ndata: 2\n\n", "HTTP/1.1 200 OK", "Content-Type: text/event-stream", _ECHO),
    _answer(b"MARK and some more", "HTTP/1.0 200 OK", _ECHO),
]
# What mutations put in.
TOKENS: list[bytes] = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\x00",
        b" ",
        b"\t",
        b"\x0b",
        b":",
        b",",
        b";",
        b'"',
        b"0",
        b"-",
        b"+",
        b"_",
        b"\xff",
        b"%",
    ),
    *(b"\r\n\r\n", b"\n\n", b"\r\n ", b"\r\n\t", b"0\r\n\r\n", b"5\r\n", b"0x", b"#", b"*", b"http://evil/"),
    *(
        b"chunked",
        b"identity",
        b", chunked",
        b"gzip",
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"HTTP/2.0",
        b"HEAD ",
        b"GET ",
        b"CONNECT ",
    ),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: evil\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: content-length\r\n", b"Upgrade: h2c\r\n"),
    *(b"Expect: 100-continue\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: identity\r\n"),
    *(b"18446744073709551616", b"9223372036854775807", b"4294967296", b"ffffffffffffffff", b"100000000"),
    *(b"GET /smuggled/MARK HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
]
