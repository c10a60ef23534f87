"""Tar archives under gzc: what tarfile itself would have made of them, by another way.

Rules: every archive and every member is compared with what the unpatched tarfile makes of the same.
"""

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import gzc
import gzc.monkey

from .._ends import KIB, MIB, Ends, payload
from .._inside import _claims

STOCK = tarfile.copyfileobj  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def seam() -> Iterator[None]:
    gzc.monkey.patch("shutil")
    gzc.monkey.patch("tarfile")
    yield
    gzc.unpatch_all()
    assert tarfile.copyfileobj is STOCK  # type: ignore[attr-defined]
    assert not hasattr(tarfile.ExFileObject, "__gzc_source__")


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with Ends(tmp_path) as made:
        yield made


def moved(trace: Any) -> dict[str, int]:
    return {name: count for name, count in trace.bytes.items() if count}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    for name, size in (("big", 3 * MIB + 7), ("small", 100), ("empty", 0), ("middle", 100 * KIB)):
        (folder / name).write_bytes(payload(size, size))
        os.utime(folder / name, (1, 1))
    return folder


def archive(tree: Path, target: Path, mode: str = "w") -> bytes:
    with tarfile.open(target, mode) as tar:  # type: ignore[call-overload]
        for path in sorted(tree.iterdir()):
            tar.add(path, path.name)
    return target.read_bytes()


def test_add_and_extract_go_below_and_give_the_same(tmp_path: Path, tree: Path) -> None:
    with gzc.trace() as trace:
        ours = archive(tree, tmp_path / "ours.tar")
    large = 3 * MIB + 7 + 100 * KIB
    assert moved(trace) == {"copy_file_range": large}
    gzc.unpatch_all()
    assert ours == archive(tree, tmp_path / "stock.tar")
    gzc.monkey.patch("tarfile")
    with tarfile.open(tmp_path / "ours.tar") as tar, gzc.trace() as trace:
        tar.extractall(tmp_path / "out", filter="data")
    assert moved(trace) == {"copy_file_range": large}
    for path in tree.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("mode", ["w|", "w:gz", "a"])
def test_streams_and_compressed_archives_stay_tarfiles(tmp_path: Path, tree: Path, mode: str) -> None:
    with gzc.trace() as trace:
        archive(tree, tmp_path / "a.tar", mode)
    assert bool(moved(trace)) is (mode == "a")
    with tarfile.open(tmp_path / "a.tar") as tar:
        for path in tree.iterdir():
            member = tar.extractfile(path.name)
            assert member is not None
            assert member.read() == path.read_bytes()


@pytest.mark.parametrize("length", [0, 1, 32 * KIB + 1, 100_000, 100_001, 10**6, None])
@pytest.mark.parametrize("block", [None, 1000, 64 * KIB])
def test_a_source_that_ends_early_is_said_in_tarfiles_words(ends: Ends, length: int | None, block: int | None) -> None:
    """Exactly so many bytes or the exception; of a short source no part of a block is written."""
    found = []
    for copy in (tarfile.copyfileobj, STOCK):  # type: ignore[attr-defined]
        src, path = ends.file(payload(100_000)), ends.path()
        error = None
        with open(path, "wb") as dst:
            try:
                copy(src, dst, length, tarfile.ReadError, block)
            except tarfile.ReadError as exc:
                error = str(exc)
            at = dst.tell()
        found.append((error, at, src.tell(), path.read_bytes()))
    assert found[0] == found[1]
    assert (found[0][0] is None) is (length is None or length <= 100_000)


@pytest.mark.parametrize("before", [0, 10, 5000])
def test_a_member_is_a_section_of_its_archive(ends: Ends, tmp_path: Path, tree: Path, before: int) -> None:
    archive(tree, tmp_path / "a.tar")
    content = (tree / "big").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        member = tar.extractfile("big")
        assert member is not None
        assert member.read(before) == content[:before]
        path = ends.path()
        with open(path, "wb") as dst:
            assert gzc.explain(member, dst).mechanism == "copy_file_range"
            with gzc.trace() as trace:
                shutil.copyfileobj(member, dst)
        assert moved(trace) == {"copy_file_range": len(content) - before}
        assert path.read_bytes() == content[before:]
        assert member.tell() == len(content)
        member.seek(before)
        assert member.read(9) == content[before : before + 9]
        # the archive itself is as good as ever
        assert tar.extractfile("middle").read() == (tree / "middle").read_bytes()  # type: ignore[union-attr]
        here, there = ends.unix()
        peer = ends.reading(there)
        member.seek(before)
        assert gzc.copy(member, here, 100_000) == 100_000
        assert member.tell() == before + 100_000
        here.shutdown(1)
        assert peer.all() == content[before : before + 100_000]


