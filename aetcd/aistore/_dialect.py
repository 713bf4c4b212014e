"""What a cluster's version calls things, and how it is told which version that is.

Names changed between 3.3 and today, and a wrong one destroys data: today's server takes an append of 3.3 for a plain
put, and overwrites. So the dialect is settled by what the server itself answers, before anything else is sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from aetcd.errors import Unsupported

__all__ = ["Dialect"]


@frozen(kw_only=True, eq=False)
class Dialect:
    """One version's names, and what differs about its ways. Each is a table in a file of its own.

    actions: Our word for an operation, and the server's in `action`.
    queries: Our word for a question to a node or the cluster, and the server's in `what=`.
    headers: Our word for a property, and the server's header.
    checksums: The server's type of checksum, and what it really is.
    listing: The method that lists objects: their options travel in its body.
    buckets: Method and path of the question for names of buckets.
    summary: The method of summaries.
    in_query: A bucket's new place is told in the query, and not in the body.
    decimal_stamp: The time in a redirect is a decimal number: one that is not tells of a server that was upgraded.
    append: The query's names for the step and the handle of an append.
    node_header: What names the node in a request that a gateway passes on.
    control_by_gateway: Targets change their mountpaths on the control network only, which gateways reach.
    registration: Path at which nodes are registered.
    props: Properties of a bucket that can be set, dotted; a name that ends in a dot stands for all under it.
    list_props: Properties that a listing can show.
    promotion: Our word for an option of `promote`, and the server's.
    """

    name: str
    actions: Mapping[str, str]
    queries: Mapping[str, str]
    headers: Mapping[str, str]
    checksums: Mapping[str, str]
    listing: str
    buckets: tuple[str, str]
    summary: str
    in_query: bool
    decimal_stamp: bool
    append: tuple[str, str]
    node_header: str
    control_by_gateway: bool
    registration: str
    props: frozenset[str]
    list_props: frozenset[str]
    promotion: Mapping[str, str]

    def action(self, operation: str) -> str:
        """The server's name. Raises Unsupported where this version has no such thing."""
        return self._find(self.actions, operation)

    def query(self, question: str) -> str:
        """The server's `what=`. Raises Unsupported where this version has no such question."""
        return self._find(self.queries, question)

    def knows_prop(self, name: str) -> bool:
        """Whether a bucket has such a property that can be set."""
        return name in self.props or any(name.startswith(known) for known in self.props if known.endswith("."))

    def _find(self, table: Mapping[str, str], name: str) -> str:
        try:
            return table[name]
        except KeyError:
            raise Unsupported(f"{name}: AIStore of the dialect {self.name} has no such thing") from None

    def __str__(self) -> str:
        return self.name
