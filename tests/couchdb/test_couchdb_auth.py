"""Who the client is: basic, session, proxy, token; what ran out, and what is wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator

import pytest
from attrs import define
from couchdb_raw import raw_server, whole
from doubles.couchdb import CouchDBDouble, Seen, Status

from aetcd.couchdb import (
    AccountLocked,
    BadRequest,
    CouchDB,
    JWTAuth,
    ProxyAuth,
    SessionAuth,
    Unauthorized,
    WrongPassword,
)
from aetcd.errors import ConfigError, NoPeerAvailable, PermissionDenied, RequestTimeout, Unauthenticated


@pytest.fixture
async def session(double: CouchDBDouble) -> AsyncIterator[CouchDB]:
    async with CouchDB(double.url, username="admin", password="secret", auth="session") as couch:
        yield couch


def logins(double: CouchDBDouble) -> list[Seen]:
    return [seen for seen in double.requests if (seen.method, seen.path) == ("POST", "/_session")]


# Basic


async def test_five_wrong_passwords_lock_the_account(double: CouchDBDouble, couch: CouchDB) -> None:
    """403 then, with an error of its own, even with the right password; other users go on."""
    async with CouchDB(double.url, username="bob", password="wrong") as wrong:
        for _ in range(5):
            with pytest.raises(WrongPassword):
                await wrong.session()
        with pytest.raises(AccountLocked) as caught:
            await wrong.session()
    assert caught.value.status == 403
    assert isinstance(caught.value, PermissionDenied)
    async with CouchDB(double.url, username="bob", password="builder") as right:
        with pytest.raises(AccountLocked):
            await right.session()
        double.advance(400)
        assert (await right.session()).name == "bob"
    assert (await couch.session()).name == "admin"


async def test_wrong_password_is_asked_once(double: CouchDBDouble) -> None:
    """It is not tried again, which would lock the account."""
    async with CouchDB(double.url, username="bob", password="wrong") as couch:
        with pytest.raises(WrongPassword):
            await couch.all_dbs()
    assert len(double.requests) == 1


# Session


async def test_session_logs_in_once(double: CouchDBDouble, session: CouchDB) -> None:
    """With the first request, and one question on its way however many wait."""
    await asyncio.gather(*[session.all_dbs() for _ in range(8)])
    assert (await session.session()).authenticated == "cookie"
    assert len(logins(double)) == 1
    cookies = {seen.headers["Cookie"] for seen in double.requests if seen.path == "/_all_dbs"}
    assert len(cookies) == 1
    assert all("Authorization" not in seen.headers for seen in double.requests)


async def test_session_that_ran_out(double: CouchDBDouble, session: CouchDB) -> None:
    """Is begun anew, once for all who wait, and their requests are sent again."""
    await session.all_dbs()
    double.advance(1000)
    found = await asyncio.gather(*[session.all_dbs() for _ in range(8)])
    assert all("_users" in names for names in found)
    assert len(logins(double)) == 2


async def test_who_am_i_with_a_session_that_ran_out(double: CouchDBDouble, session: CouchDB) -> None:
    """The server calls it nobody's, without an error; the client begins another."""
    assert (await session.session()).name == "admin"
    double.advance(1000)
    assert (await session.session()).name == "admin"
    assert len(logins(double)) == 2


async def test_cookie_is_renewed_by_answers(double: CouchDBDouble, session: CouchDB) -> None:
    """Used all along, a session goes on without another login."""
    await session.all_dbs()
    for _ in range(5):
        double.advance(300)
        await session.all_dbs()
    assert len(logins(double)) == 1
    assert len({seen.headers["Cookie"] for seen in double.requests if seen.path == "/_all_dbs"}) > 1


async def test_wrong_password_of_a_session(double: CouchDBDouble) -> None:
    """Is told from one that ran out: by its own error, after one login."""
    async with CouchDB(double.url, username="admin", password="wrong", auth="session") as couch:
        with pytest.raises(WrongPassword) as caught:
            await couch.all_dbs()
        assert isinstance(caught.value, Unauthenticated)
    assert len(logins(double)) == 1


async def test_what_a_user_may_not_is_not_a_session_that_ran_out(double: CouchDBDouble) -> None:
    """A 401 with a good cookie is about the user: there is no second login."""
    async with CouchDB(double.url, username="bob", password="builder", auth="session") as couch:
        with pytest.raises(Unauthorized, match="not a server admin"):
            await couch.all_dbs()
    assert len(logins(double)) == 1


async def test_password_changed_under_a_session(double: CouchDBDouble, session: CouchDB) -> None:
    """When the session runs out, the wrong password shows."""
    await session.all_dbs()
    double.advance(1000)
    double.inject(Status(401, "unauthorized", "Name or password is incorrect."), path="/_session", method="POST")
    with pytest.raises(WrongPassword):
        await session.all_dbs()
    assert "_users" in await session.all_dbs()


async def test_logging_out(double: CouchDBDouble, session: CouchDB) -> None:
    """The server is told, and the next call begins another session."""
    await session.all_dbs()
    await session.log_out()
    assert double.requests[-1].method == "DELETE"
    await session.log_out()
    await session.all_dbs()
    assert len(logins(double)) == 2


