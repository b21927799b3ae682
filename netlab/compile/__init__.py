"""Pure functions from what somebody asked for to `HostState` values. No I/O, no clock, no chance.

`topology` holds the resolved form of a lab, `machines` compiles it, `docker` adds a container host's firewall. Whoever
knows files, sockets or kernels does not belong here.
"""
