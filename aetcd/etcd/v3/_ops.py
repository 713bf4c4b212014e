"""Operations on keys as values: alone they are calls, together a transaction."""

from __future__ import annotations

from typing import Literal

import msgspec

from aetcd.etcd.v3._arguments import flag
from aetcd.etcd.v3._codec import Key, Wire, bytes_of, key_range, whole

__all__ = ["Delete", "Get", "Put", "SortBy", "delete_wire", "put_wire", "range_wire"]

SortBy = Literal["key", "value", "version", "create_revision", "mod_revision"]
"""A field of `KeyValue` that a range can be sorted by."""

_SORT_TARGETS = {
    "key": "KEY",
    "value": "VALUE",
    "version": "VERSION",
    "create_revision": "CREATE",
    "mod_revision": "MOD",
}


def range_wire(
    key: Key,
    range_end: Key | None = None,
    prefix: bool = False,
    from_key: bool = False,
    limit: int = 0,
    revision: int = 0,
    sort_by: SortBy | None = None,
    descending: bool = False,
    keys_only: bool = False,
    count_only: bool = False,
    serializable: bool = False,
    min_mod_revision: int = 0,
    max_mod_revision: int = 0,
    min_create_revision: int = 0,
    max_create_revision: int = 0,
) -> Wire:
    """A range request as on the wire, without what is zero. Raises ValueError and TypeError for bad arguments."""
    first, end = key_range(key, range_end, prefix, from_key)
    message: Wire = {"key": first}
    if end:
        message["range_end"] = end
    if sort_by is not None or descending is not False:
        order = "DESCEND" if flag(descending, "descending") else "ASCEND"
        message |= {"sort_target": _sort_target(sort_by), "sort_order": order}
    for name, wish in (("keys_only", keys_only), ("count_only", count_only), ("serializable", serializable)):
        if wish is not False:
            message[name] = flag(wish, name)
    for name, number in (
        ("limit", limit),
        ("revision", revision),
        ("min_mod_revision", min_mod_revision),
        ("max_mod_revision", max_mod_revision),
        ("min_create_revision", min_create_revision),
        ("max_create_revision", max_create_revision),
    ):
        if number or type(number) is not int:  # what is no number but false, such as None, is to be refused too
            message[name] = whole(number, name)
    return message


def _sort_target(sort_by: SortBy | None) -> str:
    if not isinstance(sort_by, str | None):
        raise TypeError(f"sort_by must be str, not {type(sort_by).__name__}")
    target = _SORT_TARGETS.get("key" if sort_by is None else sort_by)
    if target is None:
        raise ValueError(f"sort_by must be one of {', '.join(_SORT_TARGETS)}, not {sort_by!r}")
    return target


def put_wire(
    key: Key,
    value: Key,
    lease: int = 0,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> Wire:
    """A put request as on the wire. Raises ValueError and TypeError for bad arguments."""
    name, content = bytes_of(key, "key"), bytes_of(value, "value")
    if not name:
        raise ValueError("key must not be empty")
    message: Wire = {"key": name, "value": content}
    if whole(lease, "lease"):
        message["lease"] = lease
    if prev_kv is not False:
        message["prev_kv"] = flag(prev_kv, "prev_kv")
    if ignore_value is not False:
        message["ignore_value"] = flag(ignore_value, "ignore_value")
        if content:
            raise ValueError("value must be empty with ignore_value")
    if ignore_lease is not False:
        message["ignore_lease"] = flag(ignore_lease, "ignore_lease")
        if lease:
            raise ValueError("lease must not be given with ignore_lease")
    return message


def delete_wire(
    key: Key, range_end: Key | None = None, prefix: bool = False, from_key: bool = False, prev_kv: bool = False
) -> Wire:
    """A deletion as on the wire. Raises ValueError and TypeError for bad arguments."""
    first, end = key_range(key, range_end, prefix, from_key)
    message: Wire = {"key": first}
    if end:
        message["range_end"] = end
    if prev_kv is not False:
        message["prev_kv"] = flag(prev_kv, "prev_kv")
    return message


class _OnKey(msgspec.Struct, frozen=True):
    """The key may be given without its name; all else has to be named."""

    key: Key


class Get(_OnKey, frozen=True, kw_only=True):
    """Reads a range within a transaction; the fields are those of `V3.range`. The answer is a `RangeResponse`."""

    range_end: Key | None = None
    prefix: bool = False
    from_key: bool = False
    limit: int = 0
    revision: int = 0
    sort_by: SortBy | None = None
    descending: bool = False
    keys_only: bool = False
    count_only: bool = False
    serializable: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0

    def to_wire(self) -> Wire:
        """As an operation of a transaction. Raises ValueError and TypeError for bad fields."""
        return {
            "request_range": range_wire(
                self.key,
                self.range_end,
                self.prefix,
                self.from_key,
                self.limit,
                self.revision,
                self.sort_by,
                self.descending,
                self.keys_only,
                self.count_only,
                self.serializable,
                self.min_mod_revision,
                self.max_mod_revision,
                self.min_create_revision,
                self.max_create_revision,
            )
        }


class _OnKeyAndValue(_OnKey, frozen=True):
    value: Key


class Put(_OnKeyAndValue, frozen=True, kw_only=True):
    """Writes a key within a transaction; the fields are those of `V3.put`. The answer is a `PutResponse`."""

    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False

    def to_wire(self) -> Wire:
        """As an operation of a transaction. Raises ValueError and TypeError for bad fields."""
        message = put_wire(self.key, self.value, self.lease, self.prev_kv, self.ignore_value, self.ignore_lease)
        return {"request_put": message}


class Delete(_OnKey, frozen=True, kw_only=True):
    """Deletes a range within a transaction; the fields are those of `V3.delete_range`, the answer its
    `DeleteRangeResponse`.
    """

    range_end: Key | None = None
    prefix: bool = False
    from_key: bool = False
    prev_kv: bool = False

    def to_wire(self) -> Wire:
        """As an operation of a transaction. Raises ValueError and TypeError for bad fields."""
        message = delete_wire(self.key, self.range_end, self.prefix, self.from_key, self.prev_kv)
        return {"request_delete_range": message}
