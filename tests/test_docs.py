"""Every code block of the documentation and the README is run, or checked where it cannot be.

Rules: a page is one program. Its ``python`` blocks run in the order of the page, in a Python of their own, and so do
its comments ``<!-- run ... -->``, which no reader sees: they prepare what the page takes for granted, and assert what it
says. ``<!-- syntax -->`` before a block means that it is only compiled. A block that is included from examples/ is run
by test_examples.
"""

import ast
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from gzc import cli

from ._program import finished
from .test_examples import gunicorn_options

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the tests stand alone, without their tree")

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
upload = open("upload", "wb")
class progress: update = print
"""


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
    known = {"python", "sh", "text", "ini", "toml", "yaml", "docker", "haproxy", "nginx"}
    for block in blocks(page):
        assert block.language in known, f"{name(page)}:{block.line}: {block.language!r}"
        if block.included:
            (path,) = re.findall(r'^--8<-- "([^":]+)"$', block.text, re.MULTILINE)
            assert (ROOT / path).is_file(), path
            assert path.startswith("examples/")
        elif block.language == "python":
            ast.parse(block.text)


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The commands of the ``sh`` blocks of a page, a word list each, with the line they come from."""
    found = []
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.replace("<", "").replace(">", ""), comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    found.append((f"{name(page)}: {line}", words))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_such(page: Path) -> None:
    """bash can parse them; gzc, gunicorn and make know their words."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line, words in commands(page):
        parsed = subprocess.run(
            ["bash", "-n", "-c", line.split(": ", 1)[1].replace("<", "").replace(">", "")], check=False
        )
        assert parsed.returncode == 0, line
        if words[:3] == ["python", "-m", "gzc"]:
            words = ["gzc", *words[3:]]
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, line
        elif words[0] == "gunicorn":
            assert gunicorn_options(words[1:]), line
        elif words[0] == "gzc":
            assert words[1] in (*cli.COMMANDS, "--help", "--version"), line
            if words[1] in cli.COMMANDS:
                cli._parser(words[1]).parse_args(words[1:])
