"""Where peers come from when nobody named them: looked up before the first request, once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from attrs import define, field

from aetcd._routing.peer import Peer, parse_peers
from aetcd._transport.supervisor import Job
from aetcd._transport.timeouts import Timeout
from aetcd.errors import ClientClosed, NoPeerAvailable, Outcome, RequestTimeout, TransportError

__all__ = ["DISCOVERY", "Discovery", "Source", "is_loopback", "not_found", "reachable"]

logger = logging.getLogger("aetcd")

DISCOVERY = "discovery"
"""The operation that errors name."""

FIRST_PAUSE = 1.0  # seconds between searches in the background, doubled with each failure
LONGEST_PAUSE = 60.0


class Source(Protocol):
    """Where peers are looked up."""

    @property
    def progress(self) -> str:
        """How far the search has come, for the error of whoever cannot wait any longer."""
        ...

    async def find(self) -> Sequence[Peer]:
        """The peers, at least one, however long it takes. Raises NoPeerAvailable where waiting would not help."""
        ...


def not_found(text: str) -> NoPeerAvailable:
    """No peers, and so nothing was sent to any."""
    return NoPeerAvailable(text, outcome=Outcome.NOT_SENT, operation=DISCOVERY)


def is_loopback(peer: Peer) -> bool:
    """Whether it can only be reached from its own machine."""
    address = _address(peer)
    return peer.host == "localhost" if address is None else address.is_loopback


def reachable(urls: Iterable[str], *, local: bool) -> tuple[Peer, ...]:
    """What members tell of themselves, without what cannot be meant for us.

    local: Whether those who told it are on this machine. etcd advertises `http://localhost:2379` where nobody set it
        up: elsewhere that is another cluster, or none.
    """
    found = []
    for url in urls:
        try:
            (peer,) = parse_peers(url)
        except ValueError as e:
            # Such as unix:///run/etcd.sock. One odd URL must not cost the others.
            logger.debug("a member's URL is left out: %s", e)
            continue
        address = _address(peer)
        if (address is not None and address.is_unspecified) or (is_loopback(peer) and not local):
            logger.debug("a member's URL is left out: %s is reached from its own machine only", peer)
            continue
        found.append(peer)
    return tuple(dict.fromkeys(found))


class _Search:
    """One search, and those who wait for it."""

    def __init__(self, spawn: Callable[..., Job], find: Callable[[], Awaitable[None]]) -> None:
        self.waiting = 0
        self.error: NoPeerAvailable | None = None
        self._find = find
        self.job = spawn(self._run, name=DISCOVERY)

    async def _run(self) -> None:
        try:
            await self._find()
        except NoPeerAvailable as e:
            self.error = e


@define(eq=False, kw_only=True)
class Discovery:
    """The search for a pool's peers. It begins with the first request, and all who come meanwhile share it.

    use: Takes what was found.
    spawn: Runs the search in the background, so that no caller's cancel ends it for the others.
    secure: Leaves out peers that would be spoken to in clear text.
    fallback: There are other peers, which serve until the search succeeds: a request waits for it no longer than for
        one peer, and after that it goes on in the background. Without them a failed search is begun again by the next
        request.
    """

    source: Source
    use: Callable[[Sequence[Peer]], None]
    spawn: Callable[..., Job]
    secure: bool
    fallback: bool
    _settled: bool = field(default=False, init=False)
    _search: _Search | None = field(default=None, init=False)
    _job: Job | None = field(default=None, init=False)
    _first: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def settle(self, limits: Timeout) -> None:
        """Wait for the peers, within a call's limits.

        Raises NoPeerAvailable and RequestTimeout, both with the outcome `NOT_SENT`; not where there is a fallback. The
        search ends when nobody waits for it.
        """
        if self.fallback:
            await self._give_it_a_chance(limits)
        elif not self._settled:
            await self._wait(limits)

    async def _wait(self, limits: Timeout) -> None:
        search = self._search
        if search is None or search.job.done:
            search = self._search = _Search(self.spawn, self._find)
        search.waiting += 1
        try:
            # A little less than there is, so that its own error is what the caller sees of two that fall due together.
            async with asyncio.timeout(0.95 * limits.total):
                await search.job.wait()
        except TimeoutError as e:
            text = f"no peers were found within {limits.total:g} s: {self.source.progress}"
            raise RequestTimeout(text, outcome=Outcome.NOT_SENT, operation=DISCOVERY) from e
        finally:
            search.waiting -= 1
            if not search.waiting:
                search.job.cancel()
                self._search = None if self._search is search else self._search
        if search.error is not None:
            raise not_found(search.error.message) from search.error
        if not self._settled:
            raise search.job.error or ClientClosed("the client is closed")

    async def _find(self) -> None:
        peers = await self.source.find()
        wanted = [peer for peer in peers if peer.tls or not self.secure]
        if not wanted:
            text = "the peers that were found speak no TLS, and the client was told to use it: " + _listed(peers)
            raise not_found(text)
        self.use(wanted)
        self._settled = True

    async def _give_it_a_chance(self, limits: Timeout) -> None:
        if self._job is None:
            self._job = self.spawn(self._keep_searching, name=DISCOVERY)
        try:
            async with asyncio.timeout(limits.attempt):
                await self._first.wait()
        except TimeoutError:
            logger.warning("discovery: %s; the peers that were named serve meanwhile", self.source.progress)
            self._first.set()

    async def _keep_searching(self) -> None:
        pause = FIRST_PAUSE
        while not self._settled:
            try:
                await self._find()
            except TransportError as e:
                logger.warning("%s; the peers that were named serve meanwhile", e)
                self._first.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        self._first.set()


def _address(peer: Peer) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(peer.host)
    except ValueError:
        return None


def _listed(peers: Iterable[Peer]) -> str:
    return ", ".join(peer.url for peer in peers)
