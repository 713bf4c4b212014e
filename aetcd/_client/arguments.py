"""Checks of what a user writes, before anything is sent."""

from __future__ import annotations

from typing import Any

from aetcd.errors import ConfigError

__all__ = [
    "check_comparison",
    "check_directory",
    "check_flag",
    "check_key",
    "check_revision",
    "check_seconds",
    "check_setting",
    "check_text",
    "check_ttl",
]


def check_text(text: str, argument: str) -> str:
    """Text without NUL that can be written as UTF-8, or that stands for bytes which are not (`surrogateescape`)."""
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be text, not {type(text).__name__}")
    if "\0" in text:
        raise ValueError(f"{argument} must not hold NUL: {text!r}")
    if not text.isascii():
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as e:
            raise ValueError(f"{argument} must be text that UTF-8 can hold, not {text!r}") from e
    return text


def check_key(key: str, argument: str = "key") -> str:
    """A key: text, not empty, without NUL."""
    if type(key) is str and key and key.isascii() and "\0" not in key:
        return key  # as nearly all are
    check_text(key, argument)
    if not key:
        raise ValueError(f"{argument} must not be empty")
    return key


def check_directory(key: str) -> str:
    """As a key, but the empty one is the root."""
    return check_text(key, "key")


def check_setting(text: str, argument: str) -> None:
    """A client's own text, which may be a secret: it is not shown."""
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be text, not {type(text).__name__}")
    try:
        check_text(text, argument)
    except ValueError:
        raise ConfigError(f"{argument} must be text without NUL that UTF-8 can hold") from None


def check_ttl(ttl: int | None) -> int | None:
    """As `check_seconds`, or None for no expiry."""
    return None if ttl is None else check_seconds(ttl)


def check_seconds(ttl: int) -> int:
    """Whole seconds, at least 1. A bool is no number of seconds, and servers would round a fraction."""
    if isinstance(ttl, bool) or not isinstance(ttl, int):
        raise TypeError(f"ttl must be whole seconds, not {ttl!r}")
    if ttl < 1:
        raise ValueError(f"ttl must be at least 1 second, not {ttl}")
    return ttl


def check_revision(revision: int | None, argument: str) -> int | None:
    """A revision: whole, at least 1."""
    if revision is None:
        return None
    if isinstance(revision, bool) or not isinstance(revision, int):
        raise TypeError(f"{argument} must be a whole number, not {revision!r}")
    if revision < 1:
        raise ValueError(f"{argument} must be at least 1, not {revision}")
    return revision


def check_comparison(previous_value: object, previous_revision: int | None) -> None:
    """One of two ways to say what is expected."""
    if previous_value is not None and previous_revision is not None:
        raise ValueError("previous_value and previous_revision: only one of them can be compared")
    if previous_value is None and previous_revision is None:
        raise ValueError(
            "previous_value or previous_revision: one of them is needed (create() for a key that is absent)"
        )
    check_revision(previous_revision, "previous_revision")


def check_flag(value: Any, argument: str) -> bool:
    """A bool and nothing that only looks like one."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, not {value!r}")
    return value
