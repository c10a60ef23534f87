"""`shutil.copyfileobj` and its kin under gzc: what they do, beside what the originals do.

Rules: every result is compared with the original's on ends of the same make, and how the bytes went is asserted
by the trace. What patches the whole process is a program of its own.
"""

import contextlib
import errno
import functools
import io
import itertools
import os
import shutil
import socketserver
import ssl
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import ssl as gssl
from gevent.fileobject import FileObjectPosix

import gzc
import gzc.monkey

from .._ends import KIB, MIB, PATIENCE, Ends, at_rest, error, payload
from .._inside import SEAMS, _claims, _storage
from .._pairs import HEAD, SINKS, SOURCES, TAIL, Scripted, Taken, pipes_open, raised
from .._program import cpythons_own, program
from .._server import Folder
from ..kernel.test_disk import Held

#: The original, as callable as ever: nothing is patched while this module is imported.
STOCK = types.FunctionType(*(shutil.copyfileobj.__code__, vars(shutil), "copyfileobj", shutil.copyfileobj.__defaults__))
EARLY_IMPORTER = shutil.copyfileobj

#: By which `copyfile` copies in this Python.
WAYS = [way for way in ("_fastcopy_sendfile", "_fastcopy_copy_file_range") if hasattr(shutil, way)]


@pytest.fixture(autouse=True)
def seam() -> Iterator[None]:
    gzc.monkey.patch("socketserver")
    gzc.monkey.patch("shutil")
    yield
    gzc.unpatch_all()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with Ends(tmp_path) as made:
        yield made


def _to_writer(ends: Ends) -> Taken:
    """What a handler of socketserver writes to."""
    inner = SINKS["unix"](ends)
    writer = ends.keep(socketserver._SocketWriter(inner.obj))  # type: ignore[attr-defined]
    return Taken(writer, writer.write, inner.content)


ALL_SINKS = {**SINKS, "_SocketWriter": _to_writer}
PLAIN_PIPE = "pipe"  # in blocking mode: the original would hold the hub, on which the other side waits

Copy = Callable[..., Any]


def moved(trace: Any) -> dict[str, int]:
    return {name: count for name, count in trace.bytes.items() if count}


def tell(obj: Any) -> object:
    try:
        return obj.tell()
    except (OSError, AttributeError) as exc:
        return type(exc)


def outcome(copy: Copy, ends: Ends, source: str, sink: str, content: bytes, length: object) -> tuple[object, ...]:
    """Everything that can be seen of one copy."""
    given, taken = SOURCES[source](ends, content, MIB), ALL_SINKS[sink](ends)
    error: object = None
    with gevent.Timeout(PATIENCE):
        try:
            answer = copy(given.obj, taken.obj, length)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is compared
            answer, error = "raised", (type(exc), str(exc))
        # /dev/null has a position of its own liking
        at = None if sink == "/dev/null" else (tell(given.obj), tell(taken.obj))
        if error is None:
            taken.write(TAIL)
        return answer, error, at, given.rest(), taken.content()


def mechanism(source: str, sink: str) -> str | None:
    """What is to be booked for a large copy; None: all is left to the original."""
    if source in ("tcp", "unix") or sink in ("tcp", "unix", "bytearray", "BytesIO"):
        return None
    if sink == "file ab":
        return "userspace"
    if source != "file":
        return "splice"
    if sink.startswith("file"):
        return "copy_file_range"
    return None if sink.startswith("pipe") else "sendfile"


