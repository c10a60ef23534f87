"""The files and listings of a folder, as a WSGI application.

Ranges, conditional requests and types are Werkzeug's; moving the files is gzc's.

The response is made from the descriptor that was opened, not from the path.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, quote

from . import Failure
from ._found import STATUSES, Found, LeftOut, shown
from ._listing import Listings
from ._voice import say
from ._words import extra, said


class Site:
    """The WSGI application: files and listings of ``folder``; with ``hidden``, also names that begin with a dot."""

    def __init__(self, folder: str, *, hidden: bool) -> None:
        try:
            with Found(folder) as root:
                if not root.is_folder():
                    raise Failure(f"{folder}: not a folder")
                self._root = root.path
        except OSError as exc:
            if not os.path.isdir("/proc/self/fd"):
                raise Failure("gzc serve needs /proc: it tells where an opened file lies") from None
            raise Failure(f"{folder}: {'no such folder' if exc.errno == errno.ENOENT else said(exc)}") from None
        self._hidden = hidden
        self._utils = extra("werkzeug.utils", "gzc serve")
        self._exceptions = extra("werkzeug.exceptions", "gzc serve")
        self._join = extra("werkzeug.security", "gzc serve").safe_join
        self._response = extra("werkzeug.wrappers", "gzc serve").Response
        self._listings = Listings(self._hides, self._is_ours)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            response = self._respond(environ)
        except self._exceptions.HTTPException as exc:
            response = exc
        except OSError as exc:
            response = self._refusal(exc)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _refusal(self, exc: OSError) -> Any:
        status = STATUSES.get(exc.errno or 0)
        if status is not None:
            return self._exceptions.default_exceptions[status]()
        say(f"A file cannot be served now: {said(exc)}")
        return self._exceptions.ServiceUnavailable(retry_after=1)

    def _respond(self, environ: dict[str, Any]) -> Any:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise self._exceptions.MethodNotAllowed(["GET", "HEAD"])
        # As the file system has it, whatever encoding that is; WSGI passes bytes as Latin-1.
        name = os.fsdecode(environ["PATH_INFO"].encode("latin-1")).lstrip("/")
        with self._find(name) as found:
            if found.is_file() and not name.endswith("/"):
                return self._file(found, environ)
            if not found.is_folder():
                raise self._exceptions.NotFound
            if name and not name.endswith("/"):
                query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
                return self._utils.redirect("/" + quote(os.fsencode(name)) + "/" + query, 308)
            if (index := self._index(found)) is not None:
                with index:
                    return self._file(index, environ)
            page = self._listing(found, name, environ)
        return self._response(page, mimetype="text/html", headers={"Cache-Control": "no-cache"})

    # -- what a URL leads to ---------------------------------------------------------------------------------

    def _find(self, name: str) -> Found:
        """What a URL names, inside the folder also after links are followed, and hidden by no name on the way."""
        path = None if "\0" in name or self._hides(name) else self._join(self._root, name)
        if path is None:
            raise self._exceptions.NotFound
        found = Found(path)
        if not self._is_ours(found):
            found.close()
            raise self._exceptions.NotFound
        return found

    def _index(self, folder: Found) -> Found | None:
        """The file that a folder wants to be shown as, if it has one."""
        with LeftOut():
            found = Found("index.html", folder.number)
            if found.is_file() and self._is_ours(found):
                return found
            found.close()
        return None

    def _is_ours(self, found: Found) -> bool:
        """Whether it lies in the folder, where it has a name, and under no hidden one."""
        root = self._root.rstrip("/") + "/"
        below = (found.path + "/").removeprefix(root)
        return found.path + "/" != below and found.status.st_nlink > 0 and not self._hides(below)

    def _hides(self, name: str) -> bool:
        """Whether a part of ``name`` begins with a dot, and is more than "here" and "up"."""
        return not self._hidden and any(part[:1] == "." and part not in (".", "..") for part in name.split("/"))

    # -- what is answered ------------------------------------------------------------------------------------

    def _file(self, found: Found, environ: dict[str, Any]) -> Any:
        status = found.status
        # Both of our own making: Werkzeug's fail for a name that is no UTF-8.
        tag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
        name = shown(os.path.basename(found.path))
        file = os.fdopen(found.open(), "rb")
        try:
            response = self._utils.send_file(
                file, environ, etag=tag, download_name=name, last_modified=_modified(status), conditional=False
            )
            response.content_length = status.st_size
            with contextlib.suppress(OverflowError):  # a date beyond every calendar is ignored: RFC 9110, 13.1.3
                response.make_conditional(environ, accept_ranges=True, complete_length=status.st_size)
            return response
        except BaseException:
            file.close()
            raise

    def _listing(self, found: Found, name: str, environ: dict[str, Any]) -> str:
        asked = parse_qs(environ.get("QUERY_STRING", "")).get("page", ["1"])[0]
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0
        if self._listings.full():
            raise self._exceptions.ServiceUnavailable(retry_after=1)
        page = self._listings.page(found.open(), name, number)
        if page is None:
            raise self._exceptions.NotFound
        return page


def _modified(status: os.stat_result) -> float | None:
    """When a file was changed, unless that is in no year from 1 to 9999."""
    first, beyond = -62135596800, 253402300800
    return status.st_mtime if first <= status.st_mtime < beyond else None
