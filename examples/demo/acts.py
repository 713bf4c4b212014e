"""What one process does with one client: keys, compare-and-swap, a watch, a lock."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import aetcd
from examples.demo.promises import Promise, say


@dataclass
class Database:
    """A value with a type of its own: stored as JSON."""

    host: str
    port: int


async def keys(client: aetcd.Client) -> list[Promise]:
    """Write and read values, and let one of two keys run out."""
    written = {"message": "Hello World", "picture": b"\x89PNG\x00", "config/db": Database("db.example", 5432)}
    as_written = 0
    for key, value in written.items():
        await client.set(key, value)
        found = await client.get(key, type=type(value))
        say(f"set and get {key}", repr(found))
        as_written += found == value
    say("get of a key that is not there", repr(await client.get("nothing")))

    began = time.monotonic()
    await client.set("visitors/1", "here", ttl=2)
    await client.set("visitors/2", "here", ttl=2)
    say("set visitors/1 and visitors/2, with a TTL of 2 s")
    await client.refresh("visitors/2", ttl=60)
    say("refresh visitors/2, to 60 s", f"{await client.ttl('visitors/2')} whole seconds are left")
    change = await client.wait("visitors/1", timeout=10)
    lived = time.monotonic() - began
    left = [node.key for node in await client.ls("visitors")]
    say(f"wait for visitors/1: {change.kind}", f"after {lived:.1f} s, and left is {', '.join(left)}")
    return [
        Promise("a value is read as it was written", f"{as_written} of {len(written)}", as_written == len(written)),
        Promise("a key ends with its TTL of 2 s", f"after {lived:.1f} s", change.kind == "delete" and lived >= 2),
        Promise("a refreshed key outlives its first TTL", ", ".join(left), left == ["visitors/2"]),
    ]


async def swaps(client: aetcd.Client) -> list[Promise]:
    """Two that have read the same state want to change it: one wins, and the other is told."""
    stock = await client.set("stock/apples", 10, full=True)
    say("set stock/apples", f"10, at revision {stock.revision}")
    outcomes = []
    for buyer, wanted in (("Ann", 7), ("Bob", 4)):
        try:
            await client.compare_and_swap("stock/apples", 10 - wanted, previous_revision=stock.revision)
        except aetcd.CompareFailed as e:
            say(f"{buyer} takes {wanted} of 10: CompareFailed", f"only {e.current.value} are left, it says")
            outcomes.append("lost")
        else:
            say(f"{buyer} takes {wanted} of 10: swapped")
            outcomes.append("won")
    left = await client.get("stock/apples", type=int)
    kept = outcomes == ["won", "lost"] and left == 3
    return [Promise("of two swaps from one state one wins", f"{', '.join(outcomes)}; {left} left", kept)]


async def watch(client: aetcd.Client) -> list[Promise]:
    """One task changes keys, another is told of each change."""
    made: list[tuple[str, str, int]] = []
    seen: list[tuple[str, str, int]] = []

    async def change_keys() -> None:
        for number in range(30):
            key = f"flags/{number % 10}"
            made.append(("put", key, (await client.set(key, number, full=True)).revision))
            await client.set("flags-of-others", number)
        gone = await client.delete("flags", recursive=True, full=True)
        made.extend(("delete", f"flags/{number}", gone.revision) for number in range(10))
        made.append(("put", "flags/end", (await client.set("flags/end", "", full=True)).revision))

    async with client.watch("flags", recursive=True) as changes, asyncio.TaskGroup() as group:
        group.create_task(change_keys())
        async for change in changes:
            assert isinstance(change, aetcd.Change)
            seen.append((change.kind, change.key, change.revision))
            if len(seen) in {1, 30, 31, 40}:
                say(f"change {len(seen)}: {change.kind} {change.key}", f"at revision {change.revision}")
            if change.key == "flags/end":
                break
    in_place = sum(one == other for one, other in zip(made, seen, strict=False))
    return [Promise("a watch gives every change once and in order", f"{in_place} of {len(made)}", seen == made)]


async def lock(client: aetcd.Client) -> list[Promise]:
    """Ten tasks add to one number, by a read and a write that only the lock keeps together."""
    tokens: list[int] = []
    inside = most_inside = 0
    await client.set("jobs/done", 0)

    async def work(name: str) -> None:
        nonlocal inside, most_inside
        async with client.lock("jobs/lock", ttl=10) as lock:
            inside += 1
            most_inside = max(most_inside, inside)
            tokens.append(lock.fencing_token)
            done = await client.get("jobs/done", type=int)
            assert done is not None
            await client.set("jobs/done", done + 1)
            say(f"{name} has the lock", f"fencing token {lock.fencing_token}, job {done + 1}")
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(work(f"task {number}"))
    done = await client.get("jobs/done", type=int)
    growing = all(one < later for one, later in itertools.pairwise(tokens))
    return [
        Promise("a lock has one holder at a time", f"{most_inside} at most", most_inside == 1),
        Promise("fencing tokens grow from holder to holder", f"{tokens[0]} < ... < {tokens[-1]}", growing),
        Promise("what the lock guards loses no update", f"{done} of 10", done == len(tokens) == 10),
    ]
