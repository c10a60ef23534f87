"""A Flask app that sends a file, and counts the Python calls of gzc's own from the view to the first sendfile(2).

Rule: the count of a response is told by the next ``/calls``.
"""

import json
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask, Response, send_file

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])
app = Flask(__name__)
modules: list[str] = []


def profile(frame: FrameType, event: str, argument: Any) -> None:
    if event == "c_call" and argument.__name__ == "sendfile":
        sys.setprofile(None)
    elif event == "call" and frame.f_globals.get("__name__", "").partition(".")[0] == "gzc":
        modules.append(frame.f_globals["__name__"])


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@app.get("/<name>")
def file(name: str) -> Response:
    modules.clear()
    sys.setprofile(profile)
    return send_file(FOLDER / name)


@app.get("/calls")
def calls() -> str:
    return json.dumps([len(modules), len(set(modules))])
