"""Capture as a lab's user sees it: many devices of many nodes at once, one clock, one file, one line per packet.

    packet    what a packet and a place are, and the narrow Protocol of whoever listens on the devices
    places    `node1:veth*` to places
    merge     packets of many taps in time order
    session   run a capture: listen, merge, write, print, stop
    pcapng    the file written;  reading: the files read (pcapng, pcap)
    dissect   bytes to fields, by scapy;  decode: fields to one line for people, or a flat dict
    identity  which captures are of the same packet;  changes: what happened to it in between
    path      follow one packet through NAT, routing and encapsulation, and compare with what was expected

No socket and no namespace is touched here: kernel.packets opens the taps, and cli hands them in.
"""
