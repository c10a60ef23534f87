"""Objects that answer what they are asked with exceptions.

`/file?size=N&hostile=tell,seek&error=RuntimeError&how=call` wraps a file-like whose named attributes raise, when they
are called or (`how=get`) when they are looked at; `/body?...` returns an iterable of that kind without a wrapper.
`late=1` makes them raise only from the second time on: what is asked after the answer is out.
Rule: no framework, and nothing of gzc.
"""

import builtins
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.util import FileWrapper

Query = dict[str, str]


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def hostile(base: type, query: Query) -> type:
    """A class derived from ``base`` whose named attributes raise."""
    error = getattr(builtins, query["error"])
    asked: dict[str, int] = {}

    def refuse(name: str) -> None:
        asked[name] = asked.get(name, 0) + 1
        if asked[name] > int(query.get("late", "0")):
            raise error(f"{name} is not for you")

    def method(name: str) -> Any:
        def ask(self: Any, *args: Any) -> Any:
            refuse(name)
            return getattr(super(cls, self), name)(*args)

        return ask

    def attribute(name: str) -> Any:
        def get(self: Any) -> Any:
            refuse(name)
            return getattr(super(cls, self), name)

        return property(get)

    names = query["hostile"].split(",")
    make = attribute if query.get("how") == "get" else method
    cls = type("Hostile", (base,), {name: (attribute if name in VALUES else make)(name) for name in names})
    return cls


VALUES = ("closed", "mode", "name", "__class__", "filelike", "blksize")


class Readable:
    """What a file-like object has, without being a file."""

    mode, name, closed = "rb", "file", False

    def __init__(self, size: int) -> None:
        self._file = io.BytesIO(content(size))

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, *args: int) -> int:
        return self._file.seek(*args)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def __len__(self) -> int:
        return len(self._file.getbuffer())

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]


class Body:
    """A response of two blocks that describes nothing."""

    closed, filelike, blksize = False, None, 8192

    def __init__(self, size: int) -> None:
        whole = content(size)
        self._blocks = [whole[: size // 2], whole[size // 2 :]]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")

    seek = tell = seekable = readable = fileno

    def __bool__(self) -> bool:
        return True

    def __gzc_source__(self) -> Any:
        return None


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/pid":
        answer = json.dumps(os.getpid()).encode()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    size = int(query["size"])
    headers = [("Content-Type", "application/octet-stream")]
    start_response("200 OK", [*headers, ("Content-Length", str(size))] if query.get("length", "1") == "1" else headers)
    if environ["PATH_INFO"] == "/body":
        return hostile(Body, query)(size)  # type: ignore[no-any-return]
    return environ.get("wsgi.file_wrapper", FileWrapper)(hostile(Readable, query)(size))  # type: ignore[no-any-return]
