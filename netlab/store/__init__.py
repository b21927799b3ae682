"""Revisioned keys: what the API server keeps its objects in. One protocol, three implementations, one contract suite.

`protocol` says what a store is. `sqlite` is the default (one file, durable), `etcd` a real etcd, `memory` for tests and
for simulated clusters. This package refuses to know what the values are.
"""
