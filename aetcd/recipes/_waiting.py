"""What the recipes have in common: waiting that outlives a bad connection, and keys that leave no orphan."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

import anyio

from aetcd._trust import Flag
from aetcd.errors import PASSING, AetcdError, ClientClosed, HistoryLost, LockTimeout, SessionLost, TransportError
from aetcd.recipes._store import Entry, KeyChange, Session, SignalLike, Store, Work

__all__ = [
    "CLEANING",
    "Hold",
    "Pauses",
    "Tie",
    "persist",
    "settled",
    "token",
    "until",
    "waited",
    "while_held",
    "within",
]

T = TypeVar("T")

LONGEST_PAUSE = 1.0  # seconds between two attempts where the store cannot be reached
CLEANING = 5.0  # seconds for which a caller waits for its clean-up; after that it goes on in the background


def token() -> str:
    """A name that nothing else has."""
    return uuid.uuid4().hex


class Losable(Protocol):
    """Something that is held until it is lost."""

    @property
    def lost(self) -> SignalLike:
        """That it cannot be trusted any more."""
        ...


class Pauses:
    """Pauses between attempts: longer with each one, with jitter."""

    def __init__(self, first: float = 0.05, longest: float = LONGEST_PAUSE) -> None:
        self._first = first
        self._longest = longest
        self._random = random.Random()
        self._count = 0

    def reset(self) -> None:
        """It went well: the next pause is a short one."""
        self._count = 0

    async def wait(self) -> None:
        """Wait out the next one."""
        ceiling = min(self._longest, self._first * 2.0 ** min(self._count, 10))
        self._count += 1
        await asyncio.sleep(self._random.uniform(0, ceiling))


async def within(timeout: float | None, work: Callable[[], Awaitable[T]], text: str) -> T:
    """Do it within so many seconds; None for ever. Raises LockTimeout with this text."""
    try:
        async with asyncio.timeout(timeout):
            return await work()
    except TimeoutError as e:
        if isinstance(e, AetcdError):
            raise
        raise LockTimeout(f"{text} within {timeout:g} s") from e


async def waited(
    store: Store,
    key: str,
    look: Callable[[], Awaitable[T | None]],
    timeout: float | None,
    text: str,
    *,
    recursive: bool = False,
    matters: Callable[[KeyChange], bool] = lambda change: True,
) -> T:
    """As `until`, but for so many seconds; 0 looks once. Raises LockTimeout with this text."""
    if timeout == 0:
        if (seen := await look()) is None:
            raise LockTimeout(f"{text} yet")
        return seen
    return await within(timeout, lambda: until(store, key, look, recursive=recursive, matters=matters), text)


async def persist(work: Callable[[], Awaitable[T]]) -> T:
    """Do what may be done twice until it is done. What passes by itself is waited out."""
    pauses = Pauses()
    while True:
        try:
            return await work()
        except PASSING:
            await pauses.wait()


async def until(
    store: Store,
    key: str,
    look: Callable[[], Awaitable[T | None]],
    *,
    recursive: bool = False,
    matters: Callable[[KeyChange], bool] = lambda change: True,
) -> T:
    """Look, and look again after each change that matters, until there is something to be seen.

    A watch that ends shows nothing: it is begun again, and the store looked at again. Raises what ends one for good.
    """
    pauses = Pauses()
    while True:
        try:
            if (seen := await look()) is not None:
                return seen
            async with store.changes(key, None, recursive=recursive) as changes:
                # Looked at again now that nothing can be missed any more.
                while (seen := await look()) is None:
                    pauses.reset()
                    due = False
                    while not due or changes.lag:
                        due = matters(await anext(changes)) or due
                return seen
        except (HistoryLost, *PASSING):
            await pauses.wait()


async def gone(store: Store, entry: Entry) -> None:
    """Wait until an entry is no longer there."""
    since: int | None = entry.created_revision + 1
    pauses = Pauses()
    while True:
        try:
            async with store.changes(entry.key, since) as changes:
                if since is None and not await store.stands(entry):
                    return
                async for change in changes:
                    if change.kind != "put":
                        return
        except (HistoryLost, *PASSING):
            since = None
            await pauses.wait()


async def settled(
    store: Store, write: Callable[[], Awaitable[T]], undo: Callable[[], Awaitable[object]], *, name: str
) -> T:
    """Write something, to be undone where it is cancelled or its fate is open.

    Both run in the background, one after the other, since what undoes might overtake what is on its way.
    """
    answers: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        try:
            answers.append(await write())
        except (AetcdError, ValueError, TypeError) as e:
            errors.append(e)

    async def clean() -> None:
        await writing.wait()
        with suppress(AetcdError):
            await persist(undo)

    writing = store.spawn(run, name=name)
    try:
        await writing.wait()
        if errors:
            raise errors[0]
        if not answers:
            raise ClientClosed(f"the client was closed: {name}")
        return answers[0]
    except (asyncio.CancelledError, TransportError):
        with suppress(ClientClosed), anyio.move_on_after(CLEANING, shield=True):
            await store.spawn(clean, name=f"removal of {name}").wait()
        raise


async def while_held(store: Store, held: Losable, work: Callable[[], Awaitable[T]], text: str) -> T:
    """Do it for as long as something is held. When it is lost the work is cancelled, and SessionLost raised."""
    with anyio.CancelScope() as scope:

        async def alarm() -> None:
            await held.lost.wait()
            scope.cancel()

        watching = store.spawn(alarm, name="session of a recipe")
        try:
            return await work()
        finally:
            watching.cancel()
    raise SessionLost(f"the session ended {text}")


class Tie:
    """What keys are tied to: a session of one's own, which is begun when it is needed, or one that is shared."""

    def __init__(self, store: Store, session: Session | None, ttl: int) -> None:
        self._store = store
        self._session = session
        self._ttl = ttl
        self.own = session is None

    @property
    def session(self) -> Session:
        """The session. Raises SessionLost where none was begun."""
        if self._session is None:
            raise SessionLost("no session was begun")
        return self._session

    @property
    def begun(self) -> bool:
        """Whether there is a session of one's own to be ended."""
        return self.own and self._session is not None

    async def begin(self) -> Session:
        """The session, begun if it is one's own. Raises SessionLost for a shared one that cannot be trusted."""
        if self._session is None:
            self._session = await self._store.begin(self._ttl)
        if not self._session.held:
            raise SessionLost("the session is lost, closed, or was never opened")
        return self._session

    async def end(self) -> None:
        """End a session of one's own; a shared one goes on. Never raises."""
        if self.own and self._session is not None:
            session, self._session = self._session, None
            await session.aclose()


