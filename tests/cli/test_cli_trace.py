"""`gzc trace` as a process: what moved how, and the line of the program that lost the fast path.

Rules: the program is a plain one that knows nothing of gevent or gzc; line numbers are looked up in its text.
"""

import json
import signal
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from .._command import GZC, Command, end
from .._http import Client
from .._program import PATIENCE

#: Moves 1 MB by copy_file_range and by sendfile each, and is refused once from each of two lines.
PROGRAM = """
import shutil, socket, sys, tempfile, threading

SIZE = 1_000_000

def work():
    with tempfile.TemporaryFile() as a, tempfile.TemporaryFile() as b:
        a.write(bytes(SIZE))
        a.seek(0)
        shutil.copyfileobj(a, b)
        a.seek(0)
        here, there = socket.socketpair()
        reading = threading.Thread(target=lambda: [None for _ in iter(lambda: there.recv(65536), b"")])
        reading.start()
        here.sendfile(a)
        with open("/proc/self/status", "rb") as unknown:
            here.sendfile(unknown)  # the first
        with open("/proc/self/status", "rb") as unknown, open(b.name if False else "target", "wb") as file:
            shutil.copyfileobj(unknown, file)  # the second
        here.close()
        reading.join()
        there.close()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM + "work(); print('done', *sys.argv[1:]); sys.exit(3)\n")
    return tmp_path


def line_of(path: Path, text: str) -> str:
    number = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)
    return f"{path}:{number} in work"


def moved(figures: dict[str, dict[str, dict[str, int]]], mechanism: str) -> int:
    return figures["moved"][mechanism]["bytes"]


def test_the_table_and_the_lines(here: Path) -> None:
    ended = end("trace", "--", "program.py", "-x", "y", cwd=here)
    assert (ended.status, ended.out) == (3, "done -x y\n")
    table = [line.split() for line in ended.err.splitlines()]
    for mechanism in ("copy_file_range", "sendfile"):
        assert next(line for line in table if line[-1:] == [mechanism])[1] == "1000000", ended.err
    program = here / "program.py"
    lines = [line.strip() for line in ended.err.splitlines()]
    assert f"1 x at {line_of(program, '# the first')}" in lines
    second = f"1 x at {line_of(program, '# the second')}"
    assert any(line.startswith(second) for line in lines), ended.err
    assert "gzc trace: program.py -x y" in lines


def test_json_into_a_file(here: Path) -> None:
    """In whatever folder the program ends."""
    (here / "program.py").write_text(PROGRAM + "import os; work(); os.chdir('/')\n")
    ended = end("trace", "--json", "-o", "figures", "-m", "program", "a", cwd=here)
    assert ended.status == 0
    assert "% bytes" not in ended.err
    figures = json.loads((here / "figures").read_text())
    assert (figures["program"], figures["forked"]) == (["program", "a"], 0)
    assert moved(figures, "sendfile") == moved(figures, "copy_file_range") == 1_000_000
    refused = {one["place"].partition(",")[0] for refusal in figures["refused"] for one in refusal["places"]}
    program = here / "program.py"
    assert refused == {line_of(program, "# the first"), line_of(program, "# the second")}


@pytest.mark.parametrize(
    "way",
    [
        "pid = os.fork()\nif not pid:\n    work(); os._exit(0)\nos.waitpid(pid, 0)",
        "pid = os.fork()\nif not pid:\n    work(); sys.exit(0)\nos.waitpid(pid, 0)",
        "import multiprocessing as m\np = m.get_context('fork').Process(target=work); p.start(); p.join()",
    ],
    ids=["os._exit", "sys.exit", "multiprocessing"],
)
def test_a_forked_child_is_counted_once(here: Path, way: str) -> None:
    (here / "program.py").write_text(PROGRAM + f"import os\nwork()\n{way}\n")
    assert end("trace", "--json", "-o", "figures", "program.py", cwd=here).status == 0
    figures = json.loads((here / "figures").read_text())
    assert figures["forked"] == 1
    assert moved(figures, "sendfile") == 2_000_000
    assert {refusal["count"] for refusal in figures["refused"]} == {2}


def test_the_refusals_of_a_library_name_the_programs_line_and_its_own(tmp_path: Path) -> None:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "library.py").write_text("def save(src, dst):\n    src.sendfile(dst)\n")
    (tmp_path / "program.py").write_text(
        dedent(
            """
            import socket, sys
            sys.path.insert(0, "site-packages")
            import library
            def work():
                here, there = socket.socketpair()
                with open("/proc/self/status", "rb") as unknown:
                    library.save(here, unknown)  # the call
            work()
            """
        )
    )
    ended = end("trace", "program.py", cwd=tmp_path)
    own = line_of(tmp_path / "program.py", "# the call")
    assert f"1 x at {own}, through {tmp_path}/site-packages/library.py:2 in save" in ended.err


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ("raise KeyError('gone')", 1, "KeyError: 'gone'"),
        ("import os; os._exit(9)", 9, ""),
        ("import sys; sys.exit('that is all')", 1, "that is all"),
    ],
)
def test_however_it_ends_the_table_comes_and_the_status_stays(
    tmp_path: Path, program: str, status: int, said: str
) -> None:
    (tmp_path / "program.py").write_text(f"import io, gzc; gzc.copy(io.BytesIO(b'12345'), bytearray()); {program}")
    done = subprocess.run(
        [*GZC, "trace", "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == status
    said_before, _, table = done.stderr.partition("gzc trace: program.py\n")
    assert said in said_before
    assert next(line.split() for line in table.splitlines() if line.endswith("userspace"))[1] == "5"


def test_a_child_that_outlives_the_program_tells_nothing_and_ends_well(here: Path) -> None:
    """What it counted has nobody to be told to; the folder for temporary files keeps nothing of it."""
    code = """
        import os, shutil, sys, tempfile
        reader, writer = os.pipe()
        if os.fork():
            sys.exit()
        os.closerange(writer, writer + 1)  # os.close of gevent 25.8 to 26.5 waits for a hub, which never runs here
        os.read(reader, 1)  # returns when the program has ended, all of it
        with tempfile.TemporaryFile() as a, open("target", "wb") as b:
            a.write(bytes(1_000_000))
            a.seek(0)
            shutil.copyfileobj(a, b)
        os._exit(0)
    """
    (here / "program").write_text(dedent(code))
    (here / "tmp").mkdir()
    ended = end("trace", "--json", "-o", "figures", "program", cwd=here, env={"TMPDIR": str(here / "tmp")})
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    figures = json.loads((here / "figures").read_text())
    assert figures["forked"] == 0
    assert all(row["bytes"] == 0 for row in figures["moved"].values())
    assert (here / "target").stat().st_size == 1_000_000
    assert list((here / "tmp").iterdir()) == []


def test_the_table_comes_once_where_the_program_leaves_in_its_last_breath(tmp_path: Path) -> None:
    """``os._exit`` out of a destructor: after what ``atexit`` calls, when the table has been told."""
    (tmp_path / "program.py").write_text(
        "import os\nclass Last:\n    def __del__(self, leave=os._exit): leave(3)\nlast = Last()\n"
    )
    ended = end("trace", "program.py", cwd=tmp_path)
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.count("gzc trace: program.py\n") == 1


def test_ctrl_c_ends_the_program_and_the_table_comes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import time\ntry:\n    print('ready', flush=True)\n    while True: time.sleep(0.05)\n"
        "except KeyboardInterrupt:\n    print('stopped')\n    raise SystemExit(5)\n"
    )
    with Command("trace", "program.py", cwd=tmp_path) as command:
        command.out.wait_for("ready")
        ended = command.end(signal.SIGINT)
    assert (ended.status, ended.out) == (5, "ready\nstopped")
    assert "% bytes" in ended.err


def test_ctrl_c_that_the_program_does_not_catch(tmp_path: Path) -> None:
    """The shell must see that a signal ended it, as under python; the table comes."""
    (tmp_path / "program.py").write_text("import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)\n")
    process = subprocess.Popen(
        [*GZC, "trace", "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert err.count("KeyboardInterrupt") == 1
    assert err.index("KeyboardInterrupt") < err.index("% bytes")


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("gone.py",), 2, "can't open file"),
        (("-m", "gone"), 1, "No module named gone"),
        (("empty",), 1, "can't find '__main__' module"),
    ],
    ids=str,
)
def test_a_program_that_is_not_there(tmp_path: Path, words: tuple[str, ...], status: int, why: str) -> None:
    (tmp_path / "empty").mkdir()
    ended = end("trace", *words, cwd=tmp_path)
    assert (ended.status, ended.out) == (status, "")
    assert why in ended.err.splitlines()[0]


@pytest.mark.parametrize(
    "words", [(), ("--json",), ("-o", "/no/such/file", "x.py"), ("--only", "nonsense", "x.py")], ids=" ".join
)
def test_what_cannot_be_meant(words: tuple[str, ...]) -> None:
    ended = end("trace", *words)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("usage: gzc trace")


@pytest.mark.slow
def test_the_workers_of_gunicorn_are_counted(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(bytes(3_000_000))
    (tmp_path / "app.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '3000000')])\n"
        "    return environ['wsgi.file_wrapper'](open('file.bin', 'rb'))\n"
    )
    words = ["-m", "gunicorn", "app:app", "-k", "gevent", "-w", "2", "-b", "127.0.0.1:0", "--graceful-timeout", "5"]
    with Command("trace", "--json", "-o", "figures", *words, cwd=tmp_path) as command:
        host, port = command.err.wait_for("Listening at: ").split("http://")[1].split(" ")[0].split(":")
        for _ in range(3):
            client = Client((host, int(port)))
            with client.socket:
                assert len(client.get("/").body) == 3_000_000
        assert command.end(signal.SIGTERM).status == 0
    figures = json.loads((tmp_path / "figures").read_text())
    assert 1 <= figures["forked"] <= 2
    assert moved(figures, "sendfile") == 9_000_000
    assert figures["refused"] == []
