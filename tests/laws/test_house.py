"""The laws of the house, read from the code: who may import whom, who may call the kernel, what is public.

Rules: the code is parsed, not run, except where the law is about what running it loads.
"""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import product
from pathlib import Path

import pytest

import gzc

from .._ends import python
from .._inside import _classify, _config, _errnos, _routes, _userspace

ENGINE = Path(inspect.getfile(gzc)).parent
CLI = ENGINE / "cli"
MONKEY = Path(inspect.getfile(__import__("gzc.monkey", fromlist=["x"]))).parent
ROOT = Path(__file__).resolve().parents[2]

#: The wings of the engine, from the machine up: a wing imports from those below it. Below all are these two rooms.
WINGS = ("_kernel", "_hub", "_ends", "_movers", "_core", "_observe", "contrib")
BELOW_ALL = {"_config", "_errors"}
#: Rooms that lie beside the wings: the commands, and the names under which two rooms of ``contrib`` were known first.
BESIDE = {"__init__", "__main__", "cli", "metrics", "monkey", "wsgi"}


def _modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


#: All rooms of the patch layer.
SEAMS = sorted(MONKEY.rglob("*.py"))

#: All rooms of the engine, without its face.
ROOMS = [*_modules(ENGINE), *(path for wing in WINGS for path in sorted((ENGINE / wing).glob("*.py")))]


def _ids(path: Path) -> str:
    return path.stem


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _imported(path: Path) -> Iterator[str]:
    """The rooms and wings of the engine that a room imports, dotted from its root."""
    here = path.relative_to(ENGINE).with_suffix("").parts[:-1]
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join((*here[: len(here) - node.level + 1], *filter(None, [node.module])))
            for alias in node.names:
                room = ENGINE.joinpath(*base.split("."), alias.name) if base else ENGINE / alias.name
                named = room.with_suffix(".py").exists() or room.is_dir()
                yield ".".join(filter(None, (base, alias.name))) if named else base


def _absolute(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def test_every_room_is_in_a_wing() -> None:
    found = {path.stem for path in ENGINE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found == {*WINGS, *BELOW_ALL, *BESIDE}


def _shown(tree: str) -> list[str]:
    """The paths in a tree of folders, of which each has a line."""
    shown, wing = [], ""
    for indent, name in re.findall(r"^( +)([\w.]+/?)  +\S", tree, re.MULTILINE):
        wing = (wing if len(indent) == 4 else "") + name
        shown.append(wing)
        wing = wing if name.endswith("/") else wing.rpartition("/")[0] + "/"
    return shown


def test_the_page_shows_the_house() -> None:
    """Each room has its line in docs/how-it-works.md."""
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    shown = _shown(page[page.index("\ngzc/  ") : page.index("\nmonkey/  ")])
    wings = [name for name in shown if name.endswith("/")]
    assert wings == [f"{wing}/" for wing in (*WINGS, "cli")]
    rooms = {str(path.relative_to(ENGINE)) for path in ROOMS if path.stem != "__init__"}
    assert {name for name in shown if name not in wings} == {*rooms, "__init__.py", "_movers/__init__.py"} - {
        f"{name}.py" for name in BESIDE - {"__init__"}
    }
    seams = {str(path.relative_to(MONKEY)) for path in SEAMS if path.name != "__init__.py"}
    assert {name for name in _shown(page[page.index("\nmonkey/  ") :]) if not name.endswith("/")} == seams


@pytest.mark.parametrize("path", ROOMS, ids=_ids)
def test_a_wing_imports_from_the_wings_below_it(path: Path) -> None:
    wing = path.relative_to(ENGINE).parts[0].removesuffix(".py")
    allowed = {*BELOW_ALL, *WINGS[: WINGS.index(wing) + 1]} if wing in WINGS else {"contrib", "cli"}
    assert {name for name in _imported(path) if name.partition(".")[0] not in allowed} == set()


def test_the_rooms_of_a_wing_import_each_other_in_no_circle() -> None:
    arrows = {}
    for path in ROOMS:
        room = ".".join(path.relative_to(ENGINE).with_suffix("").parts).removesuffix(".__init__")
        arrows[room] = {name for name in _imported(path) if name != room}
    assert list(TopologicalSorter(arrows).static_order())


@pytest.mark.parametrize("path", ROOMS, ids=_ids)
def test_the_engine_does_not_know_the_patch_layer_nor_imports_itself_by_name(path: Path) -> None:
    assert [name for name in _absolute(_parse(path)) if name.partition(".")[0] in ("gzc", "monkey")] == []


@pytest.mark.parametrize("path", SEAMS, ids=_ids)
def test_the_patch_layer_stands_on_the_public_face_alone(path: Path) -> None:
    tree = _parse(path)
    ours = [name for name in _absolute(tree) if name.partition(".")[0] == "gzc"]
    assert set(ours) <= {"gzc"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "gzc"]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gzc"
    }
    assert used <= set(gzc.__all__)


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=_ids)
def test_the_command_line_stands_on_the_face_and_on_the_patch_layer(path: Path) -> None:
    tree = _parse(path)
    ours = [name for name in _absolute(tree) if name.partition(".")[0] == "gzc"]
    assert set(ours) <= {"gzc", "gzc.monkey"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "gzc"]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gzc"
    }
    assert used <= {*gzc.__all__, "__version__", "monkey"}


