"""Software transactional memory: code that reads and writes keys as it goes, applied whole or not at all."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from attrs import define, field

from aetcd._routing.retry import full_jitter
from aetcd._transport.timeouts import Budget, Timeout
from aetcd.errors import AetcdError, CompareFailed, RevisionCompacted
from aetcd.etcd.v3._arguments import is_async
from aetcd.etcd.v3._codec import Key, bytes_of, positive
from aetcd.etcd.v3._kv import RANGE
from aetcd.etcd.v3._models import KeyValue, RangeResponse
from aetcd.etcd.v3._ops import Delete, Put, put_wire, range_wire
from aetcd.etcd.v3._txn import Compare, ModRevision, Txn, commit

if TYPE_CHECKING:
    from aetcd.etcd.v3._gateway import Gateway

__all__ = ["ATTEMPTS", "STM", "Transaction"]

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 100  # with a random pause between them: a key that changes this often is in want of another layout
SHORTEST, LONGEST = 0.005, 0.5  # seconds: bounds of the longest pause after the first conflict, and after many


class Transaction:
    """Reads of one revision, and writes that wait for the end.

    revision: That of the commit once it is done; of one that wrote nothing, that of its reads. 0 before.
    conflict: The error that says it was overtaken, or None: it can then be tried again.
    """

    def __init__(self, gateway: Gateway, budget: Budget) -> None:
        self.revision = 0
        self.conflict: AetcdError | None = None
        self._gateway = gateway
        self._budget = budget
        self._seen: dict[bytes, KeyValue | None] = {}
        self._writes: dict[bytes, Put | Delete] = {}
        self._snapshot = 0
        self._reading = asyncio.Lock()
        self._over = False

    async def get(self, key: Key) -> bytes | None:
        """The value as this transaction has it: written by it, or else as it stood when it first read; None of no key.

        Raises RuntimeError after its end, RevisionCompacted where it takes so long that its revision is compacted, and
        else what `V3.range` raises.
        """
        name = self._usable(key)
        written = self._writes.get(name)
        if written is not None:
            return bytes_of(written.value, "value") if isinstance(written, Put) else None
        found = await self._read(name)
        return None if found is None else found.value

    def put(self, key: Key, value: Key, *, lease: int = 0) -> None:
        """Write a key when the transaction is applied. Later writes of a key take the place of earlier ones."""
        name = self._usable(key)
        put_wire(name, value, lease)  # so that a bad argument is named here, and not at the end
        self._writes[name] = Put(name, value, lease=lease)

    def delete(self, key: Key) -> None:
        """Delete a key when the transaction is applied."""
        name = self._usable(key)
        self._writes[name] = Delete(name)

    async def _read(self, name: bytes) -> KeyValue | None:
        # The first read decides on the revision of all.
        async with self._reading:
            if name not in self._seen:
                message = range_wire(name, revision=self._snapshot)
                try:
                    body = await self._gateway.send(RANGE, message, timeout=self._budget.left())
                except RevisionCompacted as e:
                    self.conflict = e
                    raise
                answer = self._gateway.read(body, RangeResponse)
                self._snapshot = self._snapshot or answer.header.revision
                self._seen[name] = answer.kvs[0] if answer.kvs else None
        return self._seen[name]

    def _usable(self, key: Key) -> bytes:
        if self._over:
            raise RuntimeError("this transaction is over")
        name = bytes_of(key, "key")
        if not name:
            raise ValueError("key must not be empty")
        return name

    async def commit(self) -> None:
        """Apply it, if all is still as it was read. Raises CompareFailed where it is not: nothing was written."""
        self._over = True
        self.revision = self._snapshot
        if not self._writes:
            return  # what was read stood so at one revision, whatever has become of it since
        txn = Txn(when=self._conditions(), then=tuple(self._writes.values()))
        answer = await commit(self._gateway, txn, timeout=self._budget.left())
        if not answer.succeeded:
            text = f"what it read or writes has changed since revision {self._snapshot}: nothing was written"
            self.conflict = CompareFailed(text, status=200, peer=answer.peer, operation="v3 stm")
            raise self.conflict
        self.revision = answer.revision

    def end(self) -> None:
        """Drop it: nothing is written."""
        self._over = True

    def __repr__(self) -> str:
        # Counted: keys and values may be long, or secret.
        over, revision = ", over" if self._over else "", self.revision or self._snapshot
        at = f" at revision {revision}" if revision else ""
        return f"<Transaction{over}{at} read={len(self._seen)} written={len(self._writes)}>"

    def _conditions(self) -> tuple[Compare, ...]:
        read = [ModRevision(name) == (0 if kv is None else kv.mod_revision) for name, kv in self._seen.items()]
        # A key that it writes without having read it: whoever was first since the snapshot wins.
        blind = [ModRevision(name) < self._snapshot + 1 for name in self._writes if name not in self._seen]
        return (*read, *(blind if self._snapshot else ()))


@define(eq=False)
class STM:
    """Has code run as one transaction: serializable, by snapshot reads that are checked at the end.

    Everything is read as it stood at one revision, the first read's; the transaction sees its own writes. They are
    applied together, if no key that it read or writes was changed since by somebody else.

    As a block, `async with client.v3.stm() as txn`, it is tried once: a conflict raises CompareFailed at the end of the
    block, which cannot be run again. As a decorator, or by `run`, it is tried again after a short random pause, until
    the attempts or the time are used up, and CompareFailed is raised: the function has to bear being run several times.
    Where the time ends while a request is under way, that one's RequestTimeout or OutcomeUnknown is raised.
    What the block or the function raises itself is passed on, and nothing is written.

    128 keys may be read or written: etcd takes as many comparisons in a transaction. The end raises what
    `TxnBuilder.commit` raises: OutcomeUnknown above all, which is never tried again.
    """

    _gateway: Gateway
    attempts: int = field(kw_only=True)
    timeout: float | Timeout | None = field(kw_only=True)
    random: random.Random = field(factory=random.Random, kw_only=True)
    _open: Transaction | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        positive(self.attempts, "attempts")
        if self.timeout is not None:
            Timeout.of(self.timeout)  # so that a bad one is told here, and not in the block

    async def __aenter__(self) -> Transaction:
        if self._open is not None:
            raise RuntimeError("it was entered already: make one for each block")
        self._open = Transaction(self._gateway, self._budget())
        return self._open

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._open is not None
        if kind is None:
            await self._open.commit()
        self._open.end()

    def __call__(self, function: Callable[Concatenate[Transaction, P], Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        """The function, run as a transaction whenever it is called: it gets a `Transaction` first.

        Raises TypeError where it is no `async def`, be it behind decorators.
        """
        # A decorator's wrapper may only hand on what an async one gives.
        if not (is_async(function) or inspect.iscoroutinefunction(inspect.unwrap(function))):
            raise TypeError(f"function must be an async def, not {function!r}")

        @wraps(function)
        async def transacted(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self.run(function, *args, **kwargs)

        return transacted

    async def run(
        self,
        function: Callable[Concatenate[Transaction, P], Awaitable[R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """What the function gives, once it was applied. Raises TypeError where that cannot be awaited."""
        budget = self._budget()
        attempt = 0
        while True:
            attempt += 1
            txn = Transaction(self._gateway, budget)
            try:
                result = await _awaitable(function(txn, *args, **kwargs))
                await txn.commit()
            except AetcdError as e:
                pause = full_jitter(self.random, base=SHORTEST, cap=LONGEST, doublings=attempt - 1)
                if e is not txn.conflict or attempt >= self.attempts or pause >= budget.left().total:
                    raise
            else:
                return result
            finally:
                txn.end()
            # Outside the handler, so that the next conflict is not chained to this one.
            await asyncio.sleep(pause)

    def _budget(self) -> Budget:
        limits = self._gateway.channel.pool.timeout if self.timeout is None else self.timeout
        return Budget(limits, asyncio.get_running_loop().time)

    def __repr__(self) -> str:
        return f"<STM attempts={self.attempts} timeout={self.timeout}>"


def _awaitable(given: Awaitable[R]) -> Awaitable[R]:
    if not inspect.isawaitable(given):
        raise TypeError(f"function must be async: it gave {type(given).__name__}, which cannot be awaited")
    return given
