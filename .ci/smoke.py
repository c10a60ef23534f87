"""Does an installed gzc work? Run by check-dist with the Python of an empty environment."""

import os
import sys
import tempfile
from importlib.metadata import entry_points, version

import gevent
import gevent.socket

import gzc
import gzc.monkey


def main() -> None:
    """Look at what was installed, then send one real file through a socket."""
    for module in (gzc, gzc.monkey):
        home = os.path.realpath(module.__file__)
        assert home.startswith(os.path.realpath(sys.prefix)), f"{module.__name__} comes from {home}"
    assert gzc.__version__ == version("gzc")
    (plugin,) = entry_points(group="gevent.plugins.monkey.did_patch_builtins", name="gzc")
    assert callable(plugin.load())

    data = os.urandom(1 << 20)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        here, there = gevent.socket.socketpair()
        reader = gevent.spawn(lambda: b"".join(iter(lambda: there.recv(1 << 16), b"")))
        mechanism = gzc.explain(file, here).mechanism
        moved = gzc.copy(file, here)
        here.close()
        assert moved == len(data)
        assert reader.get(timeout=30) == data
    if sys.platform == "linux":
        assert mechanism == "sendfile", mechanism
    print(f"gzc {gzc.__version__} on Python {sys.version.split()[0]}: 1 MiB by {mechanism}, right bytes")


if __name__ == "__main__":
    main()
