"""What the double does beside the transcripts: hazards from the notes on the live clusters, and its own tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from doubles.aistore import AIStoreDouble, Dialect, Node, generated_blocks
from doubles.aistore_replay import Got, Replayer


@asynccontextmanager
async def cluster(dialect: Dialect = "3.3", *, gateways: int = 1) -> AsyncIterator[Replayer]:
    """A double with the bucket `b` and objects a, b and c in it, and a client that follows nothing."""
    async with AIStoreDouble(dialect, gateways=gateways) as ais, aiohttp.ClientSession() as session:
        session._retry_connection = False  # else aiohttp sends a put again by itself, after a reset
        ais.create("b")
        for name in "abc":
            ais.put("b", name, name.encode())
        yield Replayer(ais, session, {})


async def act(run: Replayer, method: str, path: str, action: str, **more: object) -> Got:
    return await run.ask(method, path, json.dumps({"action": action} | more).encode(), {})


async def followed(
    run: Replayer, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Got:
    """By an empty probe to the gateway, the body to where it points."""
    first = await run.ask(method, path, b"", headers or {})
    return await run.ask(method, first.headers["Location"], body, headers or {})


async def test_a_delete_without_a_value_kills_both_targets_of_3_3() -> None:
    """A nil dereference: their processes exit."""
    async with cluster() as run:
        assert (await act(run, "DELETE", "/v1/buckets/b", "delete")).status == 500
        assert [target.alive for target in run.ais.targets] == [False, False]
        with pytest.raises(aiohttp.ClientConnectionError):
            await followed(run, "GET", "/v1/objects/b/a")
        for target in run.ais.targets:
            await target.restart()
        assert (await followed(run, "GET", "/v1/objects/b/a")).body == b"a"


@pytest.mark.parametrize("value", [{}, {"template": ""}, {"objnames": []}])
@pytest.mark.parametrize(("dialect", "left"), [("3.3", 3), ("current", 0)])
async def test_an_empty_choice_deletes_all_with_todays_only(dialect: Dialect, left: int, value: object) -> None:
    """No names are all names."""
    async with cluster(dialect) as run:
        action = "delete" if dialect == "3.3" else "delete-listrange"
        assert (await act(run, "DELETE", "/v1/buckets/b", action, value=value)).status == 200
        assert len(run.ais.bucket("b").objects) == left


async def test_an_append_of_3_3_overwrites_with_todays() -> None:
    """It does not know the words, and takes it for a plain put."""
    async with cluster("current") as run:
        assert (await followed(run, "PUT", "/v1/objects/b/a?appendty=append&handle=", b"more")).status == 200
        assert run.ais.read("b", "a") == b"more"


async def test_a_large_body_to_a_gateway_breaks_the_connection() -> None:
    """It is reset before the redirect can be read. A small one is read, and the connection kept."""
    async with cluster() as run:
        assert (await run.ask("PUT", "/v1/objects/b/x", b"x" * 1000, {})).status == 307
        with pytest.raises(aiohttp.ClientConnectionError):
            await run.ask("PUT", "/v1/objects/b/x", b"x" * (64 << 20), {})
        assert "x" not in run.ais.bucket("b").objects


@pytest.mark.parametrize("gateways", [1, 2])
async def test_a_body_that_is_not_compact_is_spoilt_on_its_way_to_another_gateway(gateways: int) -> None:
    """502 without a body for half of the listings of 3.3, where there is another gateway. The compact form passes."""
    async with cluster(gateways=gateways) as run:
        spread = [await act(run, "POST", "/v1/buckets/b", "listobj", value={}) for _ in range(4)]
        assert [got.status for got in spread] == ([200] * 4 if gateways == 1 else [502, 200, 502, 200])
        assert all(not got.body for got in spread if got.status == 502)
        compact = b'{"action":"listobj","name":"","value":{}}'
        assert [(await run.ask("POST", "/v1/buckets/b", compact, {})).status for _ in range(4)] == [200] * 4


async def test_a_target_takes_what_is_not_its_own() -> None:
    """A put with any pid and utm leaves a misplaced copy: found there, and not by the gateway."""
    async with cluster() as run:
        wrong = next(t for t in run.ais.targets if t is not run.ais.owner("b", "a"))
        address = f"{wrong.url}/v1/objects/b/a?pid=x&utm=1"
        assert (await run.ask("GET", address, b"", {})).status == 404
        assert (await run.ask("PUT", address, b"other", {})).status == 200
        assert (await run.ask("GET", address, b"", {})).body == b"other"
        assert (await followed(run, "GET", "/v1/objects/b/a")).body == b"a"


async def test_a_full_last_page_has_a_token_and_an_empty_one_follows() -> None:
    """Entries are then an empty list; where nothing matches at all, null. An unknown listing is 404."""
    async with cluster() as run:
        first = json.loads((await act(run, "POST", "/v1/buckets/b", "listobj", value={"pagesize": 3})).body)
        assert (len(first["entries"]), first["continuation_token"]) == (3, "c")
        more = {"pagesize": 3, "uuid": first["uuid"], "continuation_token": "c"}
        last = json.loads((await act(run, "POST", "/v1/buckets/b", "listobj", value=more)).body)
        assert (last["entries"], last["continuation_token"]) == ([], "")
        gone = await act(run, "POST", "/v1/buckets/b", "listobj", value=more | {"uuid": "nosuch"})
        assert gone.status == 404


async def test_line_ends_in_a_location_are_spaces() -> None:
    """As Go writes headers; the name itself stays what it is."""
    async with cluster() as run:
        first = await run.ask("PUT", "/v1/objects/b/new%0Aline", b"", {})
        assert "/v1/objects/b/new line?" in first.headers["Location"]


async def test_a_summary_is_202_until_its_job_has_ended() -> None:
    async with cluster() as run:
        run.ais.jobs.seconds["summary"] = 3600
        started = await act(run, "POST", "/v1/buckets/b", "summarybck", value={"uuid": ""})
        again = {"uuid": started.body.decode()}
        assert (await act(run, "POST", "/v1/buckets/b", "summarybck", value=again)).status == 202
        run.ais.jobs.finish(again["uuid"])
        done = await act(run, "POST", "/v1/buckets/b", "summarybck", value=again)
        assert (done.status, json.loads(done.body)[0]["count"]) == (200, "3")


async def test_a_job_has_its_effect_at_its_end_and_is_forgotten() -> None:
    """An aborted one has none; what=status forgets, the statistics do not."""
    async with cluster() as run:
        run.ais.jobs.seconds["copy"] = 3600
        for name in ("done", "aborted"):
            value = {"bck_to": {"name": name}}
            job = (await act(run, "POST", "/v1/buckets/b", "copybck", value=value)).body.decode()
            assert not run.ais.bucket(name).objects
            if name == "done":
                run.ais.jobs.finish(job)
            else:
                assert (await act(run, "PUT", "/v1/cluster", "stop", value={"id": job})).status == 200
        assert (len(run.ais.bucket("done").objects), len(run.ais.bucket("aborted").objects)) == (3, 0)
        asked = json.dumps({"id": job}).encode()
        assert json.loads((await run.ask("GET", "/v1/cluster?what=status", asked, {})).body)["aborted"] is True
        run.ais.jobs.forget(job)
        assert (await run.ask("GET", "/v1/cluster?what=status", asked, {})).status == 404
        assert json.loads((await run.ask("GET", "/v1/cluster?what=qryxstats", asked, {})).body)["t1"][0]["aborted"]


async def test_what_it_does_not_know_is_told_loudly() -> None:
    """501, and an error at the end of the block."""
    with pytest.raises(AssertionError, match="/v1/etl"):
        async with cluster() as run:
            assert (await run.ask("GET", "/v1/etl", b"", {})).status == 501


async def test_a_node_that_dies_cuts_what_is_under_way_and_comes_back_with_its_objects() -> None:
    async with cluster() as run:
        run.ais.generate("b", "big", size=64 << 20)
        owner = run.ais.owner("b", "big")
        first = await run.ask("GET", "/v1/objects/b/big", b"", {})
        async with run.session.get(first.headers["Location"]) as response:
            await response.content.readexactly(1000)
            await owner.die()
            with pytest.raises(aiohttp.ClientError):
                await response.content.read(-1)
        with pytest.raises(aiohttp.ClientConnectionError):
            await followed(run, "GET", "/v1/objects/b/big")
        await owner.restart()
        assert len((await followed(run, "GET", "/v1/objects/b/big")).body) == 64 << 20


async def test_generated_bytes_are_the_same_both_ways() -> None:
    """A range of them, all of them, and a put of them, which goes to a file and comes back."""
    size = (9 << 20) + 17
    whole = b"".join(generated_blocks(size=size))
    async with cluster() as run:
        checksum = run.ais.generate("b", "made", size=size)
        got = await followed(run, "GET", "/v1/objects/b/made")
        assert got.body == whole
        assert got.headers["Checksum.value"] == checksum
        part = await followed(run, "GET", "/v1/objects/b/made", headers={"Range": "bytes=1048570-2097160"})
        assert part.body == whole[1048570:2097161]
        assert (await followed(run, "PUT", "/v1/objects/b/put", whole)).status == 200
        assert run.ais.bucket("b").objects["put"].checksum == checksum
        assert (await followed(run, "GET", "/v1/objects/b/put")).body == whole


async def test_faults_strike_once_and_where_they_were_aimed() -> None:
    """Cut within a get and within a put, a broken first byte, empty 503s, a foreign redirect."""
    async with cluster() as run:
        owner = run.ais.owner("b", "a")
        run.ais.put("b", "a", b"x" * 1000)
        owner.break_get(after=10)
        with pytest.raises(aiohttp.ClientPayloadError):
            await followed(run, "GET", "/v1/objects/b/a")
        owner.break_put(after=10)
        with pytest.raises(aiohttp.ClientConnectionError):
            await followed(run, "PUT", "/v1/objects/b/a", b"y" * 1000)
        owner.lose()
        with pytest.raises(aiohttp.ClientConnectionError):
            await followed(run, "PUT", "/v1/objects/b/a", b"z" * 1000)
        assert run.ais.read("b", "a") == b"z" * 1000
        owner.fail(0)
        with pytest.raises(aiohttp.ClientConnectionError):
            await followed(run, "PUT", "/v1/objects/b/a", b"y" * 1000)
        assert run.ais.read("b", "a") == b"z" * 1000
        owner.break_get(after=0)
        first = await run.ask("GET", "/v1/objects/b/a", b"", {})
        async with run.session.get(first.headers["Location"]) as headed:
            assert headed.headers["Size"] == "1000"
        owner.corrupt_get()
        assert (await followed(run, "GET", "/v1/objects/b/a")).body[:2] == b"\x85z"
        assert (await followed(run, "GET", "/v1/objects/b/a")).body == b"z" * 1000
        run.ais.gateways[0].fail(503, times=2)
        answers = [await run.ask("GET", "/v1/objects/b/a", b"", {}) for _ in range(3)]
        assert [(got.status, bool(got.body)) for got in answers] == [(503, False), (503, False), (301, True)]
        run.ais.gateways[0].redirect_to("https://elsewhere:1")
        foreign = await run.ask("GET", "/v1/objects/b/a", b"", {})
        assert foreign.headers["Location"].startswith("https://elsewhere:1/v1/objects/b/a?pid=")


async def test_without_all_nodes_some_calls_fail() -> None:
    """A listing without a target is no short one; a change without the primary is 502 without a body."""
    async with cluster(gateways=2) as run:
        await run.ais.targets[0].die()
        compact = b'{"action":"listobj","name":"","value":{}}'
        assert (await run.ask("POST", "/v1/buckets/b", compact, {})).status == 500
        run.ais.remove("t1")
        run.ais.rebalance()
        assert (await run.ask("POST", "/v1/buckets/b", compact, {})).status == 200
        assert [(await followed(run, "GET", f"/v1/objects/b/{name}")).body for name in "abc"] == [b"a", b"b", b"c"]
        await run.ais.gateways[0].die()
        other = f"{run.ais.urls[1]}/v1/buckets/new"
        got = await act(run, "POST", other, "createlb")
        assert (got.status, got.body) == (502, b"")
        run.ais.map.elect("p1")
        assert (await act(run, "POST", other, "createlb")).status == 200


async def test_todays_mountpaths_are_changed_by_a_gateway_only() -> None:
    """On the public network they are 403; a gateway passes on by the control network. From the servers' source."""
    async with cluster("current") as run:
        target = run.ais.targets[0]
        body = json.dumps({"action": "disable-mp", "value": target.paths.available[0]}).encode()
        assert (await run.ask("POST", f"{target.url}/v1/daemon/mountpaths", body, {})).status == 403
        passed_on = {"Ais-Node-Id": target.id}
        got = [await run.ask("POST", "/v1/reverse/daemon/mountpaths", body, passed_on) for _ in range(2)]
        assert [answer.status for answer in got] == [200, 204]
        assert len(target.paths.disabled) == 1


