"""Listings by pages, and summaries."""

from __future__ import annotations

import json
import time
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from attrs import frozen
from doubles.aistore_node import Ask, Refusal, compact
from doubles.aistore_state import JSON, Bucket, Obj, new_id

if TYPE_CHECKING:
    from doubles.aistore_gateway import Gateway

PAGE = 10_000
"""What a page size of 0 means."""

CACHED = 1
"""The flag that leaves out what is in the cloud only."""

PRESENT = 64
"""The flag of an entry whose object is in the cluster."""

DISK = 541106348032
"""Bytes of one target's disks."""

KEYS = {
    "uuid",
    "props",
    "time_format",
    "prefix",
    "pagesize",
    "start_after",
    "continuation_token",
    "flags",
    "use_cache",
}

PACKED = {
    "name": "n",
    "size": "s",
    "checksum": "cs",
    "atime": "a",
    "version": "v",
    "target_url": "t",
    "location": "t",
    "copies": "c",
    "flags": "f",
}
"""The names of an entry's fields in msgpack."""

# Of Go's layouts, the longest words first.
LAYOUT = [
    (".999999999", "%f"),
    ("2006", "%Y"),
    ("MST", "UTC"),
    ("Z07:00", "Z"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("15", "%H"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
]


def formatted(ns: int, layout: str) -> str:
    """A time by Go's layout; RFC 822 for an empty one."""
    seconds, rest = divmod(ns, 1_000_000_000)
    pattern = layout or "02 Jan 06 15:04 MST"
    for word, meant in LAYOUT:
        pattern = pattern.replace(word, meant)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return time.strftime(pattern.replace("%f", fraction), time.gmtime(seconds))


@frozen
class Lister:
    """The listing of one bucket, as one gateway answers it."""

    gateway: Gateway
    bucket: Bucket

    def page(self, ask: Ask, message: JSON) -> web.Response:
        ais = self.gateway.ais
        if ais.old and len(ais.gateways) > 1 and spoilt(ask.body, message):
            ais.reproxied += 1
            if ais.reproxied % 2:
                return web.Response(status=502)
        value = self._checked(message)
        uuid = value.get("uuid") or ""
        if uuid and uuid not in ais.listings:
            raise Refusal(404, f'"{uuid}" not found ({self.gateway.id}(*))')
        uuid = uuid or new_id()
        ais.listings.add(uuid)
        names, token = self._names(value)
        following = bool(value.get("continuation_token"))
        entries = [self._entry(name, self.bucket.objects[name], value) for name in names]
        page = {"uuid": uuid, "entries": entries if entries or following else None, "continuation_token": token}
        if ask.headers.get("Accept") == "application/msgpack":
            return self._packed(page)
        if ais.old:
            return ais.gateways[0].json(page)
        return self.gateway.json(
            {"uuid": uuid, "continuation_token": token, "entries": page["entries"], "flags": ais.list_flags}
        )

    def _packed(self, page: JSON) -> web.Response:
        entries = [{PACKED[key]: _number(key, value) for key, value in e.items()} for e in page["entries"] or []]
        told = {"UUID": page["uuid"], "Entries": entries, "ContinuationToken": page["continuation_token"]}
        if not self.gateway.ais.old:
            told["Flags"] = self.gateway.ais.list_flags
        headers = {"Content-Type": "application/msgpack"}
        return web.Response(status=200, headers=headers, body=msgspec.msgpack.encode(told))

    def _checked(self, message: JSON) -> JSON:
        value = message.get("value") or {}
        if not isinstance(value, dict):
            raise Refusal(400, f"cmn.SelectMsg: expect {{ or n, but found {compact(value)[:1]}")
        # Go writes the keys of a map in their order, and reads what it wrote.
        told = compact(dict(sorted(value.items())))
        for key, given in value.items():
            at = told.index(f'"{key}"') + len(key) + 2
            wrong = ""
            if key == "flags" and not isinstance(given, str):
                wrong, at = f'Flags: stringModeNumberDecoder: expect ", but found {given}', at + 2
            elif key == "pagesize" and not isinstance(given, int):
                wrong = f"PageSize: readUint64: unexpected character: {given}"
            elif key not in KEYS and self.gateway.ais.old:
                wrong = f"PageSize: ReadObject: found unknown field: {key}"
            if wrong:
                near = told[max(0, at - 10) : at + 10]
                told = f"error found in #{min(at, 10)} byte of ...|{near}|..., bigger context ...|{told}|..."
                raise Refusal(400, f"cmn.SelectMsg.{wrong}, {told}")
        return value

    def _names(self, value: JSON) -> tuple[list[str], str]:
        """The names of one page and the token of the next; a full page has one even where it is the last."""
        names = self.bucket.names()
        prefix = value.get("prefix") or ""
        after = max(value.get("continuation_token") or "", value.get("start_after") or "")
        at = bisect_left(names, prefix)
        if after:
            at = max(at, bisect_right(names, after))
        size = value.get("pagesize") or PAGE
        cached = int(value.get("flags") or 0) & CACHED
        found: list[str] = []
        while at < len(names) and len(found) < size and names[at].startswith(prefix):
            if not cached or self.bucket.objects[names[at]].present:
                found.append(names[at])
            at += 1
        return found, found[-1] if len(found) == size else ""

    def _entry(self, name: str, found: Obj, value: JSON) -> JSON:
        old = self.gateway.ais.old
        props = (value.get("props") or ("name,size,checksum,atime" if old else "name,size")).split(",")
        entry: JSON = {"name": name}
        if "size" in props and found.size:
            entry["size"] = str(found.size)
        if "checksum" in props and found.checksum:
            entry["checksum"] = found.checksum
        if "atime" in props:
            entry["atime"] = formatted(found.atime, value.get("time_format") or "")
        if "version" in props and found.version:
            entry["version"] = found.version
        target = self.gateway.ais.targets[found.target]
        if "target_url" in props and old:
            entry["target_url"] = target.public
        if "location" in props and not old:
            entry["location"] = f"{target}:mp[{target.mountpath(name)}, vda, hdd]"
        if "copies" in props and found.present:
            entry["copies"] = found.copies
        return entry | ({"flags": PRESENT} if found.present else {})


def _number(key: str, value: object) -> object:
    return int(str(value)) if key == "size" else value


def spoilt(body: bytes, message: JSON) -> bool:
    """Whether 3.3, which sends a body on in Go's compact form with the length it came with, breaks this one."""
    whole = {"action": message.get("action"), "name": message.get("name", ""), "value": message.get("value")}
    return len(json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()) != len(body)


def summaries(buckets: list[Bucket], value: JSON, *, old: bool) -> list[JSON]:
    """What a finished summary says. Today's is from the source of the server, not recorded."""
    out = []
    for bucket in buckets:
        objects = bucket.objects.values()
        counted = [found for found in objects if found.present or not value.get("cached")]
        size = sum(found.size for found in counted)
        total = DISK * 2
        if old:
            out.append(
                bucket.key.json()
                | {
                    "count": str(len(counted)),
                    "size": str(size),
                    "disks_size": str(total),
                    "used_pct": size * 100 / total,
                }
            )
            continue
        sizes = [found.size for found in counted] or [0]
        here = [found.size for found in objects if found.present]
        away = [found.size for found in objects] if bucket.cloud else []
        out.append(
            bucket.key.json()
            | {
                "ObjCount": {"obj_count_present": str(len(here)), "obj_count_remote": str(len(away))},
                "ObjSize": {
                    "obj_min_size": min(sizes),
                    "obj_avg_size": sum(sizes) // len(sizes),
                    "obj_max_size": max(sizes),
                },
                "TotalSize": {
                    "size_on_disk": str(sum(here)),
                    "size_all_present_objs": str(sum(here)),
                    "size_all_remote_objs": str(sum(away)),
                    "total_disks_size": str(total),
                },
                "used_pct": 0,
                "is_present": True,
            }
        )
    return out
