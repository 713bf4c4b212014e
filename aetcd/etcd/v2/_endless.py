"""The endless watch of the native API."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from types import TracebackType
from typing import Self

from aetcd.errors import PASSING
from aetcd.etcd.v2._line import check_cluster
from aetcd.etcd.v2._models import KeysResponse
from aetcd.etcd.v2._shared import Lines
from aetcd.etcd.v2._waits import store_index

__all__ = ["V2Watch"]

LONGEST_WAIT = 5.0  # seconds between two attempts to resume


class V2Watch:
    """Changes of a key as the server tells them, each once and in order, as an async iterator without an end.

    Enter it with `async with`; it stands when the block is entered. It goes on by itself after a cut connection and a
    silent or dead peer, and while no peer can be reached it keeps trying, at most 5 s apart. Nothing is read ahead of
    who iterates: one that is more than 1,000 changes of the whole store behind may find that they are gone.

    Iteration raises HistoryLost where that is so, or where another or a restored cluster answers, PermissionDenied, and
    ClientClosed. A cancel of a waiting iteration loses no change.
    """

    def __init__(self, lines: Lines, key: str, *, recursive: bool, wait_index: int | None) -> None:
        self._lines = lines
        self._follower = lines.follow(key, recursive=recursive, cursor=wait_index or 0, check=self._check)
        self._from_now = wait_index is None
        self._cluster_id = ""
        self._given: deque[KeysResponse] = deque()

    async def __aenter__(self) -> Self:
        follower = self._follower
        if self._from_now:
            follower.reached, cluster_id = await store_index(self._lines.channel, follower.path)
            follower.cursor = follower.reached + 1
            self._check(cluster_id)
        try:
            await follower.stand()
        except BaseException:
            await follower.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._follower.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KeysResponse:
        failures = 0
        while not self._given:
            try:
                self._given.extend(await self._follower.next())
                failures = 0
            except PASSING:
                await self._follower.aclose()
                await asyncio.sleep(random.uniform(0, min(LONGEST_WAIT, 0.05 * 2 ** min(failures, 10))))
                failures += 1
        return self._given.popleft()

    def _check(self, cluster_id: str) -> None:
        check_cluster(self._cluster_id, cluster_id)
        self._cluster_id = cluster_id or self._cluster_id
