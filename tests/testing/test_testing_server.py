"""One server: its life, its faults, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import trustme
from raw import answer, ask, b64, connection, post, put, request, value_of
from remains import Remains

from aetcd.testing import EtcdFailed, EtcdNotReady, EtcdServer, ServerTLS, _etcd
from aetcd.testing._ports import HeldPort


def refused(url: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0


def quick(**settings: Any) -> EtcdServer:
    """With a raft so fast that a start takes a fifth of a second, where etcd's own timing is not the point."""
    return EtcdServer(heartbeat_ms=10, **settings)


# Life


async def test_it_serves_v3_and_v2(etcd: EtcdServer, prefix: str) -> None:
    """Every version found does, and says which it is."""
    status, body = await ask(etcd.url, request("GET", "/version"))
    assert (status, json.loads(body)["etcdserver"]) == (200, etcd.version)
    await post(etcd.url, "/v3/kv/put", key=b64(prefix), value=b64("three"))
    assert await value_of(etcd.url, prefix) == "three"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await ask(etcd.url, request("PUT", f"/v2/keys/{prefix}a", b"value=two", form)))[0] == 201
    status, body = await ask(etcd.url, request("GET", f"/v2/keys/{prefix}a"))
    assert json.loads(body)["node"]["value"] == "two"


async def test_without_v2_it_serves_v3_alone() -> None:
    """The key space of v2 is not there."""
    async with quick(protocols=("v3",)) as server:
        assert (await ask(server.url, request("GET", "/v2/keys/")))[0] == 404
        await post(server.url, "/v3/kv/put", key=b64("a"), value=b64("b"))


async def test_several_run_side_by_side() -> None:
    """Each with its own ports and data."""
    async with quick() as one, quick() as other:
        await post(one.url, "/v3/kv/put", key=b64("a"), value=b64("one"))
        assert one.peers == [one.url] != other.peers
        assert await value_of(other.url, "a") is None


async def test_a_restart_keeps_url_and_data(etcd: EtcdServer) -> None:
    """After an orderly stop, after a kill, and of one that runs."""
    async with quick(binary=etcd.binary) as server:
        url, pids = server.url, [server.pid]
        for end in (server.stop, server.kill, None):
            await post(url, "/v3/kv/put", key=b64("a"), value=b64(str(len(pids))))
            if end is not None:
                await end()
                assert server.pid is None
                assert refused(url)
            await server.restart()
            assert await value_of(url, "a") == str(len(pids))
            pids.append(server.pid)
        assert server.url == url
        assert len(set(pids)) == 4


async def test_a_kill_works_without_await() -> None:
    """The signal is sent by the call; repeated, and on the dead, it does nothing."""
    async with quick() as server:
        pid = server.pid
        assert pid is not None
        server.kill()
        # By the kernel's own account, and before anything of ours looks again.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        assert ended.si_status == signal.SIGKILL
        server.kill()
        await server.kill()
        assert server.pid is None


async def test_a_paused_server_is_silent_and_a_resumed_one_goes_on(prefix: str) -> None:
    """Connections are accepted, nothing is answered, nothing is lost."""
    async with quick() as server:
        async with connection(server.url) as (reader, writer):
            await server.pause()
            async with connection(server.url):
                writer.write(put(prefix, "late"))
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.3)
                assert server.member.paused
                server.resume()
                assert (await answer(reader))[0] == 200
        assert await value_of(server.url, prefix) == "late"


async def test_pause_is_complete_when_awaited() -> None:
    """Every thread stands still, by the kernel's own account; a second pause is one pause."""
    async with quick() as server:
        for _ in range(2):
            await server.pause()
        states = {
            task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{server.pid}/task").glob("*/stat")
        }
        assert states == {"T"}
        server.resume()
        await server.wait_healthy(5)


async def test_a_paused_server_can_be_stopped_and_restarted() -> None:
    """An orderly end needs it awake: it is resumed for that."""
    async with quick() as server:
        await server.pause()
        await asyncio.wait_for(server.stop(), 5)
        await server.restart()
        await server.pause()
        await server.restart()
        await server.wait_healthy(5)


