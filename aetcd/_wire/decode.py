"""Reading JSON straight into the classes that stand for it."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from aetcd.errors import DecodeError

__all__ = ["decode", "decode_lines", "encode"]

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
encode = _encoder.encode


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    # strict=False reads 64-bit integers, which etcd's gateway sends as text.
    return msgspec.json.Decoder(kind, strict=False)


def decode(body: bytes, kind: type[T]) -> T:
    """Read one JSON value into `kind`.

    Raises DecodeError where the text is no JSON or does not fit.
    """
    decoder: msgspec.json.Decoder[T] = _decoder(kind)  # type: ignore[arg-type]  # a class is hashable
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        shown = body[:80] + (b"..." if len(body) > 80 else b"")
        raise DecodeError(f"the answer does not read as {getattr(kind, '__name__', kind)}: {e}: {shown!r}") from e


def decode_lines(lines: bytes, kind: type[T]) -> list[T] | None:
    """Read one JSON value in each line, all at once; None where one of them does not read as `kind`."""
    decoder: msgspec.json.Decoder[T] = _decoder(kind)  # type: ignore[arg-type]
    try:
        return decoder.decode_lines(lines)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
