"""Something that is done once in a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

from attrs import frozen

from aetcd.recipes._contenders import check_patience
from aetcd.recipes._store import Entry, Session, Store
from aetcd.recipes._waiting import Hold, Tie, persist, token, waited, while_held

__all__ = ["Once"]

T = TypeVar("T")


@frozen
class _Turn:
    """Whose turn it is to go on: one's own, and with the result where there is one already."""

    result: Entry | None


class Once(Generic[T]):
    """Has one process of a cluster run a function, and all others wait for its result.

        schema = await client.once("migrations/7", type=Schema).run(migrate)

    The result is stored for good, and every later `run` answers it without running anything, until `reset()`.

    A runner that dies, or is cut off for its TTL, has stored nothing: another of those who wait runs the function then,
    so what it does outside had better bear a beginning that was not finished. The one that was cut off is cancelled and
    raises SessionLost. A function that raises stores nothing either: the exception is its caller's, and another runs.
    """

    def __init__(self, store: Store, key: str, *, type: Any = None, ttl: int = 15, session: Session | None = None):
        store.check_type(type)
        self.key = key
        self._type = type
        self._ttl = ttl
        self._session = session
        self._store = store

    def __repr__(self) -> str:
        return f"<Once {self.key!r}>"

    async def run(self, function: Callable[[], Awaitable[object]], *, timeout: float | None = None) -> T:
        """The result: of this call's function, or of whoever runs his, or has run it.

        It is what was stored, read as the type asked for, so that it is the same for everybody.

        timeout: Seconds to wait for somebody else's result; by default for ever. Then LockTimeout is raised. A function
            that runs here is not ended by it.

        Raises what the function raises, TypeError where its result cannot be stored, SessionLost, DecodeError. A cancel
        ends the function, and lets another run.
        """
        if not callable(function):
            raise TypeError(f"function must be an async function without arguments, not {function!r}")
        check_patience(timeout)
        hold = Hold(self._store, f"{self.key}/runner", token().encode(), Tie(self._store, self._session, self._ttl))

        async def look() -> _Turn | None:
            return await self._turn(hold)

        try:
            turn = await waited(self._store, self.key, look, timeout, self._text, recursive=True)
            entry = turn.result or await self._run(hold, function)
        finally:
            await hold.drop()
        return self._read(entry)

    async def result(self, timeout: float | None = None) -> T:
        """Wait for the result, and run nothing.

        timeout: Seconds; by default for ever. Then LockTimeout is raised.
        """
        check_patience(timeout)
        return self._read(await waited(self._store, self._result_key, self._look, timeout, self._text))

    async def done(self) -> bool:
        """Whether there is a result, by a linearizable read."""
        return await self._store.read(self._result_key) is not None

    async def reset(self) -> None:
        """Forget the result: the next `run` runs its function. Where there is none this changes nothing."""
        entry = await self._store.read(self._result_key)
        if entry is not None:
            await self._store.leave(entry, None)

    @property
    def _result_key(self) -> str:
        return f"{self.key}/result"

    @property
    def _text(self) -> str:
        return f"{self.key!r} had no result"

    async def _look(self) -> Entry | None:
        return await self._store.read(self._result_key)

    async def _turn(self, hold: Hold) -> _Turn | None:
        """The result, or the right to make it; None while somebody else is at it."""
        if (entry := await self._look()) is not None:
            return _Turn(entry)
        # The runner before this one may have stored it and gone between the two.
        return _Turn(await self._look()) if await hold.take() else None

    async def _run(self, hold: Hold, function: Callable[[], Awaitable[object]]) -> Entry:
        value = await while_held(self._store, hold, function, f"while the function of {self.key!r} ran")
        raw = self._store.encode(value, "result")

        # Where one that was cut off comes late, the first result stands.
        async def keep() -> Entry:
            return await persist(lambda: self._store.claim(self._result_key, raw))

        return await while_held(self._store, hold, keep, f"before the result of {self.key!r} was stored")

    def _read(self, entry: Entry) -> T:
        # A function that answers nothing is stored as JSON's null, which is no text to be read.
        value = None if entry.raw == b"null" else self._store.decode(entry.raw, self._type, self.key)
        return cast(T, value)
