"""The files and listings of a folder, as a WSGI application.

Ranges, conditional requests and types are Werkzeug's; moving the files is gzc's. What a path leads to is held by
its descriptor before anything is decided on: where it lies, whether it is a file, how long it is. So whoever
changes the tree meanwhile changes nothing (openat2(2) has RESOLVE_BENEATH for that, but would refuse links that
lead to another place of the same folder).

Rules of this file: a response is Werkzeug's or an HTTP error; what is looked at is what was opened; nothing that
grows with the folder is done in the hub.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from heapq import merge
from html import escape
from itertools import chain, islice, repeat
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, quote

from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from . import Failure
from ._voice import say
from ._words import extra, said, size

#: Entries of a page of a listing.
PAGE = 1000

#: Listings under way, of which one is being made; who asks then is told to come again (503).
LISTINGS = 20

#: Names that are sorted at once: sorting does not let go of the interpreter, and 5,000 take 2 ms.
SORTED_AT_ONCE = 5000

#: What an error of the file system is to a client; any other is the server's own trouble (503).
STATUSES = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), 404),
    **dict.fromkeys((errno.EACCES, errno.EPERM), 403),
}

_LISTING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
td:last-child{{text-align:right;color:#666;padding-left:2rem}}a{{text-decoration:none}}a:hover{{text-decoration:underline}}
</style></head><body><h1>{title}</h1><table>
{rows}
</table>{pages}</body></html>
"""


class _LeftOut:
    """Leaves out what has gone away, leads to itself, or is not ours to see; other errors are no fault of an entry."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> bool:
        return isinstance(exc, OSError) and exc.errno in STATUSES


class Found:
    """What a path led to when it was opened: neither read nor written (O_PATH), and not to be exchanged any more.

    path
        Relative to the descriptor ``folder``, if there is one.

    :raises OSError: the path leads nowhere, or may not be followed.
    """

    def __init__(self, path: str, folder: int | None = None) -> None:
        self.number = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=folder)
        try:
            self.path = os.readlink(self._itself)
            self.status = os.fstat(self.number)
        except BaseException:
            self.close()
            raise

    @property
    def _itself(self) -> str:
        return f"/proc/self/fd/{self.number}"

    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    def open(self) -> int:
        """A descriptor to read it by. O_NONBLOCK is for leases, for whose holder open(2) would wait."""
        return os.open(self._itself, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.number)

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


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
        self._threads = ThreadPool(1)
        self._listings = 0

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
        with _LeftOut():
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
        name = _shown(os.path.basename(found.path))
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
        if self._listings >= LISTINGS:
            raise self._exceptions.ServiceUnavailable(retry_after=1)
        self._listings += 1
        try:
            page = self._in_thread(found.open(), name, number)
        finally:
            self._listings -= 1
        if page is None:
            raise self._exceptions.NotFound
        return page

    def _in_thread(self, folder: int, name: str, number: int) -> str | None:
        """``_page``, when the thread has time for it. Who waits may be struck; then nobody else closes ``folder``."""
        try:
            task = self._threads.spawn(wrap_errors((OSError,), self._page), folder, name, number)
        except BaseException:
            os.close(folder)
            raise
        page: str | OSError | None = task.get()
        if isinstance(page, OSError):
            raise page
        return page

    def _page(self, folder: int, name: str, number: int) -> str | None:
        """Page ``number`` of the listing of ``folder``, which it closes; None where there is none. For a thread."""
        try:
            folders, files = self._names(folder)
            count, first = len(folders) + len(files), (number - 1) * PAGE
            if number < 1 or (first >= count and number > 1):
                return None
            rows = ['<tr><td><a href="../">../</a></td><td></td></tr>'] if name and number == 1 else []
            ordered = chain(zip(_in_order(folders), repeat("/")), zip(_in_order(files), repeat("")))
            for entry, slash in islice(ordered, first, first + PAGE):
                with _LeftOut():
                    told = "" if slash else size(os.stat(entry, dir_fd=folder).st_size)
                    rows.append(_row(entry, slash, told))
        finally:
            os.close(folder)
        return _LISTING.format(title=escape(_shown(f"/{name}")), rows="\n".join(rows), pages=_pages(number, count))

    def _names(self, folder: int) -> tuple[list[str], list[str]]:
        """The names of its folders, and those of its files, as far as they are served."""
        folders: list[str] = []
        files: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with _LeftOut():
                    if self._hides(entry.name) or (entry.is_symlink() and not self._leads_inside(entry.name, folder)):
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
        return folders, files

    def _leads_inside(self, name: str, folder: int) -> bool:
        with Found(name, folder) as found:
            return self._is_ours(found)


def _modified(status: os.stat_result) -> float | None:
    """When a file was changed, unless that is in no year from 1 to 9999."""
    first, beyond = -62135596800, 253402300800
    return status.st_mtime if first <= status.st_mtime < beyond else None


def _in_order(names: list[str]) -> Iterator[str]:
    """``names`` sorted, so that the interpreter is let go of in between."""
    pieces = range(0, len(names), SORTED_AT_ONCE)
    return merge(*(sorted(names[first : first + SORTED_AT_ONCE]) for first in pieces))


def _row(name: str, slash: str, told: str) -> str:
    # "./", or a name with a colon in it would be taken for a URL of its own.
    link = "./" + quote(os.fsencode(name)) + slash
    return f'<tr><td><a href="{escape(link)}">{escape(_shown(name))}{slash}</a></td><td>{told}</td></tr>'


def _pages(number: int, count: int) -> str:
    """Where the rest of a long listing is."""
    last = max(1, -(-count // PAGE))
    before = [f'<a href="?page={number - 1}">previous</a>'] if number > 1 else []
    after = [f'<a href="?page={number + 1}">next</a>'] if number < last else []
    links = " ".join([*before, f"page {number} of {last}", *after])
    return f"\n<p>{links}</p>" if last > 1 else ""


def _shown(name: str) -> str:
    """A name as headers and pages can have it, also where it is no UTF-8 or has line breaks in it."""
    decoded = os.fsencode(name).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in decoded)
