"""Every row of every seam comes off again: what stood there is there, by identity, whatever happened in between.

Rules: the rows are those of the catalogue, so a new seam is tested by being there. A whole process is patched, so
each case is a fork of a program of its own, which imports every target that is installed.
"""

import itertools
import sys
from textwrap import dedent, indent

import pytest

from .. import _program
from .._inside import SEAMS, Seam
from .test_doors import TOOLS

#: What the programs here know beside the tools of the doors; the catalogue they read is the one they patch by.
ROWS_TOOLS = (
    TOOLS
    + """
from contextlib import suppress

def import_targets():
    '''Every module that a row is for; those that are not installed here are left out.'''
    with suppress(ImportError):
        from django.conf import settings
        settings.configure()  # gevent looks at all objects for locks, and Django's settings do not like to be looked at
    for row in all_rows():
        with suppress(ImportError):
            importlib.import_module(row.module)

def all_rows():
    from inside import SEAMS
    return [row for seam in SEAMS for row in seam.rows]

def names(stdlib=True):
    from inside import SEAMS
    return [seam.name for seam in SEAMS if stdlib or not seam.stdlib]

def place(row):
    '''The owner and the name of what a row replaces; None while there is no such thing.'''
    owner = sys.modules.get(row.module)
    *steps, name = row.path.split(".")
    for step in steps:
        owner = getattr(owner, step, None)
    return owner, name

def entries(owner):
    '''The raw entries of a module or class; of a function also its code, which a row may replace.'''
    code = {"__code__": owner.__code__} if isinstance(owner, types.FunctionType) else {}
    return {**vars(owner), **code}

def raw(rows=None):
    '''All that stands beside and at each target: the raw entries of its owner, by identity.'''
    owners = [place(row)[0] for row in rows or all_rows()]
    return [(owner, entries(owner)) for owner in owners if owner is not None]

def same(before):
    for owner, attributes in before:
        now = entries(owner)
        changed = {n for n in attributes.keys() | now.keys() if attributes.get(n, "gone") is not now.get(n, "gone")}
        changed -= {"__warningregistry__", "_abc_impl"}
        changed = {n for n in changed if not isinstance(now.get(n), types.ModuleType)}
        assert not changed, (owner, changed)

def everything(**options):
    import gzc
    gzc.patch_all(also=names(options.get("stdlib", True)), **options)

def in_force(stdlib=True):
    '''No row is missing whose module is there; what is skipped is a failure, since the targets here are known.'''
    import gzc
    from inside import SEAMS
    assert records.warnings() == [], records.warnings()
    for seam, state in zip(SEAMS, gzc.seams()):
        for row, told in zip(seam.rows, state.rows):
            there = row.module in sys.modules
            wanted = stdlib or not seam.stdlib
            expected = ("in force", "left alone") if there and wanted else ("waiting",) if wanted else ("off",)
            assert told.target == str(row) and told.state.startswith(expected), told
            if told.state == "in force":
                owner, name = place(row)
                assert name in entries(owner), row
"""
)


def program(code: str, env: dict[str, str] | None = None) -> None:
    _program.program(code, env=env, prelude=ROWS_TOOLS)


ORDERS = ("before gevent", "after gevent", "by gzc", "without gevent")


def test_every_row_comes_off_again_in_any_order_with_gevents_patches() -> None:
    """G8: twice; with the targets imported before, between and after."""
    cases = list(itertools.product(ORDERS, ("before", "after")))
    program(
        f"""
        def check(case):
            order, arrival = case
            import gevent.monkey, gzc
            if arrival == "before":
                import_targets()
            if order == "after gevent":
                gevent.monkey.patch_all()
            stdlib = order in ("after gevent", "by gzc")
            options = {{"stdlib": stdlib}}
            if order == "by gzc":
                gevent.monkey.patch_all(gzc=False)  # what gevent replaces is none of the comparison's business
            if arrival == "before":
                before = raw()
            for turn in range(2):
                everything(**options)
                if turn == 0 and arrival == "after":
                    import_targets()
                in_force(stdlib)
                if turn == 0 and order == "before gevent":
                    patched_by_gevent = gevent.monkey.patch_all(gzc=False)
                gzc.unpatch_all()
                assert gzc.patched() == (), gzc.patched()
                if turn == 0 and (arrival == "after" or order == "before gevent"):
                    before = raw()
                    clean(before)
                same(before)
                assert records.warnings() == []
        def clean(image):
            for owner, attributes in image:
                for name, value in attributes.items():
                    code = getattr(value, "__code__", value)
                    assert not str(getattr(code, "co_filename", "")).startswith(MONKEY), (owner, name)
        import gzc.monkey
        MONKEY = os.path.dirname(gzc.monkey.__file__)
        each({cases!r}, check)
        """
    )


