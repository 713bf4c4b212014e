"""Operations on keys as values: alone they are calls, together a transaction."""

from __future__ import annotations

from typing import Literal

import msgspec

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
    if sort_by is not None or descending:
        target = _SORT_TARGETS.get(sort_by or "key")
        if target is None:
            raise ValueError(f"sort_by must be one of {', '.join(_SORT_TARGETS)}, not {sort_by!r}")
        message |= {"sort_target": target, "sort_order": "DESCEND" if descending else "ASCEND"}
    if keys_only:
        message["keys_only"] = True
    if count_only:
        message["count_only"] = True
    if serializable:
        message["serializable"] = True
    if limit:
        message["limit"] = whole(limit, "limit")
    if revision:
        message["revision"] = whole(revision, "revision")
    if min_mod_revision:
        message["min_mod_revision"] = whole(min_mod_revision, "min_mod_revision")
    if max_mod_revision:
        message["max_mod_revision"] = whole(max_mod_revision, "max_mod_revision")
    if min_create_revision:
        message["min_create_revision"] = whole(min_create_revision, "min_create_revision")
    if max_create_revision:
        message["max_create_revision"] = whole(max_create_revision, "max_create_revision")
    return message


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
    if lease:
        message["lease"] = whole(lease, "lease")
    if prev_kv:
        message["prev_kv"] = True
    if ignore_value:
        if content:
            raise ValueError("value must be empty with ignore_value")
        message["ignore_value"] = True
    if ignore_lease:
        if lease:
            raise ValueError("lease must not be given with ignore_lease")
        message["ignore_lease"] = True
    return message


def delete_wire(
    key: Key, range_end: Key | None = None, prefix: bool = False, from_key: bool = False, prev_kv: bool = False
) -> Wire:
    """A deletion as on the wire. Raises ValueError and TypeError for bad arguments."""
    first, end = key_range(key, range_end, prefix, from_key)
    message: Wire = {"key": first}
    if end:
        message["range_end"] = end
    if prev_kv:
        message["prev_kv"] = True
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
