"""One request that waits for changes, and where the store is."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from attrs import define, field

from aetcd._transport.streams import Stream
from aetcd._wire.framing import JSONValues
from aetcd._wire.message import Request
from aetcd.errors import KeyNotFound, NotADirectory
from aetcd.etcd.v2._codec import decode_event, decode_keys, get_request
from aetcd.etcd.v2._models import KeysResponse

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel

__all__ = ["Wait", "store_index"]


@define(eq=False)
class Wait:
    """One request that the server holds, and answers with one change, or as a stream with many.

    index: Where the peer was when it began to wait. A change at or before that came from its history.
    cluster_id: The cluster that answers.
    told: How many changes it has told, those that were told twice included.
    touched: Whether anything came behind its head.
    ended: Whether it came to its proper end.
    spent: Whether it is a stream that has answered from the history, and so tells nothing more for ever.
    """

    index: int
    cluster_id: str
    _stream: Stream
    _resources: AsyncExitStack
    told: int = field(default=0, init=False)
    touched: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)
    spent: bool = field(default=False, init=False)
    _values: JSONValues = field(factory=JSONValues, init=False)

    @classmethod
    async def open(cls, channel: Channel, request: Request) -> Wait:
        """Returns when the server holds it. Raises HistoryLost where the changes from its index on are gone."""
        async with AsyncExitStack() as opening:
            stream = await opening.enter_async_context(channel.stream(request))
            if stream.status != 200:
                body = b""
                while chunk := await stream.read():
                    body += chunk
                decode_keys(request, stream.response(body))
            index = int(stream.headers.get("X-Etcd-Index", 0))
            return cls(index, stream.headers.get("X-Etcd-Cluster-Id", ""), stream, opening.pop_all())
        raise AssertionError("an exit stack swallows nothing")

    async def read(self) -> list[KeysResponse]:
        """The next changes that came whole; none where there are none yet, or it ended. A cancel loses nothing."""
        chunk = await self._stream.read()
        if not chunk:
            self.ended = True
            return []
        self.touched = True
        events = [
            decode_event(value, index=self.index, cluster_id=self.cluster_id) for value in self._values.feed(chunk)
        ]
        if events and not self.told:
            self.spent = events[0].the_node.modified_index <= self.index
        self.told += len(events)
        return events

    @property
    def partial(self) -> bool:
        """Whether a part of a change came."""
        return self._values.pending > 0

    async def aclose(self) -> None:
        """Drop it."""
        await self._resources.aclose()


async def store_index(channel: Channel, path: str) -> tuple[int, str]:
    """Where the store is, by a linearizable read, and the cluster that says so."""
    request = get_request(path, quorum=True)
    response = await channel.send(request)
    with suppress(KeyNotFound, NotADirectory):
        decode_keys(request, response)
    return int(response.headers.get("X-Etcd-Index", 0)), response.headers.get("X-Etcd-Cluster-Id", "")
