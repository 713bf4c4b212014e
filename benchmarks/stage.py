"""What a case measures with: the client's own CPU, the wall, memory, connections. Runs beside each client."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Meter", "Stage", "connections", "in_turns", "percentile"]


class Stage:
    """The line to whoever runs the benchmark."""

    def say(self, **told: Any) -> None:
        """One line of JSON."""
        print(json.dumps(told), flush=True)

    def ready(self) -> None:
        """What comes from outside may begin."""
        self.say(ready=True)

    def progress(self, number: int) -> None:
        """So many were seen."""
        self.say(progress=number)


class Meter:
    """Seconds on the wall, seconds of this process's CPU, and megabytes that it took at most, of a block."""

    wall: float
    cpu: float
    memory: float

    def __enter__(self) -> Self:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark is that of this block
        self._resident = _status("VmRSS")
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall, self.cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.memory = max(0.0, _status("VmHWM") - self._resident)

    def figures(self, operations: int, **more: float) -> dict[str, float]:
        """What is told of it."""
        return {"operations": operations, "wall": self.wall, "cpu": self.cpu, "memory": self.memory, **more}


def _status(name: str) -> float:
    """Megabytes that the system says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def connections() -> int:
    """Sockets of this process that are connected by TCP."""
    ours = {str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]]
    return sum(f"socket:[{line.split()[9]}]" in ours for line in lines if line.split()[3] == "01")


def turns(count: int | None, seconds: float) -> Iterator[int]:
    """Numbers, one for each operation. Callers share it, so that none is idle before the last one."""
    number, end = 0, time.perf_counter() + seconds
    while number == 0 or (time.perf_counter() < end if count is None else number < count):
        yield number
        number += 1


async def in_turns(
    callers: int, count: int | None, seconds: float, operation: Callable[[int], Awaitable[object]]
) -> list[float]:
    """Have so many callers do it again and again; the seconds that each operation took."""
    took: list[float] = []
    numbers = turns(count, seconds)

    async def caller() -> None:
        for number in numbers:
            began = time.perf_counter()
            await operation(number)
            took.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return took


def percentile(figures: Sequence[float], part: float) -> float:
    """The smallest figure that so many of a hundred do not exceed."""
    return sorted(figures)[max(0, math.ceil(len(figures) * part / 100) - 1)]