def test_rows_that_were_put_before_gevents_patches_come_off_what_gevent_replaced() -> None:
    """gevent may put functions and classes of its own where a row has patched those of the standard library."""
    program(
        """
        import gevent.monkey, gzc
        from inside import _plugin
        import_targets()
        before = [(row, *place(row)) for row in all_rows() if place(row)[0] is not None]
        before = [(row, owner, name, entries(owner).get(name, "missing")) for row, owner, name in before]
        _plugin.ran = True  # the rows on the standard library, too, and gevent's patches only after them
        everything()
        in_force()
        gevent.monkey.patch_all(gzc=False)
        gzc.unpatch_all()
        assert gzc.patched() == () and records.warnings() == [], records.warnings()
        for row, owner, name, value in before:
            replaced = gevent.monkey.saved.get(row.module, {}).get(name)
            assert entries(owner).get(name, "missing") is value or replaced is value, row
        """
    )


def test_each_seam_alone_comes_off_again() -> None:
    program(
        """
        import gevent.monkey, gzc
        gevent.monkey.patch_all()
        import_targets()
        before = raw()
        def check(name):
            for _ in range(2):
                gzc.patch_all(only=[name])
                assert set(gzc.patched()) <= {name}
                gzc.patch_all(only=[], skip=[name])
                same(before)
                gzc.monkey.patch(name)
                gzc.unpatch_all()
                same(before)
            assert records.warnings() == []
        import gzc.monkey
        each(names(), check)
        """
    )


def test_many_threads_patch_and_unpatch_all_seams() -> None:
    program(
        """
        import gevent.monkey, gzc, random
        Thread = gevent.monkey.get_original("threading", "Thread")
        import_targets()
        before, wrong = raw(), []
        sys.setswitchinterval(1e-6)
        def patcher(number):
            dice = random.Random(number)
            calls = [lambda: everything(stdlib=False), gzc.unpatch_all, gzc.patched,
                     lambda: gzc.patch_all(stdlib=False, skip=dice.sample(names(), 1))]
            try:
                for _ in range(25):
                    dice.choice(calls)()
            except BaseException as exc:
                wrong.append(repr(exc))
        threads = [Thread(target=patcher, args=(number,)) for number in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(50)
        assert not any(thread.is_alive() for thread in threads), "deadlock"
        assert not wrong, set(wrong)
        gzc.unpatch_all()
        same(before)
        assert records.warnings() == []
        """
    )


#: Reloading these makes a second world: gevent's C extensions, `os` and `socket` cannot be told apart from broken.
RELOADABLE = sorted(
    {
        row.module
        for seam in SEAMS
        for row in seam.rows
        if row.module.partition(".")[0] not in ("gevent", "os", "socket")
    }
)


@pytest.mark.parametrize("module", RELOADABLE)
def test_a_reloaded_target_is_patched_by_the_next_call_and_comes_off_again(module: str) -> None:
    program(
        f"""
        import gevent.monkey, gzc
        gevent.monkey.patch_all()
        import_targets()
        module = sys.modules[{module!r}]
        rows = [row for row in all_rows() if row.module == {module!r}]
        for _ in range(2):
            everything()
            earlier = raw(rows)
            importlib.reload(module)
            fresh = raw(rows)
            everything()
            in_force()
            gzc.unpatch_all()
            assert gzc.patched() == () and records.warnings() == [], records.warnings()
            for owner, attributes in fresh:
                for row in rows:
                    there, name = place(row)
                    if there is owner and getattr(owner, "__module__", "") == {module!r}:  # made by the reload
                        assert entries(owner).get(name) is attributes.get(name), row
            for row in rows:
                owner, name = place(row)
                value = entries(owner).get(name)
                code = getattr(value, "__code__", value)
                assert "/monkey/" not in getattr(code, "co_filename", ""), row
        """
    )


