"""How often a call is made again at once before its answer is believed: one table, each number with its measurement."""

#: A sink whose EAGAIN is soon over, before the greenlet waits in the hub. A call costs 1 us, to sleep and be woken 20,
#: and a peer on another core goes on meanwhile: file to pipe took a third of the CPU by it and was 4 times as fast.
#: Beside a slow peer it is a waste, so each wait that it did not avert halves it, down to the second number.
SINK, SINK_LEAST = 12, 2

#: A source that answers EAGAIN, before what it gave goes to the pool. A job costs 60 us: asked up to 20 times, 0.6 us
#: each, unix to a disk took 20 % less CPU and was 1.3 times as fast, tcp 12 % and 1.4 times. Each round of it that
#: brought nothing halves the next.
SOURCE = 20

#: EAGAINs in a row from an end that was found ready. It may fill up again between the two questions, so one proves
#: nothing; a file system that answers EAGAIN itself (GPFS, FUSE; cpython#87909) does so every time and would spin for
#: ever (hard case B10).
IN_VAIN = 3
