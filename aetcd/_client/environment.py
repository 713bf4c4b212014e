"""Settings from the environment variables of etcdctl."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from aetcd._transport.srv import SRV
from aetcd._transport.timeouts import Timeout
from aetcd._transport.tls import TLS
from aetcd.errors import ConfigError

__all__ = ["settings_from_env"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")


def settings_from_env(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Arguments of `Client`. Raises ConfigError, naming the variable."""
    env = os.environ if environ is None else environ
    settings: dict[str, Any] = {}
    if endpoints := env.get("ETCDCTL_ENDPOINTS"):
        settings["peers"] = [endpoint.strip() for endpoint in endpoints.split(",")]
    if domain := env.get("ETCDCTL_DISCOVERY_SRV"):
        settings["discovery_srv"] = SRV(domain, name=env.get("ETCDCTL_DISCOVERY_SRV_NAME", ""))
    if user := env.get("ETCDCTL_USER"):
        settings["username"], settings["password"] = _credentials(user, env.get("ETCDCTL_PASSWORD", ""))
    if tls := _tls(env):
        settings["tls"] = tls
    dial, command = (_seconds(env, f"ETCDCTL_{name}_TIMEOUT") for name in ("DIAL", "COMMAND"))
    if dial or command:
        settings["timeout"] = Timeout(total=command or 10.0, connect=dial)
    if api := env.get("ETCDCTL_API"):
        if api not in {"2", "3"}:
            raise ConfigError(f"ETCDCTL_API must be 2 or 3, not {api!r}")
        settings["protocol"] = f"v{api}"
    return settings


def _credentials(user: str, password: str) -> tuple[str, str]:
    # As etcdctl does: beside a password of its own, a colon belongs to the name.
    if password:
        return user, password
    name, colon, password = user.partition(":")
    if not colon:
        raise ConfigError("ETCDCTL_USER has no password: write user:password, or set ETCDCTL_PASSWORD")
    return name, password


def _tls(env: Mapping[str, str]) -> TLS | None:
    ca, cert, key = (env.get(f"ETCDCTL_{name}") or None for name in ("CACERT", "CERT", "KEY"))
    skip = env.get("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "").lower() in {"1", "t", "true"}
    return TLS(ca=ca, cert=cert, key=key, verify=not skip) if ca or cert or key or skip else None


def _seconds(env: Mapping[str, str], name: str) -> float | None:
    """A Go duration such as `1m30s` or `500ms`."""
    text = env.get(name)
    if not text:
        return None
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"{name} must be a duration such as 5s or 500ms, not {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
