"""The doors: `patch_all` and its kin, `GZC=1`, `patch_all(gzc=True)`, and modules that arrive later.

Rules: a whole process is patched, so every case is a program of its own. "Unchanged" is identity of every
attribute of every module and class a patch could be in. What gunicorn is not, a made-up module stands in for.
"""

import itertools
import sys
import textwrap
from pathlib import Path

import pytest

from .. import _program
from .._inside import SEAMS
from .._program import PRELUDE, finished

#: The seams in force after `patch_all()`: with gunicorn imported, and before that. The doors are the same for all
#: seams; those that wait for other modules are left out of the comparison here, and have test_patch_unpatch.py.
EVERY = tuple(
    seam.name
    for seam in SEAMS
    if not (seam.opt_in or seam.stdlib) and all(row.eager or row.module == "gunicorn.http.wsgi" for row in seam.rows)
)
EARLY = tuple(seam.name for seam in SEAMS if seam.name in EVERY and all(row.eager for row in seam.rows))
OTHERS = tuple(seam.name for seam in SEAMS if seam.name not in EVERY)

#: What the programs here know beside `PRELUDE`. A fork for each case costs a tenth of a program for each.
TOOLS = (
    PRELUDE
    + f"EVERY, EARLY, OTHERS = {EVERY!r}, {EARLY!r}, {OTHERS!r}\n"
    + """
def each(cases, check):
    '''`check(case)` in a child of its own for each case, all at once: none sees what another has patched.'''
    import signal, traceback
    children, failed = [], []
    for case in cases:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                signal.alarm(50)
                check(case)
                status = 0
            except BaseException:
                os.write(2, f"{case!r}: {traceback.format_exc()}\\n".encode())
            finally:
                os._exit(status)
        children.append((case, pid))
    for case, pid in children:
        if os.waitpid(pid, 0)[1]:
            failed.append(case)
    assert children and not failed, failed

def refused(call, *told):
    '''`call()` is a ValueError whose message has all that.'''
    try:
        call()
    except ValueError as exc:
        assert all(text in str(exc) for text in told), exc
    else:
        raise AssertionError("no ValueError")

def patched():
    import gzc
    return tuple(name for name in gzc.patched() if name in EVERY)

def states():
    import gzc
    return {seam.name: seam.state for seam in gzc.seams() if seam.name in EVERY}

def forget_gunicorn():
    for name in [name for name in sys.modules if name.partition(".")[0] == "gunicorn"]:
        del sys.modules[name]
"""
)


def program(code: str, env: dict[str, str] | None = None) -> None:
    _program.program(code, env=env, prelude=TOOLS)


QUIET = ("0", "", " ", "false", "no", "off", "False", "OFF", " 0 ")
LOUD = ("1", "true", "yes", "on", "True", "ON", " 1 ")


# -- import alone, and installed but not switched on -------------------------------------------------------


def test_import_alone_changes_nothing() -> None:
    """Not even gevent is imported, and no limit is read."""
    program(
        """
        import socket, ssl, select, shutil, http.client, socketserver, signal, warnings, atexit, gc
        modules = set(sys.modules)
        before, environment, filters = images(), dict(os.environ), list(warnings.filters)
        handlers, signals = list(logging.getLogger().handlers), signal.getsignal(signal.SIGINT)
        import gzc
        dir(gzc), gzc.__version__, gzc.__doc__
        unchanged(before)
        arrived = {name.partition(".")[0] for name in set(sys.modules) - modules}
        assert arrived <= {"gzc"} | set(sys.stdlib_module_names), arrived
        assert gzc_modules() == {"gzc"}
        assert (environment, filters) == (dict(os.environ), list(warnings.filters))
        assert handlers == logging.getLogger().handlers and signals is signal.getsignal(signal.SIGINT)
        """,
        env={"GZC": "1", "GZC_CHUNK": "garbage", "GZC_ONLY": "nonsense"},
    )


def test_the_names_of_the_package_are_there_and_others_are_not() -> None:
    program(
        """
        import gzc, gzc.monkey
        for name in gzc.__all__:
            assert getattr(gzc, name) is not None, name
        assert set(gzc.__all__) <= set(dir(gzc))
        for name in gzc.monkey.__all__:
            assert callable(getattr(gzc.monkey, name)), name
        from gzc.monkey import patch, patch_all
        assert gzc.patch_all is patch_all
        for module in (gzc, gzc.monkey):
            try:
                module.nonsense
            except AttributeError as exc:
                assert module.__name__ in str(exc) and "nonsense" in str(exc)
            else:
                raise AssertionError("no AttributeError")
        """
    )


NOISE = {
    "GZC_CHUNK": "garbage",
    "GZC_SMALL": "-1",
    "GZC_DISABLE": "nonsense",
    "GZC_ONLY": "nonsense",
    "GZC_SKIP": "nonsense",
    "GZC_ALSO": "nonsense",
}


def test_installed_and_not_switched_on_only_the_plugin_is_imported() -> None:
    """And nothing else is read: wrong limits and unknown seams are none of its business then."""
    program(
        f"""
        import gevent.monkey, gevent.socket
        def check(setting):
            if setting is not None:
                os.environ["GZC"] = setting
            stock = vars(gevent.socket.socket)["sendfile"]
            finders = list(sys.meta_path)
            assert gevent.monkey.patch_all() is True
            assert gzc_modules() == {{"gzc", "gzc.monkey", "gzc.monkey._plugin"}}, gzc_modules()
            assert vars(gevent.socket.socket)["sendfile"] is stock
            assert sys.meta_path == finders
            assert sys.modules["gzc.monkey._plugin"].ran
        each({[None, *QUIET]!r}, check)
        """,
        env=NOISE,
    )


def test_gzc_false_beats_the_environment() -> None:
    program(
        """
        import gevent.monkey
        gevent.monkey.patch_all(gzc=False)
        assert gzc_modules() == {"gzc", "gzc.monkey", "gzc.monkey._plugin"}, gzc_modules()
        """,
        env={**NOISE, "GZC": "1"},
    )


def test_parts_of_gevent_patched_alone_do_not_even_import_the_plugin() -> None:
    program(
        """
        import gevent.monkey
        gevent.monkey.patch_socket()
        gevent.monkey.patch_thread()
        assert gzc_modules() == set(), gzc_modules()
        """,
        env={"GZC": "1"},
    )


# -- switched on -------------------------------------------------------------------------------------------

IN_FORCE = """
import gzc, gevent.socket
assert "copy" in vars(gzc), "the engine waits for the first copy"
assert patched() == EARLY, patched()
assert download() == {"sendfile"}
import gunicorn.http.wsgi
assert patched() == EVERY, patched()
assert records.warnings() == []
"""
SWITCHED_ON = f"""
import gevent.monkey
def check(setting, **arguments):
    if setting is not None:
        os.environ["GZC"] = setting
    gevent.monkey.patch_all(**arguments)
    exec({IN_FORCE!r}, globals())
"""


