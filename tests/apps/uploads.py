"""Uploads as people write them: a bare WSGI app, a Flask app and a Django app that save what they are sent.

The path's first part names the framework, the rest says which object is copied. In the query: `how=copy` copies
by gzc.copy, without it the way is shutil's; `first=N` reads N bytes before, `line=1` a line; `catch=1` answers
with the name of the exception instead of raising it; `sink=full` writes to /dev/full; `tell=1` lets others wait
for the beginning and the end of this one.

Rule: without gzc in the process nothing here imports it, and the answer's body says only what must be the same
with and without; how the bytes went is in the header X-Moved.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import django
import flask
import gevent
import gevent.event
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import path as route

sys.path.append(str(Path(__file__).parent.parent))

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])
WITH_GZC = os.environ.get("GZC") == "1"

Query = dict[str, str]
last: dict[str, Any] = {}  # the answer to the last upload, for those whose client is gone
struck = gevent.event.Event()  # an upload was interrupted
begun, ended = gevent.event.Event(), gevent.event.Event()  # an upload with `tell=1`


@contextlib.contextmanager
def watched() -> Iterator[dict[str, int]]:
    """What gzc moved inside the block, by mechanism."""
    moved: dict[str, int] = {}
    if not WITH_GZC:
        yield moved
        return
    import gzc

    with gzc.trace() as trace:
        yield moved
    moved.update({name: count for name, count in trace.bytes.items() if count})


def copied(body: Any, file: Any, query: Query) -> None:
    if WITH_GZC:
        from _inside import _fast_prefix

        import gzc

        if query.get("how") == "copy":
            gzc.copy(body, file)
            return
        if query.get("how") == "explain":
            last["plan"] = gzc.explain(body, file).mechanism
            return
        if "shutil" not in gzc.patched():  # else it is copyfileobj itself that does this
            _fast_prefix.prefix(body, file)
    if query.get("how") != "explain":
        shutil.copyfileobj(body, file)


def digest(file: Any) -> str:
    file.seek(0)
    found = hashlib.md5(usedforsecurity=False)
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()


def save(body: Any, query: Query) -> tuple[dict[str, Any], str]:
    """Save the body; the answer, and how the bytes went."""
    answer: dict[str, Any] = {}
    last.clear()
    sink = open("/dev/full", "wb", buffering=0) if query.get("sink") == "full" else None  # noqa: SIM115
    with tempfile.TemporaryFile(dir=FOLDER) as file, watched() as moved:
        if "line" in query:
            file.write(body.readline())
        if "first" in query:
            file.write(body.read(int(query["first"])))
        if "tell" in query:
            begun.set()
        try:
            copied(body, sink or file, query)
        except Exception as exc:
            answer["error"] = type(exc).__name__
            if "catch" not in query:
                raise
        finally:
            answer["size"] = file.seek(0, 2)
            answer["md5"] = digest(file)
            last.update(answer)
            last["failed"] = getattr(body, "failed", None)
            if "tell" in query:
                ended.set()
    if sink is not None:
        answer["rest is there"] = bool(body.read())
        sink.close()
    return answer, json.dumps(moved)


def socket_below(environ: dict[str, Any]) -> Any:
    """The client's socket, which gevent.pywsgi does not show."""
    return environ.get("gunicorn.socket") or environ["wsgi.input"].rfile.raw._sock


def interrupted(environ: dict[str, Any], query: Query) -> tuple[dict[str, Any], str]:
    """Save a body that pauses for longer than we care to wait; then the rest of it, by plain reads."""
    body, answer = environ["wsgi.input"], {}
    with tempfile.TemporaryFile(dir=FOLDER) as file, watched() as moved:
        sock = socket_below(environ)
        before = sock.gettimeout()
        if query["by"] == "socket":
            sock.settimeout(0.3)
        try:
            with gevent.Timeout(0.3 if query["by"] == "greenlet" else None):
                copied(body, file, query)
        except (gevent.Timeout, TimeoutError) as exc:
            answer["error"] = type(exc).__name__
        finally:
            sock.settimeout(before)
        answer["early"] = file.tell()
        struck.set()
        while block := body.read(10_000):
            file.write(block)
        answer["size"] = file.tell()
        answer["md5"] = digest(file)
    return answer, json.dumps(moved)


# --- no framework ---


def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    route = environ["PATH_INFO"].split("/")[-1]
    moved = "{}"
    if route == "save":
        answer, moved = save(environ["wsgi.input"], query)
    elif route == "interrupted":
        answer, moved = interrupted(environ, query)
    elif route == "struck":
        answer = {"struck": struck.wait(20)}
        struck.clear()
    elif route == "begun":
        answer = {"begun": begun.wait(20)}
    elif route == "ended":
        answer = {"ended": ended.wait(20), **last}
        begun.clear()
        ended.clear()
    else:
        answer = dict(last)
    reply = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Length", str(len(reply))), ("X-Moved", moved)])
    return [reply]


# --- Flask ---

flasks = flask.Flask(__name__)


def _answered(body: Any) -> flask.Response:
    answer, moved = save(body, flask.request.args.to_dict())
    reply = flask.jsonify(answer)
    reply.headers["X-Moved"] = moved
    return reply


@flasks.put("/flask/stream")
def flask_stream() -> flask.Response:
    return _answered(flask.request.stream)


@flasks.put("/flask/environ")
def flask_environ() -> flask.Response:
    return _answered(flask.request.environ["wsgi.input"])


@flasks.put("/flask/most")
def flask_most() -> flask.Response:
    """Takes no more than `most` bytes."""
    flask.request.max_content_length = int(flask.request.args["most"])
    return _answered(flask.request.stream)


@flasks.post("/flask/form")
def flask_form() -> flask.Response:
    with tempfile.NamedTemporaryFile(dir=FOLDER) as file:
        flask.request.files["file"].save(file.name)
        return flask.jsonify(md5=digest(file), text=flask.request.form["text"])


# --- Django ---


def django_view(request: HttpRequest, what: str) -> JsonResponse:
    if what == "form":
        uploaded = request.FILES["file"]
        with tempfile.TemporaryFile(dir=FOLDER) as file:
            for block in uploaded.chunks():
                file.write(block)
            return JsonResponse({"md5": digest(file), "text": request.POST["text"]})
    body = request.environ["wsgi.input"] if what == "environ" else request
    answer, moved = save(body, request.GET.dict())
    if what == "late":
        try:
            answer["late"] = len(request.body)
        except Exception as exc:  # noqa: BLE001 - its name is the answer
            answer["late"] = type(exc).__name__
    return JsonResponse(answer, headers={"X-Moved": moved})


urlpatterns = [route("django/<what>", django_view)]
settings.configure(
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="x",
    DEBUG=False,
    LOGGING_CONFIG=None,
)
django.setup()
djangos = WSGIHandler()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    first = environ["PATH_INFO"].split("/")[1]
    if first == "pid":
        reply = str(os.getpid()).encode()
        start_response("200 OK", [("Content-Length", str(len(reply)))])
        return [reply]
    return {"bare": bare, "flask": flasks, "django": djangos}[first](environ, start_response)
