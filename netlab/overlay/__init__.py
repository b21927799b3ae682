"""flannel: who has which subnet, and what a node has to do about it.

`config` and `lease` are the nouns, spelled on the wire as flannel spells them. `managers` agree with the other nodes on
leases (etcd, a shared directory, the Kubernetes API). `backends` are pure functions from leases to a HostState.
`udp` is the one backend with a data path of its own. This package refuses to touch the kernel: it is handed what it
reads and carries packets between descriptors that somebody else has opened; `daemons.flanneld` puts it all together.
"""
