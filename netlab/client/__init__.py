"""Clients of other processes: etcd, the Kubernetes API. They speak a protocol and do not know what it is used for."""
