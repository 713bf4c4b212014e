"""Nodes and the cluster as a whole: every row of the reference about them, and every question."""

from __future__ import annotations

import asyncio

import pytest
from doubles.aistore import AIStoreDouble

from aetcd.aistore import (
    AIStore,
    BadRequest,
    ClusterMap,
    MountpathExists,
    MountpathNotFound,
    Mountpaths,
    NodeNotFound,
    NotFound,
    Timeout,
)
from aetcd.errors import ConnectFailed, TransportError, Unsupported

QUESTIONS = ["map", "config", "snode", "status", "stats", "system", "buckets"]


def ids(double: AIStoreDouble) -> tuple[str, str]:
    return double.gateways[0].id, double.targets[0].id


# Questions to nodes


async def test_every_question_to_a_gateway_and_to_a_target(ais: AIStore, double: AIStoreDouble) -> None:
    """Pinned: each is answered by the node that is named."""
    await ais.dialect()
    for name in ids(double):
        for question in QUESTIONS:
            double.requests.clear()
            await getattr(ais.node(name), question)()
            asked = {a.node for a in double.asked("GET", "/v1/daemon") if a.query["what"] != "smap"}
            assert asked <= {name}
        assert await ais.node(name).health() is True
        assert str(ais.node(name)) == name


async def test_answers_of_nodes(ais: AIStore, double: AIStoreDouble) -> None:
    """As models: sizes that are text are numbers."""
    gateway, target = ids(double)
    info = await ais.node(target).info()
    assert (info.id, info.kind, info.url) == (target, "target", double.targets[0].url)
    assert (await ais.node(target).snode()).id == target
    status = await ais.node(target).status()
    assert status.node.id == target
    assert status.map_version >= 1
    assert status.stats.available > 0
    assert status.system.memory_available > 0
    stats = await ais.node(target).stats()
    assert "get.n" in stats.counters
    assert stats.used == sum(capacity.used for capacity in stats.capacity.values()) > 0
    assert (await ais.node(gateway).stats()).capacity == {}
    system = await ais.node(target).system()
    assert system.fs_capacity > system.fs_used > 0
    assert (await ais.node(gateway).system()).fs_capacity == 0
    assert "b" in {found.name for found in await ais.node(target).buckets()}
    assert (await ais.node(target).config())["confdir"]


async def test_status_tells_the_last_rebalance(ais: AIStore, double: AIStoreDouble) -> None:
    """Of a target that took part in one."""
    await (await ais.cluster.rebalance()).finished(timeout=5)
    status = await ais.node(double.targets[0].id).status()
    assert status.rebalance is not None
    assert status.rebalance.kind == "rebalance"


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_questions_of_3_3_only(ais: AIStore, double: AIStoreDouble) -> None:
    """Disks, and what an election needs."""
    disks = await ais.node(double.targets[0].id).disks()
    assert all(disk.read >= 0 for disk in disks.values())
    assert "smap" in await ais.node(double.gateways[0].id).vote()


@pytest.mark.parametrize("dialect", ["current"])
async def test_what_todays_server_lacks(ais: AIStore, double: AIStoreDouble) -> None:
    """Unsupported, and nothing is sent."""
    with pytest.raises(Unsupported, match="disks"):
        await ais.node(double.targets[0].id).disks()
    with pytest.raises(Unsupported, match="unregister"):
        await ais.cluster.unregister(double.targets[0].id)
    assert not double.asked("DELETE")


async def test_unknown_node(ais: AIStore) -> None:
    """The map has none of this ID."""
    for call in (ais.node("nosuch").info, ais.node("nosuch").stats, ais.node("nosuch").shutdown):
        with pytest.raises((NodeNotFound, NotFound)):
            await call()
    with pytest.raises(ValueError, match="id"):
        ais.node("a\r\nb")


async def test_node_that_cannot_be_reached_is_asked_by_a_gateway(ais: AIStore, double: AIStoreDouble) -> None:
    """`/v1/reverse`, with the node's ID in a header."""
    target = double.targets[0]
    target.public = "http://127.0.0.1:1"
    assert (await ais.node(target.id).snode()).id == target.id
    header = "node.id" if double.old else "Ais-Node-Id"
    passed_on = [asked.node[0] for asked in double.requests if asked.headers.get(header) == target.id]
    assert passed_on
    assert set(passed_on) == {"p"}
    assert (await ais.node(target.id).mountpaths.list()).available
    with pytest.raises(ConnectFailed):
        await ais.node(target.id).health()


async def test_node_behind_a_firewall_is_asked_by_a_gateway(ais: AIStore, double: AIStoreDouble, silent: str) -> None:
    """It refuses no connection: not all of the call's time goes by until the gateway's turn, for a change neither."""
    target = double.targets[0]
    target.public = silent
    node = ais.node(target.id)
    assert (await node.snode(timeout=1.5)).id == target.id
    await node.set_config("periodic.stats_time", "8s", timeout=1.5)
    with pytest.raises(TransportError):
        await node.health(timeout=0.2)


