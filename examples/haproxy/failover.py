"""HAProxy in front of three gunicorn hosts with gzc; one host goes away in the middle of downloads.

    sudo python failover.py [--cut]        needs haproxy, ip (iproute2) and root; takes some seconds

Each host is a network namespace of its own, joined to HAProxy's by a virtual cable. Twelve clients download a file.
When all have a part of it, one host is killed (or, with --cut, its cable is cut). Those who were served by it find
their connection closed, and go on where they stopped, with Range and If-Range, on another host. Every byte of every
download is compared. The namespaces, and all that runs in them, end with this process.
"""

import argparse
import contextlib
import http.client
import os
import random
import signal
import string
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZE = 48 << 20  # more than all the buffers on the way hold
PART = 4 << 20
HOSTS = 3
CLIENTS = 12
PATIENCE = 30


class Host:
    """A gunicorn in a network namespace of its own."""

    def __init__(self, number, folder, log):
        self.name = f"host{number}"
        self.address = f"10.77.{number}.2"
        ip("netns", "add", self.name)
        ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"10.77.{number}.1/24", "dev", self.name)
        ip("link", "set", self.name, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.name, sys.executable, "-m", "gunicorn"),
                    *("-c", HERE.parent / "gunicorn.conf.py", "-w", "1", "-b", f"{self.address}:8000"),
                    *("--graceful-timeout", "2", "flask_app:app"),
                ],
                cwd=HERE.parent,
                env={**os.environ, "FILES": str(folder), "XDG_RUNTIME_DIR": str(log.parent)},
                stderr=errors,
                start_new_session=True,
            )

    def kill(self):
        """As a machine whose power fails, but for the kernel, which says goodbye for it."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def cut(self):
        """Nobody says anything any more."""
        ip("link", "set", self.name, "down")

    def stop(self):
        """End it, and what its worker says it has moved."""
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            self.process.terminate()
            self.process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        said = [line.split("gzc: ")[1] for line in self.log.read_text().splitlines() if "gzc: moved" in line]
        return said[-1] if said else "ended before it could say"


class Download(threading.Thread):
    """One client: it stops once, after PART bytes, until all the others are as far."""

    def __init__(self, content, halfway):
        super().__init__(daemon=True)
        self.content, self.halfway = content, halfway
        self.have, self.wrong, self.hosts = 0, 0, []
        self.paused = False

    def run(self):
        etag = None
        while self.have < len(self.content) and len(self.hosts) < 8:
            connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=PATIENCE)
            try:
                etag = self.attempt(connection, etag)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)  # the host went away: the next one
            finally:
                connection.close()

    def attempt(self, connection, etag):
        headers = {"Range": f"bytes={self.have}-", "If-Range": etag} if self.have else {}
        connection.request("GET", "/film.bin", headers=headers)
        response = connection.getresponse()
        if response.status != (206 if self.have else 200):
            raise http.client.HTTPException(f"status {response.status}")
        self.hosts.append(response.headers["X-Host"])
        etag = response.headers["ETag"]
        with contextlib.suppress(OSError, http.client.HTTPException):
            while data := response.read1(1 << 16):
                self.wrong += data != self.content[self.have : self.have + len(data)]
                self.have += len(data)
                if self.have >= PART and not self.paused:
                    self.paused = True
                    self.halfway.wait(PATIENCE)  # all have a part
                    self.halfway.wait(PATIENCE)  # the host is gone
        return etag


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def wait_until(holds, what):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE} seconds")
        time.sleep(0.05)


def start_haproxy(hosts, work):
    lines = [f"    server {host.name} {host.address}:8000" for host in hosts]
    template = string.Template((HERE / "haproxy.cfg").read_text())
    config = work / "haproxy.cfg"
    config.write_text(template.substitute(HOSTS="\n".join(lines)))
    return subprocess.Popen(["haproxy", "-db", "-q", "-f", config])


def alive():
    """The hosts that answer through HAProxy."""
    found = set()
    for _ in range(2 * HOSTS):
        connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=PATIENCE)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/alive")
            response = connection.getresponse()
            if response.status == 200:
                found.add(response.headers["X-Host"])
    return found


def scene(cut, work):
    content = random.Random(7).randbytes(SIZE)
    (work / "film.bin").write_bytes(content)
    (work / "alive").write_text("yes\n")
    hosts, proxy = [], None
    try:
        hosts += [Host(number, work, work / f"host{number}.log") for number in range(1, HOSTS + 1)]
        proxy = start_haproxy(hosts, work)
        wait_until(lambda: len(alive()) == HOSTS, "three hosts behind HAProxy")
        halfway = threading.Barrier(CLIENTS + 1)
        clients = [Download(memoryview(content), halfway) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        halfway.wait(PATIENCE)
        victim = hosts[1]
        (victim.cut if cut else victim.kill)()
        halfway.wait(PATIENCE)
        for client in clients:
            client.join(PATIENCE)
    finally:
        if proxy is not None:  # first, for the hosts wait for its connections
            proxy.kill()
            proxy.wait()
        moved = {host.name: host.stop() for host in hosts}
    return report(clients, victim, moved, cut)


def report(clients, victim, moved, cut):
    whole = [client for client in clients if client.have == SIZE and not client.wrong]
    resumed = [client for client in whole if len(client.hosts) > 1]
    print(f"{victim.name} {'was cut off' if cut else 'was killed'} in the middle of {CLIENTS} downloads")
    print(f"{len(resumed)} were resumed by Range on another host")
    print(f"{len(whole)} of {CLIENTS} are whole: {len(whole) * SIZE} bytes compared")
    for name, said in moved.items():
        print(f"{name}: {said}")
    return 0 if len(whole) == CLIENTS and resumed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cut", action="store_true", help="cut the cable of the host, in place of killing it")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        # Namespaces of our own, for the network, for the names that `ip netns` gives, and for the processes: those
        # that are left end with this one, however it ends.
        own = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp(own[0], [*own, sys.executable, __file__, "--inside", *sys.argv[1:]])
    Path("/run/netns").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "names", "/run/netns"], check=True)
    ip("link", "set", "lo", "up")
    with tempfile.TemporaryDirectory(prefix="gzc-failover-") as work:
        return scene(options.cut, Path(work))


if __name__ == "__main__":
    sys.exit(main())