def test_the_environment_switches_on() -> None:
    program(SWITCHED_ON + f"each({LOUD!r}, check)\n")


def test_the_argument_switches_on_whatever_the_environment_says() -> None:
    program(SWITCHED_ON + "each([None, '0', '', 'garbage'], lambda setting: check(setting, gzc=True))\n")


def test_a_switch_that_is_neither_on_nor_off_is_an_error() -> None:
    program("import gevent.monkey\nrefused(gevent.monkey.patch_all, 'GZC', 'maybe')\n", env={"GZC": "maybe"})


DOORS = {
    "GZC=1": "os.environ['GZC'] = '1'; gevent.monkey.patch_all()",
    "gzc=True": "gevent.monkey.patch_all(gzc=True)",
    "patch_all": "gzc.patch_all()",
    "without the standard library": "gzc.patch_all(stdlib=False)",
    "one seam": "gzc.monkey.patch('socket')",
}


def test_the_engine_is_loaded_at_once_and_not_in_the_first_copy() -> None:
    """Whichever door: a lazy import would land in somebody's first download."""
    program(
        f"""
        import gevent.monkey, gzc.monkey
        def check(door):
            exec(door)
            gzc.trace  # which download() looks with, and no copy needs
            before = gzc_modules()
            assert download() == {{"sendfile"}}
            late = gzc_modules() - before
            assert not late, late
        each({list(DOORS.values())!r}, check)
        """
    )


def test_a_wrong_limit_is_a_value_error_out_of_patch_all() -> None:
    """The message names the variable; nothing of gzc is in force afterwards, and gevent only by its own door."""
    limits = [("GZC_CHUNK", "garbage"), ("GZC_CHUNK", "1"), ("GZC_SMALL", "-1"), ("GZC_DISABLE", "nonsense")]
    program(
        f"""
        import gevent.monkey, gevent.socket, gzc.monkey
        def check(case):
            (name, value), door = case
            os.environ[name] = value
            stock, finders = vars(gevent.socket.socket)["sendfile"], list(sys.meta_path)
            refused(lambda: exec(door), name, value)
            assert vars(gevent.socket.socket)["sendfile"] is stock
            assert not hasattr(gevent.socket.socket, "readfrom")
            assert sys.meta_path == finders
            assert gevent.monkey.is_module_patched("socket") is door.startswith(("os", "gevent"))
            assert patched() == ()
        each({list(itertools.product(limits, DOORS.values()))!r}, check)
        """
    )


def test_an_unknown_seam_in_the_environment_is_a_value_error_that_lists_the_known() -> None:
    names = ["GZC_ONLY", "GZC_SKIP", "GZC_ALSO"]
    program(
        f"""
        import gevent.monkey, gevent.socket
        def check(case):
            name, door = case
            os.environ[name] = "socket,nonsense"
            stock, finders = vars(gevent.socket.socket)["sendfile"], list(sys.meta_path)
            refused(lambda: exec(door), "nonsense", *EVERY)
            import gzc
            assert patched() == ()
            assert vars(gevent.socket.socket)["sendfile"] is stock
            assert sys.meta_path == finders
        each({list(itertools.product(names, (DOORS["GZC=1"], DOORS["gzc=True"])))!r}, check)
        """
    )


def test_the_environment_chooses_seams() -> None:
    every = " ".join(EVERY)
    cases: list[tuple[dict[str, str], str]] = [
        ({}, every),
        ({"GZC_ONLY": ""}, every),
        ({"GZC_ONLY": " , "}, every),
        ({"GZC_ONLY": "gunicorn"}, "gunicorn"),
        ({"GZC_ONLY": " socket , gunicorn,"}, "socket gunicorn"),
        ({"GZC_SKIP": "gunicorn"}, every.replace(" gunicorn", "")),
        ({"GZC_SKIP": "gunicorn, socket"}, every.replace(" gunicorn", "").replace(" socket", "")),
        ({"GZC_SKIP": " , ".join(EVERY)}, ""),
        ({"GZC_ONLY": "socket", "GZC_SKIP": "socket"}, ""),
        ({"GZC_ONLY": "socket", "GZC_ALSO": "gunicorn"}, "socket gunicorn"),
    ]
    program(
        f"""
        import gunicorn.http.wsgi, gevent.monkey
        def check(case):
            os.environ.update(case[0], GZC="1")
            gevent.monkey.patch_all()
            import gzc
            assert patched() == tuple(case[1].split()), patched()
        each({cases!r}, check)
        """
    )


def test_python_m_gevent_monkey_is_a_door(tmp_path: Path) -> None:
    """gevent's own way to run an unmodified program; unknown options abort it, so the variable must do."""
    script = tmp_path / "script.py"
    script.write_text(
        TOOLS
        + "import gevent.monkey\nassert gevent.monkey.is_module_patched('socket')\n"
        + "assert sys.argv[1:] == ['argument']\n"
        + IN_FORCE
    )
    finished([sys.executable, "-m", "gevent.monkey", script, "argument"], env={"GZC": "1"})
    script.write_text(TOOLS + "assert gzc_modules() == {'gzc', 'gzc.monkey', 'gzc.monkey._plugin'}, gzc_modules()\n")
    finished([sys.executable, "-m", "gevent.monkey", script], env=NOISE)


def test_gevent_patching_more_later_keeps_what_is_in_force() -> None:
    """A second patch_all with other arguments fires the plugin again."""
    program(
        """
        import gevent.monkey, gevent.socket
        gevent.monkey.patch_all(gzc=True, signal=False)
        ours = vars(gevent.socket.socket)["sendfile"]
        gevent.monkey.patch_all()
        gevent.monkey.patch_all(gzc=True)
        import gzc
        assert vars(gevent.socket.socket)["sendfile"] is ours
        assert patched() == EARLY
        gevent.monkey.patch_all(gzc=False)
        assert patched() == EARLY
        """
    )


def test_an_explicit_call_is_not_overruled_by_a_library_that_patches_more() -> None:
    """GZC=1 is in the environment, the program has chosen, and then a library calls gevent's patch_all."""
    calls = [
        ("gzc.patch_all(skip=['gunicorn'], signal=False)", EARLY),
        ("gzc.patch_all(skip=['gunicorn'], stdlib=False)", EARLY),
        ("gzc.patch_all(only=[], stdlib=False)", ()),
        ("gzc.unpatch_all()", ()),
        ("gzc.monkey.patch('gunicorn')", ("gunicorn",)),
        ("gevent.monkey.patch_all(signal=False); gzc.unpatch_all()", ()),
        ("gevent.monkey.patch_all(signal=False); gzc.patch_all(only=['socket'])", ("socket",)),
        # refused, so that nothing was chosen
        ("refused(lambda: gzc.patch_all(only=['nonsense']))", EVERY),
    ]
    program(
        f"""
        import gunicorn.http.wsgi, gzc.monkey, gevent.monkey
        def check(case):
            call, expected = case
            exec(call)
            if expected != EVERY:
                assert patched() == expected, patched()
            before = patched()
            gevent.monkey.patch_all(gzc=False)
            assert patched() == before
            gevent.monkey.patch_all()
            gevent.monkey.patch_all(sys=True)
            assert patched() == expected, patched()
        each({calls!r}, check)
        """,
        env={"GZC": "1"},
    )


