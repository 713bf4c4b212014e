"""Sessions that contenders use one after the other, so that each hand-over need not begin one and end it.

A contender has its session to itself: ending that is the one certain way to be rid of an entry whose creation got no
answer. But most leave cleanly, and then the next contender of the client may have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import anyio
from attrs import define, field

from aetcd.errors import AetcdError, ClientClosed
from aetcd.recipes._store import Entry, Session, Store, Work

__all__ = ["Berth", "Berths", "berths_of"]

LINGER = 10.0  # seconds for which a session that nobody uses is kept


@define(eq=False)
class Berth:
    """A session, for one contender at a time.

    upon_loss: Called when it is lost; it must not wait. None while nobody uses it.
    idle_since: By the loop's clock.
    """

    store: Store
    session: Session
    upon_loss: Callable[[], None] | None
    idle_since: float = field(default=0.0, init=False)
    _alarm: Work = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._alarm = self.store.spawn(self._tell, name="loss of a contender's session")

    def abandon(self) -> Work | None:
        """End the session in the background, and with it whatever is tied to it. None where the client has done so."""
        self.upon_loss = None
        self._alarm.cancel()
        try:
            return self.store.spawn(self.session.aclose, name="end of a contender's session")
        except ClientClosed:
            return None

    async def end(self) -> None:
        """The same, and wait for it, for a third of the TTL: it goes on where no peer can be reached. Never raises."""
        ending = self.abandon()
        if ending is not None:
            with anyio.move_on_after(self.session.granted_ttl / 3, shield=True):
                await ending.wait()

    async def cleared(self, entry: Entry, heir: Entry | None) -> tuple[bool, bool]:
        """Delete its one entry: whether nothing is left for certain, and whether an heir was seen to stand after.

        Shielded, for a third of the TTL.
        """
        with anyio.move_on_after(self.session.granted_ttl / 3, shield=True):
            try:
                if heir is not None and self.session.held:
                    return await self.store.hand_over(entry, self.session, heir)
                return self.session.held and await self.store.leave(entry, self.session), False
            except AetcdError:
                return False, False
        return False, False

    async def _tell(self) -> None:
        await self.session.lost.wait()
        if self.upon_loss is not None:
            self.upon_loss()


@define(eq=False)
class Berths:
    """The sessions of one TTL that a client's contenders have, or may have."""

    store: Store
    ttl: int
    _idle: list[Berth] = field(factory=list, init=False)
    _sweeper: Work | None = field(default=None, init=False)

    async def take(self, upon_loss: Callable[[], None]) -> Berth:
        """One that is trusted; a new one where none is left. A cancel leaves nothing that does not end by itself."""
        for berth in reversed(self._idle):
            if berth.session.held:
                self._idle.remove(berth)
                berth.upon_loss = upon_loss
                return berth
        return Berth(self.store, await self.store.begin(self.ttl), upon_loss)

    def give_back(self, berth: Berth) -> None:
        """Nothing is tied to it any more: another may have it."""
        berth.upon_loss = None
        berth.idle_since = asyncio.get_running_loop().time()
        self._idle.append(berth)
        if self._sweeper is None:
            with suppress(ClientClosed):  # which ends them all
                self._sweeper = self.store.spawn(self._sweep, name="sessions that nobody uses")

    async def _sweep(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LINGER)
            for berth in [berth for berth in self._idle if berth.idle_since + LINGER <= clock()]:
                self._idle.remove(berth)
                await berth.end()
            if not self._idle:
                self._sweeper = None
                return


def berths_of(store: Store, ttl: int) -> Berths:
    """Those of a client."""
    berths = store.shared.setdefault((Berths, ttl), Berths(store, ttl))
    assert isinstance(berths, Berths)
    return berths
