"""Many objects at once, with one result each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from attrs import evolve

from aetcd.aistore._arguments import check_count
from aetcd.aistore._models import ManyResult
from aetcd.errors import AetcdError

if TYPE_CHECKING:
    from aetcd.aistore._link import TimeoutLike
    from aetcd.aistore._objects import Object
    from aetcd.aistore._sources import Content

__all__ = ["Results", "get_many", "put_many"]

T = TypeVar("T")

Results = list[ManyResult]


async def put_many(
    object_of: Callable[[str], Object],
    items: Mapping[str, Content] | Iterable[tuple[str, Content]] | AsyncIterable[tuple[str, Content]],
    *,
    concurrency: int,
    timeout: TimeoutLike,
) -> list[ManyResult]:
    """Write each. See `Bucket.put_many`."""

    async def put(item: tuple[str, Content]) -> ManyResult:
        name, content = item
        await object_of(name).put(content, timeout=timeout)
        return ManyResult(name=name)

    given: Any = items.items() if isinstance(items, Mapping) else items
    return await _each(given, put, lambda item: item[0], concurrency, "items")


async def get_many(
    object_of: Callable[[str], Object],
    names: Iterable[str] | AsyncIterable[str],
    *,
    to: str | os.PathLike[str] | None,
    concurrency: int,
    timeout: TimeoutLike,
) -> list[ManyResult]:
    """Read each. See `Bucket.get_many`."""
    if isinstance(names, str | bytes):
        raise TypeError(f"names must be a list of names, not {type(names).__name__}")
    directory = None if to is None else Path(to)

    async def get(name: str) -> ManyResult:
        if directory is None:
            return ManyResult(name=name, content=await object_of(name).read(timeout=timeout))
        found = object_of(name)
        # A name holds no `..` and no empty segment (see check_object), so that it stays below the directory.
        path = directory / name
        await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
        await found.save_to(path, timeout=timeout)
        return ManyResult(name=name)

    return await _each(names, get, lambda name: name, concurrency, "names")


async def _each(
    items: Iterable[T] | AsyncIterable[T],
    work: Callable[[T], Awaitable[ManyResult]],
    name_of: Callable[[T], str],
    concurrency: int,
    argument: str,
) -> list[ManyResult]:
    check_count(concurrency, "concurrency", least=1)
    if not isinstance(items, Iterable | AsyncIterable):
        raise TypeError(f"{argument} must be iterable, not {type(items).__name__}")
    results: dict[int, ManyResult] = {}
    waiting = _numbered(items)
    turn = anyio.Lock()

    async def run() -> None:
        while True:
            # One at a time asks for the next item: an async generator cannot be asked twice at once.
            async with turn:
                try:
                    number, item = await anext(waiting)
                except StopAsyncIteration:
                    return
            result = ManyResult(name=name_of(item))
            try:
                result = await work(item)
            except (AetcdError, OSError, ValueError, TypeError) as e:
                result = evolve(result, error=e)
            results[number] = result

    try:
        async with anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(run)
    except BaseExceptionGroup as e:
        # What the items' own iterator raised, bare.
        error: BaseException = e
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return [results[number] for number in sorted(results)]


async def _numbered(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[tuple[int, T]]:
    number = 0
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield number, item
            number += 1
    else:
        for item in items:
            yield number, item
            number += 1
