"""`pathlib.Path.copy` and its kin under gzc, beside what they do without it. Python 3.14 has them.

Rules: every result is compared with the original's; how the bytes went is said by the trace, and of shared blocks by
the file system.
"""

import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import gzc
import gzc.monkey

from .._ends import KIB, MIB, PATIENCE, Ends, error, open_fds_unchanged, payload
from .._inside import _claims, _syscalls
from .._lacks import lacking, privileged, tool
from .._pairs import Scripted
from .._program import cpythons_own, program
from ..kernel.test_disk import Held, mounted

if sys.version_info < (3, 14):
    lacking("Path.copy came with Python 3.14", module=True)

_os: Any = getattr(pathlib, "_os", None)

CONTENT = payload(3 * MIB + 77)


@pytest.fixture(autouse=True)
def seam() -> Iterator[None]:
    gzc.monkey.patch("pathlib")
    assert "pathlib" in gzc.patched()
    yield
    gzc.unpatch_all()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with Ends(tmp_path) as made:
        yield made


@pytest.fixture
def film(tmp_path: Path) -> Any:
    path = tmp_path / "film"
    path.write_bytes(CONTENT)
    return path


def moved(trace: Any) -> dict[str, int]:
    return {name: count for name, count in trace.bytes.items() if count}


COPIES: dict[str, Callable[[Any, Path], Any]] = {
    "copy": lambda film, folder: film.copy(folder / "film"),
    "copy over": lambda film, folder: (folder / "film").write_bytes(b"x" * 4 * MIB) and film.copy(folder / "film"),
    "copy_into": lambda film, folder: film.copy_into(folder),
    "a folder": lambda film, folder: film.parent.joinpath("tree").copy(folder / "tree") / "film",
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_goes_below_in_the_pool(film: Any, tmp_path: Path, how: str) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "tree").mkdir()
    shutil.copy(film, tmp_path / "tree")
    with gzc.trace() as trace:
        there = COPIES[how](film, tmp_path / "to")
    assert moved(trace) == {"copy_file_range": len(CONTENT)}
    assert there.read_bytes() == CONTENT
    assert _claims._claims == {}


def test_a_move_to_another_file_system_goes_below(film: Any) -> None:
    memory = Path("/dev/shm")
    there = memory / f"gzc-{os.getpid()}"
    try:
        with gzc.trace() as trace:
            film.move(there)
        assert moved(trace) in ({"splice": len(CONTENT)}, {"copy_file_range": len(CONTENT)})
        assert there.read_bytes() == CONTENT
        assert not film.exists()
    finally:
        there.unlink(missing_ok=True)


@pytest.mark.parametrize("size", [0, 1, KIB, 16 * KIB, 16 * KIB + 1, MIB])
def test_every_size_and_metadata(tmp_path: Path, size: int) -> None:
    source: Any = tmp_path / "source"
    source.write_bytes(payload(size))
    source.chmod(0o640)
    os.utime(source, ns=(1, 2))
    there = source.copy(tmp_path / "there", preserve_metadata=True)
    assert there.read_bytes() == payload(size)
    assert (there.stat().st_mode & 0o777, there.stat().st_mtime_ns) == (0o640, 2)


def told(copy: Callable[[], object]) -> tuple[object, ...]:
    try:
        return ("done", copy())
    except Exception as exc:  # noqa: BLE001
        return type(exc), getattr(exc, "errno", None), getattr(exc, "filename", None), getattr(exc, "filename2", None)


