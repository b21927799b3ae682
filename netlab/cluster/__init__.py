"""A Kubernetes cluster on this machine: its nodes are made of namespaces, its parts are the daemons of `netlab`.

`plan` says what a cluster is, as a value, from the options alone: names, addresses, the underlay as a lab's topology,
what each node is made of, what runs there. `networks` are the pod networks to choose from, `credentials` who may speak
to whom, `bootstrap` the objects that are there from the beginning. `engine` makes it so and takes it away. This package
refuses to touch the kernel, to start processes, to speak HTTP: it is handed a machine.
"""
