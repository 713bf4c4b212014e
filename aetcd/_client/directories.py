"""The client's calls on directories."""

from __future__ import annotations

from typing import Any, Literal, overload

from aetcd._client.arguments import check_directory, check_flag, check_key, check_ttl
from aetcd._client.calls import Calls, Limit
from aetcd.etcd._values import Node, Result, check_type

__all__ = ["Directories"]


class Directories(Calls):
    """Directories: those of v2, or prefixes that end in `/`."""

    @overload
    async def ls(
        self,
        key: str = "",
        *,
        type: Any = None,
        full: Literal[False] = False,
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> list[Node]: ...
    @overload
    async def ls(
        self,
        key: str = "",
        *,
        type: Any = None,
        full: Literal[True],
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> Result: ...
    async def ls(
        self,
        key: str = "",
        *,
        type: Any = None,
        full: bool = False,
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> list[Node] | Result:
        """What is right under a key: keys, and directories (v3: prefixes that end in `/`).

        Raises KeyNotFound, and NotADirectory for a key with a value. The root, the empty key, is always there.
        """
        check_directory(key)
        check_type(type)
        consistent = self._reads(consistent)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = (await space.ls(key, consistent=consistent, timeout=limit)).as_type(type)
        return result if full else list(result.node.nodes or ())

    @overload
    async def tree(
        self,
        key: str = "",
        *,
        type: Any = None,
        full: Literal[False] = False,
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> Node: ...
    @overload
    async def tree(
        self,
        key: str = "",
        *,
        type: Any = None,
        full: Literal[True],
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> Result: ...
    async def tree(
        self,
        key: str = "",
        *,
        type: Any = None,
        full: bool = False,
        consistent: bool | None = None,
        timeout: Limit = None,
    ) -> Node | Result:
        """A directory with all that is under it, at one revision. Raises as `ls`."""
        check_directory(key)
        check_type(type)
        consistent = self._reads(consistent)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = (await space.tree(key, consistent=consistent, timeout=limit)).as_type(type)
        return result if full else result.node

    @overload
    async def mkdir(
        self, key: str, *, ttl: int | None = None, full: Literal[False] = False, timeout: Limit = None
    ) -> None: ...
    @overload
    async def mkdir(
        self, key: str, *, ttl: int | None = None, full: Literal[True], timeout: Limit = None
    ) -> Result: ...
    async def mkdir(
        self, key: str, *, ttl: int | None = None, full: bool = False, timeout: Limit = None
    ) -> Result | None:
        """Make a directory (v2). Raises KeyExists, and Unsupported on v3, which has none."""
        check_key(key)
        check_ttl(ttl)
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.mkdir(key, ttl=ttl, timeout=limit)
        return result if full else None

    @overload
    async def rmdir(
        self, key: str, *, recursive: bool = False, full: Literal[False] = False, timeout: Limit = None
    ) -> None: ...
    @overload
    async def rmdir(
        self, key: str, *, recursive: bool = False, full: Literal[True], timeout: Limit = None
    ) -> Result: ...
    async def rmdir(
        self, key: str, *, recursive: bool = False, full: bool = False, timeout: Limit = None
    ) -> Result | None:
        """Delete a directory.

        recursive: With all that is under it. On v3 a directory is never empty, so it takes `recursive=True`.

        Raises KeyNotFound, NotADirectory, DirectoryNotEmpty, OutcomeUnknown.
        """
        check_key(key)
        check_flag(recursive, "recursive")
        space, limit = self._ready(timeout) or await self._start(timeout)
        result = await space.rmdir(key, recursive=recursive, timeout=limit)
        return result if full else None
