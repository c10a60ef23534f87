"""sdist, wheel and clone: built from a copy of this tree, installed into an empty environment, used in and out of it.

Rules: nothing is written into the repository, and nothing of it is on the path of the installed Python. What is
needed beside gevent is setuptools alone, in an environment that is thrown away.
"""

import configparser
import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .._inside import HOMES, sentence
from .._lacks import IN_A_TREE
from .._program import PRELUDE, clean_environment, finished

ROOT = Path(__file__).resolve().parents[2]
#: Seconds for pip to install something, which is seconds on a quiet machine.
PATIENCE = 250
pytestmark = pytest.mark.timeout(2 * PATIENCE)
NOT_SOURCE = shutil.ignore_patterns(
    *(".git", ".venv*", "venv", "build", "dist", "*.egg-info", "__pycache__", "*.pyc", ".*_cache", ".hypothesis"),
    ".coverage*",
)
TOPS = ("gzc", "tests", "examples", "benchmarks", "docs", ".ci", ".github")
SINGLES = (
    *(".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md"),
    *("SECURITY.md", "mkdocs.yml", "pyproject.toml", "setup.cfg"),
)

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


def make_environment(path: Path, *install: str | Path) -> Path:
    """A virtual environment with only what is named; its Python."""
    subprocess.run([sys.executable, "-m", "venv", path], check=True, capture_output=True)
    python = path / "bin" / "python"
    if install:
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *install],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
    return python


