"""Checksums, as both versions of the server write them."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from aetcd.aistore._dialect import Dialect
from aetcd.aistore._models import Checksum
from aetcd.errors import ConfigError, Unsupported

__all__ = ["Hasher", "hasher", "same"]

_EXTRA = "{type} needs {package}: pip install 'aetcd-http[aistore]', or leave the check out with verify=False"


class Hasher(Protocol):
    """Takes bytes, and tells their checksum so far."""

    def update(self, data: bytes, /) -> Any:
        """More bytes."""
        ...

    def hexdigest(self) -> str:
        """In lower-case hexadecimal."""
        ...


class _CRC32C:
    def __init__(self) -> None:
        import google_crc32c

        make: Any = google_crc32c.Checksum  # the package has no annotations
        self._state: Any = make()

    def update(self, data: bytes) -> None:
        self._state.update(data)

    def hexdigest(self) -> str:
        return bytes(self._state.digest()).hex()


def hasher(type: str, dialect: Dialect) -> Hasher:
    """What computes a checksum of the server's type.

    `xxhash` and `xxhash2` are XXH64 with the seed 0; `sha256` of 3.3 is SHA-512/256, which a true SHA-256 is not.

    Raises ConfigError where the package is missing that computes it, and Unsupported for a type that is not known.
    """
    match dialect.checksums.get(type):
        case "xxh64":
            try:
                import xxhash
            except ImportError as e:
                raise ConfigError(_EXTRA.format(type=type, package="xxhash")) from e
            return xxhash.xxh64()
        case "crc32c":
            try:
                return _CRC32C()
            except ImportError as e:
                raise ConfigError(_EXTRA.format(type=type, package="google-crc32c")) from e
        case "md5":
            return hashlib.md5(usedforsecurity=False)
        case None:
            known = ", ".join(dialect.checksums)
            raise Unsupported(f"checksum {type!r}: {dialect} has {known}; leave the check out with verify=False")
        case name:
            return hashlib.new(name)


def same(computed: Hasher, told: Checksum) -> bool:
    """Whether the bytes are those that the checksum was made of."""
    return computed.hexdigest().lower() == told.value.lower()
