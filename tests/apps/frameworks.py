"""One WSGI app per framework, each serving the files of GZC_TEST_FOLDER as its manual says; the first path segment
chooses. /pid and /stats are the server's: what it is, and what gzc has moved in it.

Rule: nothing in the apps knows of gzc; only /stats asks for it, if it is there.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import bottle
import django
import falcon
import sentry_sdk
from bare import app as bare
from django.conf import settings
from django.core.files import File
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.urls import path
from flask_files import app as flask
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import FileResponse as PyramidFile
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from webob.static import DirectoryApp
from whitenoise import WhiteNoise

FOLDER = Path(os.environ["GZC_TEST_FOLDER"])

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


def nothing(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


bottles = bottle.Bottle()


@bottles.get("/file/<name>")
def file(name: str) -> Any:
    return bottle.static_file(name, root=str(FOLDER))


def pyramid_file(request: Request) -> PyramidFile:
    return PyramidFile(str(FOLDER / request.matchdict["name"]), request=request)


with Configurator() as config:
    config.add_route("file", "/file/{name}")
    config.add_view(pyramid_file, route_name="file")

falcons = falcon.App()
falcons.add_static_route("/file", FOLDER)


class Files(DirectoryApp):  # type: ignore[misc]
    """Its files are below ``/file/``, as those of the others."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/file")
        return super().__call__(environ, start_response)  # type: ignore[no-any-return]


def django_file(_request: HttpRequest, name: str) -> FileResponse:
    return FileResponse((FOLDER / name).open("rb"))


def django_stored(_request: HttpRequest, name: str) -> FileResponse:
    """A ``File``, as model fields and storages give them."""
    return FileResponse(File((FOLDER / name).open("rb")))


def django_memory(_request: HttpRequest, name: str) -> FileResponse:
    return FileResponse(io.BytesIO((FOLDER / name).read_bytes()))


def django_pieces(_request: HttpRequest, name: str) -> StreamingHttpResponse:
    """A generator: no length is known, so the server frames it."""

    def pieces() -> Iterator[bytes]:
        with (FOLDER / name).open("rb") as whole:
            while piece := whole.read(10_000):
                yield piece

    return StreamingHttpResponse(pieces())


urlpatterns = [
    path("file/<str:name>", django_file),
    path("stored/<str:name>", django_stored),
    path("memory/<str:name>", django_memory),
    path("pieces/<str:name>", django_pieces),
]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", USE_TZ=True)
django.setup()
sentry_sdk.init()


def wrapped_scope(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Sentry as it was before 2.36: it hides every response in a scope of its own."""
    from sentry_sdk.integrations.wsgi import _ScopedResponse

    return _ScopedResponse(sentry_sdk.get_isolation_scope(), flask(environ, start_response))  # type: ignore[arg-type]


def stats(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    moved = sys.modules["gzc"].stats()["bytes"] if "copy" in vars(sys.modules.get("gzc", sys)) else {}
    body = json.dumps({"pid": os.getpid(), "bytes": moved}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


APPS: dict[str, App] = {
    "flask": flask,
    "django": get_wsgi_application(),
    "bottle": bottles,
    "falcon": falcons,
    "pyramid": config.make_wsgi_app(),
    "webob": Files(str(FOLDER)),
    "whitenoise": WhiteNoise(nothing, root=str(FOLDER), prefix="file/", autorefresh=True),
    "sentry": SentryWsgiMiddleware(flask),
    "scope": wrapped_scope,
    "bare": bare,
    "pid": flask,
    "stats": stats,
}


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _, first, *rest = environ["PATH_INFO"].split("/", 2)
    if rest:
        # A copy, as the server logs what it finds in its own.
        environ = {**environ, "SCRIPT_NAME": f"{environ['SCRIPT_NAME']}/{first}", "PATH_INFO": f"/{rest[0]}"}
    return APPS.get(first, nothing)(environ, start_response)
