"""A copy of all keys under a prefix, in memory, that follows every change and knows how old it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast
from weakref import WeakSet

import anyio

from aetcd.errors import PASSING, AetcdError, ClientClosed, HistoryLost, ServerError, WatchError
from aetcd.recipes._store import Changes, Store, Work
from aetcd.recipes._waiting import CLEANING, Pauses

__all__ = ["Difference", "Differences", "Mirror"]

T = TypeVar("T")

BEAT = 1.0  # seconds between two reads that ask whether the cluster still answers
STALE_AFTER = 3.0  # seconds without an answer after which the mirror no longer calls itself fresh
UNREAD = object()


class _Cell:
    """One key as it stands, its value read when it is first asked for."""

    __slots__ = ("raw", "revision", "value")

    def __init__(self, raw: bytes, revision: int) -> None:
        self.raw = raw
        self.revision = revision
        self.value: Any = UNREAD


class Difference(Generic[T]):
    """What became of one key since the reader last heard of it.

    kind: `put` or `delete`.
    key: The key, as the caller writes it.
    """

    __slots__ = ("_before", "_mirror", "_now", "key", "kind")

    def __init__(self, key: str, before: _Cell | None, now: _Cell | None, mirror: Mirror[T]) -> None:
        self.kind: Literal["put", "delete"] = "delete" if now is None else "put"
        self.key = key
        self._before = before
        self._now = now
        self._mirror = mirror

    @property
    def value(self) -> T | None:
        """The value now; None of a deletion. Raises DecodeError."""
        return None if self._now is None else self._mirror._read(self.key, self._now)  # noqa: SLF001

    @property
    def previous(self) -> T | None:
        """The value before; None where there was none. Raises DecodeError."""
        return None if self._before is None else self._mirror._read(self.key, self._before)  # noqa: SLF001

    @property
    def raw(self) -> bytes | None:
        """The stored bytes; None of a deletion."""
        return None if self._now is None else self._now.raw

    def __repr__(self) -> str:
        return f"<Difference {self.kind} {self.key!r}>"


class Differences(Generic[T]):
    """What changes in a mirror, as an async iterator.

    Of each key the latest is promised, not each value in between: who is slow is told less, and never falls behind. It
    raises what ended the mirror, WatchError when the mirror's block was left, and ClientClosed.
    """

    def __init__(self, mirror: Mirror[T]) -> None:
        self._mirror = mirror
        # Of each key that changed, how the reader knows it.
        self._pending: dict[str, _Cell | None] = {}
        self._filled = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Difference[T]:
        while True:
            await self._some()
            key = next(iter(self._pending))
            if (difference := self._take(key)) is not None:
                return difference

    async def batch(self) -> Sequence[Difference[T]]:
        """All differences that there are, at least one."""
        while True:
            await self._some()
            taken = [self._take(key) for key in tuple(self._pending)]
            if differences := [difference for difference in taken if difference is not None]:
                return differences

    def _changed(self, key: str, before: _Cell | None) -> None:
        self._pending.setdefault(key, before)
        self._filled.set()

    def _wake(self) -> None:
        self._filled.set()

    async def _some(self) -> None:
        while not self._pending:
            self._mirror._check()  # noqa: SLF001
            self._filled.clear()
            await self._filled.wait()

    def _take(self, key: str) -> Difference[T] | None:
        before, now = self._pending.pop(key), self._mirror._cells.get(key)  # noqa: SLF001
        return None if now is before else Difference(key, before, now, self._mirror)


class Mirror(Mapping[str, T]):
    """A read-only mapping of keys to values, which follows the store.

        async with client.mirror("config", type=int) as config:
            config["config/limit"]
            config.fresh, config.age

    It holds the key and all under `key/`, under the names that the client uses for them, and is complete when the block
    is entered. Reading it sends nothing. Values are read as the type when they are first asked for, which raises
    DecodeError for one that does not fit; a value is one object until it changes, so do not change it.

    It is never stale without saying so. While its watch is broken, or no peer answers, it keeps what it had, `fresh`
    turns False within 3 s, and `age` grows. When the watch stands again all is read anew, also where the history was
    lost, and what differs is told as differences. What ends it for good, as a lost permission, is in `error`.

    It asks the cluster once a second whether it still answers, by the read of one key.
    """

    def __init__(self, store: Store, key: str, *, type: Any = None) -> None:
        store.check_type(type)
        self.key = key
        self.error: AetcdError | None = None
        self._store = store
        self._type = type
        self._cells: dict[str, _Cell] = {}
        self._revision = 0
        self._floor = 0  # of what was read: changes up to here are in it
        self._gone: dict[str, int] | None = None
        self._read_at: tuple[Changes, object] | None = None
        self._asked = self._confirmed = -float("inf")
        self._changes: Changes | None = None
        self._jobs: list[Work] = []
        self._readers: WeakSet[Differences[T]] = WeakSet()
        self._callbacks: list[Callable[[Difference[T]], object]] = []
        self._entered = False
        self._over = False
        self._stood = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<Mirror of {self.key!r}: {len(self)} keys at revision {self._revision}{'' if self.fresh else ', stale'}>"
        )

    # The mapping

    def __getitem__(self, key: str) -> T:
        return self._read(key, self._cells[key])

    def __iter__(self) -> Iterator[str]:
        """Keys as they stand now, which change only when this task waits for something."""
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def __contains__(self, key: object) -> bool:
        return key in self._cells

    # How far it can be relied on

    @property
    def revision(self) -> int:
        """Revision of the last change that is in it, or of the reading that it began with."""
        return self._revision

    @property
    def fresh(self) -> bool:
        """Whether it was found to be current within the last seconds: its watch stands, and the cluster answers."""
        return self._stands and self.age < STALE_AFTER

    @property
    def age(self) -> float:
        """Seconds since it was last known to be current. While all is well that is about one at most.

        It is infinite before the block is entered, and grows after it was left.
        """
        self._confirm()
        return self._store.clock() - self._confirmed

    # Differences

    def on_change(self, callback: Callable[[Difference[T]], object]) -> Callable[[], None]:
        """Have a function called after each change, in order, soon after it is in the mirror.

        An exception of it goes to the loop's exception handler. Returns a function that ends it.
        """
        if not callable(callback):
            raise TypeError(f"callback must be a function, not {callback!r}")
        self._callbacks.append(callback)

        def end() -> None:
            with suppress(ValueError):
                self._callbacks.remove(callback)

        return end

    def differences(self) -> Differences[T]:
        """What changes from now on: `async for difference in mirror.differences()`. See `Differences`."""
        differences = Differences(self)
        self._readers.add(differences)
        return differences

    # Its life

    async def __aenter__(self) -> Self:
        """Read all there is, and wait until its watch stands. Raises what reading raises; a cancel leaves nothing."""
        if self._entered:
            raise WatchError("a mirror can be entered once: make a new one")
        self._entered = True
        self._jobs.append(self._store.spawn(self._run, name=f"mirror of {self.key!r}"))
        try:
            await self._stood.wait()
            self._check()
            await self._synchronise()
            self._jobs.append(self._store.spawn(self._beat, name=f"beat of the mirror of {self.key!r}"))
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        self.error = self.error or WatchError(f"the mirror of {self.key!r} was left: read it inside its block")
        for job in self._jobs:
            job.cancel()
        with anyio.move_on_after(CLEANING, shield=True):
            for job in self._jobs:
                await job.wait()

    async def _run(self) -> None:
        try:
            await self._follow()
        except AetcdError as e:
            self.error = self.error or e
        finally:
            self._over = True
            self._stood.set()
            for reader in tuple(self._readers):
                reader._wake()  # noqa: SLF001

    async def _follow(self) -> None:
        pauses = Pauses()
        while True:
            try:
                # From now on; what there was before is read when it stands.
                async with self._store.changes(self.key, None, recursive=True) as changes:
                    self._changes = changes
                    self._stood.set()
                    async for change in changes:
                        pauses.reset()
                        if change.revision > self._floor:
                            self._apply(change.key, None if change.kind != "put" else change.raw, change.revision)
                        self._confirm()
            except (HistoryLost, *PASSING) as e:
                if not self._stood.is_set():
                    raise
                if isinstance(e, HistoryLost):
                    self._doubt_revisions()
                await pauses.wait()
            finally:
                self._confirm()
                self._changes = None

    def _doubt_revisions(self) -> None:
        """The history may be another one's, as of a restored cluster: of its revisions ours say nothing."""
        self._floor = 0
        for cell in self._cells.values():
            cell.revision = 0

    async def _beat(self) -> None:
        """Ask again and again whether the cluster answers: a watch without changes tells nothing.

        A watch that was interrupted, or is another one, says that it stands before it has told what it missed: so all
        is read anew then.
        """
        while True:
            try:
                asked = self._store.clock()
                if not self._stands:
                    if self._changes is not None and self._changes.live:
                        await self._synchronise()
                elif await self._answers():
                    self._asked = asked
                    self._confirm()
                await asyncio.sleep(BEAT if self._stands else BEAT / 10)
            except PASSING:
                await asyncio.sleep(BEAT)
            except AetcdError as e:
                self.error = self.error or e
                self._jobs[0].cancel()
                return

    async def _answers(self) -> bool:
        """Whether the cluster answers a linearizable read, whatever it says."""
        try:
            await self._store.read(self.key or "_")  # what is there is of no interest, but the root has no name
        except PASSING:
            return False
        except ServerError:
            return True
        return True

    async def _synchronise(self) -> None:
        """Read all there is, and tell what differs from what was known."""
        asked, standing = self._store.clock(), self._standing
        gone = self._gone = {}  # meanwhile the watch goes on, and may be ahead of what is read
        try:
            listed = await self._store.list(self.key)
        finally:
            self._gone = None
        self._floor = listed.revision
        there = {entry.key: entry for entry in listed.entries}
        for key in [key for key, cell in self._cells.items() if key not in there and cell.revision <= listed.revision]:
            self._apply(key, None, listed.revision)
        for entry in there.values():
            if gone.get(entry.key, 0) <= listed.revision:
                self._apply(entry.key, entry.raw, entry.modified_revision)
        self._revision = max([listed.revision, *(cell.revision for cell in self._cells.values())])
        if standing is not None and standing == self._standing:
            self._read_at = standing
            self._asked = asked
            self._confirm()

    # One change

    def _apply(self, key: str, raw: bytes | None, revision: int) -> None:
        self._revision = max(self._revision, revision)
        before = self._cells.get(key)
        if raw is None:
            now = None
            if self._gone is not None:
                self._gone[key] = revision
            if self._cells.pop(key, None) is None:
                return
        else:
            if before is not None and before.raw == raw:
                # Written again, or on v2 refreshed, which no watch tells.
                before.revision = max(before.revision, revision)
                return
            if before is not None and before.revision >= revision:
                return
            now = self._cells[key] = _Cell(raw, revision)
        for reader in self._readers:
            reader._changed(key, before)  # noqa: SLF001
        if self._callbacks:
            self._call(Difference(key, before, now, self))

    def _call(self, difference: Difference[T]) -> None:
        loop = asyncio.get_running_loop()
        for callback in self._callbacks:
            loop.call_soon(callback, difference)

    def _check(self) -> None:
        """Raises what ended it."""
        if self._over:
            raise self.error or ClientClosed(f"the client was closed, and with it the mirror of {self.key!r}")

    def _read(self, key: str, cell: _Cell) -> T:
        if cell.value is UNREAD:
            cell.value = self._store.decode(cell.raw, self._type, key)
        return cast(T, cell.value)

    @property
    def _standing(self) -> tuple[Changes, object] | None:
        """The watch that stands, and what it was last interrupted by; None while none does."""
        changes = self._changes
        return None if changes is None or not changes.live else (changes, changes.interruption)

    @property
    def _stands(self) -> bool:
        """Whether a watch stands, and all was read since it does."""
        return self._read_at is not None and self._standing == self._read_at

    def _confirm(self) -> None:
        """It is as the cluster was when that was last asked, if all that has come since is in it."""
        if self._stands and self._changes is not None and not self._changes.lag:
            self._confirmed = max(self._confirmed, self._asked)
