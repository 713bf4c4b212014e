"""TLS and mutual TLS, with certificates of this run."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import frozen
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from scripted import GET, PUT, MakePool, Serve, endless, silence

from aetcd import TLS, ConfigError, ConnectFailed, NoPeerAvailable, Outcome, OutcomeUnknown, RetryPolicy
from aetcd._transport.auth import ANONYMOUS
from aetcd._transport.http import RECEIVED
from aetcd._transport.tls import make_context


@frozen
class Files:
    """What a user has on disk."""

    ca: Path
    other_ca: Path
    cert: Path
    key: Path
    other_key: Path
    encrypted_key: Path
    server: ssl.SSLContext
    mutual: ssl.SSLContext


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    theirs, ours = ca.issue_cert("127.0.0.1"), ca.issue_cert("client@example.org")
    paths = {name: folder / f"{name}.pem" for name in ("ca", "other_ca", "cert", "key", "other_key", "encrypted_key")}
    ca.cert_pem.write_to_path(str(paths["ca"]))
    other.cert_pem.write_to_path(str(paths["other_ca"]))
    ours.cert_chain_pems[0].write_to_path(str(paths["cert"]))
    ours.private_key_pem.write_to_path(str(paths["key"]))
    other.issue_cert("x@example.org").private_key_pem.write_to_path(str(paths["other_key"]))
    key = load_pem_private_key(ours.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase"))
    paths["encrypted_key"].write_bytes(encrypted)
    contexts = [ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) for _ in range(2)]
    for context in contexts:
        theirs.configure_cert(context)
    contexts[1].verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(contexts[1])
    return Files(**paths, server=contexts[0], mutual=contexts[1])


async def test_server_whose_authority_is_known(files: Files, serve: Serve, pool_of: MakePool) -> None:
    """Requests and streams go through."""
    server = await serve(tls=files.server)
    pool = pool_of(server.url, tls=make_context(TLS(ca=files.ca)))
    assert (await pool.send(PUT, auth=ANONYMOUS)).peer == server.url
    server.plan = lambda _: endless(silence(b"hello"))
    async with pool.stream(GET, auth=ANONYMOUS) as stream:
        assert await stream.read() == b"hello"


async def test_what_is_received_needs_no_room_from_the_system(
    files: Files, serve: Serve, pool_of: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 128 KiB on each record would have memory of its own."""
    room: set[int] = set()
    read = ssl.SSLObject.read
    monkeypatch.setattr(ssl.SSLObject, "read", lambda self, most, *more: (room.add(most), read(self, most, *more))[1])
    server = await serve(tls=files.server)
    pool = pool_of(server.url, tls=make_context(TLS(ca=files.ca)))
    room.clear()
    await pool.send(GET, auth=ANONYMOUS)
    assert room == {RECEIVED, 256 * 1024}  # the client's, and the server's


@pytest.mark.parametrize("tls", [None, True, "other"], ids=["default", "true", "another authority"])
async def test_server_that_is_not_believed(files: Files, serve: Serve, pool_of: MakePool, tls: Any) -> None:
    """Nothing is sent to it, and the error says why."""
    server = await serve(tls=files.server)
    context = make_context(TLS(ca=files.other_ca) if tls == "other" else tls)
    pool = pool_of(server.url, tls=context, retry=RetryPolicy(attempts=1))
    with pytest.raises(ConnectFailed, match="certificate verify failed") as pinned:
        await pool.send(PUT, auth=ANONYMOUS, peer=server.url)
    with pytest.raises(NoPeerAvailable, match="certificate verify failed") as caught:
        await pool.send(PUT, auth=ANONYMOUS)
    assert pinned.value.outcome is caught.value.outcome is Outcome.NOT_SENT
    assert not server.seen


