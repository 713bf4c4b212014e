"""A barrier: whoever waits goes on once it is released."""

from __future__ import annotations

from aetcd.errors import CoordinationError
from aetcd.recipes._contenders import check_patience
from aetcd.recipes._store import Entry, KeyChange, Session, Store
from aetcd.recipes._waiting import settled, token, waited

__all__ = ["Barrier"]


class Barrier:
    """Holds back all who wait for it, from `hold()` until `release()`.

        barrier = client.barrier("maintenance")
        await barrier.hold()         # one process
        await barrier.wait()         # the others
        await barrier.release()      # any process

    It is one key, so that anybody may release it, also by deleting the key by hand. Without a session it stays until
    then; with one it is also released when the session ends, as where its holder dies.

    It is open only where the store says so: a watch that breaks or dies opens nothing, and while no peer can be reached
    the waiting goes on.
    """

    def __init__(self, store: Store, name: str, *, session: Session | None = None) -> None:
        self.name = name
        self._store = store
        self._session = session
        self._raw = token().encode()

    def __repr__(self) -> str:
        return f"<Barrier {self.name!r}>"

    async def hold(self) -> None:
        """Put it up. A second time by the same object changes nothing.

        Raises CoordinationError where somebody else holds it, SessionLost, and what the pool raises; a failed or
        cancelled one leaves nothing standing.
        """
        entry = await settled(self._store, self._claim, self._undo, name=f"barrier {self.name!r}")
        if entry.raw != self._raw:
            raise CoordinationError(f"the barrier {self.name!r} is held by somebody else")

    async def release(self) -> None:
        """Take it down, whoever put it up. Where none is held this changes nothing."""
        entry = await self._store.read(self.name)
        if entry is not None:
            await self._store.leave(entry, None)

    async def held(self) -> bool:
        """Whether it stands now, by a linearizable read."""
        return await self._store.read(self.name) is not None

    async def wait(self, timeout: float | None = None) -> None:
        """Wait until it is released; at once where it is not held. A cancel leaves nothing behind.

        Who waits while it is released goes on, also where it is held again at once.

        timeout: Seconds; by default for ever. 0 looks once. Raises LockTimeout.
        """
        check_patience(timeout)
        text = f"the barrier {self.name!r} was not released"
        released = False

        def matters(change: KeyChange) -> bool:
            nonlocal released
            released = released or change.kind != "put"
            return released

        async def look() -> bool | None:
            return True if released or await self._store.read(self.name) is None else None

        await waited(self._store, self.name, look, timeout, text, matters=matters)

    async def _claim(self) -> Entry:
        return await self._store.claim(self.name, self._raw, self._session)

    async def _undo(self) -> None:
        entry = await self._store.read(self.name)
        if entry is not None and entry.raw == self._raw:
            await self._store.leave(entry, self._session)
