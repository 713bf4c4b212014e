"""Choosing among live instances, in the client."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeVar, get_args

from aetcd.errors import CoordinationError
from aetcd.recipes._mirror import Difference, Mirror

if TYPE_CHECKING:
    from aetcd.recipes._registry import Instance

__all__ = ["Picker", "Policy", "check_policy"]

T = TypeVar("T")

AVOIDED = 5.0  # seconds for which an instance that failed is not chosen, while there are others

Policy = Literal["round_robin", "random", "least_pending"]


def check_policy(policy: str) -> None:
    """Raises ValueError, naming `policy`."""
    if policy not in get_args(Policy):
        raise ValueError(f"policy must be one of {', '.join(get_args(Policy))}, not {policy!r}")


class Picker(Generic[T]):
    """Chooses among the instances of a registry, which it follows while its block runs.

        async with registry.picker("least_pending") as picker:
            with picker.pick() as instance:
                ...  # a request to instance.address

    An instance that is gone is not chosen any more, and one whose block was left by an exception not for 5 s, while
    there are others: a server that refuses has nothing pending, and would draw all requests. While the registry cannot
    be reached the last instances known serve, and `fresh` says so.
    """

    def __init__(
        self,
        mirror: Mirror[bytes],
        read: Callable[[Mapping[str, bytes]], Sequence[Instance[T]]],
        policy: Policy,
        name: str,
    ) -> None:
        self._mirror = mirror
        self._read = read
        self._policy = policy
        self._name = name
        self._random = random.Random()
        self._turn = self._random.randrange(1000)  # or all processes would begin with the same one
        self._pending: Counter[str] = Counter()
        self._avoided: dict[str, float] = {}
        self._known: Sequence[Instance[T]] | None = None
        mirror.on_change(self._forget)

    def __repr__(self) -> str:
        return f"<Picker of {len(self.instances)} instances of {self._name!r} by {self._policy}>"

    @property
    def instances(self) -> Sequence[Instance[T]]:
        """Those that it chooses among, in order of their ids."""
        if self._known is None:
            self._known = self._read(self._mirror)
        return self._known

    @property
    def fresh(self) -> bool:
        """As `Mirror.fresh`."""
        return self._mirror.fresh

    @property
    def age(self) -> float:
        """As `Mirror.age`."""
        return self._mirror.age

    @contextmanager
    def pick(self) -> Iterator[Instance[T]]:
        """An instance for a block, which counts as pending with it meanwhile.

        Raises CoordinationError where none is registered.
        """
        instance = self.choose()
        self._pending[instance.id] += 1
        try:
            yield instance
        except Exception:
            self._avoided[instance.id] = time.monotonic() + AVOIDED
            raise
        finally:
            self._pending[instance.id] -= 1
            if not self._pending[instance.id]:
                del self._pending[instance.id]

    def choose(self) -> Instance[T]:
        """An instance, without counting. Raises CoordinationError where none is registered."""
        instances = self._well()
        if not instances:
            raise CoordinationError(f"no instance of {self._name!r} is registered")
        if self._policy == "random":
            return self._random.choice(instances)
        if self._policy == "least_pending":
            least = min(self._pending[instance.id] for instance in instances)
            return self._random.choice([instance for instance in instances if self._pending[instance.id] == least])
        self._turn += 1
        return instances[self._turn % len(instances)]

    def _well(self) -> Sequence[Instance[T]]:
        """Those that have not failed lately; all where each has."""
        if not self._avoided:
            return self.instances
        now = time.monotonic()
        self._avoided = {name: until for name, until in self._avoided.items() if until > now}
        return [instance for instance in self.instances if instance.id not in self._avoided] or self.instances

    async def __aenter__(self) -> Self:
        """Read the registry. Raises what reading raises."""
        await self._mirror.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._mirror.__aexit__(kind, error, trace)

    def _forget(self, difference: Difference[bytes]) -> None:
        self._known = None
