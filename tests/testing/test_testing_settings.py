"""The settings of a server, and the arguments that they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetcd.errors import ConfigError, Unsupported
from aetcd.testing import EtcdBinary, EtcdCluster, EtcdServer, ServerTLS
from aetcd.testing._settings import Settings, etcd_environment

NEW = EtcdBinary(Path("/etcd"), "3.5.1")
OLD = EtcdBinary(Path("/etcd"), "3.4.23")


def flags(**settings: object) -> dict[str, str]:
    given = Settings(**{"binary": NEW, **settings}).shared_flags({"m0": "http://a:1", "m1": "http://b:2"})  # type: ignore[arg-type]
    return dict(flag.removeprefix("--").split("=", 1) for flag in given)


def test_members_know_each_other() -> None:
    """By name and peer URL."""
    assert flags()["initial-cluster"] == "m0=http://a:1,m1=http://b:2"


def test_two_clusters_are_strangers() -> None:
    """Each has a token of its own, and so another cluster id even on the same ports."""
    assert flags()["initial-cluster-token"] != flags()["initial-cluster-token"]


def test_v2_is_served_when_asked_for() -> None:
    """It is off in etcd's own defaults."""
    assert flags()["enable-v2"] == "true"
    assert "enable-v2" not in flags(protocols=("v3",))


def test_fsync_is_left_out_where_etcd_can() -> None:
    """From 3.5; a 3.4 refuses to start with the flag."""
    assert flags()["unsafe-no-fsync"] == "true"
    assert "unsafe-no-fsync" not in flags(binary=OLD)


@pytest.mark.parametrize(
    ("given", "heartbeat", "election"),
    [
        ({}, None, None),
        ({"heartbeat_ms": 20}, "20", "200"),
        ({"election_ms": 500}, "50", "500"),
        ({"heartbeat_ms": 20, "election_ms": 500}, "20", "500"),
    ],
)
def test_one_timing_sets_the_other(given: dict[str, int], heartbeat: str | None, election: str | None) -> None:
    """In etcd's own proportion of one to ten; without any, etcd's defaults stand."""
    made = flags(**given)
    assert (made.get("heartbeat-interval"), made.get("election-timeout")) == (heartbeat, election)


def test_auth_tokens_are_passed_on() -> None:
    """As etcd's own flags."""
    made = flags(auth_token="jwt,sign-method=RS256", auth_token_ttl=2)
    assert (made["auth-token"], made["auth-token-ttl"]) == ("jwt,sign-method=RS256", "2")


def test_extra_arguments_come_last() -> None:
    """The last one wins with etcd."""
    assert Settings(binary=NEW, extra_args=["--logger=capnslog"]).shared_flags({})[-1] == "--logger=capnslog"


def test_tls_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart may come from another directory."""
    monkeypatch.chdir(tmp_path)
    tls = ServerTLS(cert="a.pem", key="b.pem", ca="c.pem", client_cert_auth=True)
    made = flags(tls=tls)
    assert (made["cert-file"], made["key-file"]) == (f"{tmp_path}/a.pem", f"{tmp_path}/b.pem")
    assert (made["trusted-ca-file"], made["client-cert-auth"]) == (f"{tmp_path}/c.pem", "true")


@pytest.mark.parametrize("protocols", [(), ("v1",), "v3", ("v3", "v4")])
def test_unknown_protocols_are_refused(protocols: tuple[str, ...]) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match="protocols"):
        EtcdServer(protocols, binary=NEW)


def test_an_etcd_without_v2_is_refused_for_it() -> None:
    """It went with 3.6: the error says what to ask for instead."""
    new = EtcdBinary(Path("/etcd"), "3.6.0")
    with pytest.raises(Unsupported, match=r"3\.6\.0 serves no v2"):
        EtcdServer(binary=new)
    assert EtcdServer(("v3",), binary=new).version == "3.6.0"


def test_a_cluster_has_members() -> None:
    """At least one."""
    with pytest.raises(ConfigError, match="size"):
        EtcdCluster(0, binary=NEW)


def test_etcds_own_variables_are_kept_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the one that lets it run on a processor that it does not support."""
    monkeypatch.setenv("ETCD_NAME", "other")
    monkeypatch.setenv("ETCDCTL_USER", "root")
    monkeypatch.setenv("ETCD_UNSUPPORTED_ARCH", "arm64")
    environment = etcd_environment()
    assert "ETCD_NAME" not in environment
    assert (environment["ETCDCTL_USER"], environment["ETCD_UNSUPPORTED_ARCH"]) == ("root", "arm64")