def test_a_truncated_archive_is_an_error_when_its_member_is_copied(tmp_path: Path, tree: Path) -> None:
    whole = archive(tree, tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(whole[: 1024 * 1024])
    with tarfile.open(tmp_path / "a.tar") as tar:
        member = tar.extractfile(tar.next())  # type: ignore[arg-type]
        with open(tmp_path / "out", "wb") as dst, pytest.raises(tarfile.ReadError, match="unexpected end of data"):
            shutil.copyfileobj(member, dst)  # type: ignore[arg-type]


def _sparse(path: Path) -> Any:
    """The raw file of a member of which the archive holds two pieces, as GNU tar --sparse makes them."""
    path.write_bytes(payload(MIB))
    file_in_file = tarfile._FileInFile  # type: ignore[attr-defined]
    named = ("sparse",) if "name" in file_in_file.__init__.__code__.co_varnames else ()  # newer ones take a name
    return file_in_file(open(path, "rb"), 512, 300_000, *named, [(0, 50_000), (100_000, 60_000)])


def test_a_sparse_member_is_read_by_tarfile(tmp_path: Path) -> None:
    raw = _sparse(tmp_path / "sparse.tar")
    member = tarfile.ExFileObject.__new__(tarfile.ExFileObject)
    io.BufferedReader.__init__(member, raw)
    with open(tmp_path / "out", "wb") as dst:
        assert gzc.explain(member, dst).mechanism == "userspace"
        shutil.copyfileobj(member, dst)
    content = payload(MIB)
    assert (tmp_path / "out").read_bytes() == (
        content[512:50_512] + bytes(50_000) + content[50_512:110_512] + bytes(140_000)
    )
    raw.fileobj.close()


def test_members_of_compressed_and_in_memory_archives_are_read_by_tarfile(tmp_path: Path, tree: Path) -> None:
    """O7: the descriptor of a GzipFile is that of the compressed file."""
    whole = archive(tree, tmp_path / "a.tar")
    (tmp_path / "a.tgz").write_bytes(gzip.compress(whole, 1))
    for where in ({"name": tmp_path / "a.tgz"}, {"fileobj": io.BytesIO(whole)}):
        with tarfile.open(**where) as tar, open(tmp_path / "out", "wb") as dst:
            member = tar.extractfile("big")
            assert gzc.explain(member, dst).mechanism == "userspace"
            shutil.copyfileobj(member, dst)
        assert (tmp_path / "out").read_bytes() == (tree / "big").read_bytes()


def test_a_member_class_of_somebodys_own_is_read_by_itself(tmp_path: Path, tree: Path) -> None:
    """O9."""

    class Swapping(tarfile.ExFileObject):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size).swapcase()

    archive(tree, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar, open(tmp_path / "out", "wb") as dst:
        shutil.copyfileobj(Swapping(tar, tar.getmember("big")), dst)  # type: ignore[call-arg, arg-type]
    assert (tmp_path / "out").read_bytes() == (tree / "big").read_bytes().swapcase()


def test_an_interrupted_extraction_leaves_nothing_claimed(tmp_path: Path, tree: Path) -> None:
    (tree / "big").write_bytes(payload(MIB) * 200)
    archive(tree, tmp_path / "a.tar")
    out = tmp_path / "out"

    def extract() -> None:
        with tarfile.open(tmp_path / "a.tar") as tar:
            tar.extractall(out, filter="data")

    greenlet = gevent.spawn(extract)
    while not (out / "big").exists():
        gevent.sleep(1e-4)
    greenlet.kill(timeout=20)
    assert _claims._claims == {}
    extract()
    assert (out / "big").stat().st_size == 200 * MIB


def test_a_source_in_memory_is_tarfiles_own(tmp_path: Path) -> None:
    content = payload(MIB + 1)
    info = tarfile.TarInfo("memory")
    info.size = len(content)
    with tarfile.open(tmp_path / "a.tar", "w") as tar, gzc.trace() as trace:
        tar.addfile(info, io.BytesIO(content))
    assert not moved(trace)
    with tarfile.open(tmp_path / "a.tar") as tar:
        member = tar.extractfile("memory")
        assert member is not None
        assert member.read() == content


@pytest.mark.parametrize("of", ["class", "object"])
def test_a_member_whose_reader_is_somebodys_own_is_read_by_it(tmp_path: Path, tree: Path, of: str) -> None:
    """A tracer's or a mock's, below the buffer."""
    archive(tree, tmp_path / "a.tar")
    largest = max(tree.iterdir(), key=lambda path: path.stat().st_size)
    plain = tarfile._FileInFile.read  # type: ignore[attr-defined]
    with tarfile.open(tmp_path / "a.tar") as tar, pytest.MonkeyPatch.context() as patching:
        member: Any = tar.extractfile(largest.name)
        if of == "class":
            patching.setattr(tarfile._FileInFile, "read", lambda self, size=None: plain(self, size).swapcase())  # type: ignore[attr-defined]
        else:
            member.raw.read = lambda size=None: plain(member.raw, size).swapcase()
        assert gzc.copy(member, got := io.BytesIO()) == largest.stat().st_size
    assert got.getvalue() == largest.read_bytes().swapcase()


def test_a_member_that_keeps_its_pieces_in_another_way_is_read_by_itself(tmp_path: Path, tree: Path) -> None:
    archive(tree, tmp_path / "a.tar")
    largest = max(tree.iterdir(), key=lambda path: path.stat().st_size)
    with tarfile.open(tmp_path / "a.tar") as tar:
        member: Any = tar.extractfile(largest.name)
        pieces, member.raw.map = member.raw.map, None
        assert gzc.source(member).kind is gzc.Kind.OPAQUE
        member.raw.map = pieces
        assert gzc.source(member).kind is gzc.Kind.FILE
        assert member.read() == largest.read_bytes()
