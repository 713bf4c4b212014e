"""Names of the NGINX Plus API: its endpoints, the versions that brought them, and what is said where one is missing."""

from __future__ import annotations

LATER = {
    "stream/keyvals": 2,
    "stream/zone_sync": 3,
    "http/location_zones": 5,
    "resolvers": 5,
    "http/limit_conns": 6,
    "http/limit_reqs": 6,
    "stream/limit_conns": 6,
    "workers": 9,
    "license": 9,
}
"""The version that brought an endpoint which is not there from version 1 on."""

ROOT = ("nginx", "processes", "connections", "slabs", "http", "stream", "resolvers", "ssl", "workers", "license")
HTTP = ("requests", "server_zones", "location_zones", "caches", "limit_conns", "limit_reqs", "upstreams", "keyvals")
STREAM = ("server_zones", "limit_conns", "upstreams", "keyvals", "zone_sync")

MISSING = {
    "slabs": ("SlabNotFound", "slab not found"),
    "resolvers": ("ResolverZoneNotFound", "resolver zone not found"),
    "http/server_zones": ("ServerZoneNotFound", "server zone not found"),
    "http/location_zones": ("LocationZoneNotFound", "location zone not found"),
    "http/caches": ("CacheNotFound", "cache not found"),
    "http/limit_conns": ("LimitConnNotFound", "limit conn not found"),
    "http/limit_reqs": ("LimitReqNotFound", "limit req not found"),
    "stream/server_zones": ("ServerZoneNotFound", "server zone not found"),
    "stream/limit_conns": ("LimitConnNotFound", "limit conn not found"),
    "workers": ("WorkerNotFound", "worker not found"),
}
