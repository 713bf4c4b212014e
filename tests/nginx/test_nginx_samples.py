"""Statistics as a stream, of a double that serves, fails, reloads and restarts."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from doubles.nginx import NginxDouble

import aetcd
from aetcd.nginx import Missed, Nginx, PeerChanged, Sample, Samples

ONE, TWO = "10.0.0.1:8088", "10.0.0.1:8089"


async def sample(samples: Samples) -> Sample:
    """The next one, whatever comes before it."""
    async for item in samples:
        if isinstance(item, Sample):
            return item
    raise AssertionError("the stream ended")


async def test_what_moves_between_looks(double: NginxDouble, nginx: Nginx) -> None:
    """The first look is the base; each sample tells what came since the last one."""
    double.instance.request(ONE)
    async with nginx.watch(interval=0.05) as samples:
        assert samples.first.http_zones["server_backend"].requests == 1
        for _ in range(3):
            double.instance.request(ONE, status=200, received=10, sent=100)
        double.instance.request(TWO, status=503, received=10, sent=100)
        double.instance.session("10.0.1.1:12345", status=500)
        first = await sample(samples)
        zone = first.http.zones["server_backend"]
        assert (zone.requests, zone.count_5xx, zone.received, zone.sent) == (4, 1, 40, 400)
        assert zone.requests_per_second == 4 / first.seconds
        assert first.http.locations["location_backend"].requests == 4
        upstream = first.http.upstreams["backend"]
        assert (upstream.requests, upstream.peers[0].requests, upstream.peers[1].count_5xx) == (4, 3, 1)
        assert first.stream.zones["server_backend"].count_5xx == 1
        assert first.stream.upstreams["backend"].requests == 1
        assert (first.requests, first.connections) == (4, 5)
        assert first.seconds >= 0.05
        second = await sample(samples)
        assert second.requests == 0
        assert second.http.zones["server_backend"].requests == 0


async def test_peers_that_change_state_are_events(double: NginxDouble, nginx: Nginx) -> None:
    """Before the sample that shows them, and once."""
    async with nginx.watch(interval=0.05) as samples:
        double.server(TWO).state = "unhealthy"
        await nginx.stream.upstream("backend").servers.add("10.0.1.2:12345")
        double.seen.clear()
        items = [await anext(samples) for _ in range(4)]
    assert items[:2] == [
        PeerChanged(side="http", upstream="backend", server=TWO, id=1, before="up", after="unhealthy"),
        PeerChanged(side="stream", upstream="backend", server="10.0.1.2:12345", id=1, before=None, after="up"),
    ]
    assert all(isinstance(item, Sample) for item in items[2:])


async def test_reload_and_restart(double: NginxDouble, nginx: Nginx) -> None:
    """A reload is told; a restart makes all counters begin anew, and is no error."""
    for _ in range(5):
        double.instance.request(ONE)
    async with nginx.watch(interval=0.05) as samples:
        double.instance.request(ONE)
        double.instance.reload()
        reloaded = await sample(samples)
        assert (reloaded.reloaded, reloaded.restarted) == (True, False)
        assert reloaded.http.zones["server_backend"].requests == 1
        double.instance.restart()
        for _ in range(50):
            double.instance.request(ONE)
        restarted = await sample(samples)
        assert (restarted.reloaded, restarted.restarted) == (True, True)
        assert restarted.http.zones["server_backend"].requests == restarted.requests == 50
        assert restarted.http.upstreams["backend"].requests == 50
        assert not (await sample(samples)).reloaded


async def test_reset_by_another(double: NginxDouble, nginx: Nginx) -> None:
    """Counters that were cleared are no negative numbers."""
    for _ in range(5):
        double.instance.request(ONE)
    async with nginx.watch(interval=0.05) as samples:
        await nginx.http.server_zones.reset("server_backend")
        double.instance.request(ONE)
        moved = (await sample(samples)).http.zones["server_backend"]
        assert (moved.requests, moved.went_back) == (1, True)


async def test_silence_is_told_and_survived(double: NginxDouble) -> None:
    """Each look that fails is an item; when the instance is back, the next sample spans the time."""
    async with Nginx(double.url, timeout=0.5, retry=1) as nginx:
        async with nginx.watch(interval=0.05) as samples:
            await double.stop()
            missed = [await anext(samples) for _ in range(2)]
            assert all(isinstance(item, Missed) and isinstance(item.error, aetcd.TransportError) for item in missed)
            double.instance.request(ONE)
            await double.start()
            item = await sample(samples)
            assert item.requests == 1
            assert item.seconds > 0.1


async def test_refusal_ends_it(double: NginxDouble, nginx: Nginx) -> None:
    """It does not pass by itself: here another release took the place of the one that was there."""
    async with nginx.watch(interval=0.05) as samples:
        double.instance.versions = (1,)
        with pytest.raises(aetcd.nginx.UnknownVersion):
            await anext(samples)


@pytest.mark.parametrize("versions", [(1, 2, 3), tuple(range(1, 10))], ids=["old", "new"])
async def test_without_a_stream_block(versions: tuple[int, ...]) -> None:
    """Nothing is asked for that is not there, and no error comes of it."""
    async with NginxDouble(versions, stream=False) as double, Nginx(double.url) as nginx:
        async with nginx.watch(interval=0.05) as samples:
            item = await sample(samples)
            assert item.stream.zones == {}
            assert item.http.zones
            assert ("server_backend" in item.snapshot.http_zones) is True
            assert bool(item.http.locations) == (max(versions) >= 5)
        targets = [seen.target for seen in double.seen]
        assert not any("stream/upstreams" in target for target in targets)


@pytest.mark.parametrize("version", range(1, 10))
async def test_every_version(version: int) -> None:
    """Of what a server lists, only that is asked for which the version has."""
    async with NginxDouble(lists_all=True) as double, Nginx(double.url, version=version) as nginx:
        async with nginx.watch(interval=0.05) as samples:
            double.instance.request(ONE, status=500)
            item = await sample(samples)
            assert item.http.zones["server_backend"].count_5xx == 1
            assert bool(item.http.locations) == (version >= 5)


async def test_stream_block_that_comes_with_a_reload(double: NginxDouble, nginx: Nginx) -> None:
    """What there is to ask for is asked anew after each reload."""
    double.instance.stream = False
    async with nginx.watch(interval=0.05) as samples:
        assert not (await sample(samples)).stream.upstreams
        double.instance.stream = True
        double.instance.reload()
        assert (await sample(samples)).stream.upstreams
        double.instance.stream = False
        assert not (await sample(samples)).stream.upstreams


async def test_slow_reader_gets_fewer_samples(double: NginxDouble, nginx: Nginx) -> None:
    """Each of a longer time, with nothing lost, and without a burst of what was missed."""
    async with nginx.watch(interval=0.05) as samples:
        await sample(samples)
        double.instance.request(ONE)
        looks = sum(seen.target.endswith("/nginx") for seen in double.seen)
        await asyncio.sleep(0.3)
        assert sum(seen.target.endswith("/nginx") for seen in double.seen) == looks
        late = await sample(samples)
        assert late.requests == 1
        assert late.seconds > 0.3
        assert (await sample(samples)).seconds > 0.04


async def test_leaving_in_the_middle_leaves_nothing(nginx: Nginx) -> None:
    """It runs in its reader's own task."""
    async with nginx.watch(interval=60) as samples:
        tasks = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(samples)
        assert asyncio.all_tasks() == tasks
    with pytest.raises(RuntimeError, match="async with"):
        await anext(samples)


async def test_read_outside_of_its_block(nginx: Nginx) -> None:
    """It says what is missing."""
    with pytest.raises(RuntimeError, match="async with"):
        await anext(nginx.watch())


@pytest.mark.parametrize("interval", [0, -1, math.inf, math.nan, "1", True, None])
def test_bad_interval(interval: Any) -> None:
    """It is named."""
    with pytest.raises((TypeError, ValueError), match="interval"):
        Nginx("http://a/api").watch(interval)
