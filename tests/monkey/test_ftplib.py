"""``ftplib`` against pyftpdlib, a real FTP server in another process.

Rules: what is on the server's disk, or in the file it went into, is compared byte for byte; how it travelled is
asserted by gzc.trace; replies, exceptions and states are compared with those without gzc.
"""

import contextlib
import ftplib
import io
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .._program import clean_environment, patched
from .._server import APPS, Folder, Log, put_down

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def _serving(folder: Path, *certificate: str) -> Iterator[list[Any]]:
    """The port of a server over `folder`, and the folder."""
    process = subprocess.Popen(
        [sys.executable, str(APPS / "ftp.py"), str(folder), *certificate],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    log = Log(process.stdout)
    try:
        yield [int(log.wait_for("port ").split()[1]), str(folder)]
    finally:
        put_down(process)
        log.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    with _serving(tmp_path_factory.mktemp("ftp")) as port_and_folder:
        yield port_and_folder


def _login(port: int, ftp: Any = None) -> Any:
    ftp = ftp or ftplib.FTP(timeout=20)
    ftp.connect("127.0.0.1", port)
    ftp.login("user", "secret")
    return ftp


@patched
def test_files_of_every_size_both_ways(server: list[Any]) -> None:
    """Active and passive; the replies are the server's last words, and the control connection goes on."""
    import gzc

    from .._clients import MIB, SIZES, beyond_small, content

    port, folder = server
    with _login(port) as ftp:
        for size in (*SIZES, 64 * MIB):
            name, data = content(folder, size)
            for passive in (True, False):
                ftp.set_pasv(passive)
                with open(name, "rb") as file, gzc.trace() as trace:
                    assert ftp.storbinary("STOR stored", file).startswith("226")
                    assert file.tell() == size
                assert Path(folder, "stored").read_bytes() == data
                assert trace.bytes["sendfile"] == beyond_small(size), (size, passive, str(trace))
                with open(Path(folder, "got"), "wb") as out, gzc.trace() as trace:
                    assert ftp.retrbinary(f"RETR {Path(name).name}", out.write).startswith("226")
                    assert out.tell() == size
                assert Path(folder, "got").read_bytes() == data
                assert trace.bytes["splice"] == size, (size, passive, str(trace))
        assert ftp.size("stored") == 64 * MIB


@patched
def test_positions_and_rest(server: list[Any]) -> None:
    """O1, O4: from where the file is, behind what was written before; `rest` is for the server."""
    import gzc

    from .._clients import KIB, content

    port, folder = server
    name, data = content(folder, 200 * KIB)
    with _login(port) as ftp:
        with open(name, "rb") as file, gzc.trace() as trace:
            file.read(4)
            file.seek(1000)
            ftp.storbinary("STOR stored", file, blocksize=17)
            assert Path(folder, "stored").read_bytes() == data[1000:]
            file.seek(150 * KIB)
            ftp.storbinary("STOR stored", file, rest=150 * KIB - 1000)
        assert Path(folder, "stored").read_bytes() == data[1000:]
        assert trace.bytes["sendfile"] == len(data) - 1000 + 50 * KIB
        with open(Path(folder, "got"), "w+b") as out, gzc.trace() as trace:
            out.write(b"before ")
            ftp.retrbinary(f"RETR {Path(name).name}", out.write, rest=70_000)
            out.write(b" after")
            out.seek(0)
            assert out.read() == b"before " + data[70_000:] + b" after"
        assert trace.bytes["splice"] == len(data) - 70_000


@patched
def test_who_wants_to_see_blocks_sees_them(server: list[Any]) -> None:
    """O7, O9: callbacks, memory, a counting file, a function around write: the same blocks, no sendfile."""
    import gzc

    from .._clients import KIB, both, content

    port, folder = server
    name, data = content(folder, 100 * KIB)

    class Counting(io.BufferedWriter):
        def write(self, block: Any, /) -> int:
            return super().write(bytes(block).swapcase())

    def run() -> list[Any]:
        sizes: list[int] = []
        with _login(port) as ftp:
            with open(name, "rb") as file:
                ftp.storbinary("STOR one", file, 10_000, callback=lambda block: sizes.append(len(block)))
            ftp.storbinary("STOR two", io.BytesIO(data))
            with Counting(io.FileIO(Path(folder, "counted"), "w")) as out:
                ftp.retrbinary(f"RETR {Path(name).name}", out.write)
            with open(Path(folder, "around"), "wb") as out:
                ftp.retrbinary(f"RETR {Path(name).name}", lambda block: out.write(block))  # noqa: PLW0108
            lines: list[str] = []
            ftp.retrlines("NLST", lines.append)
        return [
            sizes,
            "one" in lines,
            *(Path(folder, made).read_bytes() for made in ("one", "two", "counted", "around")),
        ]

    with gzc.trace() as trace:
        sizes, listed, *files = both(run)
    assert sum(sizes) == len(data)
    assert listed
    assert files == [data, data, data.swapcase(), data]
    assert not trace.bytes["sendfile"]
    assert not trace.bytes["splice"]


@patched
def test_failures_are_what_they_always_were(server: list[Any]) -> None:
    """A file that is not there, a sink that is full, a timeout in the middle; nothing is left behind."""
    import resource

    import gevent
    from gevent import socket as gsocket

    from .._clients import MIB, both, content, failure, nothing_left, silent

    port, folder = server
    name, _ = content(folder, 3 * MIB)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))

    def absent() -> list[Any]:
        with _login(port) as ftp, open(Path(folder, "got"), "wb") as out:
            chain = failure(lambda: ftp.retrbinary("RETR nothing", out.write))
            return [*chain, ftp.voidcmd("NOOP")[:3]]

    def full() -> list[Any]:
        ftp = _login(port)
        with open(Path(folder, "got"), "wb") as out:
            chain = failure(lambda: ftp.retrbinary(f"RETR {Path(name).name}", out.write))
        ftp.close()
        return chain

    def stuck() -> list[Any]:
        """A data connection that nobody reads, and the control connection after it."""
        with gsocket.socket() as listener, open(name, "rb") as file:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            data_port = listener.getsockname()[1]

            def serve() -> None:
                control, _ = listener.accept()
                control.sendall(b"220 hello\r\n")
                for reply in (b"200 binary\r\n", b"227 Entering (127,0,0,1,%d,%d)\r\n" % divmod(data_port, 256)):
                    control.recv(1000)
                    control.sendall(reply)
                data, _ = listener.accept()
                data.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_RCVBUF, 4096)
                control.recv(1000)
                control.sendall(b"150 go on\r\n")
                silent(data)

            serving = gevent.spawn(serve)
            ftp = ftplib.FTP(timeout=1.0)
            ftp.connect("127.0.0.1", data_port)
            ftp.timeout = 1.0
            chain = failure(lambda: ftp.storbinary("STOR x", file))
            serving.kill()
            ftp.close()
            return [*chain, file.tell() > 0]

    with nothing_left():
        assert both(absent)[0] == "ftplib.error_permNone"
        assert both(full) == ["builtins.OSError27"]
        assert both(stuck) == ["builtins.TimeoutErrorNone", True]


