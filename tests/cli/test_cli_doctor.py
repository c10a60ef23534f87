"""`gzc doctor` as a process, and the advice it gives.

Rules: what it says of this machine is compared with what the machine says; advice is tried on facts made up.
"""

import json
import os
import signal
import subprocess
import termios
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

import gzc
from gzc.cli import doctor

from .._command import GZC, Command, end
from .._inside import _advice, _probes
from .._program import PATIENCE, clean_environment


def told(*words: str, env: dict[str, str] | None = None, status: int = 0) -> dict[str, Any]:
    ended = end("doctor", "--json", *words, env=env)
    assert (ended.status, ended.err) == (status, "")
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_everything_that_is_tried_works_here() -> None:
    found = told()
    tried = {finding["name"]: finding["works"] for finding in found["mechanisms"]}
    assert set(tried) == {name for name, _, _ in _probes.PROBES}
    assert [name for name, needed, _ in _probes.PROBES if needed and not tried[name]] == []
    assert found["well"] is True
    assert (found["gzc"], found["gevent"]["version"]) == (gzc.__version__, gevent.__version__)
    assert found["kernel"]["release"] == os.uname().release
    limit = int(Path("/proc/sys/fs/pipe-max-size").read_text())
    assert found["pipes"]["pipe-max-size"] == limit
    assert found["pipes"]["granted"] == min(1 << 20, limit)
    assert {seam["name"] for seam in found["seams"]} == {seam.name for seam in gzc.seams()}
    for name in ("gunicorn", "werkzeug", "urllib3"):
        assert next(seam for seam in found["seams"] if seam["name"] == name)["state"] == "in force"
    assert found["targets"]["gunicorn"] == version("gunicorn")
    assert all(setting["from"] == "default" for setting in found["config"].values())


def test_what_is_switched_off_is_refused_with_its_reason_and_advice() -> None:
    env = {"GZC_DISABLE": "splice", "GZC_CHUNK": "65536", "GZC_SKIP": "gunicorn"}
    found = told(env=env, status=1)
    refused = [finding for finding in found["mechanisms"] if not finding["works"] and finding["needed"]]
    assert {finding["name"].partition(":")[0] for finding in refused} == {"splice"}
    assert all("switched off by config.disable" in finding["what"] for finding in refused)
    assert found["config"]["chunk"] == {"value": 65536, "from": "GZC_CHUNK"}
    assert found["config"]["disable"] == {"value": ["splice"], "from": "GZC_DISABLE"}
    assert any(text.startswith("splice is switched off by GZC_DISABLE") for text in found["advice"])
    assert next(seam for seam in found["seams"] if seam["name"] == "gunicorn")["state"] == "off"
    assert found["well"] is False


def test_copy_file_range_that_gives_way_to_splice_is_not_called_working() -> None:
    found = told(env={"GZC_DISABLE": "copy_file_range"}, status=1)
    (refused,) = [finding for finding in found["mechanisms"] if finding["needed"] and not finding["works"]]
    assert refused["name"] == "copy_file_range: file to file"
    assert "splice in its place" in refused["what"]


def test_the_text_says_the_same(tmp_path: Path) -> None:
    ended = end("doctor", tmp_path)
    assert (ended.status, ended.err) == (0, "")
    for name, needed, _ in _probes.PROBES:
        assert f"works    {name}: " in ended.out or not needed
    assert f"mechanisms, with files in {tmp_path}:" in ended.out
    assert f"gevent {gevent.__version__} on " in ended.out
    assert "chunk         1048576  (default)" in ended.out
    assert ended.out.endswith("all that gzc needs works\n")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_not_installed(without: Any) -> None:
    found = told(env={"PYTHONPATH": str(without("bottle"))})
    states = {seam["name"]: seam["state"] for seam in found["seams"]}
    assert states["bottle"] == states["bottle-save"] == "not installed"
    assert states["werkzeug"] == "in force"


def test_a_target_of_another_shape_is_skipped_and_told(tmp_path: Path) -> None:
    (tmp_path / "bottle.py").write_text("def _file_iter_range(): pass\nclass FileUpload: pass\n")
    found = told(env={"PYTHONPATH": str(tmp_path)}, status=1)
    states = {seam["name"]: seam["state"] for seam in found["seams"]}
    assert states["bottle-save"].startswith("skipped: ")
    assert any("bottle-save" in text for text in found["advice"])


@pytest.mark.parametrize(
    ("words", "env", "why"),
    [
        ((), {"GZC_CHUNK": "5"}, "GZC_CHUNK"),
        ((), {"GZC_ONLY": "nonsense"}, "unknown seam nonsense"),
        (("/no/such",), {}, "/no/such: no file can be made there: No such file or directory"),
        (("/proc",), {}, "/proc: "),
    ],
)
def test_what_it_cannot_work_with(words: tuple[str, ...], env: dict[str, str], why: str) -> None:
    ended = end("doctor", *words, env=env)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("gzc doctor: ")
    assert why in ended.err
    assert ended.err.count("\n") == 1