@pytest.mark.parametrize("seam", [seam for seam in SEAMS if any(row.knows for row in seam.rows)], ids=lambda s: s.name)
def test_an_unknown_version_of_a_target_is_skipped_with_one_warning(seam: Seam) -> None:
    """Whichever of the rows it is, the seam is left out as a whole, and only this seam."""
    unknown = [str(row) for row in seam.rows if row.knows]
    program(
        f"""
        import gevent.monkey, gzc
        gevent.monkey.patch_all()
        import_targets()
        rows = {{str(row): row for row in all_rows()}}
        def check(target):
            row = rows[target]
            if row.module not in sys.modules:
                return
            *steps, name = row.path.removesuffix(".__code__").split(".")
            owner = sys.modules[row.module]
            for step in steps:
                owner = getattr(owner, step)
            setattr(owner, name, lambda *args, **options: None)
            before = raw()
            for _ in range(2):
                everything()
                assert {seam.name!r} not in gzc.patched()
                assert set(gzc.patched()) >= {{
                    seam.name for seam in gzc.seams() if seam.state == "in force"}}
                (warning,) = records.warnings()
                assert "seam {seam.name} is skipped" in warning and target in warning, warning
                (state,) = [state for state in gzc.seams() if state.name == {seam.name!r}]
                assert state.state.startswith("skipped: ") and target in state.state
                assert all(told.state == state.state for told in state.rows if told.target in rows)
            gzc.unpatch_all()
            same(before)
        each({unknown!r}, check)
        """
    )


@pytest.mark.parametrize(
    ("seam", "change", "said"),
    [
        (
            "shutil",
            """
            import shutil
            def copyfile(src, dst, *, follow_symlinks=True):
                return _fastcopy_copy_file_range, _fastcopy_sendfile, _fastcopy_io_uring
            shutil.copyfile.__code__ = copyfile.__code__.replace(co_filename=shutil.__file__)
            """,
            "shutil.copyfile copies by _fastcopy_io_uring, too",
        ),
        (
            "shutil",
            """
            import shutil
            def copyfile(src, dst, *, follow_symlinks=True):
                return copyfileobj
            shutil.copyfile.__code__ = copyfile.__code__.replace(co_filename=shutil.__file__)
            """,
            "shutil.copyfile does not call _fastcopy_sendfile",
        ),
        (
            "http.client",
            """
            import http.client
            def endheaders(self, message_body=None, *, encode_chunked=False):
                self._send_all_of_it()
            endheaders.__code__ = endheaders.__code__.replace(co_filename=http.client.__file__)
            http.client.HTTPConnection.endheaders = endheaders
            """,
            "http.client.HTTPConnection.endheaders does not call _send_output",
        ),
    ],
)
def test_a_python_of_the_future_that_goes_another_way_is_skipped_with_one_warning(
    seam: str, change: str, said: str
) -> None:
    """R15: the name is still there, and nobody calls it, or not before something new; the seam would reach nothing."""
    program(
        f"""
        import gevent.monkey, gzc
        gevent.monkey.patch_all()
        {indent(dedent(change), " " * 8).strip()}
        before = raw()
        for _ in range(2):
            everything()
            assert {seam!r} not in gzc.patched()
            assert records.warnings() == [
                "seam {seam} is skipped, what it would speed up goes the old way: {said}"], records.warnings()
        gzc.unpatch_all()
        same(before)
        """
    )


def test_somebodys_own_function_in_place_of_a_caller_switches_nothing_off() -> None:
    """A tracer's closure does not mention what the library's own would call, and calls it all the same."""
    program(
        """
        import gevent.monkey, gzc
        gevent.monkey.patch_all()
        import http.client, shutil
        headers, copyfile = http.client.HTTPConnection.endheaders, shutil.copyfile
        http.client.HTTPConnection.endheaders = lambda self, *args, **options: headers(self, *args, **options)
        shutil.copyfile = lambda *args, **options: copyfile(*args, **options)
        everything()
        assert {"http.client", "shutil"} <= set(gzc.patched())
        assert records.warnings() == []
        """
    )


