"""Directories on etcd v3, which has none: prefixes that end in `/`, and nodes that look like them."""

from __future__ import annotations

from collections.abc import Sequence

from aetcd.etcd._values import Node

__all__ = ["directory", "flat", "grow"]


def directory(key: str) -> str:
    """The prefix of what is under a key."""
    return key if not key or key.endswith("/") else key + "/"


def _child(base: str, name: str) -> str:
    """A directory right under another. One without a name keeps its slash, or it would be the one above it."""
    return base + (name or "/")


def flat(key: str, under: Sequence[Node]) -> Node:
    """A directory with the keys right under it, and a directory for each prefix there."""
    children: dict[str, Node] = {}
    base = directory(key)
    for node in under:
        name, slash, _ = node.key.removeprefix(base).partition("/")
        if slash:
            children.setdefault(base + name + "/", Node(key=_child(base, name), is_directory=True))
        else:
            children[base + name] = node
    return Node(key=key, is_directory=True, nodes=tuple(children.values()))


def grow(key: str, base: str, nodes: Sequence[Node]) -> Node:
    """A directory and what is under it, of nodes in order of their keys."""
    children: list[Node] = []
    inner: dict[str, list[Node]] = {}
    for node in nodes:
        name, slash, _ = node.key.removeprefix(base).partition("/")
        if slash:
            inner.setdefault(name, []).append(node)
        else:
            children.append(node)
    children += [grow(_child(base, name), f"{base}{name}/", under) for name, under in inner.items()]
    return Node(key=key, is_directory=True, nodes=tuple(sorted(children, key=lambda node: node.key)))
