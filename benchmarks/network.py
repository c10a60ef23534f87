"""A network for the run alone: nothing but a loopback interface, and tcp that does not pace.

BBR, which many machines use, sends each packet by a timer of the kernel. On a loopback interface, and in a virtual
machine above all, these timers cost more than the bytes, the same for everybody: splice from unix to tcp took 483 ms
of CPU per GiB and a loop of recv and send 309; without pacing 147 and 311 (Linux 6.18, two CPUs). cubic, which is
Linux's own choice, and reno have no timers.

It changes nothing for anybody but this process and its children.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
#: What there may be, best first; a machine may forbid cubic to a namespace, never reno.
UNPACED = ("cubic", "reno")

_NEWUSER, _NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_SIOCSIFFLAGS, _UP = 0x8914, 0x1  # linux/sockios.h, linux/if.h

_entered = ""


def enter(wish: str | None) -> None:
    """Leave the machine's network for one of our own, once; ``wish`` is a congestion control, None any that is unpaced.

    Without the right to it all goes on where it is, and ``said`` tells.
    """
    global _entered
    if _entered:
        return
    _entered = "of the machine"
    if not CONTROL.exists() or not _unshare():
        return
    with socket.socket() as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))
    _entered = "in a namespace of its own"
    for name in (wish,) if wish else UNPACED:
        try:
            CONTROL.write_text(name)
            return
        except OSError:
            continue


def said() -> str:
    """What the connections of the run are made with."""
    control = CONTROL.read_text().strip() if CONTROL.exists() else "as it comes"
    return f"loopback {_entered}, tcp {control}"


def _unshare() -> bool:
    """A network namespace; who is not root needs a user namespace for it, in which it is root."""
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(_NEWNET | (_NEWUSER if user else 0)):
        return False
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
    return True
