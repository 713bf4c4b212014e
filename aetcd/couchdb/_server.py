"""The endpoints that are the whole server's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from aetcd._wire.message import Effect, Request, Response, Verdict
from aetcd.couchdb._arguments import check_count, check_flag, check_list, check_text
from aetcd.couchdb._auth import session_request
from aetcd.couchdb._codec import decode, etag_of, make, read
from aetcd.couchdb._errors import judge
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._models import (
    AnalyzedText,
    DatabaseInfo,
    DatabaseNames,
    Membership,
    Seed,
    ServerInfo,
    ServerStatus,
    SessionInfo,
    Up,
    Utils,
    Uuids,
)
from aetcd.couchdb._tasks import ActiveTask, read_task
from aetcd.errors import DecodeError

__all__ = ["PROBE", "Server"]

MANY = 100  # keys of one request to `_dbs_info`; `max_db_number_for_dbs_info_req` of the server


def _judge_up(response: Response) -> Verdict:
    # A node in maintenance answers, and says that it is not to be asked.
    return Verdict.NOT_NOW if response.status == 404 else judge(response)


# Open to anybody, and cheap: the pool asks it of peers that are not well.
PROBE = make("up", "GET", "/_up", judge=_judge_up)


class Server:
    """What any node answers for the whole server. See `CouchDB`."""

    _link: Link

    async def info(self, *, timeout: Limit = None) -> ServerInfo:
        """Version and identity: `GET /` (reference, 1.2.1). Open to anybody; a wrong password is refused here too."""
        request = make("server info", "GET", "/")
        return read(ServerInfo, await self._mapping(request, timeout))

    async def up(self, *, peer: str | None = None, timeout: Limit = None) -> Up:
        """Whether a node is there for requests: `GET /_up` (reference, 1.2.17; since 2.0). Open to anybody,
        unless the server wants a user for everything: then it is asked again with credentials.

        peer: URL of the node to ask; any by default.

        A node that is not is no error: the server's 404 is an answer, with the status `maintenance_mode`, `nolb` or
        `seeding`. Raises NoPeerAvailable where none answers.
        """
        request = make("up", "GET", "/_up")
        chosen = self._link.chosen_peer(peer)
        answer = await self._link.ask(
            request, timeout=timeout, peer=chosen, allow=(401, 404), needs="2.0", anonymous=True
        )
        if answer.status == 401:
            # With `require_valid_user` it is closed like all else.
            answer = await self._link.ask(request, timeout=timeout, peer=answer.peer, allow=(404,), needs="2.0")
        raw = decode(request, answer)
        if not isinstance(raw, dict) or not isinstance(raw.get("status"), str):
            if answer.status == 404:
                raise await self._link.refusal(request, answer, "2.0")
            raise DecodeError(f"up at {answer.peer}: not a status: {answer.body[:80]!r}")
        seeds = {name: read(Seed, seed) for name, seed in (raw.get("seeds") or {}).items()}
        return Up(status=ServerStatus(raw["status"]), peer=answer.peer, seeds=seeds)

    async def active_tasks(self, *, timeout: Limit = None) -> list[ActiveTask]:
        """What the cluster is busy with now: `GET /_active_tasks` (reference, 1.2.2).

        A task's absence does not mean that it has ended: a continuous replication that waits for its turn is missing
        too. Wait with `ReplicationJob.finished()`.

        Raises Unauthorized where the user is no administrator.
        """
        request = make("active tasks", "GET", "/_active_tasks")
        return [read_task(raw) for raw in await self._rows(request, timeout)]

    async def all_dbs(
        self,
        *,
        start: str | None = None,
        end: str | None = None,
        limit: int | None = None,
        skip: int = 0,
        descending: bool = False,
        inclusive_end: bool = True,
        timeout: Limit = None,
    ) -> DatabaseNames:
        """Names of all databases, in order: `GET /_all_dbs` (reference, 1.2.3).

        start, end: First and last name wanted, whether they exist or not.
        descending: From the last one down; then `start` is the greater of the two.
        inclusive_end: Whether `end` itself is wanted. Not in the reference; measured on 3.5.0.

        Raises Unauthorized where the user is no administrator, as 3.x wants for this.
        """
        for name, bound in (("start", start), ("end", end)):
            if bound is not None and not isinstance(bound, str):
                raise TypeError(f"{name} must be text, not {type(bound).__name__}")
        query = {
            "start_key": None if start is None else _quoted(start),
            "end_key": None if end is None else _quoted(end),
            "limit": None if limit is None else check_count(limit, "limit"),
            "skip": check_count(skip, "skip") or None,
            "descending": check_flag(descending, "descending") or None,
            "inclusive_end": None if check_flag(inclusive_end, "inclusive_end") else False,
        }
        request = make("all dbs", "GET", "/_all_dbs", query=query)
        answer = await self._link.ask(request, timeout=timeout)
        return DatabaseNames(decode(request, answer, list[str]), etag_of(answer))

    async def dbs_info(
        self,
        names: Iterable[str] | None = None,
        *,
        start: str | None = None,
        end: str | None = None,
        limit: int | None = None,
        skip: int = 0,
        descending: bool = False,
        timeout: Limit = None,
    ) -> list[DatabaseInfo | None]:
        """What each of several databases is like, in the order of `names`: `POST /_dbs_info` (reference, 1.2.4).

        names: None of them is missing from the answer: one that does not exist is None there. More than 100 are asked
            for in several requests. Without names it is all databases, or those that the other arguments select as in
            `all_dbs`: `GET /_dbs_info`, since 3.2 and not in the reference.
        timeout: Of each request.

        Raises Unauthorized, and EndpointUnsupported before 2.2 (without names 3.2).
        """
        bounds = {
            "start_key": None if start is None else _quoted(check_text(start, "start")),
            "end_key": None if end is None else _quoted(check_text(end, "end")),
            "limit": None if limit is None else check_count(limit, "limit"),
            "skip": check_count(skip, "skip") or None,
            "descending": check_flag(descending, "descending") or None,
        }
        if names is None:
            request = make("dbs info", "GET", "/_dbs_info", query=bounds)
            return [_info(raw) for raw in await self._rows(request, timeout, needs="3.2")]
        if any(value is not None for value in bounds.values()):
            raise ValueError("names: with names there is nothing to select: leave start, end, limit, skip, descending")
        listed = check_list(names, "names")
        found: list[DatabaseInfo | None] = []
        for first in range(0, len(listed), MANY):
            keys = {"keys": listed[first : first + MANY]}
            request = make("dbs info", "POST", "/_dbs_info", document=keys, effect=Effect.READ)
            found += [_info(raw) for raw in await self._rows(request, timeout, needs="2.2")]
        return found

    async def membership(self, *, timeout: Limit = None) -> Membership:
        """The cluster's nodes: `GET /_membership` (reference, 1.2.7; since 2.0).

        Their names are Erlang's, and say nothing of where they serve HTTP: a client's peers cannot be learnt here.
        """
        request = make("membership", "GET", "/_membership")
        return read(Membership, await self._mapping(request, timeout, needs="2.0"))

    async def uuids(self, count: int = 1, *, timeout: Limit = None) -> Uuids:
        """Fresh UUIDs, by the server's algorithm: `GET /_uuids` (reference, 1.2.18). Open to anybody.

        count: 1,000 at most by default (`uuids/max_count`): for more the server answers 400, as BadRequest.
        """
        request = make("uuids", "GET", "/_uuids", query={"count": check_count(count, "count")})
        answer = await self._link.ask(request, timeout=timeout)
        return Uuids(decode(request, answer, dict[str, list[str]]).get("uuids", []), etag_of(answer))

    async def session(self, *, timeout: Limit = None) -> SessionInfo:
        """Who the server takes this client for: `GET /_session`. Not in the reference's server part.

        Raises WrongPassword, and AccountLocked after five of those.
        """
        request = session_request()
        raw = await self._mapping(request, timeout)
        user, info = raw.get("userCtx") or {}, raw.get("info") or {}
        return SessionInfo(
            name=user.get("name"),
            roles=tuple(user.get("roles") or ()),
            authenticated=info.get("authenticated"),
            handlers=tuple(info.get("authentication_handlers") or ()),
        )

    async def search_analyze(self, analyzer: str, text: str, *, timeout: Limit = None) -> AnalyzedText:
        """How an analyzer cuts a text: `POST /_search_analyze` (reference, 1.2.15; since 3.0).

        The reference names its first field `field`; the server wants `analyzer`, as in the reference's own example.

        Raises ServiceUnavailable where no search plugin runs (503, measured on 3.5.0; with one it was not seen), and
        BadRequest for an analyzer that is not known.
        """
        document = {"analyzer": check_text(analyzer, "analyzer"), "text": check_text(text, "text")}
        request = make("search analyze", "POST", "/_search_analyze", document=document, effect=Effect.READ)
        return read(AnalyzedText, await self._mapping(request, timeout, needs="3.0"))

    async def utils(self, *, timeout: Limit = None) -> Utils:
        """Where the administration interface is: `GET /_utils` (reference, 1.2.16).

        The server answers with a redirect to `/_utils/`, which is followed on the same peer. Not found is a status.
        """
        first = await self._link.ask(make("utils", "GET", "/_utils"), timeout=timeout, allow=(301, 302, 307, 308, 404))
        if first.status not in {301, 302, 307, 308}:
            return Utils(status=first.status, url=f"{first.peer}/_utils")
        # Only the path is believed: behind a proxy the server does not know its own address.
        path = urlsplit(first.headers.get("Location", "")).path or "/_utils/"
        shown = path if path.startswith("/_utils") else "/_utils/"
        request = make("utils", "GET", shown)
        page = await self._link.ask(request, timeout=timeout, peer=first.peer, allow=(404,))
        return Utils(status=page.status, url=f"{page.peer}{shown}")

    async def favicon(self, *, timeout: Limit = None) -> bytes | None:
        """The site's icon: `GET /favicon.ico` (reference, 1.2.19); None where it has none, as 3.5.0 in Debian."""
        answer = await self._link.ask(make("favicon", "GET", "/favicon.ico"), timeout=timeout, allow=(404,))
        return answer.body if answer.status == 200 else None

    async def _mapping(self, request: Request, timeout: Limit, needs: str = "") -> dict[str, Any]:
        answer = await self._link.ask(request, timeout=timeout, needs=needs)
        found: dict[str, Any] = decode(request, answer, dict[str, Any])
        return found

    async def _rows(self, request: Request, timeout: Limit, needs: str = "") -> Sequence[dict[str, Any]]:
        answer = await self._link.ask(request, timeout=timeout, needs=needs)
        found: list[dict[str, Any]] = decode(request, answer, list[dict[str, Any]])
        return found


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _info(raw: dict[str, Any]) -> DatabaseInfo | None:
    found = raw.get("info")
    return None if found is None else read(DatabaseInfo, found)
