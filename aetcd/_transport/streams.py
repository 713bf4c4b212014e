"""An answer without an end: read as it comes, and given up when its peer falls silent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

import aiohttp

from aetcd._transport.deadlines import Deadline, Deadlines
from aetcd._transport.http import failure
from aetcd._wire.message import Response
from aetcd.errors import AetcdError, RequestTimeout

__all__ = ["Pace", "Stream"]

COUNTED = 32  # messages by which their rate is told
FLOOD = 1000.0  # messages a second
GATHERED = 20  # messages that are wanted in one read of a flood
WORTH = 4  # messages in one read for which it is worth being late
LONGEST = 0.008  # seconds that a message of a flood may wait for others
CALM = 10.0  # seconds until it is tried again where too little gathered


class Pace:
    """How long to leave a connection alone: not at all, unless messages come in a flood.

    To wake up for a message costs more than the message: where the sender is another process of the same machine, ten
    times as much. A sender who waits for its reader to answer sends nothing meanwhile, and is not kept waiting again.
    """

    def __init__(self) -> None:
        self._count = 0
        self._reads = 0
        self._since: float | None = None
        self._rest = 0.0
        self._calm_until = 0.0

    def rest(self, messages: int, now: float) -> float:
        """So many messages were read, at `now` in seconds. How long to let more of them gather, in seconds."""
        if now < self._calm_until:
            return 0.0
        if self._since is None:
            self._since = now
            return 0.0
        self._count += messages
        self._reads += 1
        if self._count >= COUNTED:
            rate = self._count / max(now - self._since, 0.001)
            if self._rest and self._count < WORTH * self._reads:
                self._rest, self._calm_until = 0.0, now + CALM
            elif self._rest or rate > FLOOD:
                self._rest = min(LONGEST, GATHERED / rate)
            self._count, self._reads, self._since = 0, 0, now
        return self._rest


class Stream:
    """The body of a long answer.

    peer: URL of the peer that sends it.
    """

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        *,
        peer: str,
        operation: str,
        clock: Callable[[], float],
        silences: Deadlines[Deadline],
    ) -> None:
        self.peer = peer
        self.operation = operation
        self.last_heard = clock()
        self._answer = answer
        self._clock = clock
        self._silences = silences
        self._broken: AetcdError | None = None
        self._pace = Pace()

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, without regard to case."""
        return self._answer.headers

    async def read(self, *, within: float = math.inf) -> bytes:
        """The next bytes, as soon as there are any; none at the proper end.

        within: Seconds for which it may be silent, though its peer lives.

        Raises ConnectFailed where the stream was cut, and RequestTimeout where it or its peer fell silent. A cancel
        loses nothing: the next call gets the bytes.
        """
        if self._broken is not None:
            raise self._broken
        limit = None if within == math.inf else self._silences.begin(within)
        try:
            chunk = await self._answer.content.readany()
        except asyncio.CancelledError as e:
            if limit is not None and limit.overdue:
                text = f"nothing came for {within:g} s"
                raise RequestTimeout(text, peer=self.peer, operation=self.operation) from e
            raise
        except AetcdError:
            raise
        except (aiohttp.ClientError, OSError) as e:
            raise failure(e, peer=self.peer, operation=self.operation) from e
        finally:
            if limit is not None:
                self._silences.end(limit)
        self.last_heard = self._clock()
        return chunk

    def let_gather(self, messages: int) -> None:
        """To be told after each read how many messages were in it. Those of a flood will be read several at a time."""
        rest = self._pace.rest(messages, self.last_heard)
        connection = self._answer.connection if rest else None
        if connection is not None and connection.transport is not None:
            connection.transport.pause_reading()
            asyncio.get_running_loop().call_later(rest, connection.transport.resume_reading)

    def response(self, body: bytes) -> Response:
        """The answer as an ordinary one, where it turned out to be a refusal with an end."""
        return Response(status=self.status, headers=self.headers, body=body, peer=self.peer)

    def fail(self, error: AetcdError) -> None:
        """End it from outside: whoever reads gets `error`, now and at every later read."""
        if self._broken is None:
            self._broken = error
            self._answer.content.set_exception(error)
            self._answer.close()

    def close(self) -> None:
        """Drop the connection."""
        self._answer.close()

    def __repr__(self) -> str:
        return f"<Stream {self.operation} from {self.peer}>"