def build(python: Path, tree: Path, what: str, into: Path) -> Path:
    """Run the build backend as pip would: in the tree, by PEP 517."""
    into.mkdir(exist_ok=True)
    done = subprocess.run(
        [python, "-c", BUILD, f"build_{what}", into],
        cwd=tree,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("package")


@pytest.fixture(scope="module")
def builder(work: Path) -> Path:
    """A Python with the build backend that pyproject.toml names."""
    return make_environment(work / "builder", "setuptools>=64", "wheel")


@pytest.fixture(scope="module")
def tree(work: Path) -> Path:
    """A copy of the sources as a fresh clone would have them."""
    return Path(shutil.copytree(ROOT, work / "tree", ignore=NOT_SOURCE, symlinks=True))


@pytest.fixture(scope="module")
def sdist(builder: Path, tree: Path, work: Path) -> Path:
    return build(builder, tree, "sdist", work / "sdist")


@pytest.fixture(scope="module")
def unpacked(sdist: Path, work: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # the default from 3.14 on
        archive.extractall(work / "unpacked")
    (folder,) = (work / "unpacked").iterdir()
    return folder


@pytest.fixture(scope="module")
def wheel(builder: Path, unpacked: Path, work: Path) -> Path:
    """From the sdist, as `python -m build` and every distribution does it."""
    return build(builder, unpacked, "wheel", work / "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, work: Path) -> Path:
    """The Python of an environment with the wheel and what it requires."""
    return make_environment(work / "installed", wheel)


@pytest.fixture(scope="module")
def clone(work: Path) -> Path:
    """The sources in a folder called gzc, as people have them."""
    return Path(shutil.copytree(ROOT, work / "clones" / "gzc", ignore=NOT_SOURCE, symlinks=True))


@pytest.fixture(scope="module")
def editable(clone: Path) -> Path:
    """The Python of the environment that the Makefile makes in the clone."""
    own = {name: value for name, value in clean_environment().items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", f"PYTHON={sys.executable}", "VENV=.venv", ".venv/bin/.extra-dist"]
    done = subprocess.run(command, cwd=clone, env=own, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return clone / ".venv" / "bin" / "python"


def files(folder: Path) -> set[str]:
    """All files below it, those behind a link to a folder among them."""
    found = (Path(home, name) for home, _, names in os.walk(folder, followlinks=True) for name in names)
    return {str(path.relative_to(folder)) for path in found if "__pycache__" not in path.parts}


@IN_A_TREE
def test_a_bare_import_of_monkey_is_refused() -> None:
    """M12: from the root of a checkout it would be a second copy of every patch."""
    script = (
        "try:\n    import monkey\nexcept ImportError as exc:\n    print(exc)\n"
        "else:\n    raise SystemExit('it was imported')\n"
        "import sys\nassert 'monkey' not in sys.modules and 'gzc' not in sys.modules\n"
    )
    told = finished([sys.executable, "-B", "-c", script], cwd=ROOT)
    assert "gzc.monkey" in told
    assert "import gzc" in told


@IN_A_TREE
def test_the_two_packages_are_one_in_this_environment() -> None:
    """`gzc.monkey` of an editable install, from the root of the checkout and from elsewhere."""
    script = (
        f"import gzc, gzc.monkey, sys; {sentence('_activation')}\n"
        "assert gzc.patch_all is gzc.monkey.patch_all is _activation.patch_all\n"
        "assert 'monkey' not in sys.modules\n"
    )
    for cwd in (ROOT, ROOT / "tests", ROOT.parent):
        finished([sys.executable, "-B", "-c", script], cwd=cwd)


@IN_A_TREE
@pytest.mark.slow
def test_the_sdist_has_everything_and_nothing_else(tree: Path, sdist: Path, unpacked: Path) -> None:
    wanted = {name for name in SINGLES if (tree / name).exists()}
    for top in TOPS:
        wanted |= {f"{top}/{name}" for name in files(tree / top)} if (tree / top).exists() else set()
    with tarfile.open(sdist) as archive:  # so that it can be unpacked where there are no links
        assert [member.name for member in archive if not (member.isreg() or member.isdir())] == []
    made = {name for name in files(unpacked) if ".egg-info/" not in name} - {"PKG-INFO"}
    assert wanted - made == set(), "missing in the sdist"
    assert made - wanted == set(), "not meant for the sdist"
    for name in sorted(set(SINGLES) - {"setup.cfg"}):  # which setuptools writes anew, without its comments
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes(), name
    here, there = configparser.ConfigParser(), configparser.ConfigParser()
    here.read(ROOT / "setup.cfg")
    there.read(unpacked / "setup.cfg")
    assert {name: dict(here[name]) for name in here} == {
        name: dict(there[name]) for name in there if name != "egg_info"
    }
    # A script that lost its bit on the way does not run for those who unpack it.
    for name in wanted:
        assert os.access(unpacked / name, os.X_OK) == os.access(tree / name, os.X_OK), name


@IN_A_TREE
@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel_as_the_tree(builder: Path, tree: Path, wheel: Path, work: Path) -> None:
    direct = build(builder, tree, "wheel", work / "direct")
    with zipfile.ZipFile(direct) as one, zipfile.ZipFile(wheel) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        assert all(one.read(name) == other.read(name) for name in one.namelist())


@IN_A_TREE
@pytest.mark.slow
def test_the_wheel_has_the_two_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        sources = {f"gzc/{name}" for name in files(ROOT / "gzc") if name.endswith(".py")}
        info = {name for name in names if ".dist-info/" in name}
        assert names - info == sources | {"gzc/py.typed"}
        for name in sources:
            assert archive.read(name) == (ROOT / name).read_bytes(), name
        assert any(name.endswith("LICENSE") for name in info)
        (metadata,) = (name for name in info if name.endswith("/METADATA"))
        told = email.message_from_bytes(archive.read(metadata))
        (wheel_file,) = (name for name in info if name.endswith("/WHEEL"))
        assert "Root-Is-Purelib: true" in archive.read(wheel_file).decode()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert told["Requires-Python"] == ">=3.10", "no upper cap"
    always = {line.split(";")[0].split(">")[0].strip() for line in told.get_all("Requires-Dist") if "extra" not in line}
    assert always == {"gevent", "greenlet"}


@IN_A_TREE
@pytest.mark.slow
def test_the_wheel_works_outside_the_repository(installed: Path, work: Path) -> None:
    """In an environment where there is nothing else, not even gunicorn."""
    script = PRELUDE + (
        "import gevent.monkey, gzc, gzc.monkey\n"
        "for module in (gzc, gzc.monkey, gevent):\n"
        "    assert os.path.realpath(module.__file__).startswith(os.path.realpath(sys.prefix)), module.__file__\n"
        "from importlib.metadata import entry_points, version\n"
        "assert version('gzc') == gzc.__version__\n"
        "(plugin,) = entry_points(group='gevent.plugins.monkey.did_patch_builtins', name='gzc')\n"
        f"assert plugin.load() is sys.modules[{HOMES['_plugin']!r}].did_patch_builtins\n"
        "assert importlib.util.find_spec('gunicorn') is None\n"
        "assert (os.path.dirname(gzc.__file__) + '/py.typed') and os.path.exists(\n"
        "    os.path.join(os.path.dirname(gzc.__file__), 'py.typed'))\n"
        "gevent.monkey.patch_all(**eval(sys.argv[1]))\n"
        "if sys.argv[2] == 'on':\n"
        "    states = {seam.name: seam.state for seam in gzc.seams() if not seam.opt_in}\n"
        "    assert states['gunicorn'].startswith('waiting') and states['hooks'] == states['socket'] == 'in force'\n"
        "    fine = 'in force', 'waiting', 'not in this Python'\n"
        "    assert all(state.startswith(fine) for state in states.values()), states\n"
        "    assert {'hooks', 'socket', 'shutil'} <= set(gzc.patched()) and 'gunicorn' not in gzc.patched()\n"
        "    assert download() == ({'sendfile'} if sys.platform == 'linux' else {'userspace'})\n"
        "    gzc.unpatch_all()\n"
        "assert gzc.patched() == () and download() == set()\n"
    )
    for arguments, env, state in (("{}", {"GZC": "1"}, "on"), ("dict(gzc=True)", {}, "on"), ("{}", {}, "off")):
        # -I: neither the folder it stands in nor anything of the user's has a say.
        finished([installed, "-I", "-c", script, arguments, state], env=env, cwd=work)


@IN_A_TREE
@pytest.mark.slow
def test_every_module_of_the_wheel_can_be_imported_alone(installed: Path, work: Path) -> None:
    """Each first in its own Python: no import depends on what somebody else has imported before."""
    modules = {f"gzc/{name}".removesuffix(".py").replace("/", ".") for name in files(ROOT / "gzc") if ".py" in name}
    modules -= {"gzc.py.typed", "gzc.monkey.gunicorn"}  # the second is none without gunicorn, which imports it
    for module in sorted(modules):
        finished([installed, "-I", "-W", "error", "-c", f"import {module.removesuffix('.__init__')}"], cwd=work)


@IN_A_TREE
@pytest.mark.slow
@pytest.mark.parametrize("door", [("-m", "gzc"), ("gzc",)], ids=" ".join)
def test_the_command_of_the_wheel_runs_a_program(installed: Path, work: Path, door: tuple[str, ...]) -> None:
    (work / "program.py").write_text("import sys, gzc; print(*gzc.patched(), *sys.argv[1:])")
    command: list[str | Path] = [installed, *door] if len(door) > 1 else [installed.parent / "gzc"]
    told = finished([*command, "run", "--only", "socket", "program.py", "an argument"], cwd=work)
    assert told == "socket an argument\n"


@IN_A_TREE
@pytest.mark.slow
def test_the_installed_wheel_is_complete_in_pips_eyes(installed: Path, work: Path) -> None:
    """Its requirements are there and fit; uninstalled, nothing of it stays behind."""
    finished([installed, "-m", "pip", "check"], cwd=work)
    listed = finished([installed, "-m", "pip", "show", "--files", "gzc"], cwd=work)
    assert "gzc/monkey/_plugin.py" in listed
    assert "gzc/py.typed" in listed


# -- a clone called gzc ------------------------------------------------------------------------------------

#: A program, GZC in its environment, and whether gzc is then switched on.
PROGRAMS = {
    "the call": ("import gzc; gzc.patch_all()", "", True),
    "stock gevent": ("from gevent import monkey; monkey.patch_all(); import gzc", "1", True),
    "stock gevent, not switched on": ("from gevent import monkey; monkey.patch_all(); import gzc", "", False),
}
SEEN = """
print(os.path.realpath(gzc.__file__))
print(download() == {"sendfile"} and "hooks" in gzc.patched())
"""


@IN_A_TREE
@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-I",)], ids=["", "isolated"])
@pytest.mark.parametrize("folder", ["clone", "parent of the clone", "unpacked sdist", "elsewhere"])
@pytest.mark.parametrize("environment", ["editable", "installed"])
def test_in_and_beside_a_clone_called_gzc(
    request: pytest.FixtureRequest, clone: Path, unpacked: Path, environment: str, folder: str, options: tuple[str, ...]
) -> None:
    """M12: what the folder holds comes first on the path, ``gzc/`` itself or the clone as a namespace package."""
    python: Path = request.getfixturevalue(environment)
    own = {"clone": clone, "unpacked sdist": unpacked}
    cwd = {**own, "parent of the clone": clone.parent, "elsewhere": clone.parent.parent}[folder]
    home = clone if environment == "editable" else python.parent.parent
    if not options:
        home = own.get(folder, home)
    for name, (code, switch, on) in PROGRAMS.items():
        program = [python, *options, "-c", f"{PRELUDE}{code}{SEEN}"]
        file, patched = finished(program, env={"GZC": switch}, cwd=cwd).splitlines()
        assert Path(file).is_relative_to(home.resolve()), name
        assert patched == str(on), name
    for command in ([python, *options, "-m", "gzc"], [python.parent / "gzc"]):
        assert finished([*command, "--version"], cwd=cwd).startswith("gzc ")


@IN_A_TREE
@pytest.mark.parametrize("name", ["gzc", "another"])
def test_ci_works_in_a_folder_called_gzc(tmp_path: Path, name: str) -> None:
    """Whatever the checkout is called, and with no environment of that one: each step is asked where it is made."""
    checkout = Path(shutil.copytree(ROOT, tmp_path / name, ignore=NOT_SOURCE, symlinks=True))
    (checkout / ".venv").mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    for program, does in (("make", f'pwd >>"{tmp_path}/steps"; ls -A >>"{tmp_path}/seen"'), ("dpkg", ":")):
        (programs / program).write_text(f"#!/bin/sh\n{does}\n")
        (programs / program).chmod(0o755)
    finished([checkout / ".ci" / "run"], env={"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)})
    (where,) = set((tmp_path / "steps").read_text().splitlines())
    assert Path(where).name == "gzc"
    seen = set((tmp_path / "seen").read_text().split())
    assert {"gzc", "monkey", "tests", "Makefile", ".ci"} <= seen
    assert (Path(where) == checkout) is (name == "gzc") is (".venv" in seen) is Path(where).exists()
