"""An HTTP client that believes nothing: h11 over a raw socket, so that wrong framing is an error.

Rules: one Client is one connection. A reply that ends early is not an exception but `complete == False`.
Bytes beyond the reply are kept, and asking for the next reply parses them: whatever the server sent too much
is found there.
"""

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Any

import h11

Address = str | tuple[str, int]

PATIENCE = 15.0  # seconds without a byte until a hang is a failure
BLOCK = 1 << 18


@dataclass
class Reply:
    status: int
    version: bytes
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    """The body ended as the framing said it would."""

    @property
    def length(self) -> int | None:
        return int(self.headers["content-length"]) if "content-length" in self.headers else None

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding") == "chunked"


class Client:
    """One connection. `get` is a whole exchange; `send`, `head_of_reply` and `rest_of_reply` are its parts.

    Pipelining is `send_ahead` and then, for each target in turn, `expect`, or `announce` and the two parts.
    """

    def __init__(
        self,
        address: Address,
        *,
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 16)
        self._reply = Reply(0, b"", {})

    def send(self, target: str, method: str = "GET", **headers: str) -> None:
        """A request; `if_none_match="x"` becomes the header If-None-Match."""
        self.socket.sendall(self._request(target, method, headers))

    def send_ahead(self, *targets: str) -> None:
        """Pipelined GET requests: all of them in one piece, before any reply is read."""
        requests = [f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n" for target in targets]
        self.socket.sendall("".join(requests).encode())

    def expect(self, target: str) -> Reply:
        """The reply to the next of the pipelined requests."""
        self.announce(target)
        self.head_of_reply()
        return self.rest_of_reply()

    def announce(self, target: str) -> None:
        """Tell h11 of a request that was sent ahead: it frames the reply by it."""
        self._request(target, "GET", {})

    def _request(self, target: str, method: str, headers: dict[str, str]) -> bytes:
        if self._http.our_state is not h11.IDLE:
            self._http.start_next_cycle()
        fields = [("Host", "localhost")]
        fields += [(name.replace("_", "-").title(), value) for name, value in headers.items()]
        request = h11.Request(method=method, target=target, headers=fields)
        return (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def head_of_reply(self) -> Reply:
        event = self._next_event()
        assert isinstance(event, h11.Response), event
        headers = {name.decode(): value.decode() for name, value in event.headers}
        self._reply = Reply(event.status_code, event.http_version, headers)
        return self._reply

    def rest_of_reply(self, stop_at: int | None = None) -> Reply:
        """Read on until the body ends, or until at least `stop_at` bytes of it are here."""
        reply = self._reply
        while stop_at is None or len(reply.body) < stop_at:
            try:
                event = self._next_event()
            except (h11.RemoteProtocolError, ConnectionError):
                return reply  # incomplete
            if isinstance(event, h11.Data):
                reply.body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage), event
                reply.complete = True
                return reply
        return reply

    def get(self, target: str, method: str = "GET", **headers: str) -> Reply:
        self.send(target, method, **headers)
        self.head_of_reply()
        return self.rest_of_reply()

    def _next_event(self) -> Any:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(self.socket.recv(BLOCK))

    def at_end(self) -> bool:
        """Whether the server has closed: no byte more, only the end."""
        rest, closed = self._http.trailing_data
        with contextlib.suppress(ConnectionError):
            return not rest and (closed or self.socket.recv(1) == b"")
        return True

    def reset(self) -> None:
        """Go away with an RST instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
