"""The cluster's members, and the upkeep of each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from attrs import frozen

from aetcd._wire.message import Effect
from aetcd.etcd.v3._arguments import flag, one_of, text, urls
from aetcd.etcd.v3._codec import Route, Wire, whole
from aetcd.etcd.v3._gateway import Group
from aetcd.etcd.v3._models import (
    Alarm,
    AlarmResponse,
    DowngradeResponse,
    Empty,
    HashKVResponse,
    HashResponse,
    MemberChange,
    MemberList,
    Status,
)
from aetcd.etcd.v3._snapshot import (
    Progress,
    SavedSnapshot,
    SnapshotStream,
    check_progress,
    open_snapshot,
    save,
    taking_the_place_of,
)

if TYPE_CHECKING:
    from aetcd._transport.timeouts import Timeout

__all__ = ["MEMBER_LIST", "STATUS", "Cluster", "Maintenance"]

T = TypeVar("T")

MEMBER_LIST = Route(operation="v3 member list", path="/cluster/member/list", effect=Effect.READ)
MEMBER_ADD = Route(operation="v3 member add", path="/cluster/member/add", effect=Effect.ONCE)
MEMBER_UPDATE = Route(operation="v3 member update", path="/cluster/member/update", effect=Effect.ONCE)
MEMBER_REMOVE = Route(operation="v3 member remove", path="/cluster/member/remove", effect=Effect.ONCE)
MEMBER_PROMOTE = Route(operation="v3 member promote", path="/cluster/member/promote", effect=Effect.ONCE, needs="3.4")
STATUS = Route(operation="v3 status", path="/maintenance/status", effect=Effect.READ)
ALARM = Route(operation="v3 alarm", path="/maintenance/alarm", effect=Effect.REPEATABLE)
DEFRAGMENT = Route(operation="v3 defragment", path="/maintenance/defragment", effect=Effect.ONCE)
HASH = Route(operation="v3 hash", path="/maintenance/hash", effect=Effect.READ)
# Before 3.5.10 the gateway had it under the path of `hash`, where it could not be reached (etcd#16490).
HASH_KV = Route(operation="v3 hash of keys", path="/maintenance/hashkv", effect=Effect.READ, needs="3.5.10")
# Moving it to where it is already changes nothing.
MOVE_LEADER = Route(
    operation="v3 move leader", path="/maintenance/transfer-leadership", effect=Effect.REPEATABLE, needs="3.3"
)
DOWNGRADE = Route(operation="v3 downgrade", path="/maintenance/downgrade", effect=Effect.ONCE, needs="3.5")

ANY = "any"
"""In place of a peer's URL: whichever the pool picks."""


