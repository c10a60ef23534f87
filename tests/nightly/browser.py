"""The web pages in a real browser, headless Chromium of the system's packages: ``make browser``.

    python -m tests.nightly.browser [--site build/site] [--pictures build/browser] [--figures FILE]

Looked at are the status page with a transfer under way, a listing of ``gzc serve`` and a file behind it, and the
built documentation. The DOM must show what it should, and the console must be silent; of the first two a picture is
kept. ``--pictures docs/img`` renews those in the documentation.

A page that is planted with an error comes first, to prove that errors are seen. All on
loopback, bounded in time, and nothing is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import NamedTuple

import gevent
from gevent import socket, subprocess
from gevent.pywsgi import WSGIServer

import gzc
import gzc.wsgi

from .. import _figures
from .._command import Command

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60
#: A picture in the documentation is no larger.
LARGEST = 100_000
#: Characters of a page that are shown when something in it is missing.
EXCERPT = 5000
WHOLE, PART = 64 << 20, 24 << 20


class Wrong(Exception):
    """What this program is there to find."""


def must(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


class Seen(NamedTuple):
    """A page as the browser has it; ``console`` is what it complained of."""

    dom: str
    console: list[str]

    def says(self, *texts: str) -> None:
        for text in texts:
            must(text in unescape(self.dom), f"{text!r} is not in the page:\n{self.dom[:EXCERPT]}")
        must(not self.console, f"the console says: {self.console}")


class Browser:
    """Chromium, started anew for each page, with nothing kept from one to the next."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self.pages = self.pictures = 0

    def look(self, url: str, picture: Path | None = None, size: str = "900,500") -> Seen:
        # Root, as in containers, has no sandbox; /dev/shm is small there. The pages are our own.
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += [f"--user-data-dir={self._folder / 'profile'}", "--enable-logging=stderr", "--hide-scrollbars"]
        options += [f"--window-size={size}", "--dump-dom"]
        if picture is not None:
            options.append(f"--screenshot={picture}")
        done = subprocess.run(
            [self._program, *options, url], capture_output=True, text=True, errors="replace", timeout=PATIENCE
        )
        must(done.returncode == 0, f"{self._program} ended with {done.returncode}: {done.stderr}")
        if picture is not None:
            _check(picture)
            self.pictures += 1
        self.pages += 1
        return Seen(done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line])


def _check(picture: Path) -> None:
    """A PNG, small enough, and with something on it."""
    content = picture.read_bytes()
    must(content.startswith(b"\x89PNG\r\n\x1a\n"), f"{picture} is no PNG")
    must(len(content) < LARGEST, f"{picture} has {len(content)} bytes")
    pixels, at = b"", 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == b"IDAT":
            pixels += content[at + 8 : at + 8 + length]
        at += length + 12
    must(len(set(zlib.decompress(pixels))) > 16, f"{picture} is blank")


@contextlib.contextmanager
def under_way(folder: Path) -> Iterator[None]:
    """One transfer that has come to ``PART`` of ``WHOLE`` bytes and goes on no further, one that ended, one refused."""
    with (folder / "film").open("wb") as made:
        made.truncate(WHOLE)
    here, there = socket.socketpair()
    with here, there, (folder / "film").open("rb") as film, (folder / "copy").open("wb") as copy:
        gzc.copy(film, copy)
        film.seek(0)
        with open("/proc/self/status", "rb") as unknown:
            gzc.copy(unknown, copy)
        going = gevent.spawn(gzc.copy, film, here)
        taken = 0
        while taken < PART:
            taken += len(there.recv(PART - taken))
        try:
            yield
        finally:
            going.kill()


def status_page(browser: Browser, folder: Path, picture: Path) -> None:
    """The table of transfers, with a bar that stands where the transfer does."""
    server = WSGIServer(("127.0.0.1", 0), gzc.wsgi.status, log=None)
    server.start()
    try:
        with under_way(folder):
            seen = browser.look(f"http://127.0.0.1:{server.server_port}/", picture, "1080,620")
    finally:
        server.stop()
    seen.says(f"gzc, process {os.getpid()}", "Under way: 1", "sendfile", "copy_file_range", "Refused")
    bar = re.search(r'<progress value="(\d+)" max="(\d+)">', seen.dom)
    must(bar, f"no bar in the page:\n{seen.dom[:EXCERPT]}")
    assert bar is not None
    must(PART <= int(bar[1]) < int(bar[2]) == WHOLE, f"the bar stands at {bar[0]}")