@pytest.mark.parametrize("dialect", ["current"])
async def test_statistics_of_many_nodes_are_one_call(ais: AIStore, double: AIStoreDouble, silent: str) -> None:
    """One limit for all of it, and not one for each node."""
    for target in double.targets:
        target.public = silent
    await ais.dialect()
    with pytest.raises(TransportError):
        await ais.cluster.stats(timeout=Timeout(0.6, connect=0.4))
    passed_on = [asked for asked in double.requests if asked.query.get("what") == "node_stats"]
    assert len(passed_on) == 1  # for the second target no time was left, nor for a gateway in its place


async def test_node_that_joined_later_is_found(ais: AIStore, double: AIStoreDouble) -> None:
    """The map is read again for an ID that it does not have."""
    gone = double.targets[1].id
    double.remove(gone)
    with pytest.raises(NodeNotFound):
        await ais.node(gone).stats()
    double.join(gone)
    assert (await ais.node(gone).stats()).counters


# Mountpaths


async def test_mountpaths(ais: AIStore, double: AIStoreDouble) -> None:
    """Enabled and disabled: True for a change, False where it was so already."""
    paths = ais.node(double.targets[0].id).mountpaths
    first = (await paths.list()).available[0]
    assert [await paths.disable(first), await paths.disable(first)] == [True, False]
    assert (await paths.list()).disabled == (first,)
    assert [await paths.enable(first), await paths.enable(first)] == [True, False]
    await paths.add("/data/extra")
    assert "/data/extra" in (await paths.list()).available
    with pytest.raises(MountpathExists):
        await paths.add("/data/extra")
    await paths.remove("/data/extra")
    assert isinstance((await ais.cluster.mountpaths())[double.targets[1].id], Mountpaths)


@pytest.mark.parametrize("change", ["enable", "disable", "remove"])
async def test_unknown_mountpath_is_one_error(ais: AIStore, double: AIStoreDouble, change: str) -> None:
    """400 or 404, whichever."""
    paths = ais.node(double.targets[0].id).mountpaths
    with pytest.raises(MountpathNotFound):
        await getattr(paths, change)("/no/such")
    with pytest.raises(ValueError, match="path"):
        await getattr(paths, change)("relative")


async def test_gateways_have_no_mountpaths(ais: AIStore, double: AIStoreDouble) -> None:
    """400."""
    with pytest.raises(BadRequest):
        await ais.node(double.gateways[0].id).mountpaths.list()


# Configuration


async def test_node_configuration(ais: AIStore, double: AIStoreDouble) -> None:
    """One name as JSON, many in the query; values that are not text are made text."""
    target = double.targets[0]
    node = ais.node(target.id)
    await node.set_config("periodic.stats_time", "5s")
    assert (await node.config())["periodic"]["stats_time"] == "5s"
    await node.set_config({"periodic.stats_time": "6s", "lru.enabled": True})
    assert (await node.config())["periodic.stats_time"] == "6s"
    with pytest.raises(KeyError, match=r"periodic\.nosuch"):
        (await node.config())["periodic.nosuch"]
    assert {asked.node for asked in double.asked("PUT", "/v1/daemon")} == {target.id}
    with pytest.raises(BadRequest, match="stats_time"):
        await node.set_config("stats_time", "5s")


async def test_cluster_configuration(ais: AIStore, double: AIStoreDouble) -> None:
    """The same, for every node."""
    await ais.cluster.set_config("periodic.stats_time", "5s")
    await ais.cluster.set_config({"periodic.stats_time": "7s", "lru.enabled": False})
    for name in ids(double):
        assert (await ais.node(name).config())["periodic"]["stats_time"] == "7s"
    with pytest.raises(BadRequest):
        await ais.cluster.set_config({"nosuch": 1})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("",), "name"), (("a b", "x"), "name"), (({},), "name"), (("a.b",), "value"), (({"a": 1}, "x"), "value")],
)
async def test_configuration_is_checked(
    ais: AIStore, double: AIStoreDouble, arguments: tuple[object, ...], named: str
) -> None:
    """The error names the argument, and nothing is sent."""
    with pytest.raises(ValueError, match=named):
        await ais.cluster.set_config(*arguments)  # type: ignore[arg-type]
    assert not double.asked("PUT")


# The cluster


async def test_cluster_map(ais: AIStore, double: AIStoreDouble) -> None:
    """Gateways, targets and the primary."""
    known = await ais.cluster.map()
    assert isinstance(known, ClusterMap)
    assert set(known.gateways) == {gateway.id for gateway in double.gateways}
    assert set(known.targets) == {target.id for target in double.targets}
    assert known.primary == double.gateways[0].id
    assert known.version > 0
    assert all(node.electable and not node.in_maintenance for node in known.nodes)


async def test_cluster_statistics(ais: AIStore, double: AIStoreDouble) -> None:
    """With used and available bytes in all; today each node is asked for its own."""
    stats = await ais.cluster.stats()
    assert set(stats.targets) == {target.id for target in double.targets}
    assert stats.used == sum(target.used for target in stats.targets.values()) > 0
    assert stats.available > 0
    assert stats.total("get.n") >= 0
    assert "get.n" in stats.gateway.counters


