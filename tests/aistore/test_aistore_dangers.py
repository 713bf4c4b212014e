"""What destroys data or gives secrets away, and is stopped before anything is sent: dialects, redirects, tokens."""

from __future__ import annotations

import pytest
from conftest import QUICK
from doubles.aistore import AIStoreDouble, Dialect

from aetcd.aistore import AIStore, AuthN, Bucket, ForeignRedirect, TokenRefused
from aetcd.aistore._codec import Redirect
from aetcd.aistore._dialect_33 import V33
from aetcd.errors import AIStoreError, ConfigError, TransportError, Unsupported
from aetcd.testing import TCPProxy

OTHER: dict[str, Dialect] = {"3.3": "current", "current": "3.3"}


# Dialects


async def test_dialect_is_asked_for_once(ais: AIStore, double: AIStoreDouble) -> None:
    """Before the first write, of the server's own answers."""
    await ais.bucket("b").object("o").put(b"x")
    assert await ais.dialect() == double.dialect
    before = [asked for asked in double.requests if asked.path == "/v1/daemon"]
    assert double.requests[: len(before)] == before
    assert len(before) == (3 if double.old else 2)
    await ais.bucket("b").object("p").put(b"x")
    assert len([asked for asked in double.requests if asked.path == "/v1/daemon"]) == len(before)


async def test_dialect_that_was_named_must_be_the_servers(double: AIStoreDouble) -> None:
    """Else nothing else is sent: an append of 3.3 overwrites today's object."""
    double.put("b", "o", b"precious")
    async with AIStore(double.url, dialect=OTHER[double.dialect], retry=QUICK) as ais:
        with pytest.raises(ConfigError, match="dialect"):
            async with ais.bucket("b").object("o").append() as appender:
                await appender.write(b"x")
        with pytest.raises(ConfigError, match="dialect"):
            await ais.bucket("b").delete_objects(["o"])
    assert not double.asked("PUT")
    assert not double.asked("DELETE")
    assert double.read("b", "o") == b"precious"
    async with AIStore(double.url, dialect=double.dialect, retry=QUICK) as ais:
        assert await ais.bucket("b").object("o").read() == b"precious"


async def test_server_of_neither_version(double: AIStoreDouble) -> None:
    """It answers 400 to both questions."""
    async with AIStore(double.targets[0].url, retry=QUICK) as ais:
        # A target knows its status too, so it is a gateway that must be asked: its map says where they are.
        assert await ais.dialect() == double.dialect
    async with AIStore(double.url, member_sync=False, retry=QUICK) as ais:
        await ais.cluster.map()
        double.gateways[0].fail(400, times=2, path="/v1/daemon")
        with pytest.raises(Unsupported, match="neither"):
            await ais.dialect()


@pytest.mark.parametrize("dialect", ["current"])
async def test_server_that_was_upgraded_is_noticed(double: AIStoreDouble, ais: AIStore) -> None:
    """By the first redirect: an append of 3.3 is not sent to it, and the object is not overwritten."""
    double.put("b", "o", b"precious")
    await ais.dialect()
    ais._link.spoken = V33
    with pytest.raises(Unsupported, match="upgraded"):
        async with ais.bucket("b").object("o").append() as appender:
            await appender.write(b"x")
    assert double.read("b", "o") == b"precious"


async def test_dialect_is_settled_again_after_a_failure(double: AIStoreDouble) -> None:
    """A first call that failed leaves nothing settled."""
    for gateway in double.gateways:
        gateway.starting = True
    async with AIStore(*double.urls, timeout=0.5, retry=QUICK) as ais:
        with pytest.raises(AIStoreError):
            await ais.dialect()
        for gateway in double.gateways:
            gateway.starting = False
        assert await ais.dialect() == double.dialect


def test_names_that_a_version_lacks_are_unsupported() -> None:
    """By name, before anything is sent."""
    from aetcd.aistore._dialect_current import CURRENT

    with pytest.raises(Unsupported, match=r"unregister.*current"):
        CURRENT.action("unregister")
    with pytest.raises(Unsupported, match="cluster stats"):
        CURRENT.query("cluster stats")


def test_dialects_are_checked() -> None:
    """By their names."""
    with pytest.raises(ConfigError, match="dialect"):
        AIStore(dialect="3.1")  # type: ignore[arg-type]


# Redirects


async def test_foreign_redirect_gets_neither_request_nor_token(double: AIStoreDouble) -> None:
    """A host that is not in the cluster map."""
    async with AIStoreDouble(double.dialect) as elsewhere:
        elsewhere.create("b")
        async with AIStore(double.url, token="secret-token", retry=QUICK, member_sync=False) as ais:
            found = ais.bucket("b").object("o")
            for call in (found.head, found.read, found.delete, lambda: found.put(b"x")):
                double.gateways[0].redirect_to(elsewhere.targets[0].url)
                with pytest.raises(ForeignRedirect, match="not of the cluster map"):
                    await call()
        assert not elsewhere.requests


@pytest.mark.parametrize("consent", ["host", "host and port"])
async def test_foreign_redirect_with_consent(double: AIStoreDouble, consent: str) -> None:
    """Who is named is as good as the cluster's own."""
    async with AIStoreDouble(double.dialect) as elsewhere:
        elsewhere.create("b")
        target = elsewhere.targets[0]
        host = "127.0.0.1" if consent == "host" else f"127.0.0.1:{target.port}"
        async with AIStore(double.url, token="t", redirect_hosts=[host], retry=QUICK, member_sync=False) as ais:
            double.gateways[0].redirect_to(target.url)
            await ais.bucket("b").object("o").put(b"x")
        (asked,) = elsewhere.asked("PUT")
        assert asked.headers["Authorization"] == "Bearer t"