def test_nothing_that_gevent_patches_is_imported_before_a_command_begins() -> None:
    """Beside what the interpreter has loaded anyway; `gzc run` lets gevent patch before anything else comes."""
    code = (
        "import sys, runpy; before = set(sys.modules); from gzc import cli;"
        "cli._parser('run'); print(*sorted(set(sys.modules) - before))"
    )
    imported = set(python(code).split())
    assert "gzc.cli.run" in imported
    patched = {"socket", "ssl", "select", "selectors", "threading", "subprocess", "queue", "signal", "logging"}
    assert imported & {*patched, "asyncio", "concurrent", "gevent"} == set()
    ours = {name for name in imported if name.partition(".")[0] == "gzc"}
    assert {name for name in ours if not name.startswith("gzc.cli")} == {"gzc", "gzc.monkey"}


@pytest.mark.parametrize("path", [*ROOMS, *SEAMS], ids=_ids)
def test_only_one_module_moves_bytes_by_system_call(path: Path) -> None:
    calls = {"sendfile", "splice", "copy_file_range", "tee", "vmsplice", "pipe", "pipe2"}
    calls |= {"read", "readv", "pread", "preadv", "write", "writev", "pwrite", "pwritev"}
    used = {
        node.attr
        for node in ast.walk(_parse(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert path.stem == "syscalls" or used & calls == set()


@pytest.mark.parametrize("path", ROOMS, ids=_ids)
def test_only_one_module_knows_gevents_private_names(path: Path) -> None:
    """Of its sockets and its hub: what the wing `_hub` is for."""
    if path.parent.name == "_hub":
        return
    private = {"_wait", "_read_event", "_write_event", "_sock", "cancel_wait_ex", "cancel_wait"}
    used = {
        node.attr
        for node in ast.walk(_parse(path))
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }
    assert used & private == set()


@pytest.mark.parametrize(
    "path",
    [*ROOMS, *SEAMS, ENGINE / "__init__.py", *CLI.glob("*.py")],
    ids=_ids,
)
def test_every_file_states_its_purpose(path: Path) -> None:
    assert ast.get_docstring(_parse(path))


def test_one_loop() -> None:
    """Bytes are pumped in `pump`; a mover is one attempt."""
    for path in (ENGINE / "_movers").glob("*.py"):
        assert [node for node in ast.walk(_parse(path)) if isinstance(node, (ast.While, ast.For))] == []
    pump = _parse(ENGINE / "_core" / "pump.py")
    assert len([node for node in ast.walk(pump) if isinstance(node, ast.While)]) == 1


def _closed(function: ast.AST) -> set[str]:
    """The variables whose ``close`` is called in ``function``, or that are the context of a ``with``."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and node.attr == "close" and isinstance(node.value, ast.Name):
            names.add(node.value.id)
        elif isinstance(node, ast.With):
            names |= {item.context_expr.id for item in node.items if isinstance(item.context_expr, ast.Name)}
    return names


def _unclosed(function: ast.FunctionDef) -> Iterator[str]:
    """Timers of ``gevent.Timeout`` in ``function`` that nobody closes."""
    closed, calls = _closed(function), [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    timeouts = {id(call): call for call in calls if ast.unparse(call.func).endswith("Timeout") and call.args}
    for node in ast.walk(function):
        if isinstance(node, ast.With):
            contexts = [below for item in node.items for below in ast.walk(item.context_expr)]
            timeouts = {key: call for key, call in timeouts.items() if call not in contexts}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in closed:
            timeouts.pop(id(node.value), None)
        elif isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.target.id in closed:
            timeouts = {key: call for key, call in timeouts.items() if call not in list(ast.walk(node.iter))}
    yield from (f"{function.name}: {ast.unparse(call)}" for call in timeouts.values())


@pytest.mark.parametrize("path", [*sorted((ROOT / "tests").rglob("*.py")), *ROOMS, *CLI.glob("*.py")], ids=_ids)
def test_every_timeout_closes_its_timer(path: Path) -> None:
    """On libuv a timer that is collected and was not closed is freed while the loop has it in a list: the heap is
    corrupted, and the process dies somewhere else (seen: 5 of 100 runs of test_interruption)."""
    functions = [node for node in ast.walk(_parse(path)) if isinstance(node, ast.FunctionDef)]
    assert [found for function in functions for found in _unclosed(function)] == []


def test_what_a_machine_lacks_is_said_in_one_place() -> None:
    """A skip hides a failure where it is asked for by whoever happens to need something."""
    asks = {"skip", "importorskip", "xfail"}
    found = {
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(_parse(path))
        if isinstance(node, ast.Attribute)
        and node.attr in asks
        and ast.unparse(node.value) in ("pytest", "pytest.mark")
    }
    assert found == {"_lacks.py"}


# -- the table ---------------------------------------------------------------------------------------------


def test_the_route_table_is_total() -> None:
    assert set(_routes.ROUTES) == set(product(gzc.Kind, gzc.Kind))


@pytest.mark.parametrize(("source", "sink"), list(product(gzc.Kind, gzc.Kind)), ids=lambda kind: kind.name)
def test_every_route_ends_in_user_space(source: gzc.Kind, sink: gzc.Kind) -> None:
    route = _routes.ROUTES[source, sink]
    assert route.movers[-1] is _userspace.UserSpace
    assert route.movers.count(_userspace.UserSpace) == 1
    assert route.reason
    if gzc.Kind.MEMORY in (source, sink) or gzc.Kind.OPAQUE in (source, sink):
        assert route.movers == (_userspace.UserSpace,)


def test_every_mover_has_a_known_name() -> None:
    used = {mover for route in _routes.ROUTES.values() for mover in route.movers}
    assert {mover.name for mover in used} <= set(_config.MECHANISMS)
    assert set(_errnos.missing) <= set(_config.MECHANISMS)
    assert _userspace.UserSpace.declines == {}


def test_no_mover_declines_on_what_is_the_truth() -> None:
    import errno

    truths = {"EIO", "ENOSPC", "EDQUOT", "EFBIG", "EPIPE", "ECONNRESET", "ENOTCONN", "ETIMEDOUT", "ENOMEM", "EBADF"}
    for route in _routes.ROUTES.values():
        for mover in route.movers:
            assert {errno.errorcode[number] for number in mover.declines} & (truths - {"EBADF"}) == set()


# -- the face ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", gzc.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(gzc, name)
    text = inspect.getdoc(value if inspect.isroutine(value) or inspect.isclass(value) else type(value))
    assert text
    assert len(text) > 20
    assert name in dir(gzc)


def test_the_face_is_sorted_and_says_what_type_checkers_see() -> None:
    assert gzc.__all__ == sorted(gzc.__all__)
    assert set(gzc._HOME) == set(gzc.__all__)
    block = next(node for node in _parse(ENGINE / "__init__.py").body if isinstance(node, ast.If))
    homes = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert homes == dict(gzc._HOME)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'teleport'"):
        gzc.teleport  # type: ignore[attr-defined]  # noqa: B018


def test_public_methods_are_documented() -> None:
    for cls in (gzc.Transfer, gzc.trace, gzc.Plan, type(gzc.source(b"")), type(gzc.sink(bytearray()))):
        for name, member in inspect.getmembers(cls, inspect.isroutine):
            if not name.startswith("_") and member.__qualname__.startswith(cls.__name__ + "."):
                assert inspect.getdoc(member), member


LOADED = "import json, sys; sys.path.insert(0, ''); {code}; print(json.dumps(sorted(sys.modules)))"


@pytest.mark.untraced
@pytest.mark.parametrize("code", ["import gzc", "import gzc.monkey", "import gzc; gzc.__version__; dir(gzc)"])
def test_importing_gzc_alone_loads_nothing(code: str) -> None:
    loaded = json.loads(python(LOADED.format(code=code)))
    assert [name for name in loaded if name.partition(".")[0] in ("gevent", "greenlet", "_greenlet")] == []
    ours = {name for name in loaded if name.partition(".")[0] == "gzc"}
    assert ours <= {"gzc", "gzc.monkey"}
    assert ("gzc.monkey" in ours) is ("monkey" in code)


def test_importing_the_engine_patches_nothing() -> None:
    code = (
        "import os, shutil, socket, gevent.socket as s; before = (os.sendfile, shutil.copyfileobj,"
        " socket.socket.sendfile, s.socket.sendfile); import gzc; gzc.copy; gzc.patch_all; "
        "assert before == (os.sendfile, shutil.copyfileobj, socket.socket.sendfile, s.socket.sendfile); "
        "from gevent import monkey; print(monkey.saved, gzc.patched())"
    )
    assert python(code, env={"GZC": ""}).split()[0] == "{}"


def test_asking_for_a_known_type_is_a_row() -> None:
    """`_classify` has no ladder of isinstance with a silent else: each known type is in the register."""
    from .._inside import sinks, sources

    assert {bytes, bytearray, memoryview} <= set(sources._vouches)
    assert bytearray in sinks._vouches
    assert bytes not in sinks._vouches
    assert _classify.source.__module__ == _classify.__name__
