"""The remedies, and what stands there without each: the rows of ``python -m tests.mutations``.

Rules of this file: a mutant takes away one remedy whole, as somebody might who does not see what it is for. The
tests named are those that are there for it; that some other test fails as well proves nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """``name`` is the remedy, ``edits`` the texts and what stands there without it, ``tests`` pytest's arguments."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def _mutant(name: str, file: str, old: str, new: str, modules: str, words: str) -> Mutant:
    paths = (f"tests/test_{module}.py" for module in modules.split(" or "))
    return Mutant(name, file, ((old, new),), (*paths, "-k", words))


MUTANTS = (
    # -- ends that are none ------------------------------------------------------------------------------------------
    _mutant(
        "a 0 of splice is confirmed by a read (D1)",
        *(
            "gzc/_through_pipe.py",
            "            if not pipe.held:\n                self._read(pipe, ask)",
            "            pass",
        ),
        *("pipes", "d1_urgent"),
    ),
    _mutant(
        "an EAGAIN of splice from a ready socket is confirmed by a read (D2)",
        "gzc/_through_pipe.py",
        "                raise\n            self._read(pipe, ask)\n",
        "                pass\n            raise\n",
        *("pipes", "d2_urgent"),
    ),
    _mutant(
        "a 0 of sendfile is confirmed by a read (F4)",
        *("gzc/_from_file.py", "if not self.source.has_byte_at(self._offset):", "if True:"),
        *("sendfile_cases", "f4_a_zero_is_not or f1_f2"),
    ),
    _mutant(
        "a 0 of splice from a cold file is confirmed by a read (F4)",
        *("gzc/_through_pipe.py", "if self.source.has_byte_at(self._next):", "if False:"),
        *("disk", "c1_f3_f4"),
    ),
    # -- numbers of descriptors --------------------------------------------------------------------------------------
    _mutant(
        "a socket's descriptor is asked for again (O15, O16)",
        "gzc/_sockets.py",
        "self.fileno = sock.fileno  #",
        "number = sock.fileno()\n        self.fileno = lambda: number  #",
        *("machine", "o15_a_socket"),
    ),
    _mutant(
        "a file's descriptor is asked for again (O15)",
        "gzc/_files.py",
        "self.fileno = obj.fileno  #",
        "number = obj.fileno()\n        self.fileno = lambda: number  #",
        *("sendfile_cases", "o15_nothing"),
    ),
    _mutant(
        "a pipe's descriptor is asked for again (O15)",
        "gzc/_pipes.py",
        "self.fileno = obj.fileno  #",
        "number = obj.fileno()\n        self.fileno = lambda: number  #",
        *("machine", "o15_a_pipe or o16_nothing"),
    ),
    _mutant(
        "waiting is done on the socket's own watcher (G2)",
        "gzc/_hub.py",
        "    sock._wait(watcher)",
        "    own = get_hub().loop.io(sock.fileno(), _EVENT[direction])\n    get_hub().wait(own)",
        *("sendfile_cases", "g2_ or g3_a_wait"),
    ),
    Mutant(
        "threads work on duplicates of the descriptors (G1)",
        "gzc/_lending.py",
        (
            ("        _syscalls.duplicate(fd, self._open)", "        self._open.append(fd)"),
            ("                _syscalls.close_popped(self._open)", "                pass"),
        ),
        ("tests/test_disk.py", "-k", "g1_a_thread"),
    ),
    # -- our pipes ---------------------------------------------------------------------------------------------------
    _mutant(
        "what a pipe holds is taken out before it is given back (D7, D9)",
        *("gzc/_through_pipe.py", "        held = pipe.drain()\n", '        held = b""\n'),
        *("pipes", "d7_ or d6_ or d9_the_sink"),
    ),
    _mutant(
        "a pipe with bytes in it that nobody has counted does not reach the next client (D7)",
        *("gzc/_pipe.py", "if pipe.user is user or not _syscalls.unread(pipe.reader):", "if True:"),
        *("machine", "d7_a_pipe"),
    ),
    _mutant(
        "a pipe that somebody else had meanwhile is asked again (D7)",
        *("gzc/_pipe.py", "            pipe.user = user\n", "            pipe.user = pipe.user or user\n"),
        *("machine", "d7_a_pipe"),
    ),
    _mutant(
        "a pipe nobody is sure of does not get into the pool (D7)",
        *(
            "gzc/_through_pipe.py",
            "        if self.unsure:\n            pipe.close()",
            "        if False:\n            pass",
        ),
        *("machine", "d7_a_pipe"),
    ),
    _mutant(
        "an idle connection holds no pipe",
        *(
            "gzc/_through_pipe.py",
            "        if pipe is not None and pipe.taken == pipe.given:\n            self._pipe = None\n",
            "        if False:\n",
        ),
        *("pipes", "idle_copy_holds"),
    ),
    _mutant(
        "pipes of two pages are not used (L1, B2)",
        *("gzc/_movers.py", "if pipe.capacity < LEAST:", "if False:"),
        *("pipes", "b1_b2 or l1_"),
    ),
    _mutant(
        "no pipe to be had is no error (L3)",
        "gzc/_movers.py",
        'raise Declined(f"no pipe to be had: {exc.strerror}", exc) from None',
        "raise",
        *("pipes", "l3_"),
    ),
    _mutant(
        "our pipes are close-on-exec (D10)",
        *("gzc/_syscalls.py", "os.O_CLOEXEC | os.O_NONBLOCK", "os.O_NONBLOCK"),
        *("machine", "d10_our"),
    ),
    _mutant(
        "splice never waits for a pipe (B6, L8)",
        "gzc/_syscalls.py",
        '_SPLICE_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)',
        '_SPLICE_FLAGS = getattr(os, "SPLICE_F_MOVE", 0)',
        *("pipes", "l6_l8"),
    ),
    # -- fork --------------------------------------------------------------------------------------------------------
    _mutant(
        "a forked child forgets the pipes (D10)",
        *("gzc/_pipe.py", "os.register_at_fork(after_in_child=_forget)", "pass"),
        *("pipes", "d10_"),
    ),
    _mutant(
        "a forked child forgets the claims (D10)",
        *("gzc/_hub.py", "    _claims.clear()\n", ""),
        *("sendfile_cases", "d10_the_child_can"),
    ),
    _mutant(
        "a greenlet that wakes up in a forked child stops (M19)",
        *("gzc/_pump.py", "if _hub.generation != born:", "if False:"),
        *("sendfile_cases", "d10_the_child_does_not"),
    ),
    _mutant(
        "a transfer runs in its own process only (D10)",
        *(
            "gzc/_transfer.py",
            "        if _hub.generation != self._born:\n            raise",
            "        if False:\n            raise",
        ),
        *("sendfile_cases", "d10_a_transfer"),
    ),
    _mutant(
        "a forked child closes what its threads had",
        *("gzc/_lending.py", "os.register_at_fork(after_in_child=_forked)", "pass"),
        *("pool_strikes", "forked_child"),
    ),
    # -- consent -----------------------------------------------------------------------------------------------------
    _mutant(
        "a subclass that overrides takes the consent back (O9)",
        "gzc/_consent.py",
        "if not vars(derived).keys().isdisjoint(methods):",
        "if False:",
        *("consent", "subclass_that_overrides or socket_that_overrides"),
    ),
    _mutant(
        "an instance that overrides takes the consent back (O9)",
        *("gzc/_consent.py", "names = own.keys() & methods", "names = set()"),
        *("consent", "override_on_the_instance"),
    ),
    _mutant(
        "a patched class loses the consent",
        *(
            "gzc/_consent.py",
            "if now is not method and (method is None or _below_seam(now) is not method):",
            "if False:",
        ),
        *("consent", "patched_after_import or patching_a"),
    ),
    _mutant(
        "who overrides the position or the descriptor is not bypassed (R9)",
        "gzc/_consent.py",
        '("tell", "seek", "seekable", "fileno", "flush", "__getattribute__", "__class__")',
        '("__getattribute__", "__class__")',
        *("positions", "takes_the_consent_back"),
    ),
    _mutant(
        "a method put into a class of delegates is an override (R9)",
        "gzc/_consent.py",
        "        if self.absent:\n",
        "        if False:\n",
        *("positions", "takes_the_consent_back and patched"),
    ),
    _mutant(
        "a flag among an object's attributes is no method",
        *("gzc/_consent.py", "if type(method) is not bool and not", "if not"),
        *("wsgi_seams", "range"),
    ),
    _mutant(
        "an exception says nothing where only a refusal is asked for (R2)",
        *(
            "gzc/_opaque.py",
            "        return ask() is True\n    except Exception:",
            "        return ask() is True\n    except OSError:",
        ),
        *("foreign_files", "copy_needs"),
    ),
    _mutant(
        "what was refused before is not named for what declines by itself (R17)",
        "gzc/_consent.py",
        '        self.refusal = ""\n        described =',
        "        described =",
        *("refusals", "was_refused_before"),
    ),
    _mutant(
        "a buffer above an unknown raw object is not bypassed (O7)",
        *(
            "gzc/_classify.py",
            "if type(raw) is io.FileIO and vars(raw).keys() <= _NAMED:",
            "if isinstance(raw, io.IOBase):",
        ),
        *("consent", "tarfile or buffered_file_over"),
    ),
    _mutant(
        "TLS is known by its methods, and never bypassed (O10, M9)",
        *("gzc/_consent.py", "for derived in cls.__mro__[: cls.__mro__.index(self.cls)]:", "for derived in ():"),
        *("consent", "tls_is_never"),
    ),
    _mutant(
        "makefile above TLS is not bypassed (O10, M9)",
        "gzc/_classify.py",
        "        vouch = register.vouch(sock)\n",
        "        vouch = register.find(type(sock))\n",
        *("machine", "m9_"),
    ),
    _mutant(
        "records are no stream (D4, D5)",
        *("gzc/_sockets.py", "return kind == SOCK_STREAM and", "return bool(kind & SOCK_STREAM) and"),
        *("pipes", "d4_d5"),
    ),
    _mutant(
        "a file opened with O_APPEND is written by write alone (C3)",
        *("gzc/_file_sinks.py", "(AppendSink if flags & os.O_APPEND else FileSink)", "(FileSink)"),
        *("sendfile_cases", "c3_c4"),
    ),
    _mutant(
        "a file opened with O_DIRECT is read by whole blocks (F13)",
        *("gzc/_files.py", "(DirectSource if flags & O_DIRECT else FileSource)", "FileSource"),
        *("sendfile_cases", "f13_"),
    ),
    _mutant(
        "a file is not copied onto itself by the kernel (C11)",
        *("gzc/_from_file.py", "if self.source.identity == self.sink.identity:", "if False:"),
        *("routes", "c10 or c11 or c12 or itself"),
    ),
    # -- the hub -----------------------------------------------------------------------------------------------------
    _mutant(
        "the hub's turn has a budget (B4)",
        *("gzc/_pump.py", "                if turn.over(now):", "                if False:"),
        *("sendfile_cases", "b3_b4_b5 or b4_"),
    ),
    _mutant(
        "a yield goes through the loop (B5)",
        *(
            "gzc/_pump.py",
            "                    _hub.breathe()\n",
            '                    __import__("gevent").sleep(0)\n',
        ),
        *("sendfile_cases", "b4_"),
    ),
    _mutant(
        "one call moves no more than a chunk (B3)",
        *(
            "gzc/_from_file.py",
            "        return config.chunk\n\n    def __call__",
            "        return 1 << 30\n\n    def __call__",
        ),
        *("machine", "b3_no_call"),
    ),
    _mutant(
        "what is not in the page cache is read by a thread (B8)",
        *("gzc/_from_file.py", "if not self.source.at_hand(offset, count):", "if False:"),
        *("disk", "b8_a_cold or slow_source"),
    ),
    _mutant(
        "what may wait for storage is written by a thread",
        *(
            "gzc/_file_sinks.py",
            "        return self.storage in NEVER_WAITS\n\n    def despite",
            "        return True\n\n    def despite",
        ),
        *("disk", "slow_sink"),
    ),
    _mutant(
        "a thread that hangs does not starve the others (M20)",
        *(
            "gzc/_disk.py",
            "                _lend(pool, waiting)\n                waiting.wait()",
            "                waiting.wait()",
        ),
        *("pool_strikes", "calls_beyond_the_grace"),
    ),
    _mutant(
        "an interruption gives a thread no more than its grace (M20)",
        *(
            "gzc/_disk.py",
            "            with gevent.Timeout(config.disk_grace, False):  # type: ignore[arg-type]\n",
            "            if True:\n",
        ),
        *("disk", "timeout_gets_through"),
    ),
    _mutant(
        "an EAGAIN of the file system is not waited for (B10)",
        *("gzc/_movers.py", "return self._in_vain >= PATIENCE - 1", "return False"),
        *("sendfile_cases", "b10_"),
    ),
    _mutant(
        "a pipe in blocking mode is written no more than it has room for (B6)",
        *("gzc/_pipes.py", "if os.get_blocking(fd):", "if False:"),
        *("errors", "full_pipe_is_waited"),
    ),
    # -- claims ------------------------------------------------------------------------------------------------------
    _mutant(
        "one transfer for each end and direction (B16)",
        *("gzc/_hub.py", "if _claims.setdefault(key, self) is not self:", "if False:"),
        *("sendfile_cases", "b16_a_second"),
    ),
    _mutant(
        "both ends stay claimed while bytes are in flight",
        *(
            "gzc/_transfer.py",
            "            if not self._held:\n                self._claims.release()",
            "            self._claims.release()",
        ),
        *("interruption", "stay_claimed"),
    ),
    _mutant(
        "a socket that another greenlet waits on is refused (B16)",
        *("gzc/_hub.py", "if watcher is not None and watcher.callback is not None:", "if False:"),
        *("sendfile_cases", "waits_on_the_socket"),
    ),
    # -- counts ------------------------------------------------------------------------------------------------------
    _mutant(
        "both ends are settled when it is interrupted (D6)",
        *(
            "gzc/_transfer.py",
            "            raise\n        finally:\n            if mover",
            "            raise\n        else:\n            if mover",
        ),
        *("copy", "position_after"),
    ),
    _mutant(
        "a limit counts by what was consumed (D6, X5)",
        *("gzc/_transfer.py", "source.settle(tally.moved + len(self._held))", "source.settle(tally.moved)"),
        *("wrappers", "counts_by_what_was_consumed"),
    ),
    _mutant(
        "a count that a signal handler hid is not trusted (M22)",
        *("gzc/_from_file.py", "return 0 if _syscalls.answered(exc) else self.late()", "return 0"),
        *("interruption", "signal_between or signal_after"),
    ),
    _mutant(
        "what our pipe holds after a strike is asked of the pipe (M22)",
        *("gzc/_through_pipe.py", "held = _syscalls.unread(pipe.reader)", "held = pipe.held"),
        *("pipes or interruption", "signal or storm or strike"),
    ),
    _mutant(
        "a read that can be made again never makes a count inexact",
        *("gzc/_endpoint.py", "return 0 if self.rewindable else super().despite(exc)", "return super().despite(exc)"),
        *("fuzz", "struck_by_anything"),
    ),
    _mutant(
        "what a mover that declines hands back is delivered (D9)",
        "gzc/_transfer.py",
        "                if self._held:\n                    self._deliver(sink)\n                if not movers",
        '                self._held = b""\n                if not movers',
        *("pipes", "d9_"),
    ),
    _mutant(
        "what lies above the descriptor goes first (D12)",
        *("gzc/_transfer.py", "        if source.buffered:\n", "        if False:\n"),
        *("pipes", "d12_"),
    ),
    _mutant(
        "what the sink has still to write goes first (O4)",
        *("gzc/_transfer.py", "        sink.flush()\n        if self._region", "        if self._region"),
        *("pipes", "d12_"),
    ),
    _mutant(
        "a file is left at its logical position (O1)",
        *(
            "gzc/_files.py",
            "            self._file.seek(self.offset)\n        super().settle(count)",
            "            pass\n        super().settle(count)",
        ),
        *("copy", "logical_position or goes_on_where"),
    ),
    # -- what the kernel says ----------------------------------------------------------------------------------------
    _mutant(
        "EIO is never hidden behind another way (C8, L11)",
        *("gzc/_declines.py", 'errno.EPERM: "a sandbox', 'errno.EIO: "",\n    errno.EPERM: "a sandbox'),
        *("sendfile_cases", "l11_m3"),
    ),
    _mutant(
        "EPIPE is never hidden behind another way (M3)",
        *("gzc/_declines.py", 'errno.EPERM: "a sandbox', 'errno.EPIPE: "",\n    errno.EPERM: "a sandbox'),
        *("sendfile_cases", "l11_m3"),
    ),
    _mutant(
        "EINVAL is another way's turn (F1)",
        *("gzc/_declines.py", '    errno.EINVAL: "not supported', '    -1: "not supported'),
        *("scripted_kernel", "every_decline"),
    ),
    _mutant(
        "EXDEV is another way's turn (C2)",
        *("gzc/_declines.py", "    errno.EXDEV:", "    -2:"),
        *("scripted_kernel", "every_decline"),
    ),
    _mutant(
        "EPERM is remembered only when the kernel means itself (C6)",
        *("gzc/_syscalls.py", "        if probe.errno in (errno.ENOSYS, errno.EPERM):\n", "        if True:\n"),
        *("sendfile_cases", "c6_"),
    ),
    _mutant(
        "ENOSYS is remembered (C5)",
        *("gzc/_syscalls.py", "    if error.errno not in (errno.ENOSYS, errno.EPERM):\n", "    if True:\n"),
        *("sendfile_cases", "c5_"),
    ),
    # -- tunnels and seams -------------------------------------------------------------------------------------------
    _mutant(
        "the end of one direction is passed on",
        *(
            "gzc/_tunnel.py",
            "            sink.shutdown(native.SHUT_WR)\n        except OSError as exc",
            "            pass\n        except OSError as exc",
        ),
        *("tunnel", "half_close"),
    ),
    Mutant(
        "an error in one direction ends the other",
        "gzc/_tunnel.py",
        (
            ("        gevent.killall(ways)\n        sign(exc, *struck)", "        sign(exc, *struck)"),
            ("    finally:\n        gevent.killall(ways)\n", "    finally:\n        pass\n"),
        ),
        ("tests/test_tunnel.py", "-k", "error_in_one or interruption_ends"),
    ),
    _mutant(
        "a body's client is asked to go on (100-continue)",
        *("gzc/monkey/_bodies.py", "        self._send_100_continue()\n", "        pass\n"),
        *("described_bodies", "100_continue"),
    ),
    _mutant(
        "the head of a pipelined request is put back (D12)",
        *("gzc/monkey/_bodies.py", "        holder.buf.write(data[count:])\n", ""),
        *("described_bodies", "spliced_and or next_request or exact_after"),
    ),
    _mutant(
        "a body's length counts down (O13)",
        *("gzc/monkey/_bodies.py", "        reader.length -= count\n", "        pass\n"),
        *("described_bodies", "spliced_and or next_request or exact_after"),
    ),
    _mutant(
        "a response's length counts down (O13)",
        *("gzc/monkey/_http_client.py", "            response.length -= count\n", "            pass\n"),
        *("client_downloads", "kept_alive or every or spliced or next or client"),
    ),
    _mutant(
        "a chunk is no larger than servers take (R10)",
        *("gzc/monkey/_http_client.py", "CHUNK = 256 * 1024", "CHUNK = 1024 * 1024"),
        *("wire_sizes", "no_chunk or uwsgi"),
    ),
    _mutant(
        "a chunk's size is no claim (R3)",
        *("gzc/monkey/_http_client.py", "if not left or not source.size_is_reliable():", "if not left:"),
        *("wire_sizes", "framing"),
    ),
    _mutant(
        "a member's end is no claim (R3)",
        *(
            "gzc/monkey/_tarfile.py",
            "if amount is not None and not moving.plan.source.size_is_reliable():",
            "if False:",
        ),
        *("wire_sizes", "tar"),
    ),
    _mutant(
        "a chunk that a file is too short for costs the connection (X4)",
        *("gzc/monkey/_http_client.py", "        if chunk.left:\n", "        if False:\n"),
        *("client_uploads", "cannot_be_kept"),
    ),
    _mutant(
        "a promise that cannot be kept closes the connection (X4)",
        *(
            "gzc/monkey/_gunicorn.py",
            "        response.force_close()\n        response.chunked = False\n",
            "        response.chunked = False\n",
        ),
        *("gunicorn_downloads", "truncated or x4 or shorter or shrinks"),
    ),
    _mutant(
        "a promise ends what is iterated (R1)",
        *(
            "gzc/monkey/_promises.py",
            "            if met:\n                return\n",
            "",
        ),
        *("promises", "what_is_too_much or length_bounds"),
    ),
    _mutant(
        "a promise bounds the last block (R1)",
        *(
            "gzc/monkey/_promises.py",
            "            write(block[:remaining])\n",
            "            write(block)\n",
        ),
        *("promises", "what_is_too_much or length_bounds"),
    ),
    _mutant(
        "the work behind the last yield is done (R1)",
        "gzc/monkey/_promises.py",
        "            if met:\n                return\n",
        "            return\n",
        *("promises", "last_yield"),
    ),
    _mutant(
        "a loop over what never ends gives the hub its turns (R1)",
        *("gzc/monkey/_turns.py", "    elif now >= share.deadline:\n", "    elif False:\n"),
        *("promises", "no_loop_holds or is_sent_in_turns"),
    ),
    _mutant(
        "loops share the turn of a hub (M21)",
        *("gzc/monkey/_turns.py", "    if stamp != share.stamp:\n", "    if True:\n"),
        *("promises", "loops_share"),
    ),
    _mutant(
        "what gunicorn's worker iterates ends with the promise (R1)",
        "gzc/monkey/_gunicorn_worker.py",
        "                _end(self, arg)\n",
        "                pass\n",
        *("promises", "length_bounds and gevent-generator"),
    ),
    _mutant(
        "what an application writes by itself ends no loop of the worker's (R1)",
        "gzc/monkey/_gunicorn_worker.py",
        "    if loop.f_back is not None and loop.f_back.f_code in _CATCHING:\n",
        "    if True:\n",
        *("promises", "writes_by_itself"),
    ),
    _mutant(
        "what an application writes between two blocks counts (R1)",
        *("gzc/monkey/_pywsgi.py", "return max(0, end - int(handler.response_length))", "return end"),
        *("wsgi_seams", "between_two"),
    ),
    _mutant(
        "a body that the application frames is not cut",
        *("gzc/monkey/_pywsgi.py", "    if _frames_itself(handler):\n", "    if False:\n"),
        *("wsgi_seams", "application_frames"),
    ),
    _mutant(
        "what somebody's reader gives is sent at once",
        *(
            "gzc/monkey/_wsgi.py",
            'return type(file) in _AT_HAND and type(getattr(file, "raw", None)) in _RAW and position',
            "return position",
        ),
        *("wsgi_seams", "somebodys_reader"),
    ),
    _mutant(
        "gunicorn leaves a file without a descriptor where reading left it",
        *(
            "gzc/monkey/_gunicorn.py",
            'return _wsgi.position(filelike) if sys.modules["gunicorn.util"].has_fileno(filelike) else None',
            "return _wsgi.position(filelike)",
        ),
        *("wsgi_seams", "leaves_a_file"),
    ),
    _mutant(
        "what has no position is not asked to go there (R2)",
        *("gzc/monkey/_wsgi.py", "        return False  # ``seek(None)`` is not asked", "        pass  #"),
        *("wsgi_seams", "no_position"),
    ),
    _mutant(
        "chunks of a program's own are what is saved",
        *("gzc/monkey/_saving.py", 'if not _seam.is_own(content, "django.core.files.base", "chunks"):', "if False:"),
        *("saving_seams", "programs_own"),
    ),
    _mutant(
        "a method that was put into an object is called",
        *("gzc/monkey/_seam.py", "if method.__self__ is not obj or (", "if (False or "),
        *("saving_seams", "programs_own"),
    ),
    _mutant(
        "who reads the blocks of an upload sees them (O9)",
        *(
            "gzc/monkey/_http_client.py",
            '_send_is_known(connection) and _seam.is_own(connection, "http.client", "_read_readable")',
            "_send_is_known(connection)",
        ),
        *("client_uploads", "who_wants"),
    ),
    _mutant(
        "of what a read gives too much nothing is sent (R1)",
        *("gzc/monkey/_socket.py", "                data = data[: count - sent]\n", "                pass\n"),
        *("promises", "gives_too_much"),
    ),
    _mutant(
        "a position that nobody else would ask for may be refused (R2)",
        "gzc/monkey/_wsgi.py",
        "    except Exception:  # noqa: BLE001 - no position;",
        "    except (OSError, ValueError):  # no position;",
        *("foreign_questions", "answers_with_exceptions"),
    ),
    _mutant(
        "a file that does not go back is sent all the same (R2)",
        *("gzc/monkey/_wsgi.py", "    except Exception:  # noqa: BLE001 - R2\n", "    except OSError:\n"),
        *("foreign_questions", "then_does_not or answers_with"),
    ),
    _mutant(
        "gunicorn frames no chunk by a claim (R3)",
        *("gzc/monkey/_gunicorn.py", " and promised is None and source.size_is_reliable():", " and promised is None:"),
        *("framing", "r3_a_size"),
    ),
    _mutant(
        "pywsgi frames nothing by a claim (R3)",
        *(
            "gzc/monkey/_pywsgi.py",
            "if source is not None and source.size_is_reliable() else",
            "if source is not None else",
        ),
        *("framing", "r3_a_size"),
    ),
    _mutant(
        "no chunk is larger than peers take (R10)",
        *("gzc/monkey/_promises.py", "    while count > CHUNK:\n", "    while False:\n"),
        *("framing", "r10_"),
    ),
    _mutant(
        "a range is asked of the file wrapper (R13)",
        *(
            "gzc/monkey/_wsgi.py",
            "        return gzc.source(gzc.section(",
            "        return None and gzc.source(gzc.section(",
        ),
        *("wsgi_downloads", "r13_"),
    ),
    _mutant(
        "a registered class is a body (R14)",
        "gzc/monkey/_wsgi.py",
        'or hasattr(cls, "read") else source',
        'or hasattr(cls, "read") or not hasattr(cls, "__gzc_source__") else source',
        *("framing", "r14_"),
    ),
    _mutant(
        "a seam that is interrupted leaves no claim and no pipe (M23)",
        *(
            "gzc/monkey/_seam.py",
            "        if moving.in_flight:\n            _log",
            "        if False:\n            _log",
        ),
        *("shutil_seam", "on_their_way"),
    ),
    # -- the loop ----------------------------------------------------------------------------------------------------
    _mutant(
        "a sink that is full is tried again before it is waited for (M14)",
        *("gzc/_pump.py", "if tries > 0 and mover.blocked_on.soon:", "if False:"),
        *("pump", "drains_at_once"),
    ),
    _mutant(
        "beside a slow sink vain tries become fewer (M14)",
        *("gzc/_pump.py", "again = max(again // 2, LEAST_TRIES)", "again = MOST_TRIES"),
        *("pump", "slow_sink"),
    ),
    _mutant(
        "a source is waited for at once: small pieces gather (M14)",
        *("gzc/_pump.py", "if tries > 0 and mover.blocked_on.soon:", "if tries > 0:"),
        *("pump", "source_is_never"),
    ),
    _mutant(
        "an EAGAIN behind what a step moved is waited for",
        *("gzc/_pump.py", "                if mover.stalled is None:\n", "                if True:\n"),
        *("pump", "eagain_behind"),
    ),
    _mutant(
        "a relay takes no more than is asked for",
        *("gzc/_pipe.py", "splice(source_fd, self.writer, end - self.given)", "splice(source_fd, self.writer, most)"),
        *("pipes", "relay"),
    ),
    _mutant(
        "a relay is bounded in calls",
        *("gzc/_pipe.py", "self.given < end and self.calls < last and", "self.given < end and"),
        *("pipes", "relay"),
    ),
    _mutant(
        "what a relay delivered before it was refused is counted",
        *("gzc/_through_pipe.py", "                self.unsure = True  # what", "                pass  # what"),
        *("scripted_kernel", "every_decline"),
    ),
    _mutant(
        "a fault of the source behind a relay is the source's",
        *(
            "gzc/_through_pipe.py",
            "            if pipe.taken == pipe.given:\n                self.blocked_on = self.source\n            try:",
            "            try:",
        ),
        *("pipes", "relay"),
    ),
    _mutant(
        "a signal handler's BlockingIOError in a relay is no EAGAIN (M22)",
        *(
            "gzc/_syscalls.py",
            "exc.__traceback__.tb_next is not None and struck(exc)",
            "False",
        ),
        *("handlers", "kernels_word"),
    ),
    _mutant(
        "a signal handler's OSError is no refusal of the kernel (M22)",
        *("gzc/_movers.py", "if why is not None and not _syscalls.struck(exc):", "if why is not None:"),
        *("handlers", "kernels_word"),
    ),
    _mutant(
        "a signal handler's BlockingIOError is not waited for (M22)",
        *("gzc/_pump.py", "waitable or _syscalls.struck(exc):", "waitable:"),
        *("handlers", "kernels_word"),
    ),
    _mutant(
        "a signal handler's TimeoutError is no want of descriptors (M22)",
        *(
            "gzc/_movers.py",
            '        if _syscalls.struck(exc):\n            raise\n        raise Declined(f"no pipe',
            '        raise Declined(f"no pipe',
        ),
        *("handlers", "want_of_descriptors"),
    ),
    _mutant(
        "claims go with the transfer",
        *("gzc/_transfer.py", "            self._claims.release()  # a strike", "            pass  # a strike"),
        *("handlers", "claims_that"),
    ),
    _mutant(
        "an observer's child does not go on (M19)",
        *("gzc/_pump.py", ", moved)\n                    _still_here(born)\n", ", moved)\n"),
        *("handlers", "observer_that_forks"),
    ),
    _mutant(
        "a sink whose room somebody else takes is in no doubt",
        *("gzc/_movers.py", "            self._in_vain = 0\n            return False\n", "            return False\n"),
        *("pipes", "room_somebody_else"),
    ),
    _mutant(
        "what a source gave before it was closed is delivered",
        *("gzc/_through_pipe.py", "if pipe.taken == told or _syscalls.struck(exc):", "if True:"),
        *("pipes", "before_it_was_closed"),
    ),
    _mutant(
        "what an observer raises is not the source's",
        *("gzc/_through_pipe.py", "self.stalled = self.sink if", "self.blocked_on = self.stalled = self.sink if"),
        *("pipes", "observer_raises"),
    ),
    _mutant(
        "a count that was struck while it was made up is not exact (M22)",
        *("gzc/_transfer.py", "            if mover.unsure:  # nobody", "            if False:  # nobody"),
        *("pipes", "hid_while"),
    ),
    _mutant(
        "an observer may interrupt a copy that is refused",
        *("gzc/_transfer.py", "contextlib.nullcontext() if declined else contextlib.suppress", "contextlib.suppress"),
        *("pipes", "hear_what_was"),
    ),
    _mutant(
        "every observer hears, whatever another one raises",
        *("gzc/_pump.py", "for other in observers[number + 1 :]:", "for other in ():"),
        *("pump", "every_observer"),
    ),
    _mutant(
        "an end is in doubt only by its own wake-ups",
        *("gzc/_movers.py", "self._in_vain + 1 if self.woken is end else 0", "self._in_vain + 1"),
        *("pipes", "doubt"),
    ),
    _mutant(
        "a wake-up alone earns no new tries",
        *("gzc/_pump.py", "            mover.wait()\n", "            mover.wait()\n            tries = again\n"),
        *("pump", "woken_in_vain"),
    ),
    _mutant(
        "an EAGAIN that nobody can wait for is raised",
        *("gzc/_pump.py", "if not mover.blocked_on.waitable or", "if"),
        *("errors", "own_blocking_error"),
    ),
    # -- sinks over files --------------------------------------------------------------------------------------------
    _mutant(
        "a thread's last job keeps no memory from growing",
        *("gzc/_file_sinks.py", "                piece.release()\n", "                pass\n"),
        *("fuzz", "memory_can_grow"),
    ),
    _mutant(
        "a file opened with O_DIRECT is written by its own method (F13)",
        *("gzc/_file_sinks.py", "    if flags & O_DIRECT:\n", "    if False:\n"),
        *("rare_cases", "f13_"),
    ),
    _mutant(
        "a writer's own EAGAIN tells what it took",
        *("gzc/_file_sinks.py", "taken = exc.characters_written or None", "taken = None"),
        *("rare_cases", "terminal_in_non_blocking"),
    ),
    _mutant(
        "a device is written by its own method",
        "gzc/_file_sinks.py",
        "    if not stat.S_ISREG(status.st_mode):\n",
        "    if False:\n",
        *("rare_cases", "l13_"),
    ),
    _mutant(
        "the place of a piece is taken by one step of the kernel (R8, M26)",
        *(
            "gzc/_file_region.py",
            "        _syscalls.advance(file.fileno(), count, self.end)\n",
            "        self.end.append(file.tell() + count)\n        file.seek(self.end[0])\n",
        ),
        *("shared_offsets", "one_step"),
    ),
    _mutant(
        "what others have written to the object goes before a piece (B16)",
        *("gzc/_file_region.py", "        file.flush()  # a Buff", "        # a Buff"),
        *("disk", "others_write_meanwhile or read_ahead"),
    ),
    _mutant(
        "what the pool wrote in part is filled in first (B16)",
        *("gzc/_file_region.py", "        if not left:\n", "        if True:\n"),
        *("disk", "others_write_while"),
    ),
    _mutant(
        "the pool that a forked child inherits is closed (M19)",
        *("gzc/_disk.py", "        _retire(pool)\n", "        pass\n"),
        *("disk", "inherits"),
    ),
    _mutant(
        "what was taken and not written is given back (R8)",
        *(
            "gzc/_file_region.py",
            "            _syscalls.advance(self._file.fileno(), -left, now)\n",
            "            now = [self.end[0] - left]\n",
        ),
        *("shared_offsets", "full"),
    ),
    _mutant(
        "a resumed run fills its place first (B16)",
        *("gzc/_transfer.py", "                self._region = before.region  #", "                pass  #"),
        *("disk", "in_the_queue"),
    ),
    _mutant(
        "no duplicate is closed while a lock is held (R5, M24)",
        *("gzc/_lending.py", "if is_locked(self._open[0]):", "if False:"),
        *("open_files", "taken_meanwhile"),
    ),
    _mutant(
        "a file that is locked stays in the hub (R5)",
        *("gzc/_lending.py", "if self._is_locked(self.fileno()):", "if False:"),
        *("open_files", "no_duplicate"),
    ),
    _mutant(
        "what a thread read by a number that has changed hands is thrown away (G1)",
        *("gzc/_through_pipe.py", "        self.source.still(fd)  # else", "        # else"),
        *("disk", "closed_while_its_job_waits"),
    ),
    _mutant(
        "a lock of another process is none of ours (R5)",
        *("gzc/_locks.py", "owner == os.getpid() or _is_listed(fd)", "True"),
        *("open_files", "others_lock"),
    ),
    _mutant(
        "a duplicate of a file that is no longer below is not written to (R8)",
        *("gzc/_file_sinks.py", "if self._duplicate is not None and self.lent_another():", "if False:"),
        *("shared_offsets", "rotated"),
    ),
    _mutant(
        "O_APPEND that is set meanwhile is heeded (C4)",
        *("gzc/_file_sinks.py", "if self.region.written and self.appends():", "if False:"),
        *("shared_offsets", "o_append"),
    ),
    _mutant(
        "a run that was refused does not forget the place (B16)",
        *("gzc/_transfer.py", "if self._region is None and before", "if before"),
        *("shared_offsets", "refused"),
    ),
    _mutant(
        "one duplicate a run (R7)",
        *("gzc/_lending.py", "        if self._duplicate is None:\n            if", "        if True:\n            if"),
        *("open_files", "fuse"),
    ),
    _mutant(
        "a descriptor of a pipe is closed once, whatever strikes (M22)",
        "gzc/_pipe.py",
        "        while self._open:\n            _close_popped(self._open)",
        "        for fd in tuple(self._open):\n            _close_popped([fd])",
        *("handlers", "closed_once"),
    ),
    _mutant(
        "the number of a file is asked for again after its locks (G1)",
        *("gzc/_through_pipe.py", "            sink_fd = sink.fileno()  # asked again", "            # asked again"),
        *("open_files", "rest_of_a_piece"),
    ),
    _mutant(
        "what came before a reset goes first (D13)",
        *("gzc/_transfer.py", "if self._broken and self._held:", "if False:"),
        *("pipes", "came_before_an_error"),
    ),
    _mutant(
        "a result of the pool is booked once (M22)",
        *("gzc/_file_sinks.py", "        self.placed(taken)\n        self.job = None", "        self.placed(taken)"),
        *("disk", "booked_once"),
    ),
    _mutant(
        "who comes when the turn is over makes a short step (B4)",
        *("gzc/_from_file.py", "return min(config.chunk, BRIEF) if self.brief", "return config.chunk if self.brief"),
        *("sendfile_cases", "short_step"),
    ),
    _mutant(
        "a result that came late keeps no memory from growing (M22)",
        *("gzc/_movers.py", "            _let_go(before)", "            pass"),
        *("disk", "memory_can_grow"),
    ),
    # -- what all seams share ----------------------------------------------------------------------------------------
    _mutant(
        "in a native thread and on the hub the original goes on",
        *(
            "gzc/monkey/_seam.py",
            "return _thread.get_native_id() != os.getpid() if hub is None else",
            "return False and",
        ),
        *("shutil_seam", "native_thread or on_the_hub"),
    ),
    _mutant(
        "where an end is in use the original goes on",
        *("gzc/monkey/_seam.py", "if isinstance(exc, gzc.Error) and moving not in gzc.transfers_of(exc):", "if False:"),
        *("shutil_seam", "ends_in_use"),
    ),
    _mutant(
        "an EAGAIN is the original's to tell",
        *("gzc/monkey/_seam.py", "isinstance(exc, BlockingIOError) and not (whole or moving.in_flight)", "False"),
        *("shutil_seam", "non_blocking_mode"),
    ),
    _mutant(
        "an EAGAIN of the file system is no end of file (B10)",
        *("gzc/monkey/_seam.py", "not (whole or moving.in_flight)", "not moving.in_flight"),
        *("shutil_seam", "b10_"),
    ),
    _mutant(
        "a makefile object learns of its socket's timeout",
        *("gzc/monkey/_seam.py", "            _timed_out(reader)\n", "            pass\n"),
        *("shutil_seam", "timeout_of_the_source"),
    ),
    _mutant(
        "what is no end is refused in the original's words",
        *("gzc/monkey/_seam.py", "        return None  # or it refuses", "        raise  # or it refuses"),
        *("shutil_seam", "refuses_is_refused"),
    ),
    # -- hard cases of the first rank that have a remedy of their own --------------------------------------------------
    _mutant(
        "headers and body go in one segment (F9)",
        *("gzc/monkey/_pywsgi.py", "handler.socket.sendall(head, _wsgi.MORE)", "handler.socket.sendall(head)"),
        *("wsgi_downloads", "goes_with_its_headers"),
    ),
    _mutant(
        "a spooled file stays in memory (O8)",
        *("gzc/_classify.py", "if spool._rolled or describe is source else None", "if spool.fileno() else None"),
        *("consent", "unrolled_spooled"),
    ),
    _mutant(
        "between two ends that are not ours poll tells who is not ready (B13)",
        *("gzc/_twins.py", "waiting = src if not src.ready() else dst", "waiting = src"),
        *("twins", "full_sink"),
    ),
    _mutant(
        "what is switched off is not called (C18)",
        "gzc/_routes.py",
        'absent = "switched off by config.disable" if mover.name in config.disable else _syscalls.missing(mover.name)',
        "absent = _syscalls.missing(mover.name)",
        *("machine", "c18_"),
    ),
    _mutant(
        "copy_file_range is not asked of kernels before 5.3 (C24)",
        *("gzc/_syscalls.py", " and _kernel() < (5, 3):", " and False:"),
        *("rare_cases", "c24_"),
    ),
    # -- commands ----------------------------------------------------------------------------------------------------
    _mutant(
        "Ctrl-C waits for the step that it strikes in (M22)",
        *("gzc/cli/_stop.py", "        if gevent.getcurrent() is not me:\n", "        if True:\n"),
        *("cli", "ctrl_c_waits_for_the_step"),
    ),
    _mutant(
        "Ctrl-C is no traceback",
        "gzc/cli/__init__.py",
        "    except KeyboardInterrupt:\n        return INTERRUPTED\n    except BrokenPipeError",
        "    except BrokenPipeError",
        *("cli_doctor or cli", "ctrl_c_in_the_middle or ctrl_c_while"),
    ),
    _mutant(
        "SIGTERM lets a server finish",
        *("gzc/cli/_stop.py", "SIGNALS = (signal.SIGTERM, signal.SIGINT)", "SIGNALS = (signal.SIGINT,)"),
        *("cli_proxy", "stop_lets_tunnels_finish"),
    ),
    _mutant(
        "Ctrl-C lets a server finish",
        *("gzc/cli/_stop.py", "SIGNALS = (signal.SIGTERM, signal.SIGINT)", "SIGNALS = (signal.SIGTERM,)"),
        *("cli_proxy", "stop_lets_tunnels_finish"),
    ),
    _mutant(
        "the second signal ends a server at once",
        *("gzc/cli/_stop.py", "        if self._asked.is_set():\n", "        if False:\n"),
        *("cli_proxy", "second_signal"),
    ),
    _mutant(
        "a stop lets responses finish",
        *("gzc/cli/_web.py", "        self._greenlets.join(timeout=grace)\n", ""),
        *("cli_serve", "stop_lets_a_download"),
    ),
    _mutant(
        "a stop closes idle connections",
        *("gzc/cli/_web.py", "        self.loop.run_callback(self._leave_the_others)\n", ""),
        *("cli_serve", "stop_lets_a_download"),
    ),
    _mutant(
        "a stop waits no longer than its grace",
        *("gzc/cli/proxy.py", "        self._pool.join(timeout=grace)\n", "        self._pool.join()\n"),
        *("cli_proxy", "does_not_finish_in_time"),
    ),
    _mutant(
        "a broken stream is passed on as a broken one",
        *("gzc/cli/proxy.py", "            _reset(client)\n            _reset(upstream)\n", ""),
        *("cli_proxy", "breaks_is_broken"),
    ),
    _mutant(
        "bytes of connections that break are counted",
        "gzc/cli/proxy.py",
        "            self._add(there, back)\n            self._book(name, how,",
        "            self._book(name, how,",
        *("cli_proxy", "cut_off_and_counted"),
    ),
    _mutant(
        "a target that does not answer is given up",
        *(
            "gzc/cli/proxy.py",
            "        limit = self._options.connect_timeout\n",
            "        limit = 1e9\n",
        ),
        *("cli_proxy", "does_not_answer_the_call"),
    ),
    _mutant(
        "an idle connection ends in time",
        *("gzc/cli/proxy.py", "idle_timeout=self._options.idle_timeout", "idle_timeout=None"),
        *("cli_proxy", "idle_connection_ends"),
    ),
    _mutant(
        "no more connections than the limit are accepted",
        *("gzc/cli/proxy.py", "self._pool = Pool(options.limit)", "self._pool = Pool()"),
        *("cli_proxy", "than_the_limit"),
    ),
    _mutant(
        "a socket that was left behind is in nobody's way",
        *("gzc/cli/_address.py", "            self._remove_abandoned()\n", ""),
        *("cli_proxy", "left_behind"),
    ),
    _mutant(
        "a copy that fails tells what was written",
        *("gzc/cli/cp.py", "transfers[-1].moved if transfers else sum(whole_copy)", "sum(whole_copy)"),
        *("cli_cp", "broken_pipe or ctrl_c_in_the_middle or resets_in"),
    ),
    _mutant(
        "the last bytes outrun the end of the connection",
        "gzc/cli/cp.py",
        "            while writer.recv(65536):\n                pass\n",
        "            pass\n",
        *("cli_cp", "outrun"),
    ),
    _mutant(
        "a file is not copied onto itself by gzc cp",
        *("gzc/cli/cp.py", "if dst.path and _same(reader, dst.path):", "if False:"),
        *("cli_cp", "cannot_be_copied"),
    ),
    _mutant(
        "who reads what a server says may go",
        *("gzc/cli/_voice.py", "    except OSError:  # its reader", "    except ZeroDivisionError:  # its reader"),
        *("cli", "outlives"),
    ),
    _mutant(
        "what could not be written is not tried once more at exit",
        *(
            "gzc/cli/_voice.py",
            "        os.dup2(nowhere, number)\n        stream.flush()\n",
            "        os.dup2(nowhere, number)\n",
        ),
        *("cli", "closed_or_full"),
    ),
    _mutant(
        "no file gets the number of a closed stream",
        *("gzc/cli/__init__.py", "        open_streams()\n", "        pass\n"),
        *("cli", "closed_or_full"),
    ),
    _mutant(
        "a reader that has seen enough is no error",
        "gzc/cli/__init__.py",
        "    except BrokenPipeError:  # of our own words: gzc doctor | head -1\n        drop(sys.stdout)\n",
        "    except BrokenPipeError:\n",
        *("cli_doctor", "seen_enough"),
    ),
    _mutant(
        "a link does not lead out of the folder that is served",
        *("gzc/cli/_site.py", "        if not self._is_ours(found):\n", "        if False:\n"),
        *("cli_serve", "nothing_beyond"),
    ),
    _mutant(
        "names that begin with a dot are not served",
        *("gzc/cli/_site.py", "return not self._hidden and any(", "return False and any("),
        *("cli_serve", "nothing_beyond"),
    ),
    _mutant(
        "names are no HTML",
        *("gzc/cli/_listing.py", "{escape(shown(name))}{slash}", "{shown(name)}{slash}"),
        *("cli_serve", "listing_leads"),
    ),
    _mutant(
        "a TLS handshake waits in the hub",
        "gzc/cli/_address.py",
        "ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n",
        "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)\n",
        *("cli_attacks", "attack1_two_hundred"),
    ),
    _mutant(
        "what is judged is what was opened",
        *(
            "gzc/cli/_found.py",
            "            self.path = os.readlink(self._itself)\n",
            "            self.path = os.path.realpath(path)\n",
        ),
        *("cli_attacks", "attack2 and link"),
    ),
    _mutant(
        "a lease is not waited for",
        *("gzc/cli/_found.py", "os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC", "os.O_RDONLY | os.O_CLOEXEC"),
        *("cli_attacks", "attack2_a_lease"),
    ),
    _mutant(
        "who takes too long is left",
        *(
            "gzc/cli/_visits.py",
            "        if now - self.since > limits.of(self.state, crowded):\n",
            "        if False:\n",
        ),
        *("cli_attacks", "attack3_half_a_request or attack3_who_takes_nothing"),
    ),
    _mutant(
        "who reads slowly is not",
        *("gzc/cli/_visits.py", "        if self.state == ANSWERED and self._goes_on():\n", "        if False:\n"),
        *("cli_attacks", "attack3_who_reads_slowly"),
    ),
    _mutant(
        "the idle make room",
        *("gzc/cli/_visits.py", "return min(limit, HURRY) if crowded else limit", "return limit"),
        *("cli_attacks", "attack3_a_place or attack3_half_requests"),
    ),
    _mutant(
        "a limit fits the descriptors",
        *("gzc/cli/proxy.py", "    options.limit = connections(options.limit, EACH)\n", ""),
        *("cli_attacks", "attack7_more_clients"),
    ),
    _mutant(
        "accepting waits for descriptors",
        *("gzc/cli/_accepting.py", "            if self.is_fatal_error(exc):", "            if True:"),
        *("cli_attacks", "attack7_no_descriptor"),
    ),
    _mutant(
        "an error that is not the client's is no 404",
        *(
            "gzc/cli/_site.py",
            "        status = STATUSES.get(exc.errno or 0)\n",
            "        status = STATUSES.get(exc.errno or 0, 404)\n",
        ),
        *("cli_attacks", "attack4"),
    ),
    _mutant(
        "listings are made in a thread",
        *("gzc/cli/_listing.py", "self._threads.spawn(wrap_errors", '__import__("gevent").spawn(wrap_errors'),
        *("cli_attacks", "attack6_others"),
    ),
    _mutant(
        "a listing that nobody waits for closes its folder",
        *("gzc/cli/_listing.py", "            os.close(folder)\n            raise\n", "            raise\n"),
        *("cli_attacks", "listings_whose_clients_reset"),
    ),
    _mutant(
        "an entry that cannot be looked at now is not left out",
        *("gzc/cli/_found.py", "isinstance(exc, OSError) and exc.errno in STATUSES", "isinstance(exc, OSError)"),
        *("cli_attacks", "whole_or_none"),
    ),
    _mutant(
        "foreign bytes are escaped",
        *("gzc/cli/_voice.py", "    if text.isprintable():\n", "    if True:\n"),
        *("cli_attacks", "attack8"),
    ),
    _mutant(
        "a socket file that is another's stays",
        *("gzc/cli/_address.py", "    if os.path.samestat(os.lstat(path), file):\n", "    if True:\n"),
        *("cli_attacks", "attack9"),
    ),
    _mutant(
        "a log is written aside",
        *(
            "gzc/cli/_log.py",
            "        if self._waiting.qsize() < MOST:\n",
            "        self._write(text.encode())\n        if False:\n",
        ),
        *("cli_attacks", "attack14"),
    ),
    _mutant(
        "others have their turn between pipelined requests",
        *(
            "gzc/cli/_web.py",
            "                gevent.sleep(0)  # requests may come",
            "                pass  # requests may come",
        ),
        *("cli_attacks", "pipelined_requests"),
    ),
    _mutant(
        "what comes behind the last request is read on for a while",
        *("gzc/cli/_web.py", "            if self._answered and not self._visit.left:\n", "            if False:\n"),
        *("cli_attacks", "body_that_nobody_wants or asked_for_behind"),
    ),
    _mutant(
        "silent peers of a proxy are asked whether they are there",
        *("gzc/cli/proxy.py", "                    _address.keep_alive(sock)\n", "                    pass\n"),
        *("cli_attacks", "attack15"),
    ),
    _mutant(
        "forked children are counted",
        *("gzc/cli/trace.py", "        os.register_at_fork(after_in_child=self._count)\n", ""),
        *("cli_trace", "forked_child"),
    ),
    _mutant(
        "a program that leaves by os._exit is told of",
        *("gzc/cli/trace.py", "        os._exit = _exit  # type: ignore[assignment]\n", ""),
        *("cli_trace", "however_it_ends"),
    ),
    _mutant(
        "a private function that nobody calls is not replaced (R15)",
        *("gzc/monkey/_ledger.py", "        _check_caller(row)\n", ""),
        *("ledger or patch_unpatch", "nobody_calls or of_the_future"),
    ),
    _mutant(
        "a new way of copyfile is not overlooked (R15)",
        *("gzc/monkey/_shutil.py", "    if new:  # whatever", "    if False:  # whatever"),
        *("patch_unpatch", "of_the_future"),
    ),
    _mutant(
        "a kill that is an OSError is no answer of a file system",
        *("gzc/monkey/_shutil.py", "            if not _seam.answered(exc):\n                raise\n", ""),
        *("shutil_seam", "no_answer_of"),
    ),
    _mutant(
        "a Ctrl-C that Python has ignored is raised again",
        *("gzc/cli/_stop.py", "    sys.unraisablehook = ignored\n", ""),
        *("cli", "python_ignores"),
    ),
    _mutant(
        "a Ctrl-C that is ignored stays ignored",
        *("gzc/cli/_stop.py", "    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  #", "    if True:  #"),
        *("cli", "stays_ignored"),
    ),
    _mutant(
        "a Ctrl-C that has ended a command does not strike its end",
        *("gzc/cli/_stop.py", "        sys.unraisablehook = before\n", ""),
        *("cli", "python_ignores"),
    ),
)
