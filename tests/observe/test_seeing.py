"""Looking at a running process: `gzc.running`, places of refusals, log fields, `gzc.metrics`, `gzc.wsgi.status`.

Rules: what they say is compared with what was moved; looking at a transfer does not disturb it.
"""

import inspect
import io
import json
import logging
import os
import sys
from html.parser import HTMLParser
from typing import Any

import gevent
import prometheus_client
import pytest
from gevent import socket as gsocket
from gevent.pywsgi import WSGIServer

import gzc
import gzc.contrib.status
import gzc.metrics
import gzc.wsgi

from .._ends import MIB, PATIENCE, Ends, at_rest, payload
from .._inside import _stats

CONTENT = payload(3 * MIB + 5)

#: More than the buffers of a connection take.
BIG = 64 * MIB


def big(ends: Ends) -> Any:
    """A sparse file that does not fit into a connection."""
    path = ends.path()
    os.truncate(path, BIG)
    return ends.keep(path.open("rb"))


# -- transfers under way -----------------------------------------------------------------------------------


def test_nothing_runs_before_and_after(ends: Ends) -> None:
    assert gzc.running() == []
    sock, there = ends.unix()
    ends.reading(there)
    gzc.copy(ends.file(CONTENT), sock)
    assert gzc.running() == []


def test_a_transfer_under_way_and_how_far_it_is(ends: Ends) -> None:
    sock, there = ends.tcp()
    peer = ends.peer(there)
    file = big(ends)
    file.seek(5)
    copying = ends.spawn(gzc.copy, file, sock)
    got = len(peer.take(MIB))
    at_rest()
    (one,) = gzc.running()
    assert (one.mechanism, one.source, one.sink) == ("sendfile", "regular file", "tcp socket")
    assert got <= one.moved <= one.expected == BIG - 5  # type: ignore[operator]
    assert one.seconds > 0
    assert json.loads(json.dumps(one._asdict()))["moved"] == one.moved
    peer.start()
    assert copying.get(timeout=PATIENCE) == BIG - 5
    assert gzc.running() == []


@pytest.mark.parametrize(("count", "expected"), [(None, None), (1000, 1000)])
def test_how_much_a_socket_will_give_nobody_knows_unless_it_is_said(
    ends: Ends, count: int | None, expected: int | None
) -> None:
    sock, _ = ends.unix()
    copying = ends.spawn(gzc.copy, sock, ends.file(mode="wb"), count)
    at_rest()
    (one,) = gzc.running()
    assert (one.mechanism, one.moved, one.expected) == ("splice", 0, expected)
    copying.kill(timeout=PATIENCE)
    assert gzc.running() == []


def test_the_oldest_comes_first(ends: Ends) -> None:
    copies = []
    for _ in range(3):
        sock, _ = ends.unix()
        copies.append(ends.spawn(gzc.copy, sock, ends.file(mode="wb"), 10 + len(copies)))
        at_rest()
    assert [one.expected for one in gzc.running()] == [10, 11, 12]
    gevent.killall(copies)


# -- places ------------------------------------------------------------------------------------------------


def test_places_of_refusals_are_kept_while_they_are_asked_for(ends: Ends) -> None:
    sock, there = ends.unix()
    ends.reading(there)

    def refuse() -> None:
        with open("/proc/self/status", "rb") as file:
            gzc.copy(file, sock)

    line = inspect.getsourcelines(refuse)[1] + 2
    with gzc.trace() as plain, gzc.trace(places=True) as t:
        refuse()
        refuse()
    ((why, place, count),) = t.places
    assert t.refused == plain.refused == [(why, 2)]
    assert (place.partition(",")[0], count) == (f"{__file__}:{line} in refuse", 2)
    assert f"refused 2 x: {why}\n    2 x at {place}" in str(t)
    with gzc.trace() as unasked:
        refuse()
    assert unasked.places == []
    assert len(unasked.refused) == 1


def test_the_figures_of_another_process_are_added(ends: Ends) -> None:
    sock, there = ends.unix()
    ends.reading(there)
    with gzc.trace(places=True) as first:
        gzc.copy(ends.file(CONTENT), sock)
        with open("/proc/self/status", "rb") as file:
            gzc.copy(file, sock)
    figures = json.loads(json.dumps(first.figures()))
    with gzc.trace() as second:
        gzc.copy(ends.file(CONTENT), sock, 100_000)
    second.add(figures)
    second.add(figures)
    assert second.bytes["sendfile"] == 2 * len(CONTENT) + 100_000
    ((why, count),) = second.refused
    assert (why, count) == (first.refused[0][0], 2)
    assert [(place, n) for _, place, n in second.places] == [(first.places[0][1], 2)]


# -- the log -----------------------------------------------------------------------------------------------


def test_a_refusal_is_a_structured_record(
    ends: Ends, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_stats, "_warned", set())
    caplog.set_level(logging.INFO, "gzc")
    sock, there = ends.unix()
    ends.reading(there)

    class Counting(io.FileIO):
        def read(self, count: int = -1) -> bytes:
            return super().read(count)

    with open("/proc/self/status", "rb") as file:
        gzc.copy(file, sock)
    gzc.copy(ends.keep(Counting(ends.path(CONTENT))), sock)
    declined, opaque = (vars(record) for record in caplog.records)
    assert (declined["mechanism"], declined["source"], declined["sink"]) == (
        "sendfile",
        "regular file",
        "unix stream socket",
    )
    assert declined["msg"] % declined["args"] == f"not zero-copy: {declined['why']}"
    assert "Counting" in opaque["source"]
    assert "Counting, which overrides read" in opaque["why"]


