"""The main job on a cluster of three real etcds: `python -m examples.demo`, or `nox -s demo`.

acts.py      keys, compare-and-swap, a watch, a lock
election.py  candidates in processes of their own (candidate.py), one of which is killed
failover.py  etcd's leader is killed under load
promises.py  what was measured, and whether that keeps the promise
"""
