"""The hard cases: where such code loses bytes, hangs, or changes what it should not; and the facts behind the code.

docs/hard-cases.md and docs/facts.md are made of them:

    python -m tests._hard_cases

Tests name the ids in their names or docstrings; which of them must be named, test_catalogue.py says.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """What happens, and what gzc must do about it."""

    situation: str
    right: str


FAMILIES = {
    "D": "Silent loss, and an end that is none",
    "B": "EAGAIN, blocking, fairness",
    "C": "copy_file_range",
    "F": "sendfile",
    "L": "splice, pipes and their limits",
    "O": "Python objects: the descriptor is not the stream",
    "G": "gevent, threads, cancellation",
    "X": "The protocol of copies",
    "P": "Patches",
    "N": "Networks",
    "R": "Found by use",
}

CASES = {
    # -- silent loss ---------------------------------------------------------------------------------------------
    "D1": Case(
        "splice stops before tcp urgent data, and answers 0 if the peer has sent FIN: the rest is lost without a word.",
        "A 0 is confirmed by one plain read.",
    ),
    "D2": Case(
        "The same on an open connection: EAGAIN while poll says that the socket is readable. A loop on it spins.",
        "An EAGAIN of a source that was waited for and is ready is confirmed by one plain read.",
    ),
    "D3": Case("FIONREAD of a tcp socket counts up to the urgent mark only.", "It is asked of pipes alone."),
    "D4": Case(
        "splice cuts a datagram to the room in the pipe, and a datagram of no bytes looks like the end.",
        "Only SOCK_STREAM goes below.",
    ),
    "D5": Case("SOCK_SEQPACKET is 5, and 5 & SOCK_STREAM is true.", "Types are compared, not tested by bits."),
    "D6": Case(
        "The sink dies while the pipe holds bytes that were taken from the source.",
        "Consumed and delivered are counted apart; limits count what was consumed; the bytes stay with the transfer.",
    ),
    "D7": Case(
        "A greenlet is killed while the pipe holds bytes, and the pipe goes back to a pool.",
        "Only a pipe that is known to be empty is given back, and one that changes hands is asked.",
    ),
    "D8": Case(
        "The source has ended while the pipe still holds bytes.", "Half-close comes after the last byte was delivered."
    ),
    "D9": Case(
        "The sink refuses (EINVAL, ENOSYS ...) when the bytes are in the pipe already.",
        "They are read back and delivered by the next mover.",
    ),
    "D10": Case(
        "A forked child has the parent's pipes, claims and transfers.",
        "The child closes and forgets them; a transfer belongs to the process that made it; pipes are close-on-exec.",
    ),
    "D11": Case("Descriptors sent over a unix socket (SCM_RIGHTS) are dropped by splice, as by recv.", "Documented."),
    "D12": Case(
        "Bytes lie in a buffer above the descriptor: a makefile, a parser, a pipelined request.",
        "They go first; what is too much is put back.",
    ),
    "D13": Case(
        "ECONNRESET is reported once, perhaps while the pipe is filled.", "What came before it is delivered first."
    ),
    # -- EAGAIN and blocking -------------------------------------------------------------------------------------
    "B1": Case(
        "EAGAIN of splice means that the source is empty or that the pipe is full.",
        "Bytes that the pipe holds are delivered before it is filled: one cause.",
    ),
    "B2": Case(
        "A pipe is full when its slots are, not its bytes.", "No room is computed; any short count is accepted."
    ),
    "B3": Case(
        "sendfile on a non-blocking socket goes on for as long as the peer drains.", "One call moves at most a chunk."
    ),
    "B4": Case("A loop that never sees EAGAIN starves other greenlets.", "All transfers of a hub share a budget."),
    "B5": Case(
        "gevent.sleep(0) runs up to 50 callbacks before it looks at sockets and timers.", "Yield through the loop."
    ),
    "B6": Case(
        "SPLICE_F_NONBLOCK is about pipes; a descriptor in blocking mode still blocks the hub.",
        "Such a descriptor is polled first, and written no more than it surely has room for.",
    ),
    "B7": Case(
        "A splice that waits for storage, a terminal or a blocking socket holds the mutex of the pipe.",
        "Somebody else's pipe is never in the hands of a call that may wait.",
    ),
    "B8": Case("A file is always ready, and a cold page waits for the disk.", "Not cached: in a thread."),
    "B9": Case("Writing to a file waits when too many pages are dirty.", "Between files: in a thread, or a little."),
    "B10": Case(
        "The EAGAIN is the file system's (FUSE, GPFS) while the sink is ready.",
        "After a few of them another mover takes over; nobody spins.",
    ),
    "B11": Case("A full pipe as sink, which cannot be polled.", "Its own watcher, or its own methods."),
    "B12": Case("sendfile into a pipe in blocking mode blocks.", "Into pipes it is splice."),
    "B13": Case("Between two ends of others EAGAIN has two possible causes.", "poll tells which of them is not ready."),
    "B14": Case("A regular file cannot be waited for.", "It never is."),
    "B15": Case("A full non-blocking socket must answer EAGAIN at once.", "Tested."),
    "B16": Case(
        "Two transfers on one end steal each other's bytes without an error.",
        "One transfer for each end and direction; others are refused before a byte moves.",
    ),
    # -- copy_file_range -----------------------------------------------------------------------------------------
    "C1": Case("copy_file_range answers 0 with content present: /proc, FUSE.", "A 0 is confirmed by one plain read."),
    "C2": Case("EXDEV between two file systems.", "Another way for this pair, and nothing is remembered."),
    "C3": Case("A sink opened with O_APPEND is refused: EBADF, EINVAL.", "It is written by write."),
    "C4": Case("O_APPEND is set behind Python's back, also during a copy.", "The descriptor is asked, at each copy."),
    "C5": Case("ENOSYS: an old kernel, a sandbox.", "Another way, and it is remembered."),
    "C6": Case(
        "EPERM of a sandbox, or of a file that may not be written.",
        "It is remembered only if a call with descriptors that cannot exist is refused, too.",
    ),
    "C7": Case("EOPNOTSUPP, EACCES and others of network file systems.", "Another way from the same offset."),
    "C8": Case("After EIO another way may read zeros from the page cache.", "EIO, ENOSPC and their kin are the truth."),
    "C9": Case("An error of these after progress.", "Another way goes on from where it stopped."),
    "C10": Case("Overlapping ranges of one file: EINVAL.", "Not by the kernel."),
    "C11": Case("A file that is copied onto its own end grows for ever.", "Not by the kernel; as read and write do."),
    "C12": Case("sendfile within one file is allowed, and overlaps.", "Not by the kernel."),
    "C13": Case("One call moves at most 0x7ffff000 bytes.", "Counts stay below it."),
    "C17": Case("A swap file as source: ETXTBSY.", "Another way."),
    "C18": Case(
        "A file system that copies wrongly (OpenZFS 2.1 and 2.2).", "A switch for each mechanism: GZC_DISABLE."
    ),
    "C20": Case("Short counts.", "Nothing is compared with what was asked for."),
    "C21": Case(
        "ENOSPC, EFBIG: a short count first, then the error.", "The error, with an exact count and both positions."
    ),
    "C22": Case("An encrypted folder to one that is not.", "As read and write."),
    "C24": Case("Kernels before 5.3 are broken in several ways.", "It is not called there."),
    # -- sendfile ------------------------------------------------------------------------------------------------
    "F1": Case("Sources that sendfile refuses: parts of /proc, devices.", "Try, and go another way on EINVAL."),
    "F2": Case("A size of 0 with content.", "A size of 0 proves nothing."),
    "F3": Case("A size that is too large: sysfs, FUSE.", "The end is where the bytes end; see R3, X4."),
    "F4": Case("sendfile answers 0 and read answers bytes: FUSE with direct_io.", "A 0 is confirmed by a read."),
    "F5": Case("The file is truncated meanwhile.", "The copy ends; a promised length is R1's and X4's."),
    "F6": Case("The file grows meanwhile.", "To its end, as read would."),
    "F7": Case(
        "Pages are shared: what is written to the file later may show in what was sent and not read yet.",
        "Accepted for sockets and documented; not for pipes reached through shutil.",
    ),
    "F8": Case("More is asked for than there is, and old kernels hold the tail back.", "No more than there is."),
    "F9": Case("Headers by send and a small body behind them: 40 ms of a delayed acknowledgement.", "In one segment."),
    "F10": Case(
        "A signal handler raises after the call has moved bytes.",
        "The transfer says that it is not exact, and is not resumed.",
    ),
    "F11": Case("SIGPIPE, where the program does not ignore it.", "As send does."),
    "F12": Case("EPIPE, ENOTCONN, ECONNRESET of sockets.", "They are raised; the source is where it was delivered."),
    "F13": Case("O_DIRECT wants aligned lengths, offsets and memory.", "Whole pages, in a thread; written by itself."),
    "F14": Case("A count of 0.", "No call at all."),
    "F15": Case("32-bit machines.", "Counts that fit."),
    "F16": Case(
        "Whether the file's own offset moves depends on the argument.", "Explicit offsets, and the position is set."
    ),
    "F17": Case("ENODATA of Lustre; EIO in the middle.", "The first is another way's turn, the second is raised."),
    # -- pipes ---------------------------------------------------------------------------------------------------
    "L1": Case("A user's pipes are limited: then new ones have two pages.", "They are not used."),
    "L2": Case("A pipe does not get the size it is asked for.", "The real one counts."),
    "L3": Case("EMFILE, ENFILE.", "Through user space, and no descriptor is left open."),
    "L5": Case("Idle pipes keep memory.", "The pool is bounded."),
    "L6": Case("SPLICE_F_MORE holds a tail back for 200 ms.", "It is never set."),
    "L7": Case("Old kernels take a count beyond the pipe's content for MORE.", "Exactly what is in it."),
    "L8": Case("Without SPLICE_F_NONBLOCK old kernels hang.", "It is always set."),
    "L10": Case("Without a pipe between them an error may be either end's.", "There is one."),
    "L11": Case("A later EIO or ENOSPC is hidden by another way.", "Never."),
    "L12": Case("Offsets for pipes and sockets are refused.", "For files alone."),
    "L14": Case("A reset after bytes: bytes, then the error, then 0.", "In this order, and the 0 is no success."),
    "L15": Case("Between files through a pipe pages are shared (F7).", "Copied, not gifted."),
    "L16": Case("A sandbox that forbids splice.", "Another way, and it is remembered."),
    # -- objects -------------------------------------------------------------------------------------------------
    "O1": Case("After a read the descriptor is ahead of the object.", "The position is tell()'s."),
    "O2": Case("gunicorn asks the descriptor for its position.", "The object is asked."),
    "O3": Case("Without an offset sendfile begins where the descriptor is.", "Always with one."),
    "O4": Case("Unflushed writes.", "They go first."),
    "O5": Case("r+b: read, seek, and the kernel writes elsewhere.", "Flushed, and written at tell()."),
    "O6": Case("lseek behind a buffered object.", "The object seeks."),
    "O7": Case(
        "A fileno() that lies: GzipFile, chunked HTTPResponse, SSLSocket.", "A type vouches, or its methods are used."
    ),
    "O8": Case("SpooledTemporaryFile.fileno() rolls over to disk.", "It is not asked."),
    "O9": Case("A subclass or an instance overrides a method.", "It is called."),
    "O10": Case("SSLSocket is a socket with a descriptor.", "Bytes go through its methods, never below."),
    "O11": Case("A mode says little.", "The descriptor and the type are asked."),
    "O12": Case("A file in append mode.", "It appends, and tell() is right."),
    "O13": Case("A response body with a length, read ahead.", "The head first, and the length counts down."),
    "O14": Case("O_NONBLOCK is shared with other holders of the open file.", "It is never changed."),
    "O15": Case("An object is closed while a copy waits.", "The descriptor is asked for again at each call."),
    "O16": Case("Its number is another file's by then.", "The same; a thread has a descriptor of its own."),
    # -- gevent --------------------------------------------------------------------------------------------------
    "G1": Case(
        "A thread goes on when its greenlet was killed, and the number is another file's.",
        "A duplicate to write to; what was read by a number that changed hands is thrown away.",
    ),
    "G2": Case("A socket is closed while a greenlet waits on it.", "Its own watcher: EBADF."),
    "G3": Case("Timeouts of sockets.", "For each wait, as in recv."),
    "G4": Case("A source is waited for while the sink has died.", "Documented."),
    "G5": Case("A socket of another thread's hub.", "Refused before a byte moves."),
    "G8": Case("Patched twice.", "Once."),
    "G9": Case("KeyboardInterrupt between a call and its count.", "See F10."),
    # -- the protocol --------------------------------------------------------------------------------------------
    "X1": Case("Hooks that call the copy that calls the hooks.", "Descriptions do not copy."),
    "X3": Case("A wrapper loses the fast path without a word.", "explain, trace and a warning tell."),
    "X4": Case(
        "A promised length is not met: the next response lands in this body.", "The connection ends with this one."
    ),
    "X5": Case("Limits within limits, of 0, beyond the end.", "The smallest counts; 0 makes no call."),
    "X6": Case("A limit inside what the socket has queued.", "The rest stays in the socket."),
    "X7": Case("An EAGAIN after the last byte.", "No call after the last byte."),
    "X8": Case("A short read is taken for the end.", "Only a confirmed 0 ends."),
    "X9": Case("Small pieces that are held back to gather.", "What came is delivered."),
    # -- patches -------------------------------------------------------------------------------------------------
    "P1": Case("socket.sendfile: CPython begins at 0, gevent at the position.", "As gevent."),
    "P2": Case("Arguments that the original refuses.", "In its words, before a byte moves."),
    "P3": Case("EPIPE at the first call is no sign that another way would do.", "It is raised."),
    "P4": Case("shutil.copyfileobj: any objects, any length, both positions.", "The same."),
    "P5": Case("shutil.copyfile in one call of the size of the file.", "Off the hub; /proc stays right."),
    "P7": Case("A file wrapper around what has no descriptor or no position.", "What read gives."),
    "P8": Case("HEAD, 204, 304, chunks.", "The server's own rules."),
    "P9": Case("TLS.", "See O10."),
    "P11": Case("A function that somebody has imported by name.", "Its code is replaced, and put back."),
    # -- networks ------------------------------------------------------------------------------------------------
    "N2": Case("The pipe is emptied in part, then EAGAIN.", "The rest goes before it is filled again."),
    # -- found by use --------------------------------------------------------------------------------------------
    "R1": Case(
        "A response longer than its promise, or without an end.",
        "Exactly the promise, next to nothing read beyond it, and no loop over an iterator without the hub.",
    ),
    "R2": Case("A tell, seek or seekable that raises.", "Whatever it raises means: not known."),
    "R3": Case("A size that is a claim as Content-Length or chunk size.", "Framing only by reliable sizes."),
    "R4": Case("A file that was opened for reading only.", "What the program may not do, gzc does not do for it."),
    "R5": Case(
        "Closing any descriptor of a file drops the process's POSIX locks.", "None is closed while one is held."
    ),
    "R6": Case("Somebody watches the folder.", "One open, one close."),
    "R7": Case("FUSE and NFS flush at each close.", "At most one flush more than without gzc."),
    "R8": Case("A child writes to the same open file.", "The place is taken by one atomic lseek before it is written."),
    "R9": Case("tell, seek, seekable or fileno are overridden.", "Its own methods are used."),
    "R10": Case("A chunk of 1 MiB is too large for uWSGI.", "At most 256 KiB."),
    "R11": Case("A progress display polls tell().", "It moves with each step."),
    "R12": Case("BytesIO.getbuffer() copies all of it, and an export forbids to resize.", "Neither."),
    "R13": Case("WebOb asks the file wrapper for app_iter_range.", "It has it."),
    "R14": Case("A class that was registered is not recognized as a response.", "Registration and dunder are equal."),
    "R15": Case("A new Python calls another private function.", "A seam that reaches nothing is not in force."),
    "R16": Case("Buffers are 128 KiB since Python 3.14.", "Nothing is made smaller."),
    "R17": Case("A refusal names the wrong object.", "The one at fault."),
}


#: What was measured or seen once, and shapes the code: Linux 6.18, gevent 26.9, CPython 3.11, two cores.
FACTS = {
    "M8": Case("sendfile and splice share pages with the file: a later write can show in what was sent.", "See F7."),
    "M9": Case(
        "In /proc, /sys and on FUSE a size is a claim; sysfs says 4096 for 23 bytes.",
        "Framing only by the size of a regular file on local storage.",
    ),
    "M12": Case(
        "In a checkout `gzc/monkey` is a link to `monkey/`: wheel, sdist and editable install work with it, and so "
        "does the checkout as the current folder.",
        "No `package_dir`.",
    ),
    "M14": Case("A wake-up costs 20 us, a call 1 us.", "Fewer and larger steps; a short retry before waiting."),
    "M16": Case(
        "A copy of 1 KiB from a file to tcp was 2,053 bytecodes, 77 Python and 74 C calls. There is no hot spot.",
        "Calls before the first system call are counted, and have a ceiling (`tests/laws/test_calls.py`).",
    ),
    "M17": Case("gevent replaces `os.close` since 25.8.", "gzc closes its own descriptors with the original."),
    "M18": Case("gevent's FileObjects keep `read` and `write` in the instance.", "Bound methods of the object below."),
    "M19": Case("In a forked child the parent's greenlets go on.", "A transfer belongs to the process that made it."),
    "M20": Case(
        "RWF_NOWAIT is refused by tmpfs and FUSE.", "Memory in the hub, what is not known in a thread, with a grace."
    ),
    "M21": Case("N transfers that may each hold the hub for 5 ms hold it for N times 5 ms.", "They share one budget."),
    "M22": Case(
        "An exception out of a signal handler lands between a call and the store of its result in 17 to 29 % of "
        "interruptions.",
        "`in_call` is set meanwhile; such a transfer is not exact, and is not resumed.",
    ),
    "M23": Case("A seam that is interrupted.", "It leaves no claim and no pipe; what was lost is logged."),
    "M24": Case(
        "Closing any descriptor of a file drops all POSIX locks of the process on it, and is a FLUSH on FUSE and NFS.",
        "No duplicate per piece, no reopening.",
    ),
    "M25": Case("F_OFD_GETLK sees locks of one's own process, in 2 to 4 us.", "So gzc knows when not to close."),
    "M26": Case(
        "lseek(fd, n, SEEK_CUR) moves a shared offset in one atomic step.",
        "A piece has its place before it is written.",
    ),
    "M27": Case(
        "From 128 KiB malloc asks the kernel: a read that asks for 256 KiB and gets 1 takes 15 us, one for 64 KiB 1.1.",
        "Reads ask for 64 KiB.",
    ),
    "M28": Case("`BytesIO.getbuffer()` copies what it shares; `getvalue()` does not.", "It is never exported."),
    "M29": Case(
        "The traceback of the kernel's error ends in the frame that made the call; a handler's goes on below it.",
        "`syscalls.answer`.",
    ),
}


def facts() -> str:
    """docs/facts.md."""
    lines = [
        "# Facts",
        "",
        "Measured or seen on Linux 6.18 with gevent 26.9 and CPython 3.11, on two cores; the code refers to them.",
        "",
        "| | fact | so |",
        "| --- | --- | --- |",
    ]
    lines += [
        f'| <a id="{name.lower()}"></a>{name} | {fact.situation} | {fact.right} |' for name, fact in FACTS.items()
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/hard-cases.md."""
    lines = [
        "# Hard cases",
        "",
        "Where such code loses bytes, hangs, or changes what it should not, and what gzc does about it.",
    ]
    for letter, title in FAMILIES.items():
        lines += ["", f"## {title}", "", "| | what happens | gzc |", "| --- | --- | --- |"]
        for name, case in CASES.items():
            if name[0] == letter:
                lines.append(f'| <a id="{name.lower()}"></a>{name} | {case.situation} | {case.right} |')
    return "\n".join(lines) + "\n"


PAGES = {"hard-cases.md": page, "facts.md": facts}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (Path(__file__).resolve().parent.parent / "docs" / name).write_text(make(), encoding="utf-8")