# -- Prometheus --------------------------------------------------------------------------------------------


def test_metrics_are_the_totals(ends: Ends) -> None:
    registry = prometheus_client.CollectorRegistry()
    collector = gzc.metrics.register(registry)
    sock, there = ends.unix()
    ends.reading(there)
    gzc.copy(ends.file(CONTENT), sock)
    with open("/proc/self/status", "rb") as file:
        gzc.copy(file, sock)
    waiting = ends.spawn(gzc.copy, ends.unix()[0], ends.file(mode="wb"))
    at_rest()
    totals = gzc.stats()
    for name in ("bytes", "calls", "waits"):
        for mechanism, count in totals[name].items():
            assert registry.get_sample_value(f"gzc_{name}_total", {"mechanism": mechanism}) == count
    for why, count in totals["refused"].items():
        assert registry.get_sample_value("gzc_refusals_total", {"reason": why}) == count
    assert registry.get_sample_value("gzc_running_transfers", {"mechanism": "splice"}) == 1
    assert registry.get_sample_value("gzc_running_transfers", {"mechanism": "sendfile"}) == 0
    exposed = prometheus_client.generate_latest(registry).decode()
    assert 'gzc_bytes_total{mechanism="sendfile"} ' in exposed
    waiting.kill(timeout=PATIENCE)
    registry.unregister(collector)
    assert registry.get_sample_value("gzc_running_transfers", {"mechanism": "splice"}) is None


def test_without_the_extra_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"pip install 'gzc\[metrics\]'"):
        gzc.metrics.register()


# -- the status page ---------------------------------------------------------------------------------------


def ask(method: str = "GET", query: str = "", accept: str = "") -> tuple[str, dict[str, str], bytes]:
    said: list[Any] = []
    environ = {"REQUEST_METHOD": method, "QUERY_STRING": query, "HTTP_ACCEPT": accept}
    body = b"".join(gzc.wsgi.status(environ, lambda status, headers: said.extend((status, dict(headers)))))
    return said[0], said[1], body


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "", "text/html"),
        ("", BROWSER, "text/html"),
        ("", "*/*", "text/html"),
        ("", "application/json", "application/json"),
        ("", "text/html;q=0.5, application/json", "application/json"),
        ("", "application/json;q=0.5, text/*", "text/html"),
        ("", "application/*", "application/json"),
        ("format=json", BROWSER, "application/json"),
        ("format=html", "application/json", "text/html"),
        ("", "nonsense;;q=,", "text/html"),
    ],
)
def test_what_is_wanted_is_given(query: str, accept: str, kind: str) -> None:
    status, headers, body = ask(query=query, accept=accept)
    assert (status, headers["Content-Type"].partition(";")[0]) == ("200 OK", kind)
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Cache-Control"] == "no-store"


def test_only_reading_is_allowed() -> None:
    status, headers, body = ask("POST")
    assert (status, headers["Allow"], body) == ("405 Method Not Allowed", "GET, HEAD", b"")
    status, headers, body = ask("HEAD")
    assert (status, body) == ("200 OK", b"")
    assert int(headers["Content-Length"]) > 0


class _Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.bars: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        if tag == "progress":
            self.bars.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_server_shows_its_own_transfers(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP, in the same process, while a download is under way."""
    totals = _stats.Totals()
    totals.refused["a <b>reason</b> & more"] = 3
    monkeypatch.setattr(_stats, "_totals", totals)
    sock, there = ends.tcp()
    peer = ends.peer(there)
    copying = ends.spawn(gzc.copy, big(ends), sock)
    peer.take(100_000)
    server = WSGIServer(("127.0.0.1", 0), gzc.wsgi.status, log=None)
    server.start()
    try:

        def fetch(target: str) -> str:
            with gsocket.create_connection(("127.0.0.1", server.server_port), PATIENCE) as client:
                client.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
                return b"".join(iter(lambda: client.recv(65536), b"")).decode().partition("\r\n\r\n")[2]

        found = json.loads(fetch("/?format=json"))
        page = fetch("/")
    finally:
        server.stop()
    (one,) = found["running"]
    assert (one["mechanism"], one["source"], one["expected"]) == ("sendfile", "regular file", BIG)
    assert 100_000 <= one["moved"] < BIG
    assert found["totals"]["bytes"]["sendfile"] == one["moved"]
    parsed = _Balanced()
    parsed.feed(page)
    assert parsed.open == []
    (bar,) = parsed.bars
    assert bar["max"] == str(BIG)
    assert 0 < int(bar["value"] or 0) < BIG
    assert "a &lt;b&gt;reason&lt;/b&gt; &amp; more" in page
    peer.start()
    copying.get(timeout=PATIENCE)


def test_the_page_shows_the_oldest_of_many(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzc.contrib.status, "MOST", 2)
    sinks = [ends.unix() for _ in range(3)]
    copying = [
        ends.spawn(gzc.copy, ends.file(b"x" * MIB), sock, MIB - number) for number, (sock, _) in enumerate(sinks)
    ]
    gevent.sleep(0)
    found = json.loads(ask(query="format=json")[2])
    assert found["under_way"] == 3
    assert [one["expected"] for one in found["running"]] == [one.expected for one in gzc.running()[:2]]
    assert "Under way: 3, of which the oldest 2" in ask()[2].decode()
    for _, there in sinks:
        ends.reading(there)
    gevent.joinall(copying, timeout=PATIENCE)
