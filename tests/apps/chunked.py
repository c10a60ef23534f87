"""For a real uWSGI: says what it received by chunks, each of which it limits to 1 MiB as it comes."""

import hashlib


def application(environ, start_response):
    import uwsgi

    digest, size, largest = hashlib.md5(), 0, 0
    while block := uwsgi.chunked_read():
        digest.update(block)
        size, largest = size + len(block), max(largest, len(block))
    answer = f"{digest.hexdigest()} {size} {largest}".encode()
    start_response("200 OK", [("Content-Length", str(len(answer))), ("Connection", "close")])
    return [answer]
