"""Times as CouchDB writes them, in one form: aware datetimes, and seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["milliseconds", "read_time"]


def read_time(value: object) -> datetime | None:
    """An aware datetime from RFC 2822 (`_replicate`), ISO 8601 (scheduler, reshard) or unix seconds (tasks, databases).

    The epoch itself stands for a time that is not known: a reshard job that has not started has it (measured on
    3.5.0), and so has every database of CouchDB 2.

    Raises ValueError for what is none of them.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"no time: {value!r}")
    read = _read_text(value) if isinstance(value, str) else datetime.fromtimestamp(value, UTC)
    return read if read.timestamp() else None


def _read_text(text: str) -> datetime:
    if text.isdecimal():
        return datetime.fromtimestamp(int(text), UTC)
    read = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def milliseconds(seconds: float) -> int:
    """What the server counts in; at least one."""
    return max(1, round(seconds * 1000))
