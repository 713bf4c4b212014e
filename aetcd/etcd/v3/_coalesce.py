"""Operations that wait at the same time travel together as one transaction; one by itself goes as it always did."""

from __future__ import annotations

from collections.abc import Coroutine
from itertools import islice
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from aetcd._transport.timeouts import Timeout
from aetcd._wire.decode import decode
from aetcd._wire.message import Effect
from aetcd.errors import AetcdError, OutcomeUnknown, ServerError, TransportError
from aetcd.etcd.v3 import V3
from aetcd.etcd.v3._codec import Wire, body_of
from aetcd.etcd.v3._gathering import Batch, Solo
from aetcd.etcd.v3._kv import PUT, RANGE
from aetcd.etcd.v3._lanes import TO_ALL, Apart, Item, Lane, own
from aetcd.etcd.v3._models import Header, KeyValue, PutResponse, RangeResponse
from aetcd.etcd.v3._ops import Put, put_wire
from aetcd.etcd.v3._txn import Txn, TxnResult, commit

__all__ = ["Coalescer", "Found"]

LARGE = 64 * 1024  # bytes of one answer: others should not wait for it
SMALL = 512  # bytes of a transaction, about, beside its values

Found: TypeAlias = tuple[KeyValue | None, int]
"""What a read found, and the revision of the key space that it saw."""


class _Reads(Lane[Found]):
    """Reads of one key each, all linearizable, or all of the peer's own copy."""

    def __init__(self, v3: V3, *, serializable: bool) -> None:
        super().__init__(v3, shared=True)
        self._serializable = serializable
        self._solo = Solo()

    def get(self, key: bytes, limits: Timeout) -> Coroutine[Any, Any, Found]:
        """Read one key."""
        if key in self._solo.keys:
            return self.alone(key, None, limits)
        return self.run(key, None, len(key), limits)

    async def alone(self, key: bytes, call: None, limits: Timeout) -> Found:
        try:
            sent = await self._v3.gateway.exchange(RANGE, self._operation(key), timeout=limits)
            answer = decode(sent.body, RangeResponse)
        except ServerError as e:
            if not isinstance(e, TO_ALL):
                self._solo.learn(key, apart=True)
            raise
        kv = answer.kvs[0] if answer.kvs else None
        self._solo.learn(key, apart=_large(kv))
        return kv, answer.header.revision

    async def together(self, batch: Batch[Item], limits: Timeout) -> list[Found]:
        if len(batch.pieces) == 1:
            return [await self.alone(next(iter(batch.pieces)), None, limits)]
        operations: list[Wire] = [{"request_range": self._operation(key)} for key in batch.pieces]
        body = await self._transact(operations, Effect.READ, limits)
        told = decode(body, _ReadAnswer)
        revision = told.header.revision
        kvs = [answer.response_range.kvs for answer in told.responses]
        found: list[Found] = [(kv[0] if kv else None, revision) for kv in kvs]
        if len(body) > LARGE:  # or no value can be
            for key, (read, _) in zip(batch.pieces, found, strict=False):
                if _large(read):
                    self._solo.learn(key, apart=True)
        return found

    def lost(self, item: Item, reason: AetcdError) -> AetcdError:
        return own(reason)

    def _operation(self, key: bytes) -> Wire:
        return {"key": key, "serializable": True} if self._serializable else {"key": key}


def _large(kv: KeyValue | None) -> bool:
    return kv is not None and len(kv.value) > LARGE


# Answers of a transaction of one kind: a third of the time that reading any answer takes. Those within have no header
# that is whole: the outer one's goes for them.


