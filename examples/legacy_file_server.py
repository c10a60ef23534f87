"""A file server as it has been written since the nineties: a thread per connection, and blocking calls.

    python legacy_file_server.py FOLDER [PORT]              64 KiB at a time, through Python
    python -m gzc run legacy_file_server.py FOLDER [PORT]   the same file, by sendfile(2), greenlets for threads

It knows neither gevent nor gzc. A client sends a name and a newline; it gets the size, a newline and the file.
"""

import os
import shutil
import socketserver
import sys


class FileHandler(socketserver.StreamRequestHandler):
    def handle(self):
        name = os.path.basename(self.rfile.readline(1024).decode().strip())
        path = os.path.join(self.server.folder, name)
        if not os.path.isfile(path):
            self.wfile.write(b"-1\n")
            return
        with open(path, "rb") as file:
            self.wfile.write(b"%d\n" % os.path.getsize(path))
            shutil.copyfileobj(file, self.wfile)


class FileServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(folder, port="7000"):
    with FileServer(("127.0.0.1", int(port)), FileHandler) as server:
        server.folder = folder
        print(f"127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
