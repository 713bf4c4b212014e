"""The bridge itself: it follows the store, is elected, and writes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import anyio

from aetcd.bridges._duty import Duty, Pace, Reading
from aetcd.bridges._following import RETRY, Following, Troubles
from aetcd.errors import AetcdError, ClientClosed, CoordinationError, LockTimeout
from aetcd.recipes import Election, Leadership
from aetcd.recipes._store import Work
from aetcd.recipes._waiting import CLEANING, Pauses

__all__ = ["Bridge"]

P = TypeVar("P")

logger = logging.getLogger("aetcd")

GIVES_WAY_AFTER = 1.0  # seconds after which an attempt gives way to newer changes: it drains, or an instance is silent
PATIENCE = 2.0  # seconds that entering the block waits for the first attempt
LOOK = 0.1  # seconds between looks whether the store is followed again

Outcome = Literal["done", "failed", "overtaken"]


class Bridge(Generic[P]):
    """Keeps another system as etcd says, while its block runs: `async with registry_to_upstream(...) as bridge`.

    Of all bridges to one target one is elected, which writes; the others stand by, and one of them takes over when the
    first leaves, or when its session ends. The one that leads writes once when it begins, after each change, and every
    `check_every` seconds, which also undoes what others changed. What is right already costs one read.

    It writes only what it knows to be current. While its watch is broken or no etcd answers (`fresh` is False), and
    while the store has no entry (unless `allow_empty=True`), the other system keeps what it has. What the other system
    answers by an error is tried again, with growing pauses and jitter up to 5 s. All of this is told by `last_error`
    and in the log `aetcd`; the block is never cancelled by it.

    An attempt that takes longer than a second, since it drains or since one instance of a fleet is silent, gives way to
    newer changes.

    At a change of the leader a request that the old one had sent may arrive after the first ones of the new one. Both
    say what the store said, and the next check puts right what that left.
    """

    def __init__(self, duty: Duty[P], pace: Pace) -> None:
        self._duty = duty
        self._pace = pace
        self._troubles = Troubles(f"from {duty.source} to {duty.target}")
        self._store = Following(duty, self._troubles)
        self._entered = False
        self._leaving = False
        self._jobs: list[Work] = []
        self._term: Leadership | None = None
        self._alone = False  # without an election
        self._ready = asyncio.Event()
        self._in_step = False
        self._plan: P | None = None
        self._left_out: Mapping[str, str] = {}

    def __repr__(self) -> str:
        state = "in step" if self.in_step else "leading" if self.leading else "standing by"
        stale = "" if self.fresh else ", stale"
        return f"<Bridge from {self._duty.source} to {self._duty.target}: {state}{stale}>"

    # What it says

    @property
    def fresh(self) -> bool:
        """Whether it knows what etcd holds now, within 3 s, as `Mirror.fresh`. It writes only while it does."""
        return self._store.mirror.fresh

    @property
    def leading(self) -> bool:
        """Whether it is the one that writes, by the clock now. Without an election each one is."""
        return self._alone or (self._term is not None and self._term.held)

    @property
    def in_step(self) -> bool:
        """Whether it leads, and the target has all that etcd is known to say, as far as it told when it was written."""
        return self._in_step and self.leading and self.fresh and not self._store.changed.is_set()

    @property
    def last_error(self) -> Exception | None:
        """Why it is not in step; None when nothing is known to be wrong. It is cleared when that goes well again.

        The target's own error (of a fleet PartialFailure), CoordinationError where etcd holds no entry, or what keeps
        it from the election or from following etcd. A broken connection that is being tried again is told by `fresh`.
        """
        return self._troubles.first

    @property
    def last_plan(self) -> P | None:
        """What the last attempt that went well did to the target, which may be nothing; None before the first.

        A `Plan` or `Synced`; of a fleet the `Outcomes` with these.
        """
        return self._plan

    @property
    def left_out(self) -> Mapping[str, str]:
        """Entries that do not read as what the target takes, and why, by their names. They hide no others."""
        return self._left_out

    @property
    def election(self) -> str | None:
        """The name that the writer is elected under. `client.election(name).leader()` tells its host and process."""
        return self._pace.election

    # Its life

    async def __aenter__(self) -> Self:
        """Read what etcd holds, and begin.

        The block is entered when the first attempt to write is over, well or not (see `last_error`), or has taken 2 s,
        or when somebody else leads. Raises what reading etcd raises; a cancel leaves nothing running.
        """
        if self._entered:
            raise CoordinationError("a bridge can be entered once: make a new one")
        self._entered = True
        await self._store.mirror.__aenter__()
        try:
            self._spawn(self._store.run, "following")
            self._spawn(self._lead_always if self._pace.election is None else self._campaign, "writing")
            with anyio.move_on_after(PATIENCE):
                await self._ready.wait()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and let the next in line lead. The target stays as it is; servers that drain are left draining."""
        await self._leave()

    async def _leave(self) -> None:
        self._leaving = True
        self._stop()
        try:
            with anyio.move_on_after(CLEANING, shield=True):
                for job in self._jobs:
                    await job.wait()
        finally:
            await self._store.mirror.__aexit__(None, None, None)

    def _stop(self) -> None:
        for job in self._jobs:
            job.cancel()

    def _spawn(self, function: Any, name: str) -> None:
        async def run() -> None:
            try:
                await function()
            except Exception as e:
                self._troubles.ended(e)
                self._stop()  # half a bridge is none
                raise
            finally:
                self._alone = False
                self._ready.set()
                if not self._leaving:
                    self._troubles.ended(ClientClosed(f"the client was closed, and with it {self!r}"))

        self._jobs.append(self._duty.store.spawn(run, name=f"{name} of a bridge from {self._duty.source}"))

    # Being the one that writes

    async def _known(self) -> None:
        """Wait until what is known is current."""
        while not self.fresh:
            self._ready.set()
            await asyncio.sleep(LOOK)

    async def _lead_always(self) -> None:
        self._alone = True
        await self._write()

    async def _campaign(self) -> None:
        assert self._pace.election is not None
        store, who = self._duty.store, f"{socket.gethostname()}:{os.getpid()}"
        election = Election(store, self._pace.election, value=who, ttl=self._pace.ttl, encode=store.encode)
        pauses = Pauses(*RETRY)
        patience: float | None = 0  # at first only to see whether somebody leads
        while True:
            try:
                term = await election.campaign(patience)
                self._troubles.succeeded("election")
                pauses.reset()
                async with term:
                    await self._serve(term)
            except LockTimeout:
                self._troubles.succeeded("election")
                self._ready.set()
                patience = None
            except AetcdError as e:
                self._troubles.failed("election", e)
                self._ready.set()
                patience = 0
                await pauses.wait()

    async def _serve(self, term: Leadership) -> None:
        self._term = term
        logger.info("%r leads", self)
        try:
            await self._write()
        finally:
            self._term = None
            self._in_step = False
            self._troubles.forget("target")  # it is another one's affair now
            logger.info("%r leads no longer", self)

    # Writing

    async def _write(self) -> None:
        pauses = Pauses(*RETRY)
        while True:
            await self._known()
            # A check of what is right already does not make it less so while it runs.
            self._in_step = self._in_step and not self._store.changed.is_set()
            self._store.changed.clear()
            match await self._attempt():
                case "done":
                    pauses.reset()
                    await self._due()
                case "failed":
                    await pauses.wait()
                case "overtaken":
                    pass

    async def _due(self) -> None:
        """Wait for a change and those that come with it, or until it is time to look again."""
        with anyio.move_on_after(self._pace.check_every):
            await self._store.changed.wait()
        if self._store.changed.is_set():
            await asyncio.sleep(self._pace.debounce)

    async def _attempt(self) -> Outcome:
        reading = self._duty.read(self._store.mirror)
        self._tell_left_out(reading)
        if not reading.wanted and not self._pace.allow_empty:
            text = f"{self._duty.source} holds nothing that can be used: {self._duty.target} keeps what it has"
            self._troubles.failed("target", CoordinationError(text))
            self._in_step = False
            self._ready.set()
            return "done"
        plan: P | None = None
        error: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(partial(self._give_way, group.cancel_scope))
            try:
                plan = await self._duty.write(reading.wanted)
            except (AetcdError, ValueError) as e:  # raised in here, the group would wrap it
                error = e
            group.cancel_scope.cancel()
        return self._concluded(plan, error)

    async def _give_way(self, scope: anyio.CancelScope) -> None:
        await asyncio.sleep(GIVES_WAY_AFTER)
        await self._store.changed.wait()
        await asyncio.sleep(self._pace.debounce)
        scope.cancel()

    def _concluded(self, plan: P | None, error: Exception | None) -> Outcome:
        self._in_step = plan is not None
        if error is None and plan is None:
            return "overtaken"
        self._ready.set()
        if error is not None:
            self._troubles.failed("target", error)
            return "failed"
        self._troubles.succeeded("target")
        self._plan = plan
        logger.debug("%s is as %s says: %s", self._duty.target, self._duty.source, plan)
        return "done"

    # Telling

    def _tell_left_out(self, reading: Reading[Any]) -> None:
        for name, reason in reading.left_out.items():
            if self._left_out.get(name) != reason:
                logger.warning("%r of %s is left out: %s", name, self._duty.source, reason)
        self._left_out = reading.left_out
