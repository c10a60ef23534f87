"""The web applications that are measured: each the shortest that a user would write. They know nothing of gzc.

FILES in the environment is the folder they serve; what is uploaded goes to upload.bin in it.
"""

import os
import shutil
from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import FileResponse, HttpRequest
from django.urls import path
from flask import Flask, Response, request, send_from_directory

FOLDER = Path(os.environ["FILES"])
UPLOAD = FOLDER / "upload.bin"

flask = Flask(__name__)


@flask.get("/<name>")
def download(name: str) -> Response:
    return send_from_directory(FOLDER, name)


@flask.put("/raw")
def raw() -> str:
    with UPLOAD.open("wb") as file:
        shutil.copyfileobj(request.stream, file)
    return str(UPLOAD.stat().st_size)


@flask.post("/form")
def form() -> str:
    request.files["file"].save(UPLOAD)
    return str(UPLOAD.stat().st_size)


def django_download(_request: HttpRequest, name: str) -> FileResponse:
    return FileResponse((FOLDER / name).open("rb"))


urlpatterns = [path("<str:name>", django_download)]
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a benchmark")
django.setup()
djangoapp = WSGIHandler()
