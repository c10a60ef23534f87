"""Serve an app: `serve.py pywsgi|patched-pywsgi|wsgiref|runserver|http.server [module]`, with gzc where GZC=1.

The module is ``frameworks`` unless another is named, and what it serves is its ``app``.

Rules: an address in gunicorn's words on stderr, a line for each request on stdout, and nothing else. What is not
"patched" uses gevent as a library: the standard library is left alone.
"""

import importlib
import os
import sys

KIND, MODULE = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "frameworks"
SWITCHED_ON = os.environ.pop("GZC", "") == "1"


def switch_on() -> None:
    if KIND == "pywsgi":
        if SWITCHED_ON:
            import gzc

            gzc.patch_all(stdlib=False)
    else:
        from gevent import monkey

        monkey.patch_all(gzc=SWITCHED_ON)


def main() -> None:
    app = importlib.import_module(MODULE).app

    if KIND == "wsgiref":
        import socketserver
        from wsgiref import simple_server

        class Quiet(simple_server.WSGIRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                print(f"{self.command} {self.path} {args[1]} {args[2]}", flush=True)

        class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
            daemon_threads = True

        with simple_server.make_server("127.0.0.1", 0, app, Server, Quiet) as server:
            print(f"Listening at: http://127.0.0.1:{server.server_port} ({os.getpid()})", file=sys.stderr, flush=True)
            server.serve_forever()
    elif KIND == "runserver":
        from django.core.servers import basehttp

        class Silent(basehttp.WSGIRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

        django = basehttp.ThreadedWSGIServer(("127.0.0.1", 0), Silent)
        django.daemon_threads = True
        django.set_app(app)
        print(f"Listening at: http://127.0.0.1:{django.server_port} ({os.getpid()})", file=sys.stderr, flush=True)
        django.serve_forever()
    elif KIND == "http.server":
        with app() as plain:
            print(f"Listening at: http://127.0.0.1:{plain.server_port} ({os.getpid()})", file=sys.stderr, flush=True)
            plain.serve_forever()
    else:
        from gevent.pywsgi import WSGIServer

        class Lines:
            def write(self, line: str) -> None:
                request, status, length = line.split('"')[1], *line.split('"')[2].split()[:2]
                print(f"{request.rsplit(' ', 1)[0]} {status} {length}", flush=True)

        wsgi = WSGIServer(("127.0.0.1", 0), app, log=Lines())
        wsgi.start()
        print(f"Listening at: http://127.0.0.1:{wsgi.server_port} ({os.getpid()})", file=sys.stderr, flush=True)
        wsgi.serve_forever()


switch_on()
main()
