"""Members, statistics, health and version of a v2 server, each call one request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from aetcd._wire.decode import decode
from aetcd.etcd.v2._codec import admin_request
from aetcd.etcd.v2._errors import judge_health, raise_admin_error
from aetcd.etcd.v2._models import (
    V2FollowerStats,
    V2Health,
    V2LeaderStats,
    V2Member,
    V2SelfStats,
    V2StoreStats,
    V2Version,
)

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel
    from aetcd._transport.timeouts import Timeout
    from aetcd._wire.message import Request

__all__ = ["Admin", "Members", "Stats"]


class _Wire(msgspec.Struct, rename="camel"):
    """The server's names."""


class _Member(_Wire, rename={"peer_urls": "peerURLs", "client_urls": "clientURLs"}):
    id: str
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()

    def read(self) -> V2Member:
        return V2Member(id=self.id, name=self.name, peer_urls=self.peer_urls, client_urls=self.client_urls)


class _Members(_Wire):
    members: list[_Member] = []


class _LeaderInfo(_Wire):
    start_time: datetime
    leader: str = ""
    uptime: str = ""


class _SelfStats(
    _Wire,
    rename={
        "start_time": "startTime",
        "leader_info": "leaderInfo",
        "received": "recvAppendRequestCnt",
        "sent": "sendAppendRequestCnt",
        "receiving_packages": "recvPkgRate",
        "receiving_bandwidth": "recvBandwidthRate",
        "sending_packages": "sendPkgRate",
        "sending_bandwidth": "sendBandwidthRate",
    },
):
    name: str
    id: str
    state: str
    start_time: datetime
    leader_info: _LeaderInfo
    received: int = 0
    sent: int = 0
    receiving_packages: float = 0
    receiving_bandwidth: float = 0
    sending_packages: float = 0
    sending_bandwidth: float = 0


class _Latency(_Wire, rename={"deviation": "standardDeviation"}):
    current: float
    average: float
    deviation: float
    minimum: float
    maximum: float


class _Counts(_Wire):
    success: int
    fail: int


class _Follower(_Wire):
    latency: _Latency
    counts: _Counts

    def read(self) -> V2FollowerStats:
        return V2FollowerStats(
            latency_current=self.latency.current,
            latency_average=self.latency.average,
            latency_standard_deviation=self.latency.deviation,
            latency_minimum=self.latency.minimum,
            latency_maximum=self.latency.maximum,
            successes=self.counts.success,
            failures=self.counts.fail,
        )


class _LeaderStats(_Wire):
    leader: str
    followers: dict[str, _Follower] = {}


class _StoreStats(_Wire):
    gets_success: int
    gets_fail: int
    sets_success: int
    sets_fail: int
    delete_success: int
    delete_fail: int
    update_success: int
    update_fail: int
    create_success: int
    create_fail: int
    compare_and_swap_success: int
    compare_and_swap_fail: int
    compare_and_delete_success: int
    compare_and_delete_fail: int
    expire_count: int
    watchers: int


class _Version(_Wire):
    etcdserver: str
    etcdcluster: str = ""


class _Health(_Wire):
    health: str | bool
    reason: str = ""


async def _ask(channel: Channel, request: Request, timeout: float | Timeout | None, peer: str | None = None) -> bytes:
    response = await channel.send(request, timeout=timeout, peer=peer)
    if response.status not in {200, 201, 204}:
        raise_admin_error(request, response)
    return response.body


async def _leader(channel: Channel, timeout: float | Timeout | None, peer: str | None = None) -> V2Member:
    body = await _ask(channel, admin_request("v2 leader", "/v2/members/leader"), timeout, peer)
    return decode(body, _Member).read()


class Members:
    """The members of the cluster, and changes of them.

    A member's ID is its number in hexadecimal, as `list` shows it. Changes go through the cluster's quorum: where they
    cannot be settled, OutcomeUnknown is raised, and they may yet come about. It is raised too where the server refuses
    because a member is down or joined less than five seconds ago: its answer is the same bare 500. `list` tells.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def list(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> list[V2Member]:
        """The members as the peer knows them."""
        body = await _ask(self._channel, admin_request("v2 members list", "/v2/members"), timeout, peer)
        return [member.read() for member in decode(body, _Members).members]

    async def add(self, peer_urls: Sequence[str], *, timeout: float | Timeout | None = None) -> V2Member:
        """Take in a member, which is to be started afterwards.

        Raises InvalidRequest for bad URLs, and MemberExists for URLs that a member has already.
        """
        request = admin_request("v2 members add", "/v2/members", method="POST", document=_urls(peer_urls))
        return decode(await _ask(self._channel, request, timeout), _Member).read()

    async def update(self, member_id: str, peer_urls: Sequence[str], *, timeout: float | Timeout | None = None) -> None:
        """Tell the cluster a member's new peer URLs. Raises MemberNotFound, MemberExists, InvalidRequest."""
        path = _member_path(member_id)
        request = admin_request("v2 members update", path, method="PUT", document=_urls(peer_urls))
        await _ask(self._channel, request, timeout)

    async def remove(self, member_id: str, *, timeout: float | Timeout | None = None) -> None:
        """Put a member out, for good. Raises MemberNotFound."""
        request = admin_request("v2 members remove", _member_path(member_id), method="DELETE")
        await _ask(self._channel, request, timeout)