async def test_a_server_that_will_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that it was given."""
    async with quick() as server:
        process = server.member._process
        assert process is not None
        send = process.send_signal
        monkeypatch.setattr(process, "send_signal", lambda number: None if number == signal.SIGTERM else send(number))
        await server.stop(timeout=0.1)
        assert (server.pid, process.returncode) == (None, -signal.SIGKILL)


@pytest.mark.parametrize("fault", ["pause", "resume"])
async def test_what_does_not_run_cannot_be_paused(fault: str) -> None:
    """It says so, where a silent nothing would make a test pass for no reason."""
    async with quick() as server:
        await server.kill()
        with pytest.raises(RuntimeError, match="m0 does not run"):
            getattr(server, fault)()


async def test_data_in_a_folder_of_ones_own_outlive_the_server(tmp_path: Path) -> None:
    """The folder is made, kept, and taken up by the next server."""
    data = tmp_path / "made" / "here"
    async with quick(data_dir=data) as first:
        await post(first.url, "/v3/kv/put", key=b64("a"), value=b64("kept"))
    async with quick(data_dir=data) as second:
        assert await value_of(second.url, "a") == "kept"


async def test_the_log_is_kept_over_restarts() -> None:
    """For the report of a test that failed."""
    async with quick() as server:
        await server.kill()
        await server.restart()
        assert server.member.log.count('"etcd-version":') == 2


async def test_etcds_environment_does_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell set up for a real etcd must not break a test's: etcd refuses a setting that is given twice."""
    monkeypatch.setenv("ETCD_NAME", "production")
    async with quick() as server:
        found = await post(server.url, "/v3/cluster/member/list")
        assert [member["name"] for member in found["members"]] == ["m0"]


async def test_auth_tokens_expire_as_told() -> None:
    """Within the seconds of `auth_token_ttl`, not in etcd's five minutes."""
    async with quick(auth_token_ttl=1) as server:
        await post(server.url, "/v3/auth/user/add", name="root", password="secret")
        await post(server.url, "/v3/auth/user/grant", user="root", role="root")
        await post(server.url, "/v3/auth/enable")
        await server.wait_healthy(5)
        token = (await post(server.url, "/v3/auth/authenticate", name="root", password="secret"))["token"]
        read = request("POST", "/v3/kv/range", json.dumps({"key": b64("a")}).encode(), {"Authorization": token})
        assert (await ask(server.url, read))[0] == 200
        async with asyncio.timeout(10):
            # Each use would renew it.
            await asyncio.sleep(2.1)
            assert (await ask(server.url, read))[0] == 401


async def test_its_text_tells_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest prints what a failed test held, and logs of CI are read by many."""
    monkeypatch.setenv("SECRET_OF_MINE", "hunter2")
    async with quick() as server:
        assert "hunter2" not in repr(server) + repr(server.member)
        assert server.url in repr(server.member)


# TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_files(authority: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    made = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    made.cert_chain_pems[0].write_to_path(files["cert"])
    made.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    return files


def trusting(authority: trustme.CA, *, certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate:
        authority.issue_cert("client.test").configure_cert(context)
    return context


async def test_it_serves_https(authority: trustme.CA, tls_files: dict[str, Path]) -> None:
    """With the certificate that it was given."""
    tls = ServerTLS(cert=tls_files["cert"], key=tls_files["key"])
    async with quick(tls=tls) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusted = trusting(authority, certificate=False)
        await post(server.url, "/v3/kv/put", trusted, key=b64("a"), value=b64("b"))
        assert await value_of(server.url, "a", trusted) == "b"
        assert await server.leader() is server.member
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(server.url, request("GET", "/version"), ssl.create_default_context())


async def test_it_asks_clients_for_certificates(authority: trustme.CA, tls_files: dict[str, Path]) -> None:
    """It refuses those without one, and its own start knows how to ask."""
    async with quick(tls=ServerTLS(**tls_files, client_cert_auth=True)) as server:
        status, _ = await ask(server.url, request("GET", "/version"), trusting(authority, certificate=True))
        assert status == 200
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await ask(server.url, request("GET", "/version"), trusting(authority, certificate=False))


# Failing to start


async def test_a_server_that_ends_at_its_start_shows_its_log(remains: Remains) -> None:
    """The error is etcd's own text, at once and not after the time-out; nothing is left."""
    with pytest.raises(EtcdFailed, match="not defined: -no-such-flag") as caught:
        async with EtcdServer(extra_args=["--no-such-flag"]):
            pass
    assert not isinstance(caught.value, TimeoutError)
    assert remains.nothing()


