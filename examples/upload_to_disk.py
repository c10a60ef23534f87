"""Uploads as raw request bodies, from the socket into a file by splice(2).

    python upload_to_disk.py FOLDER [HOST:PORT]
    curl -T film.mp4 http://127.0.0.1:8080/film.mp4

A file has its name only when it is whole: an upload that breaks off leaves nothing behind.
"""

import gzc

gzc.patch_all()

import os
import shutil
import sys
import tempfile

from gevent.pywsgi import WSGIServer


class Uploads:
    def __init__(self, folder):
        self.folder = os.path.abspath(folder)

    def __call__(self, environ, start_response):
        name = os.path.basename(environ["PATH_INFO"])
        if environ["REQUEST_METHOD"] != "PUT" or not name or name.startswith("."):
            return answer(start_response, "405 Method Not Allowed", "PUT /name, please\n", ("Allow", "PUT"))
        try:
            size = self.keep(environ["wsgi.input"], os.path.join(self.folder, name))
        except OSError as exc:  # the client went away, or the disk is full
            return answer(start_response, "500 Internal Server Error", f"{exc}\n")
        return answer(start_response, "201 Created", f"{size} bytes\n")

    def keep(self, body, path):
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as file:
            try:
                shutil.copyfileobj(body, file)
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
            return file.tell()


def answer(start_response, status, text, *headers):
    body = text.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    return [body]


def main(folder, address="127.0.0.1:8080"):
    host, _, port = address.rpartition(":")
    server = WSGIServer((host, int(port)), Uploads(folder), log=None)
    server.start()
    print(f"http://{host}:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
