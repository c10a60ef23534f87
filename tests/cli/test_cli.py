"""What all commands of `gzc` have in common: help, version, usage, Ctrl-C, standard streams that are none.

Rules: as processes; what `run` and `trace` do as the programs they become is tested with them.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gzc
from gzc.cli import COMMANDS

from .._command import GZC, Command, end
from .._ends import python
from .._inside import resolved
from .._program import PATIENCE, clean_environment


def test_the_help_lists_every_command() -> None:
    ended = end("--help")
    assert (ended.status, ended.err) == (0, "")
    for name, text in COMMANDS.items():
        assert name in ended.out
        assert text.split(",")[0].split()[0] in ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str) -> None:
    ended = end(name, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"usage: gzc {name}")
    assert COMMANDS[name].split()[-1] in " ".join(ended.out.split())


def test_the_version() -> None:
    assert end("--version") == (0, f"gzc {gzc.__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("fly",), ("--nonsense",), ("cp", "--nonsense", "a", "b")], ids=" ".join)
def test_what_cannot_be_meant(words: tuple[str, ...]) -> None:
    ended = end(*words)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("usage: gzc")


def test_ctrl_c_while_a_command_is_loaded(tmp_path: Path) -> None:
    """Before its own work begins, which is when the modules that it stands on are imported."""
    (tmp_path / "tqdm.py").write_text("")
    (tmp_path / "resource.py").write_text("raise KeyboardInterrupt")  # doctor imports it
    ended = end("doctor", env={"PYTHONPATH": str(tmp_path)})
    assert (ended.status, ended.out, ended.err) == (130, "", "")


def test_ctrl_c_while_a_command_waits(tmp_path: Path) -> None:
    """Wherever it strikes: while the files are opened, or in the hub."""
    os.mkfifo(tmp_path / "fifo")
    fifo = tmp_path / "fifo"
    with Command("cp", fifo, "/dev/null") as command, fifo.open("wb"):  # which waits until it is opened for reading
        ended = command.end(signal.SIGINT)
    assert (ended.status, ended.out) == (130, "")
    assert ended.err in ("", "gzc cp: interrupted: 0 bytes were written to /dev/null")


IGNORED = """
import os, signal, sys, time, weakref
import gevent
from inside import _stop

class Object:
    pass

def ignored():
    kept = Object()
    reference = weakref.ref(kept, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del kept
    print("ignored", flush=True)

def looks():
    gevent.sleep(3 * _stop.LOOK)

_stop.quiet()
for wait in (gevent.sleep, time.sleep):
    try:
        with _stop.heed():
            ignored()
            wait(20)
    except KeyboardInterrupt:
        print("heeded")
    looks()
with _stop.heed():
    try:
        gevent.get_hub().loop.run_callback(os.kill, os.getpid(), signal.SIGINT)
        gevent.sleep(20)
    except KeyboardInterrupt:
        print("heeded")
    looks()  # as where what was begun is cleaned up
looks()
ignored()
print("done")
"""


def test_ctrl_c_that_python_ignores_is_heeded() -> None:
    """Once, and nothing is printed; an import has a weak reference with a callback.

    Outside of the block Python prints it, as ever.
    """
    done = subprocess.run(
        [sys.executable, "-c", resolved(IGNORED)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["ignored", "heeded"] * 2 + ["heeded", "ignored", "done"]
    assert done.stderr.count("KeyboardInterrupt") == 1
    assert done.stderr.startswith("Exception ignored")


def test_ctrl_c_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """By a job in the background of a shell that has no job control, to which the terminal sends it, too."""
    os.mkfifo(tmp_path / "fifo")
    command = f"{sys.executable} -m gzc cp {tmp_path / 'fifo'} /dev/null & echo $!; wait $!"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        with (tmp_path / "fifo").open("wb") as fifo:
            for _ in range(5):
                os.kill(number, signal.SIGINT)
                time.sleep(0.1)
            fifo.write(b"all of it")
        assert process.wait(60) == 0


STRUCK = """
import os, signal, sys
import gzc
from inside import _stop
struck = []
def step(count):
    if not struck:
        struck.append(count)
        os.kill(os.getpid(), signal.SIGINT)
        struck.append(count)  # only where it does not strike here
_stop.quiet()
gzc.config.chunk = 65536
with open(sys.argv[1], "rb") as source, open("/dev/null", "wb") as sink:
    _stop.between_steps()
    try:
        gzc.copy(gzc.observe(source, step), sink)
    except KeyboardInterrupt as exc:
        (transfer,) = gzc.transfers_of(exc)
        print(len(struck), transfer.exact, transfer.moved < os.path.getsize(sys.argv[1]))
"""


def test_ctrl_c_waits_for_the_step_it_strikes_in(tmp_path: Path) -> None:
    """M22: in the middle of one the count would be lost; it comes where the copy gives way to the hub."""
    with (tmp_path / "big").open("wb") as made:
        made.truncate(8 << 30)
    assert python(STRUCK, tmp_path / "big") == "2 True True\n"


# -- standard streams --------------------------------------------------------------------------------------


def shell(line: str, folder: Path) -> tuple[int, str, str]:
    """`gzc line`, as a shell runs it with its redirections."""
    command = f"{' '.join(GZC)} {line}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


BAD = "Bad file descriptor\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cp source - 2>&-", (0, "hello", "")),  # its words do not go where the bytes go
        ("cp source target 2>/dev/full", (0, "", "")),  # the copy is made, and only not told of
        ("cp missing target 2>/dev/full", (1, "", "")),
        ("cp source - >&-", (1, "", f"gzc cp: standard output: {BAD}")),
        ("cp - target <&-", (1, "", f"gzc cp: standard input: {BAD}")),
        ("doctor >&-", (0, "", "")),
        ("doctor >/dev/full", (1, "", "gzc doctor: No space left on device\n")),
        ("trace exits.py 2>&-", (9, "", "")),
        ("trace -o /dev/full exits.py", (9, "", "gzc trace: /dev/full: No space left on device\n")),
    ],
)
def test_a_standard_stream_that_is_closed_or_full(tmp_path: Path, line: str, expected: tuple[int, str, str]) -> None:
    """No file gets the number of a stream, nothing comes out of another one, and the exit status stays true."""
    (tmp_path / "source").write_text("hello")
    (tmp_path / "exits.py").write_text("import os; os._exit(9)")
    assert shell(line, tmp_path) == expected
    assert (tmp_path / "source").read_text() == "hello"
    assert (tmp_path / "target").exists() is line.startswith("cp source target")


@pytest.mark.parametrize(
    "words", [("serve", ".", "--bind", "127.0.0.1:0"), ("proxy", "0", "unix:missing")], ids=["serve", "proxy"]
)
def test_a_server_outlives_those_who_read_what_it_says(tmp_path: Path, words: tuple[str, ...]) -> None:
    """`gzc serve . 2>&1 | head -1`: it answers on, on the same connection, and ends well; so does a proxy."""
    (tmp_path / "file").write_text("hello")
    process = subprocess.Popen(
        [*GZC, *words], cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        found = re.search(rb"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        process.stdout.close()
        address = ("127.0.0.1", int(found[1]))
        if words[0] == "serve":
            with socket.create_connection(address, PATIENCE) as client:
                for _ in range(3):
                    client.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
                    got = b""
                    while not got.endswith(b"hello"):
                        got += client.recv(4096) or pytest.fail("the connection was closed")
        else:  # unreachable, and not a proper end; at times connecting tells it
            with pytest.raises(ConnectionResetError), socket.create_connection(address, PATIENCE) as client:
                client.recv(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