def test_gzc_true_is_a_call_too() -> None:
    """The last call decides; the environment says which seams it means. gevent tells of it if it has more to patch."""
    program(
        """
        import gunicorn.http.wsgi, gzc, gevent.monkey
        gzc.patch_all(only=["socket"], signal=False)
        assert patched() == ("socket",)
        gevent.monkey.patch_all(gzc=True)
        assert patched() == ("gunicorn",), patched()
        gzc.unpatch_all()
        gevent.monkey.patch_all(gzc=True, sys=True)
        assert patched() == ("gunicorn",), patched()
        """,
        env={"GZC_ONLY": "gunicorn"},
    )


# -- the call ----------------------------------------------------------------------------------------------


def test_patch_all_runs_gevents_and_passes_its_options_on() -> None:
    program(
        """
        import gzc, gevent.monkey
        gzc.patch_all(thread=False, select=False)
        assert gevent.monkey.is_module_patched("socket") and gevent.monkey.is_module_patched("ssl")
        assert not gevent.monkey.is_module_patched("threading")
        assert not gevent.monkey.is_module_patched("select")
        assert patched() == EARLY
        """
    )


def test_the_environment_does_not_meddle_with_the_call() -> None:
    """gevent's patch_all runs inside ours, and its plugin event must not choose for us."""
    program(
        """
        import gzc
        gzc.patch_all(only=["gunicorn"])
        assert patched() == ()
        import gunicorn.http.wsgi
        assert patched() == ("gunicorn",)
        """,
        env={"GZC": "1", "GZC_ONLY": "socket"},
    )


def test_patch_all_does_not_patch_gevent_a_second_time() -> None:
    program(
        """
        import gevent.monkey
        gevent.monkey.patch_all(thread=False)
        import gzc, warnings
        warnings.simplefilter("error")
        gzc.patch_all()
        assert not gevent.monkey.is_module_patched("threading")
        assert patched() == EARLY
        """
    )


def test_without_the_standard_library_gevent_patches_nothing() -> None:
    program(
        """
        import socket, threading
        plain = socket.socket, threading.Lock
        import gevent.monkey, gzc
        gzc.patch_all(stdlib=False)
        assert (socket.socket, threading.Lock) == plain
        assert not gevent.monkey.is_module_patched("socket")
        assert patched() == EARLY
        assert download() == {"sendfile"}
        import gunicorn.http.wsgi
        assert patched() == EVERY
        """
    )


def test_only_skip_also_and_one_seam_at_a_time() -> None:
    """An explicit call decides: what is in force and not wanted by it is undone."""
    program(
        """
        import gunicorn.http.wsgi, gzc, gevent.socket
        from gzc.monkey import patch
        before = images()
        def now(*expected, **options):
            gzc.patch_all(stdlib=False, **options)
            assert patched() == expected, (options, patched())
        now(*EVERY)
        now(*EARLY, skip=["gunicorn"])
        now("gunicorn", only=["gunicorn"])
        now(*EVERY)
        now(*[name for name in EVERY if name != "socket"], skip=("socket",))
        patch("socket")
        assert patched() == EVERY
        now(only=())
        unchanged(before)
        patch("gunicorn")
        assert patched() == ("gunicorn",)
        patch("gunicorn")
        now("socket", only={"socket"})
        now("socket", "gunicorn", only=["socket"], also=["gunicorn"])
        now(only=["socket"], skip=["socket"])
        now("socket", only=iter(["socket"]), skip=iter([]), also=iter([]))
        now(skip=iter((*EVERY, *OTHERS)))
        unchanged(before)
        """
    )


def test_an_unknown_seam_is_a_value_error_before_anything_happens() -> None:
    program(
        """
        import gzc, gevent.monkey, gevent.socket
        from gzc.monkey import patch
        attempts = [
            lambda: gzc.patch_all(only=["nonsense"]),
            lambda: gzc.patch_all(skip=["nonsense", "socket"]),
            lambda: gzc.patch_all(also=["socket", "nonsense"]),
            lambda: gzc.patch_all(only=["socket"], skip=["nonsense"], stdlib=False),
            lambda: patch("nonsense"),
        ]
        import gunicorn.http.wsgi
        before = images()
        for attempt in attempts:
            refused(attempt, "nonsense", *EVERY)
        assert not gevent.monkey.is_module_patched("socket")
        unchanged(before)
        gzc.patch_all(stdlib=False, only=["socket"])
        before = images()
        for attempt in attempts:
            refused(attempt, "nonsense", *EVERY)
        unchanged(before)
        assert patched() == ("socket",)
        """
    )


ORDERS = {
    "gevent first": ("gevent.monkey.patch_all()", "pass", {}),
    "gevent later": ("pass", "gevent.monkey.patch_all()", {"stdlib": False}),
    "gevent by gzc": ("pass", "pass", {}),
    "gevent never": ("pass", "pass", {"stdlib": False}),
}


def test_patch_and_unpatch_leave_every_target_identical() -> None:
    """Twice, in both orders with gevent's patch_all, with gunicorn imported before and after."""
    # What gevent itself changes is no difference: where it patches in the middle, the image is of the classes.
    program(
        f"""
        import gevent.monkey, gevent.socket, gzc
        def check(case):
            order, (first, later, options), arrival = case
            exec(first)
            if arrival == "before":
                import gunicorn.http.wsgi
            finders = list(sys.meta_path)
            stock = vars(gevent.socket.socket)["sendfile"]
            for turn in range(2):
                before = images()
                gzc.patch_all(skip=OTHERS, **options)
                ours = vars(gevent.socket.socket)["sendfile"]
                assert ours is not stock
                if turn == 0:
                    exec(later)
                    import gunicorn.http.wsgi as wsgi
                    assert hasattr(wsgi.FileWrapper, "seekable")
                assert patched() == EVERY, patched()
                assert sys.meta_path == finders, "the finder is there for nothing"
                assert vars(gevent.socket.socket)["sendfile"] is ours
                assert download() == {{"sendfile"}}
                gzc.unpatch_all()
                assert patched() == ()
                assert sys.meta_path == finders
                assert vars(gevent.socket.socket)["sendfile"] is stock
                assert not hasattr(wsgi.FileWrapper, "seekable") and not hasattr(wsgi.Response.sendfile, "__wrapped__")
                changed = differences(before, images())
                if turn == 0:
                    # What gevent replaced and what was imported meanwhile is not gzc's doing.
                    stdlib = order in ("gevent by gzc", "gevent later")
                    changed = [c for c in changed if not stdlib and c.partition(".")[0] in before]
                assert not changed, changed
                gzc.unpatch_all()
            assert download() == set()
            if order != "gevent never":
                import socket
                assert socket.socket is gevent.socket.socket
            assert records.warnings() == []
        each({[(*order, arrival) for order in ORDERS.items() for arrival in ("before", "after")]!r}, check)
        """
    )


