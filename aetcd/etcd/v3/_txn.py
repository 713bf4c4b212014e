"""Transactions: comparisons that the server makes, and what it then does, all at one revision."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar

import msgspec
from attrs import define, field, frozen

from aetcd._wire.message import Effect
from aetcd.errors import DecodeError
from aetcd.etcd.v3._codec import Key, Route, Wire, bytes_of, key_range, whole
from aetcd.etcd.v3._models import (
    DeleteRangeResponse,
    Header,
    PutResponse,
    RangeResponse,
    ResponseOp,
    TxnResponse,
)
from aetcd.etcd.v3._ops import Delete, Get, Put

if TYPE_CHECKING:
    from aetcd._transport.timeouts import Timeout
    from aetcd.etcd.v3._gateway import Gateway
    from aetcd.etcd.v3._namespace import Namespace

__all__ = [
    "TXN",
    "Compare",
    "CreateRevision",
    "Lease",
    "ModRevision",
    "Operation",
    "Txn",
    "TxnBuilder",
    "TxnResult",
    "Value",
    "Version",
    "commit",
    "value_of",
]

# A transaction that writes; one that only reads is sent as READ.
TXN = Route(operation="v3 txn", path="/kv/txn", effect=Effect.ONCE, guarded=True)

T = TypeVar("T")

_Relation = Literal["EQUAL", "NOT_EQUAL", "GREATER", "LESS"]


class Compare(msgspec.Struct, frozen=True):
    """What the server is to check: made by comparing a `Value`, `Version`, `CreateRevision`, `ModRevision` or `Lease`.

    On a range it holds where it holds for every key in it, so also where there is none. A missing key has version,
    revisions and lease 0, and no comparison of its value holds.
    """

    target: str
    relation: _Relation
    operand: int | bytes
    key: bytes
    range_end: bytes = b""

    def to_wire(self) -> Wire:
        """As the gateway takes it."""
        message: Wire = {
            "key": self.key,
            "target": self.target.upper().removesuffix("_REVISION"),
            "result": self.relation,
            self.target: self.operand,
        }
        if self.range_end:
            message["range_end"] = self.range_end
        return message

    def __bool__(self) -> bool:
        # `if Value(k) == v` would always be true, and `a and b` would drop the first.
        raise TypeError("the server decides a comparison: give it to when()")


@frozen(eq=False)
class _Subject:
    """One property of a key, or of every key of a range, to be compared."""

    target: ClassVar[str]

    key: Key
    range_end: Key | None = field(default=None, kw_only=True)
    prefix: bool = field(default=False, kw_only=True)
    from_key: bool = field(default=False, kw_only=True)

    def __eq__(self, other: object) -> Compare:  # type: ignore[override]
        return self._compare("EQUAL", other)

    def __ne__(self, other: object) -> Compare:  # type: ignore[override]
        return self._compare("NOT_EQUAL", other)

    def __lt__(self, other: object) -> Compare:
        return self._compare("LESS", other)

    def __gt__(self, other: object) -> Compare:
        return self._compare("GREATER", other)

    __hash__ = object.__hash__

    def _compare(self, relation: _Relation, other: object) -> Compare:
        first, end = key_range(self.key, self.range_end, self.prefix, self.from_key)
        return Compare(self.target, relation, self._operand(other), first, end)

    def _operand(self, other: Any) -> int | bytes:
        return whole(other, self.target)


class Value(_Subject):
    """The value of a key, compared with text or bytes."""

    target = "value"

    def _operand(self, other: Any) -> bytes:
        return bytes_of(other, "value")


class Version(_Subject):
    """The number of writes since the key was created; 0 where there is no key."""

    target = "version"


class CreateRevision(_Subject):
    """The revision that created the key; 0 where there is no key."""

    target = "create_revision"


class ModRevision(_Subject):
    """The revision of the key's last write; 0 where there is no key."""

    target = "mod_revision"


class Lease(_Subject):
    """The ID of the lease that the key ends with; 0 without one."""

    target = "lease"


# A converter each, so that an error names the argument.


def _when(given: Iterable[Compare]) -> tuple[Compare, ...]:
    return _compares("when", given)


def _then(given: Iterable[Operation]) -> tuple[Operation, ...]:
    return _operations("then", given)


def _otherwise(given: Iterable[Operation]) -> tuple[Operation, ...]:
    return _operations("otherwise", given)


@frozen(kw_only=True)
class Txn:
    """A transaction as a value, and as an operation within another. Whatever each was given as, it is a tuple.

    when: All must hold.
    then: Done in order if they do.
    otherwise: Done in order if they do not.

    Raises TypeError for what is no comparison or no operation. The fields of operations are checked at sending.
    """

    when: tuple[Compare, ...] = field(default=(), converter=_when)
    then: tuple[Operation, ...] = field(default=(), converter=_then)
    otherwise: tuple[Operation, ...] = field(default=(), converter=_otherwise)

    @property
    def reads_only(self) -> bool:
        """Whether no branch writes, so that it may be sent again at will."""
        return all(
            isinstance(operation, Get) or (isinstance(operation, Txn) and operation.reads_only)
            for operation in (*self.then, *self.otherwise)
        )

    def body(self) -> Wire:
        """As a request of its own. Raises ValueError and TypeError for bad operations."""
        message: Wire = {}
        if self.when:
            message["compare"] = [compare.to_wire() for compare in self.when]
        if self.then:
            message["success"] = [operation.to_wire() for operation in self.then]
        if self.otherwise:
            message["failure"] = [operation.to_wire() for operation in self.otherwise]
        return message

    def to_wire(self) -> Wire:
        """As an operation of a transaction."""
        return {"request_txn": self.body()}


