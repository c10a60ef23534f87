"""Listings of folders as HTML pages, made by a thread.

Work that grows with the folder is done in a thread. An entry that cannot be read is shown without its size and date.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from heapq import merge
from html import escape
from itertools import chain, islice, repeat
from urllib.parse import quote

from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from ._found import Found, LeftOut, shown
from ._words import size

#: Entries of a page of a listing.
PAGE = 1000

#: Listings under way, of which one is being made.
MOST = 20

#: Names that are sorted at once: sorting does not let go of the interpreter, and 5,000 take 2 ms.
SORTED_AT_ONCE = 5000

_LISTING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
td:last-child{{text-align:right;color:#666;padding-left:2rem}}a{{text-decoration:none}}a:hover{{text-decoration:underline}}
</style></head><body><h1>{title}</h1><table>
{rows}
</table>{pages}</body></html>
"""


class Listings:
    """Makes listings, one at a time; ``hides`` and ``is_ours`` say by its name and by itself what is not in them."""

    def __init__(self, hides: Callable[[str], bool], is_ours: Callable[[Found], bool]) -> None:
        self._hides, self._is_ours = hides, is_ours
        self._threads = ThreadPool(1)
        self._under_way = 0

    def full(self) -> bool:
        """Whether as many are under way as may be."""
        return self._under_way >= MOST

    def page(self, folder: int, name: str, number: int) -> str | None:
        """Page ``number`` of the listing of ``folder``, which it closes; None where there is no such page.

        :raises OSError: the folder cannot be read, or not now.
        """
        self._under_way += 1
        try:
            page = self._in_thread(folder, name, number)
        finally:
            self._under_way -= 1
        if isinstance(page, OSError):
            raise page
        return page

    def _in_thread(self, folder: int, name: str, number: int) -> str | OSError | None:
        try:
            task = self._threads.spawn(wrap_errors((OSError,), self._make), folder, name, number)
        except BaseException:  # struck while the thread was busy: nobody else closes it
            os.close(folder)
            raise
        made: str | OSError | None = task.get()
        return made

    def _make(self, folder: int, name: str, number: int) -> str | None:
        """Page ``number`` of the listing of ``folder``, which it closes; None where there is none. For the thread."""
        try:
            folders, files = self._names(folder)
            count, first = len(folders) + len(files), (number - 1) * PAGE
            if number < 1 or (first >= count and number > 1):
                return None
            rows = ['<tr><td><a href="../">../</a></td><td></td></tr>'] if name and number == 1 else []
            ordered = chain(zip(_in_order(folders), repeat("/")), zip(_in_order(files), repeat("")))
            for entry, slash in islice(ordered, first, first + PAGE):
                with LeftOut():
                    told = "" if slash else size(os.stat(entry, dir_fd=folder).st_size)
                    rows.append(_row(entry, slash, told))
        finally:
            os.close(folder)
        return _LISTING.format(title=escape(shown(f"/{name}")), rows="\n".join(rows), pages=_pages(number, count))

    def _names(self, folder: int) -> tuple[list[str], list[str]]:
        """The names of its folders, and those of its files, as far as they are served."""
        folders: list[str] = []
        files: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with LeftOut():
                    if self._hides(entry.name) or (entry.is_symlink() and not self._is_served(entry.name, folder)):
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
        return folders, files

    def _is_served(self, name: str, folder: int) -> bool:
        with Found(name, folder) as found:
            return self._is_ours(found)


def _in_order(names: list[str]) -> Iterator[str]:
    """``names`` sorted, so that the interpreter is let go of in between."""
    pieces = range(0, len(names), SORTED_AT_ONCE)
    return merge(*(sorted(names[first : first + SORTED_AT_ONCE]) for first in pieces))


def _row(name: str, slash: str, told: str) -> str:
    # "./", or a name with a colon in it would be taken for a URL of its own.
    link = "./" + quote(os.fsencode(name)) + slash
    return f'<tr><td><a href="{escape(link)}">{escape(shown(name))}{slash}</a></td><td>{told}</td></tr>'


def _pages(number: int, count: int) -> str:
    """Where the rest of a long listing is."""
    last = max(1, -(-count // PAGE))
    before = [f'<a href="?page={number - 1}">previous</a>'] if number > 1 else []
    after = [f'<a href="?page={number + 1}">next</a>'] if number < last else []
    links = " ".join([*before, f"page {number} of {last}", *after])
    return f"\n<p>{links}</p>" if last > 1 else ""
