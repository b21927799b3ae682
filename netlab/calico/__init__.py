"""Calico's way of networking: objects in, decisions out.

`objects` are the nouns, read from crd.projectcalico.org/v1 (files now, the API server later); `ipam` decides who gets
which address, as transitions from old objects to new ones; `node` is the network of one node as a HostState, `bgp` the
configuration of its speaker. Everything here is pure. This package refuses to read files, talk to an API, run a daemon.
"""
