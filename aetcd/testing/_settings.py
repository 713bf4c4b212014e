"""How an etcd is run: the settings that a server and a cluster share, and the arguments that they become."""

from __future__ import annotations

import os
import secrets
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field, frozen

from aetcd.errors import ConfigError, Unsupported
from aetcd.testing._binary import EtcdBinary, find_etcd

__all__ = ["PROTOCOLS", "ServerTLS", "Settings", "etcd_environment", "known_protocols"]

PROTOCOLS = ("v3", "v2")


def _path(given: str | Path) -> Path:
    return Path(given).absolute()


def _path_or_none(given: str | Path | None) -> Path | None:
    return None if given is None else _path(given)


@frozen(kw_only=True)
class ServerTLS:
    """What a server needs to speak https to clients.

    cert, key: PEM files of the server. The certificate must be valid for 127.0.0.1, and be fit for a client as well as
        for a server: etcd's own gateway presents it to its own gRPC port.
    ca: PEM file of the authority that signs clients' certificates.
    client_cert_auth: Refuse clients without a certificate from `ca`.
    """

    cert: Path = field(converter=_path)
    key: Path = field(converter=_path)
    ca: Path | None = field(default=None, converter=_path_or_none)
    client_cert_auth: bool = False

    def flags(self) -> list[str]:
        """These settings as etcd's arguments."""
        return [
            f"--cert-file={self.cert}",
            f"--key-file={self.key}",
            *([f"--trusted-ca-file={self.ca}"] if self.ca else []),
            *(["--client-cert-auth=true"] if self.client_cert_auth else []),
        ]

    def context(self) -> ssl.SSLContext:
        """For asking our own child on loopback whether it is up: nothing secret is sent, so nothing is verified."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.cert, self.key)
        return context


def known_protocols(_instance: object, _attribute: object, value: Sequence[str]) -> None:
    if isinstance(value, str) or not value or not set(value) <= set(PROTOCOLS):
        raise ConfigError(f"protocols must be some of {PROTOCOLS}, not {value!r}")


@define(eq=False, kw_only=True)
class Settings:
    """The settings of `EtcdServer` and `EtcdCluster`.

    protocols: `"v2"` among them serves the v2 keys API too (etcd up to 3.5; a later one raises Unsupported). v3 is
        always served: etcd cannot leave it out.
    binary: The etcd to run, a path or an `EtcdBinary`; otherwise see `find_etcd`, which raises EtcdNotFound.
    tls: Serve clients by https.
    auth_token: etcd's `--auth-token`, such as `"jwt,pub-key=...,priv-key=...,sign-method=RS256"`.
    auth_token_ttl: Seconds that a simple auth token lives unused (etcd's default: 300).
    heartbeat_ms, election_ms: Raft's timing. etcd's own 100 and 1000 unless given; one given alone sets the other in
        that proportion. Shorter ones fail over faster, suffer more from a busy machine, and lower the shortest TTL that
        the server grants a lease, which is one and a half election timeouts.
    extra_args: Further arguments of etcd; they win over ours.
    start_timeout: Seconds within which all members must be healthy, or the start raises EtcdNotReady.
    """

    protocols: Sequence[str] = field(default=PROTOCOLS, validator=known_protocols)
    binary: EtcdBinary = field(default=None, converter=find_etcd)
    tls: ServerTLS | None = None
    auth_token: str | None = None
    auth_token_ttl: int | None = None
    heartbeat_ms: int | None = None
    election_ms: int | None = None
    extra_args: Sequence[str] = ()
    start_timeout: float = 30

    def __attrs_post_init__(self) -> None:
        if "v2" in self.protocols and self.binary.at_least(3, 6):
            raise Unsupported(f"etcd {self.binary} serves no v2: ask for protocols=('v3',)")

    def shared_flags(self, peer_urls: Mapping[str, str]) -> list[str]:
        """The arguments that all members of one cluster have in common; `peer_urls` by name."""
        flags = {
            "initial-cluster": ",".join(f"{name}={url}" for name, url in peer_urls.items()),
            # Its own: members of another run that meet these ports by chance are strangers to this cluster.
            "initial-cluster-token": secrets.token_hex(8),
            "logger": "zap",
            "log-outputs": "stderr",
            "enable-v2": "true" if "v2" in self.protocols else None,
            # Data need to outlive a killed process, not a power cut: what was written is in the kernel's cache then.
            "unsafe-no-fsync": "true" if self.binary.at_least(3, 5) else None,
            # Passwords of tests protect nothing, and etcd's cost of 10 is tens of milliseconds for each login.
            "bcrypt-cost": "4",
            "auth-token": self.auth_token,
            "auth-token-ttl": self.auth_token_ttl,
            "heartbeat-interval": self.heartbeat_ms or (self.election_ms and self.election_ms // 10),
            "election-timeout": self.election_ms or (self.heartbeat_ms and self.heartbeat_ms * 10),
        }
        given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        return [*given, *(self.tls.flags() if self.tls else ()), *self.extra_args]


def etcd_environment() -> dict[str, str]:
    """Our environment without etcd's own variables: it refuses to start when one says what an argument says too."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ETCD_") or name == "ETCD_UNSUPPORTED_ARCH"
    }
