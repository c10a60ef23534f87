"""Pipes of processes as ends of a copy.

Rules: real processes and gevent's own Popen. The mechanism is asserted, by the plan and by the trace.
"""

from typing import Any

import gevent
import pytest
from gevent import subprocess

import gzc

from .. import _program
from .._ends import BEYOND_SMALL, PATIENCE, Ends, payload

SIZE = 1_000_000


@pytest.fixture
def ends(tmp_path: Any) -> Any:
    with Ends(tmp_path) as made:
        yield made


def process(ends: Ends, *command: str, **pipes: Any) -> Any:
    """A process that does not outlive the test."""
    popen = subprocess.Popen(command, **pipes)

    class Killed:
        @staticmethod
        def close() -> None:
            popen.kill()
            popen.wait(PATIENCE)
            for pipe in (popen.stdin, popen.stdout):
                if pipe is not None and not pipe.closed:
                    pipe.close()

    ends.keep(Killed)
    return popen


def cat(ends: Ends, content: bytes) -> Any:
    """A process whose output is `content`."""
    return process(ends, "cat", str(ends.path(content)), stdout=subprocess.PIPE).stdout


def test_output_of_a_process_to_a_file(ends: Ends) -> None:
    content = payload(SIZE)
    output, file = cat(ends, content), ends.file(mode="w+b")
    assert gzc.explain(output, file).mechanism == "splice"
    with gzc.trace() as trace:
        assert gzc.copy(output, file) == SIZE
    assert trace.bytes["splice"] == SIZE
    assert not trace.bytes["userspace"]
    file.seek(0)
    assert file.read() == content


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_output_of_a_process_to_a_socket(ends: Ends, family: str) -> None:
    content = payload(SIZE)
    output, (here, there) = cat(ends, content), ends.pair(family)
    peer = ends.reading(there)
    assert gzc.explain(output, here).mechanism == "splice"
    with gzc.trace() as trace:
        assert gzc.copy(output, here) == SIZE
    here.close()
    assert peer.all() == content
    assert trace.bytes["splice"] == SIZE


def test_what_was_read_ahead_of_the_pipe_goes_first(ends: Ends) -> None:
    """A header was read by readline(), and with it came some of what follows."""
    content = b"a header\n" + payload(SIZE)
    output, file = cat(ends, content), ends.file(mode="w+b")
    assert output.readline() == b"a header\n"
    with gzc.trace() as trace:
        assert gzc.copy(output, file) == SIZE
    file.seek(0)
    assert file.read() == payload(SIZE)
    assert trace.bytes["splice"] > SIZE // 2


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_a_socket_to_the_input_of_a_process(ends: Ends, family: str) -> None:
    """As an upload that is unpacked on its way: the process reads slower than the client sends."""
    content, (here, there) = payload(SIZE), ends.pair(family)
    received = ends.path()
    with received.open("wb") as out:
        popen = process(ends, "cat", stdin=subprocess.PIPE, stdout=out)
    ends.feeding(there, content)
    assert gzc.explain(here, popen.stdin).mechanism == "splice"
    with gzc.trace() as trace:
        assert gzc.copy(here, popen.stdin) == SIZE
    popen.stdin.close()
    assert popen.wait(PATIENCE) == 0
    assert received.read_bytes() == content
    assert trace.bytes["splice"] == SIZE


def test_a_file_to_the_input_of_a_process(ends: Ends) -> None:
    """What was written before the copy and not flushed comes first."""
    content, received = payload(SIZE), ends.path()
    with received.open("wb") as out:
        popen = process(ends, "cat", stdin=subprocess.PIPE, stdout=out)
    file = ends.file(content)
    popen.stdin.write(b"first\n")
    assert gzc.explain(file, popen.stdin).mechanism == "splice"
    with gzc.trace() as trace:
        assert gzc.copy(file, popen.stdin) == SIZE
    popen.stdin.close()
    assert popen.wait(PATIENCE) == 0
    assert received.read_bytes() == b"first\n" + content
    assert trace.bytes["splice"] == SIZE
    assert file.tell() == SIZE


def test_from_one_process_to_the_next(ends: Ends) -> None:
    content, received = payload(SIZE), ends.path()
    with received.open("wb") as out:
        popen = process(ends, "cat", stdin=subprocess.PIPE, stdout=out)
    output = cat(ends, content)
    assert gzc.explain(output, popen.stdin).mechanism == "splice"
    assert gzc.copy(output, popen.stdin) == SIZE
    popen.stdin.close()
    assert popen.wait(PATIENCE) == 0
    assert received.read_bytes() == content


def test_a_process_that_reads_no_more_is_a_broken_pipe(ends: Ends) -> None:
    popen = process(ends, "true", stdin=subprocess.PIPE)
    assert popen.wait(PATIENCE) == 0
    with pytest.raises(BrokenPipeError) as caught:
        gzc.copy(ends.file(payload(SIZE)), popen.stdin)
    assert caught.value.transfer.moved < SIZE  # type: ignore[attr-defined]


def test_other_greenlets_run_while_a_process_says_nothing(ends: Ends) -> None:
    popen = process(ends, "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    file = ends.file(mode="w+b")
    copying = ends.spawn(gzc.copy, popen.stdout, file)
    gevent.sleep(0)
    popen.stdin.write(payload(BEYOND_SMALL))
    popen.stdin.close()
    assert copying.get(timeout=PATIENCE) == BEYOND_SMALL


def test_text_pipes_are_refused(ends: Ends) -> None:
    popen = process(ends, "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with pytest.raises(TypeError, match="text"):
        gzc.copy(popen.stdout, ends.file(mode="wb"))
    with pytest.raises(TypeError, match="text"):
        gzc.copy(ends.file(b"x"), popen.stdin)


def test_m8_shutil_keeps_file_pages_out_of_a_pipe() -> None:
    """M8: bytes that splice put into a pipe change when the file is written; shutil's callers never agreed to that."""
    _program.program(
        """
        import gevent.monkey
        gevent.monkey.patch_all()
        import gzc, shutil, subprocess, tempfile
        gzc.patch_all()
        content = os.urandom(1_000_000)
        with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as out:
            file.write(content)
            file.seek(0)
            popen = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out)
            with gzc.trace() as trace:
                shutil.copyfileobj(file, popen.stdin)
            popen.stdin.close()
            assert popen.wait() == 0
            out.seek(0)
            assert out.read() == content
            assert not trace.calls["splice"], trace
        """
    )
