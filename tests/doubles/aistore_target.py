"""A target: it holds objects, streams them both ways, and has mountpaths."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from typing import cast
from zlib import crc32

import anyio
from aiohttp import hdrs, web
from attrs import define, field
from doubles.aistore_cluster import ClusterDesk
from doubles.aistore_config import Config
from doubles.aistore_content import Content, Hash, Held, Intake, hasher, sniff
from doubles.aistore_mountpaths import Mountpaths
from doubles.aistore_node import Ask, Node, Refusal, Unanswered, empty
from doubles.aistore_state import JSON, Bucket, Obj, new_id, now
from doubles.aistore_words import meaning

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@define(eq=False)
class Appending:
    """Parts of an object that is not visible yet."""

    bucket: Bucket
    name: str
    intake: Intake


@define(eq=False, kw_only=True)
class Target(Node):
    """See the module and `Node`. number: From 1."""

    number: int
    config: Config
    appending: dict[str, Appending] = field(factory=dict)
    paths: Mountpaths = field(init=False)
    _break_get: list[int] = field(factory=list)
    _break_put: list[int] = field(factory=list)
    _stall_get: list[int] = field(factory=list)
    _corrupt: int = 0

    kind = "target"

    def __attrs_post_init__(self) -> None:
        Node.__attrs_post_init__(self)
        self.paths = Mountpaths(self, [f"/data/{self.number}/fs/mp{i}/{self.number}" for i in (1, 2)])

    @property
    def index(self) -> int:
        return self.number - 1

    def mountpath(self, name: str) -> str:
        """Where a name lies."""
        paths = self.paths.available or ["/"]
        return paths[crc32(name.encode()) % len(paths)]

    def break_get(self, *, after: int, times: int = 1) -> None:
        """Close the connection of the next gets after so many bytes of the answer's body; 0: after its head."""
        self._break_get += [after] * times

    def break_put(self, *, after: int, times: int = 1) -> None:
        """Reset the connection of the next puts and appends after so many bytes of the request's body."""
        self._break_put += [after] * times

    def stall_get(self, *, after: int, times: int = 1) -> None:
        """Send so many bytes of the next gets' bodies, then nothing more, the connection left open."""
        self._stall_get += [after] * times

    def corrupt_get(self, *, times: int = 1) -> None:
        """Let the first byte of the next gets' bodies be another than was put."""
        self._corrupt += times

    async def answer(self, ask: Ask) -> web.StreamResponse:
        match ask.items:
            case ["objects", _, *_]:
                return await self._objects(ask)
            case ["daemon", "mountpaths"]:
                return await self.paths.answer(ask)
            case ["daemon", *_]:
                return await ClusterDesk(self).daemon(ask)
            case ["health"]:
                return ClusterDesk(self).health(ask)
            case ["buckets" | "download" | "ec" | "etl" | "xactions" | "sort", *_]:
                raise self.unknown(ask)
        raise self.invalid(ask)

    async def _objects(self, ask: Ask) -> web.StreamResponse:
        self._redirected(ask)
        if ask.method == "POST":
            return await self._post(ask)
        bucket = ask.bucket(ask.items[1])
        name = "/".join(ask.items[2:])
        match ask.method:
            case "GET":
                return await self._get(ask, bucket, name)
            case "HEAD":
                return self._head(ask, bucket, name)
            case "PUT":
                return await self._put(ask, bucket, name)
            case "DELETE":
                return await self._delete(ask, bucket, name)
        raise self.invalid(ask)

    def _redirected(self, ask: Ask) -> None:
        """Raises Refusal for what did not come by a gateway: any values of pid and utm do."""
        if "pid" in ask.query and "utm" in ask.query:
            return
        if not self.ais.old and ask.method == "GET":
            return
        match ask.method:
            case "GET":
                told = "GET(obj) is expected to be redirected (remaddr=127.0.0.1)"
            case "PUT":
                told = "PUT(obj) is expected to be redirected or replicated"
            case method:
                told = f"{method}(obj) is expected to be redirected"
        raise Refusal(400, f"{self}: {told}")

    def _found(self, ask: Ask, bucket: Bucket, name: str) -> Obj:
        found = bucket.held(name, self.index)
        if found is None:
            raise self._missing(ask, bucket, name)
        return found

    def _missing(self, ask: Ask, bucket: Bucket, name: str) -> Refusal:
        if not self.ais.old:
            return Refusal(404, f"{self}: {bucket.key}/{name} does not exist", tcode="ErrNotFound")
        path = f"{self.mountpath(name)}/@{bucket.key.provider}/{bucket.key.name}/%ob/{name}"
        return Refusal(404, f"{ask.method} local: o[{bucket.key.name}/{name} fs=/dev/vda]({path}) does not exist")

    def _headers(self, found: Obj) -> dict[str, str]:
        if self.ais.old:
            headers = {"Atime": str(found.atime), "Checksum.type": found.kind, "Checksum.value": found.checksum}
            headers |= {"Size": str(found.size), "Version": found.version}
            return headers | ({"Custom_md": found.custom} if found.custom else {})
        headers = {"Ais-Atime": str(found.atime), "Ais-Checksum-Type": found.kind}
        headers |= {"Ais-Checksum-Value": found.checksum, "Ais-Version": found.version}
        return headers | ({"Ais-Custom-Md": found.custom} if found.custom else {})

    def _head(self, ask: Ask, bucket: Bucket, name: str) -> web.Response:
        cached = ask.query.get("check_cached") == "true"
        found = self._found(ask, bucket, name)
        if cached and not found.present:
            raise self._missing(ask, bucket, name)
        if cached and self.ais.old:
            return empty()
        headers = self._headers(found) | {"Content-Length": str(found.size)}
        copies, present = str(found.copies), str(found.present).lower()
        provider = bucket.key.provider
        line = name.replace("\n", " ").replace("\r", " ")
        if self.ais.old:
            headers |= {"Name": line, "Bucket.name": bucket.key.name, "Bucket.provider": provider}
            headers |= {"Copies": copies, "Present": present}
        else:
            headers |= {"Ais-Name": line, "Ais-Bucket-Name": bucket.key.name, "Ais-Bucket-Provider": provider}
            headers |= {"Ais-Mirror-Copies": copies, "Ais-Present": present}
            path = self.mountpath(name)
            headers |= {"Ais-Mirror-Paths": f"[{path}]", "Ais-Location": f"{self}:mp[{path}, vda, hdd]"}
        return web.Response(status=200, headers=headers)

    async def _get(self, ask: Ask, bucket: Bucket, name: str) -> web.StreamResponse:
        found = self._found(ask, bucket, name)
        found.present = True
        start, stop, headers = self._span(ask, bucket, found)
        status = 206 if headers and not self.ais.old else 200
        headers = self._headers(found) | headers | {"Content-Length": str(stop - start)}
        kind = sniff(b"".join(found.content.read(0, min(512, found.size))))
        if kind and not self.ais.old:
            kind = "application/octet-stream"
        if kind:
            headers["Content-Type"] = kind
        response = web.StreamResponse(status=status, headers=headers)
        found.atime = now()
        await response.prepare(ask.request)
        await self._send(ask, response, found.content, start, stop)
        return response

    async def _send(self, ask: Ask, response: web.StreamResponse, content: Content, start: int, stop: int) -> None:
        broken = self._break_get.pop(0) if self._break_get else None
        stalled = self._stall_get.pop(0) if self._stall_get else None
        corrupt, self._corrupt = self._corrupt > 0, max(0, self._corrupt - 1)
        limit = min((bound for bound in (broken, stalled) if bound is not None), default=stop - start)
        if not limit and response._payload_writer is not None:
            response._payload_writer.send_headers()  # which aiohttp keeps for the first bytes of the body
        for data in content.read(start, min(stop, start + limit)):
            await response.write(bytes([data[0] ^ 0xFF]) + data[1:] if corrupt else data)
            corrupt = False
        if broken is not None:
            if ask.request.transport is not None:
                ask.request.transport.close()  # what was written goes out first
            return
        if stalled is not None:
            with suppress(ConnectionError):
                await self._until_gone(ask)
            raise Unanswered
        await response.write_eof()

    async def _until_gone(self, ask: Ask) -> None:
        while self.alive and ask.request.transport is not None and not ask.request.transport.is_closing():
            await anyio.sleep(0.02)

    def _span(self, ask: Ask, bucket: Bucket, found: Obj) -> tuple[int, int, dict[str, str]]:
        """From where to where, and the headers of a part. Raises Refusal 416."""
        asked = ask.headers.get(hdrs.RANGE)
        size = found.size
        if asked is None:
            return 0, size, {}
        if "," in asked:
            raise Refusal(416, "multi-range is not supported")
        match = RANGE.fullmatch(asked)
        if match is None or match[0] == "bytes=-":
            raise Refusal(416, "invalid range")
        first, last = match[1], match[2]
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= size or start >= stop:
            told = f"size={size}: not satisfiable range [{first}-{last}]"
            if self.ais.old:
                told = "invalid range: failed to overlap"
            raise Refusal(416, told, tcode="ErrRangeNotSatisfiable", headers={"Content-Range": f"bytes */{size}"})
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        hashed = hasher(found.kind, self.ais.dialect)
        if bucket.props["checksum"]["enable_read_range"] and hashed is not None:
            for data in found.content.read(start, stop):
                hashed.update(data)
            headers["Checksum.value" if self.ais.old else "Ais-Checksum-Value"] = hashed.hexdigest()
        return start, stop, headers

    async def _put(self, ask: Ask, bucket: Bucket, name: str) -> web.StreamResponse:
        append, handle = ("appendty", "handle") if self.ais.old else ("append_type", "append_handle")
        # Today's server does not know 3.3's words: such a request is a plain put, which overwrites (measured).
        match ask.query.get(append):
            case "append":
                return await self._append(ask, bucket, name, ask.query.get(handle, ""))
            case "flush":
                return await self._flush(ask, bucket, name, ask.query.get(handle, ""))
        words = ("checksum.type", "checksum.value") if self.ais.old else ("ais-checksum-type", "ais-checksum-value")
        kind, value = (ask.headers.get(word, "") for word in words)
        checked = hasher(kind, self.ais.dialect) if kind and value else None
        own = hasher(bucket.cksum, self.ais.dialect)
        intake = await self._take(ask, [h for h in (checked, own) if h is not None])
        if checked is not None and checked.hexdigest() != value:
            intake.drop()
            told = f"{kind}({value} != {checked.hexdigest()})"
            raise Refusal(
                500,
                f"BAD DATA CHECKSUM: {told} (context: o[{bucket.key.name}/{name} fs=/dev/vda])",
                tcode="ErrBadCksum",
            )
        custom = ask.headers.get("custom_md" if self.ais.old else "ais-custom-md", "")
        checksum = own.hexdigest() if own is not None else ""
        made = bucket.put(name, intake.content(), checksum=checksum, custom=custom, target=self.index)
        return empty(None if self.ais.old else self._headers(made))

    async def _take(self, ask: Ask, hashes: list[Hash], intake: Intake | None = None) -> Intake:
        """Receive a body. A short one is not stored: its connection is gone, and so is the answer."""
        if ask.expects and ask.request.transport is not None:
            ask.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        broken = self._break_put.pop(0) if self._break_put else None
        whole = intake is None
        intake = intake or Intake(self.ais.spilled, self.ais.keep_large)
        try:
            while data := await ask.request.content.readany():
                ask.read += len(data)
                if ask.read <= 1 << 16:
                    ask.body += data
                if broken is not None and ask.read >= broken:
                    raise Unanswered
                intake.take(data)
                for hashed in hashes:
                    hashed.update(data)
        except BaseException:
            if whole:
                intake.drop()
            raise
        if broken is not None:
            raise Unanswered
        return intake

    async def _append(self, ask: Ask, bucket: Bucket, name: str, handle: str) -> web.Response:
        work = handle.split("|")[1] if handle.count("|") == 3 else ""
        if handle and work not in self.appending:
            raise Refusal(400, f'invalid handle provided: "{handle}"')
        if not handle:
            short = name.rsplit("/", 1)[-1]
            work = f"{self.mountpath(name)}/@{bucket.key.provider}/{bucket.key.name}/%wk/append.{short}.{new_id()}"
            self.appending[work] = Appending(bucket, name, Intake(self.ais.spilled))
        parts = self.appending[work]
        await self._take(ask, [], parts.intake)
        state = base64.b64encode(f"xxh\x06{parts.intake.size:064}".encode()).decode()
        told = f"{self.id}|{work}|{bucket.cksum}|{state}"
        return empty({"Append.handle" if self.ais.old else "Ais-Append-Handle": told})

    async def _flush(self, ask: Ask, bucket: Bucket, name: str, handle: str) -> web.Response:
        if not handle:
            raise Refusal(400, "handle not provided")
        work = handle.split("|")[1] if handle.count("|") == 3 else ""
        parts = self.appending.pop(work, None)
        if parts is None or parts.name != name:
            raise Refusal(400, f'invalid handle provided: "{handle}"')
        made = bucket.put(name, parts.intake.content(), target=self.index)
        made.atime = 0
        return empty({"Append.handle" if self.ais.old else "Ais-Append-Handle": ""})

    async def _delete(self, ask: Ask, bucket: Bucket, name: str) -> web.StreamResponse:
        action = ""
        if await ask.whole():
            action = meaning((await ask.message()).get("action"), old=self.ais.old)
            if not action:
                raise Refusal(400, "unexpected action message")
        if action == "evict":
            if not bucket.cloud:
                if self.ais.old:
                    raise Unanswered  # a panic, in the handler alone
                raise Refusal(400, f"{bucket.key} is not a remote bucket")
            self._found(ask, bucket, name).present = False
            return empty()
        if bucket.held(name, self.index) is None:
            bid = f"({bucket.bid & 0xFFFF:#x})" if self.ais.old else ""
            what = f"object {bucket.key}{bid}" if self.ais.old else str(bucket.key)
            raise Refusal(404, f"{what}/{name} doesn't exist")
        bucket.misplaced.pop((self.index, name), None)
        if name in bucket.objects and bucket.objects[name].target == self.index:
            bucket.drop(name)
        return empty()

    async def _post(self, ask: Ask) -> web.StreamResponse:
        message = await ask.message()
        bucket = ask.bucket(ask.items[1])
        name = "/".join(ask.items[2:])
        match meaning(message.get("action"), old=self.ais.old):
            case "rename_object":
                found = self._found(ask, bucket, name)
                if bucket.props["ec"]["enabled"]:
                    raise Refusal(400, f"{bucket.key}: cannot rename object of an erasure-coded bucket")
                bucket.drop(name)
                new = str(message.get("name", ""))
                moved = bucket.put(new, found.content, checksum=found.checksum, custom=found.custom)
                moved.atime, moved.version = found.atime, found.version
                return empty()
            case "promote":
                self.promote(ask, message)
                return empty()
        raise self.unknown(ask)

    def promote(self, ask: Ask, message: JSON, *, missing_ok: bool = False) -> None:
        """Files of this target's disk become objects."""
        bucket = ask.bucket(ask.items[1])
        value = cast("JSON", message.get("value") or {})
        old = self.ais.old
        words = ("objname", "recursive", "overwrite", "keep_original") if old else ("obj", "rcr", "ovw", "dls")
        prefix, recursive, overwrite = (value.get(word) for word in words[:3])
        keep = bool(value.get(words[3])) if old else not value.get(words[3])
        source = str(message.get("name") or value.get("src") or "")
        files = self.ais.files.get(self.id, {})
        found = [path for path in files if path == source or path.startswith(source.rstrip("/") + "/")]
        if not found:
            if missing_ok:
                return
            raise Refusal(404, f'{self.id}: "{source}" does not exist')
        for path in found:
            rest = path.removeprefix(source).lstrip("/")
            if "/" in rest and not recursive:
                continue
            name = "/".join(filter(None, [prefix, rest])) if rest else prefix or path.rsplit("/", 1)[-1]
            if not overwrite and name in bucket.objects:
                continue
            bucket.put(name, Held(files[path]))
            if not keep:
                del files[path]
