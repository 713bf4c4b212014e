"""Several instances at once: all have it, or the error names who has what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from doubles.nginx import NginxDouble

import aetcd
from aetcd.nginx import Fleet, Nginx, PartialFailure, UpstreamOutOfMemory

NEW = ["10.0.0.2:8088", "10.0.0.2:8089"]


@pytest.fixture
async def doubles() -> AsyncIterator[list[NginxDouble]]:
    async with NginxDouble() as one, NginxDouble() as two, NginxDouble((1, 2, 3)) as three:
        yield [one, two, three]


async def test_all_instances_are_brought_in_step(doubles: list[NginxDouble]) -> None:
    """Each from where it stands, by a report of its own."""
    doubles[1].upstream().put(server=NEW[0])
    urls = [double.url for double in doubles]
    async with Fleet(urls, timeout=5) as fleet:
        outcomes = await fleet.http.upstream("backend").reconcile(NEW)
        assert list(outcomes) == urls
        assert list(outcomes.succeeded) == urls
        assert not outcomes.failed
        assert [len(report.result.added) for report in outcomes.values() if report.result] == [2, 1, 2]
        assert all(double.servers() == NEW or set(double.servers()) == set(NEW) for double in doubles)
        again = await fleet.http.upstream("backend").reconcile(iter(NEW), dry_run=True)
        assert not any(report.result for report in again.values())
        await fleet.stream.upstream("backend").reconcile(["10.0.1.7:1"])
        assert all(double.servers(side="stream") == ["10.0.1.7:1"] for double in doubles)


async def test_partial_failure_names_who_has_what(doubles: list[NginxDouble]) -> None:
    """One is whole, one failed on the way, one is down."""
    whole, full, down = doubles
    full.upstream().room = 3
    await down.stop()
    async with Fleet([Nginx(double.url, timeout=1, retry=2) for double in doubles]) as fleet:
        with pytest.raises(PartialFailure) as caught:
            await fleet.http.upstream("backend").reconcile(NEW)
    outcomes = caught.value.outcomes
    assert list(outcomes.succeeded) == [whole.url]
    assert list(outcomes.failed) == [full.url, down.url]
    report = outcomes[full.url]
    assert isinstance(report.error, UpstreamOutOfMemory)
    assert report.result is not None
    assert [step.server for step in report.result.added] == [NEW[0]]
    assert not outcomes[down.url].result
    assert isinstance(outcomes[down.url].error, aetcd.TransportError)
    text = str(caught.value)
    assert text.startswith("1 of 3 instances have it\n")
    assert f"{whole.url} has it" in text
    assert f"{full.url} does not have it" in text
    assert f"(done before that: + {NEW[0]})" in text
    assert f"{down.url} does not have it" in text
    assert isinstance(caught.value, aetcd.AetcdError)


async def test_key_value_zones(doubles: list[NginxDouble]) -> None:
    """All hold the same afterwards, whatever they held."""
    doubles[0].instance.keyvals["http"]["one"].pairs["old"] = ("1", None)
    async with Fleet([double.url for double in doubles]) as fleet:
        outcomes = await fleet.http.keyval("one").sync({"a": "1", "b": "2"})
        assert [report.result.removed for report in outcomes.values() if report.result] == [("old",), (), ()]
        assert all(double.pairs() == {"a": "1", "b": "2"} for double in doubles)
        doubles[2].instance.write = False
        with pytest.raises(PartialFailure) as caught:
            await fleet.http.keyval("one").sync({})
        assert list(caught.value.outcomes.failed) == [doubles[2].url]
        assert [double.pairs() for double in doubles] == [{}, {}, {"a": "1", "b": "2"}]


async def test_any_call(doubles: list[NginxDouble]) -> None:
    """`apply` gives what it gave at each."""
    async with Fleet([double.url for double in doubles]) as fleet:
        outcomes = await fleet.apply(lambda nginx: nginx.version())
        assert [report.result for report in outcomes.values()] == [9, 9, 3]
        assert all(report.ok for report in outcomes.values())
        assert len(outcomes) == 3
        assert "0 failed" in repr(outcomes)


async def test_bad_argument_is_no_partial_failure(doubles: list[NginxDouble]) -> None:
    """It is raised bare, before anything is sent anywhere."""
    async with Fleet([double.url for double in doubles]) as fleet:
        upstream = fleet.http.upstream("backend")
        for wanted, error in (([], ValueError), ("10.0.0.1:80", TypeError), (["a:b:c"], ValueError)):
            with pytest.raises(error, match="wanted"):
                await upstream.reconcile(wanted)
        with pytest.raises(TypeError, match="wanted"):
            await fleet.http.keyval("one").sync({"a": 5})  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="name"):
            fleet.http.upstream("")
    assert not any(double.seen for double in doubles)


@pytest.mark.parametrize(
    ("instances", "settings", "error"),
    [
        ([], {}, aetcd.ConfigError),
        ("http://a/api", {}, TypeError),
        (Nginx("http://a/api"), {}, TypeError),
        ([5], {}, TypeError),
        (["http://a/api", "http://a:80/api/"], {}, aetcd.ConfigError),
        ([Nginx("http://a/api")], {"timeout": 5}, aetcd.ConfigError),
    ],
    ids=str,
)
def test_bad_fleet(instances: Any, settings: dict[str, Any], error: type[Exception]) -> None:
    """It is told when it is made."""
    with pytest.raises(error):
        Fleet(instances, **settings)


async def test_fleet_closes_its_instances(double: NginxDouble) -> None:
    """Those too that were given as clients."""
    nginx = Nginx(double.url)
    async with Fleet([nginx, "http://127.0.0.1:1/api"]) as fleet:
        await nginx.info()
        assert double.url in repr(fleet)
    assert nginx.status().closed
