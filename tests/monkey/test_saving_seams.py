"""Uploads being kept, by Django, Werkzeug and Bottle: their own code, and how the bytes went.

Rules: Django is configured in programs of their own; what its code promises (locks, O_EXCL, metadata, names) is
held beside the bytes and the mechanism.
"""

import io
import tempfile
from collections.abc import Iterator
from typing import Any

import bottle
import gevent
import pytest
from werkzeug.datastructures import FileStorage

import gzc
import gzc.monkey

from .._ends import KIB, MIB, Ends, payload
from .._program import PRELUDE
from .._program import program as run_program

TOOLS = (
    PRELUDE
    + """
import gevent.monkey; gevent.monkey.patch_all()
import fcntl, tempfile
import gevent, gzc
gevent.get_hub()
from django.conf import settings
ROOT = tempfile.mkdtemp()
settings.configure(MEDIA_ROOT=ROOT, FILE_UPLOAD_TEMP_DIR=None)
from django.core.files.storage import FileSystemStorage
from django.core.files.storage import filesystem
from django.core.files.move import file_move_safe
from django.core.files import move, locks
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import TemporaryUploadedFile, InMemoryUploadedFile, SimpleUploadedFile

CONTENT = os.urandom(3_000_017)

def moved(trace):
    return {name: count for name, count in trace.bytes.items() if count}

def other_file_system():
    '''As in a container with /tmp on another: rename is refused.'''
    def rename(*args):
        raise OSError(18, "as if another file system")
    os.rename = rename

def temporary():
    upload = TemporaryUploadedFile("name.bin", "application/octet-stream", len(CONTENT), None)
    upload.write(CONTENT)
    upload.flush()
    upload.seek(0)
    return upload

def a_file(content=CONTENT, name="file"):
    path = f"{ROOT}/{name}"
    with open(path, "wb") as file:
        file.write(content)
    return path
"""
)


def program(code: str) -> None:
    run_program(code, env={"GZC": "1"}, prelude=TOOLS)


@pytest.fixture
def seams() -> Iterator[None]:
    gevent.get_hub()
    gzc.monkey.patch("shutil")
    gzc.monkey.patch("bottle-save")
    yield
    gzc.unpatch_all()


def moved(trace: Any) -> dict[str, int]:
    return {name: count for name, count in trace.bytes.items() if count}


# -- Werkzeug ----------------------------------------------------------------------------------------------


def test_werkzeugs_save_of_a_rolled_upload_goes_below(ends: Ends, seams: None) -> None:
    content = payload(2 * MIB)
    for limit, how in ((500 * KIB, {"copy_file_range": 2 * MIB}), (4 * MIB, {})):
        with tempfile.SpooledTemporaryFile(limit, "rb+") as spool, gzc.trace() as trace:
            spool.write(content)
            spool.seek(0)
            target = ends.folder / "saved"
            FileStorage(spool, "name").save(target)
            assert target.read_bytes() == content
            assert spool.tell() == len(content)
        assert moved(trace) == how


# -- Bottle ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 7])
def test_bottles_save_goes_below_and_leaves_the_upload_where_it_was(ends: Ends, seams: None, start: int) -> None:
    content = payload(MIB)
    for file, how in (
        (ends.file(content, "r+b"), {"copy_file_range": MIB - start}),
        (io.BytesIO(content), {}),
    ):
        file.seek(start)
        target = ends.folder / "saved"
        with gzc.trace() as trace:
            bottle.FileUpload(file, "name", "file.bin").save(str(target), overwrite=True)
        assert target.read_bytes() == content[start:]
        assert file.tell() == start
        assert moved(trace) == how
        into = io.BytesIO()
        bottle.FileUpload(file, "name", "file.bin").save(into, chunk_size=1000)
        assert into.getvalue() == content[start:]


def test_bottles_method_is_given_back(seams: None) -> None:
    ours = vars(bottle.FileUpload)["_copy_file"]
    gzc.unpatch_all()
    assert vars(bottle.FileUpload)["_copy_file"] is ours.__wrapped__


# -- Django ------------------------------------------------------------------------------------------------


def test_an_upload_from_another_file_system_is_moved_below() -> None:
    program(
        """
        assert "django-save" in gzc.patched(), gzc.seams()
        other_file_system()
        upload = temporary()
        path = upload.temporary_file_path()
        os.chmod(path, 0o640)
        os.utime(path, (1, 2))
        held = []
        real = locks.lock
        locks.lock = lambda fd, flags: held.append((flags, os.fstat(fd).st_size)) or real(fd, flags)
        with gzc.trace() as trace:
            name = FileSystemStorage().save("saved.bin", upload)
        assert moved(trace) == {"copy_file_range": len(CONTENT) - 65536}, trace
        saved = os.path.join(ROOT, name)
        assert open(saved, "rb").read() == CONTENT
        assert os.stat(saved).st_mtime == 2, "copystat"
        assert os.stat(saved).st_mode & 0o777 == 0o644, "FILE_UPLOAD_PERMISSIONS"
        assert held == [(fcntl.LOCK_EX, 0)], held
        assert not os.path.exists(path)
        again = FileSystemStorage().save("saved.bin", temporary())
        assert again != name, "the name is taken"
        """
    )