def listing(browser: Browser, folder: Path, picture: Path) -> None:
    """Names as they are, whatever is in them, and nothing of them is HTML; a link leads to its file."""
    site = folder / "films"
    (site / "trailers").mkdir(parents=True)
    names = {"first film.mp4": 48 << 20, "snö & ice.mp4": 3 << 20, "second film.mp4": 700 << 10, "notes.txt": 700}
    for name, size in names.items():
        with (site / name).open("wb") as made:
            made.truncate(size)
    odd = ("<img src=x onerror='throw 1'>.txt", "<script>throw 1<!--.txt", "&lt;.txt", "a:b.txt")
    for name in odd:
        (site / "trailers" / name).write_text("what is in it")
    with Command("serve", site, "--bind", "127.0.0.1:0") as serving:
        at = serving.out.wait_for("Serving ").rpartition(" at ")[2]
        seen = browser.look(at, picture, "700,330")
        seen.says(*names, "trailers/", "48.0 MiB", "700 bytes")
        must(seen.dom.count("<a href=") == len(names) + 1, f"the links are not those of the files:\n{seen.dom}")
        seen = browser.look(at + "trailers/")
        seen.says(*odd, "../")
        must("<img" not in seen.dom, f"a name is taken for HTML:\n{seen.dom}")
        for link in re.findall(r'<a href="\./([^"]*)"', seen.dom):
            browser.look(at + "trailers/" + unescape(link)).says("what is in it")


def documentation(browser: Browser, site: Path) -> None:
    """Its pages as `gzc serve` gives them: scripts run, styles and drawings are there."""
    must((site / "index.html").exists(), f"{site} is not built: make docs")
    with Command("serve", site, "--bind", "127.0.0.1:0") as serving:
        at = serving.out.wait_for("Serving ").rpartition(" at ")[2]
        seen = browser.look(at)
        seen.says("Quick start", "How it works", "See that it works")
        must('class="js' in seen.dom, "the scripts of the page did not run")
        for page in ("seeing.html", "cli.html", "how-it-works.html"):
            browser.look(at + page).says("<img")
        serving.err.wait_for("/how-it-works.html")
        missing = [line for line in serving.err.lines if '" 404 ' in line and "favicon" not in line]
        must(not missing, f"not found: {missing}")


def planted(browser: Browser, folder: Path) -> None:
    """An error in a script is seen."""
    page = folder / "planted.html"
    page.write_text("<!doctype html><title>x</title><p>before<script>throw new Error('planted')</script>")
    must(any("planted" in line for line in browser.look(page.as_uri()).console), "an error in a script was not seen")


def main() -> int:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.nightly.browser", description=description)
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "site", help="the built documentation")
    parser.add_argument("--pictures", type=Path, default=ROOT / "build" / "browser", help="where pictures are put")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="write there, as JSON, what was looked at")
    options = parser.parse_args()
    logging.getLogger("gzc").addHandler(logging.NullHandler())  # the refusal is one of our own making
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        print("no Chromium here; Debian: apt install $(cat .ci/apt-nightly.txt)", file=sys.stderr)
        return 1
    options.pictures.mkdir(parents=True, exist_ok=True)
    wrong, began = "", time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gzc-browser-") as name:
        folder = Path(name)
        browser = Browser(program, folder)
        try:
            planted(browser, folder)
            status_page(browser, folder, options.pictures / "status.png")
            listing(browser, folder, options.pictures / "serve.png")
            documentation(browser, options.site)
        except (Wrong, subprocess.TimeoutExpired) as exc:
            wrong = str(exc)
    if options.figures:
        found = {"pages": browser.pages, "pictures": browser.pictures, "wrong": wrong}
        _figures.write(options.figures, not wrong, time.monotonic() - began, found)
    if wrong:
        print(f"browser: {wrong}", file=sys.stderr)
        return 1
    print(f"browser: {browser.pages} pages are as they should be; pictures in {options.pictures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