def test_patching_twice_is_patching_once() -> None:
    """G8: the replacement wraps the original, never itself."""
    program(
        """
        import gunicorn.http.wsgi as wsgi, gevent.monkey, gevent.socket, gzc
        stock = vars(gevent.socket.socket)["sendfile"], vars(wsgi.Response)["sendfile"]
        gzc.patch_all()
        once = images()
        gzc.patch_all()
        gevent.monkey.patch_all(gzc=True)
        gevent.monkey.patch_all()
        gzc.monkey.patch("socket")
        gzc.patch_all()
        unchanged(once)
        for owner, original in zip((gevent.socket.socket, wsgi.Response), stock):
            ours = vars(owner)["sendfile"]
            assert ours.__wrapped__ is original and not hasattr(original, "__wrapped__")
            assert inspect.signature(ours) == inspect.signature(original)
            assert (ours.__name__, ours.__qualname__, ours.__module__, ours.__doc__) == (
                original.__name__, original.__qualname__, original.__module__, original.__doc__)
        sys.setrecursionlimit(120)
        assert download() == {"sendfile"}
        """
    )


def test_many_threads_patch_and_unpatch_at_once() -> None:
    """At any moment the method is either gevent's or one replacement around it, and it ends as it began."""
    program(
        """
        import gunicorn.http.wsgi as wsgi, gevent.socket, gzc, random
        from gevent import monkey
        Thread = monkey.get_original("threading", "Thread")
        before, stock = images(), vars(gevent.socket.socket)["sendfile"]
        sys.setswitchinterval(1e-6)
        wrong = []
        begin = threading.Barrier(8)
        def patcher(number):
            dice = random.Random(number)
            calls = [
                lambda: gzc.patch_all(stdlib=False), gzc.unpatch_all, gzc.patched, gzc.seams,
                lambda: gzc.patch_all(stdlib=False, skip=["socket"]),
                lambda: gzc.monkey.patch("gunicorn"),
            ]
            begin.wait()
            try:
                for _ in range(150):
                    dice.choice(calls)()
                    found = vars(gevent.socket.socket)["sendfile"]
                    if found is not stock and found.__wrapped__ is not stock:
                        wrong.append("two replacements on top of each other")
            except BaseException as exc:
                wrong.append(repr(exc))
        threads = [Thread(target=patcher, args=(number,)) for number in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(50)
        assert not any(thread.is_alive() for thread in threads), "deadlock"
        assert not wrong, set(wrong)
        gzc.unpatch_all()
        unchanged(before)
        gzc.patch_all(stdlib=False)
        assert patched() == EVERY and download() == {"sendfile"}
        assert records.warnings() == []
        """
    )


def test_an_import_in_one_thread_and_patching_in_another_do_not_lock_each_other_out() -> None:
    """The import lock and gzc's own are taken in both orders."""
    program(
        """
        import gevent.socket, gzc
        from gevent import monkey
        Thread = monkey.get_original("threading", "Thread")
        sys.setswitchinterval(1e-6)
        wrong = []
        def importer():
            try:
                importlib.import_module("gunicorn.http.wsgi")
            except BaseException as exc:
                wrong.append(repr(exc))
        def patcher():
            try:
                for _ in range(20):
                    gzc.patch_all(stdlib=False)
                    gzc.unpatch_all()
                gzc.patch_all(stdlib=False)
            except BaseException as exc:
                wrong.append(repr(exc))
        gzc.unpatch_all()
        threads = [Thread(target=patcher), Thread(target=importer), Thread(target=patcher)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(50)
        assert not any(thread.is_alive() for thread in threads), "deadlock"
        assert not wrong, wrong
        assert patched() == EVERY, gzc.seams()
        """
    )


def test_a_call_while_another_thread_imports_gunicorn_waits_for_it(tmp_path: Path) -> None:
    """Whichever call, it returns with the seam in force; the import needs gzc's lock when it is done."""
    fake(tmp_path, "import builtins, time\nbuiltins.begun.set()\ntime.sleep(0.3)\n" + WHOLE)
    calls = [
        "gzc.patch_all(stdlib=False)",
        "gzc.patch_all(stdlib=False, only=['gunicorn'])",
        "gzc.monkey.patch('gunicorn')",
    ]
    program(
        f"""
        sys.path.insert(0, {str(tmp_path)!r})
        import builtins, faulthandler, signal, gevent.socket, gzc.monkey
        def check(case):
            first, call = case
            signal.alarm(10)
            begun = builtins.begun = threading.Event()
            exec(first)
            thread = threading.Thread(target=importlib.import_module, args=("gunicorn.http.wsgi",), daemon=True)
            thread.start()
            begun.wait()
            exec(call)
            assert "gunicorn" in patched(), gzc.seams()
            thread.join()
            assert hasattr(sys.modules["gunicorn.http.wsgi"].FileWrapper, "seekable") and records.warnings() == []
        each({list(itertools.product(["pass", "gzc.patch_all(stdlib=False)"], calls))!r}, check)
        """
    )


def test_patching_while_gunicorn_is_half_imported_patches_it_when_it_is_whole(tmp_path: Path) -> None:
    """The module is in `sys.modules` long before it has its classes: that is no gunicorn of another shape."""
    fake(tmp_path, "import gzc\ngzc.patch_all(stdlib=False)\nassert 'gunicorn' not in gzc.patched()\n" + WHOLE)
    program(
        f"""
        sys.path.insert(0, {str(tmp_path)!r})
        import gevent.socket, gzc
        import gunicorn.http.wsgi as wsgi
        assert records.warnings() == [], records.warnings()
        # Its import had begun when it was awaited, so that it takes another call.
        gzc.patch_all(stdlib=False)
        assert patched() == EVERY, gzc.seams()
        assert hasattr(wsgi.FileWrapper, "seekable") and records.warnings() == []
        """
    )


def test_a_seam_of_an_earlier_version_may_be_named() -> None:
    """A server whose settings skip it starts as ever."""
    program(
        """
        import gzc
        gzc.patch_all(only=["shutil", "subprocess"], skip=["subprocess"], also=["subprocess"])
        assert gzc.patched() == ("shutil",), gzc.patched()
        assert "subprocess" not in {seam.name for seam in gzc.seams()}
        """
    )


