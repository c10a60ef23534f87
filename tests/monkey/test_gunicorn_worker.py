"""gunicorn -k egg:gzc#gevent and its kin: the worker class as a door, without GZC=1 in the environment.

Rules: real gunicorns; what is in force the worker itself is asked, and how the bytes travel strace says.
"""

import json
from importlib.metadata import entry_points

import pytest

from .._program import program
from .._server import Folder, Gunicorn
from .._strace import Strace

MIB = 1 << 20

CLASSES = {"gevent": "gzc.monkey.gunicorn.Worker", "gevent_pywsgi": "gzc.monkey.gunicorn.PyWSGIWorker"}


def in_force(server: Gunicorn) -> set[str]:
    with server.connect() as client:
        told = json.loads(client.get("/bare/mode").body)
    assert told["gzc"] is True
    return set(told["patched"])


def by_sendfile(server: Gunicorn, folder: Folder) -> bool:
    """Whether a download's bytes stay in the kernel; they must be right in any case."""
    name, content = folder.sized(3 * MIB)
    with server.connect() as client:
        client.get("/pid")
        with Strace(server.pid) as trace:
            reply = client.get(f"/file/{name}")
            client.get("/pid")
    assert reply.complete
    assert reply.body == content
    return trace.of_files == len(content)


def test_the_entry_points_are_the_classes() -> None:
    found = {entry.name: entry.value for entry in entry_points(group="gunicorn.workers") if "gzc" in entry.value}
    assert found == {name: ":".join(path.rsplit(".", 1)) for name, path in CLASSES.items()}


def test_gunicorn_finds_the_classes_and_nobody_else_needs_gunicorn() -> None:
    program(
        f"""
        import gzc, gzc.monkey
        assert "gunicorn" not in sys.modules
        from gunicorn.util import load_class
        from gunicorn.workers.ggevent import GeventPyWSGIWorker, GeventWorker
        for name, path in {CLASSES!r}.items():
            one, other = load_class(f"egg:gzc#{{name}}"), load_class(path)
            assert one is other and issubclass(one, GeventWorker)
            assert issubclass(one, GeventPyWSGIWorker) is (name == "gevent_pywsgi")
        import gevent.monkey
        assert not gevent.monkey.saved and gzc.patched() == (), "the class alone patches nothing"
        """
    )


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["egg:gzc#gevent", CLASSES["gevent"]])
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
def test_a_worker_class_switches_on(folder: Folder, uri: str, options: tuple[str, ...]) -> None:
    with Gunicorn("both:app", folder.path, "-k", uri, *options, stock=True) as server, server.unharmed():
        assert in_force(server) >= {"socket", "gunicorn", "hooks"}
        assert by_sendfile(server, folder)
    assert not [line for line in server.errors.lines if "seam" in line]


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["egg:gzc#gevent_pywsgi", CLASSES["gevent_pywsgi"]])
def test_the_pywsgi_class_serves_and_switches_on(folder: Folder, uri: str) -> None:
    with Gunicorn("both:app", folder.path, "-k", uri, stock=True) as server, server.unharmed():
        assert in_force(server) >= {"socket", "hooks"}
        name, content = folder.sized(3 * MIB)
        with server.connect() as client:
            reply = client.get(f"/file/{name}")
        assert reply.complete
        assert reply.body == content


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "there", "absent"),
    [
        ({"GZC_SKIP": "gunicorn"}, {"socket"}, {"gunicorn", "os"}),
        ({"GZC_ONLY": "socket"}, {"socket"}, {"gunicorn", "hooks", "os"}),
        ({"GZC_ONLY": "socket", "GZC": "0"}, {"socket"}, {"gunicorn", "hooks", "os"}),
        ({"GZC_ALSO": "os", "GZC": "1"}, {"socket", "gunicorn", "hooks", "os"}, set()),
    ],
    ids=["skip", "only", "only, and the other door shut", "also, through both doors"],
)
def test_the_environment_chooses_seams_in_the_worker(
    folder: Folder, env: dict[str, str], there: set[str], absent: set[str]
) -> None:
    with Gunicorn("both:app", folder.path, "-k", "egg:gzc#gevent", stock=True, env=env) as server:
        assert in_force(server) >= there
        assert in_force(server) & absent == set()


@pytest.mark.slow
def test_a_choice_made_by_a_call_before_stays(folder: Folder) -> None:
    """In gunicorn's configuration, before the worker patches; the worker class only asks for what is usual."""
    config = folder.path / "choosing_conf.py"
    config.write_text(
        "def post_fork(server, worker):\n    import gzc\n    gzc.patch_all(only=['socket'], stdlib=False)\n"
    )
    with Gunicorn("both:app", folder.path, "-k", "egg:gzc#gevent", "-c", str(config), stock=True) as server:
        assert in_force(server) == {"socket"}


@pytest.mark.slow
def test_a_wrong_choice_is_told_and_no_worker_serves_in_silence(folder: Folder) -> None:
    with pytest.raises(AssertionError, match="unknown seam nonsense"):
        Gunicorn("both:app", folder.path, "-k", "egg:gzc#gevent", stock=True, env={"GZC_SKIP": "nonsense"})


HOOKS = """
import sys

def post_worker_init(worker):
    given = worker.wsgi
    worker.log.info("found the app: %s", given is sys.modules["both"].app)
    def middleware(environ, start_response):
        environ["gzc.test"] = "seen"
        return given(environ, start_response)
    worker.wsgi = middleware
    assert worker.wsgi is middleware

def post_request(worker, req, environ, resp):
    worker.log.info("after %s", environ.get("gzc.test"))
"""


@pytest.mark.slow
def test_hooks_find_the_programs_own_application(folder: Folder) -> None:
    """As it was loaded, with its attributes; what a hook puts in its place is called once for each request."""
    config = folder.path / "hooks.py"
    config.write_text(HOOKS)
    options = ("-k", "gevent", "-c", str(config), "--log-level", "info")
    with Gunicorn("both:app", folder.path, *options, env={"GZC": "1"}) as server:
        server.errors.wait_for("found the app: True")
        name, content = folder.sized(42)
        with server.connect() as client:
            assert client.get(f"/file/{name}").body == content
        server.errors.wait_for("after seen")
