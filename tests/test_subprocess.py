"""Pipes of processes: as ends of a copy, and read to their end by communicate() and its kin.

Rules: real processes and gevent's own Popen. For the ends the mechanism is asserted, by the plan and by the trace; for
the reading the number of reads, counted at the one place where gevent makes them.
"""

from typing import Any

import gevent
import pytest
from gevent import subprocess

import gzc

from . import _program
from ._ends import BEYOND_SMALL, PATIENCE, Ends, payload

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


# -- ends of a copy ----------------------------------------------------------------------------------------


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


# -- the seam: reading to the end --------------------------------------------------------------------------

TOOLS = (
    _program.PRELUDE
    + """
import fcntl, signal, tempfile, gevent, gevent.monkey
signal.alarm(40)
gevent.monkey.patch_all()
import subprocess, gzc
from gevent import _fileobjectposix
from gevent.fileobject import FileObjectPosix

class Reads(list):
    '''The size asked for in each read of a FileObject.'''
    def __enter__(self):
        self.real = _fileobjectposix._read
        def read(fd, count):
            self.append(count)
            return self.real(fd, count)
        _fileobjectposix._read = read
        return self
    def __exit__(self, *exc_info):
        _fileobjectposix._read = self.real

def both(check):
    '''`check()` without the seam and with it; what it returned, and the sizes it read by.'''
    results = []
    for on in (False, True):
        gzc.patch_all(skip=() if on else ["subprocess"])
        assert ("subprocess" in gzc.patched()) is on
        with Reads() as reads:
            results.append((check(), set(reads)))
    assert results[0][0] == results[1][0], (results[0][0], results[1][0])
    return results[0][1], results[1][1]

def told(call):
    try:
        return call()
    except Exception as exc:
        return type(exc), str(exc)
"""
)

COMMANDS = {
    "check_output": "subprocess.check_output(['cat', name])",
    "run": "subprocess.run(['cat', name], capture_output=True).stdout",
    "communicate": "subprocess.Popen(['cat', name], stdout=subprocess.PIPE).communicate()[0]",
    "read": "subprocess.Popen(['cat', name], stdout=subprocess.PIPE).stdout.read()",
    "unbuffered": "subprocess.Popen(['cat', name], stdout=subprocess.PIPE, bufsize=0).stdout.read()",
    "both pipes": "subprocess.Popen(['sh', '-c', 'cat $0; cat $0 >&2', name], stdout=-1, stderr=-1).communicate()",
    "with input": "subprocess.run(['cat'], input=open(name, 'rb').read(), stdout=subprocess.PIPE).stdout",
    "text": "subprocess.check_output(['base64', name], text=True)",
    "nothing": "subprocess.check_output(['true'])",
}


def program(code: str) -> None:
    _program.program(code, prelude=TOOLS)


@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_read_by_what_the_pipe_holds(name: str) -> None:
    program(
        f"""
        with tempfile.NamedTemporaryFile() as file:
            file.write(os.urandom(700_001))
            file.flush()
            name = file.name
            before, after = both(lambda: {COMMANDS[name]})
        assert before == {{io.DEFAULT_BUFFER_SIZE}}, before
        assert after == {{max(65536, io.DEFAULT_BUFFER_SIZE)}}, after  # no less than stock (hard case R16)
        """
    )


def test_the_seam_leaves_a_pipe_its_fast_path_and_a_tracer_around_it_takes_it() -> None:
    program(
        """
        import functools
        from gevent._fileobjectposix import GreenFileDescriptorIO
        def mechanism():
            read, write = os.pipe()
            with FileObjectPosix(read, "rb") as file, tempfile.TemporaryFile() as out:
                os.close(write)
                return gzc.explain(file, out).mechanism
        assert mechanism() == "splice"
        gzc.patch_all()
        assert "subprocess" in gzc.patched() and mechanism() == "splice"
        ours = GreenFileDescriptorIO.readall
        @functools.wraps(ours)
        def traced(self):
            return ours(self)
        GreenFileDescriptorIO.readall = traced
        assert mechanism() == "userspace"
        GreenFileDescriptorIO.readall = ours
        gzc.unpatch_all()
        assert mechanism() == "splice"
        """
    )


def test_a_pipe_that_was_made_larger_is_read_by_its_size() -> None:
    program(
        """
        gzc.patch_all()
        read, write = os.pipe()
        size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 18)
        os.write(write, bytes(200_000))
        os.closerange(write, write + 1)  # os.close of gevent 25.8 to 26.5 waits for a hub, which does not run yet
        with FileObjectPosix(read, "rb") as file, Reads() as reads:
            assert file.read() == bytes(200_000)
        assert set(reads) == {size} and len(reads) == 2, reads
        """
    )


def test_whatever_else_is_read_to_its_end_gives_the_same() -> None:
    """Regular files and sockets; closed, or written only; bytes buffered above the pipe."""
    program(
        """
        import socket
        content = os.urandom(300_000)
        def regular():
            with tempfile.TemporaryFile() as raw:
                raw.write(content)
                raw.seek(1000)
                with FileObjectPosix(os.dup(raw.fileno()), "rb") as file:
                    return file.read(5), file.read(), file.read()
        def stream():
            here, there = socket.socketpair()
            gevent.spawn(lambda: (there.sendall(content), there.close()))
            with FileObjectPosix(here.detach(), "rb") as file:
                return file.readline(), file.read()
        def refused():
            read, write = os.pipe()
            os.close(read)
            with FileObjectPosix(write, "wb") as file:
                answers = [told(file.fileio.readall), told(file.fileio.read)]
            return answers, told(lambda: file.read())
        def closed():
            read, write = os.pipe()
            file = FileObjectPosix(read, "rb", 0)
            raw = file.fileio
            file.close()
            os.close(write)
            return told(raw.readall), told(raw.read)
        for check in (regular, stream, refused, closed):
            both(check)
        """
    )


def test_a_timeout_and_a_close_in_the_middle_are_as_ever() -> None:
    """communicate(timeout) can be called again and loses nothing; a pipe closed meanwhile gives what there was."""
    program(
        """
        def again():
            flag = tempfile.mktemp()
            script = "printf early; until test -e $0; do sleep 0.02; done; printf late"
            popen = subprocess.Popen(["sh", "-c", script, flag], stdout=-1)
            try:
                popen.communicate(timeout=0.1)
            except subprocess.TimeoutExpired:
                pass
            else:
                raise AssertionError("it did not take that long")
            open(flag, "w").close()
            try:
                return popen.communicate(timeout=20)
            finally:
                os.unlink(flag)
        def closed():
            read, write = os.pipe()
            os.write(write, b"some")
            file = FileObjectPosix(read, "rb", 0)
            reading = gevent.spawn(file.fileio.readall)
            gevent.sleep(0.01)
            file.close()
            os.close(write)
            return reading.get(timeout=20)
        def killed():
            read, write = os.pipe()
            with FileObjectPosix(read, "rb", 0) as file, open(write, "wb", 0) as out:
                reading = gevent.spawn(file.read)
                gevent.sleep(0.01)
                reading.kill()
                out.write(b"afterwards")
                out.close()  # os.close of gevent 25.8 and later waits for the hub's next event, and there is none
                return type(reading.value).__name__, file.read()
        for check in (again, closed, killed):
            both(check)
        assert closed() == b"some"
        """
    )


def test_m8_shutil_keeps_file_pages_out_of_a_pipe() -> None:
    """M8: bytes that splice put into a pipe change when the file is written; shutil's callers never agreed to that."""
    program(
        """
        import shutil
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
