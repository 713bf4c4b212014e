"""What the server's JSON has in common: 64-bit numbers come as text, absent and null mean the same.

Both versions' names are read side by side.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import msgspec

from aetcd.aistore._models import BucketInfo
from aetcd.errors import DecodeError

__all__ = ["BucketShape", "NamespaceShape", "convert", "parse_time"]

T = TypeVar("T")

ZERO_TIME = "0001-01-01T00:00:00Z"


class NamespaceShape(msgspec.Struct):
    uuid: str = ""
    name: str = ""

    def read(self) -> str:
        return f"@{self.uuid}#{self.name}" if self.uuid else (f"#{self.name}" if self.name else "")


class BucketShape(msgspec.Struct):
    name: str = ""
    provider: str = ""
    namespace: NamespaceShape | None = None

    def read(self) -> BucketInfo:
        namespace = self.namespace.read() if self.namespace else ""
        return BucketInfo(name=self.name, provider=self.provider, namespace=namespace)


def parse_time(text: str) -> datetime | None:
    if not text or text == ZERO_TIME:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as e:
        raise DecodeError(f"no time: {text!r}") from e


def convert(value: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as e:
        raise DecodeError(f"the answer does not read as {kind.__name__}: {e}") from e
