"""Remedies against lost, doubled and misdirected bytes, and what stands there without each: ``make mutations``.

A mutant names a function, finds one place in its syntax tree, and puts something else there: how the code is laid out,
and in which file, is no matter. It takes away one remedy whole, as somebody might who does not see what it is for. The
tests named are those that are there for it; that some other test fails as well proves nothing.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

#: Where the functions are.
PACKAGES = ("gzc", "monkey")
TESTS = Path(__file__).resolve().parents[1]


class Mutant(NamedTuple):
    """``name`` is the remedy.

    ``old`` is an expression or statements of ``function`` (``Class.method``, ``outer.inner``, and ``module.function``
    where a name is not enough), ``new`` what stands there without the remedy; ``modules`` and ``words`` choose the
    tests.
    """

    name: str
    function: str
    old: str
    new: str
    modules: str
    words: str

    @property
    def tests(self) -> tuple[str, ...]:
        """Arguments of pytest."""
        files = (next(TESTS.rglob(f"test_{module}.py")) for module in self.modules.split())
        return (*(str(file.relative_to(TESTS.parent)) for file in files), "-k", self.words)


class Misplaced(Exception):
    """A mutant whose function or place is not there, or not alone."""


def mutated(mutant: Mutant, root: Path) -> tuple[Path, str]:
    """The file of ``root`` that ``mutant`` is about, and its text without the remedy."""
    found = []
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        if path.is_relative_to(root / "gzc" / "monkey"):  # a link to monkey/
            continue
        module = ast.parse(path.read_text(encoding="utf-8"))
        names = mutant.function.split(".")
        names = names[1:] if names[0] == path.stem else names
        found += [(path, module, function) for function in _functions(module, names)]
    if len(found) != 1:
        raise Misplaced(f"{len(found)} functions are called {mutant.function}")
    path, module, function = found[0]
    change = _Change(mutant.old, mutant.new)
    change.visit(function)
    if change.places != 1:
        raise Misplaced(f"{change.places} places in {mutant.function} are {mutant.old!r}")
    return path, ast.unparse(ast.fix_missing_locations(module)) + "\n"


def _functions(node: ast.AST, names: list[str]) -> list[ast.AST]:
    """What ``names`` leads to below ``node``, level by level."""
    if not names:
        return [node]
    below: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef)):
            below += _functions(child, names) if isinstance(child, ast.stmt) else []
        elif child.name == names[0]:
            below += _functions(child, names[1:])
    return below


class _Change(ast.NodeTransformer):
    """Puts ``new`` in each place that is ``old``."""

    def __init__(self, old: str, new: str) -> None:
        self._said, self._new = list(map(ast.dump, ast.parse(old).body)), ast.parse(new).body
        self.places = 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._statements(value)
        return super().generic_visit(node)

    def _statements(self, body: list[ast.stmt]) -> None:
        said, length = list(map(ast.dump, body)), len(self._said)
        for begin in range(len(body) - length + 1):
            if said[begin : begin + length] == self._said:
                body[begin : begin + length] = self._new or [ast.Pass()]
                self.places += 1
                return

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and self._said == [ast.dump(ast.Expr(node))]:
            self.places += 1
            (new,) = self._new
            assert isinstance(new, ast.Expr)
            return new.value
        visited: ast.AST = super().visit(node)
        return visited


MUTANTS = (
    # -- ends that are none ------------------------------------------------------------------------------------------
    Mutant(
        "a 0 of splice is confirmed by a read (D1)",
        "SpliceStream._fill",
        "answer == 0 or (answer == syscalls.AGAIN and self.waited_for is self.reader and self.reader.ready())",
        "answer == syscalls.AGAIN and self.waited_for is self.reader and self.reader.ready()",
        *("pipes", "d1_urgent"),
    ),
    Mutant(
        "an EAGAIN of splice from a ready socket is confirmed by a read (D2)",
        "SpliceStream._fill",
        "answer == 0 or (answer == syscalls.AGAIN and self.waited_for is self.reader and self.reader.ready())",
        "answer == 0",
        *("pipes", "d2_urgent"),
    ),
    Mutant(
        "a 0 of sendfile is confirmed by a read (F4)",
        "FromFile.end",
        "not self.reader.has_byte_at(self._offset)",
        "True",
        *("sendfile_cases", "f4_a_zero_is_not or f1_f2"),
    ),
    Mutant(
        "a 0 of splice from a cold file is confirmed by a read (F4)",
        "SpliceColdFile._fill",
        "answer == 0 and reader.has_byte_at(self._next)",
        "False",
        *("disk", "c1_f3_f4"),
    ),
    # -- numbers of descriptors --------------------------------------------------------------------------------------
    Mutant(
        "a socket's descriptor is asked for again (O15, O16)",
        "StreamSource.__init__",
        "sock.fileno",
        "(lambda number: lambda: number)(sock.fileno())",
        *("machine", "o15_a_socket"),
    ),
    Mutant(
        "a file's descriptor is asked for again (O15)",
        "FileReader.__init__",
        "file.fileno",
        "(lambda number: lambda: number)(file.fileno())",
        *("sendfile_cases", "o15_nothing"),
    ),
    Mutant(
        "a pipe's descriptor is asked for again (O15)",
        "_FifoEnd.__init__",
        "obj.fileno",
        "(lambda number: lambda: number)(obj.fileno())",
        *("machine", "o15_a_pipe or o16_nothing"),
    ),
    Mutant(
        "waiting is done on the socket's own watcher (G2)",
        "wait",
        "sock._wait(watcher)",
        "get_hub().wait(get_hub().loop.io(sock.fileno(), _EVENT[direction]))",
        *("sendfile_cases", "g2_ or g3_a_wait"),
    ),
    Mutant(
        "what a thread read by a number that has changed hands is thrown away (G1)",
        "SpliceColdFile._fill",
        "reader.still_has(fd)",
        "",
        *("disk", "closed_while_its_job_waits"),
    ),
    # -- what is in a pipe -------------------------------------------------------------------------------------------
    Mutant(
        "what a pipe holds is taken out before it is given back (D7, D9)",
        "SpliceStream.close",
        "held = pipe.drain()",
        "held = b''",
        *("pipes", "d7_ or d6_ or d9_the_sink"),
    ),
    Mutant(
        "a pipe with bytes in it that nobody has counted does not reach the next client (D7)",
        "transit_pipe.take",
        "pipe.user is user or not syscalls.unread(pipe.reader)",
        "True",
        *("machine", "d7_a_pipe"),
    ),
    Mutant(
        "a pipe that somebody else had meanwhile is asked again (D7)",
        "transit_pipe.take",
        "pipe.user = user",
        "pipe.user = pipe.user or user",
        *("machine", "d7_a_pipe"),
    ),
    Mutant(
        "a pipe nobody is sure of does not get into the pool (D7)",
        "SpliceStream.close",
        "exact",
        "True",
        *("machine", "d7_a_pipe"),
    ),
    Mutant(
        "what a mover that declines hands back is delivered (D9)",
        "Transfer._run_plan",
        "self._go_on(source, writer)\nif not movers:\n"
        "    error = OSError(declined.number, os.strerror(declined.number)) if declined.number else None\n"
        "    if self.moved and error:\n        raise error from None\n    raise NotZeroCopyError(why) from error",
        "self._held = None",
        *("pipes", "d9_"),
    ),
    Mutant(
        "what came before a reset goes first (D13)",
        "SpliceStream._gather",
        "self.behind = answer",
        "",
        *("pipes", "came_before_an_error"),
    ),
    Mutant(
        "a reset behind bytes outlives the mover (D13)",
        "Transfer._run_mover",
        "self._refusal = mover.behind",
        "",
        *("pipes", "reset_behind_bytes"),
    ),
    Mutant(
        "a limit holds over all runs (X5)",
        "Transfer.run",
        "given.after(before) if before else given",
        "given",
        *("resume", "limit_holds"),
    ),
    Mutant(
        "an end is described when a run begins",
        "Transfer.run",
        "describe_source(self._src)",
        "self.plan.source",
        *("resume", "is_gone"),
    ),
    Mutant(
        "a descriptor is closed once, whatever strikes",
        "TransitPipe.close",
        "while self._open: _close_popped(self._open)",
        "_close_popped(list(self._open))\n_close_popped([self.writer])",
        *("handlers", "closed_once"),
    ),
    # -- who may be bypassed -----------------------------------------------------------------------------------------
    Mutant(
        "a subclass that overrides takes the consent back (O9)",
        "Vouch.override",
        "not vars(derived).keys().isdisjoint(methods)",
        "False",
        *("consent", "subclass_that_overrides or socket_that_overrides"),
    ),
    Mutant(
        "an instance that overrides takes the consent back (O9)",
        "Vouch.override",
        "own.keys() & methods",
        "set()",
        *("consent", "override_on_the_instance"),
    ),
    Mutant(
        "a patched class loses the consent (O9)",
        "Vouch._patched",
        "now is not method and (method is None or below_seam(now) is not method)",
        "False",
        *("consent", "patched_after_import or patching_a"),
    ),
    Mutant(
        "who overrides the position or the descriptor is not bypassed (R9)",
        "Vouch.override",
        "not vars(derived).keys().isdisjoint(methods)",
        "not vars(derived).keys().isdisjoint(methods - {'tell', 'seek', 'seekable', 'fileno', 'flush'})",
        *("positions", "takes_the_consent_back"),
    ),
    Mutant(
        "a method put into a class of delegates is an override (R9)",
        "Vouch._patched",
        "self.cls.__mro__[:-1]",
        "()",
        *("positions", "takes_the_consent_back and patched"),
    ),
    Mutant(
        "a buffer above an unknown raw object is not bypassed (O7)",
        "_buffered.below",
        "type(raw) is io.FileIO and vars(raw).keys() <= _NAMED",
        "isinstance(raw, io.IOBase)",
        *("consent", "tarfile or buffered_file_over"),
    ),
    Mutant(
        "TLS is known by its methods, and never bypassed (O10, P9)",
        "Vouch.override",
        "cls.__mro__[: cls.__mro__.index(self.cls)]",
        "()",
        *("consent", "tls_is_never"),
    ),
    Mutant(
        "records are no stream (D4, D5)",
        "waiting.family_and_type",
        "native.type & _TYPE",
        "1",
        *("pipes", "d4_d5"),
    ),
    # -- places in files ---------------------------------------------------------------------------------------------
    Mutant(
        "a file opened with O_APPEND is written by write alone (C3)",
        "file_sinks.sink_below",
        "AppendSink if flags & os.O_APPEND else FileSink",
        "FileSink",
        *("sendfile_cases", "c3_c4"),
    ),
    Mutant(
        "a file is not copied onto itself by the kernel (C11)",
        "FileToFile.__init__",
        "self.reader.identity == self.writer.identity",
        "False",
        *("routes", "c10 or c11 or c12 or itself"),
    ),
    Mutant(
        "the place of a piece is taken by one step of the kernel (R8, M26)",
        "FileRegion.reserve",
        "syscalls.advance(file.fileno(), count, self.end)",
        "self.end.append(file.tell() + count); file.seek(self.end[0])",
        *("shared_offsets", "one_step"),
    ),
    Mutant(
        "what others have written to the object goes before a piece (B16)",
        "FileRegion.reserve",
        "file.flush()",
        "",
        *("disk", "others_write_meanwhile or read_ahead"),
    ),
    Mutant(
        "what the pool wrote in part is filled in first (B16)",
        "FileRegion.next",
        "not left",
        "True",
        *("disk", "others_write_while"),
    ),
    Mutant(
        "what was taken and not written is given back (R8)",
        "FileRegion.settle",
        "syscalls.advance(self._file.fileno(), -left, now)",
        "now = [self.end[0] - left]",
        *("shared_offsets", "full"),
    ),
    Mutant(
        "a resumed run fills its place first (B16)",
        "Transfer._run",
        "writer.region = before.region",
        "",
        *("disk", "in_the_queue"),
    ),
    Mutant(
        "a duplicate of a file that is no longer below is not written to (R8)",
        "FileWriter._look_again",
        "self._duplicate is not None and self.lent_another()",
        "False",
        *("shared_offsets", "rotated"),
    ),
    Mutant(
        "a file is left at its logical position (O1)",
        "FileReader.passed",
        "self.file.seek(self.offset + self._told + count)",
        "",
        *("copy", "logical_position or goes_on_where"),
    ),
    Mutant(
        "a file from which a range was taken first goes back to what was delivered (R8)",
        "FileReader.settle",
        "self.file.seek(self.offset)",
        "",
        *("routes", "c8_the_truth"),
    ),
    # -- counts ------------------------------------------------------------------------------------------------------
    Mutant(
        "one transfer for each end and direction (B16)",
        "claims.take",
        "end.exclusive and _claims.setdefault((id(end.obj), end.direction), token) is not token",
        "False",
        *("sendfile_cases", "b16_a_second"),
    ),
    Mutant(
        "both ends stay claimed while bytes are in flight",
        "Transfer._run",
        "if self._held is None: self._release()",
        "self._release()",
        *("interruption", "stay_claimed"),
    ),
    Mutant(
        "a limit counts by what was consumed (D6, X5)",
        "Transfer._settle",
        "moved + self._held.left",
        "moved",
        *("wrappers", "counts_by_what_was_consumed"),
    ),
    Mutant(
        "a count that a signal handler hid is not trusted (M22)",
        "Mover.moved_before",
        "return None",
        "return 0",
        *("interruption", "signal_between or signal_after"),
    ),
    Mutant(
        "what our pipe holds after a strike is asked of the pipe (M22)",
        "SpliceStream.moved_before",
        "held = syscalls.unread(pipe.reader)",
        "held = pipe.held",
        *("pipes interruption", "signal or storm or strike"),
    ),
    Mutant(
        "a signal handler's OSError is no refusal of the kernel (M22)",
        "syscalls.answer",
        "below is not None and below.tb_frame.f_code is not unavailable.__code__",
        "False",
        *("handlers", "kernels_word"),
    ),
    Mutant(
        "a result of the pool is booked once (M22)",
        "FileWriter.write",
        "self.region.written += max(taken, 0)\nself.job = None",
        "self.region.written += max(taken, 0)",
        *("disk", "booked_once"),
    ),
    Mutant(
        "what lies above the descriptor goes first (D12)",
        "Transfer._run_plan",
        "source.heads",
        "False",
        *("pipes", "d12_"),
    ),
    Mutant(
        "what the sink has still to write goes first (O4)",
        "Transfer._run_plan",
        "writer.flush()",
        "",
        *("pipes", "d12_"),
    ),
    Mutant(
        "EIO and EPIPE are never hidden behind another way (C8, L11, P3)",
        "Mover.refused",
        "self.declines.get(-answer)",
        "{errno.EIO: '', errno.EPIPE: '', **self.declines}.get(-answer)",
        *("sendfile_cases", "l11_m3"),
    ),
    # -- seams -------------------------------------------------------------------------------------------------------
    Mutant(
        "the head of a pipelined request is put back (D12)",
        "_cut",
        "holder.buf.write(data[count:])",
        "",
        *("described_bodies", "spliced_and or next_request or exact_after"),
    ),
    Mutant(
        "a body's length counts down (O13)",
        "_body.settle",
        "reader.length -= count",
        "",
        *("described_bodies", "spliced_and or next_request or exact_after"),
    ),
    Mutant(
        "a chunk's size is no claim (R3)",
        "_chunks",
        "not left or not source.size_is_reliable()",
        "not left",
        *("wire_sizes", "framing"),
    ),
    Mutant(
        "what a block has beyond a chunk is the next chunk's",
        "_Blocks.take",
        "self._kept, block = (block[left:], block[:left])",
        "block = block[:left]",
        *("wsgi_seams", "every_byte"),
    ),
    Mutant(
        "what an application writes between two blocks counts (R1)",
        "pywsgi._left.left",
        "max(0, end - int(handler.response_length))",
        "end",
        *("wsgi_seams", "between_two"),
    ),
)
