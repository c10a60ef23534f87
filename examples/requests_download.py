"""Download a file with requests, from the socket into the file by splice(2).

    python requests_download.py http://host/film.mp4 film.mp4

Plain HTTP with a Content-Length. Over TLS, chunked or compressed the very same lines work, through Python.
"""

import gzc

gzc.patch_all()

import shutil
import sys

import requests


def download(url, path):
    with requests.get(url, stream=True, headers={"Accept-Encoding": "identity"}, timeout=30) as response:
        response.raise_for_status()
        with open(path, "wb") as file:
            shutil.copyfileobj(response.raw, file)
            size = file.tell()
    promised = response.headers.get("Content-Length")
    if promised is not None and size != int(promised):
        raise OSError(f"{url}: {size} of {promised} bytes")
    return size


if __name__ == "__main__":
    with gzc.trace() as trace:
        print(f"{download(*sys.argv[1:3])} bytes")
    print(trace, file=sys.stderr)
