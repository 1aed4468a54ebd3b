"""The HTTP/1.1 wire (RFC 9110, RFC 9112) without input or output: bytes in, messages out, and back.

The gateway, the services' client and the load engine stand on it, so that a direct call and a call through the
gateway differ by the hop and by nothing else.
"""

from gateway_proxy.http1.body import Body, ChunkedBody, ClosedBody, SizedBody, chunk, last_chunk
from gateway_proxy.http1.client import ResponseParser, render_request
from gateway_proxy.http1.errors import ProtocolError
from gateway_proxy.http1.fields import CHUNKED, UNTIL_CLOSE
from gateway_proxy.http1.grammar import BARE_LF
from gateway_proxy.http1.request import Hop, RequestReader
from gateway_proxy.http1.response import ResponseReader

__all__ = [
    "BARE_LF",
    "CHUNKED",
    "UNTIL_CLOSE",
    "Body",
    "ChunkedBody",
    "ClosedBody",
    "Hop",
    "ProtocolError",
    "RequestReader",
    "ResponseParser",
    "ResponseReader",
    "SizedBody",
    "chunk",
    "last_chunk",
    "render_request",
]
