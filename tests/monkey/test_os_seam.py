"""The opt-in seam `os`: os.sendfile and os.splice wait for gevent's sockets, and for nobody else's.

Rules: a whole process is patched, so every case is a program of its own. Both sides of each socket are in it: a call
that blocks the process instead of waiting in the hub never ends, and the program's alarm turns that into a failure.
"""

import pytest

from .. import _program

TOOLS = (
    _program.PRELUDE
    + """
import errno, signal, socket as native, tempfile
import gevent, gevent.monkey, gevent.socket
signal.alarm(40)

def filled(size):
    content = os.urandom(size)
    file = tempfile.TemporaryFile()
    file.write(content)
    file.flush()
    return file, content

def reads_all(sock):
    return gevent.spawn(lambda: b"".join(iter(lambda: sock.recv(1 << 16), b"")))

def stuck(sock):
    '''Fill its buffers, and give back how many bytes that took.'''
    timeout = sock.gettimeout()
    sock.setblocking(False)
    sent = 0
    for step in (1 << 16, 1):
        try:
            while True:
                sent += sock.send(bytes(step))
        except BlockingIOError:
            pass
    sock.settimeout(timeout)
    return sent

def refused(call, *kinds):
    try:
        call()
    except kinds as exc:
        return exc
    raise AssertionError("it was not refused")
"""
)


def program(code: str) -> None:
    _program.program(code, prelude=TOOLS)


ON = "import gzc; gzc.patch_all(also=['os']); assert 'os' in gzc.patched(), gzc.seams()\n"

LEGACY = """
def legacy(sock, file, size):
    '''As one wrote it for sockets in blocking mode.'''
    sent = 0
    while sent < size:
        sent += os.sendfile(sock.fileno(), file.fileno(), sent, size - sent)
    return sent
file, content = filled(5_000_000)
here, there = gevent.socket.socketpair()
reading = reads_all(there)
"""


def test_without_the_seam_a_legacy_loop_fails() -> None:
    """The yardstick: gevent's sockets are in non-blocking mode, and nobody waits."""
    program(
        "import gzc; gzc.patch_all()"
        + LEGACY
        + """
assert 'os' not in gzc.patched() and not hasattr(os.sendfile, '__wrapped__')
refused(lambda: legacy(here, file, len(content)), BlockingIOError)
"""
    )


def test_a_legacy_loop_of_sendfile_waits_in_the_hub() -> None:
    program(
        ON
        + LEGACY
        + """
assert legacy(here, file, len(content)) == len(content)
here.close()
assert reading.get() == content
assert file.tell() == len(content), "an explicit offset leaves the position alone"
"""
    )


def test_one_call_moves_no_more_than_a_chunk() -> None:
    """B3: however much the peer takes, and as gzc's own calls do."""
    program(
        ON
        + """
file, content = filled(3_000_000)
here, there = gevent.socket.socketpair()
here.setsockopt(native.SOL_SOCKET, native.SO_SNDBUF, 8_000_000)
assert 0 < os.sendfile(here.fileno(), file.fileno(), 0, 3_000_000) <= gzc.config.chunk
"""
    )


SOCKETS = {
    "a pair": "one, other = gevent.socket.socketpair()",
    "accepted and connected": """
listener = gevent.socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
other = gevent.socket.create_connection(listener.getsockname())
one, _ = listener.accept()""",
    "a duplicate": "first, other = gevent.socket.socketpair(); one = first.dup()",
    "from a number": """
first, other = gevent.socket.socketpair()
one = gevent.socket.socket(fileno=first.detach())""",
    "the standard library's, patched": "import socket; one, other = socket.socketpair()",
    "a subclass": """
class Mine(gevent.socket.socket): pass
first, other = gevent.socket.socketpair()
one = Mine(fileno=first.detach())""",
}


@pytest.mark.parametrize("made", ["before", "after"])
@pytest.mark.parametrize("name", SOCKETS)
def test_whatever_way_a_socket_came_about(name: str, made: str) -> None:
    code = "gevent.monkey.patch_all()\n" + (SOCKETS[name] + "\n" + ON if made == "before" else ON + SOCKETS[name])
    program(
        code
        + """
file, content = filled(100_000)
extra = stuck(one)
sending = gevent.spawn(os.sendfile, one.fileno(), file.fileno(), 0, 1000)
gevent.sleep(0.01)
assert not sending.ready()
reading = reads_all(other)
assert sending.get() == 1000
one.shutdown(native.SHUT_WR)
assert reading.get()[extra:] == content[:1000]
"""
    )


