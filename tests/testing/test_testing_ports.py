"""Ports that stay ours."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from aetcd.testing._ports import HOST, HeldPort

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a held port cannot be bound by its server")


@pytest.fixture
def held() -> Iterator[HeldPort]:
    port = HeldPort()
    yield port
    port.release()


def test_held_ports_differ() -> None:
    """Also when many are asked for at once."""
    ports = [HeldPort() for _ in range(50)]
    assert len({port.number for port in ports}) == 50
    for port in ports:
        port.release()


def test_a_held_port_refuses_connections(held: HeldPort) -> None:
    """A server that is down must look like one."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, held.number))


@linux
def test_a_held_port_is_given_to_nobody_else(held: HeldPort) -> None:
    """Who names it without SO_REUSEADDR is refused; who asks for any port gets others (all 14,000 of them)."""
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, held.number))
    for _ in range(20_000):
        with socket.socket() as other:
            other.bind((HOST, 0))
            assert other.getsockname()[1] != held.number


@linux
def test_its_server_can_listen_on_it_again_and_again(held: HeldPort) -> None:
    """A restart finds its port."""
    for _ in range(2):
        with held.listen(), socket.create_connection((HOST, held.number)) as client:
            assert client.getpeername() == (HOST, held.number)
