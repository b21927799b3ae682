"""The Container Network Interface: how a runtime asks for a sandbox's network, and how netlab's plugins answer.

`config` and `result` are the documents of the protocol as values, `protocol` is the plugin's side of it, `runner` the
runtime's, and `plugins/` has one plugin per file. A plugin decides purely what the network should be, as HostStates;
whoever composes it (`daemons/cni`) hands it a `machine` that makes them so. Source: CNI specification 1.1.0.

This package refuses to touch the kernel, to start a process, and to remember anything outside of the files that the
protocol's users know: /var/lib/cni/networks (host-local's) and /var/lib/cni/results (the runtime's).
"""
