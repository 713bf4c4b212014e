"""A process of contenders, each of which wants, holds and gives up something again and again, and records it.

It runs until SIGTERM: then no contender begins anew, and all who wait still get what they wait for. What they record
are the `Event`s of the checker, one JSON line each, on the standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import signal
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, cast

import msgspec
from attrs import define, evolve
from checker import Event, Kind, What

import aetcd

FOR_EVER = 1e9  # seconds
LOOK_EVERY = 0.01  # seconds between two looks at whether a hold is trusted


def clock() -> float:
    """What all processes of a machine share, and no one can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@define
class Recorder:
    """Writes what becomes of one attempt."""

    common: Event

    def say(self, what: What, at: float | None = None, token: int = 0) -> None:
        event = evolve(self.common, what=what, at=clock() if at is None else at, token=token)
        # One write for each line: a pipe takes it whole or not at all, also from a process that is being killed.
        os.write(1, msgspec.json.encode(event) + b"\n")

    def look(self, hold: Any) -> None:
        """Say whether it is trusted. The clock is read before, so that no trust is dated too late."""
        at = clock()
        if hold.held:
            self.say("trusted", at)


@define
class Contender:
    """Wants one thing again and again."""

    client: aetcd.Client
    kind: Kind
    name: str
    number: int
    settings: argparse.Namespace
    stopping: asyncio.Event

    async def contend(self) -> None:
        for turn in itertools.count():
            if self.stopping.is_set():
                return
            who = f"{self.settings.process}/{self.name}/{self.kind}-{self.number}/{turn}"
            await self.attempt(Recorder(self.of(who)))

    async def attempt(self, recorder: Recorder) -> None:
        recorder.say("wanted")
        acquired = False
        try:
            async with place(
                self.client, self.kind, self.name, ttl=self.settings.ttl, limit=self.settings.limit
            ) as hold:
                acquired = True
                recorder.say("acquired", token=hold.fencing_token)
                await self.use(hold, recorder)
        except aetcd.AetcdError as e:
            recorder.say("lost" if acquired else "failed")
            if not isinstance(e, aetcd.CoordinationError | aetcd.TransportError | aetcd.ServerError):
                raise
            await asyncio.sleep(random.uniform(0, 0.1))
        else:
            recorder.say("released")

    async def use(self, hold: Any, recorder: Recorder) -> None:
        until = clock() + random.uniform(0, self.settings.hold)
        recorder.look(hold)
        while clock() < until and not (self.settings.hold == FOR_EVER and self.stopping.is_set()):
            await asyncio.sleep(LOOK_EVERY)
            recorder.look(hold)

    def of(self, who: str) -> Event:
        return Event(
            at=0.0,
            what="wanted",
            process=self.settings.process,
            name=self.name,
            who=who,
            kind=self.kind,
            limit=self.settings.limit,
        )


def place(client: aetcd.Client, kind: Kind, name: str, *, ttl: int, limit: int = 1) -> AbstractAsyncContextManager[Any]:
    """What a contender of a kind enters: it has a token, and says whether it is held."""
    match kind:
        case "lock":
            return client.lock(name, ttl=ttl)
        case "lead":
            return client.election(name, ttl=ttl)
        case "read":
            return client.rwlock(name, ttl=ttl).read()
        case "write":
            return client.rwlock(name, ttl=ttl).write()
        case "permit":
            return client.semaphore(name, limit=limit, ttl=ttl)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--process", required=True)
    parser.add_argument("--contend", action="append", required=True, help="protocol:kind:name:how many")
    parser.add_argument("--hold", type=float, default=FOR_EVER, help="seconds at most")
    parser.add_argument("--ttl", type=int, required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("peers", nargs="+")
    settings = parser.parse_args()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    wanted = [contend.split(":") for contend in settings.contend]
    async with AsyncExitStack() as opened:
        clients = {
            protocol: await opened.enter_async_context(aetcd.Client(*settings.peers, protocol=protocol))
            for protocol in {cast(aetcd.Protocol, protocol) for protocol, *_ in wanted}
        }
        group = await opened.enter_async_context(asyncio.TaskGroup())
        for protocol, kind, name, count in wanted:
            for number in range(int(count)):
                client = clients[cast(aetcd.Protocol, protocol)]
                group.create_task(Contender(client, cast(Kind, kind), name, number, settings, stopping).contend())


if __name__ == "__main__":
    asyncio.run(main())
