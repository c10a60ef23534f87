"""The charts: one picture for each benchmark, drawn from the figures of its report.

A picture is the same bytes whenever it is drawn of the same figures, by the same matplotlib, and says in its last line
which figures those were, so that a test can tell an old one without drawing.

It measures nothing and reads no file. Colours are of middle brightness on nothing, so that they can
be read on white and on black.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

MIB, GIB = 1 << 20, 1 << 30
INK = "#808080"
COLOURS = {
    "gzc": "#009688",
    "stock": "#e67e22",
    "go": "#3b8fd6",
    "bare": "#8d8d8d",
    "nginx": "#8d8d8d",
    "HAProxy": "#c2649f",
    "HAProxy splice": "#8e6fd1",
}
#: For what is no contender.
OTHERS = ("#009688", "#e67e22", "#3b8fd6", "#c2649f", "#8e6fd1", "#7cb342")
STYLE = {
    "svg.hashsalt": "gzc",  # else the ids differ from run to run
    "svg.fonttype": "none",  # text stays text, and the file small
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.markersize": 4,
    "savefig.transparent": True,
}

Found = dict[str, Any]
Axes = Any


def digest(found: Found) -> str:
    """A name for the figures that a picture is of."""
    return hashlib.sha256(json.dumps(found["figures"], sort_keys=True).encode()).hexdigest()[:16]


def drawn_from(picture: Path) -> str:
    """The digest in a picture."""
    return picture.read_text().rstrip().rpartition("figures ")[2].removesuffix(" -->")


def draw(found: Found, folder: Path) -> Path | None:
    """Draw the picture of a report into ``folder``; None where there is none of it.

    :raises ImportError: there is no matplotlib.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = PANELS.get(found["name"])
    if panels is None or not found["figures"]:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        wide, high, sharey = 7.6, 2.9, False
        if found["name"] == "transfers":
            high, sharey = 0.9 + 0.21 * len(_shown(found)), True
        figure, axes = pyplot.subplots(1, 2, figsize=(wide, high), sharey=sharey, layout="constrained")
        panels(found, axes)
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=3 if found["name"] == "http" else 5)
        file = folder / f"{found['name']}.svg"
        figure.savefig(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        pyplot.close(figure)
    lines = (line.rstrip() for line in file.read_text().splitlines())
    file.write_text("\n".join([*lines, f"<!-- drawn from figures {digest(found)} -->"]) + "\n")
    return file


# -- what each shows ---------------------------------------------------------------------------------------


def _shown(found: Found) -> list[Found]:
    """Of the transfers, one row for each pair of ends: pieces of 64 KiB, where pieces mean something."""
    rows: list[Found] = found["figures"]
    return [row for row in rows if row["piece"] == 64 << 10 or row["pair"].startswith("file→")] or rows


def transfers(found: Found, axes: Sequence[Axes]) -> None:
    """gzc over each other contender, a dot a pair."""
    rows = _shown(found)
    places = range(len(rows))
    titles = (("throughput_ratio", "throughput of gzc over theirs"), ("cpu_ratio", "CPU per byte of gzc over theirs"))
    for panel, (what, title) in zip(axes, titles, strict=True):
        panel.axvline(1, color=INK, linewidth=1)
        for other, label in (("stock", "stock gevent"), ("go", "Go"), ("bare", "bare loop")):
            dots = [(row[what][other], place) for row, place in zip(rows, places, strict=True) if other in row[what]]
            if dots:
                panel.scatter(*zip(*dots, strict=True), s=22, color=COLOURS[other], label=label)
        panel.set(title=title, xscale="log")
        _plain(panel.xaxis, (0.2, 0.5, 1, 2, 5))
    axes[0].set_yticks(places, [row["pair"] for row in rows])
    axes[0].invert_yaxis()


def http(found: Found, axes: Sequence[Axes]) -> None:
    """gzc over stock by size of the file, a line for each server; and nginx beside the first one."""
    rows = [row for row in found["figures"] if "requests_per_s" in row]
    servers = list(dict.fromkeys(row["name"] for row in rows))
    titles = (("requests_per_s", "requests a second over stock's"), ("cpu_ms_per_gib", "server's CPU over stock's"))
    for panel, (what, title) in zip(axes, titles, strict=True):
        panel.axhline(1, color=INK, linewidth=1)
        for server, colour in zip(servers, OTHERS, strict=False):
            mine = [row for row in rows if row["name"] == server]
            panel.plot(*_over_stock(mine, what, "gzc"), marker="o", color=colour, label=server)
        first = [row for row in rows if row["name"] == servers[0] and "nginx" in row[what]]
        if first:
            panel.plot(*_over_stock(first, what, "nginx"), linestyle="--", color=INK, label="nginx over the first")
        panel.set(title=title, yscale="log")
        _sizes(panel, [row["size"] for row in rows])
        _plain(panel.yaxis, (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50))


def _over_stock(rows: Iterable[Found], what: str, name: str) -> tuple[list[int], list[float]]:
    points = [(row["size"], row[what][name] / row[what]["stock"]) for row in rows]
    return [size for size, _ in points], [value for _, value in points]


def readers(found: Found, axes: Sequence[Axes]) -> None:
    """CPU, and system calls, a bar for each reader."""
    rows = found["figures"]
    names = [row["name"] for row in rows]
    colours = [COLOURS[name.split()[0].lower()] for name in names]
    axes[0].barh(names, [row["cpu_ms_per_gib"] for row in rows], color=colours)
    axes[0].set(title="CPU, ms per GiB")
    axes[1].barh(names, [max(1, sum(row["calls"].values())) for row in rows], color=colours)
    axes[1].set(title=f"system calls for {rows[0]['bytes'] // MIB} MiB", xscale="log")
    axes[1].set_yticks([])
    _plain(axes[1].xaxis, (100, 1000, 10_000, 100_000))
    axes[0].invert_yaxis()
    axes[1].invert_yaxis()


def fairness(found: Found, axes: Sequence[Axes]) -> None:
    """How late a ticker is, by number of transfers."""
    for panel, cache in zip(axes, ("warm", "cold"), strict=True):
        rows = [row for row in found["figures"] if row["cache"] == cache]
        numbers = [row["number"] for row in rows]
        for name in ("stock", "gzc"):
            for key, line, label in (("p99", "-", "99th percentile"), ("p50", ":", "median")):
                late = [row[name][key] * 1000 for row in rows]
                panel.plot(numbers, late, line, marker="o", color=COLOURS[name], label=f"{name}, {label}")
        panel.set(title=f"gaps of a 1 ms ticker, {cache} file, ms", xlabel="downloads", xscale="log", yscale="log")
        _plain(panel.xaxis, numbers)
        _plain(panel.yaxis, (1, 10, 100, 1000))


def growth(found: Found, axes: Sequence[Axes]) -> None:
    """CPU per byte, by size of a copy and by number of connections."""
    panels = (
        ("size", "CPU, ms per GiB, by size of a copy", [row for row in found["figures"] if row["number"] == 1]),
        ("number", "the same, by connections", [row for row in found["figures"] if row["size"] == 4 * MIB]),
    )
    for panel, (axis, title, rows) in zip(axes, panels, strict=True):
        rows.sort(key=lambda row: row[axis])
        for name in ("stock", "gzc"):
            cost = [row[name]["cpu"] * 1000 * GIB / max(1, row[name]["bytes"]) for row in rows]
            panel.plot([row[axis] for row in rows], cost, marker="o", color=COLOURS[name], label=name)
        panel.set(title=title, xscale="log", yscale="log")
        _plain(panel.yaxis, (100, 200, 500, 1000, 2000, 5000, 10000, 20000))
    _sizes(axes[0], [row["size"] for row in panels[0][2]])
    _plain(axes[1].xaxis, [row["number"] for row in panels[1][2]])


def proxy(found: Found, axes: Sequence[Axes]) -> None:
    """Bars by number of connections."""
    rows = [row for row in found["figures"] if "mib_per_s" in row]
    for panel, what, title in zip(axes, ("mib_per_s", "cpu_ms_per_gib"), ("MiB/s", "CPU, ms per GiB"), strict=True):
        names = list(rows[0][what]) if rows else []
        width = 0.8 / max(1, len(names))
        for number, name in enumerate(names):
            places = [place + (number - (len(names) - 1) / 2) * width for place in range(len(rows))]
            panel.bar(places, [row[what][name] for row in rows], width, color=COLOURS[_known(name)], label=name)
        panel.set_xticks(range(len(rows)), [row["name"] for row in rows])
        panel.set(title=title)


def _known(name: str) -> str:
    return name.lower() if name == "Go" else name


def _plain(axis: Any, ticks: Iterable[float]) -> None:
    """Numbers as people write them, on a logarithmic axis."""
    from matplotlib.ticker import NullLocator

    ticks = sorted(set(ticks))
    axis.set_major_locator(NullLocator())
    axis.set_minor_locator(NullLocator())
    low, high = axis.get_view_interval()
    shown = [tick for tick in ticks if low <= tick <= high]
    axis.set_ticks(shown, [f"{tick:g}" for tick in shown])


def _sizes(panel: Axes, sizes: Iterable[int]) -> None:
    from .report import size

    ticks = sorted(set(sizes))
    panel.set_xscale("log")
    _plain(panel.xaxis, ticks)
    panel.set_xticks(ticks, [size(tick).replace(" ", "\n") for tick in ticks])


PANELS: dict[str, Callable[[Found, Sequence[Axes]], None]] = {
    panels.__name__: panels for panels in (transfers, http, readers, fairness, growth, proxy)
}
