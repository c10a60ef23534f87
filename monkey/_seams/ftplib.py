"""``ftplib``: ``storbinary`` out of a file, ``retrbinary`` into one.

ftplib opens the data connection, closes it and reads the reply. The bytes are moved as soon as the connection is there.
ftplib keeps its own loop for a callback that wants to see blocks, and for TLS.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from types import BuiltinMethodType
from typing import Any

import gzc

from .. import _fast_prefix
from .._row import Row

Method = Callable[..., Any]


class _Moving:
    """An ``FTP`` that moves bytes over a data connection before it hands it out."""

    def __init__(self, ftp: Any, move: Callable[[Any], object]) -> None:
        self._ftp = ftp
        self._move = move

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ftp, name)

    def transfercmd(self, cmd: str, rest: Any = None) -> Any:
        connection = self._ftp.transfercmd(cmd, rest)
        try:
            self._move(connection)
        except BaseException:
            connection.close()  # ftplib's ``with`` has not begun yet
            raise
        return connection


def storbinary(original: Method) -> Method:
    """The replacement of ``FTP.storbinary``: a plain file goes by sendfile(2)."""

    @wraps(original)
    def storbinary(self: Any, cmd: str, fp: Any, blocksize: int = 8192, callback: Any = None, rest: Any = None) -> Any:
        if callback is None and _is_file(fp):
            self = _Moving(self, lambda connection: _fast_prefix.prefix(fp, connection))
        return original(self, cmd, fp, blocksize, callback, rest)

    return storbinary


def retrbinary(original: Method) -> Method:
    """The replacement of ``FTP.retrbinary``: into ``file.write`` of a plain file, bytes go by splice(2)."""

    @wraps(original)
    def retrbinary(self: Any, cmd: str, callback: Any, blocksize: int = 8192, rest: Any = None) -> Any:
        file: Any = callback.__self__ if type(callback) is BuiltinMethodType else None
        if type(file) in (io.BufferedWriter, io.BufferedRandom) and callback == file.write:
            self = _Moving(self, lambda connection: _fast_prefix.prefix(connection, file))
        return original(self, cmd, callback, blocksize, rest)

    return retrbinary


def _is_file(fp: Any) -> bool:
    try:
        return gzc.source(fp).kind is gzc.Kind.FILE
    except Exception:  # noqa: BLE001 - a ``closed`` or ``readable`` of anybody's, which ftplib does not ask
        return False


#: What the originals use of ``self`` is what ``_Moving`` passes on.
_KNOWN = {"voidcmd", "transfercmd", "voidresp", "blocksize", "callback"}

ROWS = (
    Row("ftplib", "FTP.storbinary", storbinary, knows=frozenset({*_KNOWN, "fp", "sendall"})),
    Row("ftplib", "FTP.retrbinary", retrbinary, knows=frozenset({*_KNOWN, "recv"})),
)