@pytest.mark.parametrize(
    ("source", "sink"), [pair for pair in itertools.product(SOURCES, ALL_SINKS) if pair != (PLAIN_PIPE, "BytesIO")]
)
def test_every_pair_ends_as_with_the_original(tmp_path: Path, source: str, sink: str) -> None:
    """P4, O12, F1: bytes, positions, what is raised; a socket has no `read`, and must be refused all the same."""
    number = 0
    how = mechanism(source, sink)
    # Left to the original, which holds the hub when a pipe in blocking mode is full.
    holds_the_hub = (source, sink) == ("file", PLAIN_PIPE)
    for size in (0, 1000, 40_000 if holds_the_hub else 200_001):
        for length in (0, -1, 16 * KIB, None):
            content = payload(size, 11)
            results = []
            for copy in (shutil.copyfileobj, STOCK):
                number += 1
                folder = tmp_path / str(number)
                folder.mkdir()
                with Ends(folder) as ends:
                    if copy is STOCK and PLAIN_PIPE in (source, sink):
                        continue
                    with gzc.trace() as trace:
                        results.append(outcome(copy, ends, source, sink, content, length))
                if copy is not STOCK and size > gzc.config.small:
                    went = moved(trace)
                    assert set(went) - {"userspace"} == {how} - {"userspace", None}, (went, trace.refused)
                    assert sum(went.values()) == (size if how else 0)
            assert results[0] == results[-1]
            if results[0][1] is None and sink != "/dev/null":
                assert results[0][4] == HEAD + content + TAIL


def broken(ends: Ends) -> dict[str, Callable[[], tuple[Any, Any]]]:
    def closed(file: Any) -> Any:
        file.close()
        return file

    def text(mode: str) -> Any:
        return ends.keep(open(ends.path(b"x" * 100_000), mode, encoding="latin-1"))

    def source() -> Any:
        return ends.file(payload(100_000))

    def sink() -> Any:
        return ends.file(b"", "wb")

    return {
        "source closed": lambda: (closed(source()), sink()),
        "sink closed": lambda: (source(), closed(sink())),
        "source write-only": lambda: (ends.file(b"", "wb"), sink()),
        "sink read-only": lambda: (source(), source()),
        "text source": lambda: (text("r"), sink()),
        "text sink": lambda: (source(), text("w")),
        "both text": lambda: (text("r"), text("w")),
        "nothing": lambda: (None, None),
        "number": lambda: (source(), 1),
        "/dev/full": lambda: (source(), ends.keep(open("/dev/full", "wb", 0))),
        "length of another kind": lambda: (source(), sink(), "many"),
        "float": lambda: (source(), sink(), 1.5),
    }


@pytest.mark.parametrize("case", broken(None))  # type: ignore[arg-type]
def test_what_the_original_refuses_is_refused_in_its_words(ends: Ends, case: str) -> None:
    """O11, O15: the same type, the same text, and the same state of both ends."""
    results = []
    for copy in (shutil.copyfileobj, STOCK):
        given = broken(ends)[case]()
        try:
            copy(*given)
            error: object = None
        except Exception as exc:  # noqa: BLE001 - compared
            error = type(exc), str(exc).split("'")[0], getattr(exc, "errno", None)
        with contextlib.suppress(ValueError):
            results.append((error, *(None if obj is None or isinstance(obj, int) else tell(obj) for obj in given[:2])))
            continue
        results.append((error, "closed"))
    assert results[0] == results[1]
    assert (results[0][0] is None) is (case == "both text")


def test_a_file_onto_itself_stays_as_it_was(ends: Ends) -> None:
    """C10, C11, C12: ranges that overlap are copied block by block, whatever comes of it."""
    contents = []
    for copy in (shutil.copyfileobj, STOCK):
        path = ends.path(payload(300_000))
        with open(path, "rb") as src, open(path, "r+b") as dst, gzc.trace() as trace:
            src.seek(20_000)
            copy(src, dst, 50_000)
        assert moved(trace) == {}
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_a_file_in_proc_has_its_content(ends: Ends) -> None:
    """F1, F2, C1: its size is 0."""
    sink = ends.file(b"", "w+b")
    with open("/proc/self/maps", "rb") as maps:
        shutil.copyfileobj(maps, sink)
    sink.seek(0)
    assert b"[stack]" in sink.read()


def test_file_to_pipe_shares_no_pages(ends: Ends) -> None:
    """M8: what is written into the file afterwards does not show in what the reader has not read yet."""
    content = payload(50_000)
    path = ends.path(content)
    reader, writer = os.pipe()
    with open(reader, "rb") as out, open(path, "r+b") as file:
        with FileObjectPosix(writer, "wb") as into, gzc.trace() as trace:
            shutil.copyfileobj(file, into)
        file.seek(0)
        file.write(b"\0" * len(content))
        file.flush()
        assert out.read() == content
    assert moved(trace) == {}


