"""A gateway: it redirects what concerns objects, and answers for buckets and the cluster."""

from __future__ import annotations

import html
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import anyio
from aiohttp import web
from attrs import define
from doubles.aistore_buckets import BucketDesk
from doubles.aistore_cluster import ClusterDesk
from doubles.aistore_config import Config
from doubles.aistore_node import DRAINED, Ask, Node, Refusal, Unanswered, empty
from doubles.aistore_state import now
from doubles.aistore_words import meaning, unexpected

BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"

PERMISSIONS = {"GET": 1, "HEAD": 2, "PUT": 4, "DELETE": 32, "POST": 64}
APPEND = 8
PROMOTE = 128

LINGERS = 0.5
"""Seconds from the half to the whole end of a connection whose body was not read, by the source of Go's server."""


def base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE36[digit] + digits
    return digits


@define(eq=False, kw_only=True)
class Gateway(Node):
    """See the module and `Node`."""

    config: Config
    _elsewhere: list[str] | None = None

    kind = "proxy"

    def redirect_to(self, url: str, *, times: int = 1) -> None:
        """Send the next redirects to this scheme and host in place of the target's."""
        self._elsewhere = (self._elsewhere or []) + [url] * times

    def to_primary(self) -> None:
        """Raises Refusal 502 where this gateway would pass a change on to a primary that is not there."""
        if not self.ais.node(self.ais.map.primary).alive:
            raise Refusal(502)

    def to_targets(self) -> None:
        """Raises Refusal where one of those that all have to answer is not there. Its text was not recorded."""
        for target in self.ais.map.targets():
            if not target.alive:
                place = target.public.removeprefix("http://")
                raise Refusal(500, f"{target}: dial tcp {place}: connect: connection refused")

    async def answer(self, ask: Ask) -> web.StreamResponse:
        desk = ClusterDesk(self)
        match ask.items[:1]:
            case ["objects"]:
                return await self._objects(ask)
            case ["buckets"]:
                return await BucketDesk(self).answer(ask)
            case ["cluster"]:
                return await desk.cluster(ask)
            case ["daemon"]:
                return await desk.daemon(ask)
            case ["health"]:
                return desk.health(ask)
            case ["reverse"]:
                return await self._reverse(ask)
            case ["download"]:
                return await self.ais.downloads.answer(ask)
            case ["etl" | "sort" | "dsort" | "query" | "s3" | "ec" | "xactions"]:
                raise self.unknown(ask)
        raise self.invalid(ask)

    async def _reverse(self, ask: Ask) -> web.StreamResponse:
        """Carried out on the node that a header names, as if it had come there by the control network."""
        ask.items = ask.items[1:]
        ask.path = "/v1/" + ask.path.removeprefix("/v1/reverse/")
        wanted = ask.headers.get("node.id" if self.ais.old else "ais-node-id", "")
        members = self.ais.map
        if wanted not in members:
            where = f"Smap v{members.version}"
            raise Refusal(400, f"{self}: cannot rproxy node {wanted} (not present in the {where})")
        node = self.ais.node(wanted)
        if not node.alive:
            return web.Response(status=502)
        ask.node = node
        ask.reversed = True
        return await node.answer(ask)

    def permit(self, ask: Ask, permission: int) -> None:
        """Raises Refusal 401 where the token does not carry it, or there is none."""
        if self.ais.auth:
            self.ais.authn.check(ask.headers.get("Authorization", ""), permission)

    async def _objects(self, ask: Ask) -> web.StreamResponse:
        method, name = ask.method, "/".join(ask.items[2:])
        if method not in PERMISSIONS or len(ask.items) < 2:
            raise self.invalid(ask)
        if method == "POST":
            return await self._post(ask, name)
        bucket = ask.bucket(ask.items[1])
        append = "appendty" if self.ais.old else "append_type"
        self.permit(ask, APPEND if append in ask.query else PERMISSIONS[method])
        if not name:
            raise Refusal(400, "invalid request")
        if self.ais.old and method == "PUT" and append in ask.query:
            handle = ask.query.get("handle", "")
            if handle and handle.count("|") != 3:
                await self._drain(ask)
                raise Refusal(400, f'invalid handle provided: "{handle}"')
        if ask.expects:
            return self._redirected(ask, bucket.key.name, name, close=True)
        if await self._drain(ask):
            return self._redirected(ask, bucket.key.name, name)
        # Go answers 307 without reading on, and closes: a client that is still sending meets a reset before it reads.
        if self.ais.early_redirect:
            await self._redirect_early(ask, bucket.key.name, name)
        raise Unanswered

    async def _redirect_early(self, ask: Ask, bucket: str, name: str) -> None:
        """All that Go's server does before that reset: it answers, closes its half, and waits for half a second."""
        transport = ask.request.transport
        if transport is None:
            return
        answer = self._redirected(ask, bucket, name, close=True)
        await answer.prepare(ask.request)
        await answer.write_eof()
        transport.pause_reading()
        transport.write_eof()
        await anyio.sleep(LINGERS)

    async def _drain(self, ask: Ask) -> bool:
        """Read a body that nobody wants, as far as Go does. False: there is more of it."""
        while ask.read <= DRAINED:
            data = await ask.request.content.readany()
            if not data:
                return True
            ask.read += len(data)
            if ask.read <= 1 << 16:
                ask.body += data
        return False

    async def _post(self, ask: Ask, name: str) -> web.StreamResponse:
        message = await ask.message()
        bucket = ask.bucket(ask.items[1])
        match meaning(message.get("action"), old=self.ais.old):
            case "rename_object":
                self.permit(ask, PERMISSIONS["POST"])
                if bucket.cloud:
                    raise Refusal(400, f"{self}: cannot rename object of the cloud bucket {bucket.key}")
                return self._redirected(ask, bucket.key.name, name)
            case "promote":
                self.permit(ask, PROMOTE)
                value = message.get("value") or {}
                chosen = value.get("target" if self.ais.old else "tid")
                if self.ais.old and not str(message.get("name", "")).startswith("/"):
                    raise Refusal(400, f"promote request: {message.get('name')!r} must be an absolute path")
                if chosen:
                    if chosen not in self.ais.map:
                        raise Refusal(404, f"Node {chosen!r} does not exist")
                    return self._redirected(ask, bucket.key.name, name, to=self.ais.node(chosen))
                # Without a target all of them promote what they find: from the source, not recorded.
                for target in self.ais.targets:
                    if target.id in self.ais.map:
                        target.promote(ask, message, missing_ok=True)
                return empty()
        if self.ais.old:
            raise unexpected(message, pointer=False)
        raise Refusal(400, f'invalid action "{message.get("action")}"')

    def _redirected(
        self, ask: Ask, bucket: str, name: str, *, to: Node | None = None, close: bool = False
    ) -> web.Response:
        location = self._location(ask, to or self.ais.owner(bucket, name))
        headers = {"Location": location}
        body = None
        status = 301 if ask.method == "GET" else 307
        if ask.method in ("GET", "HEAD"):
            headers["Content-Type"] = "text/html; charset=utf-8"
        if ask.method == "GET":
            body = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n'.encode()
        response = web.Response(status=status, headers=headers, body=body)
        if close:
            response.force_close()
        return response

    def _location(self, ask: Ask, node: Node) -> str:
        base = node.public
        if self._elsewhere:
            base = self._elsewhere.pop(0).rstrip("/")
        if not self.ais.old:
            marks = {"pid": self.id, "utm": base36(now())}
            if ask.method == "POST":
                query = urlencode(sorted((ask.query | marks).items()))
            else:
                query = "&".join(filter(None, [ask.raw_query, urlencode(marks)]))
            return f"{base}{quote(ask.decoded)}?{query}"
        # 3.3 puts the name there as it decoded it: what is not ASCII is escaped in lower case, and nothing else.
        path = "".join(c if c.isascii() else "".join(f"%{b:02x}" for b in c.encode()) for c in ask.decoded)
        path = path.replace("\r", " ").replace("\n", " ")  # as Go, which lets no line end into a header
        query = "&".join(filter(None, [ask.raw_query, f"pid={self.id}&utm={now()}"]))
        if ask.method == "HEAD" and "check_cached" in ask.query:
            query += f"&check_cached={ask.query['check_cached']}"
        parts = urlsplit(base)
        return urlunsplit((parts.scheme, parts.netloc, "", "", "")) + f"{path}?{query}"
