"""A Flask app that knows nothing of gzc: send_file of what lies in GZC_TEST_FOLDER, and of /proc.

Rule: nothing here may import or mention gzc, gevent or gunicorn; this is the unmodified user.
"""

import io
import os
from pathlib import Path

from flask import Flask, Response, send_file

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])

app = Flask(__name__)


@app.get("/pid")
def pid() -> Response:
    return Response(str(os.getpid()), mimetype="text/plain")


@app.get("/file/<name>")
def file(name: str) -> Response:
    return send_file(FOLDER / name)


@app.get("/open/<name>")
def opened(name: str) -> Response:
    """An open file instead of a path: Flask does not know its size, so there is no Content-Length."""
    return send_file((FOLDER / name).open("rb"), mimetype="application/octet-stream")


@app.get("/memory/<name>")
def memory(name: str) -> Response:
    return send_file(io.BytesIO((FOLDER / name).read_bytes()), mimetype="application/octet-stream")


@app.get("/proc/<name>")
def proc(name: str) -> Response:
    return send_file(open(f"/proc/{name}", "rb"), mimetype="text/plain")
