"""What objects hold, never whole in memory where it is large, and the checksums that AIStore knows."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Iterator
from typing import IO, Protocol

import xxhash
from attrs import define, field, frozen

BLOCK = 1 << 20
"""Bytes that are read, made or hashed at a time."""

HELD = 4 << 20
"""A received body above this goes to a temporary file."""


class Content(Protocol):
    """Bytes that can be read from any place."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> Iterator[bytes]: ...


@frozen
class Held:
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, BLOCK):
            yield self.data[at : min(at + BLOCK, stop)]


@frozen
class Generated:
    """`size` bytes made when they are read: no two blocks are alike, so that one in the wrong place is noticed."""

    size: int
    seed: int = 0

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        base = _noise(self.seed)
        at = start
        while at < stop:
            index, offset = divmod(at, BLOCK)
            block = index.to_bytes(8) + base[8:]
            take = min(BLOCK - offset, stop - at)
            yield block if take == BLOCK else block[offset : offset + take]
            at += take


_NOISE: dict[int, bytes] = {}


def _noise(seed: int) -> bytes:
    if seed not in _NOISE:
        _NOISE[seed] = random.Random(seed).randbytes(BLOCK)
    return _NOISE[seed]


@define(eq=False)
class Spilled:
    """Bytes in a file without a name, which the system removes with it."""

    file: IO[bytes]
    size: int = 0

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        at = start
        while at < stop:
            self.file.seek(at)
            data = self.file.read(min(BLOCK, stop - at))
            at += len(data)
            yield data


@frozen
class Forgotten:
    """Bytes that were counted and hashed, and not kept."""

    size: int

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        raise LookupError("this body was not kept: AIStoreDouble(keep_large=False)")


@define(eq=False)
class Intake:
    """Takes a body as it comes.

    files: Where those that it opens are noted, to be closed at the end. keep: False forgets what is large.
    """

    files: list[IO[bytes]]
    keep: bool = True
    size: int = 0
    _parts: bytearray = field(factory=bytearray)
    _file: IO[bytes] | None = None

    def take(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= HELD:
            self._parts += data
            return
        if not self.keep:
            self._parts.clear()
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object
            self.files.append(self._file)
            self._file.write(self._parts)
            self._parts.clear()
        self._file.write(data)

    def drop(self) -> None:
        if self._file is not None:
            self._file.close()

    def content(self) -> Content:
        if self.size <= HELD:
            return Held(bytes(self._parts))
        if self._file is None:
            return Forgotten(self.size)
        self._file.flush()
        return Spilled(self._file, self.size)


class Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...

    def hexdigest(self) -> str: ...


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC32C = _crc32c_table()


class CRC32C:
    """Castagnoli's, byte by byte: slow, and independent of the library that the client uses."""

    def __init__(self) -> None:
        self.crc = 0xFFFFFFFF

    def update(self, data: bytes) -> None:
        crc = self.crc
        for byte in data:
            crc = (crc >> 8) ^ _CRC32C[(crc ^ byte) & 0xFF]
        self.crc = crc

    def hexdigest(self) -> str:
        return f"{self.crc ^ 0xFFFFFFFF:08x}"


def hasher(kind: str, dialect: str) -> Hash | None:
    """None for `none`. 3.3's sha256 is SHA-512/256, and today's the true one (measured)."""
    match kind:
        case "xxhash" | "xxhash2":
            return xxhash.xxh64()
        case "crc32c":
            return CRC32C()
        case "sha256" if dialect == "3.3":
            return hashlib.new("sha512_256")
        case "md5" | "sha256" | "sha512":
            return hashlib.new(kind)
    return None


def digest(kind: str, content: Content, dialect: str) -> str:
    """The checksum of the whole, as lower-case hex; empty for `none`."""
    hashed = hasher(kind, dialect)
    if hashed is None:
        return ""
    for data in content.read(0, content.size):
        hashed.update(data)
    return hashed.hexdigest()


def sniff(start: bytes) -> str | None:
    """The type that Go's server finds in the first bytes: enough of it for tests. None: there are none."""
    if not start:
        return None
    binary = any(byte < 0x09 or 0x0E <= byte <= 0x1A or 0x1C <= byte <= 0x1F for byte in start[:512])
    return "application/octet-stream" if binary else "text/plain; charset=utf-8"
