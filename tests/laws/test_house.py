"""The laws of the house, read from the code: who may import whom, who may call the kernel, what is public.

Rules: the code is parsed, not run, except where the law is about what running it loads.
"""

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import gzc

from .._ends import python
from .._inside import _classify, _config, _movers, _routes, _syscalls

ENGINE = Path(inspect.getfile(gzc)).parent
CLI = ENGINE / "cli"
MONKEY = Path(inspect.getfile(__import__("gzc.monkey", fromlist=["x"]))).parent
ROOT = Path(__file__).resolve().parents[2]

#: A module imports from lower floors only. A new module gets its floor here, on purpose.
FLOORS = {
    "_errors": 0,
    "_config": 0,
    "_buffer": 0,
    "_declines": 0,
    "_places": 0,
    "_signature": 0,
    "_syscalls": 1,
    "_stats": 1,
    "_running": 2,
    "_hub": 1,
    "_trace": 2,
    "_pipe": 2,
    "_disk": 2,
    "_endpoint": 2,
    "_consent": 3,
    "_opaque": 3,
    "_memory": 3,
    "_pipes": 3,
    "_sockets": 3,
    "_lending": 3,
    "_locks": 2,
    "_file_region": 2,
    "_files": 4,
    "_file_sinks": 5,
    "_classify": 6,
    "_movers": 5,
    "_twins": 7,
    "_wrappers": 7,
    "_pump": 6,
    "_from_file": 6,
    "_through_pipe": 6,
    "_routes": 7,
    "_transfer": 8,
    "_copy": 9,
    "_tunnel": 9,
    "metrics": 10,
    "wsgi": 10,
    "cli": 11,
    "__main__": 12,
}


def _modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def _ids(path: Path) -> str:
    return path.stem


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _siblings(tree: ast.Module) -> Iterator[str]:
    """The modules of its own package that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            if node.module is None:
                yield from (alias.name for alias in node.names)
            else:
                yield node.module.partition(".")[0]


def _absolute(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def test_every_module_has_its_floor() -> None:
    assert {path.stem for path in _modules(ENGINE)} | {"cli"} == set(FLOORS)


@pytest.mark.parametrize("path", _modules(ENGINE), ids=_ids)
def test_a_module_imports_from_lower_floors_only(path: Path) -> None:
    above = {name: FLOORS[name] for name in _siblings(_parse(path)) if FLOORS[name] >= FLOORS[path.stem]}
    assert above == {}


@pytest.mark.parametrize("path", _modules(ENGINE), ids=_ids)
def test_the_engine_does_not_know_the_patch_layer_nor_imports_itself_by_name(path: Path) -> None:
    assert [name for name in _absolute(_parse(path)) if name.partition(".")[0] in ("gzc", "monkey")] == []


@pytest.mark.parametrize("path", [*_modules(MONKEY), MONKEY / "__init__.py"], ids=_ids)
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


@pytest.mark.parametrize("path", [*_modules(ENGINE), *_modules(MONKEY)], ids=_ids)
def test_only_one_module_moves_bytes_by_system_call(path: Path) -> None:
    calls = {"sendfile", "splice", "copy_file_range", "tee", "vmsplice", "pipe", "pipe2"}
    calls |= {"read", "readv", "pread", "preadv", "write", "writev", "pwrite", "pwritev"}
    used = {
        node.attr
        for node in ast.walk(_parse(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert path.stem == "_syscalls" or used & calls == set()


@pytest.mark.parametrize("path", _modules(ENGINE), ids=_ids)
def test_only_one_module_knows_gevents_private_names(path: Path) -> None:
    """Of its sockets and its hub: what `_hub` is for."""
    if path.stem == "_hub":
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
    [*_modules(ENGINE), *_modules(MONKEY), ENGINE / "__init__.py", MONKEY / "__init__.py", *CLI.glob("*.py")],
    ids=_ids,
)
def test_every_file_states_its_purpose_and_its_rules(path: Path) -> None:
    text = ast.get_docstring(_parse(path))
    assert text
    assert "Rules of this file:" in text or "Rule of this file:" in text


def test_one_loop() -> None:
    """Bytes are pumped in `_pump`; a mover is one attempt."""
    for name in ("_movers.py", "_from_file.py", "_through_pipe.py"):
        loops = [node for node in ast.walk(_parse(ENGINE / name)) if isinstance(node, (ast.While, ast.For))]
        assert loops == []
    assert len([node for node in ast.walk(_parse(ENGINE / "_pump.py")) if isinstance(node, ast.While)]) == 1


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


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "tests").rglob("*.py")), *_modules(ENGINE), *CLI.glob("*.py")], ids=_ids
)
def test_every_timeout_closes_its_timer(path: Path) -> None:
    """On libuv a timer that is collected and was not closed is freed while the loop has it in a list: the heap is
    corrupted, and the process dies somewhere else (seen: 5 of 100 runs of test_interruption)."""
    functions = [node for node in ast.walk(_parse(path)) if isinstance(node, ast.FunctionDef)]
    assert [found for function in functions for found in _unclosed(function)] == []


# -- the table ---------------------------------------------------------------------------------------------


def test_the_route_table_is_total() -> None:
    assert set(_routes.ROUTES) == set(product(gzc.Kind, gzc.Kind))


@pytest.mark.parametrize(("source", "sink"), list(product(gzc.Kind, gzc.Kind)), ids=lambda kind: kind.name)
def test_every_route_ends_in_user_space(source: gzc.Kind, sink: gzc.Kind) -> None:
    route = _routes.ROUTES[source, sink]
    assert route.movers[-1] is _movers.UserSpace
    assert route.movers.count(_movers.UserSpace) == 1
    assert route.reason
    if gzc.Kind.MEMORY in (source, sink) or gzc.Kind.OPAQUE in (source, sink):
        assert route.movers == (_movers.UserSpace,)


def test_every_mover_has_a_known_name() -> None:
    used = {mover for route in _routes.ROUTES.values() for mover in route.movers}
    assert {mover.name for mover in used} <= set(_config.MECHANISMS)
    assert set(_syscalls._missing) <= set(_config.MECHANISMS)
    assert _movers.UserSpace.declines == {}


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
