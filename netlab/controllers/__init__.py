"""Control loops, one to a file, all of one shape (`shape.Controller`): NAME, WATCHES, reconcile(key).

A controller makes what is so as it should be for one key, from what its caches and the server say now; what happened
to bring the key up it is not told. It may be called again at any time, with the same key and for no reason. It touches
nothing but the Kubernetes API, starts nothing, waits for no clock, and knows no other controller: `runner` wires
informers to queues and repeats what fails. The original's names are kept where people see them.
"""
