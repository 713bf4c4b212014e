"""One connection through the proxy: two flows, and a way to end them at any byte.

No tasks and no transports: plain sockets that the loop watches. A fault is then a call that has taken effect when it
returns, what is counted is what the kernel took, and closing leaves nothing to be awaited.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field

from aetcd.testing._trap import Direction, Fault, Trap

__all__ = ["Address", "Conditions", "Link"]

Address = tuple[socket.AddressFamily, Any]
"""A family, and what `socket.connect` takes in it."""

HELD_AT_MOST = 256 * 1024
"""Bytes that one flow holds back before it stops reading, so that its sender feels the pressure."""

PIECE = 64 * 1024
RATE_STEP = 0.02
"""Seconds of a limited rate that one piece stands for."""


@define(eq=False, kw_only=True)
class Conditions:
    """What the proxy does to its connections now, and what passed. Every flow looks here before it moves a byte."""

    changed: Callable[[], None]
    stalled: bool = False
    latency: float = 0.0
    rate: float | None = None
    traps: list[Trap] = field(factory=list)
    passed: dict[Direction, int] = field(factory=lambda: dict.fromkeys(Direction, 0))

    def trap_within(self, link: Link, direction: Direction, piece: bytes) -> tuple[Trap | None, int]:
        """The trap that springs first in this piece, if any, and how many bytes of it may pass."""
        rooms = ((trap, trap.room(link, direction, piece)) for trap in tuple(self.traps))
        near = [(trap, room) for trap, room in rooms if room is not None]
        return min(near, key=lambda found: found[1], default=(None, len(piece)))

    def count(self, link: Link, direction: Direction, passed: int) -> None:
        self.passed[direction] += passed
        for trap in self.traps:
            trap.count(link, direction, passed)
        self.changed()


class Link:
    """A client's connection and the one made for it to the target."""

    def __init__(
        self, client: socket.socket, target: Address, conditions: Conditions, on_end: Callable[[Link], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._target = target
        self._conditions = conditions
        self._on_end = on_end
        self._server: socket.socket | None = None
        self._flows: tuple[_Flow, ...] = ()
        self._stalled = False
        self._ended = False

    @property
    def moving(self) -> bool:
        """Whether bytes may pass."""
        return not (self._ended or self._stalled or self._conditions.stalled)

    def refresh(self) -> None:
        """Do what the present conditions allow; called whenever they change."""
        if self._server is None and self.moving:
            self._dial()
        for flow in self._flows:
            flow.refresh()

    def resume(self) -> None:
        """Forget a stall of this connection alone."""
        self._stalled = False
        self.refresh()

    def cut(self) -> None:
        """End it: the client gets a reset; the target gets all that was passed on to it, and then an end."""
        if not self._ended:
            # A linger of zero turns the close into a reset. What the client has received by then it can still read.
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end()

    def suffer(self, trap: Trap) -> None:
        """A byte of this connection sprang the trap."""
        self._conditions.traps.remove(trap)
        if trap.fault is Fault.CUT:
            self.cut()
        else:
            self._stalled = True
            self.refresh()
        trap.spring()
        self._conditions.changed()

    def flow_done(self) -> None:
        """One direction has passed on its end; with both, the connection is over."""
        if all(flow.done for flow in self._flows):
            self._end()

    def _dial(self) -> None:
        family, address = self._target
        self._server = socket.socket(family)
        self._server.setblocking(False)
        if self._server.connect_ex(address) in {0, errno.EINPROGRESS}:
            self._loop.add_writer(self._server, self._dialled, self._server)
        else:
            self.cut()

    def _dialled(self, server: socket.socket) -> None:
        self._loop.remove_writer(server)
        if server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.cut()
            return
        for end in (self._client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._flows = (
            _Flow(self, Direction.UP, self._client, server, self._conditions),
            _Flow(self, Direction.DOWN, server, self._client, self._conditions),
        )
        self.refresh()

    def _end(self) -> None:
        self._ended = True
        for flow in self._flows:
            flow.rest()
        if self._server is not None:
            self._loop.remove_writer(self._server)
            self._server.close()
        self._client.close()
        self._on_end(self)


class _Flow:
    """Bytes that go one way, each piece when its time has come."""

    def __init__(
        self, link: Link, direction: Direction, source: socket.socket, sink: socket.socket, conditions: Conditions
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._direction = direction
        self._source = source
        self._sink = sink
        self._conditions = conditions
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._source_ended = False
        self.done = False
        """The source has ended, and the sink was told so after the last byte."""

    def refresh(self) -> None:
        """Pass on what is due, and have the loop call again for what comes next."""
        self.rest()
        blocked = self._link.moving and self._pass_on()
        if not self._link.moving or self.done:
            return
        if blocked:
            self._loop.add_writer(self._sink, self.refresh)
        elif self._pieces:
            self._timer = self._loop.call_at(self._pieces[0][0], self.refresh)
        elif self._source_ended:
            self._pass_on_end()
        if not self._source_ended and self._held < HELD_AT_MOST:
            self._loop.add_reader(self._source, self._read)

    def rest(self) -> None:
        """Have the loop call no more."""
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._sink)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read(self) -> None:
        rate = self._conditions.rate
        size = PIECE if rate is None else max(1, min(PIECE, int(rate * RATE_STEP)))
        try:
            piece = self._source.recv(size)
        except BlockingIOError:
            return
        except OSError:
            # A reset from one side is a reset for the other.
            self._link.cut()
            return
        if piece:
            self._hold(piece, rate)
        else:
            self._source_ended = True
        self.refresh()

    def _hold(self, piece: bytes, rate: float | None) -> None:
        # Pieces stay in order, also when the latency shrinks between two of them.
        due = max(self._loop.time() + self._conditions.latency, self._free_at)
        if rate is not None:
            due += len(piece) / rate
        self._free_at = due
        self._pieces.append((due, piece))
        self._held += len(piece)

    def _pass_on(self) -> bool:
        """Send what is due. True when the sink can take no more now."""
        now = self._loop.time()
        while self._pieces and self._pieces[0][0] <= now:
            due, piece = self._pieces.popleft()
            trap, room = self._conditions.trap_within(self._link, self._direction, piece)
            sent = self._send(piece[:room])
            if not self._link.moving:
                return False
            self._held -= sent
            if sent < len(piece):
                self._pieces.appendleft((due, piece[sent:]))
            self._conditions.count(self._link, self._direction, sent)
            if sent < room:
                return True
            if trap is not None:
                self._link.suffer(trap)
                return False
        return False

    def _send(self, piece: bytes) -> int:
        try:
            return self._sink.send(piece) if piece else 0
        except BlockingIOError:
            return 0
        except OSError:
            self._link.cut()
            return 0

    def _pass_on_end(self) -> None:
        self.done = True
        with suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)
        self._link.flow_done()
