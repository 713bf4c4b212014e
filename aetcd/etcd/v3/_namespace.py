"""Where the keys of a namespace stand on the server: put below its prefix on the way out, taken from it on the way in.

As Go's `clientv3/namespace`; and its keys are those that have a name, so never the bare prefix itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar

import msgspec
from attrs import frozen
from msgspec.structs import replace

from aetcd.etcd.v3._codec import EVERYTHING, Wire, prefix_end
from aetcd.etcd.v3._models import KeyValue

__all__ = ["Namespace"]

T = TypeVar("T")

# What holds a key in messages of the key space, locks and elections. A `name` there is the prefix of a queue's entries.
_KEYS = frozenset({"key", "name"})

# What holds more of an answer, in which keys may stand.
_PARTS = frozenset(
    {
        "kv",
        "kvs",
        "prev_kv",
        "prev_kvs",
        "leader",
        "responses",
        "response_range",
        "response_put",
        "response_delete_range",
        "response_txn",
    }
)


@frozen
class Namespace:
    """The keys below a prefix, in the same order; those of the whole key space where it is empty."""

    prefix: bytes = b""

    def range(self, first: bytes, end: bytes) -> tuple[bytes, bytes]:
        """A range as `key_range` gives it, as it is on the server."""
        return self.prefix + first, self._end(end) if end else b""

    def shown(self, keys: Iterable[bytes]) -> tuple[bytes, ...]:
        """Of keys on the server, those that are in it."""
        return tuple(self._bare(key) for key in keys if key.startswith(self.prefix) and key != self.prefix)

    def enter(self, message: Wire) -> Wire:
        """A message with all its keys as they are on the server; a new one, whatever was given."""
        return {name: self._entered(name, value) for name, value in message.items()}

    def leave(self, told: T) -> T:
        """An answer with all its keys as they are in the namespace."""
        left: T = self._left(told)
        return left

    def _entered(self, name: str, value: Any) -> Any:
        if name in _KEYS:
            return self.prefix + value
        if name == "range_end":
            return self._end(value)
        if isinstance(value, dict):
            return self.enter(value)
        return [self.enter(each) for each in value] if isinstance(value, list) else value

    def _left(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return self._bare(value)
        if isinstance(value, tuple):
            return tuple(map(self._left, value))
        if isinstance(value, KeyValue):
            return self._bare_kv(value)
        names = _keyed(type(value))  # type: ignore[arg-type]  # a class is hashable
        found = {name: self._left(getattr(value, name)) for name in names}
        return replace(value, **found) if found else value

    def _end(self, end: bytes) -> bytes:
        # "From a key on" goes as far as the namespace, and not as the key space does.
        return prefix_end(self.prefix) if end == EVERYTHING else self.prefix + end

    def _bare(self, key: bytes) -> bytes:
        return key[len(self.prefix) :]

    def _bare_kv(self, kv: KeyValue) -> KeyValue:
        # Told by the thousand: `replace` takes longer.
        return KeyValue(
            key=self._bare(kv.key),
            value=kv.value,
            create_revision=kv.create_revision,
            mod_revision=kv.mod_revision,
            version=kv.version,
            lease=kv.lease,
        )


@cache
def _keyed(kind: type) -> tuple[str, ...]:
    """Which fields of an answer are keys, or may have some in them."""
    names = kind.__struct_fields__ if issubclass(kind, msgspec.Struct) else ()
    return tuple(name for name in names if name in _KEYS | _PARTS)
