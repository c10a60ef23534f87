"""Every code block of the documentation and the README is run, or checked where it cannot be.

Rules: a page is one program. Its ``python`` blocks run in the order of the page, in a Python of their own, and so do
its comments ``<!-- run ... -->``, which no reader sees: they prepare what the page takes for granted, and assert what
it says. ``<!-- syntax -->`` before a block means that it is only compiled. A block that is included from examples/ is
run by test_examples.
"""

import ast
import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

import gzc
from gzc import cli

from .._inside import SEAMS, _config
from .._lacks import IN_A_TREE
from .._program import finished
from .test_examples import gunicorn_options

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)

pytestmark = IN_A_TREE

#: What the blocks of the README take for granted. Its readers see comments, in an editor.
README_STAGE = """
import os, tempfile; os.chdir(tempfile.mkdtemp())
import gzc; gzc.patch_all()
import gevent, socket
def peer(give=b""):
    here, there = socket.socketpair()
    gevent.spawn(lambda: (there.sendall(give), there.shutdown(socket.SHUT_WR)))
    gevent.spawn(lambda: [None for _ in iter(lambda: there.recv(65536), b"")])
    return here
open("film.mp4", "wb").write(os.urandom(200_000))
sock, client, upstream = peer(b"x" * 200_000), peer(b"up"), peer(b"down")
film, upload = open("film.mp4", "rb"), open("upload", "wb")
class progress: update = print
"""


#: Names that nobody looks up: two namespaces and a document type.
SVG_NAMES = {f"http://www.w3.org/{name}" for name in ("2000/svg", "1999/xlink", "Graphics/SVG/1.1/DTD/svg11.dtd")}


class Block(NamedTuple):
    language: str
    line: int
    text: str
    only_syntax: bool

    @property
    def included(self) -> bool:
        return self.text.startswith("--8<--")


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, and the comments to be run, which count as ``python``."""
    found, marked = [], False
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if line == "<!-- syntax -->":
            marked = True
        elif line.startswith("```") or line == "<!-- run":
            end = "-->" if line == "<!-- run" else "```"
            text = list(itertools.takewhile(lambda within, end=end: within != end, (within for _, within in lines)))
            language = "python" if end == "-->" else line[3:].split(" ")[0]
            found.append(Block(language, number + 1, "\n".join(text), marked))
            marked = False
    return found


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def program(page: Path) -> str:
    """What of the page is to be run, each line where it is on the page, for the sake of tracebacks."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python" and not block.only_syntax and not block.included:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.split("\n")
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_shows_works(page: Path, tmp_path: Path) -> None:
    code = program(page)
    if not code.strip():
        return
    script = tmp_path / f"{page.stem}.py"
    script.write_text(code)
    stage = README_STAGE if page.name == "README.md" else ""
    start = f"{stage}\nexec(compile(open({str(script)!r}).read(), {name(page)!r}, 'exec'), globals())"
    finished([sys.executable, "-W", "error::SyntaxWarning", "-c", start], cwd=tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_of_a_language_that_is_checked(page: Path) -> None:
    known = {"python", "sh", "text", "json", "ini", "docker", "haproxy"}
    for block in blocks(page):
        assert block.language in known, f"{name(page)}:{block.line}: {block.language!r}"
        if block.included:
            (path,) = re.findall(r'^--8<-- "([^":]+)"$', block.text, re.MULTILINE)
            assert (ROOT / path).is_file(), path
            assert path.startswith("examples/")
        elif block.language == "python":
            ast.parse(block.text)
        elif block.language == "json":
            json.loads(block.text)
        else:
            assert block.language in ("sh", "text"), f"{name(page)}:{block.line}: include it from examples/"


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The commands of the ``sh`` blocks of a page, as words, with the line each comes from."""
    found = []
    for block in blocks(page):
        if block.language == "sh":
            subprocess.run(["bash", "-n", "-c", block.text], check=True, timeout=10)
            for line in re.split(r"\n|&&", block.text.replace("\\\n", " ")):
                words = shlex.split(re.sub(r"(^|\s)#.*", "", line))  # shlex would find a comment in egg:gzc#gevent
                words = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=|sudo$", word), words))
                if words:
                    found.append((f"{name(page)}: {line}", words))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_such(page: Path) -> None:
    """make, gunicorn and gzc know their words, and the programs exist."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line, words in commands(page):
        program, *arguments = words[2:] if words[:3] == ["python", "-m", "gzc"] else words
        if program == "make":
            assert {word for word in arguments if "=" not in word} <= targets, line
        elif program == "gunicorn":
            assert gunicorn_options(arguments)["args"], line
        elif program == "gzc":
            assert arguments[0] in cli.COMMANDS, line
            cli._parser(arguments[0]).parse_args(arguments)
        elif program == "python" and not arguments[0].startswith("-"):
            assert (ROOT / arguments[0]).is_file(), line


def test_the_page_of_the_seams_has_each_of_them() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9.-]+)` \| (.*) \| (.*) \|$", (ROOT / "docs" / "seams.md").read_text(), re.MULTILINE
    )
    assert rows == [(seam.name, seam.why, seam.reaches) for seam in SEAMS]


def test_the_reference_has_every_public_name() -> None:
    named = set(re.findall(r"^::: gzc\.([\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    assert named - {"_config.Config", "metrics.register", "wsgi.status"} == {*gzc.__all__} - {"config"}


def test_the_knobs_have_their_defaults() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `GZC_(\w+)` \| (\S+) \|", page, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(_config._CHECKS)
    fresh = _config.Config({})
    for name, variable, default in rows:
        assert variable == name.upper()
        assert default == (str(getattr(fresh, name)) if name != "disable" else "none")


def test_pictures_are_of_this_place() -> None:
    """They are well-formed, and fetch nothing from elsewhere."""
    pictures = list((ROOT / "docs").rglob("*.svg"))
    assert pictures
    for picture in pictures:
        ElementTree.parse(picture)
        named = set(re.findall(r"https?://[^\"]+", picture.read_text()))
        assert "http://www.w3.org/2000/svg" in named
        assert named <= SVG_NAMES, picture.name


def test_the_cases_that_have_no_test_have_none() -> None:
    """Else the line in docs/limits.md is to be taken out."""
    untested = set(re.findall(r"^\| ([A-Z]\d+) \|", (ROOT / "docs" / "limits.md").read_text(), re.MULTILINE))
    assert untested
    paths = list((ROOT / "tests").rglob("test_*.py"))
    assert len(paths) > 50
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                words = f"{node.name.replace('_', ' ').upper()} {ast.get_docstring(node)}"
                assert untested & set(re.findall(r"\b[A-Z]\d+\b", words)) == set(), f"{path.name}: {node.name}"
