"""The cluster map: who is in it, who is primary, and how both dialects write it."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import define, field
from doubles.aistore_node import Node, Refusal
from doubles.aistore_state import JSON, new_id

if TYPE_CHECKING:
    from doubles.aistore import AIStoreDouble

IC_MEMBER = 2
MAINTENANCE = 4
DECOMMISSION = 8


def net(url: str) -> JSON:
    parts = urlsplit(url)
    return {"node_ip_addr": parts.hostname or "", "daemon_port": str(parts.port or ""), "direct_url": url}


def snode(node: Node, *, old: bool, flags: int) -> JSON:
    """A node as the map has it."""
    kind = "proxy" if node.kind == "proxy" else "target"
    public, control = net(node.public), net(node.control)
    if old:
        identity = {"daemon_id": node.id, "daemon_type": kind, "public_net": public}
        return identity | {"intra_control_net": public, "intra_data_net": public, "flags": flags}
    seed = hashlib.sha256(node.id.encode()).digest()
    return {
        "public_net": public,
        "intra_data_net": control,
        "intra_control_net": control,
        "daemon_type": kind,
        "daemon_id": node.id,
        "flags": flags,
        "id_digest": int.from_bytes(seed[:8]),
        "verifying_key": base64.b64encode(seed).decode(),
    }


@define(eq=False)
class Map:
    """Who belongs to the cluster: only nodes of the double do."""

    ais: AIStoreDouble
    version: int = 5
    uuid: str = field(factory=new_id)
    primary: str = ""
    members: list[str] = field(factory=list)
    created: int = field(factory=time.time_ns)

    def __attrs_post_init__(self) -> None:
        self.primary = self.ais.gateways[0].id
        self.members = [node.id for node in self.ais.nodes]

    def __contains__(self, id: str) -> bool:
        return id in self.members

    def node(self, id: str) -> Node:
        """A member of ours. Raises Refusal."""
        if id not in self.members:
            raise Refusal(404, f'Node "{id}" does not exist')
        return self.ais.node(id)

    def leave(self, id: str) -> None:
        self.members = [member for member in self.members if member != id]
        self.version += 1

    def enter(self, id: str) -> None:
        if id not in self.members:
            self.members.append(id)
            self.version += 1

    def elect(self, id: str) -> None:
        if id != self.primary:
            self.primary = id
            self.version += 100

    def flags(self, node: Node) -> int:
        member = IC_MEMBER if node.kind == "proxy" else 0
        return node.flags | member

    def gateways(self) -> list[Node]:
        return [node for node in self.ais.gateways if node.id in self.members]

    def targets(self) -> list[Node]:
        return [node for node in self.ais.targets if node.id in self.members]

    def snode(self, node: Node) -> JSON:
        return snode(node, old=self.ais.old, flags=self.flags(node))

    def json(self) -> JSON:
        targets = {node.id: self.snode(node) for node in self.targets()}
        proxies = {node.id: self.snode(node) for node in self.gateways()}
        seconds, rest = divmod(self.created, 1_000_000_000)
        day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        rest_of = {
            "proxy_si": self.snode(self.ais.node(self.primary)),
            "version": str(self.version),
            "uuid": self.uuid,
            "creation_time": f"{day}.{rest:09} +0000 UTC m=+15.450619704",
        }
        if self.ais.old:
            return {"tmap": targets, "pmap": proxies} | rest_of
        return {"pmap": proxies} | {"proxy_si": rest_of.pop("proxy_si"), "tmap": targets} | rest_of
