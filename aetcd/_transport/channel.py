"""A pool as one protocol uses it: with its credentials."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable
from contextlib import AbstractAsyncContextManager

from attrs import define

from aetcd._routing.peer import Peer
from aetcd._transport.auth import ANONYMOUS, Auth
from aetcd._transport.bodies import Following, Upload
from aetcd._transport.pool import Pool
from aetcd._transport.streams import Stream
from aetcd._transport.timeouts import Timeout
from aetcd._wire.message import Effect, Request, Response

__all__ = ["Channel"]


@define
class Channel:
    """A pool as one protocol uses it: with its credentials."""

    pool: Pool
    auth: Auth

    def send(
        self,
        request: Request,
        *,
        timeout: Timeout | float | None = None,
        peer: Peer | str | None = None,
        anonymous: bool = False,
    ) -> Awaitable[Response]:
        """As `Pool.send`; `anonymous` leaves the credentials out."""
        return self.pool.send(request, auth=ANONYMOUS if anonymous else self.auth, timeout=timeout, peer=peer)

    def stream(
        self, request: Request, *, timeout: Timeout | float | None = None, peer: Peer | str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """As `Pool.stream`."""
        return self.pool.stream(request, auth=self.auth, timeout=timeout, peer=peer)

    def duplex(
        self,
        request: Request,
        outgoing: AsyncIterable[bytes],
        *,
        peer: Peer | str,
        timeout: Timeout | float | None = None,
    ) -> AbstractAsyncContextManager[Stream]:
        """A stream both ways with one peer: `outgoing` is sent behind the request's body while the answer is read."""
        body = Following(request.body or b"", outgoing)
        return self.pool.stream(request, auth=self.auth, timeout=timeout, peer=peer, body=body)

    def upload(
        self,
        request: Request,
        content: AsyncIterable[bytes],
        *,
        length: int | None,
        timeout: Timeout | float | None = None,
        peer: Peer | str | None = None,
    ) -> AbstractAsyncContextManager[Stream]:
        """Send a body piece by piece, and read the answer, which may come before the body has ended.

        content: Taken no faster than the peer takes it. It can be sent once, so the request's effect must be ONCE: it
            goes to another peer only where no connection stood.
        length: Bytes in all; None sends chunks. Raises ValueError where `content` gives more or less.
        timeout: Limits of each pause, not of the whole: until a piece is taken, and from the last one to the answer.
        """
        if request.effect is not Effect.ONCE:
            raise ValueError(f"request: a body that can be sent once needs the effect ONCE, not {request.effect}")
        return self.pool.stream(request, auth=self.auth, timeout=timeout, peer=peer, body=Upload(content, length))
