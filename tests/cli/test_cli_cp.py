"""`gzc cp` as a process: what arrives, by which mechanism, and what it says when that goes wrong.

Rules: a copy that ends badly has told how much was written, and that is compared with what arrived.
"""

import fcntl
import os
import pty
import re
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from .._command import GZC, Command, Peer, end, everything, giving
from .._ends import MIB, payload
from .._program import PATIENCE, clean_environment

CONTENT = payload(3 * MIB + 7)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(CONTENT)
    return path


def told(err: str, mechanism: str, count: int = len(CONTENT)) -> None:
    """The two lines at the end: all of it, by this mechanism alone."""
    first, second, *rest = err.splitlines()
    assert first.endswith(f", by {mechanism}"), err
    assert second.strip().startswith(f"{count} bytes, "), err
    assert rest == []


# -- what arrives ------------------------------------------------------------------------------------------


def test_a_file_to_a_file(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(CONTENT * 2)  # longer than what comes
    ended = end("cp", file, target)
    assert (ended.status, ended.out) == (0, "")
    assert target.read_bytes() == CONTENT
    told(ended.err, "copy_file_range")


def test_into_a_folder_under_the_name_it_had(file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert end("cp", "-q", file, tmp_path / "folder") == (0, "", "")
    assert (tmp_path / "folder" / file.name).read_bytes() == CONTENT


def test_what_is_not_asked_for_is_not_preserved(file: Path, tmp_path: Path) -> None:
    os.chmod(file, 0o751)
    os.utime(file, (1, 1))
    assert end("cp", "-q", file, tmp_path / "plain").status == 0
    assert end("cp", "-qp", file, tmp_path / "preserved").status == 0
    plain, preserved = os.stat(tmp_path / "plain"), os.stat(tmp_path / "preserved")
    assert stat.S_IMODE(plain.st_mode) & 0o111 == 0
    assert plain.st_mtime > 1
    assert (stat.S_IMODE(preserved.st_mode), preserved.st_mtime) == (0o751, 1)


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_file_to_a_socket(file: Path, tmp_path: Path, family: str) -> None:
    with Peer(everything, tmp_path / "s" if family == "unix" else None) as peer:
        ended = end("cp", file, peer.name)
        assert ended.status == 0
        assert peer.result() == CONTENT
    told(ended.err, "sendfile")


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_socket_to_a_file(tmp_path: Path, family: str) -> None:
    with Peer(giving(CONTENT), tmp_path / "s" if family == "unix" else None) as peer:
        ended = end("cp", peer.name, tmp_path / "target")
    assert ended.status == 0
    assert (tmp_path / "target").read_bytes() == CONTENT
    told(ended.err, "splice")


def test_the_last_bytes_outrun_the_end_of_the_connection(file: Path) -> None:
    """A peer that talks back all the time: closing with its words unread would reset what it has not read yet."""

    def talk(connection: socket.socket) -> bytes:
        connection.sendall(b"welcome")
        got = everything(connection)
        connection.sendall(b"thank you")
        return got

    with Peer(talk) as peer:
        assert end("cp", file, peer.name).status == 0
        assert peer.result() == CONTENT


def test_standard_input_and_output_are_pipes(file: Path, tmp_path: Path) -> None:
    into = [*GZC, "cp", "-", str(tmp_path / "target")]
    with subprocess.Popen([*GZC, "cp", file, "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        done = subprocess.run(into, stdin=first.stdout, capture_output=True, timeout=PATIENCE, check=False)
        assert first.stderr is not None
        said = first.stderr.read().decode()
    assert (first.returncode, done.returncode, done.stdout) == (0, 0, b"")
    assert (tmp_path / "target").read_bytes() == CONTENT
    told(said, "splice")
    told(done.stderr.decode(), "splice")


def test_standard_input_is_a_file_and_output_is_one_that_appends(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"before ")
    with file.open("rb") as source, target.open("ab") as sink:
        done = subprocess.run(
            [*GZC, "cp", "-", "-"], stdin=source, stdout=sink, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == b"before " + CONTENT
    assert b"by userspace" in done.stderr
    assert b"not zero-copy: " in done.stderr  # and why


def test_an_empty_file_and_one_that_does_not_know_its_size(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert end("cp", tmp_path / "empty", tmp_path / "target").status == 0
    assert (tmp_path / "target").read_bytes() == b""
    assert end("cp", "/proc/self/mounts", tmp_path / "target").status == 0
    assert (tmp_path / "target").read_bytes() == Path("/proc/self/mounts").read_bytes()


# -- what goes wrong ---------------------------------------------------------------------------------------


def test_what_cannot_be_copied(file: Path, tmp_path: Path) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))  # and does not listen
    dead = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with listener:
        for words, why in (
            ((tmp_path / "missing", tmp_path / "t"), f"{tmp_path / 'missing'}: No such file or directory"),
            ((tmp_path, tmp_path / "t"), f"{tmp_path}: Is a directory"),
            ((file, tmp_path / "no" / "folder"), f"{tmp_path / 'no' / 'folder'}: No such file or directory"),
            ((file, file), "are the same file"),
            ((file, tmp_path), "are the same file"),
            ((file, dead), f"{dead}: Connection refused"),
            ((f"unix:{tmp_path}/no", tmp_path / "t"), f"unix:{tmp_path}/no: No such file or directory"),
            ((file, "unix:/" + "x" * 200), "AF_UNIX path too long"),
            ((file, "tcp://no.such.invalid:1"), "tcp://no.such.invalid:1: "),
        ):
            ended = end("cp", *words)
            assert (ended.status, ended.out) == (1, "")
            assert ended.err.startswith("gzc cp: ")
            assert why in ended.err
            assert ended.err.count("\n") == 1
    assert file.read_bytes() == CONTENT
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "words",
    [(), ("one",), ("one", "tcp://nonsense"), ("one", "unix:"), ("-p", "one", "-"), ("--timeout", "0", "a", "b")],
    ids=" ".join,
)
def test_what_cannot_be_meant(words: tuple[str, ...]) -> None:
    ended = end("cp", *words)
    assert ended.status == 2
    assert ended.err.startswith("usage: gzc cp")


def test_a_full_disk(file: Path) -> None:
    ended = end("cp", file, "/dev/full")
    assert ended.status == 1
    assert re.fullmatch(
        rf"gzc cp: /dev/full: No space left on device: .*0 of {len(CONTENT)} bytes were written to /dev/full\n",
        ended.err,
    )


def test_a_broken_pipe(file: Path) -> None:
    """What is told to be written is what the pipe took: all that was read from it, and what it still held."""
    with subprocess.Popen([*GZC, "cp", file, "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        got = len(done.stdout.read(1000) or b"")
        done.stdout.close()
        said = done.stderr.read().decode()
        assert done.wait(PATIENCE) == 1
    found = re.fullmatch(
        rf"gzc cp: standard output: Broken pipe: (\d+) of {len(CONTENT)} bytes were written to standard output\n", said
    )
    assert found, said
    assert got <= int(found[1]) < len(CONTENT)


def test_a_peer_that_resets_in_the_middle(tmp_path: Path) -> None:
    """Either way round: which end it was, and what is in the target."""

    def reset(connection: socket.socket) -> None:
        connection.sendall(b"x" * 1000)
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    big, target = tmp_path / "big", tmp_path / "target"
    with big.open("wb") as made:
        made.truncate(1 << 30)
    with Peer(reset) as peer:
        ended = end("cp", big, peer.name)
    found = re.fullmatch(
        rf"gzc cp: {peer.name}: (?:Connection reset by peer|Broken pipe): (at least )?(\d+) of {1 << 30} bytes were"
        rf" written to {peer.name}\n",
        ended.err,
    )
    assert found, ended.err
    assert ended.status == 1
    assert 0 < int(found[2]) < 1 << 30

    def give_and_reset(connection: socket.socket) -> None:
        connection.sendall(b"x" * 1000)
        while target.stat().st_size < 1000:
            threading.Event().wait(0.01)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    target.touch()
    with Peer(give_and_reset) as peer:
        ended = end("cp", peer.name, target)
    why = f"{peer.name}: Connection reset by peer: 1000 bytes were written to {target}"
    assert (ended.status, ended.err) == (1, f"gzc cp: {why}\n")
    assert target.read_bytes() == b"x" * 1000


def test_ctrl_c_in_the_middle_tells_what_was_written(tmp_path: Path) -> None:
    """And that is, to the byte, what the peer finds in the connection afterwards."""
    big, began, go_on = tmp_path / "big", threading.Event(), threading.Event()
    with big.open("wb") as made:
        made.truncate(1 << 30)

    def slow(connection: socket.socket) -> int:
        count = len(connection.recv(1000))
        began.set()
        assert go_on.wait(PATIENCE)
        while data := connection.recv(1 << 20):
            count += len(data)
        return count

    with Peer(slow) as peer, Command("cp", big, peer.name) as command:
        assert began.wait(PATIENCE)
        ended = command.end(signal.SIGINT)
        go_on.set()
        arrived = peer.result()
    assert (ended.status, ended.out) == (130, "")
    found = re.fullmatch(rf"gzc cp: interrupted: (\d+) of {1 << 30} bytes were written to {peer.name}", ended.err)
    assert found, ended.err
    assert int(found[1]) == arrived > 0


def test_a_peer_that_does_not_answer(file: Path) -> None:
    release = threading.Event()
    with Peer(lambda _: release.wait(PATIENCE)) as peer:
        ended = end("cp", "--timeout", "0.2", peer.name, "/dev/null")
        release.set()
    assert ended.status == 1
    assert f"{peer.name}: timed out: 0 bytes were written to /dev/null" in ended.err


# -- progress ----------------------------------------------------------------------------------------------


def _on_a_terminal(target: Path, *options: str, env: dict[str, str] | None = None) -> str:
    """Standard error of a copy that takes a while, on a terminal; standard input is the test's."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [*GZC, "cp", *options, "-", target], stdin=subprocess.PIPE, stderr=theirs, env=clean_environment(env)
    )
    os.close(theirs)
    said = bytearray()
    drawn = threading.Event()

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                said.extend(data)
                drawn.set()
        except OSError:  # EIO: the other end is closed
            drawn.set()

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    assert process.stdin is not None
    try:
        with process.stdin:
            if options:
                process.stdin.write(CONTENT)
            else:  # a bar is drawn once the copy has taken half a second
                for start in range(0, len(CONTENT), 40_000):
                    process.stdin.write(CONTENT[start : start + 40_000])
                    process.stdin.flush()
                    if not drawn.is_set():
                        drawn.wait(0.05)
        assert process.wait(PATIENCE) == 0
        reading.join(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert target.read_bytes() == CONTENT
    return said.decode()


@pytest.mark.slow
def test_a_bar_on_a_terminal_does_not_leave_the_fast_path(tmp_path: Path) -> None:
    said = _on_a_terminal(tmp_path / "target")
    assert re.search(r"[\d.]+[kM]?B \[\d\d:\d\d, .*B/s\]", said), said
    assert "by splice" in said


def test_no_bar_where_none_is_wanted(tmp_path: Path) -> None:
    said = _on_a_terminal(tmp_path / "target", "--no-progress")
    assert "B/s]" not in said
    assert "by splice" in said


def test_without_the_extra_it_copies_and_says_what_is_missing(tmp_path: Path, without: Callable[[str], Path]) -> None:
    said = _on_a_terminal(tmp_path / "target", "--timeout=9", env={"PYTHONPATH": str(without("tqdm"))})
    assert "pip install 'gzc[cli]'" in said
    assert "by splice" in said
