"""The suite's own watch over what tests leave behind (tests/conftest.py)."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

HEAD = """
import asyncio, pytest, socket

kept = []

@pytest.fixture(scope="module", autouse=True)
def closed_after_all():
    yield
    for each in kept:
        each.close()

async def test_it():
"""

LEAKS = {
    "a task": ("asyncio.create_task(asyncio.sleep(60), name='the forgotten one')", "*the forgotten one*"),
    "a socket": ("kept.append(socket.socket())", "socket:*"),
    "a connection": (
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            kept.append(socket.create_connection(server.getsockname()))
        """,
        "socket:*",
    ),
}


@pytest.fixture
def guarded(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def run(guarded: pytest.Pytester, body: str) -> pytest.RunResult:
    guarded.makepyfile(HEAD + textwrap.indent(textwrap.dedent(body), "    "))
    return guarded.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest")


@pytest.mark.parametrize(("body", "told"), LEAKS.values(), ids=LEAKS)
def test_what_is_left_behind_fails_the_test(guarded: pytest.Pytester, body: str, told: str) -> None:
    """And the failure tells what it was."""
    result = run(guarded, body)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["left behind:", told])


def test_what_ends_by_itself_is_no_leak(guarded: pytest.Pytester) -> None:
    """A cancelled task and a closed connection need a few turns of the loop, and have them."""
    result = run(
        guarded,
        """
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.close()
        server.close()
        """,
    )
    result.assert_outcomes(passed=1)


def test_what_a_fixture_holds_is_its_own_affair(guarded: pytest.Pytester) -> None:
    """It is looked at when the fixtures are closed, and servers of the whole run do not count."""
    guarded.makepyfile("""
        import asyncio, contextlib, pytest
        @pytest.fixture
        async def background():
            task = asyncio.create_task(asyncio.sleep(60))
            yield task
            task.cancel()
        async def test_it(background, etcd, prefix):
            assert not background.done()
        async def test_again(background, etcd35, prefix):
            assert not background.done()
        def test_without_a_loop(prefix):
            pass
    """)
    result = guarded.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    assert result.parseoutcomes()["passed"] >= 3
    assert set(result.parseoutcomes()) == {"passed"}
    result.stdout.fnmatch_lines(["etcd: 3.*"])


def test_property_tests_are_watched_too(guarded: pytest.Pytester) -> None:
    """Hypothesis dislikes fixtures of one test in many examples; this one is about the whole test."""
    guarded.makepyfile("""
        import asyncio
        from hypothesis import given, settings, strategies
        @settings(max_examples=5, database=None)
        @given(strategies.integers())
        async def test_good(number):
            await asyncio.sleep(0)
        @settings(max_examples=5, database=None)
        @given(strategies.integers())
        async def test_bad(number):
            asyncio.create_task(asyncio.sleep(60))
        @settings(max_examples=5, database=None)
        @given(strategies.integers())
        def test_plain(number):
            pass
    """)
    guarded.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=3, errors=1)
