"""What would make it better, from what ``gzc doctor`` found.

Each piece of advice follows from a fact that was found, and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Below this many descriptors a busy server has a use for more: a transfer between two sockets holds four.
DESCRIPTORS = 4096

Told = Mapping[str, Any]


def advice(told: Told) -> list[str]:
    """All that ``told`` gives reason for, in plain words."""
    return [text for about in (_platform, _pipes, _mechanisms, _seams, _descriptors, _doors) for text in about(told)]


def _platform(told: Told) -> Iterator[str]:
    if told["kernel"]["system"] != "Linux":
        yield "Linux is the fast platform; here everything goes through user space."
    if told["gevent"]["loop"].startswith("libuv"):
        yield "gevent runs on libuv; libev (GEVENT_LOOP=libev-cext) wakes up at less cost on Linux."


def _pipes(told: Told) -> Iterator[str]:
    pipes, wish = told["pipes"], told["config"]["pipe_size"]["value"]
    if pipes["granted"] >= min(wish, pipes["of"]):
        return
    if (pipes["pipe-max-size"] or wish) < wish:
        yield f"Larger pipes: sysctl fs.pipe-max-size={wish}, or a smaller GZC_PIPE_SIZE."
    else:
        yield "This user's share of pipes is used up: raise sysctl fs.pipe-user-pages-soft."


def _mechanisms(told: Told) -> Iterator[str]:
    for name in told["config"]["disable"]["value"]:
        yield f"{name} is switched off by GZC_DISABLE: unset it, unless this kernel answers it wrongly."
    broken = [finding for finding in told["mechanisms"] if finding["needed"] and not finding["works"]]
    if any("EPERM" in finding["what"] or "ENOSYS" in finding["what"] for finding in broken):
        yield "A sandbox refuses system calls: allow sendfile, splice and copy_file_range in its seccomp profile."
    elif any("switched off" not in one["what"] and "copy_file_range" in one["name"] for one in broken):
        yield f"{told['folder']} is on a file system that cannot copy by itself: try gzc doctor with another folder."


def _seams(told: Told) -> Iterator[str]:
    for seam in told["seams"]:
        if seam["state"].startswith("skipped"):
            yield f"Seam {seam['name']} does not know this version of its target: look for a newer gzc."


def _descriptors(told: Told) -> Iterator[str]:
    soft, hard = told["descriptors"]["soft"], told["descriptors"]["hard"]
    if 0 <= soft < DESCRIPTORS:
        who = "" if hard < 0 or hard > soft else ", which only root can raise here"
        yield f"{soft} open files are few for a server: ulimit -n (LimitNOFILE of systemd){who}."


def _doors(told: Told) -> Iterator[str]:
    if not told["switched_on"]:
        yield "Programs are not patched by themselves: GZC=1 in their environment, or gzc run program."
