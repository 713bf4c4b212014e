"""What a feed is of, and from where on: its requests and its rows. Nothing here waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

from attrs import frozen

from aetcd._wire.message import Request
from aetcd.couchdb._rows import Mode, WireRow

__all__ = ["NOW", "Query", "Since", "Source", "check_since"]

T = TypeVar("T")

NOW: Literal["now"] = "now"
Since = str | Literal["now", 0] | None  # noqa: PYI051  # what is possible, and editors propose


@frozen(kw_only=True)
class Query:
    """What one request of a feed asks for. Times are seconds."""

    mode: Mode
    since: str | None
    heartbeat: float | None = None
    timeout: float | None = None
    limit: int | None = None


@frozen(kw_only=True)
class Source(Generic[T]):
    """What a feed is of.

    name: For errors and logs.
    request: Asks for it.
    read: One row as the caller gets it.
    eventsource: Whether the server can do that mode at all.
    """

    name: str
    request: Callable[[Query], Request]
    read: Callable[[WireRow, str], T]
    eventsource: bool
    needs: str = ""


def check_since(since: Since, argument: str = "since") -> str | None:
    """A cursor, or None for the beginning.

    Raises ValueError for what the server refuses, or would silently take for something else.
    """
    if since is None or since == "0" or (since == 0 and not isinstance(since, bool)):
        return None
    if not isinstance(since, str):
        raise TypeError(f"{argument} must be a seq, NOW or 0, not {since!r}")
    if not since.strip():
        raise ValueError(f"{argument} must not be empty: None stands for the beginning")
    if since == '"now"':
        raise ValueError(f'{argument}: "now" goes without quotes of its own')
    return since