class _Range(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    kvs: tuple[KeyValue, ...] = ()


class _ReadOperation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    response_range: _Range


class _ReadAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    header: Header
    responses: tuple[_ReadOperation, ...]


class _Put(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    prev_kv: KeyValue | None = None


class _WriteOperation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    response_put: _Put


class _WriteAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    header: Header
    responses: tuple[_WriteOperation, ...]


class _Writes(Lane[PutResponse]):
    """Puts."""

    def __init__(self, v3: V3) -> None:
        super().__init__(v3, ordered=True)

    async def alone(self, key: bytes, call: Wire, limits: Timeout) -> PutResponse:
        return decode((await self._v3.gateway.exchange(PUT, call, timeout=limits)).body, PutResponse)

    async def together(self, batch: Batch[Item], limits: Timeout) -> list[PutResponse]:
        body = await self._transact([{"request_put": item.call} for item in batch.members], Effect.ONCE, limits)
        told = decode(body, _WriteAnswer)
        return [PutResponse(header=told.header, prev_kv=answer.response_put.prev_kv) for answer in told.responses]

    def lost(self, item: Item, reason: AetcdError) -> AetcdError:
        peer = reason.peer if isinstance(reason, TransportError) else None
        request = PUT.request(self._v3.gateway.prefix or "", body_of(item.call))
        text = f"in one transaction with others: {getattr(reason, 'message', reason)}"
        error = OutcomeUnknown(text, peer=peer, operation=PUT.operation, request=request)
        error.__cause__ = reason
        return error


class _Transactions(Lane[TxnResult]):
    """Transactions that may be sent twice, as one that does what all of them do, where all they compare with holds.

    To nest them in one that compares nothing would need no such condition, but takes the server a fifth longer.
    """

    async def alone(self, key: bytes, call: Txn, limits: Timeout) -> TxnResult:
        return await commit(self._v3.gateway, call, repeatable=True, timeout=limits)

    async def together(self, batch: Batch[Item], limits: Timeout) -> list[TxnResult]:
        calls: list[Txn] = [item.call for item in batch.members]
        compares = [compare for call in calls for compare in call.when]
        operations = [operation for call in calls for operation in call.then]
        answer = await commit(self._v3.gateway, Txn(when=compares, then=operations), repeatable=True, timeout=limits)
        if not answer.succeeded:
            raise Apart
        results = iter(answer.results)
        return [replace(answer, results=tuple(islice(results, len(call.then)))) for call in calls]

    def lost(self, item: Item, reason: AetcdError) -> AetcdError:
        return own(reason)


class Coalescer:
    """Gets and puts of single keys, as `V3.range` and `V3.put` do them; those that wait together share a request.

    reads: Gets of equal consistency may share a request, and so may transactions that may be sent twice. Nothing else
        changes for a caller.
    writes: Puts may. Those that do share one revision, and are applied all or none; a refusal that one is to blame for
        reaches its caller alone, but an open fate is that of all. Puts of one key are applied in order of the calls.

    One that finds no other about goes at once and plain, as does a read whose last answer was large or a refusal.
    """

    def __init__(self, v3: V3, *, reads: bool, writes: bool) -> None:
        self._v3 = v3
        self._reads = reads
        self._own_copy = _Reads(v3, serializable=True)
        self._agreed = _Reads(v3, serializable=False)
        self._grouped = writes
        self._writes = _Writes(v3)
        self._transactions = _Transactions(v3)

    def get(self, key: bytes, *, serializable: bool, timeout: Timeout) -> Coroutine[Any, Any, Found]:
        """Read a key. Raises as `V3.range`; RequestTimeout also where its turn did not come in time."""
        lane = self._own_copy if serializable else self._agreed
        return lane.get(key, timeout) if self._reads else lane.alone(key, None, timeout)

    def put(
        self, key: bytes, value: bytes, *, lease: int, prev_kv: bool, timeout: Timeout
    ) -> Coroutine[Any, Any, PutResponse]:
        """Write a key.

        Raises as `V3.put`; RequestTimeout where its turn did not come in time, and nothing was sent. A cancel leaves
        the outcome unknown.
        """
        call = put_wire(key, value, lease=lease, prev_kv=prev_kv)
        if self._grouped:
            return self._writes.run(key, call, len(key) + len(value), timeout)
        return self._writes.alone(key, call, timeout)

    def transact(self, key: bytes, txn: Txn, *, urgent: bool = True) -> Coroutine[Any, Any, TxnResult]:
        """Send a transaction that compares with what no second sending finds again, so that it may be sent twice.

        key: Of those with the same one no two share a request, and with it a revision.
        urgent: False has it wait in any case for what else comes in this turn of the loop.

        Raises as a transaction does that is sent by itself.
        """
        limits = self._v3.gateway.channel.pool.timeout
        if self._reads:
            weight = SMALL + sum(len(operation.value) for operation in txn.then if isinstance(operation, Put))
            return self._transactions.run(key, txn, weight, limits, urgent=urgent)
        return self._transactions.alone(key, txn, limits)
