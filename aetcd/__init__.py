"""Asyncio clients for the HTTP control planes that services coordinate through: etcd first.

The first steps, where an etcd listens:

    import aetcd

    async with aetcd.Client("http://127.0.0.1:2379") as client:
        await client.set("message", "Hello World")
        print(await client.get("message"))
"""

from typing import TYPE_CHECKING

from aetcd import errors
from aetcd._client import Client, Protocol, Status
from aetcd._routing.retry import RetryPolicy
from aetcd._transport.srv import SRV
from aetcd._transport.timeouts import Timeout
from aetcd._transport.tls import TLS
from aetcd._transport.trace import PeerEvent, RequestEvent, ResponseEvent, RetryEvent, Trace
from aetcd.errors import *  # noqa: F403 - every error is at the front door; the list is errors.__all__
from aetcd.etcd._session import Session, SessionState
from aetcd.etcd._values import Change, Node, Result, Resynced, Synced
from aetcd.etcd._watch import Watch

if TYPE_CHECKING:
    from aetcd.recipes import (
        Barrier,
        Counter,
        Difference,
        Differences,
        DoubleBarrier,
        Election,
        Holder,
        Instance,
        Leader,
        Leadership,
        Lock,
        Mirror,
        Once,
        Picker,
        PriorityQueue,
        ReadLock,
        Registration,
        Registry,
        RWLock,
        Semaphore,
        WorkItem,
        WorkQueue,
        WriteLock,
    )

__version__ = "0.1.0"

__all__ = [
    "SRV",
    "TLS",
    "Barrier",
    "Change",
    "Client",
    "Counter",
    "Difference",
    "Differences",
    "DoubleBarrier",
    "Election",
    "Holder",
    "Instance",
    "Leader",
    "Leadership",
    "Lock",
    "Mirror",
    "Node",
    "Once",
    "PeerEvent",
    "Picker",
    "PriorityQueue",
    "Protocol",
    "RWLock",
    "ReadLock",
    "Registration",
    "Registry",
    "RequestEvent",
    "ResponseEvent",
    "Result",
    "Resynced",
    "RetryEvent",
    "RetryPolicy",
    "Semaphore",
    "Session",
    "SessionState",
    "Status",
    "Synced",
    "Timeout",
    "Trace",
    "Watch",
    "WorkItem",
    "WorkQueue",
    "WriteLock",
    "__version__",
]
__all__ += errors.__all__


def __getattr__(name: str) -> object:
    # The recipes' types are loaded when one is asked for: a program that reads and watches keys has no need of them.
    if name in __all__:
        from aetcd import recipes

        return getattr(recipes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