async def test_server_with_a_name_that_is_not_its_own(files: Files, serve: Serve, pool_of: MakePool) -> None:
    """Its certificate is for another host."""
    server = await serve(tls=files.server)
    pool = pool_of(f"https://localhost:{server.port}", tls=make_context(TLS(ca=files.ca)))
    with pytest.raises(ConnectFailed, match="certificate is not valid for 'localhost'") as caught:
        await pool.send(PUT, auth=ANONYMOUS, peer=pool.peers[0])
    assert caught.value.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("tls", [False, TLS(verify=False)])
async def test_any_server_is_believed_where_the_user_wants_it(
    files: Files, serve: Serve, pool_of: MakePool, tls: Any
) -> None:
    """Neither its name nor its authority is looked at."""
    server = await serve(tls=files.server)
    pool = pool_of(f"https://localhost:{server.port}", tls=make_context(tls))
    assert (await pool.send(GET, auth=ANONYMOUS)).status == 200


@pytest.mark.parametrize("verify", [True, False])
async def test_mutual(files: Files, serve: Serve, pool_of: MakePool, verify: bool) -> None:
    """The server asks who the client is, and is told."""
    server = await serve(tls=files.mutual)
    context = make_context(TLS(ca=files.ca, cert=files.cert, key=files.key, verify=verify))
    assert (await pool_of(server.url, tls=context).send(PUT, auth=ANONYMOUS)).status == 200


async def test_mutual_without_a_certificate(files: Files, serve: Serve, pool_of: MakePool) -> None:
    """With TLS 1.3 the server refuses after the handshake: what was written by then is not known to be lost."""
    server = await serve(tls=files.mutual)
    pool = pool_of(server.url, tls=make_context(TLS(ca=files.ca)), retry=RetryPolicy(attempts=1))
    with pytest.raises((NoPeerAvailable, OutcomeUnknown)):
        await pool.send(PUT, auth=ANONYMOUS)
    assert not server.seen


async def test_clear_text_to_a_server_with_tls(files: Files, serve: Serve, pool_of: MakePool) -> None:
    """It ends with an error, and not with a hang."""
    server = await serve(tls=files.server)
    pool = pool_of(server.url.replace("https", "http"), retry=RetryPolicy(attempts=1))
    with pytest.raises(NoPeerAvailable):
        await pool.send(GET, auth=ANONYMOUS)


async def test_tls_to_a_server_without_it(serve: Serve, pool_of: MakePool) -> None:
    """It waits for more of what it takes for a request. No connection stood, so nothing was sent."""
    server = await serve()
    pool = pool_of(server.url.replace("http", "https"), timeout=0.2)
    with pytest.raises(NoPeerAvailable, match="no connection in time") as caught:
        await pool.send(PUT, auth=ANONYMOUS)
    assert caught.value.outcome is Outcome.NOT_SENT


def test_context_of_the_users_own() -> None:
    """It is taken as it is."""
    context = ssl.create_default_context()
    assert make_context(context) is context


BAD: dict[str, Callable[[Files], TLS]] = {
    "no such authority": lambda files: TLS(ca=files.ca.with_name("none")),
    "authority that is none": lambda files: TLS(ca=files.key),
    "folder": lambda files: TLS(ca=files.ca.parent),
    "no such certificate": lambda files: TLS(cert=files.ca.with_name("none"), key=files.key),
    "certificate without its key": lambda files: TLS(cert=files.cert),
    "key without a certificate": lambda files: TLS(key=files.key),
    "another's key": lambda files: TLS(cert=files.cert, key=files.other_key),
    # OpenSSL would ask the terminal for the phrase, and wait.
    "encrypted key": lambda files: TLS(cert=files.cert, key=files.encrypted_key),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_bad_files(files: Files, make: Callable[[Files], TLS]) -> None:
    """They are found when the client is made, and the error names the argument."""
    with pytest.raises(ConfigError, match=r"^tls: "):
        make_context(make(files))


def test_bad_type() -> None:
    """A path alone does not say what it is."""
    with pytest.raises(TypeError, match=r"^tls must be"):
        make_context("ca.pem")  # type: ignore[arg-type]
