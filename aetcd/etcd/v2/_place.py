"""Keys of the facade on an etcd v2 server: where they are there, and what answers say of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from attrs import frozen

from aetcd._wire.message import Request, Response
from aetcd.errors import DecodeError, KeyNotFound, NotADirectory, NotAFile, ServerError
from aetcd.etcd._values import Node, Result
from aetcd.etcd.v2._codec import Told, decode_told, key_path
from aetcd.etcd.v2._models import KeysResponse, V2Node

__all__ = [
    "Place",
    "Reading",
    "directory_of",
    "done",
    "error_in",
    "found_node",
    "need_file",
    "place_at",
    "result_of",
    "shown",
]

E = TypeVar("E", bound=ServerError)


@frozen(kw_only=True)
class Place:
    """A key as its caller writes it, and where it is on the server.

    path: As the server writes it: `/` before it and none behind.
    inside: What all paths of the namespace begin with.
    lead: `/` where the caller writes keys with it.
    """

    key: str
    path: str
    inside: str
    lead: str

    def name(self, path: str) -> str | None:
        """A path as the caller would write it; None for one outside of the namespace."""
        if path == self.path:
            return self.key
        return self.lead + path[len(self.inside) :] if path.startswith(self.inside) else None

    def told(self, error: E) -> E:
        """A server's error in the caller's words: with the key as it was written, and nothing of the namespace."""
        text, _, cause = error.message.partition(": ")
        if not cause.startswith("/"):
            text = error.message
        elif cause != self.path and (name := self.name(cause)):
            text = f"{text}: {name!r}"
        error.message = f"{self.key!r}: {text}"
        error.args = (error.message,)
        return error

    def node(self, node: V2Node, type: Any = None, *, deep: bool | None = None) -> Node | None:
        """A node as the caller knows it; None for one outside of the namespace.

        deep: Whether the answer shows the children of children; None where it shows none at all.
        """
        key = self.name(node.key)
        if key is None:
            return None
        nodes = None
        if node.dir and deep is not None:
            children = (self.node(child, type, deep=True if deep else None) for child in node.nodes)
            nodes = tuple(child for child in children if child is not None)
        return Node(
            type=type,
            key=key,
            raw=None if node.value is None else node.value.encode(),
            created_revision=node.created_index,
            modified_revision=node.modified_index,
            ttl=node.ttl,
            expiration=node.expiration,
            is_directory=node.dir,
            nodes=nodes,
        )


@frozen(kw_only=True)
class Reading:
    """What a read found, also where it found nothing: the index of the store is told either way.

    missing: Why there is no node.
    """

    response: Response
    index: int
    cluster_id: str
    node: V2Node | None
    missing: ServerError | None = None


@lru_cache(maxsize=4096)  # the same keys are asked for again and again
def place_at(namespace: str, key: str) -> Place:
    """Where a key is. Raises ValueError for one that would be somewhere else."""
    prefix = namespace.removeprefix("/")
    open_ended = not prefix or prefix.endswith("/")
    # The namespace's own root: a directory, also where the namespace ends within a segment.
    bare = prefix + (key.removeprefix("/") if open_ended else key) if key else prefix.rpartition("/")[0]
    try:
        key_path("/" + bare)
    except ValueError as e:
        # Segments by which the namespace could be left, among others.
        raise ValueError(str(e).replace(repr("/" + bare), repr(key))) from None
    path = "/" + bare.removesuffix("/")
    lead = "/" if open_ended and key.startswith("/") else ""
    return Place(key=key, path=path, inside="/" + prefix, lead=lead)


def found_node(place: Place, request: Request, response: Response) -> V2Node | None:
    """What a read found; None where nothing is, or a key with a value where a directory was asked for."""
    try:
        node = decode_told(request, response).node
    except (KeyNotFound, NotADirectory):
        return None  # under a key with a value there is nothing either
    return None if node is None or (place.key.endswith("/") and not node.dir) else node


def need_file(place: Place, node: V2Node, response: Response) -> None:
    """Raises NotAFile for a directory."""
    if node.dir:
        raise NotAFile(f"{place.key!r} is a directory", status=200, operation="v2 get", peer=response.peer)


def done(place: Place, request: Request, response: Response) -> Told:
    """What a write did. Raises the server's error in the caller's words."""
    try:
        return decode_told(request, response)
    except ServerError as e:
        place.told(e)
        raise


def result_of(place: Place, told: Told | KeysResponse, revision: int) -> Result:
    """What a write did, as the caller knows it. Raises DecodeError where the answer carries no node."""
    if told.node is None:
        raise DecodeError(f"the answer to a {told.action} carries no node")
    previous = None if told.prev_node is None else shown(place, told.prev_node)
    return Result(action=told.action, node=shown(place, told.node), previous=previous, revision=revision)


def shown(place: Place, node: V2Node, *, deep: bool | None = None) -> Node:
    """The node that was asked for."""
    known = place.node(node, deep=deep)
    assert known is not None
    return known


def directory_of(operation: str, key: str, reading: Reading) -> V2Node:
    """The directory that was read. Raises KeyNotFound and NotADirectory."""
    if reading.node is None:
        raise error_in(KeyNotFound, f"{key!r} does not exist", operation, reading) from reading.missing
    if not reading.node.dir:
        raise error_in(NotADirectory, f"{key!r} is a key with a value", operation, reading)
    return reading.node


def error_in(kind: type[E], text: str, operation: str, reading: Reading) -> E:
    """An error that no server told, but what was read."""
    # Found in a good answer, which has no code of its own.
    return kind(text, status=reading.response.status, peer=reading.response.peer, operation=f"v2 {operation}")