class Hold:
    """A key of one's own for as long as a session lives: from `take` to `drop`.

    lost: Set when it can no longer be trusted: its session was lost, or the key deleted by somebody.
    """

    def __init__(self, store: Store, key: str, raw: bytes, tie: Tie) -> None:
        self.key = key
        self.lost = Flag()
        self._store = store
        self._raw = raw
        self._tie = tie
        self._entry: Entry | None = None
        self._writing: Work | None = None
        self._keeper: Work | None = None

    @property
    def entry(self) -> Entry:
        """The key as it was created. Raises SessionLost where it is not held."""
        if self._entry is None:
            raise SessionLost(f"{self.key!r} is not held")
        return self._entry

    @property
    def held(self) -> bool:
        """Whether it can be trusted, by the clock now."""
        return self._entry is not None and not self.lost and self._tie.session.held

    async def take(self) -> bool:
        """Create the key. False where it is there, and somebody else's.

        Raises SessionLost, and what the pool raises. However it fails, and also when it is cancelled, `drop` removes
        what may have been written.
        """
        session = await self._tie.begin()
        answers: list[Entry] = []
        errors: list[Exception] = []

        async def write() -> None:
            try:
                answers.append(await self._store.claim(self.key, self._raw, session))
            except (AetcdError, ValueError, TypeError) as e:
                errors.append(e)

        # In the background, so that no cancel leaves it on its way: what removes it might overtake it.
        self._writing = self._store.spawn(write, name=f"claim of {self.key!r}")
        await self._writing.wait()
        if errors:
            if not isinstance(errors[0], TransportError):
                self._writing = None
            raise errors[0]
        if not answers:
            raise ClientClosed(f"the client was closed while {self.key!r} was written")
        if answers[0].raw != self._raw:
            self._writing = None
            return False
        self._entry = answers[0]
        self._keeper = self._store.spawn(partial(self._keep, answers[0], session), name=f"hold of {self.key!r}")
        return True

    async def swap(self, raw: bytes) -> None:
        """Give it another value. Raises NotOwner."""
        self._entry = await self._store.swap(self.entry, raw, self._tie.session)

    async def drop(self) -> None:
        """Delete the key, and end a session of one's own; also when the caller is cancelled, before or meanwhile.

        Where the store cannot be reached, it goes on in the background until the session has ended. Raises nothing of
        its own.
        """
        await self._end(whole=True)

    async def leave(self) -> None:
        """Delete the key, as `drop`, and leave the session as it is."""
        await self._end(whole=False)

    async def _end(self, *, whole: bool) -> None:
        entry, writing, keeper = self._entry, self._writing, self._keeper
        if writing is None and not (whole and self._tie.begun):
            return
        self._entry = self._writing = self._keeper = None

        async def clean() -> None:
            if keeper is not None:
                keeper.cancel()
            # The end of a session of one's own deletes the key, and also one that is on its way.
            if writing is not None and not (whole and self._tie.own):
                await writing.wait()
                with suppress(AetcdError):  # the session is over, and its keys with it
                    session = self._tie.session
                    await while_held(self._store, session, lambda: persist(partial(self._remove, entry)), "")
            if whole:
                await self._tie.end()

        # In the background, where no second cancel ends it.
        with suppress(ClientClosed), anyio.move_on_after(CLEANING, shield=True):
            await self._store.spawn(clean, name=f"removal of {self.key!r}").wait()

    async def _remove(self, entry: Entry | None) -> None:
        standing = entry or await self._store.read(self.key)
        if standing is not None and (entry is not None or standing.raw == self._raw):
            await self._store.leave(standing, self._tie.session)

    async def _keep(self, entry: Entry, session: Session) -> None:
        try:
            async with anyio.create_task_group() as group:

                async def first(work: Callable[[], Awaitable[None]]) -> None:
                    await work()
                    group.cancel_scope.cancel()

                group.start_soon(first, session.lost.wait)
                group.start_soon(first, lambda: gone(self._store, entry))
        except Exception:
            # Nobody would notice a loss any more.
            self.lost.set()
            raise
        self.lost.set()
