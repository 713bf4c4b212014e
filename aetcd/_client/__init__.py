"""The facade: one key space, its watches and its recipes, on either protocol of etcd."""

from __future__ import annotations

from aetcd._client.client import Client, Protocol, Status

__all__ = ["Client", "Protocol", "Status"]
