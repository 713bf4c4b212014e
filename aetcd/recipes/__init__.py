"""Coordination, written once on the narrow protocol `CoordinationStore`: it knows no wire."""

from __future__ import annotations

from aetcd.recipes._election import Election, Leader, Leadership
from aetcd.recipes._guard import OnLost
from aetcd.recipes._lock import Lock
from aetcd.recipes._store import CoordinationStore, Entry, KeyChange, Queue

__all__ = ["CoordinationStore", "Election", "Entry", "KeyChange", "Leader", "Leadership", "Lock", "OnLost", "Queue"]
