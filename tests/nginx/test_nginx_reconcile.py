"""Upstreams kept in step: the fewest requests, in the right order, and safe to run again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doubles.nginx import NginxDouble, Seen

import aetcd
from aetcd.nginx import EntryExists, Nginx, Plan, Step, UpstreamNoBackup, UpstreamOutOfMemory, UpstreamStatic, Wanted

OLD = ["10.0.0.1:8088", "10.0.0.1:8089"]
NEW = ["10.0.0.2:8088", "10.0.0.2:8089"]
SERVERS = "/http/upstreams/backend/servers/"


async def test_fewest_requests_in_the_right_order(double: NginxDouble, nginx: Nginx) -> None:
    """One to read, and one for each difference; what is new comes first, so that there are never fewer."""
    await nginx.version()
    sizes: list[int] = []
    double.before = lambda seen: sizes.append(len(double.servers()))
    done = await nginx.http.upstream("backend").reconcile([{"server": OLD[0], "weight": 5}, *NEW])
    assert double.servers() == [OLD[0], *NEW]
    assert double.server(OLD[0]).numbers["weight"] == 5
    assert [str(seen).removeprefix("GET ") for seen in double.seen[1:2]] == [f"/api/9{SERVERS}"]
    assert double.writes() == [f"POST {SERVERS}"] * 2 + [f"PATCH {SERVERS}0", f"DELETE {SERVERS}1"]
    assert len(double.seen) == 6
    assert min(sizes) == 2
    assert done.added == (Step(server=NEW[0], id=2), Step(server=NEW[1], id=3))
    assert done.changed == (Step(server=OLD[0], id=0, parameters={"weight": 5}, was={"weight": 1}),)
    assert done.removed == (Step(server=OLD[1], id=1),)
    assert not done.kept
    assert not done.dry_run


async def test_run_again_it_has_nothing_to_do(double: NginxDouble, nginx: Nginx) -> None:
    """One request, and no write."""
    upstream = nginx.http.upstream("backend")
    await upstream.reconcile(NEW)
    before = len(double.writes())
    done = await upstream.reconcile(reversed(NEW))
    assert not done
    assert [step.server for step in done.kept] == NEW[::-1]
    assert len(double.writes()) == before


async def test_dry_run_only_tells(double: NginxDouble, nginx: Nginx) -> None:
    """The same plan that the real run then carries out."""
    upstream = nginx.http.upstream("backend")
    planned = await upstream.reconcile([OLD[0], NEW[0]], dry_run=True)
    assert planned.dry_run
    assert not double.writes()
    assert str(planned) == f"+ {NEW[0]}\n- {OLD[1]}"
    assert str(await upstream.reconcile([OLD[0], NEW[0]])) == str(planned)


async def test_never_emptied_unless_told(double: NginxDouble, nginx: Nginx) -> None:
    """A list that could not be read is empty too."""
    upstream = nginx.http.upstream("backend")
    for dry_run in (True, False):
        with pytest.raises(ValueError, match="allow_empty"):
            await upstream.reconcile([], dry_run=dry_run)
    assert not double.seen
    done = await upstream.reconcile([], allow_empty=True)
    assert double.servers() == []
    assert [step.server for step in done.removed] == OLD


async def test_every_parameter_of_what_is_wanted(double: NginxDouble, nginx: Nginx) -> None:
    """On an added server and on one that is there."""
    every: dict[str, Any] = {"weight": 4, "max_conns": 9, "max_fails": 3, "fail_timeout": "1m", "slow_start": 5}
    wanted = [
        Wanted(server=OLD[0], route="a", down=True, **every),
        Wanted(server=NEW[0], route="b", backup=True, **every),
        Wanted(server="app.example.com", service="web"),
    ]
    upstream = nginx.http.upstream("backend")
    await upstream.reconcile(wanted)
    assert not await upstream.reconcile(wanted)
    old, new = double.server(OLD[0]), double.server(NEW[0])
    assert old.numbers == new.numbers == {**every, "fail_timeout": 60}
    assert (old.route, old.down, old.backup) == ("a", True, False)
    assert (new.route, new.down, new.backup) == ("b", False, True)
    assert double.server("app.example.com").service == "web"


async def test_stream_upstream(double: NginxDouble, nginx: Nginx) -> None:
    """As an http one."""
    done = await nginx.stream.upstream("backend").reconcile(["10.0.1.2:12345"])
    assert double.servers(side="stream") == ["10.0.1.2:12345"]
    assert [step.server for step in done.removed] == ["10.0.1.1:12345"]


async def test_static_upstream(nginx: Nginx) -> None:
    """It says what is missing."""
    with pytest.raises(UpstreamStatic):
        await nginx.http.upstream("fixed").reconcile(NEW)


# Draining


async def test_drained_server_goes_when_it_has_ended_its_sessions(double: NginxDouble, nginx: Nginx) -> None:
    """Not while it is busy, nor between two requests of a session, and long before the time is over."""
    busy = double.server(OLD[1])
    busy.active = 1
    looks: list[int] = []

    def advance(seen: Seen) -> None:
        """At its first looks it is busy, then has another request, and then none."""
        if "fields=peers" in seen.target:
            looks.append(busy.active)
            if len(looks) == 3:
                busy.active = 0
                busy.counters["requests"] += 1
            assert busy.drain

    double.before = advance
    done = await nginx.http.upstream("backend").reconcile([OLD[0]], drain=6.0)
    assert double.servers() == [OLD[0]]
    assert looks == [1, 1, 1, 0]
    assert [step.server for step in done.removed] == [OLD[1]]
    assert not done.undrained
    assert double.writes() == [f"PATCH {SERVERS}1", f"DELETE {SERVERS}1"]


async def test_time_to_drain_has_an_end(double: NginxDouble, nginx: Nginx) -> None:
    """A server that never ends is removed with its requests, and named."""
    double.server(OLD[1]).active = 1
    double.server(OLD[0]).active = 0
    done = await nginx.http.upstream("backend").reconcile(NEW, drain=0.4)
    assert double.servers() == NEW
    assert [step.server for step in done.removed] == OLD
    assert [step.server for step in done.undrained] == [OLD[1]]
    assert double.upstream().zombies == 1


async def test_name_goes_when_the_servers_behind_it_have_ended(double: NginxDouble, nginx: Nginx) -> None:
    """A name serves nobody: those that it was resolved to are drained, and go with it."""
    upstream = nginx.http.upstream("backend")
    await upstream.servers.add("app.example.com:8000")
    behind = [double.server(f"10.9.0.{number}:8000") for number in (1, 2)]
    behind[1].active = 1
    looks = 0

    def advance(seen: Seen) -> None:
        nonlocal looks
        if "fields=peers" in seen.target:
            looks += 1
            assert all(server.drain for server in behind)
            behind[1].active = int(looks < 3)

    double.before = advance
    before = len(double.writes())
    done = await upstream.reconcile(OLD, drain=6.0)
    assert double.writes()[before:] == [f"PATCH {SERVERS}3", f"PATCH {SERVERS}4", f"DELETE {SERVERS}2"]
    assert looks == 3
    assert double.servers() == OLD
    assert [step.id for step in done.removed] == [2]


async def test_failure_of_a_later_plan_tells_what_was_done_before(double: NginxDouble, nginx: Nginx) -> None:
    """Also where it cannot even be made."""
    upstream = nginx.http.upstream("backend")

    def interfere(seen: Seen) -> None:
        if seen.method == "PATCH":
            double.upstream().servers.pop(0, None)
            double.upstream().static = True

    double.before = interfere
    with pytest.raises(aetcd.NginxError) as caught:
        await upstream.reconcile([{"server": OLD[0], "weight": 5}, OLD[1], NEW[0]])
    assert caught.value.__notes__ == [f"done before that:\n+ {NEW[0]}"]


async def test_new_servers_are_there_before_old_ones_drain(double: NginxDouble, nginx: Nginx) -> None:
    """Else nothing would serve who has no session."""

    def check(seen: Seen) -> None:
        if seen.method == "PATCH":
            assert set(NEW) <= set(double.servers())

    double.before = check
    await nginx.http.upstream("backend").reconcile(NEW, drain=0.2)
    assert double.servers() == NEW


async def test_cancelled_drain_goes_on_from_there(double: NginxDouble, nginx: Nginx) -> None:
    """It leaves servers that drain; the next run removes them, or takes them back where they are wanted again."""
    double.server(OLD[1]).active = 1
    upstream = nginx.http.upstream("backend")
    draining = asyncio.Event()
    double.before = lambda seen: draining.set() if "fields=peers" in seen.target else None
    task = asyncio.create_task(upstream.reconcile([OLD[0]], drain=30))
    await draining.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert double.server(OLD[1]).drain
    done = await upstream.reconcile(OLD)
    assert [step.parameters for step in done.changed] == [{"drain": False}]
    assert not double.server(OLD[1]).drain
    await upstream.servers.drain(1)
    before = len(double.writes())
    double.server(OLD[1]).active = 0
    await upstream.reconcile([OLD[0]], drain=0.5)
    assert double.writes()[before:] == [f"DELETE {SERVERS}1"]


@pytest.mark.parametrize(("drain", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("5", TypeError)])
async def test_bad_time_to_drain(double: NginxDouble, nginx: Nginx, drain: Any, error: type[Exception]) -> None:
    """It is named before anything is sent."""
    with pytest.raises(error, match="drain"):
        await nginx.http.upstream("backend").reconcile(NEW, drain=drain)
    assert not double.seen


# Others at work, and failures on the way


async def test_server_that_another_removed_is_no_error(double: NginxDouble, nginx: Nginx) -> None:
    """Gone is gone."""

    def remove_first(seen: Seen) -> None:
        if seen.method == "DELETE":
            double.upstream().servers.pop(1, None)

    double.before = remove_first
    done = await nginx.http.upstream("backend").reconcile([OLD[0]])
    assert [step.server for step in done.removed] == [OLD[1]]


async def test_plans_anew_where_another_removed_what_is_to_be_changed(double: NginxDouble, nginx: Nginx) -> None:
    """It is added then."""

    def remove_once(seen: Seen) -> None:
        if seen.method == "PATCH":
            double.upstream().servers.pop(0, None)

    double.before = remove_once
    done = await nginx.http.upstream("backend").reconcile([{"server": OLD[0], "weight": 5}, OLD[1]])
    assert sorted(double.servers()) == sorted(OLD)
    assert [step.server for step in done.added] == [OLD[0]]
    assert double.server(OLD[0]).numbers["weight"] == 5


async def test_plans_anew_where_another_added_what_is_to_be_added(double: NginxDouble, nginx: Nginx) -> None:
    """Where the server takes no address twice."""
    double.upstream().unique = True

    def add_first(seen: Seen) -> None:
        if seen.method == "POST" and NEW[0] not in double.servers():
            double.upstream().put(server=NEW[0])

    double.before = add_first
    done = await nginx.http.upstream("backend").reconcile([OLD[0], NEW[0]])
    assert double.servers() == [OLD[0], NEW[0]]
    assert not done.added
    assert {step.server for step in done.kept} == {OLD[0], NEW[0]}


async def test_gives_up_against_one_who_never_stops(double: NginxDouble, nginx: Nginx) -> None:
    """After a few plans, by the error that it met."""
    double.upstream().unique = True

    def fight(seen: Seen) -> None:
        servers = double.upstream().servers
        if seen.method == "POST":
            double.upstream().put(server=NEW[0])
        else:
            for number in [number for number, one in servers.items() if one.server == NEW[0]]:
                del servers[number]

    double.before = fight
    with pytest.raises(EntryExists):
        await nginx.http.upstream("backend").reconcile([*OLD, NEW[0]])
    assert len(double.writes()) == 3


async def test_two_that_want_the_same_end_with_it(double: NginxDouble, nginx: Nginx) -> None:
    """They may add a server twice; whoever runs next leaves one of the two."""
    upstream = nginx.http.upstream("backend")
    await asyncio.gather(upstream.reconcile(NEW), upstream.reconcile(NEW))
    await upstream.reconcile(NEW)
    assert sorted(double.servers()) == sorted(NEW)
    assert not await upstream.reconcile(NEW)


async def test_failure_on_the_way_tells_what_was_done(double: NginxDouble, nginx: Nginx) -> None:
    """It stays done, nothing is removed, and the next run goes on from there."""
    double.upstream().room = 3
    upstream = nginx.http.upstream("backend")
    with pytest.raises(UpstreamOutOfMemory) as caught:
        await upstream.reconcile(NEW)
    assert caught.value.__notes__ == [f"done before that:\n+ {NEW[0]}"]
    assert double.servers() == [*OLD, NEW[0]]
    double.upstream().room = None
    done = await upstream.reconcile(NEW)
    assert [step.server for step in done.added] == [NEW[1]]
    assert double.servers() == NEW


async def test_refused_server_leaves_the_others(nginx: Nginx, double: NginxDouble) -> None:
    """What stands first in the plan fails before anything is taken away."""
    with pytest.raises(UpstreamNoBackup):
        await nginx.http.upstream("hashed").reconcile([Wanted(server=NEW[0], backup=True)])
    assert double.servers("hashed") == ["10.0.0.5:80"]


async def test_lost_answer_is_told_and_healed_by_the_next_run(double: NginxDouble, nginx: Nginx) -> None:
    """An addition whose fate is open is not sent again; run again, it is found."""
    upstream = nginx.http.upstream("backend")
    await nginx.version()
    double.cut = lambda seen: seen.method == "POST"
    with pytest.raises(aetcd.OutcomeUnknown):
        await upstream.reconcile([*OLD, NEW[0]])
    double.cut = lambda seen: False
    assert not await upstream.reconcile([*OLD, NEW[0]])
    assert double.servers() == [*OLD, NEW[0]]


def test_plan_is_a_value() -> None:
    """Two of them can be compared."""
    assert Plan(added=(Step(server="a:80"),)) == Plan(added=(Step(server="a:80"),))
    assert Plan(dry_run=True) != Plan()
