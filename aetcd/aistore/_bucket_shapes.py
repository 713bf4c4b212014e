"""The server's JSON and headers about buckets and objects, and the values made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aetcd._wire.decode import decode
from aetcd.aistore._codec import BucketRef, read_time
from aetcd.aistore._dialect import Dialect
from aetcd.aistore._models import (
    BucketInfo,
    BucketProps,
    BucketSummary,
    Checksum,
    ChecksumProps,
    ECProps,
    Entry,
    LRUProps,
    MirrorProps,
    ObjectProps,
    Page,
    VersioningProps,
)
from aetcd.aistore._shapes import BucketShape, convert

__all__ = ["read_bucket_props", "read_bucket_table", "read_buckets", "read_object_props", "read_page", "read_summaries"]


class _Entry(msgspec.Struct):
    name: str
    size: int = 0
    checksum: str = ""
    atime: str = ""
    version: str = ""
    target_url: str = ""
    location: str = ""
    copies: int = 0
    flags: int = 0
    custom: str = msgspec.field(default="", name="custom-md")  # of the source of today's server

    def read(self) -> Entry:
        return Entry(
            name=self.name,
            size=self.size,
            checksum=self.checksum,
            accessed=self.atime,
            version=self.version,
            target_url=self.target_url or self.location,
            copies=self.copies,
            flags=self.flags,
            custom=self.custom,
        )


class _Page(msgspec.Struct):
    uuid: str = ""
    entries: list[_Entry] | None = None
    continuation_token: str = ""
    flags: int = 0


class _ObjectCount(msgspec.Struct):
    obj_count_present: int = 0
    obj_count_remote: int = 0


class _TotalSize(msgspec.Struct):
    size_all_present_objs: int = 0
    size_all_remote_objs: int = 0
    total_disks_size: int = 0


class _Summary(BucketShape):
    count: int = 0
    size: int = 0
    disks_size: int = 0
    used_pct: float = 0
    # Of the source of today's server.
    objects: _ObjectCount | None = msgspec.field(default=None, name="ObjCount")
    total: _TotalSize | None = msgspec.field(default=None, name="TotalSize")

    def summary(self) -> BucketSummary:
        bucket = self.read()
        objects, total = self.objects or _ObjectCount(), self.total or _TotalSize()
        return BucketSummary(
            name=bucket.name,
            provider=bucket.provider,
            namespace=bucket.namespace,
            count=self.count or objects.obj_count_present + objects.obj_count_remote,
            size=self.size or total.size_all_present_objs + total.size_all_remote_objs,
            disks_size=self.disks_size or total.total_disks_size,
            used_percent=self.used_pct,
        )


class _BucketTable(msgspec.Struct):
    version: int = 0
    providers: dict[str, dict[str, dict[str, dict[str, Any]]]] | None = None


def read_page(body: bytes) -> Page:
    """A page of a listing."""
    wire = decode(body, _Page)
    return Page(
        entries=[entry.read() for entry in wire.entries or []],
        token=wire.continuation_token,
        listing=wire.uuid,
        flags=wire.flags,
    )


def read_summaries(body: bytes) -> list[BucketSummary]:
    """What buckets hold."""
    return [summary.summary() for summary in decode(body, list[_Summary] | None) or []]  # type: ignore[arg-type]


def read_buckets(body: bytes) -> list[BucketInfo]:
    """Buckets by name."""
    return [bucket.read() for bucket in decode(body, list[BucketShape] | None) or []]  # type: ignore[arg-type]


def read_bucket_table(body: bytes) -> dict[BucketInfo, BucketProps]:
    """Every bucket that the cluster knows, with its properties."""
    found = {}
    for provider, spaces in (decode(body, _BucketTable).providers or {}).items():
        for space, buckets in spaces.items():
            for name, props in buckets.items():
                namespace = "" if space == "@#" else (f"#{space[2:]}" if space.startswith("@#") else space)
                found[BucketInfo(name=name, provider=provider, namespace=namespace)] = _props(props)
    return found


def read_bucket_props(dialect: Dialect, headers: Mapping[str, str]) -> BucketProps:
    """A bucket's properties: dotted headers of 3.3, JSON in one header today."""
    if "props" in dialect.headers:
        return _props(decode(headers.get(dialect.headers["props"], "{}").encode(), dict[str, Any]))
    raw: dict[str, Any] = {}
    for header, value in headers.items():
        section, dot, name = header.lower().partition(".")
        if dot:
            raw.setdefault(section, {})[name] = value
        elif section in {"provider", "created", "access"}:
            raw[section] = value
    return _props(raw)


def _props(raw: Mapping[str, Any]) -> BucketProps:
    backend = raw.get("backend_bck") or {}
    return BucketProps(
        provider=raw.get("provider", ""),
        created=read_time(raw.get("created")),
        access=int(raw.get("access") or 0),
        versioning=convert(raw.get("versioning") or {}, VersioningProps),
        checksum=convert(raw.get("checksum") or {}, ChecksumProps),
        lru=convert(raw.get("lru") or {}, LRUProps),
        mirror=convert(raw.get("mirror") or {}, MirrorProps),
        ec=convert(raw.get("ec") or {}, ECProps),
        backend=(backend["name"], backend.get("provider", "")) if backend.get("name") else None,
        raw=raw,
    )


def read_object_props(dialect: Dialect, headers: Mapping[str, str], bucket: BucketRef, name: str) -> ObjectProps:
    """An object's properties of the headers of a HEAD or a GET."""

    def told(property: str) -> str:
        header = dialect.headers.get(property)
        return headers.get(header, "") if header else ""

    kind, value = told("checksum type"), told("checksum value")
    custom = [text for header, text in headers.items() if header.lower() == dialect.headers["custom"].lower()]
    pairs = [pair.strip().partition("=") for text in custom for pair in text.split(",")]
    return ObjectProps(
        name=name,
        bucket=bucket.name,
        provider=told("provider") or bucket.provider or "",
        size=convert(told("size") or headers.get("Content-Length", "0"), int),
        version=told("version"),
        accessed=read_time(told("accessed")),
        checksum=Checksum(type=kind, value=value.lower()) if value and kind not in {"", "none"} else None,
        copies=convert(told("copies") or "0", int),
        present=told("present").lower() != "false",
        location=told("location"),
        custom={key: value for key, equals, value in pairs if equals},
    )
