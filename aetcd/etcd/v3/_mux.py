"""Many watches on one stream, as a state without I/O: it is fed with bytes and the time, and says what to send.

The server answers every request to create a watch, and in the order of the requests. So a request whose answer was
passed over was lost, and is made again; and a request that creates nothing is a question that is always answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec
from attrs import define, field

from aetcd._wire.framing import JSONValues
from aetcd.etcd.v3._frames import WatchFrame, cancel_request, create_request, decode_frames

__all__ = ["PING", "PING_REQUEST", "Mux", "Watcher"]

QUIET = 1.5  # seconds without a word after which the server is asked for one
PATIENCE = 2.0  # seconds that it has to say anything
DEAF = 5.0  # seconds that it has to answer, whatever else it says: what is sent to it may be lost on its own
LATE = 1.0  # seconds without a tick after which the silence may be our own
ASKS = 5  # requests for one watch that may go unanswered

PING = 1  # the watch that is never created; the others follow
NAMELESS = -1  # where etcd creates no watch it gives none back, but for one that is not permitted

# Of an empty range etcd creates no watch, but says so. A progress request would be the natural question, but from 3.5.8
# on it goes unanswered while any watch of the stream has a start to come, or where there is no watch at all.
PING_REQUEST = create_request("ping", range_end="ping", watch_id=PING)
_EMPTY_RANGE = "range is empty"


class Watcher(Protocol):
    """A watch, as its stream sees it. None of its functions waits."""

    def request(self, watch_id: int) -> bytes:
        """What asks for it, from its cursor on."""
        ...

    def created(self, frame: WatchFrame) -> None:
        """It stands on the server."""
        ...

    def told(self, frame: WatchFrame) -> None:
        """There are changes, or there is progress."""
        ...

    def cancelled(self, frame: WatchFrame) -> None:
        """The server has ended it, or never created it. It is no longer on the stream."""
        ...


class _Place(msgspec.Struct, eq=False):
    watcher: Watcher
    stands: bool = False
    asks: int = 0


@define(eq=False)
class Mux:
    """One stream. Every watch on it has an ID that is never used again, so that late frames are told from others.

    Its first message is PING_REQUEST. Watches may be added before it has come up, which `began` tells.

    wake: Called when there is something to send.
    peer: Its URL, for errors.
    """

    wake: Callable[[], None]
    peer: str | None = None
    _places: dict[int, _Place] = field(factory=dict)
    _asked: deque[int] = field(factory=lambda: deque([PING]))
    _outgoing: list[bytes] = field(factory=list)
    _values: JSONValues = field(factory=JSONValues)
    _last_id: int = PING
    _pinged: bool = True
    _heard_at: float = 0.0
    _answered_at: float = 0.0
    _pinged_at: float = 0.0
    _ticked_at: float = 0.0

    def began(self, now: float) -> None:
        """The server has begun to answer. From now on, in seconds, it is listened for its silence."""
        self._heard_at = self._answered_at = self._pinged_at = self._ticked_at = now

    def __len__(self) -> int:
        return len(self._places)

    # What is wanted

    def add(self, watcher: Watcher) -> int:
        """Ask for a watch. Gives its ID on this stream."""
        message = watcher.request(self._last_id + 1)  # first: where it fails, nothing was done
        self._last_id += 1
        self._places[self._last_id] = place = _Place(watcher)
        self._ask(self._last_id, place, message)
        return self._last_id

    def drop(self, watch_id: int) -> None:
        """End a watch. Its late frames go nowhere."""
        if self._places.pop(watch_id, None) is not None:
            self._send(cancel_request(watch_id))

    def release(self) -> list[Watcher]:
        """All watches, which are no longer on this stream: it broke."""
        watchers = [place.watcher for place in self._places.values()]
        self._places.clear()
        return watchers

    def take(self) -> bytes:
        """What is to be sent now; it counts as sent."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    # What comes

    def receive(self, data: bytes, now: float) -> int:
        """Take the next bytes, and tell the watches what is in them. Gives the number of messages.

        Raises what ended the stream, and DecodeError for what cannot be read.
        """
        self._heard_at = now
        messages = 0
        for frame in decode_frames(self._values, data, peer=self.peer):
            self._handle(frame)
            messages += 1
        return messages

    def _handle(self, frame: WatchFrame) -> None:
        if frame.created:
            self._answered_at = self._heard_at
            self._answered(frame)
        place = self._places.get(frame.watch_id)
        if place is None:
            return
        if frame.canceled:
            del self._places[frame.watch_id]
            place.watcher.cancelled(frame)
        elif frame.created:
            place.stands, place.asks = True, 0
            place.watcher.created(frame)
        else:
            place.watcher.told(frame)

    def _answered(self, frame: WatchFrame) -> None:
        """Requests are answered in order: those before this one were lost."""
        answered = frame.watch_id
        if self._asked and self._asked[0] == answered != PING:
            self._asked.popleft()
            return
        if answered == NAMELESS:
            pinged = _EMPTY_RANGE in frame.cancel_reason
            answered = PING if pinged or not self._asked else self._asked[0]
        lost: list[int] = []
        while self._asked and (asked := self._asked.popleft()) != answered:
            lost.append(asked)
        if answered == PING:
            self._pinged = False
        elif frame.watch_id == NAMELESS:
            # A second request for a watch that stands; or the watch was refused, which the last try says.
            lost.append(answered)
        for watch_id in lost:
            self._ask_again(watch_id, frame)

    def _ask_again(self, watch_id: int, frame: WatchFrame) -> None:
        place = self._places.get(watch_id)
        if place is None or place.stands:
            return
        if place.asks < ASKS:
            self._ask(watch_id, place, place.watcher.request(watch_id))
        else:
            del self._places[watch_id]
            place.watcher.cancelled(frame)

    # Time

    def tick(self, now: float) -> bool:
        """To be called every half second or so. False where the server has fallen silent, or hears nothing."""
        if now - self._ticked_at > LATE:
            # Nobody has read for so long either: what the server said may be waiting.
            self._pinged_at = now
        self._ticked_at = now
        if self._pinged:
            # A server that is busy telling changes, or making watches, may be late with this answer.
            answers = now - max(self._pinged_at, self._answered_at) <= DEAF
            return answers and now - max(self._pinged_at, self._heard_at) <= PATIENCE
        unanswered = bool(self._asked) and now - self._pinged_at > QUIET
        if unanswered or now - self._heard_at > QUIET:
            self._pinged, self._pinged_at = True, now
            self._asked.append(PING)
            self._send(PING_REQUEST)
        return True

    def _ask(self, watch_id: int, place: _Place, message: bytes) -> None:
        place.asks += 1
        self._asked.append(watch_id)
        self._send(message)

    def _send(self, message: bytes) -> None:
        self._outgoing.append(message)
        if len(self._outgoing) == 1:
            self.wake()