def test_a_thread_with_its_own_hub_uses_the_seam() -> None:
    program(
        """
        import gevent, gevent.socket, gzc
        from gevent import monkey
        gzc.patch_all(stdlib=False)
        results = []
        def work():
            try:
                results.append(download(3_000_000))
            except BaseException as exc:
                results.append(exc)
        threads = [monkey.get_original("threading", "Thread")(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(50)
        assert results == [{"sendfile"}] * 4, results
        """
    )


# -- somebody patches after us -----------------------------------------------------------------------------


@pytest.mark.parametrize("undo", ["gzc.unpatch_all()", "gzc.patch_all(stdlib=False, skip=['socket'])"])
def test_a_later_patcher_is_left_in_place_works_and_is_told_of(undo: str) -> None:
    program(
        f"""
        import gevent.socket, gzc
        gzc.patch_all(stdlib=False, only=["socket"])
        ours, seen = vars(gevent.socket.socket)["sendfile"], []
        stock = ours.__wrapped__
        def later(self, *args, **kwargs):
            seen.append(1)
            return ours(self, *args, **kwargs)
        gevent.socket.socket.sendfile = later
        assert download() == {{"sendfile"}} and seen == [1]
        gzc.patch_all(stdlib=False, only=["socket"])
        assert vars(gevent.socket.socket)["sendfile"] is later, "a repeated patch_all is no-op on it"
        assert records.warnings() == []
        {undo}
        assert vars(gevent.socket.socket)["sendfile"] is later
        assert len(records.warnings()) == 1, records.lines
        assert "gevent.socket.socket.sendfile" in records.warnings()[0]
        assert "socket" in patched(), "it still is in force, below the other"
        assert download() == {{"sendfile"}} and seen == [1, 1]
        gevent.socket.socket.sendfile = ours  # the other one leaves
        gzc.unpatch_all()
        assert vars(gevent.socket.socket)["sendfile"] is stock
        assert patched() == () and len(records.warnings()) == 1
        """
    )


def test_a_tracer_that_came_first_sees_every_call() -> None:
    """Even one that says what it wraps: below it might be the code gzc knows, and the calls would not get there."""
    program(
        """
        import functools, gevent.socket, gunicorn.http.wsgi as wsgi, gzc
        seen = []
        def traced(stock):
            @functools.wraps(stock)
            def tracer(*args, **kwargs):
                seen.append(1)
                return stock(*args, **kwargs)
            return tracer
        class Proxy:  # as wrapt's FunctionWrapper
            def __init__(self, wrapped): self.__wrapped__ = wrapped
            def __get__(self, instance, owner): return self.__wrapped__.__get__(instance, owner)
        tracer = gevent.socket.socket.sendfile = traced(gevent.socket.socket.sendfile)
        proxy = wsgi.Response.sendfile = Proxy(wsgi.Response.sendfile)
        before = images()
        gzc.patch_all(stdlib=False)
        assert vars(gevent.socket.socket)["sendfile"] is tracer and vars(wsgi.Response)["sendfile"] is proxy
        assert not hasattr(wsgi.FileWrapper, "seekable")
        assert patched() == tuple(name for name in EVERY if name not in ("socket", "gunicorn"))
        assert states()["socket"].startswith("skipped") and states()["gunicorn"].startswith("skipped")
        assert len(records.warnings()) == 2 and "seam socket" in records.warnings()[0], records.warnings()
        assert download() == set() and seen == [1]
        gzc.unpatch_all()
        unchanged(before)
        assert len(records.warnings()) == 2
        """
    )


def test_a_sendfile_gzc_does_not_know_is_skipped() -> None:
    program(
        """
        import gevent.socket, gzc
        def other(self, file): return 0
        gevent.socket.socket.sendfile = other
        gzc.patch_all(stdlib=False)
        assert vars(gevent.socket.socket)["sendfile"] is other
        assert patched() == tuple(name for name in EARLY if name != "socket")
        assert states()["socket"].startswith("skipped") and "sendfile" in states()["socket"], states()
        assert len(records.warnings()) == 1, records.lines
        """
    )


# -- readfrom and writeto ----------------------------------------------------------------------------------


def test_sockets_and_file_objects_read_from_and_write_to_one_another() -> None:
    program(
        """
        import tempfile, gevent.socket, gzc
        from gevent import ssl
        from gevent.fileobject import FileObjectPosix, FileObjectThread
        kinds = (gevent.socket.socket, ssl.SSLSocket, FileObjectPosix, FileObjectThread)
        assert not any(hasattr(kind, name) for kind in kinds for name in ("readfrom", "writeto"))
        gzc.patch_all(only=["hooks"], stdlib=False)
        assert all(hasattr(kind, name) for kind in kinds for name in ("readfrom", "writeto"))
        content = os.urandom(300_000)
        with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as copy:
            file.write(content)
            file.seek(0)
            here, there = gevent.socket.socketpair()
            writer = gevent.spawn(lambda: (here.readfrom(file, 1000), here.readfrom(file), here.close()))
            assert there.writeto(copy, 2000) == 2000 and there.writeto(copy) == 298_000
            assert writer.get(timeout=30)[:2] == (1000, 299_000)
            copy.seek(0)
            assert copy.read() == content
        for source, sink in ((os.pipe(), os.pipe()),):
            with FileObjectPosix(source[0], "rb") as reader, FileObjectPosix(sink[1], "wb", 0) as to:
                os.write(source[1], b"through the pipes")
                assert to.readfrom(reader, 7) == 7 and reader.writeto(to, 10) == 10
                assert os.read(sink[0], 100) == b"through the pipes"
        gzc.unpatch_all()
        assert not any(hasattr(kind, name) for kind in kinds for name in ("readfrom", "writeto"))
        """
    )


def test_a_readfrom_that_is_there_by_itself_stays() -> None:
    """gevent's own, of some day, or somebody's: the seam adds what is missing."""
    program(
        """
        import gevent.socket, gzc
        def readfrom(self, src): return "by itself"
        gevent.socket.socket.readfrom = readfrom
        before = images()
        gzc.patch_all(stdlib=False)
        assert "hooks" in patched() and states()["hooks"] == "in force" and records.warnings() == []
        assert vars(gevent.socket.socket)["readfrom"] is readfrom and hasattr(gevent.socket.socket, "writeto")
        gzc.unpatch_all()
        unchanged(before)
        """
    )


# -- seams() -----------------------------------------------------------------------------------------------


