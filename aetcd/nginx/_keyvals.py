"""Key-value zones, http and stream: /{http,stream}/keyvals/ and /keyvals/{zone}."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from attrs import frozen

from aetcd.errors import DecodeError
from aetcd.nginx._codec import check_name, check_since
from aetcd.nginx._errors import BodyTooLarge, KeyvalFormatError, KeyvalKeyExists, KeyvalKeyNotFound
from aetcd.nginx._gathering import each

if TYPE_CHECKING:
    from aetcd.nginx._caller import Caller, Limit

__all__ = ["KeyvalZone", "KeyvalZones", "Synced"]

T = TypeVar("T")

Side = Literal["http", "stream"]


@frozen(kw_only=True)
class Synced:
    """What `sync` did to a zone, or in a dry run would do: keys in the order of the alphabet.

    unchanged: How many keys were right already.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    dry_run: bool = False

    def __bool__(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.added or self.changed or self.removed)


class KeyvalZones:
    """All key-value zones of one side: /http/keyvals/ or /stream/keyvals/, which came with version 2."""

    def __init__(self, caller: Caller, side: Side) -> None:
        self._caller = caller
        self._path = (side, "keyvals")

    async def list(self, *, timeout: Limit = None) -> dict[str, dict[str, str]]:
        """All pairs of all zones, by the zones' names. (GET /{http,stream}/keyvals/.)"""
        value = await self._caller.ask(self._caller.get((*self._path, "")), timeout)
        if not isinstance(value, dict):
            raise DecodeError(f"the answer does not read as key-value zones: {value!r:.80}")
        return {name: _pairs(pairs) for name, pairs in value.items()}

    async def names(self, *, timeout: Limit = None) -> builtins.list[str]:
        """The zones' names alone. (GET /{http,stream}/keyvals/ with an empty `fields=`.)"""
        return await self._caller.names(self._path, timeout)


