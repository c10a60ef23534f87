"""`http.server` and `socketserver` programs, not a line changed, served under GZC=1.

Rules: the servers are processes of their own and know nothing of gzc; how the bytes went is strace's to tell.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from .._ends import MIB, payload
from .._http import Client
from .._program import clean_environment
from .._server import Log
from .._strace import Strace

pytestmark = pytest.mark.slow

SERVERS = {
    "threading": "class Server(socketserver.ThreadingMixIn, http.server.HTTPServer): daemon_threads = True",
    "forking": "class Server(socketserver.ForkingMixIn, http.server.HTTPServer): pass",
    "one at a time": "class Server(http.server.HTTPServer): pass",
}

PROGRAM = """
from gevent import monkey; monkey.patch_all()
import http.server, os, shutil, socketserver, sys
{server}

class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_PUT(self):
        with open("uploaded", "wb") as file:
            shutil.copyfileobj(self.rfile, file)  # to the end of the connection
        self.send_response(204)
        self.end_headers()
        self.close_connection = True
    def log_message(self, *args):
        pass

os.chdir(sys.argv[1])
if {warm}:
    with open("big", "rb") as a, open("warm", "wb") as b:
        shutil.copyfileobj(a, b)  # the parent has pools of its own when it forks
with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, file=sys.stderr, flush=True)
    server.serve_forever()
"""


@contextlib.contextmanager
def serving(kind: str, folder: Path, *, warm: bool = False) -> Iterator[tuple[int, int, Log]]:
    """Its port, its pid and what it says."""
    code = dedent(PROGRAM).format(server=SERVERS[kind], warm=warm)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], env=clean_environment({"GZC": "1"}), stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    log = Log(process.stderr)
    try:
        yield int(log.wait_for("")), process.pid, log
    finally:
        process.terminate()
        process.wait(20)
        log.join()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "big").write_bytes(payload(20 * MIB))
    (tmp_path / "small").write_bytes(b"few")
    return tmp_path


@pytest.mark.parametrize("kind", SERVERS)
def test_a_download_is_sent_by_the_kernel(site: Path, kind: str) -> None:
    with serving(kind, site) as (port, pid, log):
        with Strace(pid) as trace:
            client = Client(("127.0.0.1", port))
            reply = client.get("/big")
            assert reply.complete
            assert bytes(reply.body) == payload(20 * MIB)
            reply = client.get("/small")  # on the same connection
            assert (reply.status, bytes(reply.body)) == (200, b"few")
            assert client.get("/big", method="HEAD").complete
            client.socket.close()
        assert trace.of_files == 20 * MIB
        assert trace.user_space < MIB
        assert not [line for line in log.lines if "Traceback" in line]


@pytest.mark.parametrize("kind", SERVERS)
def test_an_upload_is_received_by_the_kernel(site: Path, kind: str) -> None:
    content = payload(5 * MIB, 9)
    with serving(kind, site) as (port, pid, log):
        with Strace(pid) as trace:
            client = Client(("127.0.0.1", port))
            client.socket.sendall(b"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n" + content)
            client.socket.shutdown(1)
            assert client.socket.recv(100).startswith(b"HTTP/1.1 204")
            client.socket.close()
        assert (site / "uploaded").read_bytes() == content
        assert trace.user_space < MIB
        assert trace.bytes("splice") > 9 * MIB, "once into the pipe and once out of it"
        assert not [line for line in log.lines if "Traceback" in line]


def test_children_of_a_forking_server_share_nothing_with_it(site: Path) -> None:
    """D10, M19: the parent has a pool of threads, perhaps pipes; several children at once, each its own."""
    with serving("forking", site, warm=True) as (port, _, log):
        clients = [Client(("127.0.0.1", port)) for _ in range(4)]
        for client in clients:
            client.send("/big")
        for client in clients:
            client.head_of_reply()
        for client in clients:
            assert bytes(client.rest_of_reply().body) == payload(20 * MIB)
            client.socket.close()
        again = Client(("127.0.0.1", port))
        assert again.get("/small").complete
        again.socket.close()
        assert not [line for line in log.lines if "Traceback" in line]


def test_a_client_that_leaves_in_the_middle_harms_nobody(site: Path) -> None:
    with serving("threading", site) as (port, _, _):
        leaver = Client(("127.0.0.1", port), receive_buffer=4096)
        leaver.send("/big")
        leaver.head_of_reply()
        leaver.socket.close()
        client = Client(("127.0.0.1", port))
        assert bytes(client.get("/big").body) == payload(20 * MIB)
        client.socket.close()