@patched
def test_ftp_urls(server: list[Any]) -> None:
    """urllib wraps the data connection's makefile twice, in objects that only forward."""
    import gzc

    from .._clients import MIB, content, copyfileobj

    port, folder = server
    name, data = content(folder, 3 * MIB)
    url = f"ftp://user:secret@127.0.0.1:{port}/{Path(name).name}"
    target = Path(folder, "got")
    with urllib.request.urlopen(url) as response, open(target, "wb") as out:
        assert copyfileobj(response, out) == len(data)
    assert target.read_bytes() == data
    with gzc.trace() as trace:
        urllib.request.urlretrieve(url, str(target))
    assert target.read_bytes() == data
    assert trace.bytes["splice"] == len(data)


@pytest.fixture
def secured(folder: Folder, certificates: Any, tmp_path: Path) -> Iterator[list[Any]]:
    context, (_, certificate, _, key) = certificates
    authority = tmp_path / "authority.pem"
    authority.write_text("".join(ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(binary_form=True)))
    served = tmp_path / "served"
    served.mkdir()
    with _serving(served, certificate, key) as port_and_folder:
        yield [*port_and_folder, str(authority)]


@patched
def test_tls_on_the_data_connection_is_the_old_way(secured: list[Any]) -> None:
    """O10: PROT P. With PROT C the data connection is a plain socket by the program's own choice."""
    import gzc

    from .._clients import MIB, content

    port, folder, authority = secured
    name, data = content(folder, 3 * MIB)
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    ftp = ftplib.FTP_TLS(context=context, timeout=20)
    with _login(port, ftp):
        for protect, fast in ((ftp.prot_p, False), (ftp.prot_c, True)):
            protect()
            with open(name, "rb") as file, open(Path(folder, "got"), "wb") as out, gzc.trace() as trace:
                assert ftp.storbinary("STOR stored", file).startswith("226")
                assert ftp.retrbinary("RETR stored", out.write).startswith("226")
            assert Path(folder, "stored").read_bytes() == Path(folder, "got").read_bytes() == data
            assert bool(trace.bytes["sendfile"]) is bool(trace.bytes["splice"]) is fast
