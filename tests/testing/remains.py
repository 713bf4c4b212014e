"""What a server or a cluster may leave behind: nothing."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path


class Remains:
    """Where servers put their folders during one test, and which processes work there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids: set[int] = set()

    def processes(self) -> set[int]:
        """The servers and reapers of this test that run now; they carry its folder in their arguments."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str(self.folder).encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                    found.add(int(entry.name))
        self.pids |= found
        return found

    def folders(self) -> list[Path]:
        return list(self.folder.iterdir())

    def nothing(self) -> bool:
        """No process, no folder, and nothing seen before is a zombie of ours."""
        return not self.processes() and not self.folders() and not any(zombie(pid) for pid in self.pids)

    def nothing_within(self, seconds: float) -> bool:
        """For what an orphan's reaper does in its own time."""
        deadline = time.monotonic() + seconds
        while not self.nothing():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def zombie(pid: int) -> bool:
    """A process that ended and was not waited for by us; one that was left to init is init's to collect."""
    with suppress(OSError):
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        return state == "Z" and int(parent) == os.getpid()
    return False
