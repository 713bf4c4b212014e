"""What a user of the facade gets: nodes, results and changes, and how values are stored as bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from aetcd.errors import DecodeError

__all__ = ["Change", "Kind", "Node", "Result", "Resynced", "Synced", "check_type", "encode_value", "read_value"]

Kind = Literal["put", "delete", "expire"]


def encode_value(value: object, argument: str = "value") -> bytes:
    """Text and bytes as they are, any other object as JSON.

    Raises TypeError, naming the argument, for what JSON cannot say, and ValueError for text that UTF-8 cannot hold.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as e:
            raise ValueError(f"{argument} must be text that UTF-8 can hold: {e}") from e
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as e:
        raise TypeError(f"{argument} of type {type(value).__name__} cannot be stored as JSON: {e}") from e


def check_type(kind: Any) -> None:
    """Raises TypeError, naming `type`, for what no value can be read as."""
    if kind is None or kind is str or kind is bytes:
        return
    try:
        msgspec.json.Decoder(kind)
    except (TypeError, NameError) as e:
        raise TypeError(f"type must be one that JSON can be read as, not {kind!r}: {e}") from e


def read_value(raw: bytes, kind: Any, key: str) -> Any:
    """Stored bytes as `kind`: text for `str` or None, themselves for `bytes`, read from JSON for anything else.

    Raises DecodeError, naming the key.
    """
    try:
        if kind is None or kind is str:
            return raw.decode()
        return raw if kind is bytes else msgspec.json.decode(raw, type=kind)
    except (UnicodeDecodeError, RecursionError, msgspec.DecodeError, msgspec.ValidationError) as e:
        wanted = "text" if kind is None else getattr(kind, "__name__", str(kind))
        raise DecodeError(f"the value of {key!r} does not read as {wanted}: {e}", key=key) from e


