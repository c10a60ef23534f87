"""How far it is to the first system call: the Python calls of gzc's own that a copy makes before it moves a byte.

That is what small copies cost: there is no hot spot in them, only calls (docs/how-it-works.md). The ceilings only fall:
code that needs fewer calls lowers its ceiling, and none is raised.
"""

import json

from .._ends import python
from .._server import Folder, Gunicorn

#: Calls, and modules that they are in. Measured on Python 3.11, warm.
CEILINGS = {
    "file -> socket": (34, 17),
    "socket -> socket": (33, 14),
    "socket -> file": (36, 19),
    "1 KiB file -> socket": (36, 16),
    "Flask under gunicorn": (60, 23),
}
#: By so much a ceiling may be above what is measured: Python 3.12 and later inline comprehensions.
SLACK = 4

COPIES = """
import json, os, sys, tempfile
import gevent
from gevent import socket
import gzc

gzc.config.hub_budget = 1  # a turn of the hub that is over makes a call or two more

#: The system calls that move bytes, as the profiler names them.
MOVING = {"sendfile", "splice", "copy_file_range", "send", "write", "preadv", "readv"}
found = {}

def counted(name, copy):
    calls, over = [], False

    def profile(frame, event, arg):
        nonlocal over
        if event == "c_call" and arg.__name__ in MOVING:
            over = True
        elif event == "call" and not over and frame.f_globals.get("__name__", "").partition(".")[0] == "gzc":
            calls.append(frame.f_globals["__name__"])

    sys.setprofile(profile)
    try:
        copy()
    finally:
        sys.setprofile(None)
    assert over, f"{name}: no call of {MOVING}"
    counts = len(calls), len(set(calls))
    found[name] = min(found.get(name, counts), counts)

def pair(data=b""):
    a, b = socket.socketpair()
    if data:
        b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    else:
        gevent.spawn(lambda: [None for _ in iter(lambda: b.recv(1 << 20), b"")])
    return a

with tempfile.TemporaryDirectory() as folder:
    big, small, out = (os.path.join(folder, name) for name in ("big", "small", "out"))
    for path, size in ((big, 200_000), (small, 1024)):
        with open(path, "wb") as file:
            file.write(os.urandom(size))
    sink = pair()
    for each in (lambda _, copy: copy(), counted, counted, counted):  # warm, then counted
        with open(big, "rb") as file:
            each("file -> socket", lambda: gzc.copy(file, sink))
        source, other = pair(b"y" * 100_000), pair()
        each("socket -> socket", lambda: gzc.copy(source, other))
        source = pair(b"z" * 100_000)
        with open(out, "wb") as file:
            each("socket -> file", lambda: gzc.copy(source, file))
        with open(small, "rb") as file:
            each("1 KiB file -> socket", lambda: gzc.copy(file, sink))
print(json.dumps(found))
"""


def test_few_calls_before_the_kernel_is_called(folder: Folder) -> None:
    found = {name: tuple(counts) for name, counts in json.loads(python(COPIES)).items()}
    folder.fresh("big", 200_000)
    with (
        Gunicorn("calls:app", folder.path, stock=False, env={"GZC_HUB_BUDGET": "1"}) as server,
        server.connect() as client,
    ):
        counts = []
        for _ in range(6):  # the first one imports this and that
            assert len(client.get("/big").body) == 200_000
            counts.append(tuple(json.loads(client.get("/calls").body)))
        found["Flask under gunicorn"] = min(counts)
    assert found.keys() == CEILINGS.keys()
    above = {
        name: found[name] for name, most in CEILINGS.items() if found[name][0] > most[0] or found[name][1] > most[1]
    }
    assert above == {}, f"more calls or modules than {CEILINGS}"
    below = {name: found[name] for name, most in CEILINGS.items() if found[name][0] < most[0] - SLACK}
    assert below == {}, "lower the ceiling: it only falls"
