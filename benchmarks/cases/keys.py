"""Reading and writing single keys, and many at once."""

from __future__ import annotations

from collections.abc import Awaitable

from benchmarks.contract import Contract
from benchmarks.stage import Meter, Stage, in_turns, percentile

__all__ = ["KEYS", "MANY", "VALUE", "keys", "reads"]

KEYS = [f"bench/keys/{number}" for number in range(64)]
MANY = "bench/many"
VALUE = "v" * 64


async def keys(
    client: Contract, stage: Stage, *, operation: str, callers: int, count: int | None, seconds: float
) -> dict[str, float]:
    """`get`, `put`, or `mixed`: nine gets and a put, by so many callers of one client.

    Callers that are under way together are at different keys, so that a client which joins equal reads gains nothing by
    it. Each goes on when its own operation is answered. Values have 64 characters; reads are linearizable, but for a
    client that knows no such choice.
    """

    def one(number: int) -> Awaitable[None]:
        key = KEYS[number % len(KEYS)]
        if operation == "put" or (operation == "mixed" and number % 10 == 9):
            return client.put(key, VALUE)
        return client.get(key)

    with Meter() as meter:
        took = await in_turns(callers, count, seconds, one)
    return meter.figures(len(took), p50=percentile(took, 50), p99=percentile(took, 99))


async def reads(client: Contract, stage: Stage, *, many: int, count: int, folder: str = MANY) -> dict[str, float]:
    """All keys of one prefix in one call, and made into values: the floors only receive them."""
    with Meter() as meter:
        for _ in range(count):
            if (found := await client.read(folder)) != many:
                raise RuntimeError(f"{found} keys, not {many}")
    return meter.figures(count, keys=many)
