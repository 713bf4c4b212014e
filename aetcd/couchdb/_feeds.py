"""Feeds of changes that lose nothing: answers without an end, opened again at the cursor wherever they break."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from aetcd._routing.retry import full_jitter
from aetcd._transport.streams import Stream
from aetcd._transport.timeouts import Timeout
from aetcd.couchdb._arguments import check_count, check_either, check_seconds
from aetcd.couchdb._codec import decode
from aetcd.couchdb._errors import Forbidden, NotFound, RequestRefused, Unauthorized
from aetcd.couchdb._link import Link
from aetcd.couchdb._rows import HTTP_IN_BODY, Beat, End, Failure, Mode, RowReader, WireRow, reader_for, seq_text
from aetcd.couchdb._source import NOW, Query, Since, Source, check_since
from aetcd.errors import (
    AetcdError,
    ClientClosed,
    ConnectFailed,
    DecodeError,
    RequestTimeout,
    ServerUnavailable,
    TransportError,
)

__all__ = ["Feed"]

logger = logging.getLogger("aetcd")

T = TypeVar("T")

MISSED_BEATS = 3
LATE = 1.5  # heartbeats, until the one that is due will not come
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds
LONGEST_POLL = 60.0  # seconds; the server's own limit (`chttpd/changes_timeout`)
BRIEF = 0.5  # seconds: an answer without a row that ends sooner is not asked for again at once
PATIENT = 60.0  # seconds of silence in a normal feed, which has no heartbeats

_REFUSED: Mapping[str, tuple[type[RequestRefused], int]] = {
    "unauthorized": (Unauthorized, 401),
    "forbidden": (Forbidden, 403),
    "not_found": (NotFound, 404),
}


class Feed(Generic[T]):
    """Events from a cursor on, as an async iterator inside `async with`.

    seq: The cursor behind the last event that was handed out: store it when that is dealt with, and give it as `since=`
        to go on from there, in another process too. Where nothing comes it still moves, when the server tells that
        nothing is there. None at the very beginning.
    mode: How the server is asked now. It may change: see `db_updates`.
    pending: How many changes wait behind `seq`, where the server told last; else None.
    peer: URL of the peer that is read from, or was last.
    etag: Of a normal feed's answer.
    last_error: Why it was opened again last; None where it never was.

    Nothing is read ahead but what one read of the connection brings (a few hundred kilobytes, or one row where that is
    larger): who takes slowly slows the server down. A cancelled wait for the next event loses nothing. Iterated by one
    task at a time.
    """

    def __init__(
        self,
        link: Link,
        source: Source[T],
        *,
        since: Since,
        feed: Mode,
        heartbeat: float,
        limit: int | None,
        patience: float,
    ) -> None:
        self._link = link
        self._source = source
        self._start = check_since(since)
        self.mode: Mode = feed
        check_either("feed", feed, ("normal", "longpoll", "continuous", "eventsource"))
        self._beat = check_seconds(heartbeat, "heartbeat")
        self._left = None if limit is None else check_count(limit, "limit")
        self._patience = patience if patience == math.inf else check_seconds(patience, "patience")
        self.seq: str | None = None if self._start == NOW else self._start
        self.pending: int | None = None
        self.peer: str | None = None
        self.etag: str | None = None
        self.last_error: AetcdError | None = None
        self._cursor = self.seq
        self._queue: deque[tuple[WireRow | End, str | None]] = deque()
        self._opened: AbstractAsyncContextManager[Stream] | None = None
        self._stream: Stream | None = None
        self._rows: RowReader = reader_for(feed)
        self._failures = 0
        self._heard = 0.0
        self._began = 0.0
        self._came = 0
        self._rows_came = False
        self._over = False
        self._fell_back = False
        self._ended: AetcdError | Literal[True] | None = None
        self._entered = False
        self._busy = False

    # Opening and closing

    async def __aenter__(self) -> Self:
        """Begin. With `since=NOW` the server is asked for its present seq, so that what comes later is not missed.

        Raises what a request raises then; else nothing is sent yet.
        """
        self._heard = asyncio.get_running_loop().time()
        if self._start == NOW and not self._entered:
            request = self._source.request(Query(mode="normal", since=NOW, limit=1))
            answer = await self._link.ask(request, needs=self._source.needs)
            self.seq = self._cursor = seq_text(decode(request, answer, dict[str, object]).get("last_seq"))
            if self.seq is None:
                # From the beginning on would be another feed.
                raise DecodeError(f"{self._source.name} at {answer.peer}: no last_seq: {answer.body[:80]!r}")
            self._heard = asyncio.get_running_loop().time()
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drop the connection. The cursor stays readable; idempotent."""
        self._ended = self._ended or True
        self._queue.clear()
        await self._drop()

    def __repr__(self) -> str:
        return f"<Feed {self._source.name} {self.mode} from {self.peer or 'no peer yet'}>"

    # Taking

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next event, waited for. Raises what cannot heal; see `db_updates`."""
        if not self._entered:
            raise RuntimeError("a feed is read inside `async with`")
        if self._busy:
            raise RuntimeError("a feed is read by one task at a time")
        self._busy = True
        try:
            while True:
                while self._queue:
                    found, seq = self._queue.popleft()
                    self.seq = seq
                    if isinstance(found, WireRow):
                        return self._source.read(found, seq or "")
                    self.pending = found.pending
                if self._ended is not None:
                    raise StopAsyncIteration if self._ended is True else self._ended
                if self._left == 0:
                    await self._wind_up()
                else:
                    await self._fill()
        finally:
            self._busy = False

    async def _fill(self) -> None:
        """Read once, opening the answer where none is open."""
        try:
            if self._stream is None:
                await self._open()
            assert self._stream is not None
            async with asyncio.timeout(self._silence):
                data = await self._stream.read()
        except ClientClosed as e:
            await self._end(e)
        except TimeoutError as e:
            await self._silent(e)
        except TransportError as e:
            await self._lost(e)
        except RequestRefused as e:
            if e.status < 500 and e.status != 429 and not isinstance(e, ServerUnavailable):
                await self._end(e)
            else:
                self._leave(e.peer, e.reason, LONGEST_PAUSE)
                await self._lost(e)
        except AetcdError as e:
            await self._end(e)
        else:
            await self._take(data)

    async def _take(self, data: bytes) -> None:
        """What one read brought: rows into the queue, and the cursor behind them."""
        self._heard = asyncio.get_running_loop().time()
        self._came += len(data)
        if self._heard - self._began > LONGEST_PAUSE:
            self._failures = 0
        for item in self._rows(data):
            match item:
                case WireRow() if self._left == 0:
                    # A limit that the server does not know is kept all the same.
                    await self._end()
                    return
                case WireRow():
                    self._append(item, seq_text(item.seq))
                case End():
                    # What is left is read too: a connection whose answer is read to its end serves the next one.
                    self._append(item, item.seq or self._cursor)
                    self._over = True
                case Failure():
                    await self._failed(item)
                    return
                case Beat():
                    if not self._source.eventsource:
                        # The server breaks down at the next sign of life: this mode has given what it can give.
                        self.mode = "continuous"
                        await self._drop()
                        return
        if not data:
            # Without its `last_seq` an answer was cut off, but for eventsource, which has none.
            if self._over or self.mode == "eventsource":
                await self._finished()
            else:
                text = "the answer ended before its end"
                await self._lost(TransportError(text, peer=self.peer, operation=self._source.name))

    async def _wind_up(self) -> None:
        """At the limit: what the server tells at the end of its answer is waited for, but not long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BRIEF):
                while self._stream is not None and self._ended is None:
                    await self._fill()
        await self._end()

    def _append(self, found: WireRow | End, seq: str | None) -> None:
        self._cursor = seq or self._cursor
        self._queue.append((found, self._cursor))
        if isinstance(found, WireRow):
            self._failures, self._rows_came = 0, True
            if self._left is not None:
                self._left -= 1

    # How an answer ends

    async def _finished(self) -> None:
        """At its proper end: a normal feed is through, any other is asked for what comes next."""
        brief = asyncio.get_running_loop().time() - self._began < BRIEF
        await self._drop()
        self._over = False
        if self.mode == "normal" or self._left == 0:
            self._ended = self._ended or True
        elif brief and not self._rows_came:
            self._failures += 1

    async def _failed(self, failure: Failure) -> None:
        """By an error inside it."""
        if failure.error in _REFUSED:
            kind, status = _REFUSED[failure.error]
            operation = self._source.name
            refused = kind(failure.reason, status=status, code=failure.error, peer=self.peer, operation=operation)
            await self._end(refused)
            return
        text = f"an error inside the answer: {failure.error}: {failure.reason}"
        error = TransportError(text, peer=self.peer, operation=self._source.name)
        await self._lost(error, unfit=failure.error == HTTP_IN_BODY)

    async def _silent(self, error: TimeoutError) -> None:
        """No byte for three heartbeats: another peer is asked, and in another way where this one never said a word."""
        if isinstance(error, RequestTimeout) and self._stream is not None:
            # The pool noticed that the peer answers nothing at all.
            await self._lost(error)
            return
        if self._stream is not None:
            self._leave(self.peer, "it fell silent", self._silence)
        text = f"nothing came for {self._silence:g} s, in which heartbeats should have"
        lost = RequestTimeout(text, peer=self.peer, operation=self._source.name)
        lost.__cause__ = error
        # Where no connection was made at last, it is the peer that is away, and the mode is not to blame.
        away = isinstance(error.__cause__, ConnectFailed)
        await self._lost(lost, unfit=self._came == 0 and not away)

    async def _lost(self, error: AetcdError, *, unfit: bool = False) -> None:
        """By anything that may heal: it is opened again at the cursor.

        unfit: It is the mode that did not work.
        """
        if self._over:
            await self._finished()
            return
        logger.debug("%s: opened again at %s, for %s", self._source.name, self._cursor, error)
        self._choose_mode(unfit=unfit)
        self.last_error = error
        self._failures += 1
        await self._drop()
        if asyncio.get_running_loop().time() - self._heard > self._patience:
            await self._end(error)

    def _leave(self, peer: str | None, reason: str, seconds: float) -> None:
        """Have another peer asked next, while there is one: this one answers, and still does not serve."""
        pool = self._link.channel.pool
        if peer is not None and len(pool.peers) > 1:
            pool.distrust(peer, f"{self._source.name}: {reason}", seconds=seconds)

    def _choose_mode(self, *, unfit: bool) -> None:
        match self.mode:
            case "eventsource" if unfit or not self._source.eventsource:
                self.mode = "continuous"
            case "continuous" if unfit and self._came == 0:
                # What holds an answer back until it has ended lets a long poll pass.
                self.mode, self._fell_back = "longpoll", True
            case "longpoll" if self._fell_back:
                # It was the peer, then, and not the mode.
                self.mode, self._fell_back = "continuous", False

    async def _end(self, error: AetcdError | None = None) -> None:
        """For good."""
        self._ended = error or True
        await self._drop()

    # The wire

    @property
    def _silence(self) -> float:
        """Seconds without a byte that are too many."""
        if self.mode == "normal":
            return max(PATIENT, MISSED_BEATS * self._beat)
        if self.mode == "eventsource" and not self._source.eventsource:
            # There is one heartbeat at most, and then nothing more.
            return LATE * self._beat
        return max(MISSED_BEATS * self._beat, self._poll + self._beat if self.mode == "longpoll" else 0.0)

    @property
    def _poll(self) -> float:
        """Seconds after which a long poll ends by itself."""
        return min(2 * self._beat, LONGEST_POLL)

    async def _open(self) -> None:
        if self._failures:
            doublings = self._failures - 1
            await asyncio.sleep(full_jitter(self._link.rng, base=FIRST_PAUSE, cap=LONGEST_PAUSE, doublings=doublings))
        # A long poll is kept alive by its end, which also passes what holds heartbeats back.
        query = Query(
            mode=self.mode,
            since=self._cursor,
            heartbeat=self._beat if self.mode in {"continuous", "eventsource"} else None,
            timeout=self._poll if self.mode == "longpoll" else None,
            limit=self._left,
        )
        self._came, self._rows_came, self._over = 0, False, False
        self._began = asyncio.get_running_loop().time()
        self._rows = reader_for(self.mode)
        opened = self._link.stream(self._source.request(query), timeout=self._opening(), needs=self._source.needs)
        self._stream = await opened.__aenter__()
        self._opened = opened
        self.peer = self._stream.peer
        etag = self._stream.headers.get("ETag")
        self.etag = None if etag is None else etag.strip('"')
        self._heard = asyncio.get_running_loop().time()

    def _opening(self) -> Timeout:
        """Limits of the head of an answer: it may come with the first heartbeat only (measured on 3.5.0)."""
        pool = self._link.channel.pool
        tries = max(1, min(len(pool.peers), MISSED_BEATS))
        connect = pool.timeout.connect or min(pool.timeout.total, LONGEST_PAUSE)
        return Timeout(total=self._silence * tries, connect=connect, read=self._silence)

    async def _drop(self) -> None:
        opened, self._opened, self._stream = self._opened, None, None
        if opened is not None:
            await opened.__aexit__(None, None, None)
