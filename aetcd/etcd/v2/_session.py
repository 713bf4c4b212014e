"""What a session is on etcd v2: keys with a TTL that are refreshed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from attrs import define, field

from aetcd._routing.peer import Peer
from aetcd._transport.supervisor import Job
from aetcd._transport.timeouts import Budget
from aetcd._trust import Trust
from aetcd.errors import (
    AetcdError,
    ClientClosed,
    CompareFailed,
    KeyExists,
    KeyNotFound,
    NotADirectory,
    NotAFile,
    OutcomeUnknown,
    SessionLost,
    TransportError,
)
from aetcd.etcd._session import Session
from aetcd.etcd.v2 import V2
from aetcd.etcd.v2._models import KeysResponse, V2Node

__all__ = ["Held", "V2Lease", "lease_of"]

logger = logging.getLogger("aetcd")

# Seconds; of one second the clock skew would leave nothing to be trusted.
SHORTEST_TTL = 2

# What a write by index is answered where the key is no longer what it was.
_CHANGED = (CompareFailed, KeyNotFound, NotAFile, NotADirectory)


@define(eq=False)
class Held:
    """A key that is kept.

    created: Its creation index: a key of another one is somebody else's.
    modified: The last index of it that is known; a renewal may have moved it since.
    entry: Whether its name is one that only this session uses, so that its end is the session's.
    """

    path: str
    created: int
    modified: int
    entry: bool

    def is_still(self, node: V2Node | None) -> bool:
        """Whether a node that was read is this key. Somebody who took its TTL away has taken it out of the session."""
        if node is None or node.dir or node.created_index != self.created:
            return False
        return self.entry or node.ttl is not None

    def moved(self, index: int) -> None:
        """It was written at an index. Answers may come in any order."""
        self.modified = max(self.modified, index)


@define(eq=False)
class V2Lease:
    """Keys of one TTL, each refreshed by a comparison with its index, which keeps value and creation index.

    As with a v3 lease, a key that is deleted or written anew without the session is no longer its own, and the session
    goes on. A recipe's entry is another matter: its name is nobody else's, so that without it the session is over.

    A key of a write whose fate is open is not kept: if it was written, it expires after its TTL.
    """

    v2: V2
    spawn: Callable[..., Job]
    ttl: int = field(default=0, init=False)
    # A key's expiry is set by the wall clock of the member that took the write, and judged by that of the leader: what
    # their clocks differ by is taken off a key's life.
    clock_skew: float = field(default=1.0, init=False)
    _held: dict[str, Held] = field(factory=dict, init=False)
    _leaving: set[Held] = field(factory=set, init=False)
    _open: set[str] = field(factory=set, init=False)
    _writing: set[Job] = field(factory=set, init=False)
    _rounds: int = field(default=0, init=False)
    _ended: bool = field(default=False, init=False)

    async def begin(self, ttl: int) -> int:
        """Nothing is sent: there is nothing on the server but the keys."""
        self.ttl = max(ttl, SHORTEST_TTL)
        return self.ttl

    async def renew(self, trust: Trust, peer: Peer | None, timeout: float) -> None:
        """Refresh all keys once. The trust is that in the weakest of them, so it is confirmed when all were.

        A session without keys is as good as its clock. It cannot make a later key's trust too long: a key that is sent
        later expires later than anything that was confirmed before; for one that is on its way meanwhile see `hold`.
        """
        self._rounds += 1
        sent = trust.clock()
        budget = Budget(timeout, asyncio.get_running_loop().time)
        for held in tuple(self._held.values()):
            await self._refresh(held, budget, None if peer is None else peer.url)
        trust.confirm(sent, self.ttl)

    async def end(self) -> None:
        """Delete the keys, and entries that may have been created. Raises the first error, after all were tried.

        Writes on their way are waited for: a deletion might overtake one, and the key would be left.
        """
        self._ended = True
        for writing in tuple(self._writing):
            await writing.wait()
        errors: list[AetcdError] = []
        for held in (*self._held.values(), *self._leaving):
            try:
                await self.remove(held)
            except AetcdError as e:
                errors.append(e)
        for path in tuple(self._open):
            try:
                await self._bury(path)
            except AetcdError as e:
                errors.append(e)
        if errors:
            raise errors[0]

    # Keys

    async def hold(
        self, path: str, write: Callable[[], Awaitable[KeysResponse]], *, entry: bool = False
    ) -> KeysResponse:
        """Write a key with the session's TTL, and keep it. Raises what `write` does, and SessionLost.

        A cancel of the caller does not stop the write: its key is the session's from then on.
        """
        if self._ended:
            raise SessionLost("the session was closed")
        answers: list[KeysResponse] = []
        errors: list[Exception] = []

        async def run() -> None:
            try:
                answers.append(await self._write(path, write, entry))
            except (AetcdError, ValueError, TypeError) as e:
                errors.append(e)
            finally:
                self._writing.discard(writing)

        writing = self.spawn(run, name=f"write of {path!r} in a session")
        self._writing.add(writing)
        await writing.wait()
        if errors:
            raise errors[0]
        if not answers:
            raise ClientClosed(f"the client was closed while {path!r} was written")
        return answers[0]

    async def _write(self, path: str, write: Callable[[], Awaitable[KeysResponse]], entry: bool) -> KeysResponse:
        rounds = self._rounds
        try:
            answer = await write()
        except TransportError:
            if entry:
                self._open.add(path)
            raise
        node = answer.the_node
        held = self._held[path] = Held(path, node.created_index, node.modified_index, entry)
        if self._rounds != rounds:
            # A renewal that began after this was sent did not know of it, and is trusted for longer than it lives.
            await self._refresh(held, Budget(self.ttl, asyncio.get_running_loop().time), None)
        return answer

    def held(self, path: str, created: int) -> Held | None:
        """The key of that path and creation index, if it is kept."""
        held = self._held.get(path)
        return held if held is not None and held.created == created else None

    async def remove(self, held: Held) -> bool:
        """Keep it no longer, and delete it if it is still the same. False where it was gone."""
        if self._held.get(held.path) is held:
            del self._held[held.path]
        # Where this is given up before it has an answer, as upon a change of leaders, the session's end goes on.
        self._leaving.add(held)
        gone = await self._remove(held)
        self._leaving.discard(held)
        return gone

    async def _remove(self, held: Held) -> bool:
        unknown = False
        while True:
            try:
                await self.v2.compare_and_delete(held.path, previous_index=held.modified)
                return True
            except KeyNotFound:
                return unknown
            except (*_CHANGED, OutcomeUnknown) as e:
                unknown = unknown or isinstance(e, OutcomeUnknown)
                node = await self._read(held.path, None, None)
                if node is None or not held.is_still(node):
                    return unknown
                held.moved(node.modified_index)

    async def _refresh(self, held: Held, budget: Budget, peer: str | None) -> None:
        """Refresh one key, or find that it is no longer kept. Raises SessionLost for an entry that is gone."""
        while True:
            try:
                answer = await self.v2.refresh(
                    held.path, self.ttl, previous_index=held.modified, timeout=budget.left(), peer=peer
                )
            except _CHANGED:
                # Another renewal may have moved the index, or one whose answer was lost.
                node = await self._read(held.path, budget, peer)
                if self._held.get(held.path) is not held:
                    return  # let go of, or written anew, meanwhile
                if node is None or not held.is_still(node):
                    self._lose(held)
                    return
                held.moved(node.modified_index)
            else:
                held.moved(answer.the_node.modified_index)
                return

    def _lose(self, held: Held) -> None:
        del self._held[held.path]
        if held.entry:
            raise SessionLost(f"the entry {held.path!r} is gone: it expired, or somebody deleted it")
        logger.debug("%s no longer belongs to its session: it was deleted, or written without it", held.path)

    async def _read(self, path: str, budget: Budget | None, peer: str | None) -> V2Node | None:
        try:
            answer = await self.v2.get(path, quorum=True, timeout=None if budget is None else budget.left(), peer=peer)
        except (KeyNotFound, NotADirectory):
            return None
        return answer.the_node

    async def _bury(self, path: str) -> None:
        """Delete what may have been created, or may yet be: its request was lost on its way.

        A deletion alone may overtake it. Creating it again makes the one on its way fail, or finds it. What comes later
        than both is gone after its TTL.
        """
        with suppress(KeyExists):
            await self.v2.create(path, "", ttl=self.ttl)
        with suppress(KeyNotFound):
            await self.v2.delete(path)
        self._open.discard(path)


def lease_of(session: Session) -> V2Lease:
    """What a session's keys are kept by. Raises SessionLost, and TypeError for one of another protocol."""
    lease = session.require()
    if not isinstance(lease, V2Lease):
        raise TypeError("session: it belongs to a client that speaks another protocol")
    return lease
