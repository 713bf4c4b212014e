"""An answer without an end: read as it comes, and given up when its peer falls silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import aiohttp

from aetcd._transport.http import failure
from aetcd._wire.message import Response
from aetcd.errors import AetcdError

__all__ = ["Stream"]


class Stream:
    """The body of a long answer.

    peer: URL of the peer that sends it.
    """

    def __init__(
        self, answer: aiohttp.ClientResponse, *, peer: str, operation: str, clock: Callable[[], float]
    ) -> None:
        self.peer = peer
        self.operation = operation
        self.last_heard = clock()
        self._answer = answer
        self._clock = clock
        self._broken: AetcdError | None = None

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, without regard to case."""
        return self._answer.headers

    async def read(self) -> bytes:
        """The next bytes, as soon as there are any; none at the proper end.

        Raises ConnectFailed where the stream was cut, and RequestTimeout where its peer fell silent. A cancel loses
        nothing: the next call gets the bytes.
        """
        if self._broken is not None:
            raise self._broken
        try:
            chunk = await self._answer.content.readany()
        except AetcdError:
            raise
        except (aiohttp.ClientError, OSError) as e:
            raise failure(e, peer=self.peer, operation=self.operation) from e
        self.last_heard = self._clock()
        return chunk

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