def test_seams_tell_how_they_stand() -> None:
    program(
        """
        import gzc
        def stand(early, gunicorn):
            found = states()
            assert found == {**dict.fromkeys(EARLY, early), "gunicorn": gunicorn}, found
        for seam in gzc.seams():
            assert seam.name in str(seam) and seam.state in str(seam) and seam.why in str(seam)
            assert seam.reaches in str(seam) and (seam.name in OTHERS or not seam.opt_in)
        waiting = "waiting for gunicorn.http.wsgi"
        stand("off", "off")
        assert patched() == ()
        assert "gunicorn" not in sys.modules
        gzc.patch_all(stdlib=False)
        stand("in force", waiting)
        assert patched() == EARLY
        assert "gunicorn" not in sys.modules, "nothing is imported for our sake"
        gzc.patch_all(stdlib=False, only=["gunicorn"])
        stand("off", waiting)
        gzc.unpatch_all()
        stand("off", "off")
        gzc.patch_all(stdlib=False)
        import gunicorn.http.wsgi
        stand("in force", "in force")
        gzc.patch_all(stdlib=False, skip=["gunicorn"])
        stand("in force", "off")
        gzc.unpatch_all()
        stand("off", "off")
        """
    )


# -- gunicorn arrives after patch_all ----------------------------------------------------------------------


def test_gunicorn_is_patched_when_it_arrives_and_its_import_is_as_ever() -> None:
    """P11: both orders. The module's spec and loader are the ones it would have had."""
    program(
        """
        import importlib.util, gevent.socket, gzc
        finders = list(sys.meta_path)
        gzc.patch_all(stdlib=False, skip=OTHERS)
        import gunicorn.http.wsgi as wsgi
        assert patched() == EVERY
        assert sys.meta_path == finders, "the finder is still there, and nothing is awaited"
        assert vars(wsgi.Response)["sendfile"].__wrapped__.__qualname__ == "Response.sendfile"
        from importlib.machinery import SourceFileLoader
        loader = wsgi.__spec__.loader
        assert type(loader) is SourceFileLoader and loader is wsgi.__loader__
        assert set(vars(loader)) == {"name", "path"}, f"left behind on the loader: {vars(loader)}"
        assert wsgi.__spec__.origin == wsgi.__file__ and wsgi.__spec__.name == "gunicorn.http.wsgi"
        assert "class FileWrapper" in inspect.getsource(wsgi)
        assert inspect.getsource(wsgi.Response).startswith("class Response")
        assert "def send_headers" in inspect.getsource(wsgi.Response.send_headers)
        assert importlib.util.find_spec("gunicorn.http.wsgi") is wsgi.__spec__
        assert importlib.util.spec_from_file_location("again", wsgi.__file__).loader is not None
        gzc.unpatch_all()
        assert sys.meta_path == finders, "the finder is still there"
        assert importlib.reload(wsgi) is wsgi
        assert not hasattr(wsgi.FileWrapper, "seekable") and not hasattr(wsgi.Response.sendfile, "__wrapped__")
        """
    )


def test_a_reloaded_gunicorn_is_patched_by_the_next_call() -> None:
    """importlib.reload makes new classes; until then it must not be said to be patched."""
    program(
        """
        import gzc
        gzc.patch_all(stdlib=False)
        import gunicorn.http.wsgi as wsgi
        before = images()
        for door in (lambda: gzc.patch_all(stdlib=False), lambda: gzc.monkey.patch("gunicorn")):
            assert patched() == EVERY
            assert importlib.reload(wsgi) is wsgi
            stock = vars(wsgi.Response)["sendfile"]
            assert not hasattr(wsgi.FileWrapper, "seekable") and "gunicorn" not in patched()
            assert states()["gunicorn"] != "in force"
            door()
            assert patched() == EVERY and states()["gunicorn"] == "in force"
            assert hasattr(wsgi.FileWrapper, "seekable") and wsgi.Response.sendfile.__wrapped__ is stock
        gzc.unpatch_all()
        assert not hasattr(wsgi.FileWrapper, "seekable") and vars(wsgi.Response)["sendfile"] is stock
        assert records.warnings() == []
        """
    )


def test_asking_where_gunicorn_is_does_not_count_as_its_arrival() -> None:
    program(
        """
        import importlib.util, gzc
        gzc.patch_all(stdlib=False)
        spec = importlib.util.find_spec("gunicorn.http.wsgi")
        assert spec.origin.endswith("wsgi.py") and "gunicorn.http.wsgi" not in sys.modules
        assert patched() == EARLY
        import gunicorn.http.wsgi
        assert patched() == EVERY
        """
    )


def test_a_spec_found_before_unpatch_all_does_not_patch_after_it() -> None:
    program(
        """
        import importlib.util, gzc
        gzc.patch_all(stdlib=False)
        spec = importlib.util.find_spec("gunicorn.http.wsgi")
        gzc.unpatch_all()
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        assert not hasattr(module.FileWrapper, "seekable")
        assert patched() == ()
        """
    )


def test_unpatch_all_while_waiting_forgets_what_was_awaited() -> None:
    program(
        """
        import gzc
        finders = list(sys.meta_path)
        gzc.patch_all(stdlib=False)
        gzc.unpatch_all()
        assert sys.meta_path == finders
        import gunicorn.http.wsgi as wsgi
        assert patched() == () and not hasattr(wsgi.FileWrapper, "seekable")
        gzc.patch_all(stdlib=False)
        assert patched() == EVERY
        """
    )


def test_an_import_that_fails_is_tried_again() -> None:
    """The first attempt dies inside the module; the second one succeeds and is the arrival."""
    program(
        """
        import gunicorn.util, gzc
        gzc.patch_all(stdlib=False)
        kept = sys.modules.pop("gunicorn.util")
        sys.modules["gunicorn.util"] = None
        vars(sys.modules["gunicorn"]).pop("util")
        try:
            import gunicorn.http.wsgi
        except ImportError:
            pass
        else:
            raise AssertionError("it was imported after all")
        assert patched() == EARLY
        sys.modules["gunicorn.util"] = sys.modules["gunicorn"].util = kept
        import gunicorn.http.wsgi
        assert patched() == EVERY, gzc.seams()
        """
    )


def test_where_there_is_no_gunicorn_its_import_fails_as_ever() -> None:
    program(
        """
        import gzc
        class Nothing:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name.partition(".")[0] == "gunicorn":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Nothing)
        gzc.patch_all(stdlib=False)
        for _ in range(2):
            try:
                import gunicorn.http.wsgi
            except ModuleNotFoundError as exc:
                assert exc.name.startswith("gunicorn")
            else:
                raise AssertionError("no ImportError")
        assert patched() == EARLY and states()["gunicorn"] == "waiting for gunicorn.http.wsgi"
        """
    )


def test_a_loader_shared_by_many_modules_is_given_back() -> None:
    """pytest's own import hook is one loader for everything; wrapping it for good would slow down every import."""
    program(
        """
        import importlib.machinery, gzc
        class Hook:
            loaded = []
            def find_spec(self, name, path=None, target=None):
                if not name.startswith("gunicorn."):
                    return None
                found = importlib.machinery.PathFinder.find_spec(name, path, target)
                if found is not None:
                    self.real = getattr(self, "real", {})
                    self.real[name] = found.loader
                    found.loader = self
                return found
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                self.loaded.append(module.__name__)
                self.real[module.__name__].exec_module(module)
        hook = Hook()
        sys.meta_path.insert(0, hook)
        gzc.patch_all(stdlib=False, skip=OTHERS)
        import gunicorn.http.wsgi
        assert patched() == EVERY
        assert Hook.loaded.count("gunicorn.http.wsgi") == 1
        assert "exec_module" not in vars(hook), "gzc's wrapper is still on somebody else's loader"
        gzc.unpatch_all()
        assert "exec_module" not in vars(hook)
        """
    )