async def test_a_download_brings_what_is_there_and_tells_what_is_not() -> None:
    """From the servers' source."""
    async with cluster() as run:
        run.ais.jobs.seconds["download"] = 3600
        run.ais.web["http://web/x1"] = b"one"
        wanted = {"type": "range", "bucket": {"name": "b"}, "template": "http://web/x{1..2}", "subdir": "dir"}
        job = json.loads((await run.ask("POST", "/v1/download", json.dumps(wanted).encode(), {})).body)
        going = json.loads((await run.ask("GET", "/v1/download", json.dumps(job).encode(), {})).body)
        assert (going["total"], going["finished_cnt"], len(going["current_tasks"])) == (2, 0, 2)
        run.ais.jobs.finish(job["id"])
        done = json.loads((await run.ask("GET", "/v1/download", json.dumps(job).encode(), {})).body)
        assert (done["finished_cnt"], done["error_cnt"]) == (1, 1)
        assert [error["name"] for error in done["download_errors"]] == ["dir/x2"]
        assert run.ais.read("b", "dir/x1") == b"one"


async def test_a_cloud_bucket_has_what_is_not_in_the_cluster() -> None:
    """check_cached is 404 for it; prefetch brings it, eviction leaves it in the cloud only, a get brings it too."""
    async with cluster() as run:
        run.ais.create("s3", provider="aws")
        run.ais.put("s3", "o", b"o", provider="aws", present=False)
        path = "/v1/objects/s3/o?provider=aws&check_cached=true"
        run.ais.jobs.seconds["prefetch"] = 0
        assert (await followed(run, "HEAD", path)).status == 404
        await act(run, "POST", "/v1/buckets/s3?provider=aws", "prefetch", value={"objnames": ["o"]})
        assert (await followed(run, "HEAD", path)).status == 200
        await act(run, "DELETE", "/v1/buckets/s3?provider=aws", "evictobj", value={"template": "o"})
        assert (await followed(run, "HEAD", path)).status == 404
        assert (await followed(run, "GET", "/v1/objects/s3/o?provider=aws")).body == b"o"
        assert (await followed(run, "HEAD", path)).status == 200


