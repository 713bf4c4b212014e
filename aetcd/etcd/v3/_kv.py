"""Reading and writing keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aetcd._wire.message import Effect
from aetcd.etcd.v3._arguments import flag
from aetcd.etcd.v3._codec import Key, Route, positive
from aetcd.etcd.v3._models import DeleteRangeResponse, Empty, PutResponse, RangeResponse
from aetcd.etcd.v3._ops import SortBy, delete_wire, put_wire, range_wire
from aetcd.etcd.v3._pages import Pages

if TYPE_CHECKING:
    from aetcd._transport.timeouts import Timeout
    from aetcd.etcd.v3._gateway import Gateway

__all__ = ["COMPACT", "DELETE_RANGE", "KV", "PUT", "RANGE"]

RANGE = Route(operation="v3 range", path="/kv/range", effect=Effect.READ, guarded=True)
PUT = Route(operation="v3 put", path="/kv/put", effect=Effect.ONCE, guarded=True)
DELETE_RANGE = Route(operation="v3 delete range", path="/kv/deleterange", effect=Effect.ONCE, guarded=True)
COMPACT = Route(operation="v3 compact", path="/kv/compaction", effect=Effect.ONCE)


class KV:
    """Reading and writing keys.

    A range is one key, or `[key, range_end)`, or with `prefix` all that begin with the key, or with `from_key` all from
    it on; an empty key with `prefix` or `from_key` is the whole key space. Bad arguments raise ValueError or TypeError
    and send nothing.
    """

    gateway: Gateway

    async def range(
        self,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        from_key: bool = False,
        limit: int = 0,
        revision: int = 0,
        sort_by: SortBy | None = None,
        descending: bool = False,
        keys_only: bool = False,
        count_only: bool = False,
        serializable: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> RangeResponse:
        """Read a range. A missing key is an empty answer.

        limit: The most keys to answer with; 0 is all. `more` then tells that there are others.
        revision: Reads the past; 0 is the present.
        sort_by: A field of `KeyValue`; by key without it.
        serializable: Reads the peer's own copy, which may be stale; it needs no quorum.
        min_mod_revision: Leaves out what was written before; the other bounds likewise. `count` ignores them.

        Raises RevisionCompacted, RevisionInFuture, and what the pool raises.
        """
        message = range_wire(
            key,
            range_end,
            prefix,
            from_key,
            limit,
            revision,
            sort_by,
            descending,
            keys_only,
            count_only,
            serializable,
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        )
        return self.gateway.read(await self.gateway.send(RANGE, message, timeout=timeout, peer=peer), RangeResponse)

    async def range_pages(
        self,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        from_key: bool = False,
        page_size: int = 1000,
        revision: int = 0,
        keys_only: bool = False,
        serializable: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> AsyncIterator[RangeResponse]:
        """Read a range of any size page by page, in order of key, all of one revision: that of the first page.

        revision: Reads the past; 0 is the present at the first page.
        serializable: All pages are the copy of the peer that gives the first, as long as it answers; then of another,
            which may need a quorum to catch up.
        min_mod_revision: As in `range`; with a bound, the server looks at all that is left of the range for each page.
        timeout: Of each page.

        The first page comes even when it is empty, and `count` is the whole range's on each. Raises RevisionCompacted
        where the revision is compacted between two pages, and else as `range` does.
        """
        message = range_wire(
            key,
            range_end,
            prefix,
            from_key,
            positive(page_size, "page_size"),
            revision,
            keys_only=keys_only,
            serializable=serializable,
            min_mod_revision=min_mod_revision,
            max_mod_revision=max_mod_revision,
            min_create_revision=min_create_revision,
            max_create_revision=max_create_revision,
        )
        pages = Pages(self.gateway, RANGE, message, timeout, peer)
        more = True
        while more:
            page = await pages.next()
            more = page.more
            yield page

    async def put(
        self,
        key: Key,
        value: Key,
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> PutResponse:
        """Write a key.

        lease: ID of the lease that it ends with; 0 unties it from any.
        prev_kv: Answer what stood there.
        ignore_value: Keep the value (give an empty one) and change only the lease.
        ignore_lease: Keep the lease and change only the value.

        Raises LeaseNotFound, KeyNotFound (nothing there to keep), RequestTooLarge, QuotaExceeded, OutcomeUnknown. A
        cancel leaves the outcome unknown.
        """
        message = put_wire(key, value, lease, prev_kv, ignore_value, ignore_lease)
        return self.gateway.read(await self.gateway.send(PUT, message, timeout=timeout, peer=peer), PutResponse)

    async def delete_range(
        self,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        from_key: bool = False,
        prev_kv: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> DeleteRangeResponse:
        """Delete a range. That there was nothing is told by `deleted` 0.

        prev_kv: Answer what stood there.

        Raises OutcomeUnknown. A cancel leaves the outcome unknown.
        """
        message = delete_wire(key, range_end, prefix, from_key, prev_kv)
        return self.gateway.read(
            await self.gateway.send(DELETE_RANGE, message, timeout=timeout, peer=peer), DeleteRangeResponse
        )

    async def compact(
        self, revision: int, *, physical: bool = False, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> Empty:
        """Forget what was before a revision: reads and watches of it are refused from then on.

        physical: Answer when the space is free within the database, and not already when it is decided.

        Raises RevisionCompacted (it was done before), RevisionInFuture, OutcomeUnknown.
        """
        message = {"revision": positive(revision, "revision"), "physical": flag(physical, "physical")}
        return self.gateway.read(await self.gateway.send(COMPACT, message, timeout=timeout, peer=peer), Empty)