async def test_cluster_questions(ais: AIStore, double: AIStoreDouble) -> None:
    """System, addresses, other clusters, health."""
    system = await ais.cluster.system()
    assert set(system.targets) == {target.id for target in double.targets}
    # The one that answers leaves itself out.
    assert len(system.gateways) == 1
    assert set(await ais.cluster.target_addresses()) == {"127.0.0.1"}
    assert isinstance(await ais.cluster.remotes(), dict)
    health = await ais.cluster.health()
    assert health.primary == double.gateways[0].id
    assert health.map_version == (await ais.cluster.map()).version
    assert not health.voting


async def test_set_primary(ais: AIStore, double: AIStoreDouble) -> None:
    """By agreement; an unknown one is not sent, for 3.3 answers it with the whole map in its text."""
    other = double.gateways[1].id
    await ais.cluster.set_primary(other)
    assert (await ais.cluster.map()).primary == other
    with pytest.raises(NodeNotFound, match="nosuch"):
        await ais.cluster.set_primary("nosuch")
    with pytest.raises(NodeNotFound):
        await ais.cluster.set_primary(double.targets[0].id)


async def test_force_primary(ais: AIStore, double: AIStoreDouble) -> None:
    """At the present primary itself, with `frc` and `can`."""
    first, second = double.gateways
    await ais.cluster.force_primary(second.id, second.url)
    (asked,) = double.asked("PUT")
    assert asked.node == first.id
    assert asked.path == f"/v1/daemon/proxy/{second.id}"
    assert asked.query == {"frc": "true", "can": second.url}
    assert (await ais.cluster.map()).primary == second.id
    with pytest.raises(BadRequest, match="connection refused"):
        await ais.cluster.force_primary(first.id, "http://127.0.0.1:1")
    with pytest.raises(ValueError, match="url"):
        await ais.cluster.force_primary(first.id, "127.0.0.1:1")
    assert "split brain" in (ais.cluster.force_primary.__doc__ or "")


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_leave_and_join(ais: AIStore, double: AIStoreDouble) -> None:
    """A target and a gateway; a target's arrival starts a rebalance."""
    target, gateway = double.targets[1], double.gateways[1]
    await ais.cluster.unregister(target.id)
    await ais.cluster.unregister(gateway.id)
    known = await ais.cluster.map()
    assert target.id not in known.targets
    assert gateway.id not in known.gateways
    job = await ais.cluster.register_target(target.id, target.url)
    assert job is not None
    await job.finished(timeout=5)
    await ais.cluster.register_gateway(gateway.id, gateway.url)
    known = await ais.cluster.map()
    assert target.id in known.targets
    assert gateway.id in known.gateways
    with pytest.raises(NodeNotFound):
        await ais.cluster.unregister("nosuch")


@pytest.mark.parametrize("dialect", ["current"])
async def test_join_today(ais: AIStore, double: AIStoreDouble) -> None:
    """By another path."""
    target = double.targets[1]
    double.remove(target.id)
    await ais.cluster.register_target(target.id, target.url)
    assert target.id in (await ais.cluster.map()).targets


@pytest.mark.parametrize("url", ["", "10.0.0.1:8081", "http://10.0.0.1", "ftp://a:1", "http://a:x"])
async def test_registration_is_checked(ais: AIStore, double: AIStoreDouble, url: str) -> None:
    """The reference's flat body is answered by 400 `invalid IPv4`."""
    with pytest.raises(ValueError, match="url"):
        await ais.cluster.register_target("t9", url)
    assert not double.asked("POST")


async def test_maintenance(ais: AIStore, double: AIStoreDouble) -> None:
    """Out of service and back; and for good."""
    target = double.targets[1].id
    await ais.cluster.start_maintenance(target)
    assert (await ais.cluster.map()).targets[target].in_maintenance
    await ais.cluster.stop_maintenance(target)
    assert not (await ais.cluster.map()).targets[target].in_maintenance
    with pytest.raises((NodeNotFound, NotFound)):
        await ais.cluster.start_maintenance("nosuch")


async def test_shutdown_of_one_node(ais: AIStore, double: AIStoreDouble) -> None:
    """Of a target; the others live."""
    target = double.targets[1]
    await ais.node(target.id).shutdown()
    async with asyncio.timeout(5):
        while target.alive:
            await asyncio.sleep(0.01)
    assert double.targets[0].alive
    assert all(gateway.alive for gateway in double.gateways)


@pytest.mark.parametrize("dialect", ["3.3"])
async def test_shutdown_of_the_primary_wants_force(ais: AIStore, double: AIStoreDouble) -> None:
    """It refuses else."""
    with pytest.raises(BadRequest, match="frc"):
        await ais.node(double.gateways[0].id).shutdown()
    await ais.node(double.gateways[0].id).shutdown(force=True)


async def test_shutdown_of_the_cluster(ais: AIStore, double: AIStoreDouble) -> None:
    """All of it."""
    await ais.cluster.shutdown()
    async with asyncio.timeout(5):
        while any(node.alive for node in double.nodes):
            await asyncio.sleep(0.01)
