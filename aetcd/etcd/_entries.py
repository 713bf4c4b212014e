"""What the stores of both protocols tell the recipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

__all__ = ["Entry", "Owned", "Queue"]


class Owned(Protocol):
    """What tells one owner's entry from a later one of the same name."""

    @property
    def key(self) -> str:
        """Its key."""
        ...

    @property
    def created_revision(self) -> int:
        """Revision of its creation."""
        ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One key that somebody owns."""

    key: str
    raw: bytes
    created_revision: int
    modified_revision: int


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The entries under a name, in order of creation, as they were at `revision`."""

    entries: Sequence[Entry]
    revision: int
