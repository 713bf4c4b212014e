"""One request on its way through the pool, and what became of each attempt at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import anyio
import msgspec

from aetcd._routing.retry import Fate, Reason
from aetcd._transport.auth import Auth
from aetcd._transport.seats import Seat
from aetcd._transport.streams import Stream
from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import Request, Response, Verdict
from aetcd.errors import ClientClosed, NoPeerAvailable, Outcome, OutcomeUnknown, RequestTimeout, TransportError

__all__ = ["Answer", "Attempt", "Call", "closed_error", "give_up"]

Answer = TypeVar("Answer", Response, Stream)


# Structs, since two of these are made for every request.
class Call(msgspec.Struct, Generic[Answer]):
    """One request on its way through the retry loop.

    perform: Sends it to a peer, within the seconds that are left, and within those that one attempt may take where
        another peer can be asked.
    turns: What limits the requests on the wire at once; None for none.
    """

    request: Request
    perform: Callable[[Call[Answer], Seat, float, float | None], Awaitable[Answer]]
    judge: Callable[[Answer], Verdict]
    auth: Auth
    limits: Timeout
    deadline: float
    turns: anyio.Semaphore | None
    pinned: Seat | None
    headers: Mapping[str, str] | None
    sends: int = 0
    renewed: bool = False
    maybe_applied: bool = False
    tried: set[Seat] = msgspec.field(default_factory=set)

    @property
    def attempts(self) -> int:
        """How often it was sent, but for the time when only the credentials were found wanting."""
        return self.sends - self.renewed

    @property
    def outcome(self) -> Outcome:
        """What may have become of it, so far."""
        return Outcome.UNKNOWN if self.maybe_applied else Outcome.NOT_SENT


class Attempt(msgspec.Struct, Generic[Answer]):
    """One sending of it, and what became of it: an answer or an error, and the verdict on the request's fate.

    left: Seconds of the whole call's.
    span: Seconds that it may take, where another peer can be asked after it.
    ticket: Of its place at the peer.
    """

    started: float
    left: float
    span: float | None
    ticket: int
    answer: Answer | None = None
    error: TransportError | None = None
    verdict: Verdict = Verdict.OPEN

    @property
    def fate(self) -> Fate:
        """Whether it may have been applied, where the answer does not settle it."""
        return Fate.NOT_APPLIED if self.verdict is Verdict.NOT_NOW else Fate.OPEN

    @property
    def reason(self) -> str:
        """Why it is not the end, in words."""
        if self.error is not None:
            return self.error.message
        if isinstance(self.answer, Response):
            return f"HTTP {self.answer.status} {self.answer.body[:200].decode('utf-8', 'replace').strip()}"
        return self.verdict.value

    @property
    def summary(self) -> tuple[int | None, str | None]:
        """The HTTP status, or else the error."""
        if self.answer is not None:
            return self.answer.status, None
        return None, "cancelled" if self.error is None else str(self.error)


def closed_error() -> ClientClosed:
    """What whoever uses a closed client gets, or whoever is still using it."""
    return ClientClosed("the client is closed")


def give_up(
    call: Call[Answer], reason: Reason, attempt: Attempt[Answer], peer: str, peers: int, *, closed: bool
) -> Answer:
    """The caller's answer or error where the request will not be sent again."""
    operation = call.request.operation
    if reason is Reason.OUTCOME_UNKNOWN:
        text = f"it may have been applied, and was not sent again: {attempt.reason}"
        raise OutcomeUnknown(text, peer=peer, operation=operation, request=call.request) from attempt.error
    if attempt.answer is not None:
        return attempt.answer
    if closed:
        raise closed_error() from attempt.error
    if call.pinned is not None and attempt.error is not None:
        raise attempt.error
    tries = f"{call.sends} attempt{'s' if call.sends > 1 else ''} at {len(call.tried)} of {peers} peers"
    text = f"no answer from any peer in {tries}; the last: {attempt.reason}"
    late = reason is Reason.DEADLINE or isinstance(attempt.error, RequestTimeout)
    kind = RequestTimeout if late and call.maybe_applied else NoPeerAvailable
    raise kind(text, outcome=call.outcome, peer=peer, operation=operation) from attempt.error