def test_file_move_safe_keeps_its_promises() -> None:
    """Early importers have it, too; what stood there is the very code object."""
    program(
        """
        other_file_system()
        assert filesystem.file_move_safe is file_move_safe is move.file_move_safe
        old, new = a_file(name="old"), a_file(b"here", name="new")
        try:
            file_move_safe(old, new)
        except FileExistsError:
            pass
        else:
            raise AssertionError("overwritten")
        assert open(new, "rb").read() == b"here"
        with gzc.trace() as trace:
            file_move_safe(old, new, allow_overwrite=True)
        assert moved(trace) and open(new, "rb").read() == CONTENT and not os.path.exists(old)
        with gzc.trace() as trace:
            file_move_safe(a_file(b"", "e1"), f"{ROOT}/e2")
            file_move_safe(a_file(b"small", "s1"), f"{ROOT}/s2", chunk_size=2)
        assert open(f"{ROOT}/e2", "rb").read() == b"" and open(f"{ROOT}/s2", "rb").read() == b"small"
        assert moved(trace) == {}
        ours = file_move_safe.__code__
        import inspect
        assert str(inspect.signature(file_move_safe)) == (
            "(old_file_name, new_file_name, chunk_size=65536, allow_overwrite=False)")
        gzc.unpatch_all()
        theirs = file_move_safe.__code__
        assert theirs is not ours and theirs.co_filename == move.__file__
        gzc.patch_all()
        gzc.unpatch_all()
        assert file_move_safe.__code__ is theirs
        # mocks of the module's names are seen
        gzc.patch_all()
        seen = []
        move.copystat = lambda *args: seen.append(args)
        file_move_safe(a_file(name="m1"), f"{ROOT}/m2")
        assert len(seen) == 1
        """
    )


def test_chunks_of_a_plain_file_are_saved_below() -> None:
    program(
        """
        path = a_file()
        with open(path, "rb") as file:
            with gzc.trace() as trace:
                name = FileSystemStorage().save("saved", File(file, "file"))
            assert file.tell() == len(CONTENT)
        assert moved(trace) == {"copy_file_range": len(CONTENT) - 65536}, trace
        assert open(f"{ROOT}/{name}", "rb").read() == CONTENT

        class Doubling(File):
            def chunks(self, chunk_size=None):
                for chunk in super().chunks(chunk_size):
                    yield chunk + chunk

        class Upper(File):
            def read(self, size=-1):
                return self.file.read(size).upper()

        with open(path, "rb") as file, gzc.trace() as trace:
            name = FileSystemStorage().save("doubled", Doubling(file, "file"))
            assert os.path.getsize(f"{ROOT}/{name}") == 2 * len(CONTENT)
            name = FileSystemStorage().save("upper", Upper(file, "file"))
            assert open(f"{ROOT}/{name}", "rb").read() == b"".join(
                CONTENT[at:at + 65536].upper() for at in range(0, len(CONTENT), 65536))
            name = FileSystemStorage().save("memory", SimpleUploadedFile("n", CONTENT))
            assert open(f"{ROOT}/{name}", "rb").read() == CONTENT
            name = FileSystemStorage().save("text", ContentFile("täxt" * 50_000))
            assert open(f"{ROOT}/{name}").read() == "täxt" * 50_000
            name = FileSystemStorage().save("empty", ContentFile(b""))
            assert open(f"{ROOT}/{name}", "rb").read() == b""
        assert moved(trace) == {}, trace
        """
    )


@pytest.mark.parametrize("how", ["object", "class", "class before gzc", "another object"])
def test_chunks_of_the_programs_own_are_what_is_saved(how: str) -> None:
    """A program that encrypts or scans: nothing of the file itself may be saved behind its ``chunks``."""
    program(
        """
        how = "HOW"
        if how == "class before gzc":
            gzc.unpatch_all()
        plain, of_class = File.chunks, how.startswith("class")

        def upper(self, chunk_size=None):
            for chunk in plain(self, chunk_size):
                yield chunk.upper()

        with open(a_file(b"secret--" * 100_000), "rb") as file:
            content = File(file, "file")
            if of_class:
                File.chunks = upper
            elif how == "object":
                content.chunks = lambda chunk_size=None: upper(content, chunk_size)
            else:
                content.chunks = ContentFile(b"SECRET--" * 100_000).chunks
            if how == "class before gzc":
                gzc.patch_all()
            name = FileSystemStorage().save("saved", content)
        assert "django-save" in gzc.patched()
        assert open(f"{ROOT}/{name}", "rb").read() == b"SECRET--" * 100_000
        """.replace("HOW", how)
    )


def test_a_save_that_is_killed_lets_go_of_everything() -> None:
    program(
        """
        other_file_system()
        from inside import _claims
        class Stop(BaseException): pass
        real = gzc.Transfer._run
        def run(self):
            real(self)
            raise Stop
        gzc.Transfer._run = run
        fds = set(os.listdir("/proc/self/fd"))
        for source in (temporary, lambda: File(open(a_file(), "rb"), "file")):
            upload = source()
            try:
                FileSystemStorage().save("saved", upload)
            except Stop:
                pass
            else:
                raise AssertionError("not stopped")
            upload.close()
            del upload
        assert _claims._claims == {}
        gzc.Transfer._run = real
        import gc; gc.collect()
        gevent.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) <= len(fds) + 4
        name = FileSystemStorage().save("saved", temporary())
        assert open(f"{ROOT}/{name}", "rb").read() == CONTENT
        """
    )