async def test_no_login_from_a_dead_server(double: CouchDBDouble, session: CouchDB) -> None:
    """The transport's error, and the outcome is that nothing was sent."""
    await double.stop()
    with pytest.raises((NoPeerAvailable, RequestTimeout), match="no credentials"):
        await session.all_dbs(timeout=1)


async def test_other_cookies_are_not_taken_for_the_session() -> None:
    """A load balancer's own cookie beside it."""
    headers = ["Set-Cookie: SERVERID=a; path=/", "Set-Cookie: AuthSession=YWRt; Version=1; Path=/; HttpOnly"]

    def answer(path: str) -> list[bytes | None]:
        if path == "/_session":
            return [whole(b'{"ok":true,"name":"admin","roles":[]}', "200 OK", *headers)]
        return [whole(b"[]", "200 OK", "Set-Cookie: SERVERID=b; path=/")]

    async with raw_server(answer) as raw:
        async with CouchDB(raw.url, username="admin", password="secret", auth="session") as couch:
            await couch.all_dbs()
            await couch.all_dbs()
    assert all("Cookie: AuthSession=YWRt\r\n" in head for head in raw.heads if "_all_dbs" in head)


async def test_upload_with_a_session_that_ran_out(double: CouchDBDouble, session: CouchDB) -> None:
    """A body that can be sent once only is not wasted on credentials that ran out."""
    double.create("files")
    await session["files"].put({}, id="first")
    double.advance(1000)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a" * 10
        yield b"b" * 10

    await session["files"].put_attachment("a", "x", pieces())
    async with session["files"].attachment("a", "x") as attachment:
        assert await attachment.read() == b"a" * 10 + b"b" * 10


# Proxy


def test_proxy_token_as_the_server_computes_it() -> None:
    """The one that 3.5.0 took, with its secret `thesecret`."""
    auth = ProxyAuth("carl", ["a", "_admin"], "thesecret")
    assert auth.current() == {
        "X-Auth-CouchDB-UserName": "carl",
        "X-Auth-CouchDB-Roles": "a,_admin",
        "X-Auth-CouchDB-Token": "f50ddba156619f3d10afddab34b8081581331064cc3b81b316bde5ae2a743049",
    }
    old = ProxyAuth("carl", ["a", "_admin"], "thesecret", "sha1").current()
    assert old["X-Auth-CouchDB-Token"] == "d8cf08750a4b45591bad22212d54360db1a0beed"
    assert "X-Auth-CouchDB-Token" not in ProxyAuth("carl").current()


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [(("",), "username"), (("carl", "a"), "roles"), (("carl", ["a,b"]), "roles"), (("carl", [], ""), "secret")],
)
def test_proxy_arguments(arguments: tuple[object, ...], argument: str) -> None:
    """Errors name them."""
    with pytest.raises((TypeError, ValueError), match=argument):
        ProxyAuth(*arguments)  # type: ignore[arg-type]


HANDLERS = (
    "{chttpd_auth, jwt_authentication_handler}, {chttpd_auth, proxy_authentication_handler}, "
    "{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, default_authentication_handler}"
)
KEY = b"jwtsecretjwtsecretjwtsecret12345"


@pytest.fixture
async def trusting(double: CouchDBDouble) -> CouchDBDouble:
    """A server that believes proxies who know its secret, and tokens."""
    double.config.setdefault("chttpd", {})["authentication_handlers"] = HANDLERS
    double.config.setdefault("chttpd_auth", {}).update(secret="thesecret", proxy_use_secret="true")
    double.config.setdefault("jwt_keys", {})["hmac:_default"] = base64.b64encode(KEY).decode()
    await double.restart()
    return double


async def test_proxy_that_is_believed(trusting: CouchDBDouble) -> None:
    """Name and roles are the proxy's."""
    async with CouchDB(trusting.url, auth="proxy", username="carl", roles=["a", "_admin"], secret="thesecret") as couch:
        me = await couch.session()
        assert (me.name, me.roles, me.authenticated) == ("carl", ("a", "_admin"), "proxy")
        assert "_users" in await couch.all_dbs()


async def test_proxy_with_another_secret(trusting: CouchDBDouble) -> None:
    """Is nobody, without an error of its own."""
    async with CouchDB(trusting.url, auth="proxy", username="carl", roles=["_admin"], secret="other") as couch:
        assert (await couch.session()).name is None
        with pytest.raises(Unauthorized):
            await couch.all_dbs()


# Tokens


