"""What a cluster keeps: buckets with their objects and properties. It knows no HTTP."""

from __future__ import annotations

import copy
import random
import re
import string
import time
from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from doubles.aistore_content import Content, digest

JSON = dict[str, Any]

GO_ZERO_TIME = "0001-01-01T00:00:00Z"

PROVIDERS = {"ais": "ais", "aws": "aws", "s3": "aws", "gcp": "gcp", "gs": "gcp", "azure": "azure", "az": "azure"}

ALL_ACCESS = str((1 << 64) - 1)

_LIKE_A_NAME = re.compile(r"[\w.-]+", re.ASCII)

_RANDOM = random.Random()


def now() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def new_id() -> str:
    """As AIStore makes them: nine letters and digits, the first one a letter."""
    return _RANDOM.choice(string.ascii_letters) + "".join(_RANDOM.choices(string.ascii_letters + string.digits, k=8))


def rfc3339(ns: int) -> str:
    """Go's RFC3339Nano in UTC; 0 is Go's zero time."""
    if not ns:
        return GO_ZERO_TIME
    seconds, rest = divmod(ns, 1_000_000_000)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"


def valid_name(name: str) -> bool:
    return bool(_LIKE_A_NAME.fullmatch(name))


@frozen
class Key:
    """Which bucket: `uuid` and `space` are its namespace."""

    provider: str
    uuid: str
    space: str
    name: str

    def json(self) -> JSON:
        return {"name": self.name, "provider": self.provider, "namespace": {"uuid": self.uuid, "name": self.space}}

    def __str__(self) -> str:
        uuid = f"@{self.uuid}" if self.uuid else ""
        where = f"{uuid}#{self.space}/" if self.uuid or self.space else ""
        return f"{self.provider}://{where}{self.name}"


NOWHERE: JSON = {"name": "", "provider": "", "namespace": {"uuid": "", "name": ""}}


def namespace(text: str) -> tuple[str, str]:
    """The uuid and the name in `@uuid#name`."""
    uuid, _, name = text.partition("#")
    return uuid.removeprefix("@"), name


@define(eq=False)
class Obj:
    """An object. present: False is one that lives in the cloud only. target: The index of the target that holds it."""

    content: Content
    kind: str
    checksum: str
    version: str
    target: int
    atime: int = field(factory=now)
    copies: int = 1
    present: bool = True
    custom: str = ""

    @property
    def size(self) -> int:
        return self.content.size


@define(eq=False)
class Bucket:
    """A bucket. `objects` is by name; change it by `put` and `drop`, which keep the order for listings.

    misplaced: What a target took that was not its own, by its index and the name.
    """

    key: Key
    props: JSON
    bid: int
    dialect: str
    place: Callable[[str, str], int]
    objects: dict[str, Obj] = field(factory=dict)
    misplaced: dict[tuple[int, str], Obj] = field(factory=dict)
    renamed: str = ""
    created: int = field(factory=now)
    _sorted: list[str] | None = None

    @property
    def cloud(self) -> bool:
        return self.key.provider != "ais"

    @property
    def cksum(self) -> str:
        return str(self.props["checksum"]["type"])

    def at(self, name: str) -> int:
        """The index of the target that a name belongs to."""
        return self.place(self.key.name, name)

    def held(self, name: str, target: int) -> Obj | None:
        """What that target has under this name."""
        found = self.objects.get(name)
        if found is not None and found.target == target:
            return found
        return self.misplaced.get((target, name))

    def names(self) -> list[str]:
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        return self._sorted

    def put(
        self, name: str, content: Content, *, checksum: str | None = None, custom: str = "", target: int | None = None
    ) -> Obj:
        """A new object, or a new version of an old one. target: Who took it, where that is not its own."""
        old = self.objects.get(name)
        if checksum is None:
            checksum = digest(self.cksum, content, self.dialect)
        version = ""
        if self.props["versioning"]["enabled"]:
            version = str(int(old.version or 0) + 1) if old else "1"
        made = Obj(content, self.cksum, checksum, version, self.at(name), custom=custom)
        if target is not None and target != made.target:
            made.target = target
            self.misplaced[target, name] = made
        else:
            self.insert(name, made)
        return made

    def insert(self, name: str, made: Obj) -> None:
        if name not in self.objects:
            self._sorted = None
        self.objects[name] = made

    def drop(self, name: str) -> Obj | None:
        found = self.objects.pop(name, None)
        if found is not None:
            self._sorted = None
        return found

    def evict(self, name: str) -> Obj | None:
        """Leave it in the cloud only."""
        found = self.objects.get(name)
        if found is not None:
            found.present = False
        return found


PROPS_33: JSON = {
    "provider": "ais",
    "backend_bck": {"name": "", "provider": "", "namespace": {"uuid": "", "name": ""}},
    "versioning": {"enabled": True, "validate_warm_get": False},
    "checksum": {
        "type": "xxhash",
        "validate_cold_get": True,
        "validate_warm_get": False,
        "validate_obj_move": False,
        "enable_read_range": False,
    },
    "lru": {
        "lowwm": 75,
        "highwm": 90,
        "out_of_space": 95,
        "dont_evict_time": "120m",
        "capacity_upd_time": "10m",
        "enabled": True,
    },
    "mirror": {"copies": 2, "burst_buffer": 512, "util_thresh": 20, "optimize_put": False, "enabled": False},
    "ec": {
        "objsize_limit": 262144,
        "compression": "never",
        "data_slices": 1,
        "parity_slices": 1,
        "batch_size": 64,
        "enabled": False,
    },
    "access": ALL_ACCESS,
    "extra": {},
}

# Recorded as far as "chunks"; what follows it is from the source of that day, not recorded.
PROPS_CURRENT: JSON = {
    "backend_bck": {"name": "", "provider": "", "namespace": {"uuid": "", "name": ""}},
    "write_policy": {"data": "immediate", "md": "immediate"},
    "provider": "ais",
    "Renamed": "",
    "checksum": {
        "type": "xxhash2",
        "validate_cold_get": False,
        "validate_warm_get": False,
        "validate_obj_move": False,
        "enable_read_range": False,
    },
    "extra": {"aws": {}, "gcp": {}, "oci": {}},
    "rate_limit": {
        "backend": {"interval": "1m", "max_tokens": 1000, "enabled": False, "num_retries": 3},
        "frontend": {"interval": "1m", "max_tokens": 1000, "enabled": False, "burst_size": 375},
    },
    "ec": {
        "compression": "never",
        "bundle_multiplier": 2,
        "burst_buffer": 512,
        "objsize_limit": 262144,
        "data_slices": 2,
        "parity_slices": 2,
        "enabled": False,
        "disk_only": False,
    },
    "chunks": {"objsize_limit": 0, "chunk_size": 0, "checkpoint_every": 0},
    "mirror": {"copies": 2, "burst_buffer": 512, "enabled": False},
    "access": ALL_ACCESS,
    "features": "0",
    "lru": {"dont_evict_time": "120m", "capacity_upd_time": "10m", "enabled": True},
    "versioning": {"enabled": True, "validate_warm_get": False, "synchronize": False},
}


def merged(props: JSON, changes: JSON) -> JSON:
    """`props` with the changes whose names are known: what is unknown is passed over, as the servers do."""
    out = copy.deepcopy(props)
    for name, value in changes.items():
        if name not in out:
            continue
        if isinstance(out[name], dict) and isinstance(value, dict):
            out[name] |= {key: inner for key, inner in value.items() if key in out[name]}
        else:
            out[name] = value
    return out


@define(eq=False)
class Buckets:
    """All buckets of one cluster: its BMD. `version` grows with each change."""

    dialect: str
    place: Callable[[str, str], int]
    uuid: str = field(factory=new_id)
    version: int = 1
    by_key: dict[Key, Bucket] = field(factory=dict)

    @property
    def defaults(self) -> JSON:
        return PROPS_33 if self.dialect == "3.3" else PROPS_CURRENT

    def changed(self) -> None:
        self.version += 1

    def create(self, key: Key, props: JSON | None = None) -> Bucket:
        self.changed()
        values = merged(self.defaults, props or {})
        values["provider"] = key.provider
        bid = self.version | (1 << 63)
        bucket = self.by_key[key] = Bucket(key, values, bid, self.dialect, self.place)
        return bucket

    def destroy(self, key: Key) -> None:
        del self.by_key[key]
        self.changed()

    def find(self, name: str, provider: str | None, space: str | None) -> Bucket | None:
        """As the servers look: 3.3 finds nothing by a namespace without a provider."""
        if provider is None:
            if space is not None and self.dialect == "3.3":
                return None
            wanted = namespace(space or "")
            return next(
                (b for k, b in self.by_key.items() if k.name == name and (k.uuid, k.space) == wanted),
                None,
            )
        return self.by_key.get(Key(PROVIDERS.get(provider, provider), *namespace(space or ""), name))

    def props_json(self, bucket: Bucket) -> JSON:
        """A bucket's properties as the BMD has them."""
        known = copy.deepcopy(bucket.props)
        known |= {"bid": str(bucket.bid), "created": str(bucket.created), "Renamed": bucket.renamed}
        return known

    def json(self) -> JSON:
        providers: JSON = {}
        for key, bucket in self.by_key.items():
            space = f"@{key.uuid}#{key.space}"
            providers.setdefault(key.provider, {}).setdefault(space, {})[key.name] = self.props_json(bucket)
        return {"version": str(self.version), "uuid": self.uuid, "providers": providers}
