"""Sentry's scope around a response: each block is taken in the scope of the request, and there is no code in a file."""

from __future__ import annotations

from typing import Any

from .. import _describe
from .._send_file import below


def _scope(self: Any) -> Any:
    return below(getattr(self, "_response", None))


ROWS = (_describe.row("sentry_sdk.integrations.wsgi", "_ScopedResponse", _scope),)