async def test_a_server_that_is_late_shows_its_log(remains: Remains) -> None:
    """After `start_timeout`, as a TimeoutError; nothing is left."""
    with pytest.raises(EtcdNotReady, match=r"(?s)not healthy after 0\.2 s: m0\n.*the log of m0") as caught:
        async with EtcdServer(heartbeat_ms=2000, start_timeout=0.2):
            pass
    assert isinstance(caught.value, TimeoutError)
    assert remains.nothing()


class TakenPort(HeldPort):
    """A port that the server cannot have, as if somebody had been faster."""

    left = 0
    numbers: ClassVar[list[int]] = []

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if type(self).left > 0:
            type(self).left -= 1
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self.numbers.append(self.number)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The next so many ports are taken."""
    monkeypatch.setattr(TakenPort, "numbers", [])
    monkeypatch.setattr(_etcd, "HeldPort", TakenPort)
    return lambda count: monkeypatch.setattr(TakenPort, "left", count)


async def test_a_start_goes_on_with_other_ports_when_one_is_taken(
    taken: Callable[[int], None], remains: Remains
) -> None:
    """The first try fails, the second has new ports, and of the first nothing is left."""
    taken(1)
    async with quick() as server:
        assert len(TakenPort.numbers) == 1
        assert server.member.log.count("configuring peer listeners") == 1
        assert len(remains.folders()) == 1
    assert remains.nothing()


async def test_a_start_does_not_go_on_for_ever(taken: Callable[[int], None], remains: Remains) -> None:
    """Where every port is taken something else is wrong, and etcd's own text says so."""
    taken(99)
    with pytest.raises(EtcdFailed, match="address already in use"):
        await quick().start()
    assert len(TakenPort.numbers) == 6
    assert remains.nothing()


async def test_a_restarted_server_that_ends_shows_its_log(tmp_path: Path) -> None:
    """Not after the time-out: at once."""
    data = tmp_path / "data"
    async with quick(data_dir=data) as server:
        await server.kill()
        (data / "member" / "snap" / "db").write_text("not a database")
        with pytest.raises(EtcdFailed, match="the log of m0"):
            await asyncio.wait_for(server.restart(), 10)


async def test_a_server_that_ended_by_itself_is_told_of() -> None:
    """Who waits for its health learns that it is dead, and why."""
    async with quick() as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(EtcdFailed, match="m0 ended by itself with status -9"):
            await server.wait_healthy(5)


# Opening and closing


async def test_started_and_closed_by_hand(remains: Remains) -> None:
    """start() and aclose(), again and again; closing twice is closing once."""
    server = quick()
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url
    await server.aclose()
    for _ in range(2):
        await server.start()
        with pytest.raises(RuntimeError, match="started already"):
            await server.start()
        assert len(remains.processes()) == 2
        await server.aclose()
        await server.aclose()
        assert server.pid is None
        assert remains.nothing()


def test_it_belongs_to_no_loop(remains: Remains) -> None:
    """Started in one loop, used in another, closed in a third; then started without any."""
    server = quick()
    asyncio.run(server.start())
    asyncio.run(server.restart())
    asyncio.run(server.wait_healthy(5))
    asyncio.run(server.aclose())
    assert remains.nothing()
    with server:
        assert not refused(server.url)
        asyncio.run(server.wait_healthy(5))
    assert remains.nothing()