STRANGERS = {
    "not blocking by its owner's wish": "one.setblocking(False)",
    "a timeout of 0": "one.settimeout(0)",
    "of the kernel alone": """
kept = one
one = native.socket.__mro__[1]  # for the name only
import _socket
one = _socket.socket(fileno=os.dup(kept.fileno()))
one.setblocking(False)""",
    "a number that has a new owner": """
import _socket
number, kept = one.fileno(), one
twin = os.dup(number)
one.close()
gevent.sleep(0.01)
os.dup2(twin, number)
one = _socket.socket(fileno=number)
one.setblocking(False)""",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_everybody_elses_descriptor_goes_straight_through(name: str) -> None:
    """EAGAIN is what its owner expects; a wait would freeze an event loop of his own."""
    program(
        ON
        + "one, other = gevent.socket.socketpair()\nstuck(one)\n"
        + STRANGERS[name]
        + """
file, content = filled(1000)
refused(lambda: os.sendfile(one.fileno(), file.fileno(), 0, 1000), BlockingIOError)
pipe = os.pipe()
os.write(pipe[1], b"x")
refused(lambda: os.splice(pipe[0], one.fileno(), 1), BlockingIOError)
refused(lambda: os.splice(one.fileno(), pipe[1], 1), BlockingIOError)
"""
    )


def test_a_socket_of_another_threads_hub_goes_straight_through() -> None:
    """A thread cannot wait on it; and a thread that has no hub gets none by asking."""
    program(
        """
import gzc
gzc.patch_all(also=["os"], thread=False)
from gevent._hub_local import get_hub_if_exists
one, other = gevent.socket.socketpair()
stuck(one)
file, content = filled(1000)
told = []
def work(hub):
    if hub:
        gevent.get_hub()
    try:
        refused(lambda: os.sendfile(one.fileno(), file.fileno(), 0, 1000), BlockingIOError)
        with tempfile.TemporaryFile() as copy:
            assert os.copy_file_range(file.fileno(), copy.fileno(), 1000, 0) == 1000
        told.append((get_hub_if_exists() is not None) is hub)
    except BaseException as exc:
        told.append(exc)
for hub in (False, True):
    thread = threading.Thread(target=work, args=(hub,))
    thread.start()
    thread.join()
assert told == [True, True], told
"""
    )


def test_in_the_hub_itself_nobody_waits() -> None:
    program(
        ON
        + """
one, other = gevent.socket.socketpair()
stuck(one)
file, content = filled(1000)
told = []
def callback():
    told.append(refused(lambda: os.sendfile(one.fileno(), file.fileno(), 0, 1000), BlockingIOError))
    with tempfile.TemporaryFile() as copy:
        told.append(os.copy_file_range(file.fileno(), copy.fileno(), 1000, 0))
gevent.get_hub().loop.run_callback(callback)
gevent.sleep(0.01)
assert isinstance(told[0], BlockingIOError) and told[1] == 1000, told
"""
    )


def test_the_wait_is_the_sockets_own() -> None:
    """Its timeout, its close by another greenlet, a kill: as in send()."""
    program(
        ON
        + """
one, other = gevent.socket.socketpair()
file, content = filled(1000)
stuck(one)
call = lambda: os.sendfile(one.fileno(), file.fileno(), 0, 1000)
one.settimeout(0.02)
refused(call, TimeoutError)
one.settimeout(None)
with gevent.Timeout(0.02, False):
    call()
    raise AssertionError("it took it")
waiting = gevent.spawn(call)
gevent.sleep(0.01)
waiting.kill()
assert isinstance(waiting.value, gevent.GreenletExit)
waiting = gevent.spawn(refused, call, OSError)
gevent.sleep(0.01)
one.close()
assert waiting.get().errno == errno.EBADF
"""
    )


def test_splice_between_a_socket_and_a_pipe() -> None:
    """The socket is waited for. The pipe, too, if it is in blocking mode; else its EAGAIN is the caller's."""
    program(
        ON
        + """
one, other = gevent.socket.socketpair()
read, write = os.pipe()
spliced = gevent.spawn(os.splice, one.fileno(), write, 100)
gevent.sleep(0.01)
other.sendall(b"to the pipe")
assert spliced.get() == 11 and os.read(read, 100) == b"to the pipe"

# an empty pipe and a full one, in blocking mode: the process would stand still
spliced = gevent.spawn(os.splice, read, one.fileno(), 100)
gevent.sleep(0.01)
assert not spliced.ready()
os.write(write, b"to the socket")
assert spliced.get() == 13 and other.recv(100) == b"to the socket"
os.write(write, bytes(65536))
other.sendall(b"more")
spliced = gevent.spawn(os.splice, one.fileno(), write, 100)
gevent.sleep(0.01)
assert not spliced.ready() and len(os.read(read, 65536)) == 65536
assert spliced.get() == 4 and os.read(read, 100) == b"more"

# who asks not to wait for the pipe does not, in either way of asking
for how in ("flag", "mode"):
    flags = os.SPLICE_F_NONBLOCK if how == "flag" else 0
    for end in (read, write):
        os.set_blocking(end, how == "flag")
    refused(lambda: os.splice(read, one.fileno(), 100, flags=flags), BlockingIOError)
    os.write(write, bytes(65536))
    other.sendall(b"kept")
    refused(lambda: os.splice(one.fileno(), write, 100, None, None, flags), BlockingIOError)
    os.read(read, 65536)
    assert os.splice(one.fileno(), write, 100, flags=flags) == 4 and os.read(read, 9) == b"kept"
    waiting = gevent.spawn(os.splice, one.fileno(), write, 100, flags=flags)
    gevent.sleep(0.01)
    assert not waiting.ready(), "it is the socket that has nothing"
    other.sendall(b"late")
    assert waiting.get() == 4 and os.read(read, 9) == b"late"

# the end of the stream, and what is no pair for the kernel at all
other.close()
assert os.splice(one.fileno(), write, 100) == 0
file, _ = filled(10)
assert refused(lambda: os.splice(one.fileno(), file.fileno(), 10), OSError).errno == errno.EINVAL
assert os.splice(file.fileno(), write, 10, 0) == 10
"""
    )


def test_copy_file_range_goes_to_the_pool_and_means_the_same() -> None:
    program(
        ON
        + """
file, content = filled(300_000)
threads = lambda: len(os.listdir("/proc/self/task"))
gevent.sleep(0)  # there is a hub now
before = threads()
with tempfile.TemporaryFile() as copy:
    file.seek(0)
    assert os.copy_file_range(file.fileno(), copy.fileno(), 1000) == 1000
    assert threads() > before, "it was made in the hub"
    assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == os.lseek(copy.fileno(), 0, os.SEEK_CUR) == 1000
    assert os.copy_file_range(src=file.fileno(), dst=copy.fileno(), count=500, offset_src=2000, offset_dst=0) == 500
    copy.seek(0)
    assert copy.read() == content[2000:2500] + content[500:1000]
    for wrong in ((-1, copy.fileno(), 1), (file.fileno(), copy.fileno(), -1), (file, copy, 1),
                  (file.fileno(), copy.fileno(), 1, -1), (file.fileno(), copy.fileno(), "1")):
        ours = refused(lambda: os.copy_file_range(*wrong), Exception)
        theirs = refused(lambda: os.copy_file_range.__wrapped__(*wrong), Exception)
        assert (type(ours), ours.args) == (type(theirs), theirs.args), (ours, theirs)
"""
    )


def test_wrong_arguments_are_refused_in_the_originals_words() -> None:
    program(
        ON
        + """
one, other = gevent.socket.socketpair()
fd = one.fileno()
for name, wrong in (("sendfile", (fd,)), ("sendfile", ("x", fd, 0, 1)), ("sendfile", (fd, "x", 0, 1)),
                    ("sendfile", (-1, -1, 0, 1)), ("splice", (fd, fd, 1)), ("splice", (fd, -1, 1)), ("splice", ()),
                    ("splice", (one, other, 1))):
    ours = refused(lambda: getattr(os, name)(*wrong), Exception)
    theirs = refused(lambda: getattr(os, name).__wrapped__(*wrong), Exception)
    assert type(ours) is type(theirs), (name, wrong, ours, theirs)
    assert getattr(ours, "errno", 0) == getattr(theirs, "errno", 0), (name, wrong, ours, theirs)
"""
    )


def test_gzcs_own_calls_use_the_originals() -> None:
    """Bound before the rows are in force, whatever the order of the imports; else a wait would be inside a wait."""
    program(
        """
        from os import sendfile, splice, copy_file_range
        import gzc
        gzc.patch_all(also=["os"])
        from inside import _syscalls
        assert _syscalls._sendfile is sendfile is os.sendfile.__wrapped__
        assert _syscalls._splice is splice is os.splice.__wrapped__
        assert _syscalls._copy_file_range is copy_file_range is os.copy_file_range.__wrapped__
        assert download(3_000_000) == {"sendfile"}
        early = {name for seam in gzc.seams() for name in seam.early}
        assert {"__main__.sendfile", "__main__.splice"} <= early, early
        gzc.unpatch_all()
        assert os.sendfile is sendfile and gevent.os.sendfile is sendfile
        """
    )


def test_no_socket_is_kept_alive() -> None:
    program(
        ON
        + """
import gc, weakref
one, other = gevent.socket.socketpair()
gone = weakref.ref(one)
number = one.fileno()
one.close()
del one
gc.collect()
assert gone() is None
"""
    )


def test_tls_is_not_waited_for() -> None:
    """Plaintext below it would be wrong in any case, and is its caller's doing; the seam adds nothing to it."""
    program(
        ON
        + """
import gevent.ssl as ssl
one, other = gevent.socket.socketpair()
context = ssl.create_default_context()
wrapped = context.wrap_socket(one, server_hostname="localhost", do_handshake_on_connect=False)
plain = gevent.socket.socket(fileno=os.dup(wrapped.fileno()))
stuck(plain)
file, _ = filled(10)
refused(lambda: os.sendfile(wrapped.fileno(), file.fileno(), 0, 10), BlockingIOError)
"""
    )


# -- event loops of their own ------------------------------------------------------------------------------


@pytest.mark.slow
def test_asyncio_is_not_frozen() -> None:
    """Its sock_sendfile calls os.sendfile and waits by itself; the reader is in the same loop."""
    program(
        ON
        + """
import asyncio, socket
file, content = filled(5_000_000)
file.seek(0)
here, there = socket.socketpair()
assert isinstance(here, gevent.socket.socket)
here.setblocking(False); there.setblocking(False)
async def read(loop):
    parts = []
    while data := await loop.sock_recv(there, 1 << 16):
        parts.append(data)
    return b"".join(parts)
async def main():
    loop = asyncio.get_running_loop()
    reading = asyncio.ensure_future(read(loop))
    assert await loop.sock_sendfile(here, file, fallback=False) == len(content)
    here.close()
    return await reading
assert asyncio.run(main()) == content
"""
    )


@pytest.mark.slow
def test_pyftpdlib_is_not_frozen() -> None:
    """A client that reads late, and another one that is served meanwhile: both by the server's os.sendfile."""
    program(
        ON
        + """
import ftplib, shutil, warnings
warnings.simplefilter("ignore")
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
logging.getLogger("pyftpdlib").setLevel(logging.ERROR)
folder = tempfile.mkdtemp()
content = os.urandom(8_000_000)
with open(os.path.join(folder, "file.bin"), "wb") as out:
    out.write(content)
calls = []
import pyftpdlib.handlers
assert pyftpdlib.handlers.FTPHandler.use_sendfile
original = pyftpdlib.handlers.DTPHandler.initiate_sendfile
def counted(self, *args):
    calls.append(1)
    return original(self, *args)
pyftpdlib.handlers.DTPHandler.initiate_sendfile = counted
authorizer = DummyAuthorizer()
authorizer.add_anonymous(folder)
class Handler(FTPHandler): pass
Handler.authorizer = authorizer
server = FTPServer(("127.0.0.1", 0), Handler)
serving = gevent.spawn(server.serve_forever, handle_exit=False)
def client():
    ftp = ftplib.FTP()
    ftp.connect(*server.address[:2], timeout=20)
    ftp.login()
    ftp.voidcmd("TYPE I")
    return ftp, ftp.transfercmd("RETR file.bin")
late, held = client()
prompt, data = client()
assert b"".join(iter(lambda: data.recv(1 << 16), b"")) == content
assert b"".join(iter(lambda: held.recv(1 << 16), b"")) == content
assert len(calls) > 2, calls
for connection in (held, data, late, prompt):
    connection.close()
server.close_all()
serving.kill()
shutil.rmtree(folder)
"""
    )
