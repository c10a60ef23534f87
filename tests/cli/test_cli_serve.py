"""`gzc serve` as a process: files by sendfile, HTTP as it should be, nothing beyond the folder, and a graceful end.

Rules: the client is h11's, which believes nothing; what moved how is read from the table the server prints at its
end, and once from strace.
"""

import contextlib
import errno
import os
import re
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from .._command import Command, Ended, end
from .._ends import MIB, payload
from .._http import Client
from .._program import PATIENCE
from .._server import eventually, refuses
from .._strace import Strace

CONTENT = payload(2 * MIB + 11)
BIG = 60 * MIB


class Site(Command):
    """`gzc serve`, ready; `connect()` is a client of it."""

    def __init__(
        self, folder: Path, *options: str, env: dict[str, str] | None = None, files: int | None = None
    ) -> None:
        bind = [] if "--bind" in options else ["--bind", "127.0.0.1:0"]
        super().__init__("serve", str(folder), *bind, *options, env=env, files=files)
        self.at = self.out.wait_for("Serving ").rpartition(" at ")[2]
        host, _, port = self.at.rpartition("/")[0].rpartition("//")[2].rpartition(":")
        self.address: tuple[str, int] | str = (host, int(port)) if port.isdigit() else self.at.removeprefix("unix:")

    @contextlib.contextmanager
    def connect(self, **options: object) -> Iterator[Client]:
        client = Client(self.address, **options)  # type: ignore[arg-type]
        with client.socket:
            yield client

    def stopped(self) -> Ended:
        """Ended by SIGTERM, well."""
        ended = self.end(signal.SIGTERM)
        assert ended.status == 0, ended
        return ended


