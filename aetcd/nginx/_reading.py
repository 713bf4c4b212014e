"""From the API's JSON to the classes that stand for it, members left out and members unknown included."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import attrs
import msgspec

from aetcd.errors import DecodeError

__all__ = ["NOT_ASKED", "Model", "read", "read_list", "read_map", "wire"]

M = TypeVar("M", bound="Model")

Reader = Callable[[Any], Any]


class _NotAsked:
    """The class of `NOT_ASKED`, its one value."""

    def __repr__(self) -> str:
        return "<not asked for>"

    def __bool__(self) -> bool:
        # Taken for False it would pass for a zero.
        raise TypeError("this member was left out by fields=, so it is neither true nor false")

    def __reduce__(self) -> str:
        return "NOT_ASKED"


NOT_ASKED: Final[Any] = _NotAsked()
"""What a member is that `fields=` left out: not zero, not None, and of no use in arithmetic or a condition."""


def wire(name: str | None = None, reader: Reader | None = None, default: Any = NOT_ASKED) -> Any:
    """A member that has another name on the wire, or is to be read in a way of its own."""
    return attrs.field(default=default, metadata={"wire": name, "reader": reader})


@attrs.frozen(kw_only=True)
class Model:
    """What all objects of the API have in common.

    A member is `NOT_ASKED` where `fields=` left it out, and None where the server did, since it does not apply, is not
    configured, or came with a later version.

    extra: Members that this package does not know, as they came.
    """

    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


def read(kind: type[M], value: Any, fields: Collection[str] | None = None) -> M:
    """One object. `fields` are the members that were asked for; None is all of them. Raises DecodeError."""
    if not isinstance(value, dict):
        raise DecodeError(f"the answer does not read as {kind.__name__}: {value!r:.80}")
    known = _members(kind)  # type: ignore[arg-type]  # a class is hashable
    members: dict[str, Any] = {}
    for name, (attribute, reader) in known.items():
        if name in value:
            try:
                members[attribute] = None if value[name] is None else reader(value[name])
            except (ValueError, TypeError, OverflowError) as e:  # msgspec.ValidationError is a ValueError
                raise DecodeError(f"the answer does not read as {kind.__name__}: {name}: {e}") from e
        else:
            members[attribute] = NOT_ASKED if fields is not None and name not in fields else None
    extra = {name: member for name, member in value.items() if name not in known}
    return kind(extra=extra, **members)


def read_map(kind: type[M], value: Any, fields: Collection[str] | None = None) -> dict[str, M]:
    """A collection by name. Raises DecodeError."""
    if not isinstance(value, dict):
        raise DecodeError(f"the answer does not read as a collection of {kind.__name__}: {value!r:.80}")
    return {name: read(kind, member, fields) for name, member in value.items()}


def read_list(kind: type[M], value: Any, fields: Collection[str] | None = None) -> list[M]:
    """An array of objects. Raises DecodeError."""
    if not isinstance(value, list):
        raise DecodeError(f"the answer does not read as an array of {kind.__name__}: {value!r:.80}")
    return [read(kind, member, fields) for member in value]


@cache
def _members(kind: Any) -> dict[str, tuple[str, Reader]]:
    """By the name on the wire: the attribute, and what reads its value."""
    hints = get_type_hints(kind)
    return {
        field.metadata.get("wire") or field.name: (
            field.name,
            field.metadata.get("reader") or _reader(hints[field.name]),
        )
        for field in attrs.fields(kind)
        if field.name != "extra"
    }


def _reader(hint: Any) -> Reader:
    alternatives = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) is tuple:
        model = get_args(hint)[0]
        return lambda value: tuple(read_list(model, value))
    if get_origin(hint) is Mapping:
        member = get_args(hint)[1]
        if isinstance(member, type) and issubclass(member, Model):
            return lambda value: read_map(member, value)
        return lambda value: msgspec.convert(value, dict[str, member], strict=False)  # type: ignore[valid-type]
    if len(alternatives) == 1:
        return _reader(alternatives[0])
    if isinstance(hint, type) and issubclass(hint, Model):
        return lambda value: read(hint, value)
    if hint is datetime:
        return _moment
    return lambda value: msgspec.convert(value, hint, strict=False)


def _moment(value: Any) -> datetime:
    """Times are ISO 8601 text. Early text of version 3 said milliseconds since the epoch of some of them."""
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return datetime.fromtimestamp(value / 1000, UTC)
