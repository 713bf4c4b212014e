"""The client's calls on keys."""

from __future__ import annotations

from typing import Any, Literal, TypeVar, overload

from aetcd._client.arguments import check_comparison, check_flag, check_key, check_ttl
from aetcd._client.calls import Calls, Limit
from aetcd.errors import KeyNotFound
from aetcd.etcd._session import Session
from aetcd.etcd._values import Result, check_type, encode_value, read_value

__all__ = ["Keys"]

T = TypeVar("T")


class Keys(Calls):
    """Reading and writing keys."""

    # Reading

    @overload
    async def get(
        self,
        key: str,
        *,
        type: type[T],
        full: Literal[False] = False,
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> T | None: ...
    @overload
    async def get(
        self,
        key: str,
        *,
        type: Any = None,
        full: Literal[True],
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> Result | None: ...
    @overload
    async def get(
        self,
        key: str,
        *,
        type: None = None,
        full: Literal[False] = False,
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> str | None: ...
    async def get(
        self, key: str, *, type: Any = None, full: bool = False, consistent: bool | None = None, timeout: Limit = None
    ) -> Any:
        """The value, or None where there is no such key.

        Raises DecodeError, and NotAFile for a directory (v2).
        """
        check_key(key)
        if type is not None:
            check_type(type)
        consistent = self._consistent if consistent is None else self._reads(consistent)
        space, limit = self._ready(timeout) or await self._start(timeout)
        if full:
            result = await space.get(key, consistent=consistent, timeout=limit)
            return None if result is None else result.as_type(type)
        raw = await space.value(key, consistent=consistent, timeout=limit)
        return None if raw is None else read_value(raw, type, key)

    @overload
    async def exists(
        self, key: str, *, full: Literal[False] = False, consistent: bool | None = None, timeout: Limit = None
    ) -> bool: ...
    @overload
    async def exists(
        self, key: str, *, full: Literal[True], consistent: bool | None = None, timeout: Limit = None
    ) -> Result | None: ...
    async def exists(
        self, key: str, *, full: bool = False, consistent: bool | None = None, timeout: Limit = None
    ) -> bool | Result | None:
        """Whether there is such a key, a directory of v2 included."""
        check_key(key)
        consistent = self._reads(consistent)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.find(key, consistent=consistent, full=full, timeout=limit)
        return result if full else result is not None

    @overload
    async def ttl(
        self, key: str, *, full: Literal[False] = False, consistent: bool | None = None, timeout: Limit = None
    ) -> int | None: ...
    @overload
    async def ttl(
        self, key: str, *, full: Literal[True], consistent: bool | None = None, timeout: Limit = None
    ) -> Result: ...
    async def ttl(
        self, key: str, *, full: bool = False, consistent: bool | None = None, timeout: Limit = None
    ) -> int | Result | None:
        """Seconds left until the key expires, or None where it does not. Raises KeyNotFound.

        v3 rounds down: right after `set(ttl=2)` it is 1.
        """
        check_key(key)
        consistent = self._reads(consistent)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.find(key, consistent=consistent, full=True, timeout=limit)
        if result is None:
            raise KeyNotFound(f"{key!r} does not exist", operation=f"{space.name} ttl")
        return result if full else result.node.ttl

    # Writing

    @overload
    async def set(
        self,
        key: str,
        value: object,
        *,
        ttl: int | None = None,
        session: Session | None = None,
        full: Literal[False] = False,
        timeout: Limit = None,
    ) -> None: ...
    @overload
    async def set(
        self,
        key: str,
        value: object,
        *,
        ttl: int | None = None,
        session: Session | None = None,
        full: Literal[True],
        timeout: Limit = None,
    ) -> Result: ...
    async def set(
        self,
        key: str,
        value: object,
        *,
        ttl: int | None = None,
        session: Session | None = None,
        full: bool = False,
        timeout: Limit = None,
    ) -> Result | None:
        """Write a key, whatever stands there.

        Raises SessionLost, RequestTooLarge, QuotaExceeded, OutcomeUnknown, and NotAFile for a directory (v2). On v3 a
        TTL is a lease of its own: where the write fails it is revoked, and where its fate is open it ends by itself.
        """
        check_key(key)
        check_ttl(ttl)
        _one_life(ttl, session)
        raw = encode_value(value)
        space, limit = self._ready(timeout) or await self._start(timeout)
        return await space.set(key, raw, ttl=ttl, session=session, full=full, timeout=limit)

    @overload
    async def create(
        self,
        key: str,
        value: object,
        *,
        ttl: int | None = None,
        session: Session | None = None,
        full: Literal[False] = False,
        timeout: Limit = None,
    ) -> None: ...
    @overload
    async def create(
        self,
        key: str,
        value: object,
        *,
        ttl: int | None = None,
        session: Session | None = None,
        full: Literal[True],
        timeout: Limit = None,
    ) -> Result: ...
    async def create(
        self,
        key: str,
        value: object,
        *,
        ttl: int | None = None,
        session: Session | None = None,
        full: bool = False,
        timeout: Limit = None,
    ) -> Result | None:
        """Write a key that is not there. Raises KeyExists, and else as `set`."""
        check_key(key)
        check_ttl(ttl)
        _one_life(ttl, session)
        raw = encode_value(value)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.create(key, raw, ttl=ttl, session=session, timeout=limit)
        return result if full else None

    @overload
    async def update(
        self, key: str, value: object, *, ttl: int | None = None, full: Literal[False] = False, timeout: Limit = None
    ) -> None: ...
    @overload
    async def update(
        self, key: str, value: object, *, ttl: int | None = None, full: Literal[True], timeout: Limit = None
    ) -> Result: ...
    async def update(
        self, key: str, value: object, *, ttl: int | None = None, full: bool = False, timeout: Limit = None
    ) -> Result | None:
        """Write a key that is there. Raises KeyNotFound, and else as `set`."""
        check_key(key)
        check_ttl(ttl)
        raw = encode_value(value)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.update(key, raw, ttl=ttl, full=full, timeout=limit)
        return result if full else None

    @overload
    async def compare_and_swap(
        self,
        key: str,
        value: object,
        *,
        previous_value: object = None,
        previous_revision: int | None = None,
        ttl: int | None = None,
        full: Literal[False] = False,
        timeout: Limit = None,
    ) -> None: ...
    @overload
    async def compare_and_swap(
        self,
        key: str,
        value: object,
        *,
        previous_value: object = None,
        previous_revision: int | None = None,
        ttl: int | None = None,
        full: Literal[True],
        timeout: Limit = None,
    ) -> Result: ...
    async def compare_and_swap(
        self,
        key: str,
        value: object,
        *,
        previous_value: object = None,
        previous_revision: int | None = None,
        ttl: int | None = None,
        full: bool = False,
        timeout: Limit = None,
    ) -> Result | None:
        """Write a key if it is as expected: its value, or the revision of its last write.

        previous_value: What its value must be, encoded as `value` is; the empty text is a value too.
        previous_revision: What its `modified_revision` must be; at least 1.

        Raises CompareFailed (`current` is what stands there, where the server told), KeyNotFound, and else as `set`.
        For a key that must not be there see `create`.
        """
        check_key(key)
        check_comparison(previous_value, previous_revision)
        check_ttl(ttl)
        raw = encode_value(value)
        expected = None if previous_value is None else encode_value(previous_value, "previous_value")
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.compare_and_swap(
            key,
            raw,
            previous_raw=expected,
            previous_revision=previous_revision,
            ttl=ttl,
            full=full,
            timeout=limit,
        )
        return result if full else None

    @overload
    async def delete(
        self, key: str, *, recursive: bool = False, full: Literal[False] = False, timeout: Limit = None
    ) -> None: ...
    @overload
    async def delete(
        self, key: str, *, recursive: bool = False, full: Literal[True], timeout: Limit = None
    ) -> Result: ...
    async def delete(
        self, key: str, *, recursive: bool = False, full: bool = False, timeout: Limit = None
    ) -> Result | None:
        """Delete a key.

        recursive: And all under `key/`, at one revision; never `key2` or `key-x`.

        Raises KeyNotFound, OutcomeUnknown, and NotAFile for a directory without `recursive` (v2).
        """
        check_key(key)
        check_flag(recursive, "recursive")
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.delete(key, recursive=recursive, timeout=limit)
        return result if full else None

    @overload
    async def compare_and_delete(
        self,
        key: str,
        *,
        previous_value: object = None,
        previous_revision: int | None = None,
        full: Literal[False] = False,
        timeout: Limit = None,
    ) -> None: ...
    @overload
    async def compare_and_delete(
        self,
        key: str,
        *,
        previous_value: object = None,
        previous_revision: int | None = None,
        full: Literal[True],
        timeout: Limit = None,
    ) -> Result: ...
    async def compare_and_delete(
        self,
        key: str,
        *,
        previous_value: object = None,
        previous_revision: int | None = None,
        full: bool = False,
        timeout: Limit = None,
    ) -> Result | None:
        """Delete a key if it is as expected; see `compare_and_swap`."""
        check_key(key)
        check_comparison(previous_value, previous_revision)
        expected = None if previous_value is None else encode_value(previous_value, "previous_value")
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.compare_and_delete(
            key, previous_raw=expected, previous_revision=previous_revision, timeout=limit
        )
        return result if full else None

    @overload
    async def refresh(
        self, key: str, ttl: int | Literal[False], *, full: Literal[False] = False, timeout: Limit = None
    ) -> None: ...
    @overload
    async def refresh(
        self, key: str, ttl: int | Literal[False], *, full: Literal[True], timeout: Limit = None
    ) -> Result: ...
    async def refresh(
        self, key: str, ttl: int | Literal[False], *, full: bool = False, timeout: Limit = None
    ) -> Result | None:
        """Give a key another TTL, and keep its value.

        ttl: Seconds, or False to remove the expiry.

        On v2 no watch sees it, and the creation index stays. On v3 it puts the key, as it is, under a new lease: that
        is a write, which watches see. Raises KeyNotFound, OutcomeUnknown.
        """
        check_key(key)
        if ttl is None:
            raise TypeError("ttl must be whole seconds, or False to remove the expiry, not None")
        seconds = None if ttl is False else check_ttl(ttl)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.refresh(key, ttl=seconds, full=full, timeout=limit)
        return result if full else None


def _one_life(ttl: int | None, session: Session | None) -> None:
    if ttl is not None and session is not None:
        raise ValueError("ttl and session: only one of them can end the key")
    if session is not None and not isinstance(session, Session):
        raise TypeError(f"session must be a Session, not {type(session).__name__}")
