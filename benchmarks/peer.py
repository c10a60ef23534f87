"""The other ends: ``peer.py FD`` writes into or reads from the descriptors it is handed, and measures nothing.

    write PIECE COUNT   from one buffer, PIECE bytes a call
    read PIECE COUNT    until the end, and says how many bytes came

Rules of this file: plain system calls; what they cost is the same for every contender.
"""

import json
import os
import socket
import sys


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


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    while True:
        said, fds, _, _ = socket.recv_fds(orders, 1024, 4)
        if not said:
            return
        what, piece, count = said.decode().split()
        os.set_blocking(fds[0], True)
        try:
            answer: object = {"write": write, "read": read}[what](fds[0], int(piece), int(count))
        except OSError as exc:
            answer = {"error": str(exc)}
        os.close(fds[0])
        orders.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
