"""Run the acts, all or those named, and end with the promises: exit code 0 where all are kept, else 1."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence

import aetcd
from aetcd.testing import EtcdCluster
from examples.demo import acts
from examples.demo.election import election
from examples.demo.failover import failover
from examples.demo.promises import Promise, report, say

LONGEST_ACT = 45.0  # seconds: a promise that takes longer is broken

TITLES = {
    "keys": "Keys: text, bytes, typed values, a TTL",
    "swaps": "Compare-and-swap: one wins, one loses",
    "watch": "A watch: an async iterator, fed by another task",
    "lock": "A lock: ten tasks in line",
    "election": "An election: the leader's process is killed",
    "failover": "Failover: etcd's own leader is killed",
}


async def perform(name: str, act: Callable[[], Awaitable[list[Promise]]]) -> list[Promise]:
    """Run one act. One that fails is a broken promise, and the others go on."""
    print(f"\n{TITLES[name]}", flush=True)
    try:
        async with asyncio.timeout(LONGEST_ACT):
            return await act()
    except (aetcd.AetcdError, TimeoutError, ExceptionGroup) as e:
        traceback.print_exc()
        return [Promise(f"the act {name!r} comes to its end", f"{type(e).__name__}: {e}", kept=False)]


async def main(names: Sequence[str]) -> int:
    """Start the cluster, run the acts on it, and report."""
    print(f"aetcd {aetcd.__version__}: the main job, on a cluster of three", flush=True)
    async with EtcdCluster(3) as cluster, aetcd.Client(*cluster.peers) as client:
        for member in cluster.members:
            say(f"{member.name} runs etcd {cluster.version}", member.url)
        play: dict[str, Callable[[], Awaitable[list[Promise]]]] = {
            "keys": lambda: acts.keys(client),
            "swaps": lambda: acts.swaps(client),
            "watch": lambda: acts.watch(client),
            "lock": lambda: acts.lock(client),
            "election": lambda: election(client, cluster.peers),
            "failover": lambda: failover(cluster, client),
        }
        promises: list[Promise] = []
        for name in names:
            promises += await perform(name, play[name])
        return report(promises)


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(TITLES)
    if unknown := set(wanted) - set(TITLES):
        sys.exit(f"no such act: {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    try:
        sys.exit(asyncio.run(main(wanted)))
    except KeyboardInterrupt:
        say("stopped: members and candidates are ended, and their folder is gone")
        sys.exit(130)
