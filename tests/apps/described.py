"""Files and parts of files, wrapped, described by a dunder, or registered; nothing says how long they are.

`/wrapped?path=P`, `/dunder?path=P&start=S&count=N`, `/registered?...`; `length=N` promises it after all, and
`written=text` is sent by start_response's write() before. `/stats` tells what gzc has moved, `/pid` who answers.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.util import FileWrapper

import gzc


class Part:
    """``count`` bytes of a file from ``start`` on, as pieces of 10,000 bytes."""

    def __init__(self, path: str, start: int, count: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - the server calls close
        self._file.seek(start)
        self._left = count
        self.close = self._file.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = self._file.read(min(10_000, self._left))
        self._left -= len(block)
        if not block:
            raise StopIteration
        return block

    def settle(self, count: int) -> None:
        self._left -= count

    def below(self) -> Any:
        return gzc.source(self._file).limited(self._left).settling(self.settle)


class Dunder(Part):
    def __gzc_source__(self) -> Any:
        return self.below()


class Registered(Part):
    pass


gzc.register(Registered, source=Part.below)

PARTS = {"dunder": Dunder, "registered": Registered, "nobody": Part}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    name, query = environ["PATH_INFO"].strip("/"), dict(parse_qsl(environ["QUERY_STRING"]))
    if name in ("pid", "stats"):
        moved = sys.modules["gzc"].stats()["bytes"].get("sendfile", 0)
        answer = json.dumps(moved if name == "stats" else os.getpid()).encode()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]
    write = start_response("200 OK", [("Content-Length", query["length"])] if "length" in query else [])
    if "written" in query:
        write(query["written"].encode())
    if name in PARTS:
        return PARTS[name](query["path"], int(query.get("start", 0)), int(query.get("count", 1 << 40)))
    file = open(query["path"], "rb")  # noqa: SIM115 - and so here
    return environ.get("wsgi.file_wrapper", FileWrapper)(file)  # type: ignore[no-any-return]
