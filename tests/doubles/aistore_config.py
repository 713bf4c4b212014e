"""What a node is configured with: read as a whole, written by dotted names."""

from __future__ import annotations

import copy
from urllib.parse import urlsplit

from attrs import define, field
from doubles.aistore_node import Node, Refusal
from doubles.aistore_state import JSON

# As recorded from a gateway of 3.3.
OLD: JSON = {
    "confdir": "/data/0/conf",
    "cloud": {},
    "mirror": {"copies": 2, "burst_buffer": 512, "util_thresh": 20, "optimize_put": False, "enabled": False},
    "ec": {
        "objsize_limit": 262144,
        "compression": "never",
        "data_slices": 1,
        "parity_slices": 1,
        "batch_size": 64,
        "enabled": False,
    },
    "log": {"dir": "/data/0/log", "level": "3", "max_size": 4194304, "max_total": 67108864},
    "periodic": {"stats_time": "2s", "retry_sync_time": "2s", "notif_time": "5s"},
    "timeout": {
        "cplane_operation": "2s",
        "max_keepalive": "4s",
        "max_host_busy": "20s",
        "startup_time": "1m",
        "send_file_time": "5m",
    },
    "client": {"client_timeout": "10s", "client_long_timeout": "30m", "list_timeout": "3m", "features": "0"},
    "proxy": {
        "primary_url": "http://127.0.0.1:23080",
        "original_url": "http://127.0.0.1:23080",
        "discovery_url": "",
        "non_electable": False,
    },
    "lru": {
        "lowwm": 75,
        "highwm": 90,
        "out_of_space": 95,
        "dont_evict_time": "120m",
        "capacity_upd_time": "10m",
        "enabled": True,
    },
    "disk": {
        "disk_util_low_wm": 20,
        "disk_util_high_wm": 80,
        "disk_util_max_wm": 95,
        "iostat_time_long": "2s",
        "iostat_time_short": "100ms",
    },
    "rebalance": {
        "dont_run_time": "0m",
        "dest_retry_time": "2m",
        "quiescent": "3s",
        "compression": "never",
        "multiplier": 2,
        "enabled": True,
    },
    "replication": {"on_cold_get": False, "on_put": False, "on_lru_eviction": False},
    "checksum": {
        "type": "xxhash",
        "validate_cold_get": True,
        "validate_warm_get": False,
        "validate_obj_move": False,
        "enable_read_range": False,
    },
    "versioning": {"enabled": True, "validate_warm_get": False},
    "fspaths": {},
    "test_fspaths": {"root": "/data/0/fs", "count": 2, "instance": 0},
    "net": {
        "ipv4": "127.0.0.1",
        "ipv4_intra_control": "",
        "ipv4_intra_data": "",
        "l4": {
            "proto": "tcp",
            "port": "23080",
            "port_intra_control": "23100",
            "port_intra_data": "23120",
            "sndrcv_buf_size": 131072,
        },
        "http": {
            "server_crt": "server.crt",
            "server_key": "server.key",
            "write_buffer_size": 0,
            "read_buffer_size": 0,
            "use_https": False,
            "skip_verify": False,
            "chunked_transfer": True,
        },
    },
    "fshc": {"test_files": 4, "error_limit": 2, "enabled": True},
    "auth": {"secret": "aBitLongSecretKey", "enabled": False},
    "keepalivetracker": {
        "proxy": {"interval": "10s", "name": "heartbeat", "factor": 3},
        "target": {"interval": "10s", "name": "heartbeat", "factor": 3},
        "retry_factor": 5,
        "timeout_factor": 3,
    },
    "downloader": {"timeout": "1h"},
    "distributed_sort": {
        "duplicated_records": "ignore",
        "missing_shards": "ignore",
        "ekm_malformed_line": "abort",
        "ekm_missing_key": "abort",
        "default_max_mem_usage": "80%",
        "call_timeout": "10m",
        "compression": "never",
        "dsorter_mem_threshold": "100GB",
    },
    "compression": {"block_size": 262144, "checksum": False},
}

