"""Runs the rows: every contestant in turn, in rounds, in one run."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.arena import Arena
from benchmarks.contestants import Contestant, Failed
from benchmarks.results import Results
from benchmarks.rows import GROWTH, Amount, Row

__all__ = ["grow", "measure"]


async def measure(row: Row, arena: Arena, field: Sequence[Contestant], amount: Amount, results: Results) -> None:
    """One row, by those who take part in it.

    Who goes first changes with each round: a machine that slows down or warms up would favour somebody. Who failed once
    is not tried again in this row, and its place tells why.
    """
    field = [one for one in field if (row.variants or not one.variant) and (row.floors or one.kind != "floor")]
    found: dict[str, list[dict[str, float]] | str] = {one.name: [] for one in field}
    results.rows[row.name], results.figures[row.name] = found, row.figures
    results.short[row.name] = row.figures[: row.short]
    rounds = min(amount.rounds * row.times, row.rounds)
    for turn in range(-row.warm, rounds):
        for one in (*field[turn % len(field) :], *field[: turn % len(field)]):
            if isinstance(so_far := found[one.name], str):
                continue
            try:
                figures = await _once(row, arena, one)
            except Failed as e:
                found[one.name] = str(e)
                continue
            if turn >= 0:
                so_far.append(figures)
    versions = results.about.setdefault("versions", {})
    versions |= {one.name: one.told.get("version", "did not start") for one in field}
    print(f"{time.strftime('%H:%M:%S')} {row.name}", file=sys.stderr)


async def _once(row: Row, arena: Arena, one: Contestant, urls: Sequence[str] | None = None) -> dict[str, float]:
    if row.fresh:
        await one.close()
    began = time.perf_counter()
    try:
        await one.connect(urls or arena.urls)
        if row.case == "import":
            return {"operations": 1, **one.told["import"]}
        if row.case == "start":
            given: dict[str, Any] = {"operation": "get", "callers": 1, "count": 1, "seconds": 0}
            await one.run("keys", given, limit=row.limit, outside=None)
            return {"operations": 1, "wall": time.perf_counter() - began}
        outside = partial(getattr(arena, row.outside), one.protocol) if row.outside else None
        before = arena.cpu()
        figures = await one.run(row.case, row.given, limit=row.limit, outside=outside)
        return {**figures, "server": arena.cpu() - before}
    finally:
        if row.fresh:
            await one.close()
        if row.cluster:
            await arena.mend()


async def grow(arena: Arena, one: Contestant, amount: Amount, results: Results) -> None:
    """The lines that should be straight."""
    for growth in GROWTH:
        line = results.growth[growth.name] = {size: [] for size in growth.sizes}
        if growth.name == "keys":
            for size in growth.sizes:
                await arena.keep([f"{growth.row(size).given['folder']}/{number}" for number in range(size)])
        for turn in range(-1, amount.rounds):
            for size in growth.sizes:
                row = growth.row(size)
                async with arena.proxies(size if growth.name == "peers" else 0) as urls:
                    figures = await _once(row, arena, one, urls or None)
                if turn >= 0:
                    units = size * figures["operations"] if growth.name == "keys" else figures["operations"]
                    line[size].append(figures["cpu"] / units * 1e6)
        print(f"{time.strftime('%H:%M:%S')} growth with {growth.name}", file=sys.stderr)
    await one.close()
