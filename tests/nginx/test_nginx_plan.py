"""Plans: the fewest changes from the servers that are there to those that are wanted, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetcd.nginx import HTTPServer, Plan, Step, StreamServer, Wanted
from aetcd.nginx._reconcile import make_plan, read_wanted

DEFAULTS: dict[str, Any] = {
    "weight": 1,
    "max_conns": 0,
    "max_fails": 1,
    "fail_timeout": 10,
    "slow_start": 0,
    "route": "",
    "backup": False,
    "down": False,
    "service": None,
    "parent": None,
    "host": None,
    "drain": None,
}


def there(id: int, server: str, **parameters: Any) -> HTTPServer:
    return HTTPServer(id=id, server=server, **{**DEFAULTS, **parameters})


def plan(wanted: Any, *present: Any, stream: bool = False) -> Plan:
    return make_plan(read_wanted(wanted, stream=stream), present, stream=stream)


def test_nothing_to_do() -> None:
    """It is false, and says so."""
    made = plan(["10.0.0.1:80"], there(0, "10.0.0.1:80"))
    assert not made
    assert str(made) == "nothing to do"
    assert made.kept == (Step(server="10.0.0.1:80", id=0),)


def test_lines_for_people() -> None:
    """A mark, an address, and what changes."""
    made = plan([{"server": "10.0.0.1", "weight": 5}, "10.0.0.3:80"], there(0, "10.0.0.1:80"), there(1, "10.0.0.2:80"))
    assert str(made) == "+ 10.0.0.3:80\n~ 10.0.0.1:80 weight=5\n- 10.0.0.2:80"
    assert made.changed[0].was == {"weight": 1}


@pytest.mark.parametrize(
    ("wanted", "present"),
    [
        ("10.0.0.1", "10.0.0.1:80"),
        ("[::1]", "[::1]:80"),
        ("[0:0::1]:81", "[::1]:81"),
        ("App.Example.com", "app.example.com:80"),
        ("app.example.com", "app.example.com"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ],
)
def test_two_ways_to_write_an_address_are_one_server(wanted: str, present: str) -> None:
    """nginx's form is not always the one that people write."""
    assert not plan([wanted], there(0, present))


def test_what_is_not_said_is_left() -> None:
    """Who knows addresses does not undo an operator's `down`."""
    assert not plan(["10.0.0.1:80"], there(0, "10.0.0.1:80", down=True, weight=7))
    assert plan([{"server": "10.0.0.1:80", "down": False}], there(0, "10.0.0.1:80", down=True)).changed


@pytest.mark.parametrize("value", ["30s", 30, "0m 30s"])
def test_times_are_compared_as_times(value: Any) -> None:
    """Not as text."""
    wanted = [{"server": "10.0.0.1:80", "fail_timeout": value}]
    assert not plan(wanted, there(0, "10.0.0.1:80", fail_timeout=30))
    assert plan(wanted, there(0, "10.0.0.1:80")).changed


def test_draining_server_is_wanted_again() -> None:
    """An interrupted removal is taken back."""
    made = plan(["10.0.0.1:80"], there(0, "10.0.0.1:80", drain=True))
    assert made.changed == (Step(server="10.0.0.1:80", id=0, parameters={"drain": False}, was={"drain": True}),)


def test_backup_makes_another_server() -> None:
    """It cannot be changed in place: one is added before the other goes."""
    made = plan([Wanted(server="10.0.0.1:80", backup=True)], there(0, "10.0.0.1:80"))
    assert made.added == (Step(server="10.0.0.1:80", parameters={"backup": True}),)
    assert made.removed == (Step(server="10.0.0.1:80", id=0),)


def test_service_makes_another_server() -> None:
    """So does this."""
    present = there(0, "app.example.com", service="web")
    assert not plan([Wanted(server="app.example.com", service="web")], present)
    made = plan([Wanted(server="app.example.com", service="api")], present)
    assert (made.added[0].parameters, made.removed[0].id) == ({"service": "api"}, 0)


def test_resolved_servers_are_left_alone() -> None:
    """They come and go with their name."""
    parent = there(0, "app.example.com:80")
    child = there(1, "10.9.0.1:80", parent="0", host="app.example.com")
    assert not plan(["app.example.com"], parent, child)
    assert [step.id for step in plan(["10.0.0.1"], parent, child).removed] == [0]


