"""The keys API of etcd v2, each call one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from aetcd._wire.message import Request, Response
from aetcd.errors import RequestTimeout
from aetcd.etcd.v2._codec import (
    decode_keys,
    delete_request,
    get_request,
    post_request,
    put_request,
    refresh_request,
    wait_request,
)
from aetcd.etcd.v2._endless import V2Watch
from aetcd.etcd.v2._models import KeysResponse
from aetcd.etcd.v2._shared import Lines

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel
    from aetcd._transport.timeouts import Timeout

__all__ = ["Keys"]

# Between two polls of which the first ended without a change, as they do when a server shuts down.
EMPTY_POLL_PAUSE = 0.2


class Keys:
    """A tree of directories and of keys with text values.

    Everywhere:

    key: A path, with or without its leading slash. Empty, `.` and `..` segments raise ValueError, since servers would
        redirect to another key. A last segment that begins with `_` is hidden: no listing shows it, a get by name does.
    value: Text, or bytes that are UTF-8; Unsupported for others, for a v2 server keeps text only.
    ttl: Whole seconds >= 1 until the server takes the node away. A write without one removes the expiry that was there.
    previous_value: Only if the value is this. Not the empty text, which the protocol cannot say: compare by index then.
    previous_index: Only if the node was last modified at this index.
    previous_exist: Only if the node is there (True), or is not (False).
    no_value_on_success: The answer then carries no node.
    timeout: Seconds for the whole call, or a `Timeout`; the client's by default.
    peer: URL of the one peer to ask.

    All raise the errors of `aetcd.errors`. A write is never sent twice: where its fate stays open, or when it is
    cancelled, it may have been applied.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.lines = Lines(channel)

    async def get(
        self,
        key: str,
        *,
        recursive: bool = False,
        sorted: bool = False,
        quorum: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Read a key, or a directory with its children.

        recursive: The whole tree below, and not the children alone.
        sorted: Nodes in order of their names.
        quorum: A linearizable read. Without it, the peer answers from its own copy, which may be stale.

        Raises KeyNotFound, and NotADirectory where the path leads through a key with a value.
        """
        request = get_request(key, recursive=recursive, sort=sorted, quorum=quorum)
        return await self._send(request, timeout, peer)

    async def set(
        self,
        key: str,
        value: str | bytes | None = None,
        *,
        ttl: int | None = None,
        dir: bool = False,
        previous_value: str | bytes | None = None,
        previous_index: int | None = None,
        previous_exist: bool | None = None,
        no_value_on_success: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Write a key, and the directories above it that are not there.

        Without a comparison, what was there is replaced, with a new creation index. With `previous_value`,
        `previous_index`, or both, with or without `previous_exist=True`, it is a compare-and-swap, and with
        `previous_exist` alone a create or an update; these keep the creation index.

        dir: Make a directory, which has no value and takes the place of a key with one.

        Raises CompareFailed, KeyNotFound, KeyExists, and NotAFile where a directory stands.
        """
        request = put_request(
            "v2 set",
            key,
            value,
            directory=dir,
            ttl=ttl,
            previous_value=previous_value,
            previous_index=previous_index,
            previous_exist=previous_exist,
            no_value_on_success=no_value_on_success,
        )
        return await self._send(request, timeout, peer)

    async def create(
        self,
        key: str,
        value: str | bytes,
        *,
        ttl: int | None = None,
        no_value_on_success: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Write a key that is not there. Raises KeyExists where it is."""
        request = put_request(
            "v2 create", key, value, ttl=ttl, previous_exist=False, no_value_on_success=no_value_on_success
        )
        return await self._send(request, timeout, peer)

    async def update(
        self,
        key: str,
        value: str | bytes,
        *,
        ttl: int | None = None,
        no_value_on_success: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Write a key that is there, which keeps its creation index. Raises KeyNotFound, and NotAFile.

        Without `ttl` this removes an expiry; no single request does so and keeps a value that it does not carry.
        """
        request = put_request(
            "v2 update", key, value, ttl=ttl, previous_exist=True, no_value_on_success=no_value_on_success
        )
        return await self._send(request, timeout, peer)

    async def compare_and_swap(
        self,
        key: str,
        value: str | bytes,
        *,
        previous_value: str | bytes | None = None,
        previous_index: int | None = None,
        previous_exist: bool | None = None,
        ttl: int | None = None,
        no_value_on_success: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Write a key if it is as expected, by its value, its index, or both; it keeps its creation index.

        previous_exist: Alone it is the whole comparison: `update`, or with False `create`.

        Raises CompareFailed, KeyNotFound, KeyExists, NotAFile.
        """
        if previous_exist is None:
            _need_comparison(previous_value, previous_index)
        request = put_request(
            "v2 compare and swap",
            key,
            value,
            ttl=ttl,
            previous_value=previous_value,
            previous_index=previous_index,
            previous_exist=previous_exist,
            no_value_on_success=no_value_on_success,
        )
        return await self._send(request, timeout, peer)

    async def compare_and_delete(
        self,
        key: str,
        *,
        previous_value: str | bytes | None = None,
        previous_index: int | None = None,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Take a key away if it is as expected. Raises CompareFailed, KeyNotFound, NotAFile."""
        _need_comparison(previous_value, previous_index)
        request = delete_request(
            "v2 compare and delete", key, previous_value=previous_value, previous_index=previous_index
        )
        return await self._send(request, timeout, peer)

    async def delete(
        self,
        key: str,
        *,
        dir: bool = False,
        recursive: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Take a key away.

        dir: Also if it is a directory, provided it is empty.
        recursive: Also if it is a directory, and all below it.

        Raises KeyNotFound, NotAFile (a directory, and neither `dir` nor `recursive`), DirectoryNotEmpty.
        """
        return await self._send(delete_request("v2 delete", key, directory=dir, recursive=recursive), timeout, peer)

    async def create_in_order(
        self,
        directory: str,
        value: str | bytes | None = None,
        *,
        ttl: int | None = None,
        dir: bool = False,
        no_value_on_success: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Write a key under a name that the server gives: its creation index in 20 digits, so that names sort by age.

        Where the answer is lost, nothing tells the name: see `create` for one that can be found again.
        Raises NotADirectory.
        """
        request = post_request(directory, value, as_directory=dir, ttl=ttl, no_value_on_success=no_value_on_success)
        return await self._send(request, timeout, peer)

    async def mkdir(
        self,
        key: str,
        *,
        ttl: int | None = None,
        previous_exist: bool | None = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Make a directory. When its `ttl` ends, it goes with all that is in it.

        previous_exist: False makes a new one, and raises KeyExists where a node stands. None puts it also in the place
            of a key with a value. True gives one that is there another TTL, or without `ttl` none; etcd 3.5 cannot do
            that, and NotAFile is raised.
        """
        request = put_request("v2 mkdir", key, None, directory=True, ttl=ttl, previous_exist=previous_exist)
        return await self._send(request, timeout, peer)

    async def refresh(
        self,
        key: str,
        ttl: int,
        *,
        previous_value: str | bytes | None = None,
        previous_index: int | None = None,
        previous_exist: bool | None = True,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Give a key a new TTL. Its value and creation index stay, its modified index moves, and no watch sees it.

        previous_exist: With None, and nothing else to compare, the server makes the key anew: its creation index is
            lost.

        A refresh that was lost on the way is sent again, but for one by `previous_index`, which would not hold twice.
        Raises KeyNotFound and CompareFailed; NotAFile for a directory on etcd 3.5, or by value or index anywhere.
        """
        request = refresh_request(
            key, ttl, previous_value=previous_value, previous_index=previous_index, previous_exist=previous_exist
        )
        return await self._send(request, timeout, peer)

    async def wait(
        self,
        key: str,
        *,
        recursive: bool = False,
        wait_index: int | None = None,
        timeout: float | None = None,
        peer: str | None = None,
    ) -> KeysResponse:
        """Wait for one change of a key, on a connection of its own.

        recursive: Or of anything below it.
        wait_index: The first change at this index or later, which may have been already. Without it, the next one.
        timeout: Seconds to wait; for ever by default.

        Raises RequestTimeout after `timeout`, and HistoryLost where the server no longer keeps the changes since
        `wait_index`, or dropped the wait. The answer's `index` is the store's when the wait began.
        """
        cursor = wait_index
        with anyio.move_on_after(timeout):
            while True:
                request = wait_request(key, recursive=recursive, wait_index=cursor)
                response = await self._poll(request, peer)
                if response.body.strip() or response.status != 200:
                    return decode_keys(request, response)
                # The poll has seen all up to its index, so that the next one loses nothing by beginning behind it.
                if cursor is None and "X-Etcd-Index" in response.headers:
                    cursor = int(response.headers["X-Etcd-Index"]) + 1
                await anyio.sleep(EMPTY_POLL_PAUSE)
        raise RequestTimeout(f"no change of {key!r} within {timeout} s", operation="v2 wait", peer=peer)

    def watch(self, key: str, *, recursive: bool = False, wait_index: int | None = None) -> V2Watch:
        """Every change of a key, without an end: `async with client.v2.watch(key) as events`, then `async for event`.

        recursive: And of anything below it; changes of hidden keys below are not told.
        wait_index: From the first change at this index or later, which may have been already. Without it, from now on.

        Equal watches of a client, those of the facade among them, share one request. What it raises: see `V2Watch`.
        Where a directory above the key is deleted or expires, the event is that of the directory. The `index` of an
        event is the store's when the request began that told it.
        """
        wait_request(key, recursive=recursive, wait_index=wait_index)  # refuses what cannot be asked for
        return V2Watch(self.lines, key, recursive=recursive, wait_index=wait_index)

    async def _poll(self, request: Request, peer: str | None) -> Response:
        async with self._channel.stream(request, peer=peer) as stream:
            chunks = []
            while chunk := await stream.read():
                chunks.append(chunk)
            return Response(status=stream.status, headers=stream.headers, body=b"".join(chunks), peer=stream.peer)

    async def _send(self, request: Request, timeout: float | Timeout | None, peer: str | None) -> KeysResponse:
        return decode_keys(request, await self._channel.send(request, timeout=timeout, peer=peer))


def _need_comparison(previous_value: str | bytes | None, previous_index: int | None) -> None:
    if previous_value is None and previous_index is None:
        raise ValueError("previous_value or previous_index: one of them is needed")
