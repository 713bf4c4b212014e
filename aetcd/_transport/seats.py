"""What a pool knows of its peers. State changes here, in functions that never wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from attrs import define, field

from aetcd._routing.balance import Policy
from aetcd._routing.health import Health, HealthPolicy, State
from aetcd._routing.peer import Peer, parse_peers
from aetcd._transport.streams import Stream
from aetcd._transport.trace import Tracer
from aetcd.errors import ConfigError

__all__ = ["Seat", "SeatStatus", "Seats"]

SLOW = 2.0  # seconds for which a request may wait before its peer is asked whether it is well
CHECK_EVERY = 0.5  # seconds between looks at peers that are not well
UNRELATED = 5.0  # seconds between two bad probes after which they do not tell of one and the same trouble
WEIGHT = 0.2  # of the newest request in the moving average of latency


class SeatStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One peer, as the pool sees it.

    state: `healthy`, `suspect`, `ejected` or `probing`.
    pending: Requests on their way to it.
    streams: Long answers being read from it.
    latency: Moving average in seconds; 0.0 before the first answer.
    last_error: What last went wrong with it, or None.
    """

    url: str
    state: str
    pending: int
    streams: int
    latency: float
    last_error: str | None


@define(eq=False)
class Seat:
    """A peer's place in the pool."""

    peer: Peer
    health: Health
    pending: int = 0
    latency: float = 0.0
    streams: set[Stream] = field(factory=set)
    probing: bool = False
    probed_at: float = 0.0
    _unwell_since: float | None = None
    _waiting: dict[int, float] = field(factory=dict)
    _entries: int = 0

    def enter(self, now: float) -> int:
        """A request is about to be sent here. Gives the ticket to leave with."""
        self._entries += 1
        self.pending += 1
        self._waiting[self._entries] = now
        return self._entries

    def leave(self, ticket: int, now: float, *, answered: bool) -> None:
        """It ended, by an answer or without one."""
        elapsed = now - self._waiting.pop(ticket)
        self.pending -= 1
        if answered:
            self.latency = elapsed if self.latency == 0.0 else self.latency + WEIGHT * (elapsed - self.latency)

    def slow(self, now: float) -> bool:
        """Whether its oldest request waits for too long, and no probe has said since that the peer is well."""
        oldest = next(iter(self._waiting.values()), now)
        return now - max(oldest, self.probed_at) > SLOW

    def quiet_for(self, now: float) -> float:
        """Seconds since anything was heard on any of its streams, or a probe found it well."""
        heard = max((stream.last_heard for stream in self.streams), default=now)
        return now - (max(heard, self.probed_at) if self._unwell_since is None else heard)

    def unwell_for(self, now: float) -> float:
        """Seconds for which probes have found that it cannot serve."""
        return 0.0 if self._unwell_since is None else now - self._unwell_since

    def probed(self, now: float, *, well: bool) -> None:
        """A probe of it ended."""
        # Answers to requests say nothing here: a member without a leader goes on answering some.
        if well:
            self._unwell_since = None
        elif self._unwell_since is None or now - self.probed_at > UNRELATED:
            self._unwell_since = now
        self.probing = False
        self.probed_at = now

    def status(self) -> SeatStatus:
        """As a user may see it."""
        return SeatStatus(
            url=self.peer.url,
            state=self.health.state.value,
            pending=self.pending,
            streams=len(self.streams),
            latency=self.latency,
            last_error=self.health.last_error,
        )


