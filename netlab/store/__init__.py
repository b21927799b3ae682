"""Revisioned keys: what the API server keeps its objects in. One protocol, three implementations, one contract suite.

`protocol` says what a store is. `sqlite` is the default (one file, durable), `etcd` a real etcd, `memory` for tests and
for simulated clusters. The two in this process are a `local` one with or without a disk: it decides on writes by an
`index` (pure) and tells watchers by the hub in `fanout`, which the one in etcd shares. `database` is the file, which is
also what a snapshot is; `restoring` brings it back, `compacting` forgets the past now and then.

This package refuses to know what the values are.
"""
