"""Coordination, written once on the narrow protocol `CoordinationStore`: it knows no wire."""

from __future__ import annotations

from aetcd.recipes._barrier import Barrier
from aetcd.recipes._contenders import Holder
from aetcd.recipes._counter import Counter
from aetcd.recipes._double_barrier import DoubleBarrier
from aetcd.recipes._election import Election, Leader, Leadership
from aetcd.recipes._guard import OnLost
from aetcd.recipes._lock import Lock
from aetcd.recipes._mirror import Difference, Differences, Mirror
from aetcd.recipes._once import Once
from aetcd.recipes._picker import Picker, Policy
from aetcd.recipes._registry import Instance, Registration, Registry
from aetcd.recipes._rwlock import ReadLock, RWLock, WriteLock
from aetcd.recipes._semaphore import Semaphore
from aetcd.recipes._store import Changes, CoordinationStore, Entry, KeyChange, Queue
from aetcd.recipes._work_queue import PriorityQueue, WorkItem, WorkQueue

__all__ = [
    "Barrier",
    "Changes",
    "CoordinationStore",
    "Counter",
    "Difference",
    "Differences",
    "DoubleBarrier",
    "Election",
    "Entry",
    "Holder",
    "Instance",
    "KeyChange",
    "Leader",
    "Leadership",
    "Lock",
    "Mirror",
    "OnLost",
    "Once",
    "Picker",
    "Policy",
    "PriorityQueue",
    "Queue",
    "RWLock",
    "ReadLock",
    "Registration",
    "Registry",
    "Semaphore",
    "WorkItem",
    "WorkQueue",
    "WriteLock",
]