class KeyvalZone:
    """One key-value zone, as an asynchronous mapping of text to text.

    It is /http/keyvals/{httpKeyvalZoneName} or /stream/keyvals/{streamKeyvalZoneName}.

    Each call may raise KeyvalNotFound, where there is no such zone, and writes MethodDisabled. A write whose answer was
    lost raises OutcomeUnknown and is not sent again.
    """

    def __init__(self, caller: Caller, side: Side, name: str) -> None:
        self.name = check_name(name)
        self._caller = caller
        self._path = (side, "keyvals", name)

    def __repr__(self) -> str:
        return f"<KeyvalZone {self._path[0]} {self.name!r} at {self._caller.url}>"

    # Reading

    async def all(self, *, timeout: Limit = None) -> dict[str, str]:
        """All pairs. (GET /{http,stream}/keyvals/{zone}.)"""
        return _pairs(await self._caller.ask(self._caller.get(self._path), timeout))

    @overload
    async def get(self, key: str, default: None = None, *, timeout: Limit = None) -> str | None: ...
    @overload
    async def get(self, key: str, default: T, *, timeout: Limit = None) -> str | T: ...
    async def get(self, key: str, default: Any = None, *, timeout: Limit = None) -> Any:
        """The value of one key, or `default`. (GET /{http,stream}/keyvals/{zone}?key=.)"""
        checked = _text(key, "key")
        try:
            pairs = _pairs(await self._caller.ask(self._caller.get(self._path, key=checked), timeout))
        except KeyvalKeyNotFound:
            return default
        return pairs.get(key, default)

    async def contains(self, key: str, *, timeout: Limit = None) -> bool:
        """Whether there is such a key."""
        return await self.get(key, timeout=timeout) is not None

    async def __aiter__(self) -> AsyncIterator[str]:
        """The keys, as one request finds them."""
        for key in await self.all():
            yield key

    # Writing

    async def create(self, key: str, value: str, *, expire: float | None = None, timeout: Limit = None) -> None:
        """Put in a key that is not there. (POST /{http,stream}/keyvals/{zone}.) Raises KeyvalKeyExists.

        expire: Seconds, to the millisecond, after which the server takes it out, instead of the zone's own `timeout=`,
            which there must be (else KeyvalFormatError). From version 5 on.
        """
        await self._send("POST", {_text(key, "key"): _text(value, "value")}, expire, timeout)

    async def modify(self, key: str, value: str, *, expire: float | None = None, timeout: Limit = None) -> None:
        """Give a key that is there another value. (PATCH /{http,stream}/keyvals/{zone}.) Raises KeyvalKeyNotFound.

        expire: As in `create`.
        """
        await self._send("PATCH", {_text(key, "key"): _text(value, "value")}, expire, timeout)

    async def set(self, key: str, value: str, *, expire: float | None = None, timeout: Limit = None) -> None:
        """Give a key a value, there or not: `modify`, and `create` where that finds no key.

        expire: As in `create`.
        """
        try:
            await self.modify(key, value, expire=expire, timeout=timeout)
        except KeyvalKeyNotFound:
            try:
                await self.create(key, value, expire=expire, timeout=timeout)
            except KeyvalKeyExists:
                # Somebody else was faster: the later writer wins, as in any `set`.
                await self.modify(key, value, expire=expire, timeout=timeout)

    async def delete(self, key: str, *, timeout: Limit = None) -> None:
        """Take a key out. (PATCH /{http,stream}/keyvals/{zone} with null.) Raises KeyvalKeyNotFound."""
        await self._send("PATCH", {_text(key, "key"): None}, None, timeout)

    async def clear(self, *, timeout: Limit = None) -> None:
        """Take out all keys. (DELETE /{http,stream}/keyvals/{zone}.)"""
        await self._caller.write("DELETE", self._path, timeout=timeout)

    async def fill(self, pairs: Mapping[str, str], *, timeout: Limit = None) -> None:
        """Fill an empty zone by one request. (POST /{http,stream}/keyvals/{zone}.)

        Raises KeyvalFormatError or KeyvalKeyExists where the zone is not empty, and BodyTooLarge above nginx's
        client_max_body_size; nothing is put in then.
        """
        checked = _checked(pairs, "pairs")
        if checked:
            await self._send("POST", checked, None, timeout)

    async def sync(self, wanted: Mapping[str, str], *, dry_run: bool = False, timeout: Limit = None) -> Synced:
        """Make the zone hold these pairs and no others, by the fewest requests; says what it did.

        One request reads the zone. An empty one is filled by one, one that shall be empty is cleared by one, and else
        each pair that differs takes one. It may be run again at any time; of several that write the same zone, the last
        one wins, key by key. `timeout` limits each request.

        dry_run: Only says what would be done.

        Raises what its requests raise. What was done until then stays done.
        """
        checked = _checked(wanted, "wanted")
        present = await self.all(timeout=timeout)
        synced = Synced(
            added=tuple(sorted(checked.keys() - present.keys())),
            changed=tuple(sorted(key for key in checked.keys() & present.keys() if checked[key] != present[key])),
            removed=tuple(sorted(present.keys() - checked.keys())),
            unchanged=sum(present.get(key) == value for key, value in checked.items()),
            dry_run=dry_run,
        )
        if not dry_run:
            await self._carry_out(synced, checked, empty=not present, timeout=timeout)
        return synced

    async def _carry_out(self, synced: Synced, wanted: Mapping[str, str], *, empty: bool, timeout: Limit) -> None:
        if synced.removed and not wanted:
            await self.clear(timeout=timeout)
            return
        if empty and len(synced.added) > 1:
            try:
                await self.fill(wanted, timeout=timeout)
            except (KeyvalFormatError, KeyvalKeyExists, BodyTooLarge):
                pass  # it is not empty any more, or this is too much at once: one by one, then
            else:
                return

        async def write(key: str) -> None:
            if key in wanted:
                await self.set(key, wanted[key], timeout=timeout)
            else:
                await self._delete_if_there(key, timeout)

        async def create(key: str) -> None:
            try:
                await self.create(key, wanted[key], timeout=timeout)
            except KeyvalKeyExists:
                await self.set(key, wanted[key], timeout=timeout)

        # What goes goes last, so that a zone is never emptier than it was or will be, and full only as long as needed.
        await each(synced.added, create)
        await each((*synced.changed, *synced.removed), write)

    async def _delete_if_there(self, key: str, timeout: Limit) -> None:
        with suppress(KeyvalKeyNotFound):
            await self.delete(key, timeout=timeout)

    async def _send(self, method: str, pairs: Mapping[str, str | None], expire: float | None, timeout: Limit) -> None:
        milliseconds = _milliseconds(expire)

        def document(version: int) -> Mapping[str, Any]:
            if milliseconds is None:
                return pairs
            check_since("expire", version)
            return {key: {"value": value, "expire": milliseconds} for key, value in pairs.items()}

        await self._caller.write(method, self._path, document, timeout)


def _pairs(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(member, str) for member in value.values()):
        raise DecodeError(f"the answer does not read as pairs of text: {value!r:.80}")
    return value


def _text(text: str, argument: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be text, not {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"{argument} is not text that UTF-8 can hold: {text!r}") from e
    return text


def _checked(pairs: Mapping[str, str], argument: str) -> dict[str, str]:
    if not isinstance(pairs, Mapping):
        raise TypeError(f"{argument} must be a mapping, not {type(pairs).__name__}")
    return {_text(key, argument): _text(value, f"{argument}[{key!r}]") for key, value in pairs.items()}


def _milliseconds(expire: float | None) -> int | None:
    if expire is None:
        return None
    if isinstance(expire, bool) or not isinstance(expire, int | float):
        raise TypeError(f"expire must be a number of seconds, not {expire!r}")
    if not 0.001 <= expire < 2**31:
        raise ValueError(f"expire must be at least a millisecond, in seconds, not {expire!r}")
    return round(expire * 1000)
