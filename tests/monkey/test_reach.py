"""Every seam reaches what it says: what a program calls runs the code that the seam has put there (hard case R15).

Rules: a program calls public functions only, once; a profiler says which code ran. A row that replaces something must
be reached, and of each seam at least one. What a package offers is called in the process, without a server around it
where that is possible.
"""

import sys
from textwrap import dedent, indent

import pytest

from .. import _program
from .._inside import SEAMS, Seam, resolved

#: What the calls below need.
TOOLS = (
    _program.PRELUDE
    + """
import gevent.monkey, gzc, tempfile
from pathlib import Path
gevent.monkey.patch_all()

DATA = os.urandom(300_000)
folder = tempfile.TemporaryDirectory()
big = Path(folder.name, "big")
big.write_bytes(DATA)

def pair():
    import gevent.socket
    here, there = gevent.socket.socketpair()
    gevent.spawn(lambda: b"".join(iter(lambda: there.recv(1 << 16), b"")))
    return here

def client(*answers):
    '''A port where the next connections have these answers.'''
    import gevent.socket
    listener = gevent.socket.create_server(("127.0.0.1", 0))
    def serve():
        for answer in answers:
            connection, _ = listener.accept()
            gevent.spawn(lambda: b"".join(iter(lambda: connection.recv(1 << 16), b"")))
            connection.sendall(answer)
            connection.shutdown(1)
    gevent.spawn(serve)
    return listener.getsockname()[1]

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(DATA) + DATA
UPLOADED = {"REQUEST_METHOD": "PUT", "CONTENT_LENGTH": "200000", "PATH_INFO": "/", "wsgi.input": io.BytesIO()}

def files(environ, start_response):
    '''An application: a file, and what its client has sent into another file.'''
    if environ["REQUEST_METHOD"] == "PUT":
        with big.with_name("upload").open("wb") as file:
            gzc.copy(environ["wsgi.input"], file)
        start_response("200 OK", [("Content-Length", "0")])
        return []
    start_response("200 OK", [("Content-Length", str(len(DATA)))])
    return environ["wsgi.file_wrapper"](big.open("rb"))

def sending(environ, start_response):
    import werkzeug.utils
    return werkzeug.utils.send_file(big, environ)(environ, start_response)

def blocks(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    yield b"123"
    yield b"456"

GET = b"GET /big HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n"
RANGE = GET.replace(b"Connection", b"Range: bytes=1-250000\\r\\nConnection")
PUT = b"PUT / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(DATA) + DATA

def asked(serve, request=GET):
    '''What `serve(socket, address)` answers.'''
    import gevent.socket
    here, there = gevent.socket.socketpair()
    serving = gevent.spawn(serve, here, ("127.0.0.1", 1))
    gevent.spawn(there.sendall, request)
    answer = b"".join(iter(lambda: there.recv(1 << 16), b""))
    assert answer.startswith((b"HTTP/1.1 20", b"HTTP/1.0 20")), answer[:200]
    serving.get(timeout=20)

def gunicorn(application, request=GET):
    from gunicorn.config import Config
    from gunicorn.glogging import Logger
    from gunicorn.workers.ggevent import GeventWorker
    import gevent.socket
    listener = gevent.socket.create_server(("127.0.0.1", 0))
    settings = Config()
    worker = GeventWorker(1, os.getppid(), [listener], None, 30, settings, Logger(settings))
    worker.wsgi = application
    asked(lambda sock, address: worker.handle(listener, sock, address), request)

def pywsgi(application, request=GET):
    from gevent.pywsgi import WSGIServer
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.init_socket()
    asked(server.handle, request)

ran = set()

def profile(frame, event, argument):
    if event == "call":
        ran.add(frame.f_code)

def codes(row):
    '''The code of what stands where the row has put something.'''
    owner = sys.modules[row.module]
    *steps, name = row.path.split(".")
    for step in steps:
        owner = getattr(owner, step)
    value = owner.__code__ if name == "__code__" else vars(owner)[name]
    value = getattr(value, "fget", value)
    value = getattr(value, "__func__", value)
    return getattr(value, "__code__", value)

def reached(name, call):
    from inside import SEAMS
    seam = next(seam for seam in SEAMS if seam.name == name)
    gzc.patch_all(also=[name])
    call()  # imports what waits for it
    assert records.warnings() == [], records.warnings()
    threading.setprofile(profile)
    sys.setprofile(profile)
    call()
    sys.setprofile(None)
    found = {str(row): codes(row) in ran for row in seam.rows if row.module in sys.modules}
    missed = {str(row) for row in seam.rows if row.knows and not found.get(str(row))}
    assert any(found.values()) and not missed, (missed, found)
"""
)

