"""A request and its answer, as values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
from attrs import field, frozen

__all__ = ["Effect", "Request", "Response", "Verdict", "judge_by_status"]

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Effect(enum.Enum):
    """What sending a request twice would do. It alone decides on retries."""

    READ = "read"
    """Changes nothing."""
    REPEATABLE = "repeatable"
    """Changes something, and twice is the same as once."""
    ONCE = "once"
    """Twice is not the same as once: never sent again when it may have been applied."""


class Verdict(enum.Enum):
    """What an answer says of the request's fate. Each protocol judges its own answers."""

    FINAL = "final"
    """The request was carried out, or refused for good: the caller gets the answer."""
    NOT_NOW = "not now"
    """This peer cannot at the moment, and certainly applied nothing."""
    OPEN = "open"
    """This peer gave up waiting: the request may be applied, now or later."""
    STALE_CREDENTIALS = "stale credentials"
    """Refused for credentials that were good once; nothing was applied."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An answer.

    headers: By name, without regard to case.
    peer: URL of the peer that answered.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    peer: str


def judge_by_status(response: Response) -> Verdict:
    """The verdict where a protocol says nothing more exact: gateway errors leave the fate open."""
    return Verdict.OPEN if response.status in {502, 503, 504} else Verdict.FINAL


@frozen(kw_only=True)
class Request:
    """One operation, ready to be sent to any peer.

    operation: Its name in errors and traces, such as `v3 range`.
    path: The target with its query, percent-encoded; it is sent as it stands.
    judge: Reads the fate of the request from an answer.
    secret: The body holds credentials, so no trace or `repr` shows it.
    """

    operation: str
    method: str
    path: str
    effect: Effect
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default=NO_HEADERS, repr=False)
    judge: Callable[[Response], Verdict] = field(default=judge_by_status, repr=False)
    secret: bool = field(default=False, repr=False)