class Stats:
    """Statistics. Each member counts its own, so name the `peer` to know whose they are."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def self(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> V2SelfStats:
        """What a member says of itself."""
        body = await _ask(self._channel, admin_request("v2 stats self", "/v2/stats/self"), timeout, peer)
        read = decode(body, _SelfStats)
        return V2SelfStats(
            name=read.name,
            id=read.id,
            state=read.state,
            start_time=read.start_time,
            leader=read.leader_info.leader,
            leader_uptime=read.leader_info.uptime,
            leader_start_time=read.leader_info.start_time,
            append_requests_received=read.received,
            append_requests_sent=read.sent,
            receiving_packages=read.receiving_packages,
            receiving_bandwidth=read.receiving_bandwidth,
            sending_packages=read.sending_packages,
            sending_bandwidth=read.sending_bandwidth,
        )

    async def leader(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> V2LeaderStats:
        """The leader's view of its followers.

        peer: Without it, a client of several peers first asks which of them leads: only that one answers.

        Raises NoLeader during an election, ServerUnavailable where the peer is not the leader.
        """
        if peer is None and len(peers := self._channel.pool.peers) > 1:
            leader = await _leader(self._channel, timeout)
            # None of them where the members tell addresses that the client does not use.
            peer = next((each.url for each in peers if each.url in leader.client_urls), None)
        body = await _ask(self._channel, admin_request("v2 stats leader", "/v2/stats/leader"), timeout, peer)
        read = decode(body, _LeaderStats)
        followers = {id_: follower.read() for id_, follower in read.followers.items()}
        return V2LeaderStats(leader=read.leader, followers=followers)

    async def store(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> V2StoreStats:
        """Operations on a member's store since it started."""
        body = await _ask(self._channel, admin_request("v2 stats store", "/v2/stats/store"), timeout, peer)
        return V2StoreStats(**msgspec.structs.asdict(decode(body, _StoreStats)))


class Admin:
    """What a server tells of itself and of its cluster."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.members = Members(channel)
        self.stats = Stats(channel)

    async def health(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> V2Health:
        """Whether a peer takes part in a working cluster: the answer is true or false as such."""
        request = admin_request("v2 health", "/health", judge=judge_health)
        response = await self._channel.send(request, timeout=timeout, peer=peer)
        if b'"health"' not in response.body:
            raise_admin_error(request, response)
        read = decode(response.body, _Health)
        return V2Health(healthy=read.health in {"true", True}, reason=read.reason)

    async def version(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> V2Version:
        """The versions of a peer and of the cluster."""
        body = await _ask(self._channel, admin_request("v2 version", "/version"), timeout, peer)
        read = decode(body, _Version)
        return V2Version(server=read.etcdserver, cluster=read.etcdcluster)

    async def machines(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> list[str]:
        """The client URLs of all members."""
        body = await _ask(self._channel, admin_request("v2 machines", "/v2/machines"), timeout, peer)
        return [url for url in re.split(r",\s*", body.decode().strip()) if url]

    async def leader(self, *, timeout: float | Timeout | None = None, peer: str | None = None) -> V2Member:
        """The member that leads. Raises NoLeader during an election."""
        return await _leader(self._channel, timeout, peer)


def _urls(peer_urls: Sequence[str]) -> dict[str, list[str]]:
    if isinstance(peer_urls, str):
        raise TypeError(f"peer_urls must be several, not the one text {peer_urls!r}")
    if not peer_urls:
        raise ValueError("peer_urls: at least one is needed")
    return {"peerURLs": [*peer_urls]}


def _member_path(member_id: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}", member_id):
        raise ValueError(f"member_id must be a number in hexadecimal, as members.list() shows it, not {member_id!r}")
    return f"/v2/members/{member_id}"
