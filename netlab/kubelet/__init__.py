"""The kubelet: pods that are bound to this node become containers, and what becomes of them is told to the API.

`making` decides what the runtime is told of a pod, and lays out the files that it refers to; `serving` answers the API
server on port 10250. This package refuses to place pods, and to wire them: a scheduler and CNI do.
"""
