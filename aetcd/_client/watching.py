"""The client's calls that watch."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from typing import Any

from aetcd._client.arguments import check_directory, check_flag, check_key, check_revision
from aetcd._client.calls import Limit
from aetcd._transport.timeouts import Timeout
from aetcd.errors import RequestTimeout
from aetcd.etcd._values import Change, Result, check_type
from aetcd.etcd._watch import OnHistoryLost, Watch

__all__ = ["Watching"]


class Watching(ABC):
    """Following keys as they change."""

    @abstractmethod
    def _watch(self, key: str, *, recursive: bool = False, type: Any = None, **settings: Any) -> Watch:
        """A watch of arguments that were checked."""

    def watch(
        self,
        key: str,
        *,
        recursive: bool = False,
        since: int | None = None,
        initial: bool = False,
        type: Any = None,
        on_history_lost: OnHistoryLost = "raise",
    ) -> Watch:
        """Changes of a key, as an async iterator inside `async with`: every one once and in order, or an error.

        recursive: Also of all under `key/`; never of `key2` or `key-x`.
        since: The first revision wanted (inclusive); by default what comes after the block is entered.
        initial: First what exists, then a `Synced` marker, then changes, with no gap between.
        type: What values are read as.
        on_history_lost: `raise` HistoryLost when the server no longer has the events after the cursor, or `resync`:
            read the present state, give the difference and a `Resynced` marker, and go on. It needs memory for the
            revision of each key that is watched, and cannot tell the deletion of a key that was never seen.

        Entering it raises what `get` raises; it is limited by the client's timeout.
        """
        check_directory(key) if check_flag(recursive, "recursive") else check_key(key)
        check_revision(since, "since")
        check_flag(initial, "initial")
        check_type(type)
        if since is not None and initial:
            raise ValueError("since and initial: what exists now cannot stand before changes of the past")
        if on_history_lost not in {"raise", "resync"}:
            raise ValueError(f'on_history_lost must be "raise" or "resync", not {on_history_lost!r}')
        return self._watch(
            key, recursive=recursive, since=since, initial=initial, type=type, on_history_lost=on_history_lost
        )

    async def wait(
        self,
        key: str,
        *,
        recursive: bool = False,
        since: int | None = None,
        type: Any = None,
        full: bool = False,
        timeout: Limit = None,
    ) -> Any:
        """The next change of a key: a `Change`, or with `full=True` a `Result`.

        timeout: Seconds to wait for it; by default for ever. Raises RequestTimeout, and else as `watch`.
        """
        seconds = math.inf if timeout is None else Timeout.of(timeout).total
        try:
            async with (
                asyncio.timeout(None if seconds == math.inf else seconds),
                self.watch(key, recursive=recursive, since=since, type=type) as changes,
            ):
                change = await anext(aiter(changes))
        except TimeoutError as e:
            if isinstance(e, RequestTimeout):
                raise
            raise RequestTimeout(f"no change of {key!r} within {seconds:g} s", operation="wait") from e
        assert isinstance(change, Change)
        if not full:
            return change
        return Result(action=change.kind, node=change.node, previous=change.previous, revision=change.revision)
