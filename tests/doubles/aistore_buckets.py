"""What a gateway answers for buckets: their life, their properties, and the jobs on all that they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import frozen
from doubles.aistore_lists import Lister, summaries
from doubles.aistore_node import Ask, Refusal, compact, empty, text
from doubles.aistore_state import JSON, PROVIDERS, Bucket, Key, merged, namespace, valid_name
from doubles.aistore_words import expand, kind, meaning, unexpected

if TYPE_CHECKING:
    from doubles.aistore_gateway import Gateway

CHECKSUMS = {"none", "xxhash", "xxhash2", "md5", "crc32c", "sha256", "sha512"}

GET, HEAD_BUCKET, LIST, RENAME, PATCH, COPIES, EC = 1, 256, 512, 1024, 2048, 4096, 8192
DELETE_BUCKET, CREATE, LIST_BUCKETS, DELETE, SYNC = 32768, 65536, 131072, 32, 16384

PERMISSION = {
    "create": CREATE,
    "destroy": DELETE_BUCKET,
    "rename": RENAME,
    "copy": LIST,
    "list": LIST,
    "summary": LIST,
    "forget_list": LIST,
    "set": PATCH,
    "reset": PATCH,
    "mirror": COPIES,
    "ec": EC,
    "prefetch": SYNC,
    "evict": SYNC,
    "evict_bucket": SYNC,
    "delete": DELETE,
}

ONLY_LETTERS = "may only contain letters, numbers, dashes (-), underscores (_), and dots (.)"


@frozen
class BucketDesk:
    """The `/v1/buckets` of one gateway."""

    gateway: Gateway

    async def answer(self, ask: Ask) -> web.StreamResponse:
        old = self.gateway.ais.old
        name = ask.items[1] if len(ask.items) > 1 else ""
        match ask.method:
            case "HEAD":
                return self._head(ask, name)
            case "GET" if old:
                if name != "*":
                    raise Refusal(400, f"Invalid route {ask.decoded.removeprefix('/v1')}")
                return self._names(ask)
            case "GET":
                return await self._get_current(ask, name)
            case "POST" | "PATCH" | "DELETE":
                return await self._act(ask, name)
        raise self.gateway.invalid(ask)

    def _wanted(self, ask: Ask) -> list[Bucket]:
        """Those of the provider and the namespace that the query has."""
        provider, wanted = ask.provider(ask.query.get("provider")), ask.query.get("namespace")
        return [
            bucket
            for key, bucket in self.gateway.ais.buckets.by_key.items()
            if provider in (None, key.provider) and (wanted is None or namespace(wanted) == (key.uuid, key.space))
        ]

    def _names(self, ask: Ask) -> web.Response:
        wanted = self._wanted(ask)
        self.gateway.permit(ask, LIST_BUCKETS)
        return self.gateway.json([bucket.key.json() for bucket in wanted])

    def _head(self, ask: Ask, name: str) -> web.Response:
        bucket = ask.bucket(name)
        self.gateway.permit(ask, HEAD_BUCKET)
        if self.gateway.ais.old:
            return web.Response(status=200, headers=property_headers(bucket))
        return web.Response(
            status=200, headers={"Ais-Bucket-Props": compact(self.gateway.ais.buckets.props_json(bucket))}
        )

    async def _get_current(self, ask: Ask, name: str) -> web.StreamResponse:
        if name and not valid_name(name):
            raise Refusal(400, f"bucket name is invalid: {ONLY_LETTERS}")
        message = await ask.message("*apc.ActMsg")
        match meaning(message.get("action"), old=False):
            case "list" if not name:
                return self._names(ask)
            case "list":
                return self._list(ask, ask.bucket(name), message)
            case "summary":
                return self._summary(ask, name, message)
        raise Refusal(400, f'invalid action "{message.get("action")}"')

    async def _act(self, ask: Ask, name: str) -> web.StreamResponse:
        message = await ask.message()
        old = self.gateway.ais.old
        sort = meaning(message.get("action"), old=old)
        if sort not in ("list", "summary"):
            self.gateway.to_primary()
        if ask.method == "POST" and sort == "create":
            return self._create(ask, name, message)
        if ask.method == "POST" and sort == "summary" and old:
            return self._summary(ask, name, message)
        bucket = ask.bucket(name)
        handlers: dict[str, dict[str, Callable[[Ask, Bucket, JSON], web.StreamResponse]]] = {
            "POST": {"rename": self._rename, "copy": self._copy, "mirror": self._mirror, "ec": self._ec}
            | {"prefetch": self._prefetch}
            | ({"list": self._list, "forget_list": self._forget_list} if old else {}),
            "PATCH": {"set": self._set, "reset": self._reset},
            "DELETE": {"destroy": self._destroy, "evict_bucket": self._evict_bucket, "evict": self._evict},
        }
        if ask.method == "DELETE" and sort == "delete":
            self.gateway.permit(ask, DELETE)
            return await self._delete(ask, bucket, message)
        handler = handlers[ask.method].get(sort)
        if handler is None:
            raise self._refused(ask, message)
        self.gateway.permit(ask, PERMISSION[sort])
        return handler(ask, bucket, message)

    def _refused(self, ask: Ask, message: JSON) -> Refusal:
        if self.gateway.ais.old:
            return unexpected(message)
        expected = " (expected one of [set-bprops reset-bprops])" if ask.method == "PATCH" else ""
        return Refusal(400, f'invalid action "{message.get("action")}"{expected}')

    def _start(
        self, sort: str, bucket: Bucket, effect: Callable[[], None] = lambda: None, *, note: str = "", word: str = ""
    ) -> web.Response:
        word = word or kind(sort, old=self.gateway.ais.old)
        job = self.gateway.ais.jobs.start(sort, word, bucket.key, effect, note=note)
        return text(job.id)

    def _create(self, ask: Ask, name: str, message: JSON) -> web.Response:
        self.gateway.permit(ask, CREATE)
        if not valid_name(name):
            raise Refusal(400, f'bucket name "{name}" is invalid: {ONLY_LETTERS}')
        provider = ask.provider(ask.query.get("provider")) or "ais"
        key = Key(provider, *namespace(ask.query.get("namespace", "")), name)
        self._free(key, 409)
        props = message.get("value") or {}
        self._check(merged(self.gateway.ais.buckets.defaults, props))
        self.gateway.ais.buckets.create(key, props)
        return empty()

    def _free(self, key: Key, status: int) -> None:
        if key in self.gateway.ais.buckets.by_key:
            if self.gateway.ais.old:
                raise Refusal(status, f"{self.gateway}: bucket {key} already exists")
            raise Refusal(status, f'bucket "{key}" already exists', tcode="ErrBucketAlreadyExists")

    def _check(self, props: JSON) -> None:
        """Raises Refusal for properties that cannot be."""
        lru, mirror, ec = props["lru"], props["mirror"], props["ec"]
        if "lowwm" in lru and not 0 < lru["lowwm"] < lru["highwm"] < lru["out_of_space"] <= 100:
            marks = f"({lru['lowwm']}, {lru['highwm']}, {lru['out_of_space']})"
            raise Refusal(400, f"invalid lru (lwm, hwm, oos) configuration {marks}")
        if props["checksum"]["type"] not in CHECKSUMS:
            raise Refusal(400, f'invalid checksum type "{props["checksum"]["type"]}"')
        if not 1 <= mirror["copies"] <= 32:
            raise Refusal(400, f"invalid mirror.copies: {mirror['copies']} (expected value in range [1, 32])")
        if ec["enabled"] and ec["data_slices"] + ec["parity_slices"] > len(self.gateway.ais.map.targets()):
            raise Refusal(400, "not enough targets for the erasure coding configuration")

    def _destroy(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        self.gateway.ais.buckets.destroy(bucket.key)
        return empty()

    def _destination(self, ask: Ask, message: JSON, default: str) -> Key:
        """Where a rename or a copy goes."""
        if not self.gateway.ais.old:
            parts = ask.query.get("bck_to", "").split("/")
            if len(parts) < 3 or not parts[2]:
                raise Refusal(400, "missing or malformed 'bck_to' in the query")
            return Key(PROVIDERS.get(parts[0], parts[0]), *namespace(parts[1]), parts[2])
        if default:
            return Key("ais", "", "", default)
        to = (message.get("value") or {}).get("bck_to") or {}
        space = to.get("namespace") or {}
        return Key(to.get("provider") or "ais", space.get("uuid", ""), space.get("name", ""), to.get("name", ""))

    def _rename(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        buckets = self.gateway.ais.buckets
        key = self._destination(ask, message, str(message.get("name", "")) or "-")
        if not valid_name(key.name) or key.name == "-":
            raise Refusal(400, f'bucket name "{key.name}" is invalid: {ONLY_LETTERS}')
        if bucket.cloud:
            raise Refusal(400, f"cannot rename cloud bucket {bucket.key}")
        self._free(key, 400)
        to = buckets.create(Key(key.provider, bucket.key.uuid, bucket.key.space, key.name), bucket.props)
        bucket.renamed = kind("rename", old=self.gateway.ais.old)

        def move() -> None:
            self._fill(to, bucket, "")
            buckets.by_key.pop(bucket.key, None)
            buckets.changed()

        return self._start("rename", to, move)

    def _fill(self, to: Bucket, bucket: Bucket, prefix: str) -> None:
        for name, found in bucket.objects.items():
            if name.startswith(prefix):
                to.put(name, found.content, checksum=found.checksum, custom=found.custom)

    def _copy(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        key = self._destination(ask, message, "")
        if not valid_name(key.name):
            raise Refusal(400, f'bucket name "{key.name}" is invalid: {ONLY_LETTERS}')
        if key == bucket.key:
            raise Refusal(400, f"cannot copy bucket {key} onto itself")
        value = message.get("value") or {}
        buckets = self.gateway.ais.buckets
        to = buckets.by_key.get(key) or buckets.create(key, bucket.props)
        prefix, dry = value.get("prefix", ""), value.get("dry_run", False)

        def copy() -> None:
            if not dry:
                self._fill(to, bucket, prefix)

        answer = self._start("copy", to if self.gateway.ais.old else bucket, copy)
        job = self.gateway.ais.jobs.all[-1]
        for name, found in bucket.objects.items():
            if name.startswith(prefix):
                job.objects[found.target] += 1
                job.bytes[found.target] += found.size
        return answer

    def _mirror(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        copies = message.get("value")
        if isinstance(copies, str) and copies.isdigit():
            copies = int(copies)
        if not isinstance(copies, int) or isinstance(copies, bool):
            raise Refusal(400, f"{self.gateway}: failed to parse number of copies {copies!r}")
        if not 1 <= copies <= 16:
            told = f"number of copies ({copies}) must be in [1, 16] range (from {self.gateway})"
            raise Refusal(400, told, path=f"//v1/txn/{bucket.key.name}/begin")
        bucket.props["mirror"] |= {"copies": copies, "enabled": copies > 1}
        self.gateway.ais.buckets.changed()
        return self._start("mirror", bucket, lambda: self._copies(bucket, copies))

    def _copies(self, bucket: Bucket, copies: int) -> None:
        for found in bucket.objects.values():
            found.copies = copies

    def _ec(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        value = message.get("value")
        if self.gateway.ais.old:
            if not isinstance(value, str):
                raise Refusal(400, "invalid request")
            try:
                value = json.loads(value)
            except ValueError:
                raise Refusal(400, f"failed to unmarshal {value!r}") from None
        if not isinstance(value, dict):
            raise Refusal(400, f"invalid EC configuration {value!r}")
        props = merged(bucket.props, {"ec": value | {"enabled": True}})
        self._check(props)
        bucket.props = props
        self.gateway.ais.buckets.changed()
        return self._start("ec", bucket)

    def _set(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        value = message.get("value")
        if not isinstance(value, dict):
            raise Refusal(400, f"invalid property value {value!r}")
        props = merged(bucket.props, value)
        self._check(props)
        return self._changed(bucket, props)

    def _reset(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        return self._changed(bucket, merged(self.gateway.ais.buckets.defaults, {"provider": bucket.key.provider}))

    def _changed(self, bucket: Bucket, props: JSON) -> web.Response:
        """New properties; the id of the job that they start, if any."""
        before, bucket.props = bucket.props, props
        self.gateway.ais.buckets.changed()
        if props["ec"]["enabled"] and not before["ec"]["enabled"]:
            return self._start("ec", bucket)
        copies = props["mirror"]["copies"]
        if props["mirror"]["enabled"] and before["mirror"] != props["mirror"]:
            return self._start("mirror", bucket, lambda: self._copies(bucket, copies))
        return empty()

    def _list(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        self.gateway.permit(ask, LIST)
        self.gateway.to_targets()
        return Lister(self.gateway, bucket).page(ask, message)

    def _forget_list(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        return empty()

    def _summary(self, ask: Ask, name: str, message: JSON) -> web.Response:
        buckets = [ask.bucket(name)] if name else self._wanted(ask)
        self.gateway.permit(ask, LIST)
        value = message.get("value") or {}
        jobs = self.gateway.ais.jobs
        uuid = value.get("uuid", "")
        if not uuid:
            job = jobs.start("summary", kind("summary", old=self.gateway.ais.old), buckets[0].key if name else None)
            return text(job.id, 202)
        found = jobs.get(uuid)
        if found is None or found.sort != "summary":
            raise Refusal(404, f'"{uuid}" not found')
        if not found.ended:
            return text(uuid, 202)
        return self.gateway.json(summaries(buckets, value, old=self.gateway.ais.old))

    def _cloud_only(self, bucket: Bucket) -> None:
        if not bucket.cloud:
            raise Refusal(400, f'"{bucket.key.name}" appears to be ais bucket (expecting cloud)')

    def _evict_bucket(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        self._cloud_only(bucket)
        for found in bucket.objects.values():
            found.present = False
        return empty()

    def _prefetch(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        self._cloud_only(bucket)

        def fetch() -> None:
            for name in self._chosen(ask, bucket, message):
                if name in bucket.objects:
                    bucket.objects[name].present = True

        self._chosen(ask, bucket, message)
        return self._start("prefetch", bucket, fetch)

    def _evict(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        self._cloud_only(bucket)
        names = self._chosen(ask, bucket, message)
        return self._start("evict", bucket, lambda: [bucket.evict(name) for name in names] and None)

    async def _delete(self, ask: Ask, bucket: Bucket, message: JSON) -> web.Response:
        if self.gateway.ais.old and message.get("value") is None:
            # A nil dereference in 3.3: both processes exit.
            for target in self.gateway.ais.targets:
                await target.die()
            raise Refusal(500, f'failed to delete List/Range: DELETE "/v1/buckets/{bucket.key.name}": EOF')
        self.gateway.to_targets()
        names = self._chosen(ask, bucket, message)
        answer = self._start("delete", bucket, note=f"list:[{' '.join(names)}]")
        job = self.gateway.ais.jobs.all[-1]
        for name in names:
            found = bucket.drop(name)
            if found is not None:
                job.objects[found.target] += 1
                job.bytes[found.target] += found.size
        return answer

    def _chosen(self, ask: Ask, bucket: Bucket, message: JSON) -> list[str]:
        """The names that a list or a template means. Raises Refusal."""
        value = message.get("value")
        old = self.gateway.ais.old
        value = {} if value is None else value
        names, template = (value.get("objnames"), value.get("template")) if isinstance(value, dict) else (value, "")
        if names is not None and (not isinstance(names, list) or not all(isinstance(name, str) for name in names)):
            raise self._not_a_list(ask, message)
        if names:
            return names
        if not template:
            # Today's server takes no names for all names: measured, it deletes the whole bucket.
            return [] if old else list(bucket.names())
        if not old and "{" not in template and "}" not in template:
            return [name for name in bucket.names() if name.startswith(template)]
        found = expand(template)
        if found is None and not old:
            raise Refusal(400, f'invalid template "{template}"')
        return found or []

    def _not_a_list(self, ask: Ask, message: JSON) -> Refusal:
        told = f"invalid {message['action']} action message: , map[string]interface {{}} (from {self.gateway})"
        if not self.gateway.ais.old:
            return Refusal(400, f"{self.gateway}: failed to unmarshal value of {message['action']}")
        inner = {"status": 400, "message": told, "method": ask.method, "url_path": ask.decoded, "remote_addr": ""}
        nested = compact(inner | {"trace": ""}) + "\n\n"
        target = self.gateway.ais.targets[-1]
        return Refusal(400, f"{target} failed to {message['action']} List/Range: {nested} (400: {nested})")


def property_headers(bucket: Bucket) -> dict[str, str]:
    """3.3's properties of a bucket, as headers."""
    headers = {"Provider": bucket.key.provider, "Created": str(bucket.created), "Access": str(bucket.props["access"])}
    for group in ("versioning", "checksum", "lru", "mirror", "ec"):
        for name, value in bucket.props[group].items():
            told = str(value).lower() if isinstance(value, bool) else str(value)
            headers[f"{group.capitalize()}.{name}"] = told
    backend, extra = bucket.props["backend_bck"], bucket.props["extra"]
    headers |= {"Backend_bck.name": backend["name"], "Backend_bck.provider": backend["provider"]}
    return headers | {
        "Extra.original_url": extra.get("original_url", ""),
        "Extra.cloud_region": extra.get("cloud_region", ""),
    }
