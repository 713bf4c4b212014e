"""An object on its way into a file, or read by several ranges at once."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread

from aetcd.aistore._checksums import Hasher, hasher, same
from aetcd.aistore._dialect import Dialect
from aetcd.aistore._errors import ChecksumMismatch, ObjectChanged
from aetcd.aistore._models import ObjectProps
from aetcd.aistore._reader import ObjectReader, Progress, Span, tell

__all__ = ["Part", "check_bytes", "save", "save_in_ranges", "save_reader", "spans", "together"]

BLOCK = 1 << 20  # bytes written at a time

Part = Callable[[Span], ObjectReader]
Head = Callable[[], Awaitable[ObjectProps]]


def partial(path: Path) -> Path:
    """Where bytes wait that a later call shall find."""
    return path.with_name(f"{path.name}.part")


def private(path: Path) -> Path:
    """Where bytes wait that are this call's alone: an object named `a.part` may be saved at the same time as `a`."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")


async def save(
    open_part: Part,
    head: Head,
    path: Path,
    *,
    dialect: Dialect,
    verify: bool,
    progress: Progress | None,
    resume: bool,
) -> None:
    """Into a file, by one connection at a time. The file is there when it is whole, and not before.

    resume: What an earlier attempt left beside it is gone on with, and is left there again by a failure.
    """
    part = partial(path) if resume else private(path)
    have = await anyio.to_thread.run_sync(_size, part) if resume else 0
    props = await head() if have else None
    if props is None or have > props.size:
        async with open_part(Span()) as reader:
            await _fill(reader, part, 0, progress, keep=resume)
    else:
        if have < props.size:
            async with open_part(Span(offset=have)) as reader:
                _check_same(props, reader.props)
                await _fill(reader, part, have, progress, keep=True)
        if verify:
            await _check_file(part, props, dialect)
    await anyio.to_thread.run_sync(os.replace, part, path)


async def save_reader(reader: ObjectReader, path: Path, progress: Progress | None) -> None:
    """What is left of a reader that is entered already. See `ObjectReader.save_to`."""
    part = private(path)
    await _fill(reader, part, 0, progress, keep=False)
    await anyio.to_thread.run_sync(os.replace, part, path)


async def _fill(reader: ObjectReader, part: Path, have: int, progress: Progress | None, *, keep: bool) -> None:
    total = None if reader.size is None else have + reader.size
    file: IO[bytes] = await anyio.to_thread.run_sync(part.open, "r+b" if have else "wb")
    try:
        file.seek(have)
        waiting = bytearray()
        async for piece in reader:
            waiting += piece
            if len(waiting) >= BLOCK:
                await anyio.to_thread.run_sync(file.write, bytes(waiting))
                waiting.clear()
                await tell(progress, have + reader.position, total)
        if waiting:
            await anyio.to_thread.run_sync(file.write, bytes(waiting))
        await tell(progress, have + reader.position, total)
    except BaseException as e:
        if not keep or isinstance(e, ChecksumMismatch):
            _remove(part)
        raise
    finally:
        file.close()


def spans(size: int, ranges: int) -> list[Span]:
    """A size in so many ranges of about the same length; fewer where there are fewer bytes."""
    length = max(1, -(-size // ranges))
    return [Span(offset=at, length=min(length, size - at)) for at in range(0, size, length)]


async def together(
    open_part: Part,
    props: ObjectProps,
    ranges: int,
    write: Callable[[int, bytes], Awaitable[None]],
    progress: Progress | None,
) -> None:
    """Read ranges at the same time, and hand each piece over with its place."""
    done = 0

    async def one(span: Span) -> None:
        nonlocal done
        async with open_part(span) as reader:
            _check_same(props, reader.props)
            async for piece in reader:
                await write(span.offset + reader.position - len(piece), piece)
                done += len(piece)
                await tell(progress, done, props.size)

    try:
        async with anyio.create_task_group() as group:
            for span in spans(props.size, ranges):
                group.start_soon(one, span)
    except BaseExceptionGroup as e:
        raise _first(e) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def save_in_ranges(
    open_part: Part,
    path: Path,
    props: ObjectProps,
    ranges: int,
    *,
    dialect: Dialect,
    verify: bool,
    progress: Progress | None,
) -> None:
    """Into a file, by several connections at once."""
    part = private(path)
    file: IO[bytes] = await anyio.to_thread.run_sync(part.open, "wb")
    try:
        try:
            turn = asyncio.Lock()

            async def write(at: int, piece: bytes) -> None:
                async with turn:
                    await anyio.to_thread.run_sync(_write_at, file, at, piece)

            await together(open_part, props, ranges, write, progress)
        finally:
            file.close()
        if verify:
            await _check_file(part, props, dialect)
    except BaseException:
        _remove(part)
        raise
    await anyio.to_thread.run_sync(os.replace, part, path)


def _check_same(known: ObjectProps, now: ObjectProps) -> None:
    if (known.size, known.version) != (now.size, now.version):
        raise ObjectChanged(f"{known.bucket}/{known.name} was replaced while it was read", operation="aistore get")


async def _check_file(part: Path, props: ObjectProps, dialect: Dialect) -> None:
    """Raises ChecksumMismatch, and takes the file away, where it is not what the cluster has."""
    if props.checksum is None:
        return
    computed = hasher(props.checksum.type, dialect)
    await anyio.to_thread.run_sync(_hash, part, computed)
    if not same(computed, props.checksum):
        _remove(part)
        raise mismatch(props, computed)


def mismatch(props: ObjectProps, computed: Hasher) -> ChecksumMismatch:
    """What was read is not what the cluster says that it has."""
    told = props.checksum
    assert told is not None
    return ChecksumMismatch(
        f"{props.bucket}/{props.name}: its {told.type} is {told.value}, and what was read has {computed.hexdigest()}",
        operation="aistore get",
    )


def check_bytes(data: bytes | bytearray, props: ObjectProps, dialect: Dialect) -> None:
    """Raises ChecksumMismatch."""
    if props.checksum is None:
        return
    computed = hasher(props.checksum.type, dialect)
    computed.update(bytes(data))
    if not same(computed, props.checksum):
        raise mismatch(props, computed)


def _hash(path: Path, computed: Hasher) -> None:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            computed.update(block)


def _write_at(file: IO[bytes], at: int, piece: bytes) -> None:
    file.seek(at)
    file.write(piece)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
