"""Addresses as people write them: ``host:port``, ``:port``, ``port``, ``[::1]:port``, ``unix:path``.

It uses gevent's own sockets and TLS contexts, which need no patching. A wrong address is a ValueError. A socket file is
removed only by the process that made it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gevent import socket, ssl

from . import Failure
from ._words import said

_TCP = re.compile(r"(?:(?P<host>\[[^\]]*\]|[^:\[\]]*):)?(?P<port>\d+)")


@dataclass(frozen=True)
class Address:
    """A tcp address (``host``, ``port``), or a unix one (``path``)."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self, timeout: float | None) -> Any:
        """A connected socket, without a timeout of its own afterwards.

        :raises OSError: as the kernel or the resolver said it; TimeoutError after ``timeout`` seconds.
        """
        if self.path:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.settimeout(timeout)
                sock.connect(self.path)
            except BaseException:
                sock.close()
                raise
        else:
            sock = socket.create_connection((self.host or "localhost", self.port), timeout)
            # Small pieces are passed on as they come; Nagle's algorithm would hold each for an acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(None)
        return sock

    def listen(self, mode: int | None = None) -> Listening:
        """A listening socket; ``mode`` is that of a unix socket's file, else the umask decides.

        :raises Failure: the address is taken, is not of this machine, or is not ours to use.
        """
        try:
            return self._listen(mode)
        except OSError as exc:
            raise Failure(f"{self}: {said(exc)}") from None

    def _listen(self, mode: int | None) -> Listening:
        if self.path:
            self._remove_abandoned()
            family: int = socket.AF_UNIX
            name: Any = self.path
        else:
            found = socket.getaddrinfo(self.host or None, self.port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
            family, name = min(found)[0], min(found)[4]  # IPv4 first, as "localhost" is meant
        sock = socket.socket(family)
        try:
            if not self.path:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with _umask(mode):
                sock.bind(name)
            listening = Listening(self, sock)
            sock.listen(socket.SOMAXCONN)
        except BaseException:
            sock.close()
            raise
        return listening

    def _remove_abandoned(self) -> None:
        """Remove a socket on which nobody listens any more; whatever else lies there is in the way."""
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(self.path)
            if stat.S_ISSOCK(found.st_mode):
                try:
                    self.connect(1).close()
                except ConnectionRefusedError:
                    _unlink(self.path, found)


class Listening:
    """A listening socket, and what it has left in the file system."""

    def __init__(self, address: Address, sock: Any) -> None:
        self.address, self.socket = address, sock
        self._file = os.lstat(address.path) if address.path else None

    @property
    def at(self) -> Address:
        """The address with the port that the socket was given, for port 0."""
        if self.address.path:
            return self.address
        host, port, *_ = self.socket.getsockname()
        return Address(host, port)

    def forget(self) -> None:
        """Remove the socket's file, unless another server's is there by now."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                _unlink(self.address.path, self._file)


def _unlink(path: str, file: os.stat_result) -> None:
    """Remove ``path`` if it is still ``file``. Between the look and the removal nothing can be held fast."""
    if os.path.samestat(os.lstat(path), file):
        os.unlink(path)


@contextlib.contextmanager
def _umask(mode: int | None) -> Iterator[None]:
    """Let a file that is made now have ``mode``: after chmod it would have been somebody's to connect to."""
    if mode is None:
        yield
        return
    before = os.umask(~mode & 0o777)
    try:
        yield
    finally:
        os.umask(before)


def keep_alive(sock: Any) -> None:
    """Let the kernel ask a silent tcp peer whether it is still there: after a minute, and four times more."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def parse(text: str, host: str = "127.0.0.1") -> Address:
    """The address that ``text`` is; ``host`` is meant where only a port is given, and ``:port`` is every interface.

    :raises ValueError: it is none.
    """
    if text.startswith("unix:"):
        path = text[5:].removeprefix("//")
        if not path or "\0" in path:
            raise ValueError(f"{text!r} names no path")
        return Address(path=path)
    found = _TCP.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"{text!r} is no address: host:port or unix:path is meant")
    given = host if found["host"] is None else found["host"].strip("[]")
    try:
        given.encode("idna")  # as the resolver will
    except UnicodeError:
        raise ValueError(f"{text!r} is no address: {given!r} is no name of a host") from None
    return Address(given, int(found["port"]))


def server_context(certificate: str, key: str) -> Any:
    """The TLS context of a server.

    :raises Failure: the files cannot be read, or are no certificate and its key.
    """
    # Not by create_default_context: it makes one of the standard library, whose sockets stop the hub.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key)
    except OSError as exc:  # SSLError, too, is one
        raise Failure(f"--tls {certificate} {key}: {said(exc)}") from None
    return context
