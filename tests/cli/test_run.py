"""`python -m gzc run`: an unmodified program sees itself started as by `python`, and is zero-copy.

Rules: plain Python is the yardstick, run beside it; whatever the two print, and how they end, is compared. The
programs know nothing of gzc, except those that ask it what it has done.
"""

import signal
import socket
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

from .._ends import payload
from .._program import PATIENCE, clean_environment
from .._server import Log
from .._strace import Strace

RUN = (sys.executable, "-m", "gzc", "run")
PLAIN = (sys.executable,)
SCRIPT = (str(Path(sysconfig.get_path("scripts"), "gzc")), "run")

#: What a program can see of how it was started.
SEES = """
import os, sys
main = sys.modules["__main__"]
seen = {name: str(value) for name, value in vars(main).items()
        if name not in ("__annotations__", "__loader__", "__spec__", "__builtins__", "main", "seen", "os", "sys")}
print(sorted(seen.items()))
print(type(__loader__).__name__, __spec__ and (__spec__.name, __spec__.origin), type(__builtins__).__name__)
print(sys.argv, sys.path[0], os.getcwd())
print(main.__dict__ is globals(), __name__)
def late(): print("atexit", sys.modules["__main__"] is main, main.__name__)
import atexit; atexit.register(late)
"""


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def end(command: tuple[str | Path, ...], folder: Path, env: dict[str, str] | None = None) -> Ended:
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(env), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a program in each form that python takes."""
    (tmp_path / "program.py").write_text(SEES)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "linked.py").symlink_to(tmp_path / "program.py")
    for name in ("folder", "package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").write_text(SEES)
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "module.py").write_text("from . import __name__ as outer\n" + SEES)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SEES)
    import py_compile

    py_compile.compile(str(tmp_path / "program.py"), str(tmp_path / "compiled.pyc"), doraise=True)
    return tmp_path


STARTS: list[tuple[str, ...]] = [
    ("program.py",),
    ("program.py", "one", "--two", "-m", "--", "three", "--help"),
    ("program.py", "--", "--skip", "socket"),
    ("./program.py", "-x"),
    ("bin/linked.py",),
    ("compiled.pyc", "a"),
    ("folder", "a"),
    ("archive.zip", "--only"),
    ("-m", "package", "a", "--", "b"),
    ("-m", "package.module", "-m"),
    ("-m", "program", "--help"),
]


@pytest.mark.parametrize("words", STARTS, ids=" ".join)
@pytest.mark.parametrize("door", [RUN, SCRIPT], ids=["python -m gzc", "gzc"])
def test_a_program_sees_itself_started_as_by_python(here: Path, door: tuple[str, ...], words: tuple[str, ...]) -> None:
    plain, ours = end((*PLAIN, *words), here), end((*door, *words), here)
    assert ours == plain
    assert plain.status == 0
    assert "atexit True __main__" in plain.out


def test_an_absolute_path_from_another_folder(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    words = (str(here / "program.py"), "a")
    assert end((*RUN, *words), elsewhere) == end((*PLAIN, *words), elsewhere)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is new in 3.11")
@pytest.mark.parametrize("words", [("program.py",), ("folder",)], ids=" ".join)
def test_a_safe_path_stays_safe(here: Path, words: tuple[str, ...]) -> None:
    """python -P puts no folder of the program on the path, and a folder that is the program all the same."""
    plain = end((sys.executable, "-P", *words), here)
    assert end((sys.executable, "-P", "-m", "gzc", "run", *words), here) == plain


ENDINGS = {
    "nothing": "pass",
    "exit 0": "raise SystemExit",
    "exit 7": "import sys; sys.exit(7)",
    "exit with a message": "import sys; sys.exit('that is all')",
    "os._exit": "import os; os._exit(9)",
    "an error": "def f():\n    raise KeyError('gone')\nf()",
    "an error with a cause": "try:\n    1/0\nexcept ZeroDivisionError as exc:\n    raise OSError(5, 'x') from exc",
    "an error told by a hook": "import sys\nsys.excepthook = lambda *args: print('told', args[0], args[1])\n1/0",
    "no syntax": "x = (\n",
    "a coding": "# -*- coding: latin-1 -*-\nprint(ascii('\u00e4'))",
    "futures are its own": "def f(x: undefined_name): pass",
    "a thread goes on": "import threading\nthreading.Timer(0.05, print, ['late']).start()\nprint('main ends')",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "a broken pipe": "import os\nr, w = os.pipe()\nos.close(r)\nos.dup2(w, 1)\nprint('x' * 100_000)",
    "an error after exit handlers": "import atexit; atexit.register(print, 'bye')\nraise ValueError('x')",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_program_ends_as_under_python(tmp_path: Path, name: str) -> None:
    """Exit status, and what it says on its way: a traceback begins in the program, not in gzc."""
    (tmp_path / "program.py").write_text(ENDINGS[name])
    plain, ours = end((*PLAIN, "program.py"), tmp_path), end((*RUN, "program.py"), tmp_path)
    assert ours == plain
    module = end((*RUN, "-m", "program"), tmp_path)
    assert (module.status, module.out) == (plain.status, plain.out)


@pytest.mark.parametrize("words", [("gone.py",), ("-m", "gone"), ("-m", "gone.module"), ("empty",)], ids=" ".join)
def test_a_program_that_is_not_there_is_told_of_as_by_python(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    plain, ours = end((*PLAIN, *words), tmp_path), end((*RUN, *words), tmp_path)
    assert ours == plain
    assert plain.status in (1, 2)


@pytest.mark.parametrize("caught", [False, True], ids=["uncaught", "caught"])
def test_ctrl_c_is_as_in_a_plain_program(tmp_path: Path, caught: bool) -> None:
    """While it waits in the hub; uncaught, the shell must see that a signal ended it. It is told of once.

    It wakes up now and then: a signal that comes just before gevent's loop begins to wait, where Python has looked
    for signals and the system call has not begun, is noticed at the next event only, without gzc, too.
    """
    program = textwrap.dedent(
        """
        import socket
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.05)
        def main():
            print("ready", flush=True)
            while True:
                try:
                    listener.accept()
                except TimeoutError:
                    pass
        """
    )
    if caught:
        program += "try:\n    main()\nexcept KeyboardInterrupt:\n    print('interrupted')\n    raise SystemExit(3)\n"
    else:
        program += "main()\n"
    (tmp_path / "program.py").write_text(program)
    ended = []
    for door in (PLAIN, RUN):
        process = subprocess.Popen(
            (*door, "program.py"),
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
            ended.append((process.returncode, out, err.count("KeyboardInterrupt")))
    assert ended[0] == ended[1]
    assert ended[0] == ((3, "interrupted\n", 0) if caught else (-signal.SIGINT, "", 1))


# -- the choice of seams -----------------------------------------------------------------------------------

ASKS = """
import sys
assert "gevent" in sys.modules
import gevent.monkey, gzc, threading, socket
assert gevent.monkey.is_module_patched("socket") and gevent.monkey.is_module_patched("threading")
assert type(threading.main_thread()._started._cond).__module__ == "threading"
print(*gzc.patched())
"""


@pytest.mark.parametrize(
    ("options", "env", "expected"),
    [
        (("--only", "socket"), {}, {"socket"}),
        (("--only", "socket,hooks"), {}, {"socket", "hooks"}),
        (("--only=socket", "--only", "hooks"), {}, {"hooks"}),
        (("--only", "socket, hooks", "--skip", "hooks"), {}, {"socket"}),
        (("--only", "socket", "--also", "os"), {}, {"socket", "os"}),
        ((), {"GZC_ONLY": "hooks", "GZC_ALSO": "os"}, {"hooks", "os"}),
        (("--only", "socket"), {"GZC_ONLY": "hooks", "GZC": "0"}, {"socket"}),
        (("--also", "socket"), {"GZC_ONLY": "hooks"}, {"hooks", "socket"}),
        (("--skip", ""), {"GZC_ONLY": "hooks", "GZC_SKIP": "hooks"}, {"hooks"}),
    ],
)
def test_options_and_the_environment_choose_seams(
    tmp_path: Path, options: tuple[str, ...], env: dict[str, str], expected: set[str]
) -> None:
    """An option beats the variable of its name."""
    (tmp_path / "program.py").write_text(ASKS)
    ended = end((*RUN, *options, "program.py"), tmp_path, env)
    assert ended.err == ""
    assert set(ended.out.split()) == expected


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--only", "nonsense", "program.py"), "unknown seam nonsense; known: hooks, socket"),
        (("run",), "which program?"),
        (("run", "-m"), "which program?"),
        (("run", "--nonsense", "program.py"), "--nonsense"),
        (("fly",), "invalid choice: 'fly'"),
        ((), "COMMAND"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_usage(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    (tmp_path / "program.py").write_text("print('it was run')")
    ended = end((sys.executable, "-m", "gzc", *words), tmp_path)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("usage: gzc")
    assert told in ended.err


def test_a_wrong_limit_is_told_before_the_program_begins(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("print('it was run')")
    ended = end((*RUN, "program.py"), tmp_path, {"GZC_CHUNK": "garbage"})
    assert (ended.status, ended.out) == (2, "")
    assert "GZC_CHUNK" in ended.err


@pytest.mark.parametrize(
    ("words", "told"), [(("--help",), "run "), (("run", "--help"), "--skip"), (("--version",), "")]
)
def test_help_and_version(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    ended = end((sys.executable, "-m", "gzc", *words), tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert told in ended.out
    assert "gzc" in ended.out


def test_what_the_program_imports_is_patched_before_it_is_imported(tmp_path: Path) -> None:
    """Names taken by `from ... import` are the patched ones, and nobody is an early importer."""
    (tmp_path / "program.py").write_text(
        dedent(
            """
            from socket import socket
            from threading import Lock
            from os import sendfile
            import gevent.socket, gzc
            assert socket is gevent.socket.socket
            assert Lock().__class__.__module__.startswith("gevent"), Lock()
            assert hasattr(sendfile, "__wrapped__")
            print([name for seam in gzc.seams() for name in seam.early if not name.startswith(("gevent.", "shutil."))])
            """
        )
    )
    ended = end((*RUN, "--also", "os", "program.py"), tmp_path)
    assert (ended.err, ended.out) == ("", "[]\n")


# -- legacy servers ----------------------------------------------------------------------------------------

#: A file server as one wrote it before gevent: not a line knows of gevent or gzc.
SERVER = """
import socketserver, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        name = self.rfile.readline().decode().strip()
        with open(name, "rb") as file:
            self.request.sendfile(file)

