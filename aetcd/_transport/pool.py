"""The pool: every request of a client passes here, is sent to one of its peers, and again where that is safe."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio

from aetcd._routing.balance import Policy
from aetcd._routing.health import HealthPolicy
from aetcd._routing.peer import Peer
from aetcd._routing.retry import Fate, GiveUp, RetryAfter, RetryPolicy, decide
from aetcd._transport import forks
from aetcd._transport.auth import Auth
from aetcd._transport.bodies import Body
from aetcd._transport.calls import Answer, Attempt, Call, closed_error, give_up
from aetcd._transport.deadlines import Deadline, Deadlines
from aetcd._transport.http import HTTP
from aetcd._transport.monitor import Monitor
from aetcd._transport.seats import Seat, Seats, SeatStatus
from aetcd._transport.streams import Stream
from aetcd._transport.supervisor import Job, Supervisor
from aetcd._transport.timeouts import Budget, Timeout
from aetcd._transport.trace import Tracer
from aetcd._wire.message import NO_HEADERS, Effect, Request, Response, Verdict
from aetcd.errors import (
    NoPeerAvailable,
    Outcome,
    RequestTimeout,
    TransportError,
    WrongContext,
)

__all__ = ["Pool"]

CLOSING = 5.0  # seconds for background work to end

_WELL = (Verdict.FINAL, Verdict.STALE_CREDENTIALS)
_NO_FAILOVER = RetryPolicy(attempts=1)


class Pool:
    """Peers, their health, and the one retry loop of the package.

    probe: A cheap read that says whether a peer can serve: it cannot where the status is 500 or more, or where its
        `judge` says NOT_NOW.
    limit: Ordinary requests on the wire at once; more wait their turn. Streams are not counted.
    prepare: What comes before the first request, within its limits: it may find the peers, where none were given.
        Where it raises, so does the request, and the next one begins with it again.
    deadlines: Of what else waits in the pool's loop, but not for a request of its own.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        *,
        http: Callable[[], HTTP],
        balance: Policy,
        retry: RetryPolicy,
        timeout: Timeout,
        probe: Request,
        prepare: Callable[[Timeout], Awaitable[None]] | None = None,
        tracer: Tracer | None = None,
        health: HealthPolicy | None = None,
        limit: int = 128,
        rng: random.Random | None = None,
    ) -> None:
        self.timeout = timeout
        self._make_http = http
        self._retry = retry
        self._tracer = tracer
        self._random = rng or random.Random()
        self._seats = Seats(peers, balance, health or HealthPolicy(), self._random, tracer)
        self._probe = probe
        self._prepare = prepare
        self._limit = limit
        self._supervisor = Supervisor()
        self.deadlines = Deadlines(Deadline)
        self._silences = Deadlines(Deadline)
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._age = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool of {self.urls}{', closed' if self._closed else ''}>"

    # Opening and closing

    def open(self) -> None:
        """Make ready in the running loop. Sends nothing; a second time changes nothing.

        Raises ClientClosed after `aclose()`, and WrongContext in another loop or process than the first time.
        """
        if self._closed:
            raise closed_error()
        if self._loop is None:
            self._loop, self._age = asyncio.get_running_loop(), forks.age
            self._clock = self._loop.time
            self._turns = anyio.Semaphore(self._limit, fast_acquire=True)
            self._http = self._make_http()
            self._monitor = Monitor(self._seats, self._http, self._supervisor, self._probe, self.timeout)
        elif self._age != forks.age:
            raise WrongContext("the client was opened before a fork: make one of its own in each process")
        elif self._loop is not asyncio.get_running_loop():
            raise WrongContext("the client was opened in another event loop: make one of its own in each loop")

    async def aclose(self) -> None:
        """End background work, streams, requests and connections. Any task may call it, any number of times.

        It takes a few seconds at most, also where its caller is being cancelled.
        """
        self._closed = True
        if self._loop is None or self._age != forks.age or self._loop is not asyncio.get_running_loop():
            return
        self._closing.set()
        for stream in self._seats.streams():
            stream.fail(closed_error())
        try:
            with anyio.move_on_after(CLOSING, shield=True):
                await self._supervisor.aclose()
        finally:
            self.deadlines.stop()
            self._silences.stop()
            await self._http.aclose()

    @property
    def closed(self) -> bool:
        """Whether `aclose()` was called."""
        return self._closed

    def spawn(self, function: Callable[[], Awaitable[object]], *, name: str) -> Job:
        """Run in the background until it ends, its job is cancelled, or the pool closes."""
        self.open()
        return self._supervisor.spawn(function, name=name)

    # Peers

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The peers now: configured ones, and learnt ones."""
        return self._seats.peers

    @property
    def urls(self) -> str:
        """Those of its peers, as a `repr` tells them."""
        return ", ".join(peer.url for peer in self.peers) or "peers not found yet"

    def learn(self, peers: Iterable[Peer]) -> None:
        """Use these beside the configured peers, in place of those learnt before.

        One that would be spoken to in clear text is left out where the configured ones are spoken to by TLS.
        """
        self._seats.learn(peers)

    def configure(self, peers: Iterable[Peer]) -> None:
        """Use these as if they had been configured, beside those that were: discovery found them."""
        self._seats.configure(peers)

    @property
    def lost_peer(self) -> asyncio.Event:
        """Set when a peer ceases to be healthy, so that requests go to others. Whoever waits for it clears it."""
        return self._seats.lost_peer

    def distrust(self, peer: str, reason: str, *, seconds: float) -> None:
        """Leave a peer out for so long, however well it answers, while there are others: it contradicts them."""
        self._seats.shun(peer, asyncio.get_running_loop().time(), seconds, reason)

    def trust_again(self) -> None:
        """Take back the peers that were distrusted."""
        self._seats.trust_again(asyncio.get_running_loop().time())

    def break_streams(self, error: TransportError) -> None:
        """End every stream, as if its connection had been cut."""
        for stream in self._seats.streams():
            stream.fail(error)

    def status(self) -> list[SeatStatus]:
        """Each peer, its health and its load."""
        return self._seats.status()

    # Sending

    async def prepared(self, timeout: Timeout | float | None = None) -> Timeout:
        """Do what comes before the first request, if it is not done yet; gives the limits that it leaves.

        Raises what it raises, and as `open` does.
        """
        limits = self.timeout if timeout is None else Timeout.of(timeout)
        if self._prepare is None:
            return limits
        self.open()
        budget = Budget(limits, asyncio.get_running_loop().time)
        await self._prepare(limits)
        self._prepare = None
        return budget.left()

    def send(
        self,
        request: Request,
        *,
        auth: Auth,
        timeout: Timeout | float | None = None,
        peer: Peer | str | None = None,
    ) -> Awaitable[Response]:
        """The answer to one request: the first that settles its fate.

        timeout: Limits of the whole call, in seconds; the pool's by default.
        peer: Asks this one only, without failover.

        Raises ConnectFailed (only with `peer`), RequestTimeout, NoPeerAvailable, OutcomeUnknown, ClientClosed. A cancel
        of a request that is not a read leaves its outcome unknown.
        """
        # No coroutine of its own: each that stands between a caller and the wire is resumed twice for every answer.
        if self._closed or self._loop is not asyncio.get_running_loop() or self._age != forks.age:
            self.open()
        if self._prepare is not None:
            return self._send_prepared(request, auth, timeout, peer)
        return self._attempts(self._call(request, self._exchange, request.judge, auth, timeout, peer, self._turns))

    async def _send_prepared(
        self, request: Request, auth: Auth, timeout: Timeout | float | None, peer: Peer | str | None
    ) -> Response:
        limits = await self.prepared(timeout)
        return await self._attempts(self._call(request, self._exchange, request.judge, auth, limits, peer, self._turns))

    @asynccontextmanager
    async def stream(
        self,
        request: Request,
        *,
        auth: Auth,
        timeout: Timeout | float | None = None,
        peer: Peer | str | None = None,
        body: Body | None = None,
    ) -> AsyncIterator[Stream]:
        """An answer without an end, to be read inside the block.

        timeout: Limits of its opening, in seconds. After that there is none, but a peer that falls silent is noticed
            within 5 s, and the read then raises RequestTimeout.
        body: Sent in place of the request's own, and once only. The limits are then those of each pause in it, and of
            that between its end and the answer.

        Raises as `send` does, and what the body's source raises.
        """
        self.open()
        if self._prepare is not None:
            timeout = await self.prepared(timeout)
        # A refusal is left to the reader: it may come within a stream that began well.
        perform = partial(self._open_stream, body=body)
        call = self._call(request, perform, lambda _: Verdict.FINAL, auth, timeout, peer, None)
        stream = await self._attempts(call)
        self._monitor.watch_over_streams()
        try:
            yield stream
        finally:
            self._seats.forget(stream)
            stream.close()

    def _call(
        self,
        request: Request,
        perform: Callable[[Call[Answer], Seat, float, float | None], Awaitable[Answer]],
        judge: Callable[[Answer], Verdict],
        auth: Auth,
        timeout: Timeout | float | None,
        peer: Peer | str | None,
        turns: anyio.Semaphore | None,
    ) -> Call[Answer]:
        limits = self.timeout if timeout is None else Timeout.of(timeout)
        deadline = self._clock() + limits.total
        pinned = None if peer is None else self._seats.find(peer)
        return Call(request, perform, judge, auth, limits, deadline, turns, pinned, auth.current())

    def _exchange(self, call: Call[Response], seat: Seat, left: float, span: float | None) -> Awaitable[Response]:
        """Send an ordinary request, and read its answer."""
        limits = call.limits
        # A write could not be sent again, so its answer is waited for.
        silence = None if call.request.effect is Effect.ONCE else span
        return self._http.exchange(
            seat.peer,
            call.request,
            call.headers or NO_HEADERS,
            total=left,
            connect=limits.connect or span,
            read=limits.read or silence,
        )

    async def _open_stream(
        self,
        call: Call[Stream],
        seat: Seat,
        left: float,
        span: float | None,
        *,
        body: Body | None,
    ) -> Stream:
        """Send a request, and read the head of its answer."""
        limits = call.limits
        answer = await self._http.open(
            seat.peer,
            call.request,
            call.headers or NO_HEADERS,
            connect=limits.connect or span,
            first_byte=min(left, limits.read or span or left),
            body=body,
        )
        stream = Stream(
            answer,
            peer=seat.peer.url,
            operation=call.request.operation,
            clock=self._clock,
            silences=self._silences,
        )
        if self._closed:
            stream.close()
            raise closed_error()
        self._seats.opened(seat, stream)
        return stream

    async def _attempts(self, call: Call[Answer]) -> Answer:
        """The retry loop."""
        while True:
            if call.headers is None:
                call.headers = await self._renew(call, None)
            if call.turns is not None:
                try:
                    call.turns.acquire_nowait()
                except anyio.WouldBlock:
                    await self._wait_for_turn(call.turns, call)
            try:
                seat = call.pinned or self._seats.pick(call.tried)
                attempt = self._begin(call, seat)
                try:
                    attempt.answer = await call.perform(call, seat, attempt.left, attempt.span)
                    attempt.verdict = call.judge(attempt.answer)
                except TransportError as e:
                    attempt.error = _cut_by_closing(e) if self._closed and isinstance(e, RequestTimeout) else e
                    if e.outcome is Outcome.NOT_SENT:
                        attempt.verdict = Verdict.NOT_NOW
                finally:
                    self._end(call, seat, attempt)
            finally:
                if call.turns is not None:
                    call.turns.release()
            if attempt.answer is not None:
                if attempt.verdict is Verdict.FINAL:
                    return attempt.answer
                if attempt.verdict is Verdict.STALE_CREDENTIALS:
                    fresh = None if call.renewed else await self._renew(call, call.headers)
                    if fresh is None:
                        return attempt.answer
                    call.renewed, call.headers = True, fresh
                    continue
            call.tried.add(seat)
            call.maybe_applied = call.maybe_applied or attempt.fate is Fate.OPEN
            choice = self._decide(call, attempt)
            if isinstance(choice, GiveUp):
                return give_up(call, choice.reason, attempt, seat.peer.url, len(self._seats), closed=self._closed)
            if self._tracer is not None:
                self._tracer.retry(call.request, seat.peer.url, call.sends, choice.seconds, attempt.reason)
            await self._pause(choice.seconds)
            if self._closed:
                raise closed_error() from attempt.error

    def _begin(self, call: Call[Answer], seat: Seat) -> Attempt[Answer]:
        """It is about to be sent to a peer, where it has its place from now on."""
        call.sends += 1
        last = call.pinned is not None or call.attempts >= self._retry.attempts or len(self._seats) == 1
        if self._tracer is not None:
            self._tracer.request(call.request, seat.peer.url, call.headers or NO_HEADERS, call.sends)
        now = self._clock()
        left = max(0.001, call.deadline - now)
        return Attempt(now, left, None if last else min(call.limits.attempt, left), seat.enter(now))

    def _end(self, call: Call[Answer], seat: Seat, attempt: Attempt[Answer]) -> None:
        """It has its answer, or failed, or was cancelled: its place is free, and what is known of the peer changes."""
        now = self._clock()
        answered = attempt.answer is not None
        seat.leave(attempt.ticket, now, answered=answered)
        if self._tracer is not None:
            status, error = attempt.summary
            self._tracer.response(
                call.request, seat.peer.url, call.sends, now - attempt.started, status=status, error=error
            )
        if self._closed or not (answered or attempt.error):
            return
        if attempt.verdict in _WELL:
            self._seats.answered(seat, now)
        else:
            self._seats.failed(seat, now, attempt.reason)
        self._monitor.look_after_peers(now)

    def _decide(self, call: Call[Answer], attempt: Attempt[Answer]) -> RetryAfter | GiveUp:
        """Whether it is sent again."""
        return decide(
            policy=self._retry if call.pinned is None else _NO_FAILOVER,
            effect=call.request.effect,
            fate=attempt.fate,
            attempt=call.attempts,
            untried=self._seats.untried(call.tried),
            peers=len(self._seats),
            remaining=call.deadline - self._clock(),
            random=self._random,
        )

    async def _renew(self, call: Call[Answer], stale: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Credentials newer than `stale`, within the call's time."""
        try:
            async with asyncio.timeout_at(None if call.deadline == math.inf else call.deadline):
                return await call.auth.renew(stale)
        except (TransportError, TimeoutError) as e:
            # It was the question for credentials that failed. What was asked for was not applied.
            kind = RequestTimeout if isinstance(e, TimeoutError) else NoPeerAvailable
            text = f"no credentials: {e if str(e) else 'not in time'}"
            raise kind(text, outcome=call.outcome, operation=call.request.operation) from e

    async def _wait_for_turn(self, turns: anyio.Semaphore, call: Call[Answer]) -> None:
        """Wait until fewer than `limit` ordinary requests are on the wire."""
        try:
            async with asyncio.timeout_at(None if call.deadline == math.inf else call.deadline):
                await turns.acquire()
        except TimeoutError as e:
            text = f"{self._limit} requests of this client were on the wire all the time"
            raise RequestTimeout(text, outcome=call.outcome, operation=call.request.operation) from e

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not longer than until the pool closes."""
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closing.wait()


def _cut_by_closing(error: RequestTimeout) -> RequestTimeout:
    """Closing ends what is under way as if its time were over, and whoever asked for it is to know why."""
    told = RequestTimeout("the client was closed", outcome=error.outcome, peer=error.peer, operation=error.operation)
    told.__cause__ = error
    return told
