"""Long answers of the gateway: one request, and messages until the server or the reader ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
from attrs import define, field

from aetcd._wire.decode import decode
from aetcd._wire.framing import JSONValues
from aetcd._wire.message import Verdict
from aetcd.errors import ConnectFailed, DecodeError
from aetcd.etcd.v3._codec import Route, Wire, body_of
from aetcd.etcd.v3._errors import error_of, fault_of, judge

if TYPE_CHECKING:
    from aetcd._transport.streams import Stream
    from aetcd._transport.timeouts import Timeout
    from aetcd.etcd.v3._gateway import Gateway

__all__ = ["Envelope", "Messages", "open_stream"]

T = TypeVar("T")


class Envelope(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What the gateway wraps each message of a stream in; without a result it is the error that ends the stream."""

    result: T | None = None


@define(eq=False)
class Messages(Generic[T]):
    """The messages of one long answer."""

    stream: Stream
    route: Route
    kind: type[Envelope[T]]
    _values: JSONValues = field(factory=JSONValues, init=False)

    async def next(self) -> Sequence[T]:
        """Those that have come since; none at the proper end.

        Raises what the server's error means, ConnectFailed where the stream was cut, RequestTimeout where its peer fell
        silent. A cancel loses nothing.
        """
        while chunk := await self.stream.read():
            if messages := [self._read(value) for value in self._values.feed(chunk)]:
                return messages
        if self._values.pending:
            raise self.cut("within a message")
        return ()

    def cut(self, where: str) -> ConnectFailed:
        """The error of a stream that ended before it was whole."""
        return ConnectFailed(f"the stream ended {where}", peer=self.stream.peer, operation=self.route.operation)

    def _read(self, value: bytes) -> T:
        message = decode(value, self.kind).result
        if message is not None:
            return message
        fault = fault_of(value, 200)
        if not fault.text:
            raise DecodeError(f"the stream sent what is neither a result nor an error: {value[:80]!r}")
        raise error_of(fault, operation=self.route.operation, peer=self.stream.peer)


@asynccontextmanager
async def open_stream(
    gateway: Gateway,
    route: Route,
    message: Wire,
    kind: type[Envelope[T]],
    *,
    timeout: float | Timeout | None = None,
    peer: str | None = None,
) -> AsyncIterator[Messages[T]]:
    """Ask for a long answer, to be read inside the block; the server begins it with its first message.

    timeout: Limits of its opening.

    Raises what a refusal means; one for stale credentials only after fresh ones were refused too.
    """
    request = route.request(await gateway.resolve(timeout=timeout, peer=peer), body_of(message))
    auth = gateway.channel.auth
    renewed = False
    while True:
        stale = auth.current()
        async with gateway.channel.stream(request, timeout=timeout, peer=peer) as stream:
            if stream.status == 200:
                yield Messages(stream, route, kind)
                return
            refusal = stream.response(await _rest(stream))
        if renewed or judge(refusal) is not Verdict.STALE_CREDENTIALS or await auth.renew(stale) is None:
            route.check(refusal)
        renewed = True


async def _rest(stream: Stream) -> bytes:
    body = b""
    while chunk := await stream.read():
        body += chunk
    return body
