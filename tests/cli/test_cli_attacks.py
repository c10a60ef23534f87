"""What somebody may try on `gzc serve` and `gzc proxy` who wishes them ill: each runs in a process of its own.

Rules: a test is called after the attack it repeats (F1 to F15 of the first one); what must not happen is a hang, a
traceback, somebody else's file, or a client that is not served because of another one. Nothing is judged by time:
where a limit of time is what is tried, it is short, and a hang is what `PATIENCE` ends.
"""

import contextlib
import fcntl
import os
import pty
import re
import resource
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .._command import GZC, Command, Peer, connected, echo, end
from .._ends import MIB, payload
from .._http import Client
from .._program import PATIENCE, clean_environment
from .._server import eventually, refuses
from .test_cli_proxy import Proxy
from .test_cli_serve import Site

CONTENT = payload(3 * MIB + 5)
BIG = 200 * MIB
RESET = struct.pack("ii", 1, 0)

Certificates = tuple[ssl.SSLContext, list[str]]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    (made / "sub").mkdir(parents=True)
    (made / "file.bin").write_bytes(CONTENT)
    (made / "small.txt").write_text("hello")
    with (made / "big").open("wb") as file:
        file.truncate(BIG)
    return made


@contextlib.contextmanager
def descriptors(process: int, more: int = 0) -> Iterator[None]:
    """That process gets so many descriptors more, and not another one: the limit is on their numbers."""
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{process}/fd")}
    free = [number for number in range(len(taken) + more + 1) if number not in taken]
    resource.prlimit(process, resource.RLIMIT_NOFILE, (free[more], before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def many(address: object, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """`count` connections that have sent `first`, and nothing more."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET))
            sock.settimeout(PATIENCE)
            sock.connect(address)  # type: ignore[arg-type]
            sock.sendall(first)
            made.append(sock)
        yield made


def received(sock: socket.socket) -> bytes:
    """All there is until the end, however it comes."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(1 << 16):
            got += data
    return got


def until(sock: socket.socket, text: bytes) -> bool:
    """Whether `text` comes."""
    got = b""
    while text not in got and (data := sock.recv(1 << 16)):
        got += data
    return text in got


def hello(site: Site, **options: object) -> None:
    """Somebody else is served."""
    with site.connect(**options) as client:
        assert client.get("/small.txt").body == b"hello"


def secure(certificates: Certificates) -> list[str]:
    return ["--tls", certificates[1][1], certificates[1][3]]


# -- F1: blocking objects of the standard library ----------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_attack1_two_hundred_silent_handshakes_stop_nobody(here: Path, certificates: Certificates, number: int) -> None:
    with Site(here, *secure(certificates)) as site, many(site.address, 200):
        hello(site, tls=certificates[0])
        assert site.end(number).status == 0


def test_attack1_one_that_does_not_read_and_one_that_is_idle_stop_nobody(
    here: Path, certificates: Certificates
) -> None:
    with (
        Site(here, "--grace", "0.2", *secure(certificates)) as site,
        site.connect(tls=certificates[0]) as idle,
        site.connect(tls=certificates[0], receive_buffer=4096) as deaf,
    ):
        assert idle.get("/small.txt").complete
        deaf.send("/big")
        deaf.head_of_reply()
        hello(site, tls=certificates[0])
        assert "1 response was cut off" in site.stopped().err


def test_attack1_a_connection_that_is_not_kept_is_closed_by_the_server(here: Path, certificates: Certificates) -> None:
    with Site(here, *secure(certificates)) as site, site.connect(tls=certificates[0]) as client:
        assert client.get("/file.bin", connection="close").complete
        assert client.at_end()


# -- F2: time of check to time of use ----------------------------------------------------------------------

#: renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE), for ever, in a process that is in nobody's way.
SWAP = """
import ctypes, os, sys
libc, one, other = ctypes.CDLL(None), os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])
while not libc.renameat2(-100, one, -100, other, 2):
    pass
"""


@contextlib.contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Two names that exchange what they stand for all the time."""
    with subprocess.Popen([sys.executable, "-c", SWAP, one, other]) as process:
        try:
            yield
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.slow
def test_attack2_what_is_swapped_for_a_link_to_the_outside_is_never_served(here: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (here / "link").symlink_to(tmp_path / "secret")
    with Site(here, "--quiet") as site, site.connect() as client, swapping(here / "link", here / "small.txt"):
        replies = [client.get("/small.txt") for _ in range(2000)]
    assert {reply.status for reply in replies} == {200, 404}
    assert {bytes(reply.body) for reply in replies if reply.status == 200} == {b"hello"}
    assert not any(b"secret" in reply.body for reply in replies)


def test_attack2_a_folder_that_is_swapped_for_a_link_to_the_outside(here: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "name").write_text("secret")
    (here / "sub" / "name").write_text("hello")
    (here / "link").symlink_to(tmp_path / "out")
    with Site(here, "--quiet") as site, site.connect() as client, swapping(here / "link", here / "sub"):
        replies = [client.get(path) for _ in range(500) for path in ("/sub/name", "/sub/")]
    assert {reply.status for reply in replies} == {200, 404}
    assert not any(b"secret" in reply.body for reply in replies)


@pytest.mark.slow
def test_attack2_what_is_swapped_for_a_fifo_stops_nobody(here: Path) -> None:
    os.mkfifo(here / "fifo")
    with Site(here, "--quiet") as site, site.connect() as client, swapping(here / "fifo", here / "small.txt"):
        assert {client.get("/small.txt").status for _ in range(1000)} == {200, 404}


def test_attack2_a_lease_on_a_file_stops_nobody(here: Path) -> None:
    """open(2) waits for who holds it, for 45 seconds; here nobody gives it back."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with (here / "small.txt").open("r+b") as held, Site(here) as site, site.connect() as client:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        reply = client.get("/small.txt")
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert client.get("/file.bin").complete
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        assert client.get("/small.txt").body == b"hello"


# -- F3: waiting without a bound ---------------------------------------------------------------------------

#: Long enough for an honest client of a busy machine.
SHORT = ("--request-timeout", "1.5", "--idle-timeout", "1.5")


def test_attack3_half_a_request_is_told_that_it_took_too_long(here: Path) -> None:
    with Site(here, *SHORT) as site, many(site.address, 50, b"GET /small.txt HTTP/1.1\r\nHost: x\r\n") as halves:
        answers = [received(half) for half in halves]
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
        hello(site)


def test_attack3_one_header_after_another_is_no_way_to_stay(here: Path) -> None:
    with Site(here, *SHORT) as site, many(site.address, 1, b"GET / HTTP/1.1\r\n") as (client,):
        client.settimeout(0.05)
        deadline = time.monotonic() + PATIENCE
        answer = b""
        while not answer and time.monotonic() < deadline:
            client.sendall(b"X: y\r\n")
            with contextlib.suppress(TimeoutError):
                answer = client.recv(100)
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_attack3_who_sends_nothing_and_who_is_idle_is_left(here: Path, certificates: Certificates, tls: bool) -> None:
    options = secure(certificates) if tls else []
    with (
        Site(here, *SHORT, *options) as site,
        many(site.address, 20) as silent,
        site.connect(tls=certificates[0] if tls else None) as idle,
    ):
        assert idle.get("/small.txt").complete
        assert idle.at_end()
        assert [received(one) for one in silent] == [b""] * 20


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_attack3_who_takes_nothing_of_an_answer_is_left(here: Path, certificates: Certificates, tls: bool) -> None:
    options = secure(certificates) if tls else []
    context = certificates[0] if tls else None
    with (
        Site(here, *SHORT, *options) as site,
        site.connect(tls=context, receive_buffer=4096) as deaf,
    ):
        deaf.send("/big")
        site.err.wait_for("nothing of an answer was taken for too long")
        hello(site, tls=context)


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_attack3_who_reads_slowly_is_not(here: Path, certificates: Certificates, tls: bool) -> None:
    options = secure(certificates) if tls else []
    with (
        Site(here, *SHORT, *options) as site,
        site.connect(tls=certificates[0] if tls else None, receive_buffer=16384) as slow,
    ):
        slow.send("/big")  # more than the buffers between the two take
        slow.head_of_reply()
        for count in range(1, 26):
            slow.rest_of_reply(stop_at=count * 20_000)
            time.sleep(0.2)
        assert len(slow.rest_of_reply(stop_at=20 * MIB).body) >= 20 * MIB


@pytest.mark.slow
def test_attack3_a_place_that_somebody_idles_in_is_given_to_who_knocks(here: Path) -> None:
    """A hundred idle connections where there are descriptors for a few: the limit fits them, and the idle make room."""
    with Site(here, files=64) as site:
        fitting = int(site.err.wait_for("connections at a time instead of 1000").split()[0])
        assert 5 < fitting < 30
        with many(site.address, 100, b"GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n") as idle:
            hello(site)
            assert all(until(one, b"hello") for one in idle)


@pytest.mark.slow
def test_attack3_half_requests_do_not_hold_the_limit(here: Path) -> None:
    with Site(here, "--limit", "10") as site, many(site.address, 40, b"GET / HTTP/1.1\r\n"):
        hello(site)


def test_attack3_the_soft_limit_of_descriptors_is_raised(here: Path) -> None:
    code = "import os, resource, sys; resource.setrlimit(7, (64, 4096)); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [GZC[0], "-c", code, *GZC, "serve", str(here), "--bind", "127.0.0.1:0"],
        env=clean_environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"Serving ")
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        assert 3000 < soft <= hard == 4096
    finally:
        process.kill()
        process.communicate()


# -- F4 and F5: errors of the file system ------------------------------------------------------------------


def test_attack4_a_file_that_cannot_be_opened_now_is_no_404(here: Path) -> None:
    with Site(here) as site, site.connect() as client:
        assert client.get("/small.txt").complete
        with descriptors(site.process.pid):
            reply = client.get("/small.txt")
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert client.get("/").status == 503
        assert client.get("/small.txt").body == b"hello"
        assert client.get("/missing").status == 404
        assert "A file cannot be served now: Too many open files" in site.stopped().err


def test_attack5_one_bad_entry_spoils_no_listing(here: Path) -> None:
    (here / "loop").symlink_to("loop")
    (here / "dangling").symlink_to("nowhere")
    (here / "index.html").symlink_to("index.html")
    (here / "sub" / "index.html").mkdir()
    with Site(here) as site, site.connect() as client:
        reply = client.get("/")
        links = re.findall(r'<a href="([^"]*)">', reply.body.decode())
        assert (reply.status, links) == (200, ["./sub/", "./big", "./file.bin", "./small.txt"])
        assert client.get("/loop").status == client.get("/dangling").status == 404
        assert b"index.html/" in client.get("/sub/").body


# -- F6: work of unbounded size ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("crowd")
    (made / "small.txt").write_text("hello")
    (made / "many").mkdir()
    for number in range(50_000):
        os.close(os.open(made / "many" / f"{number * 7919 % 50_000:05}", os.O_CREAT | os.O_WRONLY))
    return made


@pytest.mark.slow
def test_attack6_a_long_listing_has_pages(crowd: Path) -> None:
    with Site(crowd) as site, site.connect() as client:
        first = client.get("/many/").body.decode()
        names = re.findall(r'<a href="\./([^"]*)">', first)
        assert names == [f"{number:05}" for number in range(1000)]
        assert '<a href="?page=2">next</a>' in first
        assert "page 1 of 50" in first
        last = client.get("/many/?page=50").body.decode()
        assert re.findall(r'<a href="\./([^"]*)">', last) == [f"{number:05}" for number in range(49_000, 50_000)]
        assert ">next</a>" not in last
        for page in ("51", "0", "-1", "x", "9" * 30, "\N{SUPERSCRIPT TWO}".encode().hex()):
            assert client.get(f"/many/?page={page}").status == 404


def _ticks(process: int) -> tuple[int, int]:
    """Processor time of the main thread, and of all others."""
    ticks = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        words = (task / "stat").read_text().rpartition(")")[2].split()
        ticks[int(task.name)] = int(words[11]) + int(words[12])
    return ticks.pop(process), sum(ticks.values())


@pytest.mark.slow
def test_attack6_others_are_served_while_listings_are_made(crowd: Path) -> None:
    """Ten at once: somebody else's small file is here before the last of them, whose work another thread does."""
    with Site(crowd) as site:
        hello(site)
        before = _ticks(site.process.pid)
        with many(site.address, 10, b"GET /many/ HTTP/1.1\r\nHost: x\r\n\r\n") as asking:
            hello(site)
            waiting = 0
            for one in asking:
                one.setblocking(False)
                try:
                    one.recv(1, socket.MSG_PEEK)
                except BlockingIOError:
                    waiting += 1
            assert waiting > 0
            for one in asking:
                one.settimeout(PATIENCE)
                assert one.recv(15).startswith(b"HTTP/1.1 200 OK")
        main, others = (now - then for now, then in zip(_ticks(site.process.pid), before, strict=True))
        assert others > 2 * main


@pytest.mark.slow
def test_attack6_listings_that_nobody_waits_for_are_not_made(crowd: Path) -> None:
    """More than may wait: the rest is told to come again. Then those that wait have gone, and make room."""
    with Site(crowd) as site:
        with many(site.address, 60, b"GET /many/ HTTP/1.1\r\nHost: x\r\n\r\n") as asking:
            heads = [one.recv(12) for one in asking[-5:]]
            assert heads == [b"HTTP/1.1 503"] * 5
            for one in asking:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        def listed() -> bool:
            with site.connect() as client:
                return client.get("/many/").status == 200

        assert eventually(listed)


# -- F7: a limit in one unit, a resource in another --------------------------------------------------------


def test_attack7_more_clients_than_a_proxy_has_descriptors_for(tmp_path: Path) -> None:
    """They wait, and each is served in its turn."""
    with Peer(echo) as peer, Proxy(peer.address, files=256) as proxy:
        fitting = int(proxy.err.wait_for("connections at a time instead of 1000").split()[0])
        assert 20 < fitting < 43
        host, _, port = proxy.at.rpartition(":")
        with many((host, int(port)), 200, b"x") as clients:
            for client in clients:
                assert client.recv(1) == b"x"
                client.close()
        assert "200 finished" in proxy.stopped().err


@contextlib.contextmanager
def connected_while_refused(server: Command, at: str) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        with descriptors(server.process.pid):
            client = stack.enter_context(connected(at))
            server.err.wait_for("Nobody is accepted for 0.5 s: Too many open files")
        yield client


@pytest.mark.parametrize("what", ["serve", "proxy"])
def test_attack7_no_descriptor_to_accept_with_is_a_line_and_passes(here: Path, what: str) -> None:
    with Peer(echo) as peer, Site(here) if what == "serve" else Proxy(peer.address) as server:
        at = server.at.rpartition("/")[0].rpartition("/")[2] if isinstance(server, Site) else server.at
        with connected_while_refused(server, at) as client:
            client.sendall(b"GET /small.txt HTTP/1.1\r\n\r\n")
            assert client.recv(3) in (b"HTT", b"GET")
        assert server.end(signal.SIGTERM).status == 0


# -- F8: foreign bytes on a terminal -----------------------------------------------------------------------


def raw(site: Site, request: bytes) -> bytes:
    with many(site.address, 1, request) as (client,):
        return received(client)


def test_attack8_nothing_of_a_request_steers_a_terminal(here: Path) -> None:
    requests = [
        b"GET /\x1b[2J HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"\x1b]0;title\x07\r\n\r\n",
        b"GET /\0\x9b2J\r\n\r\n",
    ]
    requests += [
        b'GET /"%200 HTTP/1.1\r\nConnection: close\r\n\r\n',
        b"GET /\x85\xad HTTP/1.1\r\nConnection: close\r\n\r\n",
    ]
    with Site(here) as site:
        for request in requests:
            assert raw(site, request).startswith(b"HTTP/1.1 4")
        ended = site.stopped()
    assert r'"GET /\x1b[2J HTTP/1.1" 404' in ended.err
    assert r'"GET /\"%200 HTTP/1.1" 404' in ended.err
    assert all(letter.isprintable() or letter == "\n" for letter in ended.err)


def test_attack8_nor_does_the_name_of_a_unix_client(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Site(here, "--bind", f"unix:{tmp_path}/s") as site, socket.socket(socket.AF_UNIX) as client:
        client.bind(b'c\n127.0.0.1 - - "GET forged" 200\x1b')
        client.connect(f"{tmp_path}/s")
        client.sendall(b"GET /small.txt HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert received(client).endswith(b"hello")
        lines = site.stopped().err.splitlines()
    assert len([line for line in lines if "GET /small.txt" in line]) == 1
    assert not [line for line in lines if line.startswith("127.0.0.1")]
    assert r"\n127.0.0.1" in lines[0]


# -- F9: removal by name of what may be another's ----------------------------------------------------------


@pytest.mark.parametrize("what", ["serve", "proxy"])
def test_attack9_the_socket_file_of_the_next_server_stays(here: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "s"
    with Peer(echo) as peer, contextlib.ExitStack() as stack:

        def server() -> Command:
            bind = f"unix:{path}"
            made = Site(here, "--bind", bind) if what == "serve" else Proxy(peer.address, listen=bind)
            return stack.enter_context(made)

        first = server()
        path.unlink()
        server()
        assert first.end(signal.SIGTERM).status == 0
        with connected(f"unix:{path}") as client:
            client.sendall(b"GET /small.txt HTTP/1.1\r\n\r\n")
            assert client.recv(3) in (b"HTT", b"GET")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["serve", "proxy"])
@pytest.mark.parametrize(("options", "mode"), [(("--mode", "660"), 0o660), (("--mode", "0600"), 0o600), ((), 0o755)])
def test_the_mode_of_a_unix_socket(here: Path, tmp_path: Path, what: str, options: tuple[str, ...], mode: int) -> None:
    bind = f"unix:{tmp_path}/s"
    before = os.umask(0o022)
    try:
        with Site(here, "--bind", bind, *options) if what == "serve" else Proxy("1", *options, listen=bind):
            assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == mode
    finally:
        os.umask(before)
    for wrong in ("8", "1777", "rw", "-1"):
        ended = end("serve", str(here), "--mode", wrong)
        assert ended.status == 2


# -- F10: resets -------------------------------------------------------------------------------------------


def test_attack10_resets_are_a_line_each(here: Path, certificates: Certificates) -> None:
    """Before the handshake, in it, in a head and in a download; `Command.end` finds a traceback."""
    with Site(here, *secure(certificates)) as site:
        for first in (b"", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n"):
            with many(site.address, 3, first) as clients:
                for client in clients:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        for request in (b"GET /sm", b"GET / HTTP/1.1\r\nHo", b"GET /big HTTP/1.1\r\n\r\n"):
            with site.connect(tls=certificates[0]) as client:
                client.socket.sendall(request)
                if b"big" in request:
                    client.socket.recv(1000)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        hello(site, tls=certificates[0])
        ended = site.stopped()
    said = ended.err.partition("% bytes")[0].splitlines()
    assert 2 <= len(said) <= 20
    expected = ("127.0.0.1", "TLS with 127.0.0.1: ", "not zero-copy: gevent.ssl.SSLSocket")
    assert [line for line in said if not line.startswith(expected)] == []


def test_attack10_a_head_that_breaks_off_is_no_traceback(here: Path) -> None:
    with Site(here) as site:
        for _ in range(5):
            with many(site.address, 1, b"GET / HTTP/1.1\r\nHost: x\r\n") as (client,):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        hello(site)
        site.stopped()


# -- F11: dots ---------------------------------------------------------------------------------------------


def test_attack11_only_here_and_up_are_special(here: Path) -> None:
    for name in ("....", "...", ".env", "..x"):
        (here / name).write_text("hidden")
    (here / "link").symlink_to(".env")
    (here / ".folder").mkdir()
    (here / ".folder" / "name").write_text("hidden")
    (here / "way").symlink_to(".folder")
    hidden = ["/....", "/...", "/.env", "/..x", "/link", "/way/name", "/way/", "/.folder/name", "/sub/../.env"]
    with Site(here) as site, site.connect() as client:
        assert [client.get(path).status for path in hidden] == [404] * len(hidden)
        assert client.get("/./small.txt").body == client.get("/sub/../small.txt").body == b"hello"
        listing = client.get("/").body.decode()
        assert re.findall(r'<a href="([^"]*)">', listing) == ["./sub/", "./big", "./file.bin", "./small.txt"]
    with Site(here, "--all") as site, site.connect() as client:
        assert [client.get(path).status for path in hidden] == [200] * len(hidden)


def test_attack11_a_folder_below_a_hidden_one_can_be_served(tmp_path: Path) -> None:
    below = tmp_path / ".hidden" / "site"
    below.mkdir(parents=True)
    (below / "small.txt").write_text("hello")
    with Site(below) as site:
        hello(site)


# -- F12 to F14: streams and the end -----------------------------------------------------------------------


def test_attack12_a_name_that_no_stream_can_say(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/not utf-8 \xff\x1b"
    os.mkdir(folder)
    (Path(os.fsdecode(folder)) / "small.txt").write_text("hello")
    with Site(Path(os.fsdecode(folder)), env={"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}) as site:
        hello(site)
        assert "\x1b" not in "".join(site.out.lines)
        site.stopped()


def test_attack13_a_stop_waits_for_answers_alone(here: Path) -> None:
    half = b"GET /small.txt HTTP/1.1\r\nHost: x\r\n"
    with Site(here, "--grace", "100") as site, many(site.address, 50, half), many(site.address, 50):
        hello(site)
        assert "cut off" not in site.stopped().err


def started(
    here: Path, stderr: int, *gzc: str, options: Sequence[str] = ()
) -> tuple["subprocess.Popen[bytes]", tuple[str, int]]:
    """`gzc serve` that logs to `stderr`."""
    process = subprocess.Popen(
        [*(gzc or GZC), "serve", str(here), "--bind", "127.0.0.1:0", *options],
        env=clean_environment({}),
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
    )
    assert process.stdout is not None
    host, port = re.findall(rb"https?://([^:]*):(\d+)/", process.stdout.readline())[0]
    return process, (host.decode(), int(port))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_attack14_a_log_that_nobody_reads_stops_nobody(here: Path, kind: str) -> None:
    ours, theirs = os.pipe() if kind == "pipe" else pty.openpty()
    if kind == "pipe":
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    else:
        termios.tcflow(theirs, termios.TCOOFF)  # as Ctrl-S does
    process, address = started(here, theirs)
    try:
        with Client(address) as client:
            for _ in range(3000):
                assert client.get("/small.txt").status == 200
        if kind == "terminal":
            termios.tcflow(theirs, termios.TCOON)
        os.close(theirs)
        said: list[bytes] = []
        reading = threading.Thread(target=lambda: said.extend(_lines(ours)))
        reading.start()
        assert eventually(lambda: any(b"lines of this log were lost" in line for line in said))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        reading.join(PATIENCE)
        lost = sum(int(line.split()[0]) for line in said if b"lines of this log were lost" in line)
        told = sum(b"GET /small.txt" in line for line in said)
        assert lost + told == 3000
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def _lines(number: int) -> Iterator[bytes]:
    """The lines that come; a terminal ends with an error."""
    rest = b""
    with contextlib.suppress(OSError):
        while data := os.read(number, 1 << 16):
            *whole, rest = (rest + data).split(b"\n")
            yield from whole


def test_attack14_a_server_ends_although_nobody_reads_its_log(here: Path) -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    process, address = started(here, theirs)
    try:
        with Client(address) as client:
            for _ in range(200):
                assert client.get("/small.txt").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)


# -- F15: peers that vanish --------------------------------------------------------------------------------


def test_attack15_both_sides_of_a_proxy_are_asked_whether_they_are_there() -> None:
    """The kernel's timer of an idle connection is the one of keep-alive: number 2 in /proc/net/tcp."""
    with Peer(echo) as peer, Proxy(peer.address) as proxy, connected(proxy.at) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        ports = {int(proxy.at.rpartition(":")[2]), int(peer.address.rpartition(":")[2])}

        def timers() -> set[tuple[int, str]]:
            found = set()
            for line in Path(f"/proc/{proxy.process.pid}/net/tcp").read_text().splitlines()[1:]:
                words = line.split()
                local, remote = (int(word.partition(":")[2], 16) for word in words[1:3])
                if words[3] == "01":  # established: seen from the proxy, its own port or its target's
                    found |= {(port, words[5][:2]) for port in ports if port in (local, remote)}
            return found

        assert eventually(lambda: {(port, "02") for port in ports} <= timers())
    assert "(3600.0)" in end("proxy", "--help").out


# -- what else was tried -----------------------------------------------------------------------------------


def test_pipelined_requests_without_end_are_not_all_that_is_answered(here: Path) -> None:
    with Site(here, "--quiet") as site, many(site.address, 1) as (greedy,):
        over = threading.Event()

        def ask() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    greedy.sendall(b"GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 100)

        def read() -> None:
            with contextlib.suppress(OSError):
                while greedy.recv(1 << 16):
                    pass

        threads = [threading.Thread(target=what, daemon=True) for what in (ask, read)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            hello(site)
        over.set()
        greedy.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)


@pytest.mark.parametrize("framing", [f"Content-Length: {20 * MIB}", "Transfer-Encoding: chunked"])
def test_a_body_that_nobody_wants_does_not_cost_its_sender_the_answer(here: Path, framing: str) -> None:
    with Site(here) as site, many(site.address, 1) as (client,):
        client.sendall(f"POST /small.txt HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
        client.sendall((b"100000\r\n" if "chunked" in framing else b"") + bytes(4 * MIB))
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"</html>\n") or b"</p>" in answer


def test_a_body_is_not_taken_for_the_next_request(here: Path) -> None:
    smuggled = b"GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    for head in (
        b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(smuggled),
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(smuggled),
        b"GET / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ):
        with Site(here) as site:
            assert raw(site, head + smuggled).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n" + b"X: %s\r\n" % (b"y" * 70_000),
        b"GET / HTTP/1.1\r\n" + b"X: %s\r\n" % (b"y" * 1000) * 70,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /" + b"y" * 100_000,
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/x.1\r\n\r\n",
        b"GET small.txt HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n",
    ],
    ids=["header", "headers", "many-headers", "line", "two-lengths", "no-length", "version", "target", "words", "tls"],
)
def test_what_is_no_request_is_answered_as_such(here: Path, request_: bytes) -> None:
    with Site(here) as site:
        assert re.match(rb"HTTP/1.1 4(00|14) ", raw(site, request_))
        hello(site)
        lines = site.stopped().err.partition("% bytes")[0].splitlines()
    assert len(lines) <= 3
    assert max(map(len, lines)) < 10_000


def test_the_absolute_form_and_an_empty_line_before_a_request(here: Path) -> None:
    with Site(here) as site:
        for line in (b"GET http://x/small.txt HTTP/1.1", b"\r\nGET HTTPS://x:1/small.txt HTTP/1.1"):
            assert raw(site, line + b"\r\nConnection: close\r\n\r\n").endswith(b"hello")
        assert raw(site, b"GET http://x HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_name_that_is_resolved_for_ever_is_given_up() -> None:
    """The time for reaching a target is for all of it."""
    import gevent

    from gzc.cli import proxy

    from .._inside import _address

    class Slow(_address.Address):
        def connect(self, timeout: float | None) -> object:
            gevent.sleep(1000)
            return None

    class Options:
        connect_timeout = 0.05

    forwarder = object.__new__(proxy.Forwarder)
    forwarder._target, forwarder._options = Slow("x", 1), Options()  # type: ignore[assignment]
    with pytest.raises(TimeoutError, match="timed out after"):
        forwarder._connect()


# -- what a second attack found ----------------------------------------------------------------------------


def _points_to(process: int, path: Path) -> int:
    """How many descriptors of that process are of `path`."""
    found = 0
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(entry) == str(path)
    return found


@pytest.mark.slow
def test_listings_whose_clients_reset_leave_no_descriptor(crowd: Path) -> None:
    with Site(crowd) as site:
        for _ in range(3):
            with many(site.address, 8, b"GET /many/ HTTP/1.1\r\nHost: x\r\n\r\n") as asking:
                for one in asking:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            time.sleep(0.6)  # a look at the connections
        assert eventually(lambda: _points_to(site.process.pid, crowd / "many") == 0)
        hello(site)


@pytest.mark.parametrize("year", ["99999999999", "0", "2020 00:00:00 +99999999999999"])
def test_dates_that_no_calendar_has_are_ignored(here: Path, year: str) -> None:
    date = f"Mon, 01 Jan {year} 00:00:00 GMT"
    with Site(here) as site, site.connect() as client:
        assert client.get("/small.txt", if_modified_since=date).body == b"hello"
        reply = client.get("/small.txt", if_range=date, range="bytes=1-2")
        assert (reply.status, bytes(reply.body)) in ((200, b"hello"), (206, b"el"))
        site.stopped()


@pytest.mark.parametrize("moment", [-1, -62_200_000_000, 569_000_000_000, 1 << 60])
def test_a_file_may_be_of_any_year(moment: int) -> None:
    """On tmpfs, which keeps such times."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        (Path(folder) / "small.txt").write_text("hello")
        os.utime(Path(folder) / "small.txt", (moment, moment))
        with Site(Path(folder)) as site, site.connect() as client:
            reply = client.get("/small.txt")
            assert (reply.status, bytes(reply.body)) == (200, b"hello")
            assert ("last-modified" in reply.headers) == (moment == -1)
            assert client.get("/small.txt", if_none_match=reply.headers["etag"]).status == 304
            site.stopped()


def test_a_listing_is_whole_or_none(here: Path) -> None:
    """However few descriptors there are: no link is missing, and no traceback tells of it."""
    for number in range(3):
        (here / "sub" / f"link{number}").symlink_to("../small.txt")
    with Site(here) as site, site.connect() as client:
        whole = bytes(client.get("/sub/").body)
        seen = set()
        for more in range(6):
            with descriptors(site.process.pid, more):
                reply = client.get("/sub/")
                seen.add(reply.status)
                assert reply.status == 503 or bytes(reply.body) == whole
        assert seen == {200, 503}
        site.stopped()


@pytest.mark.parametrize("host", ["a..b", ".", ".x", "x" * 64, "x" * 64 + ".org"])
def test_a_host_that_has_no_name(host: str) -> None:
    for words in (("proxy", "0", f"{host}:80"), ("proxy", f"{host}:80", "1"), ("serve", ".", "--bind", f"{host}:80")):
        ended = end(*words)
        assert ended.status == 2
        assert "is no name of a host" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["stop", "close"])
def test_an_answer_is_whole_although_more_was_asked_for_behind_it(here: Path, ends: str) -> None:
    """What is unread when a connection is closed makes a reset of it."""
    close = "Connection: close\r\n" if ends == "close" else ""
    for _ in range(5):
        with Site(here) as site, site.connect(receive_buffer=4096) as client:
            client.announce("/file.bin")
            client.socket.sendall(f"GET /file.bin HTTP/1.1\r\nHost: x\r\n{close}\r\n".encode())
            client.head_of_reply()
            client.socket.sendall(b"GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n")
            if ends == "stop":
                site.signal(signal.SIGTERM)
                assert eventually(lambda at=site: refuses(at.connect))  # type: ignore[misc]
            reply = client.rest_of_reply()
            assert (reply.complete, bytes(reply.body)) == (True, CONTENT)


#: `gzc` in a process that collects no garbage, as one that has nothing to do.
UNCOLLECTED = "import gc, sys; gc.disable(); from gzc.cli import main; sys.exit(main(sys.argv[1:]))"


def test_who_is_left_in_a_handshake_is_closed_and_not_only_forgotten(here: Path, certificates: Certificates) -> None:
    """A socket in a cycle of references stays open until the next collection: in a quiet server that may never come."""
    process, address = started(
        here, subprocess.DEVNULL, GZC[0], "-c", UNCOLLECTED, options=[*SHORT, *secure(certificates)]
    )
    try:
        with many(address, 5) as silent, many(address, 5, b"\x16\x03\x01\x02\x00\x01") as begun:
            assert [received(one) for one in (*silent, *begun)] == [b""] * 10
    finally:
        process.kill()
        process.communicate()
