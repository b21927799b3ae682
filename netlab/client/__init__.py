"""Clients of other processes: etcd, the Kubernetes API. They speak a protocol and refuse to know what it is used for."""
