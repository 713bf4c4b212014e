"""All watches of a client on a few streams, spread over its peers.

It rests on a stream both ways over HTTP/1.1, which Go's server gives and a proxy in between may not. Where none comes
up at any peer, watches are told to be read alone, each by a request of its own.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from attrs import define, field

from aetcd._transport.calls import closed_error
from aetcd._transport.streams import Stream
from aetcd._transport.supervisor import Job
from aetcd.errors import PASSING, AetcdError, ClientClosed, ConnectFailed, RequestTimeout, TransportError, WatchError
from aetcd.etcd.v3._frames import WATCH, watch_request
from aetcd.etcd.v3._gateway import Gateway, version_request
from aetcd.etcd.v3._link import Link, SharedWatch
from aetcd.etcd.v3._mux import PING_REQUEST

__all__ = ["Hub"]

LOADS = (100, 2000, 10000)  # watches beyond which there is one stream more
COMES_UP = 2.0  # seconds for a stream to come up, where it can
ANSWERS = 1.0  # seconds for the same peer to answer a plain request
ALONE = 300.0  # seconds for which a peer where none came up is not tried again
SHUNNED = 5.0  # seconds for which a peer where one broke is tried last
TICK = 0.5  # seconds between looks at what is silent
LINGER = 10.0  # seconds for which a stream without watches is kept
JITTER = 0.2  # seconds within which the watches of a broken stream move
SHORT_LIVED = 2.0  # seconds of life below which the next breaks are waited out for longer
LONGEST_WAIT = 5.0  # seconds between two attempts; a fifth of it where streams do come up
TRIES = 5  # attempts in vain after which a watch that never stood is given up


class _NoDuplex(Exception):
    """The peer gave no stream both ways, or no answer at all."""


@define(eq=False)
class Hub:
    """Puts watches on streams, keeps the streams, and moves the watches of one that breaks."""

    gateway: Gateway
    rng: random.Random = field(factory=random.Random)
    _links: list[Link] = field(factory=list)
    _alone_until: dict[str, float] = field(factory=dict)
    _shunned_until: dict[str, float] = field(factory=dict)
    _proven: set[str] = field(factory=set)
    _failures: int = 0
    _beating: Job | None = None

    def place(self, watch: SharedWatch) -> bool:
        """Put a watch on the stream with the fewest, or on a new one. False where no peer is known to give one.

        Raises ClientClosed.
        """
        watches, least = 1, None
        for link in self._links:
            watches += len(link.mux)
            if least is None or len(link.mux) < len(least.mux):
                least = link
        if len(self._links) <= bisect_left(LOADS, watches) and self._candidates():
            least = self._open()
        if least is None:
            return False
        least.add(watch)
        return True

    def _open(self) -> Link:
        link = Link()
        link.job = self._spawn(partial(self._run, link), name="shared watch stream")
        self._links.append(link)
        if self._beating is None or self._beating.done:
            self._beating = self._spawn(self._beat, name="shared watch streams")
        return link

    def _spawn(self, function: Callable[[], Awaitable[object]], *, name: str) -> Job:
        return self.gateway.channel.pool.spawn(function, name=name)

    def _candidates(self) -> Sequence[str]:
        """The peers to try, best first: well ones before others, those with few of our streams before others."""
        now = self._now()
        pool = self.gateway.channel.pool
        well = {status.url for status in pool.status() if status.state == "healthy"}
        ours = Counter(link.peer for link in self._links)
        alone = {url for url, until in self._alone_until.items() if until > now}
        shunned = {url for url, until in self._shunned_until.items() if until > now}
        # Where there is a peer that serves a watch alone, none is kept waiting for one that just failed.
        excluded = alone | shunned if alone else alone
        urls = [peer.url for peer in pool.peers if peer.url not in excluded]
        self.rng.shuffle(urls)
        return sorted(urls, key=lambda url: (url in shunned, url not in well, ours[url]))

    # One stream

    async def _run(self, link: Link) -> None:
        """Have a stream until it breaks, and then move its watches."""
        adrift: list[SharedWatch] = []
        try:
            reason = await self._keep(link)
            self._forget(link)
            adrift = link.release()
            await self._move(adrift, reason, link)
        except BaseException as e:
            # The client is closing; or this failed, as by the user's own code: a trace hook, a balancing policy.
            self._forget(link)
            for watch in [*link.release(), *adrift]:
                if watch.link is None:  # nobody shall wait for ever
                    failed = isinstance(e, Exception)
                    watch.end(WatchError(f"the stream that it shared failed: {e!r}") if failed else closed_error())
            raise

    def _forget(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)

    async def _keep(self, link: Link) -> AetcdError | None:
        """Have a stream at the first peer that gives one, until it breaks. Why it did; None where no peer gives one."""
        reason: AetcdError | None = None
        single = False
        try:
            prefix = await self.gateway.resolve()
        except AetcdError as e:
            return e
        for url in self._candidates():
            link.peer = url
            try:
                await self._hold(link, prefix)
            except AetcdError as e:
                reason = e
            except (TimeoutError, _NoDuplex):
                if await self._serves_alone(url):
                    single = True
                    self._alone_until[url] = self._now() + ALONE
                    continue
                reason = ConnectFailed("no watch stream came up", peer=url, operation=WATCH.operation)
            if not link.retired:
                self._shunned_until[url] = self._now() + SHUNNED
            if link.stream is not None:
                return reason
        return None if single else reason

    async def _hold(self, link: Link, prefix: str) -> None:
        """Open the stream, and read it until it breaks, which raises why."""
        channel = self.gateway.channel
        outgoing = link.start()
        async with asyncio.timeout(COMES_UP) as limit:
            async with channel.duplex(watch_request(prefix, PING_REQUEST), outgoing, peer=link.peer) as stream:
                if stream.status != 200:
                    await self._refused(stream)
                outgoing.answered()
                # A proxy may pass on the head of an answer and hold back the rest.
                first = await stream.read()
                limit.reschedule(None)
                link.came_up(stream, channel.auth.current(), self._now())
                self._proven.add(link.peer)
                await self._read(link, stream, first)

    async def _refused(self, stream: Stream) -> None:
        body = b""
        while chunk := await stream.read():
            body += chunk
        try:
            WATCH.check(stream.response(body))
        except PASSING:
            raise
        except AetcdError as e:
            raise _NoDuplex from e

    async def _read(self, link: Link, stream: Stream, chunk: bytes) -> None:
        while chunk:
            stream.let_gather(link.mux.receive(chunk, self._now()))
            if link.doubtful:
                doubtful, link.doubtful = link.doubtful, []
                self._spawn(partial(self._look_up, link, doubtful), name="check of history")
            if link.denied:
                denied, link.denied = link.denied, []
                self._spawn(partial(self._ask_why, link, denied), name="check of permission")
            chunk = await stream.read()
        raise ConnectFailed("the server ended the stream", peer=link.peer, operation=WATCH.operation)

    async def _serves_alone(self, url: str) -> bool:
        """Whether a peer where no stream came up answers a plain request all the same.

        Where one came up before it was only slow, this once: thousands of watches had better not all be read alone.
        """
        if url in self._proven:
            self._proven.remove(url)
            return False
        channel = self.gateway.channel
        try:
            response = await channel.send(version_request(), peer=url, timeout=ANSWERS, anonymous=True)
        except TransportError:
            return False
        return response.status < 500

    async def _move(self, watches: list[SharedWatch], reason: AetcdError | None, link: Link) -> None:
        """Put the watches of a broken stream on others: together, and at a moment of this client's own."""
        if isinstance(reason, PASSING):
            for watch in watches:
                if not watch.left:
                    watch.sink.broke(reason)
            await asyncio.sleep(self.rng.uniform(0, self._patience(link)) if watches else 0)
        for watch in watches:
            # Without a peer that was tried, it was the pool that failed, which had tried them all for long enough.
            vain = not watch.sink.stood and (watch.tries == TRIES or not link.peer)
            if isinstance(reason, ClientClosed) or (reason is not None and vain):
                watch.end(reason)
            elif reason is not None and not isinstance(reason, PASSING):
                # What is wrong here will be told to whoever asks alone.
                watch.end(None)
            else:
                watch.tries += 1
                watch.move()

    def _patience(self, link: Link) -> float:
        if link.lived_for(self._now()) > SHORT_LIVED:
            self._failures = 0
        longest = LONGEST_WAIT if link.stream is None else LONGEST_WAIT / 5
        self._failures += 1
        return min(longest, JITTER * 2.0 ** min(self._failures - 1, 10))

    # Questions

    async def _look_up(self, link: Link, watches: Sequence[SharedWatch]) -> None:
        """Tell by the cluster's present revision, asked for once, whether these watches are on the right cluster."""
        present = None
        for watch in watches:
            while watch.link is link:
                try:
                    present = present or await watch.feed.present()
                    watch.feed.check(present, watch.sink.cursor)
                    watch.stands(present.revision)
                    break
                except PASSING:
                    await asyncio.sleep(self.rng.uniform(JITTER / 2, JITTER))
                except AetcdError as e:
                    watch.end(e)

    async def _ask_why(self, link: Link, denied: list[tuple[SharedWatch, AetcdError]]) -> None:
        """Find out whether watches were refused for want of permission, or for a token that ran out.

        Within a watch stream etcd says the same of both. To a read it does not: and one with a stale token has a fresh
        one fetched on the way. The stream has the old one for good, so all its watches leave it.
        """
        try:
            auth = self.gateway.channel.auth
            while denied:
                watch, error = denied[-1]
                if link.credentials is auth.current() and not await self._may_read(watch, link):
                    watch.end(error)
                else:
                    self._retire(link)
                    watch.denied = True
                    watch.move()
                denied.pop()
        except BaseException:
            for watch, _ in denied:
                watch.end(closed_error())
            raise

    async def _may_read(self, watch: SharedWatch, link: Link) -> bool:
        try:
            await watch.feed.try_read(link.peer)
        except PASSING:
            return True  # nobody knows, so it is tried again
        except AetcdError:
            return False
        return True

    def _retire(self, link: Link) -> None:
        self._forget(link)
        link.retired = True
        link.fail(ConnectFailed("its credentials ran out", peer=link.peer, operation=WATCH.operation))

    # Time

    async def _beat(self) -> None:
        """Look at the streams, as long as there are any: which have fallen silent, and which nobody uses."""
        while self._links:
            await asyncio.sleep(TICK)
            now = self._now()
            for link in [link for link in self._links if link.stream is not None]:
                if not link.mux.tick(now):
                    link.fail(RequestTimeout("the stream fell silent", peer=link.peer, operation=WATCH.operation))
                elif link.idle_for(now) > LINGER and link.job is not None:
                    self._forget(link)
                    link.job.cancel()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
