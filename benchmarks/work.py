"""The process that is measured, where it is no gunicorn: a program that serves, or does one job each time it is told.

    python work.py serve NAME           prints its port
    python work.py do NAME PORT         for each line on stdin prepares, for the next does, and says so

Monkey-patched, and knows nothing of gzc, but that GZC=1 switches it on.
"""

# ruff: noqa: E402 - what is imported before it is patched is not patched
from gevent import monkey

monkey.patch_all()

import ftplib
import functools
import http.client
import http.server
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from gevent.pywsgi import WSGIServer

FOLDER = Path(os.environ["FILES"])
SOURCE, TARGET = FOLDER / "source.bin", FOLDER / "target.bin"

#: What is before the yield is preparation, what is after it is measured.
Job = Callable[[int], Iterator[None]]


def copyfile(_port: int) -> Iterator[None]:
    yield
    shutil.copyfile(SOURCE, TARGET)


def tar_add(_port: int) -> Iterator[None]:
    with tarfile.open(TARGET, "w") as archive:
        yield
        archive.add(SOURCE)


def from_pipe(_port: int) -> Iterator[None]:
    command = ["cat", SOURCE]  # begun before strace looks, which would follow it
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child, TARGET.open("wb") as file:
        assert child.stdout is not None
        yield
        shutil.copyfileobj(child.stdout, file)


def requests_put(port: int) -> Iterator[None]:
    with SOURCE.open("rb") as file:
        yield
        requests.put(f"http://127.0.0.1:{port}/", data=file).raise_for_status()


def requests_get(port: int) -> Iterator[None]:
    with TARGET.open("wb") as file:
        yield
        with requests.get(f"http://127.0.0.1:{port}/", stream=True) as response:
            shutil.copyfileobj(response.raw, file)


def client_put(port: int, **headers: str) -> Iterator[None]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with SOURCE.open("rb") as file:
        yield
        connection.request("PUT", "/", file, headers)
        assert connection.getresponse().status == 200
    connection.close()


def client_put_sized(port: int) -> Iterator[None]:
    return client_put(port, **{"Content-Length": str(SOURCE.stat().st_size)})


def ftp(port: int) -> ftplib.FTP:
    client = ftplib.FTP()
    client.connect("127.0.0.1", port)
    client.login("bench", "bench")
    return client


def ftp_store(port: int) -> Iterator[None]:
    with ftp(port) as client, SOURCE.open("rb") as file:
        yield
        client.storbinary("STOR target.bin", file)


def ftp_retrieve(port: int) -> Iterator[None]:
    with ftp(port) as client, TARGET.open("wb") as file:
        yield
        client.retrbinary("RETR source.bin", file.write)


JOBS: dict[str, Job] = {
    job.__name__: job
    for job in (
        *(copyfile, tar_add, from_pipe, requests_put, requests_get),
        *(client_put, client_put_sized, ftp_store, ftp_retrieve),
    )
}


def do(job: Job, port: int) -> None:
    """Line by line; stdin may stop this whole process, which has nothing else to do."""
    print("ready", flush=True)
    for _ in sys.stdin:
        doing = job(port)
        next(doing)
        print("prepared", flush=True)
        sys.stdin.readline()
        next(doing, None)
        print("done", flush=True)


def serve(name: str) -> None:
    """A server on a free port."""
    if name == "http.server":
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=FOLDER)
        plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        print(plain.server_port, flush=True)
        plain.serve_forever()
        return
    import apps

    server = WSGIServer(("127.0.0.1", 0), getattr(apps, name), log=None)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        do(JOBS[sys.argv[2]], int(sys.argv[3]))
