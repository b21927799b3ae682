"""From a pod and all that it refers to, to what the runtime is told: volumes, variables, users, files of the network.

    ROOT/pods/UID/volumes/kubernetes.io~KIND/NAME     the volumes, under the names that Kubernetes has for them
                 /volume-subpaths/VOLUME/CONTAINER/N   what a subPath came to, bound so that no link leads out of it
                 /containers/NAME/ATTEMPT              the termination message
                 /etc-hosts, resolv.conf, hostname     the files of the network, as its containers see them
                 /shm                                  /dev/shm of all its containers

Whatever decides is pure and has a module of its own; `maker` does it. This package refuses to run anything, to watch
the API (it is handed a World that knows), and to try again: it says why something could not be made, in Kubernetes'
words, and whoever called comes back.
"""

from netlab.kubelet.making.maker import Making
from netlab.kubelet.making.world import Missing, NodeFacts, World

__all__ = ["Making", "Missing", "NodeFacts", "World"]
