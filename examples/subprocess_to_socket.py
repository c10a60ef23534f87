"""The output of a program to everybody who connects, from its pipe to the socket by splice(2).

    python subprocess_to_socket.py HOST:PORT program [argument ...]
    python subprocess_to_socket.py 127.0.0.1:7000 tar -C /srv/films -c .

A client that goes away ends the program it was served by.
"""

import sys

from gevent.server import StreamServer
from gevent.subprocess import PIPE, Popen

import gzc


def server_of(listen, command):
    def serve(client, address):
        with client, Popen(command, stdout=PIPE) as program:
            try:
                sent = gzc.copy(program.stdout, client)
            except OSError as exc:  # the client went away
                program.kill()
                sent = exc.transfer.moved
        print(f"{address}: {sent} bytes, exit status {program.returncode}", file=sys.stderr)

    return StreamServer(listen, serve)


def main(address, *command):
    host, _, port = address.rpartition(":")
    server = server_of((host, int(port)), command)
    server.start()
    print(f"{host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
