"""AIStore 3.3 (December 2020), the version of the reference.

Each name was seen live, but for the end of maintenance, decommission and the download of a cloud, which are of the
server's source. No cloud was at hand: what evict and prefetch do with one is of the source too.
"""

from __future__ import annotations

from aetcd.aistore._dialect import Dialect

__all__ = ["V33"]

V33 = Dialect(
    name="3.3",
    actions={
        "create": "createlb",
        "destroy": "destroylb",
        "rename": "renamelb",
        "copy": "copybck",
        "evict bucket": "evictcb",
        "list": "listobj",
        "summary": "summarybck",
        "set props": "setbprops",
        "reset props": "resetbprops",
        "mirror": "makencopies",
        "erasure code": "ecencode",
        "delete": "delete",
        "evict": "evictobj",
        "prefetch": "prefetch",
        # The reference has `rename`, which is answered by 400.
        "rename object": "renameobj",
        "promote": "promote",
        "set config": "setconfig",
        "shutdown node": "shutdown",
        "shutdown cluster": "shutdown",
        "start": "start",
        "stop": "stop",
        "start maintenance": "startmaintenance",
        "stop maintenance": "stopmaintenance",
        "decommission": "decommission",
        "unregister": "",
        "enable mountpath": "enable",
        "disable mountpath": "disable",
        "add mountpath": "add",
        "remove mountpath": "remove",
        "download cloud": "cloud",
    },
    queries={
        "map": "smap",
        "config": "config",
        "node": "snode",
        "status": "status",
        "stats": "stats",
        "cluster stats": "stats",
        "system": "sysinfo",
        "mountpaths": "mountpaths",
        "disks": "disk",
        # The reference has `bucketmd`, which ended with 2.x.
        "buckets": "bmd",
        "vote": "smapvote",
        "target addresses": "target_ips",
        "remotes": "remote",
        # The reference has `xaction`, which ended with 3.0.
        "job": "status",
        "jobs": "qryxstats",
    },
    headers={
        "checksum type": "Checksum.type",
        "checksum value": "Checksum.value",
        "version": "Version",
        "accessed": "Atime",
        "size": "Size",
        "copies": "Copies",
        "present": "Present",
        "name": "Name",
        "bucket": "Bucket.name",
        "provider": "Bucket.provider",
        "custom": "Custom_md",
        "handle": "Append.handle",
    },
    # What 3.3 calls sha256 is SHA-512/256: a true SHA-256 of the client's is refused with 500.
    checksums={"xxhash": "xxh64", "md5": "md5", "crc32c": "crc32c", "sha512": "sha512", "sha256": "sha512_256"},
    listing="POST",
    buckets=("GET", "/v1/buckets/*"),
    summary="POST",
    in_query=False,
    decimal_stamp=True,
    append=("appendty", "handle"),
    node_header="node.id",
    control_by_gateway=False,
    registration="/v1/cluster/register",
    props=frozenset(
        {
            "backend_bck.name",
            "backend_bck.provider",
            "versioning.enabled",
            "versioning.validate_warm_get",
            "checksum.type",
            "checksum.validate_cold_get",
            "checksum.validate_warm_get",
            "checksum.validate_obj_move",
            "checksum.enable_read_range",
            "lru.lowwm",
            "lru.highwm",
            "lru.out_of_space",
            "lru.enabled",
            "mirror.copies",
            "mirror.burst_buffer",
            "mirror.util_thresh",
            "mirror.optimize_put",
            "mirror.enabled",
            "ec.enabled",
            "ec.objsize_limit",
            "ec.data_slices",
            "ec.parity_slices",
            "ec.compression",
            "access",
        }
    ),
    list_props=frozenset(
        {"name", "size", "version", "checksum", "atime", "cached", "target_url", "status", "copies", "ec"}
    ),
    promotion={
        "target": "target",
        "name": "objname",
        "recursive": "recursive",
        "overwrite": "overwrite",
        "keep": "keep_original",
    },
)
