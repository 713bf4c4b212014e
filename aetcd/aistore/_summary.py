"""What buckets hold: counted in the background, and asked for until it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aetcd.aistore._arguments import check_flag
from aetcd.aistore._bucket_shapes import read_summaries
from aetcd.aistore._codec import action, request
from aetcd.aistore._errors import BucketNotFound
from aetcd.errors import RequestTimeout

if TYPE_CHECKING:
    from aetcd.aistore._link import Link, TimeoutLike
    from aetcd.aistore._models import BucketSummary

__all__ = ["read_summary"]


async def read_summary(
    link: Link, path: str, query: Iterable[tuple[str, str]], *, fast: bool, cached: bool, timeout: TimeoutLike
) -> list[BucketSummary]:
    """Summaries of the bucket or the buckets that stand there.

    The first answer is 202 with an ID, and the question is asked again with it until the answer is 200. It is the only
    operation of 3.3 that works so. What today's server wants and answers is of its source, and was not recorded.
    """
    dialect = await link.dialect(timeout)
    budget = link.budget(timeout)
    known, pause = "", 0.05
    value: dict[str, Any] = {"uuid": "", "cached": check_flag(cached, "cached")}
    value |= {"prefix": "", "present": True} if dialect.in_query else {"fast": check_flag(fast, "fast")}
    while True:
        value["uuid"] = known
        body = action(dialect.action("summary"), value=value)
        asked = request("summary", dialect.summary, path, query=query, body=body)
        answer = await link.ask(asked, budget, missing=BucketNotFound)
        if answer.status == 200:
            return read_summaries(answer.body)
        known = answer.body.decode("utf-8", "replace").strip().strip('"') or known
        if budget.left().total <= pause:
            raise RequestTimeout(f"the summary {known} was not ready in time", operation="aistore summary")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)