class Server(socketserver.{mixin}TCPServer):
    allow_reuse_address = True
    daemon_threads = True

if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        print("port", server.server_address[1], flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", flush=True)
"""


@pytest.mark.untraced
@pytest.mark.slow
@pytest.mark.parametrize("mixin", ["", "Threading", "Forking"])
def test_a_legacy_file_server_runs_by_sendfile(tmp_path: Path, mixin: str) -> None:
    content = payload(3_000_000)
    (tmp_path / "file.bin").write_bytes(content)
    (tmp_path / "server.py").write_text(SERVER.replace("{mixin}", mixin))
    process = subprocess.Popen(
        (*RUN, "server.py"),
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said, errors = Log(process.stdout), Log(process.stderr)
    try:
        address = "127.0.0.1", int(said.wait_for("port ").split()[1])

        def fetch() -> bytes:
            with socket.create_connection(address, timeout=PATIENCE) as client:
                client.sendall(b"file.bin\n")
                return b"".join(iter(lambda: client.recv(1 << 16), b""))

        assert fetch() == content  # what is imported late is imported now
        with Strace(process.pid) as trace:
            assert [fetch() for _ in range(3)] == [content] * 3
        assert trace.of_files == 3 * len(content)
        assert trace.user_space < 100_000
        process.send_signal(signal.SIGINT)
        said.wait_for("stopped")
        assert process.wait(PATIENCE) == 0
        assert errors.lines == []
    finally:
        process.kill()
        process.wait()
        said.join()
        errors.join()