class Seats:
    """All peers of a pool: the configured ones, the learnt ones, and those asked by name."""

    def __init__(
        self, peers: Sequence[Peer], policy: Policy, health: HealthPolicy, rng: random.Random, tracer: Tracer | None
    ) -> None:
        self._policy = policy
        self._health = health
        self._random = rng
        self._tracer = tracer
        self.lost_peer = asyncio.Event()
        self._configured = tuple(peers)
        self._learnt: tuple[Peer, ...] = ()
        self._seats: dict[Peer, Seat] = {}
        self._named: dict[Peer, Seat] = {}
        self._streams: dict[Stream, Seat] = {}
        self._next_check = 0.0
        self._all: tuple[Seat, ...] = ()
        self._usable: tuple[Seat, ...] = ()
        self.learn(())

    def __len__(self) -> int:
        return len(self._all)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Configured and learnt."""
        return tuple(self._seats)

    def learn(self, peers: Iterable[Peer]) -> None:
        """Keep the configured peers, and these beside them in place of those learnt before."""
        self._learnt = tuple(peer for peer in peers if self._may_ask(peer))
        wanted = dict.fromkeys((*self._configured, *self._learnt))
        self._seats = {peer: self._seats.get(peer) or self._named.get(peer) or self._seat(peer) for peer in wanted}
        self._all = tuple(self._seats.values())
        self._sort_out()

    def configure(self, peers: Iterable[Peer]) -> None:
        """Keep these beside the configured peers for good."""
        self._configured = tuple(dict.fromkeys((*self._configured, *filter(self._may_ask, peers))))
        self.learn(self._learnt)

    def find(self, peer: Peer | str) -> Seat:
        """The seat of a peer that was asked for by name, known or not.

        Raises TypeError for what is no text, and ConfigError for what is no single peer, or one that would be spoken to
        in clear text where the configured ones are not.
        """
        if not isinstance(peer, Peer):
            peer = _one_peer(peer, "https" if self._configured[0].tls else "http")
        seat = self._seats.get(peer) or self._named.get(peer)
        if seat is None:
            if not self._may_ask(peer):
                raise ConfigError(f"peer: {peer} would be spoken to without TLS, and the configured peers are not")
            seat = self._named[peer] = self._seat(peer)
        return seat

    def pick(self, tried: set[Seat]) -> Seat:
        """The peer to ask next: of the usable ones not tried yet, else of all not tried, else of the usable ones."""
        if not tried:
            return self._policy.pick(self._usable)
        fresh = [seat for seat in self._usable if seat not in tried]
        return self._policy.pick(fresh or [seat for seat in self._all if seat not in tried] or self._usable)

    def untried(self, tried: set[Seat]) -> int:
        """How many peers were not asked yet."""
        return sum(seat not in tried for seat in self._all)

    # What became of a request

    def answered(self, seat: Seat, now: float) -> None:
        """The peer answered, so it is well."""
        if seat.health.state is not State.HEALTHY:
            before = seat.health.state
            seat.health.succeeded(now)
            self._changed(seat, before, None)

    def failed(self, seat: Seat, now: float, error: str, weight: int = 1) -> None:
        """The peer gave no answer, or said that it cannot serve."""
        before = seat.health.state
        seat.health.failed(now, self._random, error, weight)
        self._next_check = 0.0
        self._changed(seat, before, error)

    def shun(self, peer: str, now: float, seconds: float, error: str) -> None:
        """What the peer answers cannot be believed."""
        seat = self.find(peer)
        before = seat.health.state
        seat.health.shun(now, seconds, error)
        self._next_check = 0.0
        self._changed(seat, before, error)

    def trust_again(self, now: float) -> None:
        """Take all back that were shunned."""
        for seat in self._every():
            if seat.health.shunned > now:
                seat.health.shunned = 0.0
                self.answered(seat, now)

    # Probes

    def due_for_probe(self, now: float) -> Sequence[Seat]:
        """Peers to be probed now; each is then counted as being probed until `probed`. Cheap when called often."""
        if now < self._next_check:
            return ()
        self._next_check = now + CHECK_EVERY
        due = []
        for seat in self._all:
            if seat.slow(now) and seat.health.state is State.HEALTHY:
                before = seat.health.state
                seat.health.suspect(now, f"a request has waited for more than {SLOW:g} s")
                self._changed(seat, before, seat.health.last_error)
            if not seat.probing and seat.health.probe_due(now):
                self.probe_started(seat, now)
                due.append(seat)
        return due

    def probe_started(self, seat: Seat, now: float) -> None:
        """A probe is on its way."""
        seat.probing = True
        before = seat.health.state
        seat.health.probe_started(now)
        self._changed(seat, before, None)

    def probed(self, seat: Seat, now: float, error: str | None, *, silent: bool = False) -> None:
        """A probe ended: well, where there is no error."""
        seat.probed(now, well=error is None)
        if error is None:
            self.answered(seat, now)
        else:
            # A request that waits may be slow by its nature, a probe is not: one without an answer is enough.
            self.failed(seat, now, error, weight=self._health.eject_after if silent else 1)

    # Streams

    def opened(self, seat: Seat, stream: Stream) -> None:
        """A long answer is read from now on. Its peer is remembered with it: it may be learnt of no longer one day."""
        self._streams[stream] = seat
        seat.streams.add(stream)

    def forget(self, stream: Stream) -> None:
        """It is read no longer."""
        self._streams.pop(stream).streams.discard(stream)

    def with_streams(self) -> set[Seat]:
        """Peers from which long answers are read."""
        return set(self._streams.values())

    def streams(self) -> list[Stream]:
        """All long answers being read."""
        return list(self._streams)

    def status(self) -> list[SeatStatus]:
        """Each peer's state."""
        return [seat.status() for seat in self._every()]

    def _every(self) -> Iterator[Seat]:
        yield from self._all
        yield from (seat for peer, seat in self._named.items() if peer not in self._seats)

    def _seat(self, peer: Peer) -> Seat:
        return Seat(peer, Health(self._health))

    def _may_ask(self, peer: Peer) -> bool:
        return peer.tls or not self._configured or not all(known.tls for known in self._configured)

    def _changed(self, seat: Seat, before: State, error: str | None) -> None:
        if seat.health.state is not before:
            self._sort_out()
            if before is State.HEALTHY:
                self.lost_peer.set()
            if self._tracer is not None:
                self._tracer.peer_state(seat.peer.url, before.value, seat.health.state.value, error)

    def _sort_out(self) -> None:
        # A suspect's probe is under way, and tells in a moment: until then a write had better not be risked there.
        # Where nobody is well, everybody is asked: the pool's opinion may be the thing that is wrong.
        well = tuple(seat for seat in self._all if seat.health.state is State.HEALTHY)
        self._usable = well or tuple(seat for seat in self._all if seat.health.usable) or self._all


def _one_peer(peer: str, scheme: str) -> Peer:
    if not isinstance(peer, str):
        raise TypeError(f"peer must be a URL, not {type(peer).__name__}")
    found = parse_peers(peer, default_scheme=scheme, argument="peer")
    if len(found) != 1:
        raise ConfigError(f"peer: one is needed, not {len(found)}")
    return found[0]
