"""The scheduler: which node a pod goes to, and why not to the others.

    asks        what a pod asks for, as a value; pods that ask for the same share one
    nodes       the snapshot: what nodes have and what is taken of it, changed piece by piece
    filters     why a pod cannot go to a node, by that node alone      ┐
    scores      how good a node is                                     │ pure
    relations   pod affinity and anti-affinity, topology spread        │
    volumes     what claims leave over of the nodes                    │
    decide      a node for a pod, or the diagnosis                     │
    preempt     which pods of lower priority would have to go          ┘
    queue       what waits, what waits for its time, what waits for a change
    loop        informers to the snapshot, decisions to bindings and events

All nodes are looked at, where the original samples them: what a kind of pod was told of a node is remembered until that
node changes, so that the next one of ten thousand replicas costs a look at one node, not at a thousand.

Not done: profiles, extenders, dynamic resource allocation, provisioning of volumes (a claim has to be bound).
Source: kubernetes pkg/scheduler, and its messages, word for word.
"""