def test_an_unknown_option_is_an_error_of_usage() -> None:
    assert end("doctor", "--nonsense").status == 2


def test_a_reader_that_has_seen_enough() -> None:
    with subprocess.Popen(
        [*GZC, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 1


def test_ctrl_c_in_the_middle(tmp_path: Path) -> None:
    """While a target that it looks at takes its time to be imported."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "bottle.py").write_text(f"import gevent; open({str(fifo)!r}, 'w').close(); gevent.sleep(60)\n")
    with Command("doctor", env={"PYTHONPATH": str(tmp_path)}) as command:
        fifo.open().close()  # which waits until it is opened for writing
        assert command.end(signal.SIGINT) == (130, "", "")


# -- probes that are refused -------------------------------------------------------------------------------


def refused(name: str, folder: Path) -> str:
    """What a probe says that must find something wrong."""
    (probe,) = [probe for known, _, probe in _probes.PROBES if known == name]
    with pytest.raises(_probes.Refused) as caught, _probes.Ends() as ends:
        probe(ends, str(folder))
    return str(caught.value)


def test_bytes_that_do_not_arrive_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzc, "copy", lambda src, dst, count, **_: count)
    assert "wrong bytes arrived" in refused("copy_file_range: file to file", tmp_path)
    monkeypatch.setattr(gzc, "tee", lambda src, dst, count: 5)
    assert "wrong bytes arrived" in refused("tee: pipe to pipe", tmp_path)


def test_a_python_without_rwf_nowait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "RWF_NOWAIT")
    assert refused("RWF_NOWAIT: asking the page cache", tmp_path) == "this Python has no RWF_NOWAIT"


def test_a_pipe_that_does_not_say_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_probes, "_FIONREAD", termios.TIOCOUTQ)  # which pipes do not know
    with pytest.raises(OSError, match="ioctl"), _probes.Ends() as ends:
        _probes._fionread(ends, str(tmp_path))
    monkeypatch.setattr(_probes, "fcntl", SimpleNamespace(ioctl=lambda *_: bytes(4)))
    assert refused("FIONREAD: asking a pipe", tmp_path) == "a pipe with 4 bytes in it says 0"


def test_a_pipe_smaller_than_it_is_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzc.config, "pipe_size", 0x7FFFF000)  # more than any pipe can have
    assert refused("F_SETPIPE_SZ: a large pipe", tmp_path) == "a pipe that is to have 2147479552 bytes gets 65536"


def test_what_a_probe_raises_is_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(ends: Any, folder: str) -> str:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(_probes, "PROBES", (("x", True, failing),))
    (finding,) = _probes.findings(str(tmp_path))
    assert finding == ("x", False, "PermissionError: [Errno 1] Operation not permitted", True)


def test_a_limit_that_this_kernel_does_not_tell() -> None:
    assert doctor._limit("pipe-of-no-kernel") is None


# -- advice ------------------------------------------------------------------------------------------------

WELL: dict[str, Any] = {
    "kernel": {"system": "Linux"},
    "gevent": {"loop": "libev.corecext"},
    "pipes": {"granted": 1 << 20, "of": 1 << 20, "pipe-max-size": 1 << 20},
    "config": {"pipe_size": {"value": 1 << 20}, "disable": {"value": []}},
    "mechanisms": [],
    "seams": [{"name": "socket", "state": "in force"}],
    "descriptors": {"soft": 65536, "hard": 65536},
    "switched_on": True,
    "folder": "/tmp",
}


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"kernel": {"system": "Darwin"}}, "Linux is the fast platform"),
        ({"gevent": {"loop": "libuv.loop"}}, "GEVENT_LOOP=libev-cext"),
        ({"pipes": {**WELL["pipes"], "granted": 65536, "pipe-max-size": 65536}}, "fs.pipe-max-size=1048576"),
        ({"pipes": {**WELL["pipes"], "granted": 8192}}, "fs.pipe-user-pages-soft"),
        ({"config": {**WELL["config"], "disable": {"value": ["tee"]}}}, "tee is switched off by GZC_DISABLE"),
        ({"mechanisms": [{"name": "x", "needed": True, "works": False, "what": "EPERM"}]}, "seccomp"),
        (
            {"mechanisms": [{"name": "copy_file_range", "needed": True, "works": False, "what": "EXDEV"}]},
            "/tmp is on a file system that cannot copy by itself",
        ),
        ({"seams": [{"name": "os", "state": "skipped: no longer"}]}, "Seam os does not know this version"),
        ({"descriptors": {"soft": 1024, "hard": 65536}}, "ulimit -n (LimitNOFILE of systemd)."),
        ({"descriptors": {"soft": 1024, "hard": 1024}}, "only root"),
        ({"switched_on": False}, "GZC=1"),
    ],
)
def test_advice_follows_from_facts(facts: dict[str, Any], text: str) -> None:
    assert _advice.advice(WELL) == []
    (given,) = _advice.advice({**WELL, **facts})
    assert text in given