def token(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    signed = f"{part({'typ': 'JWT', 'alg': 'HS256'})}.{part(claims)}"
    signature = hmac.new(KEY, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def fresh(life: float = 60) -> str:
    return token(sub="dave", **{"_couchdb.roles": ["_admin"]}, exp=int(time.time() + life))


async def test_token(trusting: CouchDBDouble) -> None:
    """One that was made elsewhere."""
    async with CouchDB(trusting.url, auth="jwt", token=fresh()) as couch:
        assert (await couch.session()).name == "dave"
        assert "_users" in await couch.all_dbs()


async def test_token_that_ran_out(trusting: CouchDBDouble) -> None:
    """A fixed one is refused; a function is asked for another."""
    async with CouchDB(trusting.url, auth="jwt", token=token(sub="dave", exp=1)) as couch:
        with pytest.raises(Unauthorized, match="exp not in future"):
            await couch.all_dbs()
    made: list[str] = []

    async def make() -> str:
        made.append(token(sub="dave", exp=1) if not made else fresh())
        return made[-1]

    async with CouchDB(trusting.url, auth="jwt", token=make) as couch:
        found = await asyncio.gather(*[couch.all_dbs() for _ in range(5)])
        assert all("_users" in names for names in found)
    assert len(made) == 2


@pytest.mark.parametrize("start", ["replicate", "start_replication"])
async def test_token_that_a_replication_carries(trusting: CouchDBDouble, start: str) -> None:
    """Is made before the replication is asked for, where nothing else was asked yet."""
    trusting.create("src")
    trusting.create("tgt")

    async def make() -> str:
        return fresh()

    async with CouchDB(trusting.url, auth="jwt", token=make) as couch:
        job = await getattr(couch, start)(couch["src"], couch["tgt"])
        assert (await job.finished()).state == "completed"
    sent = next(seen.json for seen in trusting.requests if seen.method in {"POST", "PUT"})
    assert sent["source"]["headers"]["Authorization"].startswith("Bearer ")


async def test_token_without_an_end(trusting: CouchDBDouble) -> None:
    """The server wants `exp`."""
    async with CouchDB(trusting.url, auth="jwt", token=token(sub="dave")) as couch:
        with pytest.raises(BadRequest, match="Missing exp claim"):
            await couch.all_dbs()


# Secrets


async def test_nothing_shows_a_secret(double: CouchDBDouble, caplog: pytest.LogCaptureFixture) -> None:
    """Neither `repr` nor a log nor an error."""
    settings = {"username": "admin", "password": "wrong-secret", "auth": "session", "debug": True}
    async with CouchDB(double.url, **settings) as couch:  # type: ignore[arg-type]
        with pytest.raises(WrongPassword) as caught:
            await couch.all_dbs()
        shown = f"{couch!r} {couch._auth!r} {caught.value} {caught.value!r}"
        await couch.up()
    assert "wrong-secret" not in shown
    assert "wrong-secret" not in caplog.text
    assert "thesecret" not in repr(ProxyAuth("carl", [], "thesecret"))
    assert "token" not in repr(JWTAuth(lambda: asyncio.sleep(0, "token")))


@pytest.mark.parametrize("database", ["_users", "_replicator", "other/_replicator"])
async def test_documents_with_passwords_are_not_logged(
    double: CouchDBDouble, caplog: pytest.LogCaptureFixture, database: str
) -> None:
    """Those of users and of replications; other documents are."""
    double.create("other/_replicator")
    double.create("plain")
    source = "http://u:hidden@127.0.0.1:1/a"
    fields = {"name": "u", "type": "user", "roles": [], "password": "hidden", "source": source, "target": source}
    with caplog.at_level(logging.DEBUG, "aetcd.http"):
        async with CouchDB(double.url, username="admin", password="secret", debug=True) as couch:
            await couch[database].put(fields, id="org.couchdb.user:u")
            await couch[database].bulk_docs([{"_id": "org.couchdb.user:v", **fields, "name": "v"}])
            assert "/org.couchdb.user:u" in caplog.text
            assert "hidden" not in caplog.text
            await couch["plain"].put(fields)
            assert "hidden" in caplog.text


async def test_own_credentials(double: CouchDBDouble) -> None:
    """Any object that can do it."""
    async with CouchDB(double.url, auth=ProxyAuth("carl")) as couch:
        assert (await couch.session()).name is None

    @define
    class Own:
        """Compared by its fields, and so without a hash."""

        headers: dict[str, str]

        def current(self) -> dict[str, str]:
            return self.headers

        async def renew(self, stale: object) -> None:
            return None

    known = {"Authorization": "Basic " + base64.b64encode(b"admin:secret").decode()}
    async with CouchDB(double.url, auth=Own(known)) as couch:
        assert (await couch.session()).name == "admin"
    with pytest.raises(TypeError, match="auth"):
        CouchDB(auth=5)  # type: ignore[arg-type]
    assert isinstance(CouchDB(username="a", password="b", auth="session")._auth, SessionAuth)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"auth": "session"}, "username"),
        ({"auth": "proxy"}, "username"),
        ({"auth": "proxy", "username": "a", "password": "b"}, "password"),
        ({"auth": "jwt", "token": "t", "username": "a"}, "username"),
        ({"auth": "jwt", "token": ""}, "token"),
        ({"username": "a", "password": "b", "roles": ["c"]}, "roles"),
        ({"username": "a:b", "password": "c"}, "username"),
        ({"username": "a", "password": 5}, "password"),
    ],
)
def test_auth_arguments(settings: dict[str, object], argument: str) -> None:
    """Named, when the client is made."""
    with pytest.raises((ConfigError, TypeError, ValueError), match=argument):
        CouchDB(**settings)  # type: ignore[arg-type]
