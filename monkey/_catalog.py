"""The seams: what is replaced, why, and whom it reaches.

A table, to be read in ten seconds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ._row import Row
from ._seams import (
    bottle,
    django,
    django_save,
    falcon,
    ftplib,
    gunicorn,
    gunicorn_worker,
    http_client,
    os,
    pathlib,
    pywsgi,
    readfrom_writeto,
    request_bodies,
    sentry,
    shutil,
    socket,
    socketserver,
    tarfile,
    urllib,
    urllib3,
    werkzeug,
    whitenoise,
    wsgiref,
)


@dataclass(frozen=True)
class Seam:
    """A family of rows that is switched as one.

    stdlib
        Whether it touches the standard library, and stays out with ``stdlib=False``.
    opt_in
        Whether it must be asked for by name (``also``).
    """

    name: str
    why: str
    reaches: str
    rows: tuple[Row, ...]
    stdlib: bool = False
    opt_in: bool = False


def _of_this_python(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.since <= sys.version_info[:2])


#: Seams of earlier versions. To name one is no error and has no effect.
GONE = frozenset({"subprocess"})

SEAMS = (
    Seam(
        "hooks",
        why="sockets and FileObjects have no way to read from, or write to, one another",
        reaches="programs that call dst.readfrom(src) or src.writeto(dst), in place of gzc.copy",
        rows=tuple(
            Row(module, f"{owner}.{name}", make, eager=True)
            for module, owner in (("gevent.socket", "socket"), ("gevent._fileobjectcommon", "FileObjectBase"))
            for name, make in (("readfrom", readfrom_writeto.readfrom), ("writeto", readfrom_writeto.writeto))
        ),
    ),
    Seam(
        "socket",
        why="gevent's socket.sendfile reads and sends pieces of 8 KiB: 256 system calls for each MiB",
        reaches="gunicorn's gevent worker with any framework, geventhttpclient, every caller of sock.sendfile",
        rows=(
            Row(
                *("gevent.socket", "socket.sendfile", socket.sendfile),
                knows=frozenset({"_sendfile_use_send", "file", "offset", "count"}),
                eager=True,
            ),
            Row(
                *("gevent.socket", "socket._sendfile_use_sendfile", socket.use_sendfile),
                knows=frozenset({"_GiveupOnSendfile"}),
                eager=True,
            ),
        ),
    ),
    Seam(
        "gunicorn",
        why="Response.sendfile trusts the descriptor's position and forgets to count; FileWrapper cannot seek,"
        " so that a Range is read from byte 0",
        reaches="every file response of gunicorn's gevent worker: Flask, Django, WhiteNoise, Bottle, Falcon",
        rows=gunicorn.ROWS,
    ),
    Seam(
        "gunicorn-worker",
        why="a worker iterates to the end, beyond the promised length, and with no turn for anybody else",
        reaches="responses of gunicorn's gevent worker that are no files: generators, iterators; since 27 over HTTP/2",
        rows=gunicorn_worker.ROWS,
    ),
    Seam(
        "pywsgi",
        why="gevent.pywsgi has no wsgi.file_wrapper: files are read and sent in pieces of 4 or 8 KiB",
        reaches="every file response of gevent.pywsgi and of gunicorn's gevent_pywsgi worker",
        rows=pywsgi.ROWS,
    ),
    Seam(
        "socketserver",
        why="the writer of a request handler hides the connection",
        reaches="copies to self.wfile: http.server, wsgiref, every StreamRequestHandler",
        rows=socketserver.ROWS,
        stdlib=True,
    ),
    Seam(
        "wsgiref",
        why="wsgiref.handlers leaves its sendfile hook empty, and its FileWrapper cannot seek",
        reaches="wsgiref.simple_server and Django's runserver in monkey-patched programs",
        rows=wsgiref.ROWS,
        stdlib=True,
    ),
    Seam(
        "werkzeug",
        why="a range of a file is an iterable that hides the file from the server",
        reaches="send_file and send_from_directory of Flask, when a client asks for a range",
        rows=werkzeug.ROWS,
    ),
    Seam(
        "whitenoise",
        why="SlicedFile, a range of a file, has no descriptor",
        reaches="ranges of WhiteNoise's static files",
        rows=whitenoise.ROWS,
    ),
    Seam(
        "bottle",
        why="a range of a file is a generator of pieces of 1 MiB",
        reaches="static_file of Bottle, when a client asks for a range",
        rows=bottle.RANGES,
    ),
    Seam(
        "falcon",
        why="_BoundedFile, a range of a file, is there to keep servers from sendfile",
        reaches="ranges of Falcon's static routes",
        rows=falcon.ROWS,
    ),
    Seam(
        "django",
        why="File and FieldFile are proxies around the file",
        reaches="FileResponse and copies of uploaded and stored files",
        rows=django.ROWS,
    ),
    Seam(
        "sentry",
        why="Sentry wraps responses in a scope of their own, which hides files from the server",
        reaches="every file response of a program with Sentry",
        rows=sentry.ROWS,
    ),
    Seam(
        "gunicorn-bodies",
        why="a request body of known length is a socket below two buffers, and nothing says so",
        reaches="uploads to gunicorn's gevent worker: gzc.copy(environ['wsgi.input'], file), request.stream",
        rows=request_bodies.GUNICORN,
    ),
    Seam(
        "pywsgi-bodies",
        why="a request body of known length is a socket below a counter, and nothing says so",
        reaches="uploads to gevent.pywsgi: gzc.copy(environ['wsgi.input'], file), request.stream",
        rows=request_bodies.PYWSGI,
    ),
    Seam(
        "werkzeug-bodies",
        why="MAX_CONTENT_LENGTH puts one more counter around the body",
        reaches="request.stream in Flask and Werkzeug",
        rows=request_bodies.WERKZEUG,
    ),
    Seam(
        "django-bodies",
        why="a request is a reader around a counter around the body",
        reaches="gzc.copy(request, file) in Django",
        rows=request_bodies.DJANGO,
    ),
    Seam(
        "http.client",
        why="a request body out of a file is read and sent in pieces of 8 KiB, each a chunk of its own unless its"
        " length is given; a response body is copied through Python",
        reaches="HTTPConnection.request(body=file), urlopen, copies out of their responses",
        rows=http_client.ROWS,
        stdlib=True,
    ),
    Seam(
        "urllib.request",
        why="urlretrieve copies pieces of 8 KiB through Python",
        reaches="urlretrieve without a reporthook, of http: and ftp:",
        rows=urllib.ROWS,
        stdlib=True,
    ),
    Seam(
        "ftplib",
        why="storbinary and retrbinary copy pieces of 8 KiB through Python",
        reaches="storbinary out of a file without a callback, retrbinary into file.write; not over TLS",
        rows=ftplib.ROWS,
        stdlib=True,
    ),
    Seam(
        "urllib3",
        why="a request body out of a file is read and sent in pieces of 16 KiB; a response body is copied through"
        " Python",
        reaches="requests and urllib3 2: data=file with its length, copies out of response.raw; not over TLS",
        rows=urllib3.ROWS,
    ),
    Seam(
        "shutil",
        why="copyfileobj moves 64 or 256 KiB at a time through user space and gives nobody a turn between files;"
        " copyfile is one system call for the whole file, and the hub stands still meanwhile",
        reaches="shutil.copyfileobj, also where it was imported by name, copyfile, copy, copy2, copytree, move;"
        " http.server, urllib downloads, Werkzeug's FileStorage.save",
        rows=_of_this_python(shutil.ROWS),
        stdlib=True,
    ),
    Seam(
        "pathlib",
        why="Path.copy is one system call for the whole file, and the hub stands still meanwhile",
        reaches="Path.copy, copy_into, move and move_into, which Python 3.14 brought",
        rows=_of_this_python(pathlib.ROWS),
        stdlib=True,
    ),
    Seam(
        "tarfile",
        why="tarfile moves 16 KiB at a time through user space, and gives nobody a turn meanwhile",
        reaches="uncompressed archives: TarFile.add, addfile, extract, extractall, and copyfileobj from extractfile()",
        rows=tarfile.ROWS,
        stdlib=True,
    ),
    Seam(
        "django-save",
        why="an upload is moved to the media folder by a loop that gives nobody a turn: from a temporary folder on"
        " another file system, or in chunks",
        reaches="Django's FileSystemStorage: FileField, default_storage.save, file_move_safe wherever it was imported",
        rows=django_save.ROWS,
    ),
    Seam(
        "bottle-save",
        why="FileUpload.save is a loop of 64 KiB that gives nobody a turn",
        reaches="Bottle's request.files: FileUpload.save",
        rows=bottle.SAVING,
    ),
    Seam(
        "os",
        why="os.sendfile and os.splice answer EAGAIN on gevent's sockets, which are never in blocking mode;"
        " os.copy_file_range holds the hub while it waits for storage",
        reaches="programs written for blocking sockets that make these calls themselves",
        rows=os.ROWS,
        stdlib=True,
        opt_in=True,
    ),
)