# Recorded as far as "arch"; the rest is from the source of the server, and not all of it.
CURRENT: JSON = {
    "fspaths": {},
    "confdir": "/data/0/conf",
    "log_dir": "/data/0/log",
    "test_fspaths": {"root": "/data/0/fs/", "count": 2, "instance": 0},
    "host_net": {
        "hostname": "127.0.0.1",
        "hostname_intra_control": "",
        "hostname_intra_data": "",
        "port": "23380",
        "port_intra_control": "23400",
        "port_intra_data": "23420",
    },
    "write_policy": {"data": "immediate", "md": "immediate"},
    "checksum": {
        "type": "xxhash2",
        "validate_cold_get": False,
        "validate_warm_get": False,
        "validate_obj_move": False,
        "enable_read_range": False,
    },
    "tcb": {"compression": "never", "bundle_multiplier": 2, "burst_buffer": 512},
    "tco": {"compression": "never", "bundle_multiplier": 2, "burst_buffer": 512},
    "arch": {"compression": "never", "bundle_multiplier": 2, "burst_buffer": 512},
    "periodic": {"stats_time": "10s", "retry_sync_time": "2s", "notif_time": "30s"},
    "log": {
        "level": "3",
        "max_size": "4mb",
        "max_total": "128mb",
        "flush_time": "40s",
        "stats_time": "1m",
        "to_stderr": False,
    },
    "lru": {"dont_evict_time": "120m", "capacity_upd_time": "10m", "enabled": True},
    "mirror": {"copies": 2, "burst_buffer": 512, "enabled": False},
    "rebalance": {"dest_retry_time": "2m", "compression": "never", "bundle_multiplier": 2, "enabled": True},
    "versioning": {"enabled": True, "validate_warm_get": False, "synchronize": False},
    "timeout": {
        "cplane_operation": "2s",
        "max_keepalive": "4s",
        "max_host_busy": "20s",
        "startup_time": "1m",
        "send_file_time": "5m",
    },
    "client": {"client_timeout": "10s", "client_long_timeout": "10m", "list_timeout": "1m"},
    "auth": {"secret": "", "enabled": False},
    "features": "0",
}


@define(eq=False)
class Config:
    """One node's, or the cluster's."""

    dialect: str
    values: JSON = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.values = copy.deepcopy(OLD if self.dialect == "3.3" else CURRENT)

    def __getitem__(self, name: str) -> object:
        """By its dotted name. Raises KeyError."""
        found: object = self.values
        for part in name.split("."):
            if not isinstance(found, dict):
                raise KeyError(name)
            found = found[part]
        return found

    def check(self, name: str) -> None:
        """Raises Refusal for a name that is none, or that of a group."""
        try:
            found = self[name]
        except KeyError:
            found = {}
        if isinstance(found, dict):
            raise Refusal(400, f'unknown property "{name}"')

    def set(self, values: dict[str, str]) -> None:
        """Raises Refusal for the first bad name or value; then nothing is set."""
        for name in sorted(values):
            self.check(name)
        for name, value in values.items():
            group: JSON = self.values
            *parents, last = name.split(".")
            for part in parents:
                group = group[part]
            group[last] = converted(name, value, group[last])

    def json(self, node: Node) -> JSON:
        """As that node tells it."""
        out = copy.deepcopy(self.values)
        number = getattr(node, "number", 0)
        out["confdir"] = f"/data/{number}/conf"
        port = str(urlsplit(node.url).port)
        if self.dialect == "3.3":
            out["net"]["l4"]["port"] = port
            out["proxy"] |= {"primary_url": node.ais.url, "original_url": node.ais.url}
            if number:
                out["fspaths"] = {f"/data/{number}/fs/mp{i}/{number}": " " for i in (1, 2)}
        else:
            out["host_net"]["port"] = port
        return out


def converted(name: str, value: str, before: object) -> object:
    """A value of the kind that stands there. Raises Refusal."""
    if isinstance(before, bool):
        if value not in ("true", "false"):
            raise Refusal(400, f'failed to parse {name}: strconv.ParseBool: parsing "{value}": invalid syntax')
        return value == "true"
    if isinstance(before, int):
        try:
            return int(value)
        except ValueError:
            raise Refusal(400, f'failed to parse {name}: strconv.ParseInt: parsing "{value}": invalid syntax') from None
    return value
