"""What all calls on keys and directories have in common, on both protocols."""

from __future__ import annotations

from abc import ABC, abstractmethod

from aetcd._client.arguments import check_flag
from aetcd._transport.timeouts import Timeout
from aetcd.etcd._keyspace import KeySpace

__all__ = ["Calls", "Limit"]

Limit = Timeout | float | None


class Calls(ABC):
    """Calls on keys and directories.

    On every call:

    key: Text, sent as it is written. On v2 `message` and `/message` are one key, and empty, `.` and `..` segments are
        refused; on v3 they are two.
    value: Text and bytes are stored as they are, any other object as JSON. v2 stores text only: bytes that are not
        UTF-8 raise Unsupported.
    type: What a value is read as: text by default, `bytes` as it is stored, anything else from JSON (attrs classes,
        dataclasses, TypedDicts, ...). A value that does not fit raises DecodeError, naming the key.
    ttl: Whole seconds, at least 1, after which the server deletes the key. A write without it removes an expiry.
    session: Ties the key to a session's life in place of a TTL of its own.
    consistent: True reads what the cluster has agreed on; False the peer's own copy. The client's by default.
    timeout: Seconds for the whole call, or a `Timeout`. The client's by default.
    full: Answers a `Result`.
    """

    _consistent: bool

    @abstractmethod
    def _ready(self, timeout: Limit) -> tuple[KeySpace, Timeout] | None:
        """What `_start` gives, where the protocol is known: mostly."""

    @abstractmethod
    async def _start(self, timeout: Limit) -> tuple[KeySpace, Timeout]:
        """The key space of the protocol that is spoken, and a call's limits, less the time that finding it out took."""

    def _reads(self, consistent: bool | None) -> bool:
        return self._consistent if consistent is None else check_flag(consistent, "consistent")
