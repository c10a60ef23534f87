"""A folder as a web site, by gevent.pywsgi and WhiteNoise: ranges and conditional requests included.

    python pywsgi_static.py FOLDER [HOST:PORT]

Files go from the page cache to the socket by sendfile(2). WhiteNoise decides which paths are files and answers
ranges; gevent.pywsgi frames the responses; neither knows gzc. WhiteNoise looks into the folder once, at the start.
"""

import gzc

gzc.patch_all()

import sys

from gevent.pywsgi import WSGIServer
from whitenoise import WhiteNoise


def not_found(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [b"not found\n"]


def main(folder, address="127.0.0.1:8080"):
    host, _, port = address.rpartition(":")
    site = WhiteNoise(not_found, root=folder, index_file=True)
    server = WSGIServer((host, int(port)), site, log=None)
    server.start()
    print(f"http://{host}:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
