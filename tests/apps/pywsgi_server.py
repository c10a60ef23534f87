"""A program of the kind people write: gevent.pywsgi with an app from beside it, `python pywsgi_server.py both:app`.

Rule: patched first, as the manual says; it says where it listens in gunicorn's words.
"""

from gevent import monkey

monkey.patch_all()

import importlib  # noqa: E402
import sys  # noqa: E402

from gevent import pywsgi  # noqa: E402

module, _, name = sys.argv[1].partition(":")
app = getattr(importlib.import_module(module), name)
server = pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None)
server.start()
print(f"Listening at: http://127.0.0.1:{server.server_port} ", file=sys.stderr, flush=True)
server.serve_forever()