def test_of_duplicates_the_right_one_stays() -> None:
    """The one that needs no change, not the first."""
    wanted = [{"server": "10.0.0.1:80", "weight": 5}]
    made = plan(wanted, there(0, "10.0.0.1:80"), there(1, "10.0.0.1:80", weight=5), there(2, "10.0.0.1:80"))
    assert [step.id for step in made.kept] == [1]
    assert [step.id for step in made.removed] == [0, 2]
    assert not made.changed


def test_unreadable_address_that_is_there_is_like_no_other() -> None:
    """It is removed, not a reason to fail."""
    assert [step.id for step in plan(["10.0.0.1"], there(0, "10.0.0.1:80"), there(1, "a:b:c")).removed] == [1]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ("10.0.0.1:80", TypeError),
        ({"server": "10.0.0.1:80"}, TypeError),
        ([5], TypeError),
        ([{"server": "a:80", "wait": 5}], TypeError),
        ([{"weight": 5}], TypeError),
        (["a:99999"], ValueError),
        (["a:b"], ValueError),
        (["[::x]:80"], ValueError),
        ([""], ValueError),
        ([{"server": "a:80", "weight": 0}], ValueError),
        ([{"server": "a:80", "fail_timeout": "soon"}], ValueError),
        (["a:80", {"server": "a:80", "weight": 5}], ValueError),
        (["a", {"server": "A:80", "weight": 5}], ValueError),
    ],
    ids=str,
)
def test_bad_wish_is_named(wanted: Any, error: type[Exception]) -> None:
    """Two ways to want one server are one of them."""
    with pytest.raises(error, match="wanted"):
        read_wanted(wanted, stream=False)


def test_stream_servers_have_ports_and_no_routes() -> None:
    """Nor is there a default port."""
    with pytest.raises(ValueError, match="need a port"):
        read_wanted(["10.0.0.1"], stream=True)
    with pytest.raises(ValueError, match="no route"):
        read_wanted([{"server": "10.0.0.1:80", "route": "a"}], stream=True)
    present = StreamServer(
        id=0, server="10.0.0.1:80", **{k: v for k, v in DEFAULTS.items() if k not in {"route", "drain"}}
    )
    assert not plan(["10.0.0.1:80"], present, stream=True)


def test_exact_duplicates_are_one() -> None:
    """In whatever form."""
    assert len(read_wanted(["10.0.0.1:80", Wanted(server="10.0.0.1:80"), {"server": "10.0.0.1:80"}], stream=False)) == 1


ADDRESSES = st.sampled_from([f"10.0.0.{n}:80" for n in range(1, 6)])
PARAMETERS = st.fixed_dictionaries({}, optional={"weight": st.integers(1, 3), "down": st.booleans()})
PRESENT = st.lists(st.tuples(ADDRESSES, PARAMETERS, st.booleans()), max_size=7)
WANTED = st.dictionaries(ADDRESSES, PARAMETERS, min_size=1, max_size=5)


def carried_out(made: Plan, present: list[HTTPServer]) -> list[HTTPServer]:
    """The servers after a plan, by the meaning of its steps."""
    changes = {step.id: step.parameters for step in made.changed}
    gone = {step.id for step in made.removed}
    kept = [
        there(one.id, one.server, **{**as_dict(one), **changes.get(one.id, {})})
        for one in present
        if one.id not in gone
    ]
    return kept + [there(100 + n, step.server, **step.parameters) for n, step in enumerate(made.added)]


def as_dict(server: HTTPServer) -> dict[str, Any]:
    return {name: getattr(server, name) for name in DEFAULTS}


@given(WANTED, PRESENT)
def test_plan_leads_to_what_is_wanted(wishes: dict[str, dict[str, Any]], state: list[tuple[str, Any, bool]]) -> None:
    """From anywhere: each wanted server once and no other, in no more steps than needed; a second plan is empty."""
    present = [there(n, address, drain=drain, **more) for n, (address, more, drain) in enumerate(state)]
    wanted = [{"server": address, **parameters} for address, parameters in wishes.items()]
    made = plan(wanted, *present)
    after = carried_out(made, present)
    assert sorted(server.server for server in after) == sorted(wishes)
    assert not plan(wanted, *after)
    assert all(getattr(one, name) == value for one in after for name, value in wishes[one.server].items())
    touched = {step.id for step in (*made.changed, *made.removed)}
    assert len(touched) == len(made.changed) + len(made.removed)
    assert len(made.added) == len(wishes.keys() - {server.server for server in present})
    assert len(made.removed) == len(present) - len(wishes.keys() & {server.server for server in present})
