"""What the frames of one watch say: the changes of whole revisions, or why it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from aetcd.errors import AetcdError, HistoryLost, PermissionDenied, Unauthenticated, WatchRefused
from aetcd.etcd._feed import Batch
from aetcd.etcd._values import Change, Node
from aetcd.etcd.v3._errors import Fault
from aetcd.etcd.v3._frames import WATCH, WatchFrame
from aetcd.etcd.v3._models import Event, KeyValue

__all__ = ["Reader", "refusal"]

_PERMISSION_DENIED = 7


def refusal(frame: WatchFrame, peer: str | None) -> AetcdError:
    """Why the server ended a watch, or never created it."""
    if frame.compact_revision:
        text = f"revisions before {frame.compact_revision} are compacted"
        return HistoryLost(text, first_available=frame.compact_revision)
    reason = frame.cancel_reason or "the server ended the watch and gave no reason"
    # Of no token and of a stale one 3.5.1 says here that permission is denied, and 3.4.23 what it says to other calls.
    code = _PERMISSION_DENIED if "PermissionDenied" in reason else None
    kind = Fault(200, code, reason.rpartition("desc = ")[2]).meaning[0]
    if issubclass(kind, PermissionDenied | Unauthenticated):
        return kind(reason, status=200, peer=peer, operation=WATCH.operation)
    return WatchRefused(f"{WATCH.operation} at {peer}: {reason}")


@define(eq=False)
class Reader:
    """Makes batches of the frames of one watch."""

    read: Callable[[KeyValue], Node]
    wanted: Callable[[bytes], bool] | None
    _rest: list[Event] | None = None

    def batches(self, frame: WatchFrame) -> Sequence[Batch]:
        """The revisions that are whole with this frame, in order."""
        events: Sequence[Event] = frame.events
        if self._rest:
            events, self._rest = [*self._rest, *events], None
        if not events:
            return () if frame.created or frame.fragment else (Batch(revision=frame.header.revision),)
        if frame.fragment:
            # Fragments may be cut within one revision: it is whole only when the next one begins, or with the last.
            last = events[-1].kv.mod_revision
            self._rest = [event for event in events if event.kv.mod_revision == last]
            events = events[: len(events) - len(self._rest)]
        if len(events) == 1:  # as nearly always
            event = events[0]
            revision = event.kv.mod_revision
            wanted = self.wanted is None or self.wanted(event.kv.key)
            return (Batch(revision=revision, items=(self._change(event),) if wanted else ()),)
        return self._by_revision(events)

    def _by_revision(self, events: Sequence[Event]) -> Sequence[Batch]:
        batches: list[Batch] = []
        changes: list[Change] = []
        revision = 0
        for event in events:
            if event.kv.mod_revision != revision:
                if revision:
                    batches.append(Batch(revision=revision, items=tuple(changes)))
                changes, revision = [], event.kv.mod_revision
            if self.wanted is None or self.wanted(event.kv.key):
                changes.append(self._change(event))
        if revision:
            batches.append(Batch(revision=revision, items=tuple(changes)))
        return batches

    def _change(self, event: Event) -> Change:
        node = self.read(event.kv)
        previous = None if event.prev_kv is None else self.read(event.prev_kv)
        if event.type == "DELETE":
            node = Node(key=node.key, modified_revision=event.kv.mod_revision)
            return Change(kind="delete", node=node, previous=previous)
        return Change(kind="put", node=node, previous=previous)
