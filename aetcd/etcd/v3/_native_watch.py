"""Watching as etcd tells it: events on keys that are bytes, with the server's own options."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import define, field

from aetcd._transport.timeouts import Timeout
from aetcd.etcd._values import Change, Node
from aetcd.etcd._watch import Feed, Watch, WatchStatus
from aetcd.etcd.v3._arguments import flag
from aetcd.etcd.v3._codec import Key, key_range, whole
from aetcd.etcd.v3._frames import create_request
from aetcd.etcd.v3._models import Event, KeyValue
from aetcd.etcd.v3._watch import RangeFeed

if TYPE_CHECKING:
    from aetcd.etcd.v3 import V3

__all__ = ["EventWatch", "watch_events"]


class _Held(Node, frozen=True, kw_only=True):
    """A key and value as they came: its `key` has one character for each byte."""

    kv: KeyValue


def _held(kv: KeyValue) -> Node:
    return _Held(key=kv.key.decode("latin-1"), raw=kv.value, modified_revision=kv.mod_revision, kv=kv)


def _event(change: object) -> Event:
    assert isinstance(change, Change)  # markers come only where they were asked for
    node, previous = change.node, change.previous
    prev_kv = previous.kv if isinstance(previous, _Held) else None
    if isinstance(node, _Held):
        return Event(kv=node.kv, prev_kv=prev_kv)
    kv = KeyValue(key=node.key.encode("latin-1"), mod_revision=node.modified_revision)
    return Event(type="DELETE", kv=kv, prev_kv=prev_kv)


@define(eq=False)
class _EventFeed(RangeFeed):
    """The changes of a range, asked for with the caller's own options."""

    options: Mapping[str, bool] = field(factory=dict, kw_only=True)

    def request(self, watch_id: int, since: int | None) -> bytes:
        """What asks for it on a stream."""
        first, end = self.gateway.namespace.range(*key_range(self.key, self.range_end, False, False))
        return create_request(
            first, range_end=end or None, start_revision=since or 0, watch_id=watch_id, **self.options
        )


class EventWatch:
    """Events of a range of keys: each once, in order, or an error that says what was lost.

    Enter it with `async with`; it stands when the block is entered. Then `async for event in events` gives one event
    after the other, and `async for batch in events.batches()` all of one revision together.

    It goes on by itself, from where it was, after whatever ends its connection. Iteration raises HistoryLost where the
    events that come next are compacted or those of another cluster, PermissionDenied, Unauthenticated and WatchRefused
    where the server will not serve it, ClientClosed. A slow reader slows this watch only: it is read again when there
    is room.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def revision(self) -> int:
        """The last revision handed out whole: `start_revision=events.revision + 1` goes on from there."""
        return self._watch.revision

    def status(self) -> WatchStatus:
        """How it is."""
        return self._watch.status()

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._watch.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return _event(await anext(self._watch))

    async def batches(self) -> AsyncIterator[Sequence[Event]]:
        """All events of one revision together."""
        async for batch in self._watch.batches():
            yield [_event(change) for change in batch]

    def __repr__(self) -> str:
        return f"<Event{repr(self._watch)[1:]}"


def watch_events(
    v3: V3,
    key: Key,
    range_end: Key | None,
    prefix: bool,
    from_key: bool,
    start_revision: int,
    timeout: float | Timeout | None,
    **options: bool,
) -> EventWatch:
    """See `V3.watch`."""
    first, end = key_range(key, range_end, prefix, from_key)
    since = whole(start_revision, "start_revision") or None
    for argument, given in options.items():
        flag(given, argument)
    text = key if isinstance(key, str) else key.decode(errors="backslashreplace")
    name = text if end == b"" else f"{text}..."
    namespace = v3.gateway.namespace

    def held(kv: KeyValue) -> Node:
        return _held(namespace.leave(kv))

    async def feed() -> Feed:
        read = held if namespace.prefix else _held
        return _EventFeed(name, v3.gateway, v3, first, end or None, read, v3.hub, options=options)

    pool = v3.gateway.channel.pool
    limits = pool.timeout if timeout is None else Timeout.of(timeout)
    watch = Watch(feed, spawn=pool.spawn, deadlines=pool.deadlines, name=name, timeout=limits.total, since=since)
    v3.watches.add(watch)
    return EventWatch(watch)
