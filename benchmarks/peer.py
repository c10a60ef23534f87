"""The other ends: ``peer.py FD`` does what it is told with the descriptors it is handed, and is not measured.

    write PIECE COUNT       from one buffer, PIECE bytes a call
    read PIECE COUNT        until the end; how many bytes came
    drain                   a port where everything is thrown away
    upstream                a port where a line with a number is answered by so many bytes
    fetch PORT N COUNT      COUNT bytes from such a port over each of N connections; the seconds
    idle PORT N             N such connections that say nothing, until the next order

Plain system calls; what they cost is the same for every contender.
"""

import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

PIECE = 256 << 10


def write(fd: int, piece: int, count: int) -> int:
    data, left = memoryview(bytes(range(256)) * (piece // 256 + 1))[:piece], count
    while left > 0:
        left -= os.write(fd, data[:left] if left < piece else data)
    return count


def read(fd: int, piece: int, count: int) -> int:
    buffer, came = [bytearray(max(piece, 4096))], 0
    while got := os.readv(fd, buffer):
        came += got
    return came


def _serve(work: Callable[[socket.socket], None]) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=work, args=(listener,), daemon=True).start()
    return int(listener.getsockname()[1])


def _drain(listener: socket.socket) -> None:
    poll, buffer = select.epoll(), bytearray(PIECE)
    poll.register(listener, select.EPOLLIN)
    socks: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                socks[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                if socks[fd].recv_into(buffer):
                    continue
            except ConnectionError:
                pass
            poll.unregister(fd)
            socks.pop(fd).close()


def drain(_fd: int) -> int:
    return _serve(_drain)


def _answer(sock: socket.socket) -> None:
    with sock, sock.makefile("rb") as file:
        line = file.readline()
        if line:
            write(sock.fileno(), PIECE, int(line))


def _upstream(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_answer, args=(sock,), daemon=True).start()


def upstream(_fd: int) -> int:
    return _serve(_upstream)


def _fetch(port: int, count: int, came: list[int]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.settimeout(None)
        sock.sendall(b"%d\n" % count)
        came.append(read(sock.fileno(), PIECE, count))


def fetch(_fd: int, port: int, number: int, count: int) -> float:
    came: list[int] = []
    threads = [threading.Thread(target=_fetch, args=(port, count, came), daemon=True) for _ in range(number)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    if came != [count] * number:
        raise OSError(f"{came} came, and not {number} times {count}")
    return time.perf_counter() - begun


_idle: list[socket.socket] = []


def idle(_fd: int, port: int, number: int) -> int:
    for sock in _idle:
        sock.close()
    _idle[:] = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(number)]
    return number


ORDERS: dict[str, Callable[..., object]] = {
    order.__name__: order for order in (write, read, drain, upstream, fetch, idle)
}


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    while True:
        said, fds, _, _ = socket.recv_fds(orders, 1024, 4)
        if not said:
            return
        what, *numbers = said.decode().split()
        for fd in fds:
            os.set_blocking(fd, True)
        try:
            answer = ORDERS[what](fds[0] if fds else -1, *map(int, numbers))
        except OSError as exc:
            answer = {"error": str(exc)}
        for fd in fds:
            os.close(fd)
        orders.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
