"""A proxy between a client and a server that makes the network fail, to the byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anyio

from aetcd.errors import ConfigError
from aetcd.testing._done import Done
from aetcd.testing._link import Address, Conditions, Link
from aetcd.testing._ports import HOST, HeldPort
from aetcd.testing._trap import Direction, Fault, Trap

__all__ = ["TCPProxy"]


class TCPProxy:
    """Stands before one server: `async with TCPProxy(server.url) as proxy: aetcd.Client(proxy.url)`.

    Bytes pass unread, so https passes too. Faults (`cut`, `stall`, `slow`, `refuse`, `cut_after`, `stall_after`) have
    taken effect when the call returns; they may be awaited, which does nothing more. `resume` ends all of them.
    Open, use and close it in one event loop. It has no tasks: closing it ends every connection at once and awaits
    nothing.

    target: The server's URL, or its `host:port`.
    Raises ConfigError for a target without a host or a port.
    """

    def __init__(self, target: str) -> None:
        place = urlsplit(target if "://" in target else f"http://{target}")
        try:
            port = place.port
        except ValueError as wrong:
            raise ConfigError(f"target {target!r} has no valid port") from wrong
        if not place.hostname or port is None:
            raise ConfigError(f"target must be a URL or host:port, not {target!r}")
        self.target = target
        self._scheme = place.scheme
        self._wanted = (place.hostname, port)
        self._address: Address | None = None
        self._port: HeldPort | None = None
        self._listener: socket.socket | None = None
        self._links: set[Link] = set()
        self._accepted = 0
        self._change: asyncio.Event | None = None
        self._conditions = Conditions(changed=self._tell)

    @property
    def host(self) -> str:
        """Where it listens: loopback."""
        return HOST

    @property
    def port(self) -> int:
        """Where it listens; the same until it is closed. Raises RuntimeError when it is not started."""
        if self._port is None:
            raise RuntimeError("the proxy is not started: use `async with`, or start()")
        return self._port.number

    @property
    def url(self) -> str:
        """Its URL, with the scheme of the target (http for a bare `host:port`)."""
        return f"{self._scheme}://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """Connections accepted since the start."""
        return self._accepted

    @property
    def bytes_up(self) -> int:
        """Bytes of requests that were passed on to the target since the start."""
        return self._conditions.passed[Direction.UP]

    @property
    def bytes_down(self) -> int:
        """Bytes of answers that were passed on to clients since the start."""
        return self._conditions.passed[Direction.DOWN]

    async def start(self) -> None:
        """Listen. The target need not be there yet."""
        if self._port is not None:
            raise RuntimeError("started already")
        host, port = self._wanted
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._address = (found[0][0], found[0][4])
        self._port = HeldPort()
        self._listen()

    async def aclose(self) -> None:
        """Stop listening and cut every connection. Idempotent."""
        self.refuse()
        self.cut()
        if self._port is not None:
            self._port.release()
            self._port = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def cut(self) -> Done:
        """Reset every connection that is open now. New ones are served."""
        for link in tuple(self._links):
            link.cut()
        return Done()

    def stall(self) -> Done:
        """Let nothing pass, either way, on present and on new connections: a silent peer.

        New connections are accepted. Nothing is lost: on `resume()` all goes on where it stopped.
        """
        self._conditions.stalled = True
        self._refresh()
        return Done()

    def slow(self, latency: float = 0.0, *, rate: float | None = None) -> Done:
        """Let bytes that come from now on take their time.

        latency: Seconds later, each way: an exchange takes twice that.
        rate: Bytes per second, for each connection and each way.
        """
        if latency < 0 or (rate is not None and rate <= 0):
            raise ConfigError(f"latency must not be negative and rate must be positive, not {latency!r} and {rate!r}")
        self._conditions.latency = latency
        self._conditions.rate = rate
        return Done()

    def refuse(self) -> Done:
        """Refuse new connections: nothing listens. Present ones go on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        return Done()

    def resume(self) -> Done:
        """Be a plain proxy again: ends `stall`, `slow` and `refuse`, and disarms what waits for its byte."""
        self._conditions.traps.clear()
        self._conditions.stalled = False
        self._conditions.latency = 0.0
        self._conditions.rate = None
        if self._listener is None:
            self._listen()
        for link in tuple(self._links):
            link.resume()
        return Done()

    def cut_after(self, *, sent: int | None = None, received: int | None = None, match: bytes | None = None) -> Trap:
        """Reset a connection at an exact byte, once: the first one that comes so far. Others are left alone.

        Give one of the two. Bytes count for each connection from this call on.

        sent: After so many bytes of requests were passed on; 0: when the first one arrives, and it is not passed on.
            The target gets these bytes and then an end. With all bytes of a request, whether it is still carried out is
            open: etcd may notice the end before it begins.
        received: After so many bytes of answers were passed on; 0: when the first one arrives, and it is not passed on,
            so that the request has been carried out for certain, and its sender cannot know.
        match: Only a connection that sends these bytes, counted from the piece that holds them on: `b"/v3/kv/put"` is
            in the first piece of a put, while probes and watches pass by.
        """
        return self._arm(Fault.CUT, sent, received, match)

    def stall_after(self, *, sent: int | None = None, received: int | None = None, match: bytes | None = None) -> Trap:
        """Let nothing more pass on one connection from an exact byte on, until `resume()`. See `cut_after`."""
        return self._arm(Fault.STALL, sent, received, match)

    async def wait_for(self, condition: Callable[[TCPProxy], bool], *, timeout: float = 10) -> None:
        """Wait until `condition(proxy)` holds: `await proxy.wait_for(lambda proxy: proxy.connections == 2)`.

        It is looked at whenever a count changes. timeout: Seconds until TimeoutError, which tells the counts.
        """
        with anyio.move_on_after(timeout):
            while not condition(self):
                self._change = self._change or asyncio.Event()
                await self._change.wait()
            return
        raise TimeoutError(f"the condition does not hold after {timeout} s: {self!r}")

    def __repr__(self) -> str:
        return (
            f"<TCPProxy to {self.target}: {self.connections} connections, {self.accepted} accepted, "
            f"{self.bytes_up} bytes up, {self.bytes_down} bytes down>"
        )

    def _arm(self, fault: Fault, sent: int | None, received: int | None, match: bytes | None) -> Trap:
        limit = received if sent is None else sent
        if limit is None or limit < 0 or (sent is not None and received is not None):
            raise ConfigError(f"give one of sent and received, and not below 0: got {sent!r} and {received!r}")
        trap = Trap(fault, Direction.DOWN if sent is None else Direction.UP, limit, match)
        self._conditions.traps.append(trap)
        return trap

    def _listen(self) -> None:
        if self._port is None or self._address is None:
            raise RuntimeError("the proxy is not started: use `async with`, or start()")
        self._listener = self._port.listen()
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener, self._address)

    def _accept(self, listener: socket.socket, target: Address) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            # The client gave up between its knock and our look.
            return
        client.setblocking(False)
        link = Link(client, target, self._conditions, self._ended)
        self._links.add(link)
        self._accepted += 1
        link.refresh()
        self._tell()

    def _ended(self, link: Link) -> None:
        self._links.discard(link)
        self._tell()

    def _refresh(self) -> None:
        for link in tuple(self._links):
            link.refresh()

    def _tell(self) -> None:
        """Wake who waits for a count to change."""
        if self._change is not None:
            self._change.set()
            self._change = None