def test_a_plain_with_leaves_the_current_loop_alone() -> None:
    """A loop for the whole session is at rest while fixtures are set up, and is needed after them."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with quick():
            assert asyncio.get_event_loop() is loop
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def test_a_plain_with_says_what_to_use_in_a_loop() -> None:
    """It would block the loop that is needed to run it."""
    with pytest.raises(RuntimeError, match="async with"):
        EtcdServer().__enter__()


async def test_a_closed_servers_member_cannot_be_restarted() -> None:
    """Its folder and its ports are gone."""
    async with quick() as server:
        member = server.member
    with pytest.raises(RuntimeError, match="was closed"):
        await member.restart()
    await member.kill()


# Nothing is left


@pytest.mark.parametrize("state", ["kill", "pause", "stop", "resume"])
async def test_nothing_is_left_of_a_server_in_any_state(state: str, remains: Remains) -> None:
    """No process, no zombie, no folder; nor do the faults have to be awaited."""
    async with quick() as server:
        assert len(remains.processes()) == 2
        if state == "stop":
            await server.stop()
        else:
            getattr(server, state)()
    assert remains.nothing()


async def test_an_error_in_the_block_passes_and_leaves_nothing(remains: Remains) -> None:
    """It is raised as it was."""
    error = ZeroDivisionError()

    async def block() -> None:
        async with quick():
            assert remains.processes()
            raise error

    with pytest.raises(ZeroDivisionError) as caught:
        await block()
    assert caught.value is error
    assert remains.nothing()


async def test_a_cancelled_block_leaves_nothing(remains: Remains) -> None:
    """Also when the cancel comes again and again while it closes."""
    inside = asyncio.Event()

    async def block() -> None:
        async with quick() as server:
            await server.pause()
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await inside.wait()
    remains.processes()
    task.cancel()
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert remains.nothing()


@pytest.mark.parametrize("wanted", [1, 2])
async def test_a_cancelled_start_leaves_nothing(wanted: int, remains: Remains) -> None:
    """Whether the process has listened already or not."""
    task = asyncio.create_task(quick().start())
    while len(remains.processes()) < wanted:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert remains.nothing()


SCRIPT = """
import asyncio, signal, sys
from aetcd.testing import EtcdCluster

async def main():
    async with EtcdCluster(3) as cluster:
        await cluster.members[0].pause()
        await cluster.members[1].kill()
        print("up", flush=True)
        await asyncio.sleep(60)

if "deaf" in sys.argv:
    signal.signal(signal.SIGINT, lambda *_: print("heard", flush=True))
asyncio.run(main())
"""


@contextmanager
def python_with_a_cluster(remains: Remains, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """In a group of its own, as a shell makes one for what runs in the foreground."""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as python:
        try:
            assert python.stdout is not None
            assert python.stdout.readline() == "up\n"
            assert len(remains.processes()) == 3  # two members, of which one is paused, and the reaper
            yield python
        finally:
            python.kill()


def test_nothing_is_left_after_ctrl_c(remains: Remains) -> None:
    """The terminal's signal reaches Python alone, which ends all before it ends itself, without a warning."""
    with python_with_a_cluster(remains) as python:
        os.killpg(python.pid, signal.SIGINT)
        _, errors = python.communicate(timeout=20)
        assert remains.nothing()
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "Warning" not in errors


def test_nothing_is_left_when_python_is_killed(remains: Remains) -> None:
    """A moment later; a Ctrl-C that Python survived leaves the servers alive, and their reaper."""
    with python_with_a_cluster(remains, "deaf") as python:
        os.killpg(python.pid, signal.SIGINT)
        assert python.stdout is not None
        assert python.stdout.readline() == "heard\n"
        assert len(remains.processes()) == 3
        assert python.pid not in {os.getpgid(pid) for pid in remains.processes()}
        python.kill()
        assert remains.nothing_within(10)