async def test_nodes_that_are_told_to_end_do() -> None:
    """One by itself, one by the cluster for maintenance's sake, the primary only by force, and all at once."""
    async with cluster(gateways=2) as run:
        first, second = run.ais.targets
        assert (await act(run, "PUT", f"{first.url}/v1/daemon", "shutdown")).status == 200
        await gone(first)
        await first.restart()
        moved = await act(run, "PUT", "/v1/cluster", "decommission", value={"sid": second.id})
        assert moved.body.decode().startswith("g")
        await gone(second)
        assert second.id not in run.ais.map
        primary = run.ais.gateways[0]
        assert (await act(run, "PUT", f"{primary.url}/v1/daemon", "shutdown")).status == 400
        assert (await act(run, "PUT", f"{primary.url}/v1/daemon?frc=true", "shutdown")).status == 200
        await gone(primary)
        await primary.restart()
        assert (await act(run, "PUT", "/v1/cluster", "shutdown")).status == 200
        await gone(*run.ais.nodes)


async def gone(*nodes: Node) -> None:
    """Waits until none of them listens any more."""
    async with asyncio.timeout(5):
        while any(node.alive for node in nodes):
            await asyncio.sleep(0.005)


async def test_a_role_gives_its_rights_to_new_tokens() -> None:
    """A token carries what the roles of its user allowed when it was issued."""
    async with AIStoreDouble(auth=True) as ais, aiohttp.ClientSession() as session:
        run = Replayer(ais, session, {})
        admin = {"Authorization": f"Bearer {ais.token()}"}
        bodies: list[tuple[str, dict[str, object]]] = [
            ("clusters", {"id": "c1", "alias": "al1", "urls": [ais.url]}),
            ("roles", {"name": "lists", "clusters": [{"id": "c1", "perm": "131072"}]}),
            ("users", {"id": "eve", "pass": "p", "roles": ["lists"]}),
        ]
        for what, body in bodies:
            got = await run.ask("POST", f"{ais.authn.url}/v1/{what}", json.dumps(body).encode(), admin)
            assert got.status == 200
        eve = {"Authorization": f"Bearer {ais.token('eve')}"}
        assert (await run.ask("GET", "/v1/buckets/*", b"", eve)).status == 200
        assert (await run.ask("POST", "/v1/buckets/b", b'{"action":"createlb"}', eve)).status == 401
        late = {"Authorization": f"Bearer {ais.token('eve', expired=True)}"}
        assert (await run.ask("GET", "/v1/buckets/*", b"", late)).status == 401
