"""One node's matters, and the set-up."""

from __future__ import annotations

import pytest
from couchdb_feeding import until
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble, Status

from aetcd.couchdb import (
    BadRequest,
    CouchDB,
    Counter,
    Gauge,
    Histogram,
    NodeDown,
    NodeNotFound,
    NotFound,
    ServerFailed,
    SetupState,
    Unauthorized,
)
from aetcd.couchdb._stats import read_stats
from aetcd.errors import ConfigError, DecodeError, TransportError


async def test_erlang_name(couch: CouchDB) -> None:
    """`_local` tells it; of a node by its name the server tells its version, and the name is known."""
    assert await couch.node().erlang_name() == "n0@127.0.0.1"
    assert await couch.node("n0@127.0.0.1").erlang_name() == "n0@127.0.0.1"


async def test_local_node_of_several_peers(pair: CouchDBDouble, both: CouchDB) -> None:
    """Which one is meant has to be said."""
    with pytest.raises(ConfigError, match="peer"):
        both.node()
    assert pair.requests == []
    names = [await both.node(peer=url).erlang_name() for url in pair.urls]
    assert names == ["n0@127.0.0.1", "n1@127.0.0.1"]
    assert [seen.node for seen in pair.requests] == [0, 1]
    assert await both.node("n1@127.0.0.1").erlang_name() == "n1@127.0.0.1"


async def test_named_node_keeps_to_one_peer(pair: CouchDBDouble, both: CouchDB) -> None:
    """The first that answers, until it does not."""
    node = both.node("n1@127.0.0.1")
    for _ in range(4):
        await node.stats("couchdb", "request_time")
    kept = pair.requests[0].node
    assert [seen.node for seen in pair.requests] == [kept] * 4
    assert node.peer == pair.urls[kept]
    await pair.stop(kept)
    with pytest.raises(TransportError):
        await node.system()
    assert (await node.system()).uptime >= 0
    assert node.peer == pair.urls[1 - kept]


async def test_chosen_peer_is_never_left(pair: CouchDBDouble, both: CouchDB) -> None:
    """Also where another one could pass the question on."""
    node = both.node("n0@127.0.0.1", peer=pair.urls[1])
    await node.prometheus()
    await pair.stop(1)
    for _ in range(2):
        with pytest.raises(TransportError):
            await node.prometheus()
    assert {seen.node for seen in pair.requests} == {1}


async def test_chosen_peer_without_a_port(couch: CouchDB) -> None:
    """Has that of CouchDB, as in the client's own peers."""
    for written in ("http://10.0.0.1", "10.0.0.1", "http://10.0.0.1:5984/"):
        assert couch.node(peer=written).peer == "http://10.0.0.1:5984"
        assert couch.node("couchdb@10.0.0.1", peer=written).peer == "http://10.0.0.1:5984"
        assert couch.cluster_setup(peer=written).peer == "http://10.0.0.1:5984"
    with pytest.raises(ConfigError, match="peer"):
        couch.node(peer="http://10.0.0.1,10.0.0.2")


async def test_unknown_node(couch: CouchDB) -> None:
    """404 of its own kind."""
    with pytest.raises(NodeNotFound, match="no such node"):
        await couch.node("nope@127.0.0.1").stats()


async def test_node_that_is_down(pair: CouchDBDouble, both: CouchDB) -> None:
    """412 `nodedown`."""
    pair.lost_nodes.add("n1@127.0.0.1")
    with pytest.raises(NodeDown, match="is down"):
        await both.node("n1@127.0.0.1").system()


async def test_one_statistic(couch: CouchDB) -> None:
    """A histogram with its percentiles, a counter."""
    found = await couch.node().stats("couchdb", "request_time")
    assert isinstance(found, Histogram)
    assert found.percentiles[999] == pytest.approx(159.344)
    assert found.n == 82
    requests = await couch.node().stats("couchdb", "httpd", "requests")
    assert isinstance(requests, Counter)
    assert requests.desc == "number of HTTP requests"


