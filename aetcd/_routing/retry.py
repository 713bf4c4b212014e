"""Whether a request goes again, and after how long."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

import msgspec
from attrs import field, frozen

from aetcd._wire.message import Effect
from aetcd.errors import ConfigError

if TYPE_CHECKING:
    from random import Random

    from attrs import Attribute

__all__ = [
    "Fate",
    "GiveUp",
    "Reason",
    "RetryAfter",
    "RetryPolicy",
    "check_count",
    "check_seconds",
    "decide",
    "full_jitter",
    "make_retry",
]


def check_count(owner: object, attribute: Attribute[int], value: int) -> None:
    """An attrs validator: a whole number from 1 on. Raises ConfigError or TypeError naming the attribute."""
    _check_count(attribute.name, value)


def check_seconds(owner: object, attribute: Attribute[float], value: float) -> None:
    """An attrs validator: a finite time, 0 or more. Raises ConfigError or TypeError naming the attribute."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name}: seconds are needed, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ConfigError(f"{attribute.name}: {value} is no number of seconds from 0 on")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: a whole number is needed, not {type(value).__name__}")
    if value < 1:
        raise ConfigError(f"{name}: {value} is less than 1")


def full_jitter(random: Random, *, base: float, cap: float, doublings: int) -> float:
    """Seconds between 0 and `base` doubled so often, or `cap` where that is less, all equally likely.

    From nothing up, not about a middle: clients that failed together must not come back together.
    """
    # A peer that is down for days is ejected more often than a float can be doubled.
    return random.uniform(0.0, min(cap, base * 2.0 ** min(doublings, 64)))


@frozen(kw_only=True)
class RetryPolicy:
    """How often, and how fast.

    attempts: How often one request is sent at most, the first time included.
    base: Longest wait, in seconds, after every peer was tried once. It doubles with each further attempt.
    cap: What it never grows beyond, in seconds.
    """

    attempts: int = field(default=10, validator=check_count)
    base: float = field(default=0.05, validator=check_seconds)
    cap: float = field(default=1.0, validator=check_seconds)


def make_retry(value: RetryPolicy | int | bool | None) -> RetryPolicy:
    """Read a client's `retry=`: None or True is the default, False one attempt, a number so many attempts.

    Raises ConfigError or TypeError, naming `retry`.
    """
    match value:
        case RetryPolicy():
            return value
        case None | True:
            return RetryPolicy()
        case False:
            return RetryPolicy(attempts=1)
        case int():
            _check_count("retry", value)
            return RetryPolicy(attempts=value)
        case _:
            raise TypeError(f"retry: a number of attempts, a bool or a RetryPolicy, not {type(value).__name__}")


class Fate(enum.Enum):
    """What is known of a request that failed."""

    NOT_APPLIED = "not applied"
    """Certain: it was never sent, or was refused without effect."""
    OPEN = "open"
    """It may have been applied, now or a moment later."""


class Reason(enum.Enum):
    """Why a request is not sent again."""

    OUTCOME_UNKNOWN = "outcome unknown"
    """It may have been applied, and twice is not the same as once."""
    ATTEMPTS = "attempts"
    """It was sent as often as allowed."""
    DEADLINE = "deadline"
    """The call's time would be over before it could be sent."""


class RetryAfter(msgspec.Struct, frozen=True):
    """Send it again, after so many seconds; 0.0 is at once."""

    seconds: float


class GiveUp(msgspec.Struct, frozen=True):
    """Do not send it again."""

    reason: Reason


def decide(
    *,
    policy: RetryPolicy,
    effect: Effect,
    fate: Fate,
    attempt: int,
    untried: int,
    remaining: float,
    random: Random,
    peers: int,
) -> RetryAfter | GiveUp:
    """Whether a request that failed is sent again.

    attempt: How often it was sent so far, 1 or more.
    untried: Peers that this call has not tried yet. As long as there are some, none is waited for.
    remaining: Seconds until the call's deadline; may be infinite.
    peers: How many peers there are: after one round over all of them, each further attempt may wait twice as long.
    """
    if effect is Effect.ONCE and fate is Fate.OPEN:
        return GiveUp(Reason.OUTCOME_UNKNOWN)
    if attempt >= policy.attempts:
        return GiveUp(Reason.ATTEMPTS)
    delay = 0.0
    if not untried:
        delay = full_jitter(random, base=policy.base, cap=policy.cap, doublings=max(0, attempt - peers))
    return RetryAfter(delay) if delay < remaining else GiveUp(Reason.DEADLINE)