def test_a_writer_of_somebodys_own_gets_the_blocks_it_asked_for(ends: Ends) -> None:
    sizes = []

    class Counting(io.FileIO):
        def write(self, data: Any) -> int:
            sizes.append(len(data))
            return super().write(data)

    shutil.copyfileobj(ends.file(payload(300_000)), ends.keep(Counting(ends.path(), "wb")), 16 * KIB)
    assert max(sizes) == 16 * KIB


def test_a_pipe_gets_larger_blocks() -> None:
    """M8: it stays in user space, where larger blocks are what can be gained."""
    program(
        """
        import gzc; gzc.patch_all()
        import gevent, shutil, subprocess, tempfile
        gevent.get_hub()
        def reads():
            return int(open("/proc/self/io").read().split("syscr:")[1].split()[0])
        with tempfile.TemporaryFile() as file, subprocess.Popen(["cat"], stdin=-1, stdout=-3) as cat:
            file.write(bytes(1 << 24))
            file.seek(0)
            before = reads()
            shutil.copyfileobj(file, cat.stdin)
            assert file.tell() == 1 << 24
            # 256 reads of shutil's 64 KiB, or 64; the hub's own of its event descriptors come on top.
            assert reads() - before < 160, reads() - before
        """
    )


def test_early_importers_are_reached_and_the_code_is_given_back(ends: Ends) -> None:
    """P11: who imported it by name has the function; undo restores the very code object."""
    original = STOCK.__code__
    assert EARLY_IMPORTER is shutil.copyfileobj
    assert EARLY_IMPORTER.__code__ is not original
    with gzc.trace() as trace:
        EARLY_IMPORTER(ends.file(payload(MIB)), ends.file(b"", "wb"))
    assert moved(trace) == {"copy_file_range": MIB}
    fast = [getattr(shutil, way) for way in WAYS]
    for _ in range(2):
        gzc.unpatch_all()
        assert EARLY_IMPORTER.__code__ is original
        assert [getattr(shutil, way) for way in WAYS] == [one.__wrapped__ for one in fast]
        assert not hasattr(socketserver._SocketWriter, "__gzc_sink__")  # type: ignore[attr-defined]
        assert EARLY_IMPORTER.__defaults__ == (0,)
        gzc.monkey.patch("shutil")
        gzc.monkey.patch("shutil")
        assert EARLY_IMPORTER.__code__ is not original


@pytest.mark.parametrize("kind", ["makefile", "_SocketWriter"])
def test_a_writer_over_tls_is_written_to_by_itself(ends: Ends, folder: Folder, certificates: Any, kind: str) -> None:
    """P9, O10: below it, the bytes would go out in plain."""
    server = gssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder.path / "server.pem", folder.path / "server.key")
    client = gssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    inside, outside = ends.unix()
    shaking = ends.spawn(lambda: server.wrap_socket(inside, server_side=True))
    there = ends.keep(client.wrap_socket(outside))
    here = ends.keep(shaking.get(timeout=PATIENCE))
    content = payload(MIB)
    dst: Any = socketserver._SocketWriter(here) if kind == "_SocketWriter" else here.makefile("wb")  # type: ignore[attr-defined]
    assert gzc.explain(ends.file(content), dst).mechanism == "userspace"

    def send() -> None:
        shutil.copyfileobj(ends.file(content), dst)
        dst.flush()

    with gzc.trace() as trace:
        sending = ends.spawn(send)
        assert ends.peer(there).take(len(content)) == content
        sending.get(timeout=PATIENCE)
    assert moved(trace) == {}


# -- interruptions -----------------------------------------------------------------------------------------


STOPS = {"Timeout": gevent.Timeout, "kill": gevent.GreenletExit}