async def test_statistics_in_groups(couch: CouchDB) -> None:
    """A group is a mapping; without a section it is all of them."""
    found = await couch.node().stats()
    assert isinstance(found, dict)
    group = found["couchdb"]
    assert isinstance(group, dict)


async def test_unknown_statistic(couch: CouchDB) -> None:
    """The server answers null, and not 404."""
    assert await couch.node().stats("nope", "nope") is None
    with pytest.raises(ValueError, match="section"):
        await couch.node().stats("")


def test_gauge_and_unknown_types() -> None:
    """Three types, and no guess at a fourth."""
    assert read_stats({"value": 4, "type": "gauge", "desc": "d"}) == Gauge(value=4, desc="d")
    with pytest.raises(DecodeError, match="meter"):
        read_stats({"value": 4, "type": "meter", "desc": "d"})
    with pytest.raises(DecodeError):
        read_stats([1])


async def test_system(couch: CouchDB) -> None:
    """The Erlang machine; what has no field is kept."""
    found = await couch.node().system()
    assert found.memory["atom"] > 0
    assert found.process_limit == 262144
    assert "reductions" in found.extra


async def test_versions_and_prometheus(couch: CouchDB) -> None:
    """What newer servers add to the reference."""
    assert (await couch.node().versions()).erlang["version"] == "25.2.3"
    assert "# HELP couchdb_" in await couch.node().prometheus()


async def test_configuration(couch: CouchDB) -> None:
    """Written, read, taken away; each write tells what was there."""
    node = couch.node()
    assert await node.set_setting("uuids", "algorithm", "random") == ""
    assert await node.setting("uuids", "algorithm") == "random"
    assert (await node.config("uuids"))["algorithm"] == "random"
    assert "uuids" in await node.config()
    assert await node.delete_setting("uuids", "algorithm") == "random"
    with pytest.raises(NotFound, match="unknown_config_value"):
        await node.setting("uuids", "algorithm")
    with pytest.raises(TypeError, match="value"):
        await node.set_setting("a", "b", 5)  # type: ignore[arg-type]


async def test_restart(double: CouchDBDouble, couch: CouchDB) -> None:
    """It goes, and comes back."""
    before = double.nodes[0].started
    await couch.node().restart()
    await until(lambda: double.nodes[0].started > before)
    assert (await couch.up()).ok


@pytest.mark.parametrize("call", ["erlang_name", "stats", "system", "restart", "config", "versions", "prometheus"])
async def test_node_calls_without_an_administrator(bob: CouchDB, call: str) -> None:
    """All of it is theirs."""
    with pytest.raises(Unauthorized):
        await getattr(bob.node(), call)()


# The set-up


@pytest.mark.parametrize("state", list(SetupState))
async def test_setup_state(double: CouchDBDouble, couch: CouchDB, state: SetupState) -> None:
    """One of five."""
    body = f'{{"state":"{state.value}"}}'.encode()
    async with raw_server(lambda _: [whole(body)]) as raw, CouchDB(raw.url) as other:
        assert await other.cluster_setup().status() is state
    assert state.ready is (state.value in {"single_node_enabled", "cluster_finished"})


async def test_setup_state_with_databases(double: CouchDBDouble, couch: CouchDB) -> None:
    """Databases that have to be there."""
    setup = couch.cluster_setup()
    assert await setup.status() is SetupState.SINGLE_NODE_ENABLED
    assert await setup.status(ensure_dbs_exist=["foo"]) is SetupState.SINGLE_NODE_DISABLED
    assert double.requests[-1].params == {"ensure_dbs_exist": '["foo"]'}
    with pytest.raises(TypeError, match="ensure_dbs_exist"):
        await setup.status(ensure_dbs_exist="foo")


async def test_unknown_setup_state() -> None:
    """Five there are, and a sixth is an error."""
    async with raw_server(lambda _: [whole(b'{"state":"odd"}')]) as raw, CouchDB(raw.url) as couch:
        with pytest.raises(DecodeError, match="odd"):
            await couch.cluster_setup().status()