CASES: dict[str, Callable[[Any, Path], object]] = {
    "no such file": lambda film, folder: film.with_name("none").copy(folder / "film"),
    "no such folder": lambda film, folder: film.copy(folder / "none" / "film"),
    "onto itself": lambda film, folder: film.copy(film),
    "onto its other name": lambda film, folder: os.link(film, folder / "link") or film.copy(folder / "link"),
    "onto a folder": lambda film, folder: film.copy(folder),
    "a link": lambda film, folder: (folder / "l").symlink_to(film) or (folder / "l").copy(folder / "m").read_bytes(),  # type: ignore[attr-defined]
    "a link as it is": lambda film, folder: (
        (folder / "l").symlink_to(film) or (folder / "l").copy(folder / "m", follow_symlinks=False).readlink()  # type: ignore[attr-defined]
    ),
    "out of /proc": lambda film, folder: Path("/proc/version").copy(folder / "v").read_bytes(),  # type: ignore[attr-defined]
    "to /dev/full": lambda film, folder: film.copy(Path("/dev/full")),
    "to /dev/null": lambda film, folder: film.copy(Path("/dev/null")),
    "out of /dev/null": lambda film, folder: Path("/dev/null").copy(folder / "n").read_bytes(),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("name", CASES)
def test_answers_and_errors_are_those_of_the_original(film: Any, tmp_path: Path, name: str) -> None:
    answers = []
    for patched in (True, False):
        if not patched:
            gzc.unpatch_all()
        folder = tmp_path / "to"
        folder.mkdir()
        answers.append(told(lambda folder=folder: CASES[name](film, folder)))
        shutil.rmtree(folder)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_names_both_files(film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    Scripted(monkeypatch, "copy_file_range", {1: MIB}, others=error(number))
    with pytest.raises(OSError) as caught:  # noqa: PT011
        film.copy(tmp_path / "there")
    assert caught.value.errno == number
    assert (caught.value.filename, caught.value.filename2) == (str(film), str(tmp_path / "there"))
    assert _claims._claims == {}


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EXDEV, errno.EBADF, errno.ETXTBSY])
def test_where_blocks_cannot_be_shared_they_are_copied(
    film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(_syscalls, "ficlone", Mock(side_effect=error(number)))
    with gzc.trace() as trace:
        assert film.copy(tmp_path / "there").read_bytes() == CONTENT
    assert moved(trace) == {"copy_file_range": len(CONTENT)}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.ENOSPC])
