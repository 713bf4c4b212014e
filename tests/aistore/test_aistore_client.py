"""The client: how it is made, opened and closed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from conftest import QUICK
from doubles.aistore import AIStoreDouble

import aetcd.aistore
from aetcd.aistore import AIStore, AIStoreError, Bucket
from aetcd.errors import AetcdError, ClientClosed, ConfigError, RequestTimeout, WrongContext
from aetcd.testing import TCPProxy


def test_default_is_the_references_own() -> None:
    """A name, and not 127.0.0.1."""
    assert repr(AIStore()) == "<AIStore at http://localhost:8080 dialect=auto>"
    assert "https://localhost:8080" in repr(AIStore(tls=False))
    assert "http://gw:8080" in repr(AIStore("gw"))


def test_from_env(tmp_path: Path) -> None:
    """Endpoint, token, and the token's file; arguments go before."""
    client = AIStore.from_env({"AIS_ENDPOINT": "http://a:1, http://b:2", "AIS_AUTHN_TOKEN": "tok"})
    assert "http://a:1, http://b:2" in repr(client)
    assert client._link.auth.current() == {"Authorization": "Bearer tok"}
    file = tmp_path / "auth.token"
    for text in (json.dumps({"token": "of-file"}), "of-file\n"):
        file.write_text(text)
        client = AIStore.from_env({"AIS_AUTHN_TOKEN_FILE": str(file)})
        assert client._link.auth.current() == {"Authorization": "Bearer of-file"}
    assert "localhost:8080" in repr(AIStore.from_env({}))
    assert AIStore.from_env({"AIS_AUTHN_TOKEN": "tok"}, token="mine")._link.auth.current() == {
        "Authorization": "Bearer mine"
    }
    assert "https://localhost" in repr(AIStore.from_env({"AIS_SKIP_VERIFY_CRT": "true"}))


@pytest.mark.parametrize("text", ['{"x": 1}', "{", ""])
def test_from_env_without_a_token_in_the_file(tmp_path: Path, text: str) -> None:
    """The error names the variable, and shows nothing of the file."""
    (tmp_path / "f").write_text(text)
    with pytest.raises(ConfigError, match="AIS_AUTHN_TOKEN_FILE"):
        AIStore.from_env({"AIS_AUTHN_TOKEN_FILE": str(tmp_path / "f")})


@pytest.mark.parametrize(
    ("arguments", "named", "kind"),
    [
        ({"provider": "bogus"}, "provider", ValueError),
        ({"namespace": "a b"}, "namespace", ValueError),
        ({"redirect_hosts": "host"}, "redirect_hosts", TypeError),
        ({"redirect_hosts": [""]}, "redirect_hosts", ValueError),
        ({"member_sync": -1}, "member_sync", ConfigError),
        ({"member_sync": "x"}, "member_sync", TypeError),
        ({"timeout": 0}, "timeout", ConfigError),
        ({"token": 5}, "token", TypeError),
        ({"debug": 1}, "debug", TypeError),
    ],
)
def test_settings_are_checked(arguments: dict[str, object], named: str, kind: type[Exception]) -> None:
    """The error names the argument."""
    with pytest.raises(kind, match=named):
        AIStore(**arguments)  # type: ignore[arg-type]


async def test_opening_sends_nothing(double: AIStoreDouble) -> None:
    """Nor does the making of buckets, objects, nodes and jobs."""
    async with AIStore(double.url) as ais:
        ais.bucket("b").object("o")
        ais.node("t1")
        ais.job("x")
        assert ais.status()
    assert not double.requests
    async with AIStore("http://127.0.0.1:1"):
        pass


async def test_closing_ends_everything(double: AIStoreDouble) -> None:
    """Streams, calls and background work; a second time is nothing."""
    double.generate("b", "o", size=64 << 20)
    ais = AIStore(double.url, retry=QUICK)
    async with ais.bucket("b").object("o").get() as reader:
        await reader.read(10)
        await ais.aclose()
        with pytest.raises(ClientClosed):
            await reader.read()
    await ais.aclose()
    with pytest.raises(ClientClosed):
        await ais.buckets()
    async with asyncio.timeout(5):
        while [task for task in asyncio.all_tasks() if "aetcd" in task.get_name()]:
            await asyncio.sleep(0.01)


async def test_another_loop_is_refused() -> None:
    """It belongs to the first one."""
    async with AIStore("http://127.0.0.1:1") as ais:
        with pytest.raises(WrongContext):
            await asyncio.to_thread(asyncio.run, ais.buckets())


async def test_concurrent_first_calls_settle_the_dialect_once(double: AIStoreDouble) -> None:
    """Whoever comes meanwhile waits for it."""
    async with AIStore(double.url, retry=QUICK) as ais:
        await asyncio.gather(*(ais.bucket("b").exists() for _ in range(10)))
    assert len([asked for asked in double.requests if asked.query.get("what") == "smap"]) == 1


async def test_waiting_for_the_dialect_is_within_the_calls_time(double: AIStoreDouble) -> None:
    """Another call asks for it, and has longer."""
    async with TCPProxy(double.url) as proxy:
        proxy.stall()
        async with AIStore(proxy.url, timeout=5, retry=QUICK, member_sync=False) as ais:
            first = asyncio.ensure_future(ais.buckets())
            while not proxy.accepted:
                await asyncio.sleep(0.01)
            with pytest.raises(RequestTimeout):
                await ais.buckets(timeout=0.1)
            proxy.resume()
            assert [info.name for info in await first] == ["b"]


async def test_provider_of_the_client(double: AIStoreDouble) -> None:
    """For buckets that are named without one."""
    async with AIStore(double.url, provider="aws", retry=QUICK) as ais:
        assert (ais.bucket("b").provider, ais.bucket("b", provider="ais").provider) == ("aws", "ais")
        assert str(ais.bucket("b")) == "aws://b"


def test_every_error_is_an_aistore_error() -> None:
    """And of the package's tree."""
    kinds = [getattr(aetcd.aistore, name) for name in aetcd.aistore.__all__]
    errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(errors) > 20
    assert all(issubclass(kind, AIStoreError) and issubclass(kind, AetcdError) for kind in errors)


def test_public_names_are_documented() -> None:
    """Each class and each of its public methods."""
    for name in aetcd.aistore.__all__:
        found = getattr(aetcd.aistore, name)
        assert found.__doc__, name
        if isinstance(found, type) and found.__module__.startswith("aetcd.aistore"):
            for member, value in vars(found).items():
                if not member.startswith("_") and callable(value):
                    assert value.__doc__, f"{name}.{member}"


async def test_checksum_package_that_is_missing(
    bucket: Bucket, double: AIStoreDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, with the way out; a read without a check needs it not."""
    import sys

    double.put("b", "o", b"x")
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(ConfigError, match=r"aetcd-http\[aistore\].*verify=False"):
        await bucket.object("o").read()
    assert await bucket.object("o").read(verify=False) == b"x"
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(ConfigError, match="google-crc32c"):
        await bucket.object("o").put(b"x", checksum="crc32c")
    await bucket.object("p").put(b"x", checksum="md5")