@pytest.fixture
def here(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    (made / "sub").mkdir(parents=True)
    (made / "file.bin").write_bytes(CONTENT)
    (made / "sub" / "small.txt").write_text("hello")
    return made


@pytest.fixture
def site(here: Path) -> Iterator[Site]:
    with Site(here) as running:
        yield running


def moved(ended: Ended, mechanism: str) -> int:
    found = re.search(rf"^ *[\d.]+ +(\d+) +\d+ +\d+  {mechanism}$", ended.err, re.MULTILINE)
    return int(found[1]) if found else 0


# -- files -------------------------------------------------------------------------------------------------


def test_a_file_goes_by_sendfile_and_the_end_says_so(site: Site) -> None:
    with site.connect() as client:
        reply = client.get("/file.bin")
        assert (reply.status, reply.complete, reply.length) == (200, True, len(CONTENT))
        assert bytes(reply.body) == CONTENT
        assert reply.headers["content-type"] == "application/octet-stream"
    ended = site.stopped()
    assert moved(ended, "sendfile") == len(CONTENT)
    assert "userspace" not in ended.err
    assert '"GET /file.bin HTTP/1.1" 200' in ended.err


@pytest.mark.slow
def test_strace_agrees(site: Site) -> None:
    with site.connect() as client:
        client.get("/file.bin")  # what is imported late is imported now
        with Strace(site.process.pid) as trace:
            assert bytes(client.get("/file.bin").body) == CONTENT
            assert bytes(client.get("/file.bin", range="bytes=500000-1999999").body) == CONTENT[500_000:2_000_000]
    assert trace.of_files == len(CONTENT) + 1_500_000
    assert trace.user_space < 20_000


def test_ranges_and_conditions(site: Site) -> None:
    with site.connect() as client:
        whole = client.get("/file.bin")
        part = client.get("/file.bin", range="bytes=100000-1099999")
        assert (part.status, part.headers["content-range"]) == (206, f"bytes 100000-1099999/{len(CONTENT)}")
        assert bytes(part.body) == CONTENT[100_000:1_100_000]
        assert bytes(client.get("/file.bin", range="bytes=-5").body) == CONTENT[-5:]
        assert client.get("/file.bin", range=f"bytes={len(CONTENT)}-").status == 416
        assert client.get("/file.bin", if_none_match=whole.headers["etag"]).status == 304
        assert client.get("/file.bin", if_modified_since=whole.headers["last-modified"]).status == 304
        stale = client.get("/file.bin", range="bytes=0-9", if_range='"another"')
        assert (stale.status, stale.length) == (200, len(CONTENT))
        client.send("/file.bin", "HEAD")
        head = client.head_of_reply()
        assert (head.status, head.length) == (200, len(CONTENT))
        assert client.rest_of_reply().body == b""
        assert client.get("/sub/small.txt").body == b"hello"
    assert moved(site.stopped(), "sendfile") == 2 * len(CONTENT) + 1_000_000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(site: Site, method: str) -> None:
    with site.connect() as client:
        client.send("/file.bin", method)
        client.head_of_reply()
        reply = client.rest_of_reply()
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


# -- folders -----------------------------------------------------------------------------------------------

NAMES = [
    b"a b",
    b"<b>&amp;.txt",
    b"a:b",
    b"100%",
    b"#?",
    b'"quoted"',
    "snö".encode(),
    b"not utf-8 \xff",
    b"new\r\nline",
    b"..dots..",
]


def test_a_listing_leads_to_what_it_names(here: Path, site: Site) -> None:
    """Whatever is in a name, its link leads there, and nothing of it is HTML."""
    for name in NAMES:
        (here / "sub" / os.fsdecode(name)).write_bytes(b"content of " + name)
    with site.connect() as client:
        reply = client.get("/sub/")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        page = reply.body.decode()
        links = re.findall(r'<a href="([^"]*)">', page)
        assert "<b>" not in page
        got = {bytes(client.get(urljoin("/sub/", link)).body) for link in links if link != "../"}
        assert got == {b"content of " + name for name in NAMES if not name.startswith(b".")} | {b"hello"}
        top = client.get("/").body.decode()
        assert re.findall(r'<a href="([^"]*)">', top) == ["./sub/", "./file.bin"]
        assert "2.0 MiB" in top


def test_a_folder_without_its_slash_and_one_with_an_index(here: Path, site: Site) -> None:
    with site.connect() as client:
        moved = client.get("/sub?x=1")
        assert (moved.status, moved.headers["location"]) == (308, "/sub/?x=1")
        (here / "sub" / "index.html").write_text("<p>mine")
        assert client.get("/sub/").body == b"<p>mine"
        assert client.get("//sub//").body == b"<p>mine"


@pytest.mark.parametrize("all_of_it", [False, True])
def test_nothing_beyond_the_folder(here: Path, tmp_path: Path, all_of_it: bool) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "site-2").mkdir()
    (tmp_path / "site-2" / "secret").write_text("secret")
    (here / "out").symlink_to(tmp_path / "secret")
    (here / "up").symlink_to(tmp_path)
    (here / "within").symlink_to(here / "sub" / "small.txt")
    (here / ".hidden").write_text("hidden")
    (here / ".git").mkdir()
    (here / ".git" / "config").write_text("hidden")
    os.mkfifo(here / "fifo")
    paths = ["/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/sub/..%2f..%2fsecret", "/out"]
    paths += ["/up/secret", "/up/", "/..%2fsite-2/secret", "/fifo", "/missing", "/file.bin/", "/%00", "/sub/%00/x"]
    paths += [str(tmp_path / "secret"), "/" + str(tmp_path / "secret"), "/..\\secret", "/" + "x" * 5000]
    with Site(here, *(["--all"] if all_of_it else [])) as site, site.connect() as client:
        for path in paths:
            reply = client.get(path)
            assert reply.status == 404, path
            assert b"secret" not in reply.body.replace(b"/secret", b"")
        assert client.get("/within").body == b"hello"
        for path in ("/.hidden", "/.git/config", "/.git/"):
            assert client.get(path).status == (200 if all_of_it else 404)
        listing = client.get("/").body.decode()
        assert (".hidden" in listing) is all_of_it
        assert [name for name in ("./out", "./up/", "./fifo") if name in listing] == []


@pytest.mark.parametrize(
    ("number", "status"),
    [
        *((number, "404 NOT FOUND") for number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)),
        *((number, "403 FORBIDDEN") for number in (errno.EACCES, errno.EPERM)),
        *((number, "503 SERVICE UNAVAILABLE") for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)),
        *((number, "503 SERVICE UNAVAILABLE") for number in (errno.EWOULDBLOCK, errno.ESTALE)),
    ],
)
def test_what_the_file_system_refuses(here: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: str) -> None:
    """Asked of the application itself: root, who may run this test, may read everything."""
    import werkzeug.utils

    from .._inside import Site

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(werkzeug.utils, "send_file", refuse)
    said: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/file.bin", "SERVER_NAME": "x", "SERVER_PORT": "80"}
    environ |= {"wsgi.url_scheme": "http", "SCRIPT_NAME": ""}
    list(Site(str(here), hidden=False)(environ, lambda status, _headers: said.append(status)))
    assert said == [status]


# -- TLS ---------------------------------------------------------------------------------------------------


