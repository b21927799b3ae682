"""The only room that talks to the Linux kernel: netlink, iptables, TUN, setns, /proc/sys, packet sockets, processes.

Everything here works on a namespace that the caller names; nothing here decides what should be. No thread and no
process is kept per namespace: a socket belongs to the namespace in which it was opened, so one thread enters, opens,
and leaves again.
"""