def test_other_answers_of_ficlone_are_errors(
    film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As with pathlib's own."""
    monkeypatch.setattr(_syscalls, "ficlone", Mock(side_effect=error(number)))
    with pytest.raises(OSError) as caught:  # noqa: PT011
        film.copy(tmp_path / "there")
    assert (caught.value.errno, caught.value.filename) == (number, str(film))


@pytest.mark.parametrize("way", ["_ficlone", "_copy_file_range", "_sendfile"])
def test_somebodys_own_in_place_of_what_it_calls_is_called(
    film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    calls: list[object] = []

    def mine(source: int, target: int) -> None:
        calls.append(way)
        os.sendfile(target, source, 0, len(CONTENT))

    for other in ("_ficlone", "_copy_file_range"):
        monkeypatch.setattr(_os, other, None)
    monkeypatch.setattr(_os, way, mine)
    assert film.copy(tmp_path / "there").read_bytes() == CONTENT
    assert calls == [way]


@pytest.mark.parametrize("call", ["ficlone", "copy_file_range"])
def test_an_interrupted_copy_leaves_nothing_claimed(
    ends: Ends, film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What a thread still does with duplicates of the descriptors reaches the two files, and no other."""
    with open_fds_unchanged():
        held = Held(monkeypatch, call)
        monkeypatch.setattr(gzc.config, "disk_grace", 0.05)
        copying = ends.spawn(film.copy, tmp_path / "there")
        held.wait_begun()
        copying.kill(timeout=PATIENCE)
        assert copying.dead
        assert _claims._claims == {}
        held.finish()
    assert film.read_bytes() == CONTENT
    assert CONTENT.startswith((tmp_path / "there").read_bytes())


@pytest.mark.parametrize(
    ("call", "number"),
    [("ficlone", errno.EXDEV), ("ficlone", None), ("copy_file_range", errno.EIO), ("copy_file_range", None)],
)
def test_a_timeout_that_is_an_oserror_is_no_answer_of_the_kernel(
    ends: Ends, film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int | None
) -> None:
    held = Held(monkeypatch, call)
    monkeypatch.setattr(gzc.config, "disk_grace", 0.05)
    mine = TimeoutError("mine") if number is None else OSError(number, "mine")
    copying = ends.spawn(film.copy, tmp_path / "there")
    held.wait_begun()
    copying.kill(mine, timeout=PATIENCE)
    held.finish()
    assert copying.exception is mine
    assert (mine.filename, mine.filename2) == (None, None)


def test_another_way_of_copying_is_not_passed_over() -> None:
    """R15: a `copyfileobj` of the future that tries something else first."""
    program(
        """
        import gzc.monkey, pathlib._os
        def copyfileobj(source_f, target_f):
            _reflink_range, _ficlone, _fcopyfile, _copy_file_range, _sendfile, ETXTBSY, EXDEV, source_f.filename2
        pathlib._os.copyfileobj.__code__ = copyfileobj.__code__
        gzc.monkey.patch("pathlib")
        assert gzc.patched() == ()
        assert records.warnings() == ["seam pathlib is skipped, what it would speed up goes the old way: "
            "pathlib copies by _reflink_range, too"], records.warnings()
        """
    )


def test_the_seam_may_come_before_the_module() -> None:
    program(
        """
        import sys
        for name in [name for name in sys.modules if name.partition(".")[0] == "pathlib"]:
            del sys.modules[name]
        import gzc.monkey
        gzc.monkey.patch("pathlib")
        import pathlib
        assert gzc.patched() == ("pathlib",), gzc.seams()
        """
    )


@pytest.mark.root
def test_fuse_has_no_flush_more_than_a_copy_by_shutil(film: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each duplicate of a descriptor is a flush when it is closed."""
    gzc.monkey.patch("shutil")
    with mounted(tmp_path_factory.mktemp("fuse"), "calls") as mountpoint:
        film.copy(mountpoint / "new one")
        shutil.copyfile(film, mountpoint / "new two")
        calls = json.loads((mountpoint / "calls").read_text())
    assert calls["flush /new one"] == calls["flush /new two"]


def test_undo_gives_the_code_back() -> None:
    ours = _os.copyfileobj.__code__
    gzc.unpatch_all()
    assert _os.copyfileobj.__code__ is not ours
    assert _os.copyfileobj.__code__.co_filename == _os.__file__
    gzc.monkey.patch("pathlib")
    assert _os.copyfileobj.__code__ == ours


# -- blocks that two files share ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["btrfs", "xfs"])
def cow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that shares blocks, in a file."""
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    # .ci/apt.txt has the programs, and mount(8) loads the kernel's module.
    subprocess.run([tool(f"mkfs.{kind}"), "-q", image], check=True, capture_output=True)
    (folder / "mounted").mkdir()
    privileged("mount", "-o", "loop", image, folder / "mounted")
    yield folder / "mounted"
    subprocess.run(["umount", folder / "mounted"], check=True)


def extents(path: Path) -> list[tuple[str, str]]:
    """Physical offset and length of each, by filefrag."""
    said = subprocess.run(["filefrag", "-v", path], capture_output=True, text=True, check=True).stdout
    rows = [line.split(":") for line in said.splitlines() if ".." in line]
    return [(row[2].strip(), row[3].strip()) for row in rows]


@pytest.mark.root
@pytest.mark.parametrize("size", [MIB, 9 * MIB + 77])
def test_copies_share_their_blocks_where_the_file_system_can(cow: Path, size: int) -> None:
    source: Any = cow / f"source {size}"
    source.write_bytes(payload(size))
    os.sync()
    with gzc.trace() as trace:
        there = source.copy(cow / f"there {size}")
    os.sync()
    assert moved(trace) == {}, "nothing was copied"
    assert there.read_bytes() == payload(size)
    assert extents(there) == extents(source)
    assert (cow / f"by number {size}").write_bytes(b"") == 0
    with source.open("rb") as src, (cow / f"by number {size}").open("r+b") as dst:
        gzc.ficlone(src.fileno(), dst.fileno())
    os.sync()
    assert extents(cow / f"by number {size}") == extents(source)


def test_the_hub_lives_while_a_file_is_copied(tmp_path: Path) -> None:
    """Stock, it gets no turn at all."""
    program(
        f"""
        import gzc; gzc.patch_all()
        import gevent
        from pathlib import Path
        folder = Path({str(tmp_path)!r})
        with (folder / "a").open("wb") as file:
            file.truncate(200_000_000)
        ticks = 0
        def tick():
            global ticks
            while True:
                gevent.sleep(0)
                ticks += 1
        ticker = gevent.spawn(tick)
        (folder / "a").copy(folder / "b")
        ticker.kill()
        assert (folder / "b").stat().st_size == 200_000_000
        assert ticks > 20, ticks
        """
    )


@pytest.mark.slow
@pytest.mark.parametrize("patched", [True, False])
def test_cpythons_own_tests_of_pathlib(patched: bool) -> None:
    cpythons_own("pathlib", patched, "test.test_pathlib.test_copy", "test.test_pathlib.test_pathlib")
