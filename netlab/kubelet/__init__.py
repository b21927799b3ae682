"""The kubelet: the pods that the API gives to one node, made real and kept so, and told of.

    API server ─▶ pods of this node ─▶ a worker for each ─┬─▶ decide (pure) ─▶ actions: sandbox, start, kill, remove
    manifests ──▶ static pods ────────▲                   └─▶ status (pure) ─▶ one patch of the status
                 ends of containers, probes, the clock ───┘

What is to be done about a pod is decided by pure functions of the pod, of what the runtime has, of what probes say and
of the time (`decide`, `status`, `phase`, `conditions`, `backoff`); a worker (`worker`) does it, one for each pod, and
blocks nowhere. What a container is made of is `making/`, what is asked of the kubelet by others `serving/`. This
package refuses to know how a container is run (`runtime`), and is handed a network (`needs.Network`).
"""