async def test_redirect_to_clear_text(ais: AIStore, double: AIStoreDouble) -> None:
    """From a gateway that is spoken to by TLS, though the map has the target."""
    await ais.dialect()
    place = Redirect(url=double.targets[0].url, stamp="pid=p0&utm=1")
    with pytest.raises(ForeignRedirect, match="without TLS"):
        await ais._link._check(place, "https://gateway:8080", ais._link.budget(None))


async def test_redirect_by_another_scheme(double: AIStoreDouble) -> None:
    """Nobody vouches for https of a cluster of http, as the map has it."""
    async with AIStore(double.url, token="secret", retry=QUICK, member_sync=False) as ais:
        double.gateways[0].redirect_to(double.targets[0].url.replace("http:", "https:"))
        with pytest.raises(ForeignRedirect):
            await ais.bucket("b").object("o").head()


async def test_target_that_joined_since_is_vouched_for(ais: AIStore, double: AIStoreDouble) -> None:
    """The map is read again before a redirect is called foreign."""
    for i in range(20):
        double.put("b", f"o{i}", b"x")
    gone = double.targets[1].id
    double.remove(gone)
    await ais.cluster.map()
    double.join(gone)
    await ais.bucket("b").put_many({f"o{i}": b"new" for i in range(20)})
    assert {asked.node for asked in double.asked("PUT") if asked.size} == {target.id for target in double.targets}


async def test_redirect_is_never_kept(bucket: Bucket, double: AIStoreDouble) -> None:
    """301 is said to be for ever: each get asks a gateway again."""
    double.put("b", "o", b"x")
    for _ in range(3):
        await bucket.object("o").read()
    asked = [a.node[0] for a in double.asked("GET", "/v1/objects")]
    assert asked == ["p", "t"] * 3


async def test_gateway_that_answers_a_put_itself_is_none(double: AIStoreDouble) -> None:
    """A target that was named as a gateway: it refuses what did not come by one, and nothing is stored."""
    async with AIStore(double.targets[0].url, retry=QUICK, member_sync=False) as ais:
        with pytest.raises(AIStoreError, match="redirected"):
            await ais.bucket("b").object("o").put(b"x")
    assert not double.bucket("b").objects


async def test_targets_behind_an_address_of_the_map(double: AIStoreDouble) -> None:
    """What the map tells is where redirects may lead."""
    double.put("b", "o", b"x")
    owner = double.owner("b", "o")
    async with TCPProxy(owner.url) as proxy:
        owner.public = proxy.url
        async with AIStore(double.url, retry=QUICK) as ais:
            assert await ais.bucket("b").object("o").read() == b"x"
            assert proxy.accepted >= 1


# Tokens


async def test_token_goes_with_every_request(dialect: Dialect) -> None:
    """And is shown nowhere."""
    async with AIStoreDouble(dialect, auth=True) as double:
        double.create("b")
        token = double.token()
        async with AIStore(double.url, token=token, retry=QUICK) as ais:
            await ais.bucket("b").object("o").put(b"x")
            assert [info.name for info in await ais.buckets()] == ["b"]
            assert token not in repr(ais)
        async with AIStore(double.url, retry=QUICK) as ais:
            with pytest.raises(TokenRefused) as caught:
                await ais.buckets()
            assert token not in str(caught.value)


async def test_refused_token_is_renewed_once(dialect: Dialect) -> None:
    """By the function that was given: one question, however many wait for it."""
    async with AIStoreDouble(dialect, auth=True) as double:
        double.create("b")
        given = []

        async def source() -> str:
            given.append(double.token())
            return given[-1]

        async with AIStore(double.url, token=source, retry=QUICK) as ais:
            await ais.buckets()
            double.revoke(given[0])
            await ais.buckets()
            await ais.bucket("b").object("o").put(b"x")
            assert len(given) == 2


async def test_right_that_is_missing_is_not_a_stale_token(dialect: Dialect) -> None:
    """Another token of the same user would bring nothing."""
    async with AIStoreDouble(dialect, auth=True) as double:
        double.create("b")
        async with AuthN(double.authn.url, token=double.token()) as authn:
            await authn.register_cluster("c1", [double.url], alias="al1")
            await authn.add_user("bob", "secret", roles=["Guest-al1"])
            asked = 0

            async def source() -> str:
                nonlocal asked
                asked += 1
                return await authn.login("bob", "secret")

            async with AIStore(double.url, token=source, retry=QUICK) as ais:
                assert [e.name async for e in ais.bucket("b").list()] == []
                with pytest.raises(TokenRefused, match="insufficient"):
                    await ais.bucket("b").object("o").put(b"x")
            assert asked == 1


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "é"])
def test_token_that_no_header_can_hold(token: str) -> None:
    """It is not shown."""
    with pytest.raises(ConfigError, match="token") as caught:
        AIStore(token=token)
    assert token == "" or token not in str(caught.value)


async def test_source_that_gives_no_token(double: AIStoreDouble) -> None:
    """What it raises is what the caller gets."""

    async def source() -> str:
        raise LookupError("no password")

    async with AIStore(double.url, token=source, retry=QUICK) as ais:
        with pytest.raises((LookupError, TransportError)):
            await ais.buckets()
