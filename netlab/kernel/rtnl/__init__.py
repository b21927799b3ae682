"""rtnetlink for what a HostState holds: encode items, decode dumps, send in batches (rtnetlink(7)).

Why not pyroute2 here: importing it takes 0.18 s and decoding one link 0.26 ms, which is more than a whole `lab up` of a
hundred hosts may take. This package knows only the messages that netlab sends, in a few hundred lines; the tests hold
every one of them against pyroute2's encoder and decoder. ipset, IPVS and WireGuard go through pyroute2.
"""
