"""R2: what a server's seam asks of somebody's object, and the server does not, costs nothing, whatever the answer.

Rules: the servers are child processes, one for each stack. The objects answer with exceptions of every kind, when they
are called or when they are only looked at, from the first time on or later; each request has another one right behind
it on the same connection, and the worker's log stays clean.
"""

import json
from collections.abc import Iterator
from itertools import product

import pytest

from .._server import STOCK, Folder, Gunicorn, Script

STACKS = ["gevent", "gevent_pywsgi", "pywsgi", "wsgiref"]
ERRORS = ["NotImplementedError", "AttributeError", "RuntimeError", "OSError", "ValueError", "TypeError", "KeyError"]
SIZES = [42, 300_001]

#: What nothing but a seam asks of a file-like object in a wrapper.
FILE = ["tell", "seek", "seekable", "readable", "fileno", "closed", "mode", "name", "__class__", "__len__", "__bool__"]
FILE += ["__eq__", "tell,seek", "seekable,fileno", "tell,seek,seekable,readable,fileno,closed,mode,name,__class__"]
#: And of a response that is no wrapper.
BODY = ["fileno", "seek", "tell", "seekable", "readable", "closed", "filelike", "blksize", "__gzc_source__"]
BODY += ["fileno,seek,tell,seekable,readable,closed,filelike,blksize,__gzc_source__"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def running(stack: str, folder: Folder) -> Iterator[Gunicorn]:
    if stack.startswith("gevent"):
        with Gunicorn("hostile:app", folder.path, "-k", stack, stock=STOCK) as server:
            yield server
    else:
        with Script(stack, folder.path, "hostile", stock=STOCK) as server:
            yield server


@pytest.fixture
def server(running: Gunicorn) -> Iterator[Gunicorn]:
    with running.unharmed():
        yield running


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def is_answered(server: Gunicorn, stack: str, targets: dict[str, bytes], *, length: bool = True) -> None:
    """Each of ``targets`` is answered right, and so is the request that came right behind it."""
    for target, body in targets.items():
        with server.connect() as client:
            if stack == "wsgiref":
                client.send(target)
                client.head_of_reply()
            else:
                client.send_ahead(target, "/pid")
                client.announce(target)
                client.head_of_reply()
            reply = client.rest_of_reply()
            assert reply.complete, target
            assert reply.body == body, target
            assert reply.length == len(body) or not length, target
            if stack == "wsgiref":
                assert client.at_end(), target
            else:
                assert json.loads(client.expect("/pid").body) == server.pid, target


def targets(path: str, hostile: str, *queries: str) -> dict[str, bytes]:
    return {
        f"/{path}?hostile={hostile}&error={error}&how={how}&size={size}{''.join(queries)}": content(size)
        for error, how, size in product(ERRORS, ("call", "get"), SIZES)
    }


@pytest.mark.parametrize("hostile", FILE)
def test_r2_a_file_that_answers_with_exceptions(server: Gunicorn, stack: str, hostile: str) -> None:
    is_answered(server, stack, targets("file", hostile))


@pytest.mark.parametrize("late", [1, 2])
@pytest.mark.parametrize("hostile", ["tell", "seek", "seekable", "tell,seek,seekable"])
def test_r2_a_file_that_answers_and_then_does_not(server: Gunicorn, stack: str, hostile: str, late: int) -> None:
    """What is asked when the answer is out."""
    is_answered(server, stack, targets("file", hostile, f"&late={late}"))


@pytest.mark.parametrize("hostile", FILE[:6])
def test_r2_a_file_whose_length_nobody_has_promised(server: Gunicorn, stack: str, hostile: str) -> None:
    is_answered(server, stack, targets("file", hostile, "&length=0"), length=False)


@pytest.mark.parametrize("hostile", BODY)
def test_r2_a_response_that_answers_with_exceptions(server: Gunicorn, stack: str, hostile: str) -> None:
    is_answered(server, stack, targets("body", hostile))
