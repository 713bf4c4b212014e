"""A node as it is registered by hand."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from aetcd.aistore._arguments import check_text

__all__ = ["node_body"]


def node_body(kind: str, id: str, url: str) -> dict[str, Any]:
    """What the server wants to know of a node: one address for all three of its networks."""
    check_text(id, "id", empty=False)
    check_text(url, "url", empty=False)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as e:
        raise ValueError(f"url must be the node's, such as http://10.0.0.2:8081, not {url!r}: {e}") from e
    if parts.scheme not in {"http", "https"} or not host or port is None:
        raise ValueError(f"url must be the node's with its port, such as http://10.0.0.2:8081, not {url!r}")
    network = {"node_ip_addr": host, "daemon_port": str(port), "direct_url": f"{parts.scheme}://{parts.netloc}"}
    return {
        "daemon_id": id,
        "daemon_type": kind,
        "public_net": network,
        "intra_control_net": network,
        "intra_data_net": network,
        "flags": 0,
    }
