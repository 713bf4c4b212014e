"""Which operations travel together, and when: decisions only, nothing here waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import msgspec
from attrs import define, field

from aetcd._transport.supervisor import Job

__all__ = ["Batch", "Gathering", "Solo"]

MOST = 128  # etcd's own --max-txn-ops
IN_FLIGHT = 2  # so that the server works on one batch while the client reads and writes the other
TOGETHER = 64  # operations: on two cores no more are done in two requests of half the size, and each costs
COMPANY = 8  # operations under way together, whose callers are worth waiting for: they are likely to ask again
HEAVY = 512 * 1024  # bytes of one request: a third of what etcd takes
REMEMBERED = 1024  # keys that go alone


class Waits(Protocol):
    """What the decisions need to know of an operation.

    weight: Bytes of its request.
    pace: Its limits on connecting and on silence: those who share a request have the same.
    """

    @property
    def key(self) -> bytes: ...
    @property
    def weight(self) -> int: ...
    @property
    def pace(self) -> tuple[float | None, float | None]: ...


W = TypeVar("W", bound=Waits)


class Batch(msgspec.Struct, Generic[W], eq=False):
    """What travels together: each key once, with those who wait for it.

    members: All who wait, in the order of their calls.
    """

    pieces: dict[bytes, list[W]] = msgspec.field(default_factory=dict)
    members: list[W] = msgspec.field(default_factory=list)
    job: Job | None = None

    @property
    def size(self) -> int:
        """How many wait."""
        return len(self.members)

    def forget(self) -> None:
        """It is over. Its members know it: a circle that the collector would have to find."""
        self.pieces.clear()
        self.members.clear()


@define(eq=False)
class Gathering(Generic[W]):
    """What waits, what is under way, and what goes next.

    shared: Whether one operation serves all who ask for its key (reads). Otherwise a key is once in a request.
    ordered: Whether a key is in one request at a time only, so that its writes are applied in the order of the calls.
    limit: Operations that the server takes in one transaction, as far as it is known.
    crowded: Whether several waited when last something went: then whoever comes waits for the end of the loop's turn,
        for others are likely to come in it.
    """

    shared: bool
    ordered: bool
    limit: int = MOST
    crowded: bool = False
    waiting: dict[W, None] = field(factory=dict, init=False)
    batches: int = field(default=0, init=False)
    aboard: int = field(default=0, init=False)
    alone: int = field(default=0, init=False)
    held: set[bytes] = field(factory=set, init=False)

    @property
    def _slots(self) -> int:
        """Requests at a time. Where the server takes no transactions worth the name, as many as come."""
        return IN_FLIGHT if self.limit > 1 else len(self.waiting) + self.alone + self.batches + 1

    def admits(self, key: bytes) -> bool:
        """Whether it may go at once, alone: nobody is about that it could go with."""
        return (
            not self.crowded and not self.waiting and self.alone + self.batches < self._slots and key not in self.held
        )

    @property
    def _goes_by_itself(self) -> bool:
        """Whether one that found no other in its turn of the loop goes, and does not wait for those who come back.

        To wait costs a read up to the time of a request, which is worth the company of many only.
        """
        return self.alone + self.batches < self._slots or (self.shared and self.aboard < COMPANY)

    def add(self, item: W) -> None:
        """It waits, behind those who do."""
        self.waiting[item] = None

    def withdraw(self, item: W) -> None:
        """It waits no more. What is under way goes on."""
        self.waiting.pop(item, None)

    def take(self) -> Batch[W] | None:
        """What goes now; None where all that waits has to go on waiting.

        A batch of one goes alone: it is under way as one that was admitted.
        """
        if not self.waiting or self.batches >= self._slots:
            return None
        batch = self._choose()
        if batch.size == 0 or (batch.size == 1 and not self._goes_by_itself):
            return None
        if batch.size == len(self.waiting):  # as nearly always
            self.waiting = {}
        else:
            for item in batch.members:
                del self.waiting[item]
        if batch.size == 1:
            self.crowded = self.batches > 0
            self.set_off(batch.members[0].key)
            return batch
        self.crowded = True
        self.batches += 1
        self.aboard += batch.size
        if self.ordered:
            self.held.update(batch.pieces)
        return batch

    def _choose(self) -> Batch[W]:
        # Half of all, under way ones included: so two batches of one size form, and stay, and take turns.
        room = max(TOGETHER, -(-(len(self.waiting) + self.aboard) // IN_FLIGHT))
        batch: Batch[W] = Batch()
        pieces, members, weight = batch.pieces, batch.members, 0
        held = set(self.held)
        pace = next(iter(self.waiting)).pace
        for item in self.waiting:
            key = item.key
            if key in held or item.pace != pace:
                held.add(key)  # nor may a later write of this key go before it
                continue
            if key not in pieces:
                weight += item.weight
                if pieces and (len(pieces) == self.limit or weight > HEAVY):
                    break
                pieces[key] = [item]
            elif self.shared:
                pieces[key].append(item)
            else:
                continue
            members.append(item)
            if len(members) == room:
                break
        return batch

    def set_off(self, key: bytes) -> None:
        """One goes alone."""
        self.alone += 1
        if self.ordered:
            self.held.add(key)

    def arrived(self, key: bytes) -> None:
        """One that went alone is back."""
        self.alone -= 1
        self.held.discard(key)

    def landed(self, batch: Batch[W]) -> None:
        """A batch is back."""
        self.batches -= 1
        self.aboard -= batch.size
        self.held.difference_update(batch.pieces)

    def too_many(self, batch: Batch[W], still: Sequence[W]) -> None:
        """The server takes fewer operations than the batch had: those who still wait for it go first again."""
        self.limit = min(self.limit, max(1, len(batch.pieces) // 2))
        self.waiting = {**dict.fromkeys(still), **self.waiting}


@define(eq=False)
class Solo:
    """Keys whose reads go alone: the last answer was large, or a refusal. The oldest are forgotten."""

    most: int = REMEMBERED
    keys: dict[bytes, None] = field(factory=dict, init=False)

    def learn(self, key: bytes, apart: bool) -> None:
        """What its last answer tells."""
        if apart:
            self.keys.pop(key, None)
            self.keys[key] = None
            if len(self.keys) > self.most:
                del self.keys[next(iter(self.keys))]
        elif self.keys:
            self.keys.pop(key, None)
