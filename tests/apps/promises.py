"""Bodies of every kind under every promise: `/<body>?length=N`, where without `length` nothing is promised.

`GET /given` answers how many bytes the bodies have given since it was last asked. `GET /pid` is who answers.
Rule: no framework, and nothing of gzc.
"""

# ruff: noqa: SIM115 - the server closes what it was given

import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.util import FileWrapper

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])
PIECE = bytes(range(256)) * 32  # 8 KiB, what wrappers ask for

given = 0


def _counted(block: bytes) -> bytes:
    global given
    given += len(block)
    return block


class Own:
    """A `read` of its own, and a descriptor and a position that are nobody's business."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.fileno, self.tell, self.seek, self.close = file.fileno, file.tell, file.seek, file.close

    def read(self, size: int = -1) -> bytes:
        return _counted(self._file.read(size))


class Reader:
    """`read` and nothing else, of which there is no end."""

    def read(self, size: int = -1) -> bytes:
        return _counted(bytes(size))


class Closing:
    """No generator and no file: an iterable object that closes, as frameworks make them."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return _counted(next(self._blocks))

    def close(self) -> None:
        pass


class Sequence:
    """The old protocol: `__getitem__` alone, which never raises IndexError; and a metaclass that answers nothing."""

    class _Mute(type):
        def __getattr__(cls, name: str) -> Any:
            raise RuntimeError(f"{name} is not for you")

    def __getitem__(self, index: int) -> bytes:
        return _counted(PIECE)


class Mute(Sequence, metaclass=Sequence._Mute):
    pass


def _generator(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield _counted(block)


def _open(name: str) -> Any:
    return (FOLDER / name).open("rb")


#: What is wrapped by the server's file wrapper, and what is returned as it is.
WRAPPED: dict[str, Callable[[], Any]] = {
    "plain": lambda: _open("promised.bin"),
    "own": lambda: Own(_open("promised.bin")),
    "zero": lambda: Path("/dev/zero").open("rb"),
    "sparse": lambda: Own(_open("sparse.bin")),
    "reader": Reader,
}
BARE: dict[str, Callable[[], Iterable[bytes]]] = {
    "generator": lambda: _generator(cycle([PIECE])),
    "iterable": lambda: Closing(cycle([PIECE])),
    "sequence": Mute,
    "list": lambda: [_counted(PIECE)] * 20,
    "finite": lambda: _generator([PIECE] * 20),
    "file": lambda: _open("promised.bin"),
}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    global given
    name = environ["PATH_INFO"].strip("/")
    if name in ("pid", "given"):
        answer = json.dumps(os.getpid() if name == "pid" else given).encode()
        given = 0 if name == "given" else given
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]
    headers = [("Content-Type", "application/octet-stream")]
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    if "length" in query:
        headers.append(("Content-Length", query["length"]))
    start_response(query.get("status", "200 OK"), headers)
    if name in WRAPPED:
        return environ.get("wsgi.file_wrapper", FileWrapper)(WRAPPED[name]())  # type: ignore[no-any-return]
    return BARE[name]()