async def test_setup_goes_to_one_peer(pair: CouchDBDouble, both: CouchDB) -> None:
    """It is that node that is set up."""
    with pytest.raises(ConfigError, match="peer"):
        both.cluster_setup()
    setup = both.cluster_setup(peer=pair.urls[1])
    for _ in range(3):
        await setup.status()
    assert {seen.node for seen in pair.requests} == {1}


ADMIN = {"username": "adm", "password": "pass"}
REMOTE = {"remote_node": "10.0.0.2", "remote_current_user": "a", "remote_current_password": "b"}


@pytest.mark.parametrize(
    ("action", "settings", "sent"),
    [
        ("enable_single_node", ADMIN | {"port": 5984}, ADMIN | {"port": 5984}),
        ("enable_cluster", ADMIN | {"bind_address": "0.0.0.0"}, ADMIN | {"bind_address": "0.0.0.0"}),
        ("enable_cluster", ADMIN | REMOTE | {"node_count": 3}, ADMIN | REMOTE | {"node_count": 3}),
        ("add_node", ADMIN | {"host": "10.0.0.2"}, ADMIN | {"host": "10.0.0.2", "port": 5984}),
        ("finish_cluster", {}, {}),
        ("finish_cluster", {"ensure_dbs_exist": ["_users"]}, {"ensure_dbs_exist": ["_users"]}),
    ],
)
async def test_each_action_sends_only_its_fields(
    double: CouchDBDouble, couch: CouchDB, action: str, settings: dict[str, object], sent: dict[str, object]
) -> None:
    """Its name, and what belongs to it, whatever the server thinks of that."""
    double.inject(Status(400, "bad_request", "enough"), path="/_cluster_setup")
    with pytest.raises(BadRequest, match="enough"):
        await getattr(couch.cluster_setup(), action)(**settings)
    assert double.requests[0].json == {"action": action, **sent}


async def test_actions_as_the_server_gets_them(double: CouchDBDouble, couch: CouchDB) -> None:
    """The body of one, and what the server refuses."""
    setup = couch.cluster_setup()
    await setup.enable_single_node("admin", "secret", bind_address="127.0.0.1", ensure_dbs_exist=["_users"])
    assert double.requests[-1].json == {
        "action": "enable_single_node",
        "username": "admin",
        "password": "secret",
        "bind_address": "127.0.0.1",
        "ensure_dbs_exist": ["_users"],
    }
    with pytest.raises(BadRequest, match="already finished"):
        await setup.finish_cluster()
    with pytest.raises(BadRequest, match="not enabled"):
        await setup.add_node("10.0.0.2", "admin", "secret")
    with pytest.raises(ServerFailed, match="remote bind_address"):
        await setup.enable_cluster("admin", "secret", bind_address="127.0.0.1")


@pytest.mark.parametrize(
    ("action", "arguments", "settings", "argument"),
    [
        ("enable_single_node", ("", "pass"), {}, "username"),
        ("enable_single_node", ("adm", "pass"), {"port": 70000}, "port"),
        ("enable_cluster", ("adm", "pass"), {"node_count": 0}, "node_count"),
        ("enable_cluster", ("adm", "pass"), {"remote_node": "10.0.0.2"}, "remote_current"),
        ("add_node", ("", "adm", "pass"), {}, "host"),
        ("finish_cluster", (), {"ensure_dbs_exist": "_users"}, "ensure_dbs_exist"),
    ],
)
async def test_action_arguments(
    double: CouchDBDouble,
    couch: CouchDB,
    action: str,
    arguments: tuple[str, ...],
    settings: dict[str, object],
    argument: str,
) -> None:
    """Named, before anything is sent."""
    with pytest.raises((TypeError, ValueError), match=argument):
        await getattr(couch.cluster_setup(), action)(*arguments, **settings)
    assert double.requests == []


async def test_setup_without_an_administrator(bob: CouchDB) -> None:
    """It is theirs."""
    with pytest.raises(Unauthorized):
        await bob.cluster_setup().status()
    with pytest.raises(Unauthorized):
        await bob.cluster_setup().finish_cluster()
