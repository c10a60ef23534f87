"""What a running process asks of the kernel, told by strace.

Rule: nothing is believed that strace did not print; an unreadable line is an error, not a zero.
"""

import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from ._lacks import lacking, strace
from ._server import PATIENCE, Log

USER_SPACE = (
    *("read", "readv", "pread64", "preadv", "preadv2", "recvfrom", "recvmsg"),
    *("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"),
)
KERNEL = ("sendfile", "splice", "copy_file_range", "tee", "vmsplice")
HUB = ("epoll_wait", "epoll_pwait", "epoll_pwait2")  # here the hub looks whether anybody else has work

# "4711  read(7, ..., 8192) = 8192" and "4711  <... read resumed>..., 8192) = 8192"
CALL = re.compile(r"\d+\s+(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)\) += (-?\d+)(?: (E\w+))?")
NO_CALL = re.compile(r"<unfinished \.\.\.>$|^\d+\s+(---|\+\+\+) |<detached \.\.\.>$| = \?")


class Strace:
    """`with Strace(pid) as trace:`, then `trace.returned["sendfile"]`: what each successful call returned."""

    def __init__(self, pid: int) -> None:
        self.returned: dict[str, list[int]] = {name: [] for name in (*USER_SPACE, *KERNEL, *HUB)}
        self.refused: Counter[tuple[str, str]] = Counter()
        self.held_back: list[int] = []
        """What each send with MSG_MORE took: the kernel joins it to what comes next."""
        self.most_asked = 0
        """The greatest count in one sendfile."""
        self.longest_turn = 0
        """The most bytes by sendfile between two looks of the hub at its events."""
        self._turn = 0
        self._pid = pid

    def bytes(self, *names: str) -> int:
        return sum(sum(self.returned[name]) for name in names)

    @property
    def of_files(self) -> int:
        """Bytes of files that were sent below: by sendfile(2), or by splice(2) into a pipe and out of it where the page
        cache has lost them meanwhile."""
        return self.bytes("sendfile") + self.bytes("splice") // 2

    @property
    def user_space(self) -> int:
        """Bytes that crossed the border between kernel and process, in either direction."""
        return self.bytes(*USER_SPACE)

    def __enter__(self) -> "Strace":
        self._output = Path(tempfile.mkdtemp(prefix="gzc-strace-"), "calls")
        names = ",".join(f"?{name}" for name in self.returned)
        self._process = subprocess.Popen(
            [strace(), "-f", "-s", "0", "-e", f"trace={names}", "-o", str(self._output), "-p", str(self._pid)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._process.stderr is not None
        log = Log(self._process.stderr)
        try:
            log.wait_for(" attached")
        except AssertionError:
            self._end()
            if any("not permitted" in line or "denied" in line for line in log.lines):
                lacking(f"strace may not attach here: {log.lines}")
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        lines = self._end()
        if exc_info[0] is None:
            for line in lines:
                self._book(line)

    def _end(self) -> list[str]:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            lines = self._output.read_text().splitlines() if self._output.exists() else []
            shutil.rmtree(self._output.parent)
        return lines

    def _book(self, line: str) -> None:
        call = CALL.match(line)
        if call is None:
            assert NO_CALL.search(line), line
            return
        name, result, error = call[1] or call[2], int(call[4]), call[5]
        if error is not None:
            self.refused[name, error] += 1
        else:
            self.returned[name].append(result)
        if "MSG_MORE" in call[3]:
            self.held_back.append(result)
        if name == "sendfile":
            self.most_asked = max(self.most_asked, int(call[3].rsplit(",", 1)[1]))
            self._turn += max(result, 0)
            self.longest_turn = max(self.longest_turn, self._turn)
        elif name in HUB:
            self._turn = 0