# -- without the standard library --------------------------------------------------------------------------


def test_a_seam_that_touches_the_standard_library_says_so() -> None:
    for seam in SEAMS:
        touched = {row.module for row in seam.rows if row.module.partition(".")[0] in sys.stdlib_module_names}
        assert bool(touched) <= seam.stdlib, (seam.name, touched)


def test_stdlib_false_leaves_every_module_of_the_standard_library_alone() -> None:
    """For programs that use gevent without monkey-patching: gevent's own classes are in force, nothing else."""
    program(
        """
        import gevent.pywsgi, gevent.socket, gevent.subprocess
        import shutil, socket, ssl, select, subprocess, http.client, http.server, socketserver, wsgiref.handlers
        import ftplib, tarfile, zipfile, tempfile, smtplib, urllib.request, mmap, asyncio, concurrent.futures
        concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor  # made when asked for
        import_targets()
        import gzc

        def stdlib():
            taken = {}
            for name, module in list(sys.modules.items()):
                if name.partition(".")[0] in sys.stdlib_module_names and isinstance(module, types.ModuleType):
                    taken[name] = dict(vars(module))
                    for value in list(vars(module).values()):
                        if isinstance(value, type) and value.__module__.partition(".")[0] in sys.stdlib_module_names:
                            taken[f"{value.__module__}.{value.__qualname__} {id(value)}"] = dict(vars(value))
            return taken

        before = stdlib()
        assert any(name.startswith("shutil") for name in before)
        gzc.patch_all(stdlib=False)
        import gevent.monkey
        changed = differences(before, stdlib())
        assert not changed, changed
        assert not gevent.monkey.saved and not gevent.monkey.is_module_patched("socket")
        in_force_names = set(gzc.patched())
        from inside import SEAMS
        for seam in SEAMS:
            assert (seam.name in in_force_names) is not (seam.stdlib or seam.opt_in), seam.name
        assert download() == {"sendfile"}
        """
    )


# -- early importers ---------------------------------------------------------------------------------------


def test_early_importers_of_every_row_are_listed_and_nobody_else() -> None:
    """A module that took the original before: under any name, and not the home of the function itself."""
    program(
        """
        import gevent.monkey, gzc
        gevent.monkey.patch_all()
        import_targets()
        early = sys.modules["early_bird"] = types.ModuleType("early_bird")
        taken = {}
        for number, row in enumerate(all_rows()):
            owner, name = place(row)
            if owner is not None and row.knows and name != "__code__":  # new code reaches early importers, too
                taken[f"early_bird.took_{number}"] = str(row)
                setattr(early, f"took_{number}", vars(owner)[name])
        assert taken
        assert not any(seam.early for seam in gzc.seams()), "nothing is patched yet"
        everything()
        late = sys.modules["late_bird"] = types.ModuleType("late_bird")
        for number, row in enumerate(all_rows()):
            owner, name = place(row)
            if owner is not None and name in vars(owner):
                setattr(late, f"took_{number}", vars(owner)[name])
        found = {}
        for seam in gzc.seams():
            for row in seam.rows:
                for name in row.early:
                    found.setdefault(name, set()).add(row.target)
                    assert name in seam.early and name in str(seam) and name in str(row)
        for name, target in taken.items():
            assert target in found.get(name, ()), (name, target)
        assert not any(name.startswith(("late_bird", "gzc", "posix.")) for name in found), found
        gzc.unpatch_all()
        assert not any(seam.early for seam in gzc.seams())
        """
    )


def test_looking_for_early_importers_loads_no_lazy_module_and_runs_no_code() -> None:
    program(
        """
        import gzc
        from importlib.util import LazyLoader, find_spec, module_from_spec
        spec = find_spec("wave")
        spec.loader = LazyLoader(spec.loader)
        lazy = sys.modules["wave"] = module_from_spec(spec)
        spec.loader.exec_module(lazy)
        class Trap:
            def __getattribute__(self, name): raise AssertionError(name)
        sys.modules["trap"] = Trap()
        sys.modules["nothing"] = None
        gzc.patch_all(stdlib=False)
        gzc.seams()
        assert "open" not in object.__getattribute__(lazy, "__dict__"), "it was loaded"
        """
    )
