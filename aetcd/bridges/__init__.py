"""etcd joined to another system: what stands in the store becomes what the other one does, and stays so."""

from __future__ import annotations

from aetcd.bridges._bridge import Bridge
from aetcd.bridges._keyval import prefix_to_keyval
from aetcd.bridges._upstream import registry_to_upstream, server_of

__all__ = ["Bridge", "prefix_to_keyval", "registry_to_upstream", "server_of"]
