"""Processes of contenders, as a test begins, hears, pauses and ends them."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from checker import Event

__all__ = ["Worker", "clock", "worker"]

CONTENDER = Path(__file__).with_name("contender.py")


def clock() -> float:
    """That of the contenders' events."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Worker:
    """One process. `history` is what its contenders recorded, and that it was killed."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.history: list[Event] = []
        self._heard = asyncio.Event()
        self._ended = False
        self._finishing = False

    async def listen(self) -> None:
        """Hear all it says, until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.history.append(msgspec.json.decode(line, type=Event))
            self._heard.set()
        self._ended = True
        self._heard.set()

    async def until(self, condition: Callable[[Sequence[Event]], bool], *, within: float) -> None:
        """Wait until what was recorded is enough. TimeoutError tells what was."""
        try:
            async with asyncio.timeout(within):
                while not condition(self.history):
                    assert not self._ended, f"the worker {self.name} ended"
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError as e:
            # Of a hold that is trusted all the time, each attempt's first word of it.
            told = {(event.who, event.what): event for event in reversed(self.history)}
            lines = "\n".join(map(str, reversed(told.values())))
            raise TimeoutError(f"the worker {self.name} said within {within:g} s:\n{lines}") from e

    async def until_said(self, what: str, count: int, *, within: float) -> None:
        """Wait until something was recorded so many times."""
        await self.until(lambda history: sum(event.what == what for event in history) >= count, within=within)

    def pause(self) -> None:
        """It stands still, and does not know."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """It is gone without a word; that it is, is recorded."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        # After its end, so that nothing it said is dated later.
        self.history.append(Event(at=clock(), what="killed", process=self.name))

    def finish(self) -> None:
        """Its contenders finish what they have begun, and it ends. A second time changes nothing."""
        if not self._finishing:
            self._finishing = True
            self.process.terminate()

    async def stop(self, *, within: float) -> None:
        """The same, and wait for it."""
        self.finish()
        async with asyncio.timeout(within):
            assert await self.process.wait() == 0, f"the worker {self.name} failed"
        while not self._ended:
            self._heard.clear()
            await self._heard.wait()


@asynccontextmanager
async def worker(
    name: str,
    peers: Sequence[str],
    *contends: str,
    ttl: int = 2,
    limit: int = 1,
    hold: float | None = None,
) -> AsyncIterator[Worker]:
    """A process of contenders, so many of a kind for each `protocol:kind:name:how many`.

    hold: Seconds that a hold lasts at most; by default as long as it can.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CONTENDER),
        f"--process={name}",
        f"--ttl={ttl}",
        f"--limit={limit}",
        *([] if hold is None else [f"--hold={hold}"]),
        *(f"--contend={contend}" for contend in contends),
        *peers,
        stdout=asyncio.subprocess.PIPE,
    )
    begun = Worker(name, process)
    listening = asyncio.create_task(begun.listen())
    try:
        yield begun
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening
