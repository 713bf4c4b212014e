"""What AIStore answers about buckets and objects, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import field, frozen

__all__ = [
    "BucketInfo",
    "BucketProps",
    "BucketSummary",
    "Checksum",
    "ChecksumProps",
    "ECProps",
    "Entry",
    "LRUProps",
    "ManyResult",
    "MirrorProps",
    "ObjectProps",
    "Page",
    "VersioningProps",
    "dotted",
]

PRESENT = 64
STATUS_BITS = 31
STATUSES = {0: "ok", 1: "moved", 2: "deleted"}


def dotted(tree: Mapping[str, Any], name: str) -> Any:
    """What stands under a dotted name. Raises KeyError."""
    found: Any = tree
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise KeyError(name)
        found = found[part]
    return found


@frozen(kw_only=True)
class Checksum:
    """A checksum of an object.

    type: The server's word: `xxhash`, `xxhash2`, `md5`, `crc32c`, `sha512`, `sha256`. What 3.3 calls `sha256` is
        SHA-512/256.
    value: In lower-case hexadecimal.
    """

    type: str
    value: str


@frozen(kw_only=True)
class ObjectProps:
    """An object's properties, as a HEAD or a GET told them.

    version: Counted by the server; empty where the bucket keeps no versions.
    accessed: When it was accessed last, by the server's clock; None where it did not tell.
    checksum: Of the whole object; of the range where the bucket has `checksum.enable_read_range`. None where it has
        none.
    copies: How many the cluster keeps; 0 where it did not tell.
    present: Whether the cluster holds it, and not only the cloud.
    location: The target and the mountpath that hold it, where today's server told; else empty.
    custom: Metadata of the user's.
    """

    name: str
    bucket: str
    provider: str = ""
    size: int = 0
    version: str = ""
    accessed: datetime | None = None
    checksum: Checksum | None = None
    copies: int = 0
    present: bool = True
    location: str = ""
    custom: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class BucketInfo:
    """A bucket that exists. `namespace` is `@<cluster>#<name>`, or empty for the global one."""

    name: str
    provider: str
    namespace: str = ""


@frozen(kw_only=True)
class VersioningProps:
    """Whether objects have versions, and whether those of the cloud are looked at on each read."""

    enabled: bool = False
    validate_warm_get: bool = False
    synchronize: bool = False


@frozen(kw_only=True)
class ChecksumProps:
    """How objects are checked. With `enable_read_range` a read of a range tells the checksum of that range."""

    type: str = ""
    validate_cold_get: bool = False
    validate_warm_get: bool = False
    validate_obj_move: bool = False
    enable_read_range: bool = False


@frozen(kw_only=True)
class LRUProps:
    """How the cluster makes room. Watermarks are per cent; durations are Go's text, such as `120m`."""

    lowwm: int = 0
    highwm: int = 0
    out_of_space: int = 0
    dont_evict_time: str = ""
    capacity_upd_time: str = ""
    enabled: bool = False


@frozen(kw_only=True)
class MirrorProps:
    """Copies on the mountpaths of one target."""

    copies: int = 0
    burst_buffer: int = 0
    util_thresh: int = 0
    optimize_put: bool = False
    enabled: bool = False


@frozen(kw_only=True)
class ECProps:
    """Erasure coding. Objects of less than `objsize_limit` bytes are copied in place of it."""

    objsize_limit: int = 0
    compression: str = ""
    data_slices: int = 0
    parity_slices: int = 0
    batch_size: int = 0
    enabled: bool = False


@frozen(kw_only=True)
class BucketProps:
    """A bucket's properties.

    access: Bit mask of what is allowed; all bits by default.
    backend: The bucket that this one stands for, as `(name, provider)`; None for none.
    raw: All of them, under the server's names, also those without a field here. `props["mirror.copies"]` reads them.
    """

    provider: str = ""
    created: datetime | None = None
    access: int = 0
    versioning: VersioningProps = field(factory=VersioningProps)
    checksum: ChecksumProps = field(factory=ChecksumProps)
    lru: LRUProps = field(factory=LRUProps)
    mirror: MirrorProps = field(factory=MirrorProps)
    ec: ECProps = field(factory=ECProps)
    backend: tuple[str, str] | None = None
    raw: Mapping[str, Any] = field(factory=dict, repr=False)

    def __getitem__(self, name: str) -> Any:
        """One property by its dotted name, as the server wrote it. Raises KeyError."""
        return dotted(self.raw, name)


@frozen(kw_only=True)
class BucketSummary:
    """What a bucket holds.

    size: Bytes of its objects.
    disks_size: Bytes of all disks of the cluster together.
    used_percent: What the first is of the second.
    """

    name: str
    provider: str = ""
    namespace: str = ""
    count: int = 0
    size: int = 0
    disks_size: int = 0
    used_percent: float = 0.0


@frozen(kw_only=True)
class Entry:
    """One object of a listing. What was not asked for is empty.

    accessed: The server's text, in the format that was asked for.
    target_url: The target that holds it; its `location` today.
    custom: Metadata of the user's as today's server writes it; of its source, and not recorded.
    """

    name: str
    size: int = 0
    checksum: str = ""
    accessed: str = ""
    version: str = ""
    target_url: str = ""
    copies: int = 0
    flags: int = 0
    custom: str = ""

    @property
    def present(self) -> bool:
        """Whether the cluster holds it, and not only the cloud."""
        return bool(self.flags & PRESENT)

    @property
    def status(self) -> str:
        """`ok`, `moved` (on another target than it should be), `deleted`, or the server's number."""
        code = self.flags & STATUS_BITS
        return STATUSES.get(code, str(code))


@frozen(kw_only=True)
class Page:
    """A page of a listing. `token` continues it, and is empty at its end; `flags` are today's server's."""

    entries: Sequence[Entry]
    token: str
    listing: str
    flags: int = 0


@frozen(kw_only=True)
class ManyResult:
    """What became of one of many. Either `error` is None, or it is why this one failed; the others are not touched.

    content: What was read, where it was not saved to a file.
    """

    name: str
    error: Exception | None = None
    content: bytes | None = None

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.error is None
