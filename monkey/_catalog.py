"""The seams: what is replaced, why, and whom it reaches.

Rules of this file: rows. Ten seconds to read.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import (
    _bodies,
    _ftplib,
    _gunicorn,
    _hooks,
    _http_client,
    _os,
    _saving,
    _shutil,
    _socket,
    _subprocess,
    _tarfile,
    _urllib,
    _urllib3,
)
from ._ledger import Row


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


SEAMS = (
    Seam(
        "hooks",
        why="sockets and FileObjects have no way to read from, or write to, one another",
        reaches="programs that call dst.readfrom(src) or src.writeto(dst), in place of gzc.copy",
        rows=tuple(
            Row(module, f"{owner}.{name}", make, eager=True)
            for module, owner in (("gevent.socket", "socket"), ("gevent._fileobjectcommon", "FileObjectBase"))
            for name, make in (("readfrom", _hooks.readfrom), ("writeto", _hooks.writeto))
        ),
    ),
    Seam(
        "socket",
        why="gevent's socket.sendfile reads and sends pieces of 8 KiB: 256 system calls for each MiB",
        reaches="gunicorn's gevent worker with any framework, geventhttpclient, every caller of sock.sendfile",
        rows=(
            Row(
                *("gevent.socket", "socket.sendfile", _socket.sendfile),
                knows=frozenset({"_sendfile_use_send", "file", "offset", "count"}),
                eager=True,
            ),
        ),
    ),
    Seam(
        "gunicorn",
        why="Response.sendfile trusts the descriptor's position and forgets to count; FileWrapper cannot seek,"
        " so that a Range is read from byte 0",
        reaches="every file response of gunicorn's gevent worker: Flask, Django, WhiteNoise, Bottle, Falcon",
        rows=(
            Row(
                *("gunicorn.http.wsgi", "Response.sendfile", _gunicorn.sendfile),
                knows=frozenset(
                    {"is_ssl", "can_sendfile", "filelike", "response_length", "send_headers", "is_chunked"}
                ),
            ),
            *(Row("gunicorn.http.wsgi", f"FileWrapper.{name}", make) for name, make in _gunicorn.WRAPPER_METHODS),
        ),
    ),
    Seam(
        "gunicorn-bodies",
        why="a request body of known length is a socket below two buffers, and nothing says so",
        reaches="uploads to gunicorn's gevent worker: gzc.copy(environ['wsgi.input'], file), request.stream",
        rows=_bodies.GUNICORN,
    ),
    Seam(
        "pywsgi-bodies",
        why="a request body of known length is a socket below a counter, and nothing says so",
        reaches="uploads to gevent.pywsgi: gzc.copy(environ['wsgi.input'], file), request.stream",
        rows=_bodies.PYWSGI,
    ),
    Seam(
        "werkzeug-bodies",
        why="MAX_CONTENT_LENGTH puts one more counter around the body",
        reaches="request.stream in Flask and Werkzeug",
        rows=_bodies.WERKZEUG,
    ),
    Seam(
        "django-bodies",
        why="a request is a reader around a counter around the body",
        reaches="gzc.copy(request, file) in Django",
        rows=_bodies.DJANGO,
    ),
    Seam(
        "http.client",
        why="a request body out of a file is read and sent in pieces of 8 KiB, each a chunk of its own unless its"
        " length is given; a response body is copied through Python",
        reaches="HTTPConnection.request(body=file), urlopen, copies out of their responses",
        rows=_http_client.ROWS,
        stdlib=True,
    ),
    Seam(
        "urllib.request",
        why="urlretrieve copies pieces of 8 KiB through Python",
        reaches="urlretrieve without a reporthook, of http: and ftp:",
        rows=_urllib.ROWS,
        stdlib=True,
    ),
    Seam(
        "ftplib",
        why="storbinary and retrbinary copy pieces of 8 KiB through Python",
        reaches="storbinary out of a file without a callback, retrbinary into file.write; not over TLS",
        rows=_ftplib.ROWS,
        stdlib=True,
    ),
    Seam(
        "urllib3",
        why="a request body out of a file is read and sent in pieces of 16 KiB; a response body is copied through"
        " Python",
        reaches="requests and urllib3 2: data=file with its length, copies out of response.raw; not over TLS",
        rows=_urllib3.ROWS,
    ),
    Seam(
        "shutil",
        why="copyfileobj moves 64 KiB at a time through user space and gives nobody a turn between files; copyfile is"
        " one system call for the whole file, and the hub stands still meanwhile",
        reaches="shutil.copyfileobj, also where it was imported by name, copyfile, copy, copy2, copytree, move;"
        " http.server, urllib downloads, Werkzeug's FileStorage.save",
        rows=_shutil.ROWS,
        stdlib=True,
    ),
    Seam(
        "tarfile",
        why="tarfile moves 16 KiB at a time through user space, and gives nobody a turn meanwhile",
        reaches="uncompressed archives: TarFile.add, addfile, extract, extractall, and copyfileobj from extractfile()",
        rows=_tarfile.ROWS,
        stdlib=True,
    ),
    Seam(
        "django-save",
        why="an upload is moved to the media folder by a loop that gives nobody a turn: from a temporary folder on"
        " another file system, or in chunks",
        reaches="Django's FileSystemStorage: FileField, default_storage.save, file_move_safe wherever it was imported",
        rows=_saving.DJANGO,
    ),
    Seam(
        "bottle-save",
        why="FileUpload.save is a loop of 64 KiB that gives nobody a turn",
        reaches="Bottle's request.files: FileUpload.save",
        rows=_saving.BOTTLE,
    ),
    Seam(
        "subprocess",
        why="gevent reads a process's output in pieces of 8 KiB, an eighth of what the pipe holds",
        reaches="Popen.communicate, subprocess.run, check_output, and read() of any FileObject over a pipe",
        rows=_subprocess.ROWS,
    ),
    Seam(
        "os",
        why="os.sendfile and os.splice answer EAGAIN on gevent's sockets, which are never in blocking mode;"
        " os.copy_file_range holds the hub while it waits for storage",
        reaches="programs written for blocking sockets that make these calls themselves",
        rows=_os.ROWS,
        stdlib=True,
        opt_in=True,
    ),
)
