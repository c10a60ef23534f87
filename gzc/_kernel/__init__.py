"""The machine below: system calls, pipes, threads for what storage makes wait."""
