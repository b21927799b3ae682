"""Cluster DNS: Kubernetes DNS-Based Service Discovery 1.1.0, with CoreDNS's choices where that leaves some.

`records` is pure: from a cluster's objects and a question to an answer. `message` is the same on the wire, from bytes
to bytes, still without I/O. `server` owns the sockets, `upstream` asks others about what is not the cluster's. It keeps
no cache, signs nothing (DNSSEC), and hands out no zones (AXFR). `search` is the other side: how a pod finds a name.
"""