# Structs, as all that is made for every key and change: an attrs class that is frozen takes six times as long to make.
# They hold one another and plain values, never in a circle, so the garbage collector need not look at them.
class Node(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A key, or on v2 a directory, as it stands at one revision.

    key: As the caller writes it, without the client's namespace.
    raw: The stored bytes; None of a directory, and where the answer did not tell.
    created_revision: Revision of its creation: v3 create_revision, v2 createdIndex.
    modified_revision: Revision of its last write: v3 mod_revision, v2 modifiedIndex.
    version: Number of writes since its creation; None on v2, which does not count them.
    ttl: Seconds left, or None without an expiry. On v3 it is filled in where one key is read or written; a listing only
        tells the lease.
    lease: ID of the lease that it ends with (v3), or None.
    expiration: When it ends by the server's clock (v2), or None.
    nodes: Children, of a directory that was read with them; else None.
    """

    key: str
    raw: bytes | None = None
    created_revision: int = 0
    modified_revision: int = 0
    version: int | None = None
    ttl: int | None = None
    lease: int | None = None
    expiration: datetime | None = None
    is_directory: bool = False
    nodes: tuple[Node, ...] | None = None
    type: Any = None

    @property
    def value(self) -> Any:
        """The value as the call's `type=` asked for it; None of a directory. Raises DecodeError, naming the key."""
        return None if self.raw is None else read_value(self.raw, self.type, self.key)

    def as_type(self, kind: Any) -> Node:
        """The same, its value and its children's to be read as `kind`."""
        if kind is None:
            return self
        nodes = None if self.nodes is None else tuple(node.as_type(kind) for node in self.nodes)
        return replace(self, type=kind, nodes=nodes)

    def as_dict(self) -> dict[str, Any]:
        """In the shape of etcd's v2 answers: `createdIndex`, `modifiedIndex`, `key` with its slash, ..."""
        shown: dict[str, Any] = {"key": "/" + self.key.strip("/")}
        if self.raw is not None:
            shown["value"] = self.value
        if self.is_directory:
            shown["dir"] = True
        if self.ttl is not None:
            shown["ttl"] = self.ttl
        if self.expiration is not None:
            shown["expiration"] = self.expiration.isoformat().replace("+00:00", "Z")
        if self.nodes:
            shown["nodes"] = [node.as_dict() for node in self.nodes]
        if self.created_revision:
            shown["createdIndex"] = self.created_revision
        if self.modified_revision:
            shown["modifiedIndex"] = self.modified_revision
        return shown

    # Without `type`, which is how the caller reads it and no part of what stands there.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self._stands() == other._stands()

    def __hash__(self) -> int:
        return hash((self.key, self.modified_revision))

    def _stands(self) -> list[Any]:
        return [getattr(self, name) for name in self.__struct_fields__ if name != "type"]

    def __repr__(self) -> str:
        if self.is_directory:
            return f"<Node {self.key!r} directory{'' if self.nodes is None else f' of {len(self.nodes)}'}>"
        return f"<Node {self.key!r} = {_shown(self.raw)} at revision {self.modified_revision}>"


class Result(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The whole answer of a call with `full=True`.

    action: What was done, in v2's words: `get set create update delete compareAndSwap compareAndDelete`.
    node: The key as it stands now; after a deletion, its key and the deletion's revision.
    previous: What stood before, or None where nothing did.
    revision: Revision of the key space when it was done: v3 header.revision, v2 X-Etcd-Index.
    """

    action: str
    node: Node
    previous: Node | None = None
    revision: int = 0

    def as_type(self, kind: Any) -> Result:
        """The same, its values to be read as `kind`."""
        if kind is None:
            return self
        previous = None if self.previous is None else self.previous.as_type(kind)
        return replace(self, node=self.node.as_type(kind), previous=previous)

    def as_dict(self) -> dict[str, Any]:
        """In the shape of etcd's v2 answers: `action`, `node`, and `prevNode` where something stood before."""
        shown: dict[str, Any] = {"action": self.action, "node": self.node.as_dict()}
        if self.previous is not None:
            shown["prevNode"] = self.previous.as_dict()
        return shown


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of a key.

    kind: `put`, `delete`, or `expire` (v2 only: v3 tells an expiry as a deletion).
    node: The key as it was written; of a deletion, its key and the deletion's revision.
    previous: What stood before; None where nothing did, or where the server did not tell.
    """

    kind: Kind
    node: Node
    previous: Node | None = None

    @property
    def key(self) -> str:
        """The key, as the caller writes it."""
        return self.node.key

    @property
    def raw(self) -> bytes | None:
        """The stored bytes; None of a deletion."""
        return self.node.raw

    @property
    def value(self) -> Any:
        """The value as the watch's `type=` asked for it; None of a deletion. Raises DecodeError; the watch lives on."""
        return self.node.value

    @property
    def revision(self) -> int:
        """Revision of the change: v3 mod_revision, v2 modifiedIndex."""
        return self.node.modified_revision

    @property
    def is_create(self) -> bool:
        """Whether the key was not there before."""
        # On v2 a `set` of a key that is there begins its life anew, but what stood before is told.
        anew = self.node.created_revision == self.node.modified_revision
        return self.kind == "put" and anew and self.previous is None

    def __repr__(self) -> str:
        value = f" = {_shown(self.raw)}" if self.kind == "put" else ""
        return f"<Change {self.kind} {self.key!r}{value} at revision {self.revision}>"


class Synced(msgspec.Struct, frozen=True):
    """In a watch with `initial=True`: all that existed at `revision` was given; what follows are changes after it."""

    revision: int


class Resynced(msgspec.Struct, frozen=True):
    """In a watch with `on_history_lost="resync"`: events were lost, and the changes just given lead to the state at
    `revision`. Values that a key had in between were not seen.
    """

    revision: int


def _shown(raw: bytes | None) -> str:
    if raw is None:
        return "nothing"
    text = raw[:40].decode("utf-8", "backslashreplace")
    return repr(text) + ("..." if len(raw) > 40 else "")