def test_tls(here: Path, certificates: tuple[ssl.SSLContext, list[str]]) -> None:
    context, options = certificates
    with Site(here, "--tls", options[1], options[3]) as site:
        assert site.at.startswith("https://")
        site.out.wait_for("user space, not by sendfile")
        with site.connect() as plain:  # somebody who speaks no TLS is told so in one line, and harms nobody
            plain.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
            site.err.wait_for("TLS with 127.0.0.1: ")
        with site.connect(tls=context) as client:
            assert bytes(client.get("/file.bin").body) == CONTENT
            assert client.get("/file.bin", range="bytes=1-99999").body == CONTENT[1:100_000]
        assert moved(site.stopped(), "sendfile") == 0


# -- what cannot be served ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_cannot_be_served(here: Path, without: Callable[[str], Path]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, env, why in (
            ((here, "--bind", port), {}, f"127.0.0.1:{port}: Address already in use"),
            ((here, "--bind", "192.0.2.1:0"), {}, "192.0.2.1:0: Cannot assign requested address"),
            ((here, "--bind", f"unix:{here}/no/such"), {}, "No such file or directory"),
            ((here / "missing",), {}, "missing: no such folder"),
            ((here / "file.bin",), {}, "file.bin: not a folder"),
            ((here, "--tls", "no.pem", "no.key"), {}, "--tls no.pem no.key: No such file or directory"),
            ((here, "--tls", here / "sub" / "small.txt", here / "file.bin"), {}, "--tls "),
            ((here,), {"PYTHONPATH": str(without("werkzeug"))}, "pip install 'gzc[cli]'"),
        ):
            ended = end("serve", *words, env=env)
            assert (ended.status, ended.out) == (1, "")
            assert ended.err.startswith("gzc serve: ")
            assert why in ended.err
            assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        (".", "--bind", "nonsense"),
        (".", "--bind", "h:99999"),
        (".", "--tls", "one"),
        (".", "--grace=-1"),
        (".", "--idle-timeout", "inf"),
        (".", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant(words: tuple[str, ...]) -> None:
    ended = end("serve", *words)
    assert ended.status == 2
    assert ended.err.startswith("usage: gzc serve")


def test_clients_that_go_in_the_middle(here: Path) -> None:
    """By a close and by a reset: a line in the log each, with what was sent; the next one is served."""
    with (here / "big").open("wb") as file:
        file.truncate(BIG)
    with Site(here) as site:
        for linger in (b"\0" * 8, b"\1\0\0\0\0\0\0\0"):
            with site.connect() as client:
                client.send("/big")
                client.head_of_reply()
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert eventually(lambda: len(site.err.lines) == 2)
        with site.connect() as client:
            assert client.get("/sub/small.txt").body == b"hello"
        ended = site.stopped()
    logged = re.findall(r'"GET /big HTTP/1.1" 200 (\d+) ', ended.err)
    assert len(logged) == 2
    assert all(0 < int(count) < BIG for count in logged)


# -- the end -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_stop_lets_a_download_finish_and_waits_for_nobody_else(
    here: Path, tmp_path: Path, number: int, family: str
) -> None:
    with (here / "big").open("wb") as file:
        file.truncate(BIG)
    options = ["--bind", f"unix:{tmp_path}/s"] if family == "unix" else []
    with Site(here, "--grace", str(PATIENCE), *options) as site, site.connect() as idle, site.connect() as client:
        assert idle.get("/sub/small.txt").complete
        client.send("/big")
        client.head_of_reply()
        site.signal(number)
        assert eventually(lambda: refuses(site.connect))
        assert idle.socket.recv(1) == b""
        reply = client.rest_of_reply()
        assert (reply.complete, len(reply.body)) == (True, BIG)
        ended = site.end()
        assert ended.status == 0
        assert moved(ended, "sendfile") + moved(ended, "splice") == BIG
        assert not (tmp_path / "s").exists()


def test_a_stop_waits_no_longer_than_it_may(here: Path) -> None:
    with (here / "big").open("wb") as file:
        file.truncate(BIG)
    with Site(here, "--grace", "0.2") as site, site.connect() as client:
        client.send("/big")
        client.head_of_reply()
        ended = site.stopped()
        assert "1 response was cut off after 0.2 s" in ended.err
        assert not client.rest_of_reply().complete


def test_the_second_signal_ends_it_at_once(here: Path) -> None:
    with (here / "big").open("wb") as file:
        file.truncate(BIG)
    with Site(here, "--grace", str(PATIENCE)) as site, site.connect() as client:
        client.send("/big")
        client.head_of_reply()
        site.signal(signal.SIGINT)
        assert eventually(lambda: refuses(site.connect))
        assert site.end(signal.SIGINT).status == 130
