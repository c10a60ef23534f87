"""gevent's entry point ``gevent.plugins.monkey.did_patch_builtins``.

Every program that calls ``gevent.monkey.patch_all`` with gzc installed imports this module, and an exception out of it
would break that call. While gzc is not switched on, it imports nothing, reads one variable and cannot raise.
"""

from __future__ import annotations

import os
from typing import Any

#: Whether gevent.monkey.patch_all has run in this process: nobody else tells.
ran = False

_ON = {"1", "true", "yes", "on"}
_OFF = {"", "0", "false", "no", "off"}


def did_patch_builtins(event: Any) -> None:
    """Patch if ``gevent.monkey.patch_all(gzc=True)`` or ``GZC=1`` asks for it; the argument decides first.

    :raises ValueError: gzc is switched on and one of its settings is wrong.
    """
    global ran
    ran = True
    wanted = getattr(event, "patch_all_kwargs", {}).get("gzc")
    if wanted is None:
        setting = os.environ.get("GZC", "").strip().lower()
        if setting in _OFF:
            return
        if setting not in _ON:
            raise ValueError(f"GZC={setting!r}: neither 1 nor 0")
    elif not wanted:
        return
    from ._activation import switch_on

    switch_on(by_call=wanted is not None)
