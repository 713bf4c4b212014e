"""Looking after peers: the pool's own cheap reads, which say who is well and which streams have fallen silent."""

from __future__ import annotations

import asyncio
from functools import partial

from aetcd._transport.http import HTTP
from aetcd._transport.seats import Seat, Seats
from aetcd._transport.supervisor import Job, Supervisor
from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import NO_HEADERS, Request, Verdict
from aetcd.errors import RequestTimeout, TransportError

__all__ = ["Monitor"]

# A silent peer is noticed within QUIET + ROUND + the limit of a probe (2 s).
QUIET = 1.0  # seconds without a word, on its streams or by a probe, after which a peer is asked
ROUND = 0.5  # seconds between looks
PATIENCE = 3.0  # seconds for which a peer may say that it cannot serve before its streams move


class Monitor:
    """Probes peers that are not well, and those whose streams are silent.

    A stream may rightly be silent for ever: only a peer that answers no probe is silent itself.
    """

    def __init__(self, seats: Seats, http: HTTP, supervisor: Supervisor, probe: Request, timeout: Timeout) -> None:
        self._seats = seats
        self._http = http
        self._supervisor = supervisor
        self._probe = probe
        self._limit = timeout.attempt
        self._streams: Job | None = None

    def look_after_peers(self, now: float) -> None:
        """Start the probes that are due. A caller's request is never used as one."""
        for seat in self._seats.due_for_probe(now):
            self._start(seat, now)

    def watch_over_streams(self) -> None:
        """See to it that silent streams are noticed, for as long as there are any."""
        if self._streams is None or self._streams.done:
            self._streams = self._supervisor.spawn(self._run, name="stream monitor")

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while seats := self._seats.with_streams():
            now = clock()
            for seat in seats:
                if seat.quiet_for(now) >= QUIET and not seat.probing:
                    self._start(seat, now)
            await asyncio.sleep(ROUND)

    def _start(self, seat: Seat, now: float) -> None:
        self._seats.probe_started(seat, now)
        self._supervisor.spawn(partial(self._ask, seat), name=f"probe of {seat.peer}")

    async def _ask(self, seat: Seat) -> None:
        clock = asyncio.get_running_loop().time
        asked = clock()
        error, silent = None, False
        try:
            answer = await self._http.exchange(
                seat.peer, self._probe, NO_HEADERS, total=self._limit, connect=None, read=None
            )
            if answer.status >= 500 or self._probe.judge(answer) is Verdict.NOT_NOW:
                error = f"{self._probe.operation} answered HTTP {answer.status}"
        except TransportError as e:
            error, silent = e.message, True
        now = clock()
        self._seats.probed(seat, now, error, silent=silent)
        # No answer at all: silent. An answer that it cannot serve: a leader is being elected, or it is cut off.
        if error is not None and (silent or seat.unwell_for(now) > PATIENCE):
            for stream in [stream for stream in seat.streams if stream.last_heard < asked]:
                text = f"the peer fell silent: {error}"
                stream.fail(RequestTimeout(text, peer=stream.peer, operation=stream.operation))