def _stop(stop: str, run: Callable[[], object], has_all: Callable[[], bool] = lambda: True) -> None:
    """Interrupt ``run`` once it has all that it can have, however busy the machine is."""
    copying = gevent.spawn(raised, own := STOPS[stop], run)
    at_rest()
    with gevent.Timeout(PATIENCE):
        while not has_all():
            gevent.sleep(0.001)
    at_rest()
    assert not copying.dead
    copying.kill(own(), timeout=PATIENCE)
    copying.get(timeout=PATIENCE)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("sink", ["file wb", "file r+b", "makefile", "pipe FileObject", "_SocketWriter", "/dev/null"])
@pytest.mark.parametrize("source", ["makefile", "pipe FileObject"])
def test_a_source_that_stalls_is_left_and_copied_on(ends: Ends, source: str, sink: str, stop: str) -> None:
    """M23: no claim, no pipe, nothing lost; the same objects go on with the same code."""
    content = payload(300_000, 3)
    writer: Any
    if source == "makefile":
        here, writer = ends.unix()
        src = ends.keep(here.makefile("rb"))
        send, end = writer.sendall, functools.partial(writer.shutdown, 1)
    else:
        reader, fd = os.pipe()
        src = ends.keep(FileObjectPosix(reader, "rb"))
        writer = ends.keep(FileObjectPosix(fd, "wb", 0))
        end = writer.close

        def send(data: bytes) -> None:
            view = memoryview(data)
            while view:
                view = view[writer.write(view) :]

    taken = ALL_SINKS[sink](ends)
    feeder = ends.spawn(send, content[:200_000])
    pipes = pipes_open()

    def has_all() -> bool:
        return feeder.dead and (
            not sink.startswith("file") or os.fstat(taken.obj.fileno()).st_size == len(HEAD) + 200_000
        )

    _stop(stop, lambda: shutil.copyfileobj(src, taken.obj), has_all)
    assert _claims._claims == {}
    assert pipes_open() <= pipes + 2 * gzc.config.pool_pipes
    if sink.startswith("file"):
        assert taken.obj.tell() == len(HEAD) + 200_000

    def rest() -> None:
        send(content[200_000:])
        end()

    ends.spawn(rest)
    with gevent.Timeout(PATIENCE), gzc.trace() as trace:
        shutil.copyfileobj(src, taken.obj)
        taken.write(TAIL)
        got = taken.content()
    assert got in (None, HEAD + content + TAIL)
    assert sum(moved(trace).values()) == 100_000
    assert set(moved(trace)) <= {"splice", "userspace"}


