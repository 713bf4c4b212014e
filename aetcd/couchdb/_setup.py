"""Setting up a node or a cluster, with one method for each action of the wizard."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from aetcd._wire.message import Effect
from aetcd.couchdb._arguments import check_count, check_list, check_text
from aetcd.couchdb._codec import decode, make
from aetcd.couchdb._link import Limit, Link
from aetcd.couchdb._models import SetupState
from aetcd.errors import DecodeError

__all__ = ["ClusterSetup"]


@define(eq=False)
class ClusterSetup:
    """The set-up of one node: `/_cluster_setup` (reference, 1.2.5; since 2.0). `couch.cluster_setup(peer=)` makes it.

    All goes to one peer, for it is that node that is set up. Each action raises BadRequest where the node is past it
    (`Cluster is already enabled`, `... already finished`) or not yet ready for it (`Cluster is not enabled.`), and
    Unauthorized without an administrator; an action that was answered 201 returns None.
    """

    _link: Link = field(alias="link")
    peer: str

    async def status(self, *, ensure_dbs_exist: Iterable[str] | None = None, timeout: Limit = None) -> SetupState:
        """How far the node is set up: `GET /_cluster_setup`.

        ensure_dbs_exist: Databases without which it counts as not yet enabled; `_users` and `_replicator` by default.
        """
        query = {"ensure_dbs_exist": _names(ensure_dbs_exist)}
        request = make("cluster setup status", "GET", "/_cluster_setup", query=query)
        answer = await self._link.ask(request, timeout=timeout, peer=self.peer, needs="2.0")
        state = decode(request, answer, dict[str, str]).get("state")
        try:
            return SetupState(state)
        except ValueError as e:
            raise DecodeError(f"cluster setup at {self.peer}: unknown state {state!r}") from e

    async def enable_single_node(
        self,
        username: str,
        password: str,
        *,
        bind_address: str | None = None,
        port: int | None = None,
        ensure_dbs_exist: Iterable[str] | None = None,
        timeout: Limit = None,
    ) -> None:
        """Make the node a server of its own, with its first administrator and system databases:
        `POST /_cluster_setup`, action `enable_single_node`.

        username, password: Needed: without them the server fails with 500 `badarg` (measured on 3.5.0).
        bind_address: Where it listens from then on, `0.0.0.0` for everywhere.
        """
        await self._act(
            "enable_single_node",
            timeout,
            username=check_text(username, "username"),
            password=check_text(password, "password"),
            bind_address=_text(bind_address, "bind_address"),
            port=_port(port),
            ensure_dbs_exist=_names(ensure_dbs_exist),
        )

    async def enable_cluster(
        self,
        username: str,
        password: str,
        *,
        bind_address: str | None = None,
        port: int | None = None,
        node_count: int | None = None,
        remote_node: str | None = None,
        remote_current_user: str | None = None,
        remote_current_password: str | None = None,
        timeout: Limit = None,
    ) -> None:
        """Make this node ready to be one of a cluster; or, with `remote_node`, another one that it reaches:
        `POST /_cluster_setup`, action `enable_cluster`.

        bind_address: Where it listens from then on, such as `0.0.0.0`. Not loopback, which the server refuses with 500
            (measured on 3.5.0); needed unless it is bound to another address already.
        node_count: Nodes in all, from which it takes the number of copies, 3 at most.
        remote_node: The other node's address; then all three of `remote_` are needed.
        """
        remote = {
            "remote_node": _text(remote_node, "remote_node"),
            "remote_current_user": _text(remote_current_user, "remote_current_user"),
            "remote_current_password": _text(remote_current_password, "remote_current_password"),
        }
        missing = [name for name, value in remote.items() if value is None]
        if missing and len(missing) < len(remote):
            raise ValueError(f"{missing[0]}: needed, since others of remote_node, ..._user, ..._password are given")
        await self._act(
            "enable_cluster",
            timeout,
            username=check_text(username, "username"),
            password=check_text(password, "password"),
            bind_address=_text(bind_address, "bind_address"),
            port=_port(port),
            node_count=None if node_count is None else check_count(node_count, "node_count", least=1),
            **remote,
        )

    async def add_node(
        self,
        host: str,
        username: str,
        password: str,
        *,
        port: int = 5984,
        name: str | None = None,
        timeout: Limit = None,
    ) -> None:
        """Join another node, which was made ready, to this one's cluster: `POST /_cluster_setup`, action `add_node`.

        username, password: Of the other node's administrator.
        name: The part of its Erlang name before the @; `couchdb` by default. Not in the reference.

        That it succeeds was not seen, for nodes on loopback cannot be joined in this way.
        """
        await self._act(
            "add_node",
            timeout,
            host=check_text(host, "host"),
            port=_port(port),
            username=check_text(username, "username"),
            password=check_text(password, "password"),
            name=_text(name, "name"),
        )

    async def finish_cluster(self, *, ensure_dbs_exist: Iterable[str] | None = None, timeout: Limit = None) -> None:
        """Create the system databases, when all nodes are joined: `POST /_cluster_setup`, action `finish_cluster`.

        ensure_dbs_exist: Which; `_users` and `_replicator` by default. `_global_changes` makes `db_updates` work.
        """
        await self._act("finish_cluster", timeout, ensure_dbs_exist=_names(ensure_dbs_exist))

    async def _act(self, action: str, timeout: Limit, **fields: object) -> None:
        document = {"action": action, **{name: value for name, value in fields.items() if value is not None}}
        request = make(
            f"cluster setup {action}",
            "POST",
            "/_cluster_setup",
            document=document,
            effect=Effect.ONCE,
            secret="password" in document,
        )
        await self._link.ask(request, timeout=timeout, peer=self.peer, needs="2.0")


def _text(value: str | None, argument: str) -> str | None:
    return None if value is None else check_text(value, argument)


def _names(value: Iterable[str] | None) -> list[str] | None:
    return None if value is None else check_list(value, "ensure_dbs_exist")


def _port(port: int | None) -> int | None:
    if port is not None and check_count(port, "port", least=1) > 65535:
        raise ValueError(f"port must be from 1 to 65535, not {port}")
    return port
