"""What a forked child must forget, in one place."""

from __future__ import annotations

import os

from .._ends import lending
from .._hub import claims
from .._kernel import transit_pipe
from . import tally


def forget_in_children() -> None:
    """Call ``forget`` of each room in every child that is forked from now on."""
    if hasattr(os, "register_at_fork"):
        for room in (claims, tally, transit_pipe, lending):
            os.register_at_fork(after_in_child=room.forget)
