"""A plain Flask app that sends the files of one folder. It knows nothing of gzc.

FILES=/some/folder gunicorn -k gevent flask_app:app          # stock
FILES=/some/folder GZC=1 gunicorn -k gevent flask_app:app    # the same, with gzc
"""

import os

from flask import Flask, Response, send_from_directory

FOLDER = os.path.abspath(os.environ.get("FILES", "."))

app = Flask(__name__)


@app.get("/<path:name>")
def download(name: str) -> Response:
    return send_from_directory(FOLDER, name)
