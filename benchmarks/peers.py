"""The other ends: what talks to the process that is measured. Plain threads and sockets, nothing patched.

No CPU time of these counts, and no byte count is believed that was not compared.
"""

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

from examples.rig import Client, DemoError

BLOCK = 1 << 18
BOUNDARY = b"of-a-benchmark"


def get(port: int, name: str, size: int) -> None:
    """Download a file of ``size`` bytes."""
    with Client(port) as client:
        _same(client.get(name), size)


def get_range(port: int, name: str, start: int, size: int) -> None:
    """Download ``size`` bytes of it, from ``start`` on."""
    with Client(port) as client:
        _same(client.get(name, f"Range: bytes={start}-{start + size - 1}\r\n", status=206), size)


def put(port: int, file: Path) -> None:
    """Upload a file as the body of a PUT."""
    size = file.stat().st_size
    _upload(port, f"PUT /raw HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode(), file, b"")


def post_form(port: int, file: Path) -> None:
    """Upload a file as a browser does."""
    part = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' % BOUNDARY
    end = b"\r\n--%s--\r\n" % BOUNDARY
    kind = b"multipart/form-data; boundary=%s" % BOUNDARY
    head = b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    length = len(part) + file.stat().st_size + len(end)
    _upload(port, head % (kind, length) + part, file, end)


def _upload(port: int, head: bytes, file: Path, tail: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock, file.open("rb") as body:
        sock.sendall(head)
        sock.sendfile(body)
        sock.sendall(tail)
        answer = b""
        while not re.search(rb"\r\n\r\n.*\d+", answer, re.DOTALL):
            answer += (got := sock.recv(BLOCK))
            if not got:
                break
    _same(answer.rpartition(b"\r\n\r\n")[2].strip(), str(file.stat().st_size).encode())


def _same(got: object, expected: object) -> None:
    if got != expected:
        raise DemoError(f"{got!r} came, and not {expected!r}")


@contextlib.contextmanager
def http_peer(size: int) -> Iterator[int]:
    """A server that takes the body of every PUT and answers every GET with ``size`` bytes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    threading.Thread(target=_answer, args=(sock, size), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _answer(sock: socket.socket, size: int) -> None:
    with sock, contextlib.suppress(ConnectionError):
        data = bytearray()
        while b"\r\n\r\n" not in data:
            if not (got := sock.recv(BLOCK)):
                return
            data += got
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            block = bytes(BLOCK)
            for start in range(0, size, BLOCK):
                sock.sendall(block[: size - start])
            return
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        have, tail, buffer = len(body), body[-5:], bytearray(BLOCK)
        while have < int(length[1]) if length else tail != b"0\r\n\r\n":
            if not (count := sock.recv_into(buffer)):
                return
            have, tail = have + count, (tail + buffer[max(0, count - 5) : count])[-5:]
        if have < size:
            return  # no answer: the client fails
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@contextlib.contextmanager
def ftp_peer(folder: Path) -> Iterator[int]:
    """An FTP server of a folder; its port."""
    logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())  # else it sets up logging for us
    allowed = DummyAuthorizer()
    allowed.add_user("bench", "bench", str(folder), perm="elrw")
    handler = type("Handler", (FTPHandler,), {"authorizer": allowed})
    server = ThreadedFTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False}, daemon=True)
    thread.start()
    try:
        yield server.address[1]
    finally:
        server.close_all()
        thread.join(5)