def test_bytes_on_their_way_do_not_outlive_the_copy_that_was_interrupted(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    """M23: nobody who calls shutil knows of ``exc.transfer``: a kept exception must not keep ends and pipe."""
    here, _ = ends.stuck()
    src, feeding = ends.unix()
    ends.feeding(feeding, payload(MIB))
    gevent.sleep(0)
    dst = ends.keep(here.makefile("wb"))
    with (
        caplog.at_level("INFO", "gzc"),
        pytest.raises(gevent.Timeout) as caught,
        gevent.Timeout(0.05),
    ):
        shutil.copyfileobj(src.makefile("rb"), dst)
    (transfer,) = gzc.transfers_of(caught.value)
    assert _claims._claims == {}
    assert transfer.in_flight == 0
    assert any("were not written" in line for line in caplog.messages)
    with pytest.raises(gzc.TransferClosedError):
        transfer.run()


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("sink", ["makefile", "_SocketWriter"])
def test_a_sink_that_stalls_leaves_the_file_where_it_was_delivered(ends: Ends, sink: str, stop: str) -> None:
    here, peer = ends.stuck()
    content = payload(MIB)
    src = ends.file(content)
    writer: Any = socketserver._SocketWriter  # type: ignore[attr-defined]
    dst = ends.keep(here.makefile("wb") if sink == "makefile" else writer(here))
    _stop(stop, lambda: shutil.copyfileobj(src, dst))
    assert _claims._claims == {}
    assert src.tell() == 0, "nothing was delivered, and the file says so"
    peer.start()
    with gevent.Timeout(PATIENCE), gzc.trace() as trace:
        shutil.copyfileobj(src, dst)
    dst.close()
    here.shutdown(1)
    assert peer.all()[peer.filled :] == content  # type: ignore[attr-defined]
    assert moved(trace) == {"sendfile": MIB}


def test_a_timeout_of_the_source_marks_its_makefile_as_the_original_does(ends: Ends) -> None:
    here, there = ends.unix()
    here.settimeout(0.05)
    errors = []
    for copy in (shutil.copyfileobj, STOCK):
        src = ends.keep(here.makefile("rb"))
        there.sendall(b"some")
        with pytest.raises(TimeoutError) as caught:
            copy(src, ends.file(b"", "wb"))
        with pytest.raises(OSError, match="timed out object") as after:
            src.read(1)
        errors.append((type(caught.value), str(caught.value), str(after.value)))
    assert errors[0] == errors[1]


def test_a_makefile_that_timed_out_before_is_refused_as_by_the_original(ends: Ends) -> None:
    """Bytes that its buffered reader had taken went with the exception: to go on would leave them out."""
    errors = []
    for copy in (shutil.copyfileobj, STOCK):
        here, there = ends.unix()
        here.settimeout(0.05)
        src = ends.keep(here.makefile("rb"))
        there.sendall(b"some")
        with pytest.raises(TimeoutError):
            src.read(100)
        there.sendall(payload(100_000))
        there.close()
        with pytest.raises(OSError, match="timed out object") as caught:
            copy(src, dst := ends.file(b"", "wb"))
        errors.append((type(caught.value), str(caught.value), dst.tell()))
    assert errors[0] == errors[1]


def test_a_socket_in_non_blocking_mode_ends_as_with_the_original(ends: Ends) -> None:
    for copy in (shutil.copyfileobj, STOCK):
        here, there = ends.unix()
        there.sendall(payload(100_000))
        here.setblocking(False)
        src, dst = here.makefile("rb"), ends.file(b"", "wb")
        with src:
            assert copy(src, dst) is None
        assert dst.tell() == 100_000


def test_ends_in_use_go_the_old_way(ends: Ends) -> None:
    """B16: a claimed end is somebody else's; the original reads and writes as it always did."""
    here, peer = ends.stuck()
    content = payload(MIB)
    src, dst = ends.file(content), ends.file(b"", "wb")
    first = ends.spawn(shutil.copyfileobj, src, ends.keep(here.makefile("wb")))
    with gevent.Timeout(PATIENCE):
        while not _claims._claims:
            at_rest()
    with gzc.trace() as trace:
        shutil.copyfileobj(src, dst)
    assert (dst.tell(), moved(trace)) == (MIB, {})
    peer.start()
    first.get(timeout=PATIENCE)
    here.shutdown(1)
    assert peer.all()[peer.filled :] == content  # type: ignore[attr-defined]


def test_greenlets_that_share_a_file_object_find_it_behind_the_copy(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without gzc nobody has a turn during a copy between files, so nobody writes or reads in the middle of it."""
    monkeypatch.setattr(_storage, "storage", lambda fd: _storage.Storage.LOCAL)  # never done in the hub
    content = payload(MIB)
    out = ends.file(b"", "w+b")
    writers = [ends.spawn(shutil.copyfileobj, ends.file(content), out) for _ in range(3)]
    writers.append(ends.spawn(out.write, b"line"))
    src, parts = ends.file(content), [ends.file(b"", "wb") for _ in range(3)]
    readers = [ends.spawn(shutil.copyfileobj, src, part) for part in parts]
    with gzc.trace() as trace:
        gevent.joinall([*writers, *readers], timeout=PATIENCE, raise_error=True)
    assert moved(trace) == {"copy_file_range": 2 * MIB}  # the first of each; the others find an end claimed
    out.seek(0)
    assert out.read() == 3 * content + b"line"
    assert [part.tell() for part in parts] == [MIB, 0, 0]


# -- copyfile and its kin ----------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", [shutil.copyfile, shutil.copy, shutil.copy2, shutil.move])
def test_copies_by_name_go_below_in_the_pool(ends: Ends, copy: Copy) -> None:
    """P5."""
    content = payload(20 * MIB)
    src, dst = ends.path(content), ends.folder / "copy"
    if copy is shutil.move:
        copy = functools.partial(shutil.move, copy_function=shutil.copyfile)
        src = ends.folder / "other" / "file"
        src.parent.mkdir()
        src.write_bytes(content)
        real = os.rename
        try:
            os.rename = lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "as if another file system"))
            with gzc.trace() as trace:
                copy(src, dst)
        finally:
            os.rename = real
    else:
        with gzc.trace() as trace:
            copy(src, dst)
    assert dst.read_bytes() == content
    assert moved(trace) == {"copy_file_range": len(content)}


def test_copytree_goes_below(ends: Ends) -> None:
    tree = ends.folder / "tree" / "below"
    tree.mkdir(parents=True)
    for number in range(3):
        (tree / str(number)).write_bytes(payload(MIB, number))
    with gzc.trace() as trace:
        shutil.copytree(ends.folder / "tree", ends.folder / "copy")
    assert [(ends.folder / "copy/below" / str(n)).read_bytes() for n in range(3)] == [payload(MIB, n) for n in range(3)]
    assert moved(trace) == {"copy_file_range": 3 * MIB}


def test_in_a_native_thread_the_original_copies(ends: Ends) -> None:
    """G5: there is no hub to hold."""
    src, dst = ends.path(payload(MIB)), ends.folder / "copy"

    def work() -> None:
        shutil.copyfile(src, dst)
        with open(src, "rb") as a, open(os.devnull, "wb") as b:
            shutil.copyfileobj(a, b)

    thread = gevent.monkey.get_original("threading", "Thread")(target=work)
    with gzc.trace() as trace:
        thread.start()
        thread.join(PATIENCE)
    assert dst.read_bytes() == payload(MIB)
    assert moved(trace) == {}


def test_on_the_hub_the_original_copies(ends: Ends) -> None:
    src, dst = ends.path(payload(MIB)), ends.folder / "copy"
    done = gevent.event.Event()

    def callback() -> None:
        shutil.copyfile(src, dst)
        done.set()

    with gzc.trace() as trace:
        gevent.get_hub().loop.run_callback(callback)
        assert done.wait(PATIENCE)
    assert dst.read_bytes() == payload(MIB)
    assert moved(trace) == {}


def test_errors_of_copyfile_name_both_files() -> None:
    """C21: a full disk (here: a limit) is raised with both names, and the copy is as long as it could be."""
    program(
        """
        import gzc; gzc.patch_all()
        import errno, gevent, resource, shutil, tempfile
        gevent.get_hub()
        folder = tempfile.mkdtemp()
        with open(f"{folder}/a", "wb") as file:
            file.write(os.urandom(3_000_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        with gzc.trace() as trace:
            try:
                shutil.copyfile(f"{folder}/a", f"{folder}/b")
            except OSError as exc:
                assert (exc.errno, exc.filename, exc.filename2) == (errno.EFBIG, f"{folder}/a", f"{folder}/b"), exc
            else:
                raise AssertionError("no error")
            assert os.path.getsize(f"{folder}/b") == 1_000_000
            with open(f"{folder}/a", "rb") as a, open(f"{folder}/c", "wb") as b:
                try:
                    shutil.copyfileobj(a, b)
                except OSError as exc:
                    assert exc.errno == errno.EFBIG
                else:
                    raise AssertionError("no error")
                assert a.tell() == b.tell() == 1_000_000
        assert trace.bytes["copy_file_range"] == 2_000_000, trace
        """
    )


@pytest.mark.parametrize(
    ("number", "fate"),
    [(errno.ENOTSOCK, "_GiveupOnFastCopy"), (errno.EIO, "_GiveupOnFastCopy"), (errno.ENOSPC, "OSError")],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_first_call_that_fails_is_given_up(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, way: str, number: int, fate: str
) -> None:
    """P3, P5: nothing is written yet, so the caller tries copyfileobj; ENOSPC is the truth."""
    Scripted(monkeypatch, "copy_file_range", others=error(number))
    with open(ends.path(payload(MIB)), "rb") as src, open(ends.path(), "wb") as dst, pytest.raises(Exception) as caught:  # noqa: PT011
        getattr(shutil, way)(src, dst)
    assert type(caught.value).__name__ == fate
    found = caught.value if fate == "OSError" else caught.value.args[0]
    assert (found.errno, found.filename, found.filename2) == (number, src.name, dst.name)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, None])
def test_a_timeout_that_is_an_oserror_is_no_answer_of_the_kernel(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    held = Held(monkeypatch, "copy_file_range")
    monkeypatch.setattr(gzc.config, "disk_grace", 0.05)
    mine = TimeoutError("mine") if number is None else OSError(number, "mine")
    copying = ends.spawn(shutil.copyfile, ends.path(payload(MIB)), ends.folder / "copy")
    held.wait_begun()
    copying.kill(mine, timeout=PATIENCE)
    held.finish()
    assert copying.exception is mine
    assert (mine.filename, mine.filename2) == (None, None)


def test_a_tracer_around_the_system_call_sees_it(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has taken over even the name of the function's module."""
    calls: list[str] = []
    name = WAYS[-1].removeprefix("_fastcopy_")  # what comes first in this Python
    original = getattr(os, name)

    @functools.wraps(original)
    def traced(*args: Any, **options: Any) -> Any:
        calls.append(name)
        return original(*args, **options)

    monkeypatch.setattr(os, name, traced)
    src, dst = ends.path(payload(MIB)), ends.folder / "copy"
    shutil.copyfile(src, dst)
    assert dst.read_bytes() == payload(MIB)
    assert set(calls) == {name}


def test_b10_a_file_system_that_answers_eagain_leaves_no_half_a_copy_behind_in_silence(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scripted(monkeypatch, "copy_file_range", {1: MIB}, others=error(errno.EAGAIN))
    src, dst = ends.path(payload(20 * MIB)), ends.folder / "copy"
    with pytest.raises(BlockingIOError) as caught:
        shutil.copyfile(src, dst)
    assert (caught.value.filename, caught.value.filename2) == (str(src), str(dst))
    assert _claims._claims == {}


class Prickly(io.BytesIO):
    """It can be read and written, and minds every other question."""

    @property
    def closed(self) -> bool:
        raise RuntimeError("not to be asked")

    readable = writable = None  # type: ignore[assignment]


def test_nobody_is_harmed_by_questions_the_original_does_not_ask(ends: Ends) -> None:
    content = payload(100_000)
    shutil.copyfileobj(ends.file(content), taken := Prickly())
    assert taken.getvalue() == content
    shutil.copyfileobj(Prickly(content), dst := ends.file(b"", "wb"))
    assert dst.tell() == len(content)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["copyfile(a, b)", "copyfileobj(open(a, 'rb'), open(b, 'wb'))", "appending"])
def test_the_hub_lives_while_a_gigabyte_is_copied(tmp_path: Path, how: str) -> None:
    """B9: stock, the hub gets no turn at all."""
    if how == "appending":
        how = "copyfileobj(open(a, 'rb'), open(b, 'ab'))"
    program(
        f"""
        import gzc; gzc.patch_all()
        import gevent
        from shutil import copyfile, copyfileobj
        a, b = {str(tmp_path / "a")!r}, {str(tmp_path / "b")!r}
        with open(a, "wb") as file:
            file.truncate(1 << 30)
        ticks = 0
        def tick():
            global ticks
            while True:
                gevent.sleep(0.001)
                ticks += 1
        ticker = gevent.spawn(tick)
        gevent.sleep(0.01)
        ticks = 0
        {how}
        ticker.kill()
        assert os.path.getsize(b) == 1 << 30
        assert ticks > 20, ticks
        """
    )


@pytest.mark.slow
@pytest.mark.parametrize("patched", [True, False])
def test_cpythons_own_tests_of_shutil(patched: bool) -> None:
    """INTEGRATIONS' acceptance suite: its zero-copy mixins put mocks in the place of os.sendfile."""
    cpythons_own("shutil", patched, "test.test_shutil")


def test_the_seam_belongs_to_the_standard_library() -> None:
    found = {seam.name: seam for seam in SEAMS}
    assert found["shutil"].stdlib
    assert found["tarfile"].stdlib