@frozen(repr=False)
class Cluster(Group):
    """The cluster's members.

    Changes raise ClusterRefused where they would cost the quorum, and OutcomeUnknown where no answer tells.
    """

    async def members(
        self, *, linearizable: bool = True, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> MemberList:
        """Every member.

        linearizable: Ask the quorum. Servers before 3.5 always answer as the peer itself knows them.
        """
        message = {"linearizable": flag(linearizable, "linearizable")}
        return await self._gateway.ask(MEMBER_LIST, message, MemberList, timeout=timeout, peer=peer)

    async def add(
        self,
        peer_urls: Sequence[str],
        *,
        learner: bool = False,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> MemberChange:
        """Make room for a member, which then has to be started; its ID is in the answer's `member`.

        learner: It does not vote until it is promoted (etcd 3.4).

        Raises MemberExists.
        """
        message: Wire = {"peerURLs": urls(peer_urls, "peer_urls")}
        if flag(learner, "learner"):
            message["isLearner"] = True
        return await self._gateway.ask(MEMBER_ADD, message, MemberChange, timeout=timeout, peer=peer)

    async def promote(
        self, member_id: int, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> MemberChange:
        """Let a learner vote.

        Raises ClusterRefused until it has caught up, MemberNotFound, and Unsupported before etcd 3.4.
        """
        return await self._change(MEMBER_PROMOTE, {"ID": _id(member_id, "member_id")}, timeout, peer)

    async def update(
        self,
        member_id: int,
        peer_urls: Sequence[str],
        *,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> MemberChange:
        """Tell the cluster where a member is reached by the others. Raises MemberNotFound."""
        return await self._change(
            MEMBER_UPDATE, {"ID": _id(member_id, "member_id"), "peerURLs": urls(peer_urls, "peer_urls")}, timeout, peer
        )

    async def remove(
        self, member_id: int, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> MemberChange:
        """Take a member out for good. Raises MemberNotFound."""
        return await self._change(MEMBER_REMOVE, {"ID": _id(member_id, "member_id")}, timeout, peer)

    async def _change(
        self, route: Route, message: Wire, timeout: float | Timeout | None, peer: str | None
    ) -> MemberChange:
        return await self._gateway.ask(route, message, MemberChange, timeout=timeout, peer=peer)


@frozen(repr=False)
class Maintenance(Group):
    """The upkeep of members.

    Status, defragmentation, hashes and snapshots are about one member: `peer` is its URL, or `"any"` for whichever the
    pool picks. It may be left out where the client knows one peer only, and else raises ValueError: so it does once
    discovery has found several, or `member_sync` learnt of them. No other member answers in its place.

    The other calls are about the cluster: without `peer`, or with `"any"`, whichever the pool picks takes them.
    """

    async def status(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> Status:
        """How the member is."""
        return await self._ask_member(STATUS, {}, Status, timeout, peer)

    async def alarms(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> AlarmResponse:
        """The alarms that stand in the cluster."""
        message, peer = {"action": "GET"}, _picked(peer)
        return await self._gateway.ask(ALARM, message, AlarmResponse, effect=Effect.READ, timeout=timeout, peer=peer)

    async def disarm(
        self,
        alarm: Literal["NOSPACE", "CORRUPT"] | None = None,
        *,
        member_id: int = 0,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> AlarmResponse:
        """Take alarms back, each by a request of its own; those that went are in the answer.

        alarm: Its kind; None is every one.
        member_id: The member that raised it; 0 is any.
        timeout: Of each request.
        """
        one_of(alarm, ("NOSPACE", "CORRUPT", None), "alarm")
        _whole_id(member_id, "member_id")
        peer = _picked(peer)
        standing = await self.alarms(timeout=timeout, peer=peer)
        gone: list[Alarm] = []
        # The server knows no "all": it takes back one alarm of one member, and says nothing of one that does not stand.
        for each in standing.alarms:
            if alarm in {None, each.alarm} and member_id in {0, each.member_id}:
                message = {"action": "DEACTIVATE", "memberID": each.member_id, "alarm": each.alarm}
                gone += (await self._gateway.ask(ALARM, message, AlarmResponse, timeout=timeout, peer=peer)).alarms
        return AlarmResponse(header=standing.header, alarms=tuple(gone))

    async def defragment(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> Empty:
        """Give the disk space back that compaction freed. The member answers nobody else meanwhile.

        Takes time with the size of the database: give `timeout`. Raises OutcomeUnknown where it runs out.
        """
        return await self._ask_member(DEFRAGMENT, {}, Empty, timeout, peer)

    async def hash(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> HashResponse:
        """Hash of the member's whole database; it differs between members that compacted at different times."""
        return await self._ask_member(HASH, {}, HashResponse, timeout, peer)

    async def hash_kv(
        self, revision: int = 0, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> HashKVResponse:
        """Hash of the member's keys up to a revision (0 is the present), to compare members by.

        Raises Unsupported before etcd 3.5.10, RevisionCompacted, RevisionInFuture.
        """
        return await self._ask_member(HASH_KV, {"revision": whole(revision, "revision")}, HashKVResponse, timeout, peer)

    async def snapshot(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> SavedSnapshot:
        """Save the member's whole database to a file, for `etcdutl snapshot restore` (`etcdctl` before 3.5).

        path: It is written under another name in the same folder and takes this one, in place of what stood there, when
            it is whole, its SHA-256 was right and it is on disk. An error or a cancel leaves nothing behind.
        progress: Called with the bytes that have come and those still to come, again and again; what it raises ends it.
            An ordinary function: nobody would await what an async one returns.
        timeout: Limits of the beginning; the rest has none, but for a member that falls silent.

        Raises DecodeError for a wrong checksum, OSError for the file, and what the pool raises.
        """
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"path must be str or os.PathLike, not {type(path).__name__}")
        check_progress(progress)
        target = Path(path)
        with taking_the_place_of(target) as file:
            async with self.snapshot_stream(timeout=timeout, peer=peer) as stream:
                await save(stream, file, progress)
        return SavedSnapshot(path=target, size=stream.done, sha256=stream.sha256, peer=stream.peer)

    @asynccontextmanager
    async def snapshot_stream(
        self, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> AsyncIterator[SnapshotStream]:
        """As `snapshot`, piece by piece: `async with ... as pieces`, then `async for piece in pieces`."""
        member, left = await self._member(peer, timeout)
        async with open_snapshot(self._gateway, timeout=left, peer=member) as pieces:
            yield pieces

    async def move_leader(
        self, target_id: int, *, timeout: float | Timeout | None = None, peer: str | None = None
    ) -> Empty:
        """Hand leadership to a member.

        peer: The leader; any other raises ClusterRefused. Without it, or with `"any"`, a client of several peers first
            asks which of them leads.
        timeout: Of each request.
        """
        message = {"targetID": _id(target_id, "target_id")}
        leader = _picked(peer)
        if leader is None:
            leader = await self._leading(timeout)
        return await self._gateway.ask(MOVE_LEADER, message, Empty, timeout=timeout, peer=leader)

    async def downgrade(
        self,
        action: Literal["VALIDATE", "ENABLE", "CANCEL"],
        version: str = "",
        *,
        timeout: float | Timeout | None = None,
        peer: str | None = None,
    ) -> DowngradeResponse:
        """Prepare the cluster for members of the minor version before, or call it off.

        version: Such as `3.5.0`; not with `CANCEL`.

        etcd 3.5.1 answers `ENABLE`, and `CANCEL` after it, with "request timed out" after 7 s, to bare requests too
        (measured, on one member): OutcomeUnknown.

        Raises InvalidRequest, ClusterRefused, and Unsupported before etcd 3.5.
        """
        one_of(action, ("VALIDATE", "ENABLE", "CANCEL"), "action")
        if (action == "CANCEL") == bool(text(version, "version")):
            raise ValueError("version must be given to VALIDATE and ENABLE, and not to CANCEL")
        message, peer = {"action": action, "version": version}, _picked(peer)
        effect = Effect.READ if action == "VALIDATE" else Effect.ONCE
        return await self._gateway.ask(DOWNGRADE, message, DowngradeResponse, effect=effect, timeout=timeout, peer=peer)

    async def _ask_member(
        self, route: Route, message: Wire, kind: type[T], timeout: float | Timeout | None, peer: str | None
    ) -> T:
        member, left = await self._member(peer, timeout)
        return await self._gateway.ask(route, message, kind, timeout=left, peer=member)

    async def _member(
        self, peer: str | None, timeout: float | Timeout | None
    ) -> tuple[str | None, float | Timeout | None]:
        """The member to ask, and the limits that are left for it. Never one that the pool picked unasked."""
        if peer is not None:
            return _picked(peer), timeout
        pool = self._gateway.channel.pool
        # Here discovery finds the peers. Before, there are none yet, and the second call only would be refused.
        left = await pool.prepared(timeout)
        if len(pool.peers) > 1:
            raise ValueError('peer must name the member that is meant, or be "any": this client knows several')
        return None, left

    async def _leading(self, timeout: float | Timeout | None) -> str | None:
        """The peer that leads; None where there is only one, or members tell addresses that the client does not use."""
        pool = self._gateway.channel.pool
        await pool.prepared(timeout)
        if len(pool.peers) < 2:
            return None
        leader = (await self._gateway.ask(STATUS, {}, Status, timeout=timeout)).leader
        members = (await self._gateway.ask(MEMBER_LIST, {}, MemberList, timeout=timeout)).members
        told = {url for member in members if member.id == leader for url in member.client_urls}
        return next((each.url for each in pool.peers if each.url in told), None)


def _picked(peer: str | None) -> str | None:
    """The peer to ask, or None for whichever the pool picks."""
    return None if peer == ANY else peer


def _id(given: int, argument: str) -> int:
    if _whole_id(given, argument) == 0:
        raise ValueError(f"{argument} must be at least 1")
    return given


def _whole_id(given: int, argument: str) -> int:
    # Unsigned, so of one bit more than revisions and leases have.
    if type(given) is not int:
        raise TypeError(f"{argument} must be a whole number, not {given!r}")
    if not 0 <= given < 1 << 64:
        raise ValueError(f"{argument} must be from 0 to 2**64 - 1, not {given}")
    return given