Operation: TypeAlias = Put | Get | Delete | Txn


def _compares(name: str, given: Iterable[Compare]) -> tuple[Compare, ...]:
    compares = _members(name, given)
    for compare in compares:
        if not isinstance(compare, Compare):
            raise TypeError(f"{name} takes comparisons such as Value(key) == value, not {_kind(compare)}")
    return compares


def _operations(name: str, given: Iterable[Operation]) -> tuple[Operation, ...]:
    operations = _members(name, given)
    for operation in operations:
        if not isinstance(operation, Operation):
            raise TypeError(f"{name} takes Put, Get, Delete and Txn, not {_kind(operation)}")
    return operations


def _members(name: str, given: Iterable[T]) -> tuple[T, ...]:
    if not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a sequence, not {_kind(given)}")
    return tuple(given)


def _kind(given: object) -> str:
    # Its type and not itself: values may be long, or secret.
    return "TxnBuilder: give its build()" if isinstance(given, TxnBuilder) else type(given).__name__


class TxnResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction did.

    succeeded: Whether every comparison held: the results are then those of `then`, and else those of `otherwise`.
    results: One for each operation, in order.
    peer: URL of the peer that answered; empty for a transaction within another.
    """

    header: Header
    succeeded: bool
    results: tuple[Answer, ...]
    peer: str = ""

    @property
    def revision(self) -> int:
        """Revision after the transaction: all that it wrote has this one as `mod_revision`.

        0 in a nested one, whose header the server leaves empty: it is the outer one's.
        """
        return self.header.revision


Answer: TypeAlias = RangeResponse | PutResponse | DeleteRangeResponse | TxnResult


def read_result(told: TxnResponse, peer: str = "") -> TxnResult:
    """Take the answers out of their envelopes."""
    results = tuple(_answer(response) for response in told.responses)
    return TxnResult(header=told.header, succeeded=told.succeeded, results=results, peer=peer)


def _answer(told: ResponseOp) -> Answer:
    if told.response_txn is not None:
        return read_result(told.response_txn)
    for answer in (told.response_range, told.response_put, told.response_delete_range):
        if answer is not None:
            return answer
    raise DecodeError("a transaction's answer has a result of an unknown kind")


async def commit(
    gateway: Gateway,
    txn: Txn | TxnBuilder,
    *,
    repeatable: bool = False,
    timeout: float | Timeout | None = None,
    peer: str | None = None,
) -> TxnResult:
    """Send a transaction.

    txn: A builder is sent as it is now.
    repeatable: It compares with what no second sending finds again, so that it may be sent twice.
    """
    txn = value_of(txn, gateway)
    effect = Effect.READ if txn.reads_only else Effect.REPEATABLE if repeatable else Effect.ONCE
    response = await gateway.exchange(TXN, txn.body(), effect=effect, timeout=timeout, peer=peer)
    return read_result(gateway.read(response.body, TxnResponse), response.peer)


def value_of(txn: Txn | TxnBuilder, gateway: Gateway) -> Txn:
    """What a user gave as a transaction. Raises TypeError for what is none, ValueError for another namespace's."""
    if isinstance(txn, Txn):
        return txn
    if not isinstance(txn, TxnBuilder):
        raise TypeError(f"txn must be a Txn, or client.v3.txn() with what it shall do, not {_kind(txn)}")
    if txn.namespace != gateway.namespace:
        raise ValueError("txn is of another namespace, whose keys it would not have: commit it there, or its build()")
    return txn.build()


@define(eq=False)
class TxnBuilder:
    """Gathers a transaction, in the words of etcd's own clients; awaiting it sends it.

        result = await client.v3.txn().when(Value("a") == "1").then(Put("a", "2")).otherwise(Get("a"))

    Each of `when`, `then` and `otherwise` adds to what was given before.
    """

    _gateway: Gateway
    _when: list[Compare] = field(factory=list, init=False)
    _then: list[Operation] = field(factory=list, init=False)
    _otherwise: list[Operation] = field(factory=list, init=False)

    @property
    def namespace(self) -> Namespace:
        """Where its keys stand."""
        return self._gateway.namespace

    def when(self, *compares: Compare) -> TxnBuilder:
        """Comparisons that must all hold; without any the transaction succeeds."""
        self._when += _compares("when()", compares)
        return self

    def then(self, *operations: Operation) -> TxnBuilder:
        """What is done, in order, if every comparison holds."""
        self._then += _operations("then()", operations)
        return self

    def otherwise(self, *operations: Operation) -> TxnBuilder:
        """What is done, in order, if one does not."""
        self._otherwise += _operations("otherwise()", operations)
        return self

    def build(self) -> Txn:
        """The transaction as a value, to be kept or to stand within another."""
        return Txn(when=self._when, then=self._then, otherwise=self._otherwise)

    async def commit(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> TxnResult:
        """Send it.

        Raises RequestTooLarge (128 operations by default), InvalidRequest (a key written twice), OutcomeUnknown where
        it writes, and else what the pool raises. A cancel of one that writes leaves its outcome unknown.
        """
        return await commit(self._gateway, self.build(), timeout=timeout, peer=peer)

    def __await__(self) -> Generator[Any, None, TxnResult]:
        return self.commit().__await__()

    def __repr__(self) -> str:
        # Counted: values may be long, or secret.
        below = f" below {self.namespace.prefix!r}" if self.namespace.prefix else ""
        counts = f"when={len(self._when)} then={len(self._then)} otherwise={len(self._otherwise)}"
        return f"<TxnBuilder{below} {counts}>"
