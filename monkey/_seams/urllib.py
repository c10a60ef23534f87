"""``urllib.request.urlretrieve``.

Its loop is in the middle of one function, with no seam before it, so the function is written again here.

Names are looked up where the original looks them up, because programs put their own openers there. The original runs
for a ``reporthook``, which wants to see every block, and for ``file:``.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import wraps
from typing import Any

from .. import _fast_prefix
from .._row import Row

#: Bytes per step of what cannot go below.
STEP = 64 * 1024


def urlretrieve(original: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement: the body goes below both files, as far as it can."""
    there = original.__globals__

    @wraps(original)
    def urlretrieve(url: Any, filename: Any = None, reporthook: Any = None, data: Any = None) -> Any:
        if reporthook or there["_splittype"](url)[0] not in ("http", "https", "ftp"):
            return original(url, filename, reporthook, data)
        with contextlib.closing(there["urlopen"](url, data)) as response:
            headers = response.info()
            if filename:
                file: Any = open(filename, "wb")  # noqa: SIM115 - closed below
            else:
                file = tempfile.NamedTemporaryFile(delete=False)  # noqa: SIM115 - closed below
                filename = file.name
                there["_url_tempfiles"].append(filename)
            with file:
                result = filename, headers
                size = int(headers["Content-Length"]) if "content-length" in headers else -1
                read = _fast_prefix.prefix(response, file)
                while block := response.read(STEP):
                    read += len(block)
                    file.write(block)
        if read < size:
            message = f"retrieval incomplete: got only {read} out of {size} bytes"
            raise there["ContentTooShortError"](message, result)
        return result

    return urlretrieve


ROWS = (
    Row(
        *("urllib.request", "urlretrieve", urlretrieve),
        knows=frozenset({"_splittype", "urlopen", "reporthook", "_url_tempfiles", "ContentTooShortError", "size"}),
    ),
)
