"""A status page: ``gzc.wsgi.status`` is a WSGI application to mount where only you can see it.

It shows the transfers that are under way in the process that answers (the 200 oldest), with their progress, and the
totals since it started: as HTML, or as JSON for ``?format=json`` and for those whose Accept header prefers it. It is
off unless it is mounted, shows neither names of files nor addresses, and changes nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import parse_qs

from .._core.tally import stats, under_way
from .._observe.running import Running, oldest

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>gzc status</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem}}
th,td{{text-align:right;padding:.1rem 1rem .1rem 0;white-space:nowrap}}
td:last-child{{white-space:normal}}.text{{text-align:left}}progress{{width:12rem}}</style></head><body>
<h1>gzc, process {pid}</h1>
<h2>Under way: {number}</h2>
{running}
<h2>Since start</h2>
{totals}
<h2>Refused</h2>
{refused}
</body></html>
"""

#: How many transfers, and how many reasons, a page shows: it is made in the hub, where others wait for it.
MOST = 200

#: Columns of words; the others are of figures.
_TEXTS = ("mechanism", "from", "to", "why")


def status(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI application."""
    if environ.get("REQUEST_METHOD", "GET") not in ("GET", "HEAD"):
        headers = [("Allow", "GET, HEAD"), ("Content-Type", "text/plain"), ("Content-Length", "0")]
        start_response("405 Method Not Allowed", headers)
        return [b""]
    as_json = _wants_json(environ)
    body = (_json() if as_json else _html()).encode()
    kind = "application/json" if as_json else "text/html; charset=utf-8"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response("200 OK", [*headers, ("Cache-Control", "no-store"), ("Vary", "Accept")])
    return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]


def _wants_json(environ: dict[str, Any]) -> bool:
    asked = parse_qs(environ.get("QUERY_STRING", "")).get("format")
    if asked:
        return str(asked[-1]) == "json"
    accept = environ.get("HTTP_ACCEPT", "")
    return _quality(accept, "application/json") > _quality(accept, "text/html")


def _quality(accept: str, wanted: str) -> float:
    """How much an Accept header wants a type, RFC 9110 section 12.5.1: the most specific range counts."""
    ranges: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        weights = [found[1] for word in parameters if (found := re.fullmatch(r"q\s*=\s*([01](?:\.\d{0,3})?)", word))]
        ranges[name] = float(weights[0]) if weights else 1.0
    for name in (wanted, wanted.partition("/")[0] + "/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0


def _json() -> str:
    shown = [one._asdict() for one in oldest(MOST)]
    return json.dumps({"pid": os.getpid(), "under_way": len(under_way), "running": shown, "totals": stats()})


def _html() -> str:
    shown, totals = oldest(MOST), stats()
    names = ("mechanism", "bytes", "calls", "waits")
    rows = [(name, *(totals[column][name] for column in names[1:])) for name in totals["bytes"]]
    refused = [(count, why) for why, count in Counter(totals["refused"]).most_common(MOST)]
    return _PAGE.format(
        pid=os.getpid(),
        number=f"{len(under_way)}, of which the oldest {MOST}" if len(under_way) > MOST else len(under_way),
        running=_table(("mechanism", "from", "to", "bytes", "of", "", "seconds", "bytes/s"), map(_cells, shown)),
        totals=_table(names, rows),
        refused=_table(("times", "why"), refused),
    )


def _cells(one: Running) -> tuple[object, ...]:
    rate = int(one.moved / one.seconds) if one.seconds > 0 else ""
    whole = "" if one.expected is None else one.expected
    return (one.mechanism, one.source, one.sink, one.moved, whole, _Bar(one), f"{one.seconds:.1f}", rate)


class _Bar:
    """A progress bar as HTML."""

    def __init__(self, one: Running) -> None:
        self._one = one

    def __html__(self) -> str:
        whole = self._one.expected
        return f'<progress value="{self._one.moved}" max="{whole}"></progress>' if whole else ""


def _table(heads: Iterable[str], rows: Iterable[tuple[object, ...]]) -> str:
    heads = tuple(heads)
    kinds = [' class="text"' if head in _TEXTS else "" for head in heads]
    lines = [
        "<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    ]
    if not lines:
        return "<p>none</p>"
    first = "".join(f"<th{kind}>{head}</th>" for kind, head in zip(kinds, heads, strict=True))
    return f"<table><tr>{first}</tr>\n" + "\n".join(lines) + "</table>"


def _cell(cell: object) -> str:
    return cell.__html__() if isinstance(cell, _Bar) else escape(str(cell))
