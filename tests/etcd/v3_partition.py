"""A cluster of which one member can be cut off from the others, while clients still reach it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from relays import copy, first_of

from aetcd.testing import EtcdBinary, EtcdCluster, EtcdMember

# What members say to each other names who says it. Other requests between them carry nothing that is agreed on.
_FROM = re.compile(rb"\r\nX-Server-From: (\w+)\r\n")


class PartibleCluster(EtcdCluster):
    """Three members that reach each other through proxies only."""

    def __init__(self, binary: EtcdBinary) -> None:
        super().__init__(3, binary=binary, protocols=("v3",))
        self._proxies: list[asyncio.Server] = []
        self._links: dict[asyncio.Task[None], tuple[int, bytes]] = {}
        self._apart: tuple[int, bytes] | None = None

    async def start(self) -> None:
        """As `EtcdCluster.start`, and the proxies before it."""
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        # In etcd's order of asking, as the members' own addresses: else the start takes a second longer.
        listeners.sort(key=lambda listener: str(listener.getsockname()[1]))
        for place, listener in enumerate(listeners):
            self._proxies.append(await asyncio.start_server(self._accepting(place), sock=listener))
        try:
            await super().start()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """As `EtcdCluster.aclose`, and the proxies after it."""
        await super().aclose()
        for proxy in self._proxies:
            proxy.close()
        await self._cut(list(self._links))

    async def cut_off(self, member: EtcdMember, member_id: int) -> None:
        """From now on not a word passes between this member and the others."""
        self._apart = self.members.index(member), f"{member_id:x}".encode()
        await self._cut([link for link, ends in self._links.items() if self._forbids(*ends)])

    def _build(self, *given: Any) -> Sequence[EtcdMember]:
        members = super()._build(*given)
        urls = [f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}" for proxy in self._proxies]
        everybody = ",".join(f"{member.name}={url}" for member, url in zip(members, urls, strict=True))
        for member, url in zip(members, urls, strict=True):
            # The last of two equal arguments is the one that counts.
            member._command = [
                *member._command,
                f"--initial-advertise-peer-urls={url}",
                f"--initial-cluster={everybody}",
            ]
        return members

    def _accepting(self, place: int) -> Any:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._pass_on(place, reader, writer))
            self._links[task] = place, b""
            task.add_done_callback(self._links.pop)
            task.add_done_callback(lambda _: writer.transport.abort())

        return accept

    async def _pass_on(self, place: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                told = _FROM.search(head)
                by = told[1] if told else b""
                if self._forbids(place, by):
                    return
                task = asyncio.current_task()
                assert task is not None
                self._links[task] = place, by
                host, _, port = self.members[place].peer_url.removeprefix("http://").partition(":")
                back, there = await asyncio.open_connection(host, int(port))
                there.write(head)
                await first_of(copy(reader, there), copy(back, writer))
        finally:
            if there is not None:
                there.transport.abort()

    def _forbids(self, to: int, by: bytes) -> bool:
        return self._apart is not None and (to == self._apart[0] or by == self._apart[1])

    async def _cut(self, links: Sequence[asyncio.Task[None]]) -> None:
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)
