"""The Flask app at /, the bare WSGI app below /bare: one server for all download tests."""

from bare import app as bare
from flask_files import app as flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

app = DispatcherMiddleware(flask, {"/bare": bare})