def test_a_loader_that_somebody_else_has_wrapped_stays_wrapped() -> None:
    """Given back as it was: with the wrapper on the instance that was there before ours."""
    program(
        """
        import importlib.util, gzc
        class Hook:
            def find_spec(self, name, path=None, target=None):
                if name != "gunicorn.http.wsgi":
                    return None
                found = importlib.machinery.PathFinder.find_spec(name, path, target)
                load = found.loader.exec_module
                def exec_module(module):
                    heard.append(module.__name__)
                    load(module)
                found.loader.exec_module = exec_module
                return found
        heard = []
        sys.meta_path.insert(0, Hook())
        gzc.patch_all(stdlib=False)
        spec = importlib.util.find_spec("gunicorn.http.wsgi")
        gzc.unpatch_all()
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        assert heard == ["gunicorn.http.wsgi"], "gzc took somebody else's wrapper off"
        gzc.patch_all(stdlib=False)
        import gunicorn.http.wsgi as wsgi
        assert patched() == EVERY and heard == ["gunicorn.http.wsgi"] * 2
        wsgi.__loader__.exec_module(wsgi)
        assert heard == ["gunicorn.http.wsgi"] * 3, "gzc took somebody else's wrapper off"
        """
    )


def test_a_loader_that_cannot_be_wrapped_loads_as_ever() -> None:
    """One with slots: the import must succeed, and the seam goes on waiting."""
    program(
        """
        import gzc
        class Loader:
            __slots__ = ("real",)
            def create_module(self, spec): return None
            def exec_module(self, module): self.real.exec_module(module)
        class Hook:
            def find_spec(self, name, path=None, target=None):
                found = importlib.machinery.PathFinder.find_spec(name, path, target)
                if name == "gunicorn.http.wsgi":
                    loader = Loader()
                    loader.real, found.loader = found.loader, loader
                return found
        sys.meta_path.insert(0, Hook())
        gzc.patch_all(stdlib=False)
        import gunicorn.http.wsgi as wsgi
        gzc.patch_all(stdlib=False)
        assert patched() == EVERY and hasattr(wsgi.FileWrapper, "seekable")
        """
    )


def test_gets_along_with_another_import_hook_of_its_kind() -> None:
    """As wrapt's: it asks the whole import system again for what it waits for, with a guard against itself."""
    program(
        """
        import importlib.util, gzc
        heard = []
        class Hook:
            busy = set()
            def find_spec(self, name, path=None, target=None):
                if name != "gunicorn.http.wsgi" or name in self.busy:
                    return None
                self.busy.add(name)
                try:
                    spec = importlib.util.find_spec(name)
                finally:
                    self.busy.discard(name)
                load = spec.loader.exec_module
                def exec_module(module):
                    load(module)
                    heard.append((module.__name__, hasattr(module.FileWrapper, "seekable")))
                spec.loader.exec_module = exec_module
                return spec
        for first in (True, False):
            forget_gunicorn()
            hook = Hook()
            if first:
                sys.meta_path.insert(0, hook)
            gzc.patch_all(stdlib=False)
            if not first:
                sys.meta_path.insert(0, hook)
            import gunicorn.http.wsgi as wsgi
            assert patched() == EVERY, gzc.seams()
            assert hasattr(wsgi.FileWrapper, "seekable")
            assert len(heard) == 1, heard
            heard.clear()
            gzc.unpatch_all()
            sys.meta_path.remove(hook)
        """
    )


# -- a gunicorn of another shape ---------------------------------------------------------------------------

FAKES = {
    "a sendfile of another shape": """
        class Response:
            def sendfile(self, respiter): return False
        class FileWrapper: pass
    """,
    "no sendfile": """
        class Response: pass
        class FileWrapper: pass
    """,
    "no Response": """
        class FileWrapper: pass
    """,
    "a sendfile that is no function": """
        class Response:
            sendfile = len
        class FileWrapper: pass
    """,
    "an inherited sendfile": """
        class Base:
            def sendfile(self, respiter): SENDFILE
        class Response(Base): pass
        class FileWrapper: pass
    """,
    "no FileWrapper": """
        class Response:
            def sendfile(self, respiter): SENDFILE
    """,
    "a FileWrapper that takes no attributes": """
        class Response:
            def sendfile(self, respiter): SENDFILE
        FileWrapper = bytes
    """,
    "a module that raises when asked": """
        def __getattr__(name): raise RuntimeError("not now")
    """,
}
#: What gunicorn's own mentions, so that the first row fits and a later one is what fails.
SENDFILE = (
    "return (self.cfg.is_ssl, self.can_sendfile(), respiter.filelike, self.response_length, "
    "self.send_headers(), self.is_chunked())"
)
WHOLE = f"""
def base_environ(cfg): return {{"wsgi.file_wrapper": FileWrapper}}
class Response:
    def sendfile(self, respiter): {SENDFILE}
class FileWrapper: pass
"""


def fake(folder: Path, wsgi: str) -> None:
    """A gunicorn in `folder` with that for `gunicorn.http.wsgi`."""
    package = folder / "gunicorn" / "http"
    package.mkdir(parents=True)
    for level in (package.parent, package):
        (level / "__init__.py").write_text("")
    (package / "wsgi.py").write_text(textwrap.dedent(wsgi).replace("SENDFILE", SENDFILE))


def test_a_gunicorn_of_another_shape_is_skipped_whole_with_one_warning(tmp_path: Path) -> None:
    """Nothing is half applied: not Response when FileWrapper is strange, and the other seams stay in force."""
    for name, code in FAKES.items():
        fake(tmp_path / name, code)
    program(
        f"""
        import gevent.socket, gzc
        def image(folder):
            module = sys.modules["gunicorn.http.wsgi"]
            assert module.__file__.startswith(folder)
            return [dict(vars(o)) for o in (module, vars(module).get("Response"), vars(module).get("FileWrapper")) if o]
        def check(case):
            name, arrival = case
            folder = os.path.join({str(tmp_path)!r}, name)
            sys.path.insert(0, folder)
            if arrival == "before":
                import gunicorn.http.wsgi
                before = image(folder)
                gzc.patch_all(stdlib=False)
            else:
                gzc.patch_all(stdlib=False)
                import gunicorn.http.wsgi  # the import succeeds, whatever we think of what arrived
                before = image(folder)
            for _ in range(2):
                state = states()["gunicorn"]
                assert state.startswith("skipped: ") and len(state) > len("skipped: "), state
                assert patched() == EARLY, patched()
                assert len(records.warnings()) == 1 and "gunicorn" in records.warnings()[0], records.lines
                for one, two in zip(before, image(folder)):
                    assert one.keys() == two.keys() and all(one[name] is two[name] for name in one)
                values = [value for one in image(folder) for value in one.values()]
                assert all("gzc" not in str(getattr(value, "__module__", "")) for value in values)
                gzc.patch_all(stdlib=False)  # and again: no second warning
            assert download() == {{"sendfile"}}
            gzc.unpatch_all()
            assert len(records.warnings()) == 1 and patched() == ()
        each({list(itertools.product(FAKES, ("before", "after")))!r}, check)
        """
    )


