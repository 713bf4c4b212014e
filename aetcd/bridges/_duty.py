"""What a bridge is to do, and when: the two things in which one differs from another. Nothing here waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

from attrs import field, frozen

from aetcd._client.arguments import check_flag, check_key, check_seconds
from aetcd.recipes._mirror import Mirror
from aetcd.recipes._store import Store

__all__ = ["Duty", "Pace", "Reading", "check_span", "under"]

P_co = TypeVar("P_co", covariant=True)
W = TypeVar("W", bound=Collection[Any])

LONGEST = 86_400.0  # seconds: what is meant to be longer is a mistake


@frozen(kw_only=True)
class Reading(Generic[W]):
    """What the store holds, in the words of the other system.

    left_out: Why an entry is not in it, by the entry's name.
    """

    wanted: W
    left_out: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Duty(Generic[P_co]):
    """What is carried over.

    source, target: For reports. mirror: Makes a new one, for one that has ended is not entered again.
    """

    store: Store
    source: str
    target: str
    mirror: Callable[[], Mirror[bytes]]
    read: Callable[[Mapping[str, bytes]], Reading[Any]]
    write: Callable[[Any], Awaitable[P_co]]


@frozen(kw_only=True)
class Pace:
    """When it is done, and by whom.

    election: The name that the writer is elected under; None writes always.
    """

    election: str | None
    ttl: int
    debounce: float
    check_every: float | None
    allow_empty: bool

    def check(self, prefix: str) -> None:
        """Raises TypeError and ValueError, naming the argument."""
        check_seconds(self.ttl)
        check_flag(self.allow_empty, "allow_empty")
        check_span(self.debounce, "debounce", least=0.0)
        if self.check_every is not None:
            check_span(self.check_every, "check_every", least=0.001)
        if self.election is not None:
            check_key(self.election, "election")
            if f"{self.election}/".startswith(f"{prefix}/"):
                raise ValueError(f"election: its entries under {self.election!r} would stand among those of {prefix!r}")


def check_span(span: float, argument: str, *, least: float) -> None:
    """Raises TypeError and ValueError, naming the argument."""
    if isinstance(span, bool) or not isinstance(span, int | float):
        raise TypeError(f"{argument} must be a number of seconds, not {span!r}")
    if not least <= span <= LONGEST:
        raise ValueError(f"{argument} must be from {least:g} to {LONGEST:g} seconds, not {span!r}")


def under(prefix: str, keys: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """What stands under a prefix, by its names there, in order: what does not change must not come in another order."""
    start = f"{prefix}/"
    for key in sorted(keys):
        if key.startswith(start) and key != start:
            yield key.removeprefix(start), keys[key]