#: A call for each seam.
CALLS = {
    "hooks": """
        with big.open("rb") as file:
            pair().readfrom(file)
            from gevent.fileobject import FileObjectPosix
            with FileObjectPosix(os.open(os.devnull, os.O_WRONLY), "wb") as null:
                null.readfrom(file)
    """,
    "socket": """
        with big.open("rb") as file:
            pair().sendfile(file)
            pair()._sendfile_use_sendfile(file)
    """,
    "gunicorn": "gunicorn(files)",
    "gunicorn-worker": "gunicorn(blocks)",
    "pywsgi": "pywsgi(files)",
    "socketserver": """
        import socketserver, shutil
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with big.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)
                self.wfile.write(b"end")
        Handler(pair(), None, None)
    """,
    "wsgiref": """
        import socketserver
        from wsgiref.simple_server import ServerHandler, WSGIRequestHandler
        class Quiet(WSGIRequestHandler):
            def log_message(self, *_): pass
        class Server:
            base_environ = {}
            get_app = lambda self: files
        asked(lambda sock, address: [Quiet(sock, address, Server()), sock.close()])
    """,
    "werkzeug": """
        gunicorn(sending, RANGE)
    """,
    "whitenoise": """
        from whitenoise.base import WhiteNoise
        gunicorn(WhiteNoise(None, root=big.parent), RANGE)
    """,
    "bottle": """
        import bottle
        application = bottle.Bottle()
        application.route("/big", callback=lambda: bottle.static_file("big", big.parent))
        gunicorn(application, RANGE)
    """,
    "falcon": """
        import falcon
        application = falcon.App()
        application.add_static_route("/", str(big.parent))
        gunicorn(application, RANGE)
    """,
    "django": """
        from django.core.files import File
        with big.open("rb") as file:
            gzc.copy(File(file), pair())
    """,
    "sentry": """
        import sentry_sdk.integrations.wsgi
        sentry_sdk.init()
        gunicorn(sentry_sdk.integrations.wsgi.SentryWsgiMiddleware(sending), RANGE)
    """,
    "gunicorn-bodies": "gunicorn(files, PUT)",
    "pywsgi-bodies": "pywsgi(files, PUT)",
    "werkzeug-bodies": """
        from werkzeug.wsgi import get_input_stream
        gzc.explain(get_input_stream(UPLOADED), pair())
    """,
    "django-bodies": """
        from django.conf import settings
        from django.core.handlers.wsgi import WSGIRequest
        settings.configured or settings.configure()
        gzc.explain(WSGIRequest(UPLOADED), pair())
    """,
    "http.client": """
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", client(ANSWER))
        with big.open("rb") as file:
            connection.request("PUT", "/", body=file, headers={"Content-Length": str(len(DATA))})
            gzc.copy(connection.getresponse(), pair())
    """,
    "urllib.request": """
        import urllib.request
        urllib.request.urlretrieve(f"http://127.0.0.1:{client(ANSWER)}/", big.with_name("got"))
    """,
    "ftplib": """
        import ftplib
        class FTP(ftplib.FTP):
            ntransfercmd = lambda self, *_: (pair(), None)
            sendcmd = voidcmd = lambda self, *_: "200"
            voidresp = lambda self: "200"
        with big.open("rb") as file:
            FTP().storbinary("STOR a", file)
        class Receiving(FTP):
            def ntransfercmd(self, *_):
                import gevent.socket
                here, there = gevent.socket.socketpair()
                there.sendall(b"some")
                there.close()
                return here, None
        with big.with_name("got").open("wb") as file:
            Receiving().retrbinary("RETR a", file.write)
    """,
    "urllib3": """
        import urllib3
        pool = urllib3.HTTPConnectionPool("127.0.0.1", client(ANSWER))
        with big.open("rb") as file:
            length = {"Content-Length": str(len(DATA))}
            answer = pool.urlopen("PUT", "/", body=file, headers=length, preload_content=False)
            gzc.copy(answer, pair())
    """,
    "shutil": """
        import shutil
        with gzc.trace() as trace:
            shutil.copyfile(big, big.with_name("copy"))
        assert trace.bytes["copy_file_range"] == len(DATA), trace.bytes
        with big.open("rb") as file, big.with_name("copy").open("wb") as copy:
            shutil.copyfileobj(file, copy)
        real = getattr(shutil, "_fastcopy_copy_file_range", None)
        if real is not None:  # and where that gives up
            def give_up(*_):
                raise shutil._GiveupOnFastCopy
            shutil._fastcopy_copy_file_range = give_up
            shutil.copyfile(big, big.with_name("copy"))
            shutil._fastcopy_copy_file_range = real
    """,
    "pathlib": """
        with gzc.trace() as trace:
            big.copy(big.with_name("copy"))
        assert trace.bytes["copy_file_range"] == len(DATA), trace.bytes
    """,
    "tarfile": """
        import tarfile
        with tarfile.open(big.with_name("a.tar"), "w") as archive:
            archive.add(big, "big")
        with tarfile.open(big.with_name("a.tar")) as archive:
            gzc.copy(archive.extractfile("big"), pair())
    """,
    "django-save": """
        import django
        from django.conf import settings
        settings.configured or settings.configure()
        from django.core.files.storage import FileSystemStorage
        from django.core.files.uploadedfile import TemporaryUploadedFile
        upload = TemporaryUploadedFile("a", "text/plain", len(DATA), None)
        upload.write(DATA)
        upload.seek(0)
        FileSystemStorage(big.parent).save("a", upload)
    """,
    "bottle-save": """
        import bottle
        with big.open("rb") as file:
            bottle.FileUpload(file, "a", "b").save(str(big.with_name("saved")), overwrite=True)
    """,
    "os": """
        read, write = os.pipe()
        with big.open("rb") as file, big.with_name("copy").open("wb") as copy:
            import gevent.os, gevent.socket
            sock = pair()
            for module in (os, gevent.os):
                module.sendfile(sock.fileno(), file.fileno(), 0, 10)
                module.copy_file_range(file.fileno(), copy.fileno(), 10)
                module.splice(file.fileno(), write, 10)
    """,
}


def test_every_seam_is_called() -> None:
    assert set(CALLS) == {seam.name for seam in SEAMS}


@pytest.mark.parametrize("seam", [seam for seam in SEAMS if seam.rows], ids=lambda seam: seam.name)
def test_what_a_program_calls_is_what_the_seam_replaces(seam: Seam) -> None:
    call = indent(dedent(CALLS[seam.name]).strip(), "    ")
    _program.finished(
        [sys.executable, "-c", resolved(TOOLS) + f"\ndef call():\n{call}\n\nreached({seam.name!r}, call)\n"]
    )