def test_a_file_wrapper_keeps_the_methods_it_has_by_itself(tmp_path: Path) -> None:
    """A later gunicorn, or somebody before us, may have added them: the seam adds the others."""
    fake(
        tmp_path,
        WHOLE.replace("class FileWrapper: pass", "class FileWrapper:")
        + "".join(f"    def {name}(self, *args): return 'by itself'\n" for name in ("seekable", "fileno", "__iter__")),
    )
    program(
        f"""
        import gevent.socket, gzc
        sys.path.insert(0, {str(tmp_path)!r})
        def check(arrival):
            if arrival == "before":
                import gunicorn.http.wsgi
            gzc.patch_all(stdlib=False)
            import gunicorn.http.wsgi as wsgi
            own = [vars(wsgi.FileWrapper)[name] for name in ("seekable", "fileno", "__iter__")]
            for turn in range(2):
                assert patched() == EVERY and states()["gunicorn"] == "in force"
                assert {{"seek", "tell", "__next__"}} <= vars(wsgi.FileWrapper).keys()
                assert wsgi.FileWrapper().seekable() == wsgi.FileWrapper().fileno() == "by itself"
                gzc.unpatch_all()
                assert [vars(wsgi.FileWrapper)[name] for name in ("seekable", "fileno", "__iter__")] == own
                assert not {{"seek", "tell", "__next__"}} & vars(wsgi.FileWrapper).keys()
                assert patched() == ()
                gzc.patch_all(stdlib=False)
            # Where nothing was done there is nothing to stand on.
            wsgi.FileWrapper.seekable = lambda self: "somebody else"
            gzc.unpatch_all()
            assert patched() == () and wsgi.FileWrapper().seekable() == "somebody else"
            assert records.warnings() == [], records.warnings()
        each(("before", "after"), check)
        """
    )


def test_a_gunicorn_somebody_mended_meanwhile_can_be_patched() -> None:
    """`skipped` tells how it was at the last attempt; an explicit call is a new one, and says only what is new."""
    program(
        """
        import gunicorn.http.wsgi as wsgi, gzc.monkey
        stock = wsgi.Response.sendfile
        def other(self, respiter): return respiter.filelike
        def check(door):
            def skipped(by, warnings):
                wsgi.Response.sendfile = by
                door()
                assert "gunicorn" not in patched() and states()["gunicorn"].startswith("skipped")
                assert len(records.warnings()) == warnings, records.warnings()
            skipped(lambda self, respiter: False, 1)
            skipped(lambda self, respiter: False, 1)
            skipped(other, 2)
            skipped(lambda self, respiter: False, 2)
            wsgi.Response.sendfile = stock
            door()
            assert "gunicorn" in patched() and states()["gunicorn"] == "in force", gzc.seams()
            assert len(records.warnings()) == 2
        each((lambda: gzc.patch_all(stdlib=False), lambda: gzc.monkey.patch("gunicorn")), check)
        """
    )


def test_a_row_that_fails_takes_its_seam_back_and_no_other() -> None:
    """A seam of the test's own beside the real ones: its second row fails in the worst way an Exception can."""
    program(
        """
        import gzc
        from inside import _catalog, _activation
        from inside import Row
        import types
        toy = sys.modules["toy"] = types.ModuleType("toy")
        class Strange(Exception):
            def __str__(self): return "strange"
        def broken(original): raise Strange
        rows = (Row("toy", "first", lambda missing: 1), Row("toy", "second", broken))
        mine = _catalog.Seam("mine", why="a test", reaches="nobody", rows=rows)
        _activation.SEAMS = (mine, *_catalog.SEAMS)
        gzc.patch_all(stdlib=False)
        assert not hasattr(toy, "first") and not hasattr(toy, "second")
        assert patched() == EARLY
        assert gzc.seams()[0].state.startswith("skipped"), gzc.seams()[0]
        assert len(records.warnings()) == 1 and "mine" in records.warnings()[0]
        gzc.unpatch_all()
        """
    )


# -- gunicorn's FileWrapper, as its users see it -----------------------------------------------------------


def test_the_file_wrapper_has_what_its_file_has() -> None:
    program(
        """
        import tempfile, gunicorn.http.wsgi as wsgi, gzc
        gzc.patch_all(stdlib=False)
        with tempfile.TemporaryFile() as file:
            file.write(bytes(range(100)))
            file.seek(0)
            wrapper = wsgi.FileWrapper(file)
            assert wrapper.seekable() is True and wrapper.fileno() == file.fileno()
            assert wrapper.seek(90) == 90 and wrapper.tell() == 90
            assert next(wrapper) == bytes(range(90, 100))
            wrapper.seek(-10, 2)
            assert wrapper.tell() == 90
        class Bare:
            def read(self, size=-1): return b""
        bare = wsgi.FileWrapper(Bare())
        assert bare.seekable() is False
        for name in ("seek", "tell", "fileno"):
            try:
                getattr(bare, name)(*([0] if name == "seek" else []))
            except (AttributeError, OSError):
                pass
            else:
                raise AssertionError(name)
        assert list(bare) == []
        read, write = os.pipe()
        with open(read, "rb") as pipe:
            assert wsgi.FileWrapper(pipe).seekable() is False
        os.close(write)
        """
    )


@pytest.mark.untraced
def test_every_option_and_every_seam_of_patch_all_in_one_process() -> None:
    """All choices of only and skip, one after the other: what is in force is what was chosen last."""
    names = ("hooks", "socket", "gunicorn")
    subsets = [c for n in range(len(names) + 1) for c in itertools.combinations(names, n)]
    program(
        f"""
        import gunicorn.http.wsgi, gzc
        before, subsets = images(), {subsets!r}
        for only in (None, *subsets):
            for skip in subsets:
                for also in subsets:
                    gzc.patch_all(stdlib=False, only=only, skip=skip, also=also)
                    wanted = (set(EVERY) if only is None else set(only)) | set(also)
                    assert set(patched()) == wanted - set(skip), (only, skip, also)
        gzc.unpatch_all()
        unchanged(before)
        """
    )
