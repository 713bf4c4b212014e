"""Checks of what a user gives, before anything is sent: each error names the argument."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

__all__ = ["flag", "is_async", "named", "one_of", "text", "urls"]


def text(given: str, argument: str) -> str:
    """Text that UTF-8 can hold, and be it empty. It may be a password, so that errors do not show it."""
    if not isinstance(given, str):
        raise TypeError(f"{argument} must be str, not {type(given).__name__}")
    if not given.isascii():
        try:
            given.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{argument} must be text that UTF-8 can hold") from None
    return given


def named(given: str, argument: str) -> str:
    """As `text`, and not empty."""
    if not text(given, argument):
        raise ValueError(f"{argument} must not be empty")
    return given


def flag(given: bool, argument: str) -> bool:
    """A bool, and nothing that only counts as one: `"no"` would be a yes."""
    if not isinstance(given, bool):
        raise TypeError(f"{argument} must be True or False, not {given!r}")
    return given


def one_of(given: object, known: tuple[str | None, ...], argument: str) -> None:
    """One of a few words. Raises ValueError for whatever else, also for what cannot be hashed."""
    if given not in known:
        *others, last = map(str, known)
        raise ValueError(f"{argument} must be {', '.join(others)} or {last}, not {given!r}")


def urls(given: Iterable[str], argument: str) -> list[str]:
    """A list of texts, of which there is one at least. What they say is for the server to judge."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} must be a list of URLs, not {type(given).__name__}")
    listed = [text(each, f"each of {argument}") for each in given]
    if not listed:
        raise ValueError(f"{argument} must not be empty")
    return listed


def is_async(function: object) -> bool:
    """Whether what it gives has to be awaited, as far as it can be seen: also a partial, or an async `__call__`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
