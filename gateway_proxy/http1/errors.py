"""What can be wrong with bytes that claim to be HTTP/1.1."""


class ProtocolError(Exception):
    """The peer broke the protocol, or we were asked to: the connection can no longer be trusted.

    `status` is the answer a server gives when a request was at fault (400, 431, 501 ...).
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
