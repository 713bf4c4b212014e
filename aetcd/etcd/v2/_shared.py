"""Equal watches of one client on one request: each has its own cursor, and whichever needs more reads on for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from attrs import define, field

from aetcd.errors import HistoryLost
from aetcd.etcd.v2._codec import key_path
from aetcd.etcd.v2._line import Line
from aetcd.etcd.v2._models import KeysResponse

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel

__all__ = ["Follower", "Lines"]


@define(eq=False)
class Lines:
    """The lines of one client: one for each path that is watched, and one more for each follower that is far behind."""

    channel: Channel
    _shared: dict[tuple[str, bool], Line] = field(factory=dict, init=False)

    def follow(
        self, key: str, *, recursive: bool, cursor: int, reached: int = 0, check: Callable[[str], None]
    ) -> Follower:
        """A follower of what changes from the cursor on.

        reached: An index at which the cluster was seen.
        check: Told of the cluster that answers; raises where it is another one.
        """
        key_path(key)
        path = "/" + key.removeprefix("/").removesuffix("/")
        return Follower(self, path, recursive, cursor, reached, check)

    def shared(self, follower: Follower) -> Line | None:
        """The line that is shared, where it has all that the follower needs."""
        line = self._shared.get((follower.path, follower.recursive))
        return line if line is not None and line.error is None and line.floor <= follower.cursor else None

    def join(self, follower: Follower) -> Line:
        """The shared line, or for one that is behind it a new one."""
        line = self.shared(follower)
        if line is None:
            line = Line(self.channel, follower.path, follower.recursive, follower.cursor)
            held = self._shared.get((follower.path, follower.recursive))
            if held is None or held.error is not None:
                self._shared[follower.path, follower.recursive] = line
        line.followers.add(follower)
        return line

    async def leave(self, follower: Follower, line: Line) -> None:
        """The last one to leave ends its requests."""
        line.followers.discard(follower)
        if not line.followers:
            if self._shared.get((follower.path, follower.recursive)) is line:
                del self._shared[follower.path, follower.recursive]
            await line.aclose()


@define(eq=False)
class Follower:
    """One watch: a place on the line that it shares with others, or on its own while it is behind them.

    A slow one is no hindrance to others: what it leaves is kept for it for a while, and then it reads alone, from the
    history of the server, until it is where the others are.
    """

    lines: Lines
    path: str
    recursive: bool
    cursor: int
    reached: int
    check: Callable[[str], None]
    _line: Line | None = field(default=None, init=False)

    async def stand(self) -> None:
        """Wait until the server tells what comes. Raises HistoryLost where changes from the cursor on are gone."""
        await self._joined()

    async def next(self) -> Sequence[KeysResponse]:
        """The next changes; or none, where the cursor has moved on without one. A cancel loses nothing."""
        while True:
            line = self._line
            if line is not None and line.floor <= self.cursor < line.cursor:
                self.check(line.cluster_id)
                events = line.since(self.cursor)
                self.cursor = line.cursor
                return events
            line = await self._joined()
            if line.cursor <= self.cursor:
                async with line.turn:
                    # Another one may have read on, or failed to, before it was this one's turn.
                    if line.cursor <= self.cursor:
                        await self._on_time(line, line.step)

    async def aclose(self) -> None:
        """Leave."""
        line, self._line = self._line, None
        if line is not None:
            await self.lines.leave(self, line)

    async def _joined(self) -> Line:
        """The line that it is on, which stands: another one than before, where that is better."""
        while True:
            line = self._line = self._line or self.lines.join(self)
            lost = isinstance(line.error, HistoryLost)
            if lost or line.floor > self.cursor or self.lines.shared(self) not in {None, line}:
                await self.aclose()
                continue
            if line.error is not None:
                raise line.error
            if not line.stands:
                await self._on_time(line, line.stand)
                continue
            self.check(line.cluster_id)
            if self.cursor - 1 > max(line.known, line.cursor - 1, self.reached):
                await line.check_reached(self.cursor)
            return line

    async def _on_time(self, line: Line, read: Callable[[], Awaitable[None]]) -> None:
        """Read on. Where the line has lost its history, a follower who is elsewhere has not: it joins another one."""
        if line.error is not None:
            return
        try:
            await read()
        except HistoryLost:
            if self.cursor == line.cursor:
                raise
