"""Addresses as people write them: ``host:port``, ``:port``, ``port``, ``[::1]:port``, ``unix:path``.

Rules of this file: gevent's own sockets, which need no patching; a wrong address is a ValueError.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
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

    def listen(self) -> Any:
        """A listening socket.

        :raises Failure: the address is taken, is not of this machine, or is not ours to use.
        """
        try:
            return self._listen()
        except OSError as exc:
            raise Failure(f"{self}: {said(exc)}") from None

    def _listen(self) -> Any:
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
            sock.bind(name)
            sock.listen(socket.SOMAXCONN)
        except BaseException:
            sock.close()
            raise
        return sock

    def _remove_abandoned(self) -> None:
        """Remove a socket on which nobody listens any more; whatever else lies there is in the way."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(self.path).st_mode):
                try:
                    self.connect(1).close()
                except ConnectionRefusedError:
                    os.unlink(self.path)

    def bound(self, sock: Any) -> Address:
        """This address with the port that ``sock`` was given, for port 0."""
        if self.path:
            return self
        host, port, *_ = sock.getsockname()
        return Address(host, port)

    def forget(self) -> None:
        """Remove what ``listen`` has left in the file system."""
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


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
    return Address(given, int(found["port"]))


def server_context(certificate: str, key: str) -> Any:
    """The TLS context of a server.

    :raises Failure: the files cannot be read, or are no certificate and its key.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as exc:  # SSLError, too, is one
        raise Failure(f"--tls {certificate} {key}: {said(exc)}") from None
    return context
