"""What is left of a test run that was killed: nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["Reaper"]

# Every line on its input is the whole list of servers that live now; the input ends when we do, however we die.
_SCRIPT = """
while read -r line; do living=$line; done
[ -z "$living" ] || { kill -KILL $living; sleep 1; }
rm -rf -- "$1"
"""


class Reaper:
    """A process of a few hundred kilobytes that outlives us, and then ends our servers and removes their folder.

    Nothing else does that when we are killed by SIGKILL: `atexit` does not run, servers in their own session get no
    signal of ours, and Linux's PR_SET_PDEATHSIG fires when the *thread* that started the server ends, which for a
    server started from a worker thread is far too early.
    A child forked without exec holds the pipe too: the reaper then waits for that child as well.
    """

    def __init__(self, folder: Path) -> None:
        orders, ours = os.pipe()
        self._orders = os.fdopen(ours, "wb", buffering=0)
        try:
            # A session of its own, so that Ctrl-C in the terminal does not end it before its work is there.
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "aetcd-reaper", folder],
                stdin=orders,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            self._orders.close()
            raise
        finally:
            os.close(orders)

    def watch(self, pids: Iterable[int]) -> None:
        """End these, and only these, when we die."""
        with suppress(BrokenPipeError):
            self._orders.write(f"{' '.join(map(str, pids))}\n".encode())

    def dismiss(self) -> None:
        """All was cleaned up: end without doing anything."""
        # Killed before its input is closed: it must not act on the end of it.
        self._process.kill()
        self._process.wait()
        self._orders.close()
