"""etcd v2, whole: keys, members, statistics and users, as the server speaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aetcd.etcd.v2._admin import Admin, Members, Stats
from aetcd.etcd.v2._auth import Auth, Roles, Users
from aetcd.etcd.v2._endless import V2Watch
from aetcd.etcd.v2._keys import Keys
from aetcd.etcd.v2._models import (
    KeysResponse,
    V2FollowerStats,
    V2Health,
    V2LeaderStats,
    V2Member,
    V2Node,
    V2Role,
    V2SelfStats,
    V2StoreStats,
    V2User,
    V2Version,
)

if TYPE_CHECKING:
    from aetcd._transport.channel import Channel

__all__ = [
    "V2",
    "Auth",
    "KeysResponse",
    "Members",
    "Roles",
    "Stats",
    "Users",
    "V2FollowerStats",
    "V2Health",
    "V2LeaderStats",
    "V2Member",
    "V2Node",
    "V2Role",
    "V2SelfStats",
    "V2StoreStats",
    "V2User",
    "V2Version",
    "V2Watch",
]


class V2(Keys, Admin):
    """The native API of etcd v2: the keys at hand, the rest in groups.

    members: `list`, `add`, `update`, `remove`.
    stats: `self`, `leader`, `store`.
    auth: `enable`, `disable`, `status`, and in it `users` and `roles`.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        Keys.__init__(self, channel)
        Admin.__init__(self, channel)
        self.auth = Auth(channel)
