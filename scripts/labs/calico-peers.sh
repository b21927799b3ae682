#!/bin/sh
# Calico: the rack's routers as peers, BIRD and FRR
#
# Two nodes with two pods each, and two top-of-rack routers in AS of their own, one with BIRD and one with FRR. The
# nodes tell both where their pods are, and have their default route from both, so that what pods send is shared among
# the two. Pods keep their own addresses all the way to the outside, which has a way back to them. As a script of ip
# this lab lacks the routes that come from BIRD and FRR, and those that these make: they are known to those programs
# alone.
#
#   sh calico-peers.sh up      builds it
#   sh calico-peers.sh down    removes all of it
set -eu

run=/run/netlab-script-calico-peers
namespaces='calico-peers.rack calico-peers.world calico-peers.node1 calico-peers.node2 calico-peers.tor1 calico-peers.tor2 calico-peers.outside calico-peers.pod-1a calico-peers.pod-2a calico-peers.pod-1b calico-peers.pod-2b'

die() { # STATUS MESSAGE
    echo "$0: $2" >&2
    exit "$1"
}

up() {
    for namespace in $namespaces; do
        [ ! -e "/run/netns/$namespace" ] || die 2 "namespace $namespace exists already; remove what made it first"
    done
    mkdir "$run" || die 2 "$run exists already; run '$0 down' first"
    trap 'echo "$0: that failed; removing what was made" >&2; down' EXIT

    # --- namespaces
    ip netns add calico-peers.rack
    ip netns add calico-peers.world
    ip netns add calico-peers.node1
    ip netns add calico-peers.node2
    ip netns add calico-peers.tor1
    ip netns add calico-peers.tor2
    ip netns add calico-peers.outside
    ip netns add calico-peers.pod-1a
    ip netns add calico-peers.pod-2a
    ip netns add calico-peers.pod-1b
    ip netns add calico-peers.pod-2b

    # --- cables: veth pairs
    # lab.yaml:20 (node1 eth0)
    ip -n calico-peers.rack link add node1-eth0 address 02:27:34:4f:5e:2d type veth peer name eth0 address 02:42:0a:a8:00:02 netns calico-peers.node1
    # lab.yaml:23 (node2 eth0)
    ip -n calico-peers.rack link add node2-eth0 address 02:70:e9:2b:22:f0 type veth peer name eth0 address 02:42:0a:a8:00:03 netns calico-peers.node2
    # lab.yaml:27 (tor1 eth0)
    ip -n calico-peers.rack link add tor1-eth0 address 02:3a:4f:f3:7b:57 type veth peer name eth0 address 02:42:0a:a8:00:01 netns calico-peers.tor1
    # lab.yaml:62 (tor2 eth0)
    ip -n calico-peers.rack link add tor2-eth0 address 02:40:58:e6:24:d6 type veth peer name eth0 address 02:42:0a:a8:00:09 netns calico-peers.tor2
    # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.node1 link add cali069321d8350 address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:3b:c6:2c:60:a6 netns calico-peers.pod-1a
    # lab.yaml:131 (container pod-1b)
    ip -n calico-peers.node1 link add calia1def439be9 address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:19:90:8e:31:b4 netns calico-peers.pod-1b
    # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.node2 link add cali044d43f4ba0 address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:d7:fb:f4:d3:b3 netns calico-peers.pod-2a
    # lab.yaml:132 (container pod-2b)
    ip -n calico-peers.node2 link add cali124fe98984d address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:60:3e:16:8a:e8 netns calico-peers.pod-2b
    # lab.yaml:121 (outside eth0)
    ip -n calico-peers.world link add outside-eth0 address 02:0b:eb:15:a4:08 type veth peer name eth0 address 02:31:87:a8:ee:a0 netns calico-peers.outside
    # lab.yaml:28 (tor1 eth1)
    ip -n calico-peers.world link add tor1-eth1 address 02:3e:3e:09:62:1d type veth peer name eth1 address 02:2f:ff:19:4f:da netns calico-peers.tor1
    # lab.yaml:63 (tor2 eth1)
    ip -n calico-peers.world link add tor2-eth1 address 02:65:b7:22:91:84 type veth peer name eth1 address 02:d4:58:bc:da:8c netns calico-peers.tor2

    # --- node calico-peers.rack
    ip -n calico-peers.rack link set lo up                                       # lab.yaml:12 (network rack)
    ip -n calico-peers.rack link add rack address 02:35:87:2e:65:a9 type bridge  # lab.yaml:12 (network rack)
    ip -n calico-peers.rack link set rack up                                     # lab.yaml:12 (network rack)
    ip -n calico-peers.rack link set node1-eth0 master rack                      # lab.yaml:20 (node1 eth0)
    ip -n calico-peers.rack link set node1-eth0 up                               # lab.yaml:20 (node1 eth0)
    ip -n calico-peers.rack link set node2-eth0 master rack                      # lab.yaml:23 (node2 eth0)
    ip -n calico-peers.rack link set node2-eth0 up                               # lab.yaml:23 (node2 eth0)
    ip -n calico-peers.rack link set tor1-eth0 master rack                       # lab.yaml:27 (tor1 eth0)
    ip -n calico-peers.rack link set tor1-eth0 up                                # lab.yaml:27 (tor1 eth0)
    ip -n calico-peers.rack link set tor2-eth0 master rack                       # lab.yaml:62 (tor2 eth0)
    ip -n calico-peers.rack link set tor2-eth0 up                                # lab.yaml:62 (tor2 eth0)

    # --- node calico-peers.world
    ip -n calico-peers.world link set lo up                                        # lab.yaml:14 (network world)
    ip -n calico-peers.world link add world address 02:b3:b8:5f:40:04 type bridge  # lab.yaml:14 (network world)
    ip -n calico-peers.world link set world up                                     # lab.yaml:14 (network world)
    ip -n calico-peers.world link set outside-eth0 master world                    # lab.yaml:121 (outside eth0)
    ip -n calico-peers.world link set outside-eth0 up                              # lab.yaml:121 (outside eth0)
    ip -n calico-peers.world link set tor1-eth1 master world                       # lab.yaml:28 (tor1 eth1)
    ip -n calico-peers.world link set tor1-eth1 up                                 # lab.yaml:28 (tor1 eth1)
    ip -n calico-peers.world link set tor2-eth1 master world                       # lab.yaml:63 (tor2 eth1)
    ip -n calico-peers.world link set tor2-eth1 up                                 # lab.yaml:63 (tor2 eth1)

    # --- node calico-peers.node1
    # Calico: a node is the router of its pods
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.ip_forward=1
    # Calico: a node is the router of its pods
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1
    ip -n calico-peers.node1 link set cali069321d8350 up                             # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.node1 link set calia1def439be9 up                             # lab.yaml:131 (container pod-1b)
    ip -n calico-peers.node1 link set eth0 up                                        # lab.yaml:20 (node1 eth0)
    ip -n calico-peers.node1 link set lo up                                          # lab.yaml:18 (node1)
    # lab.yaml:129 (container pod-1a): its packets go on
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.conf.cali069321d8350.forwarding=1
    # lab.yaml:129 (container pod-1a): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.conf.cali069321d8350.proxy_arp=1
    # lab.yaml:129 (container pod-1a): a pod cannot send in another's name
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.conf.cali069321d8350.rp_filter=1
    # lab.yaml:131 (container pod-1b): its packets go on
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.conf.calia1def439be9.forwarding=1
    # lab.yaml:131 (container pod-1b): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.conf.calia1def439be9.proxy_arp=1
    # lab.yaml:131 (container pod-1b): a pod cannot send in another's name
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.conf.calia1def439be9.rp_filter=1
    # lab.yaml:129 (container pod-1a): and at once
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.neigh.cali069321d8350.proxy_delay=0
    # lab.yaml:131 (container pod-1b): and at once
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv4.neigh.calia1def439be9.proxy_delay=0
    # lab.yaml:129 (container pod-1a): the pod's gateway answers at once
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv6.conf.cali069321d8350.accept_dad=0
    # lab.yaml:129 (container pod-1a): its packets go on
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv6.conf.cali069321d8350.forwarding=1
    # lab.yaml:129 (container pod-1a): the same for IPv6
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv6.conf.cali069321d8350.proxy_ndp=1
    # lab.yaml:131 (container pod-1b): the pod's gateway answers at once
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv6.conf.calia1def439be9.accept_dad=0
    # lab.yaml:131 (container pod-1b): its packets go on
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv6.conf.calia1def439be9.forwarding=1
    # lab.yaml:131 (container pod-1b): the same for IPv6
    ip netns exec calico-peers.node1 sysctl -q -w net.ipv6.conf.calia1def439be9.proxy_ndp=1
    ip -n calico-peers.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0        # lab.yaml:20 (node1 eth0)
    ip -n calico-peers.node1 addr add fd00:10:168::2/64 dev eth0 nodad               # lab.yaml:20 (node1 eth0)
    ip -n calico-peers.node1 route add blackhole 10.244.0.0/26 metric 32 proto bird  # network 10.244.0.0/26 of ours
    ip -n calico-peers.node1 route add 10.244.0.0/32 dev cali069321d8350             # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.node1 route add 10.244.0.1/32 dev calia1def439be9             # lab.yaml:131 (container pod-1b)
    # BGP from Mesh_10_168_0_3
    ip -n calico-peers.node1 route add 10.244.0.64/26 via 10.168.0.3 dev eth0 metric 32 proto bird
    # network fd00:10:244::/122 of ours
    ip -n calico-peers.node1 -6 route add blackhole fd00:10:244::/122 metric 32 proto bird
    ip -n calico-peers.node1 -6 route add fd00:10:244::/128 dev cali069321d8350      # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.node1 -6 route add fd00:10:244::1/128 dev calia1def439be9     # lab.yaml:131 (container pod-1b)
    # BGP from Mesh_fd00_10_168__3
    ip -n calico-peers.node1 -6 route add fd00:10:244::40/122 via fd00:10:168::3 dev eth0 metric 32 proto bird

    # --- node calico-peers.node2
    # Calico: a node is the router of its pods
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.ip_forward=1
    # Calico: a node is the router of its pods
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1
    ip -n calico-peers.node2 link set cali044d43f4ba0 up                              # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.node2 link set cali124fe98984d up                              # lab.yaml:132 (container pod-2b)
    ip -n calico-peers.node2 link set eth0 up                                         # lab.yaml:23 (node2 eth0)
    ip -n calico-peers.node2 link set lo up                                           # lab.yaml:21 (node2)
    # lab.yaml:130 (container pod-2a): its packets go on
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.conf.cali044d43f4ba0.forwarding=1
    # lab.yaml:130 (container pod-2a): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.conf.cali044d43f4ba0.proxy_arp=1
    # lab.yaml:130 (container pod-2a): a pod cannot send in another's name
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.conf.cali044d43f4ba0.rp_filter=1
    # lab.yaml:132 (container pod-2b): its packets go on
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.conf.cali124fe98984d.forwarding=1
    # lab.yaml:132 (container pod-2b): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.conf.cali124fe98984d.proxy_arp=1
    # lab.yaml:132 (container pod-2b): a pod cannot send in another's name
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.conf.cali124fe98984d.rp_filter=1
    # lab.yaml:130 (container pod-2a): and at once
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.neigh.cali044d43f4ba0.proxy_delay=0
    # lab.yaml:132 (container pod-2b): and at once
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv4.neigh.cali124fe98984d.proxy_delay=0
    # lab.yaml:130 (container pod-2a): the pod's gateway answers at once
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv6.conf.cali044d43f4ba0.accept_dad=0
    # lab.yaml:130 (container pod-2a): its packets go on
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv6.conf.cali044d43f4ba0.forwarding=1
    # lab.yaml:130 (container pod-2a): the same for IPv6
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv6.conf.cali044d43f4ba0.proxy_ndp=1
    # lab.yaml:132 (container pod-2b): the pod's gateway answers at once
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv6.conf.cali124fe98984d.accept_dad=0
    # lab.yaml:132 (container pod-2b): its packets go on
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv6.conf.cali124fe98984d.forwarding=1
    # lab.yaml:132 (container pod-2b): the same for IPv6
    ip netns exec calico-peers.node2 sysctl -q -w net.ipv6.conf.cali124fe98984d.proxy_ndp=1
    ip -n calico-peers.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0         # lab.yaml:23 (node2 eth0)
    ip -n calico-peers.node2 addr add fd00:10:168::3/64 dev eth0 nodad                # lab.yaml:23 (node2 eth0)
    ip -n calico-peers.node2 route add blackhole 10.244.0.64/26 metric 32 proto bird  # network 10.244.0.64/26 of ours
    ip -n calico-peers.node2 route add 10.244.0.64/32 dev cali044d43f4ba0             # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.node2 route add 10.244.0.65/32 dev cali124fe98984d             # lab.yaml:132 (container pod-2b)
    # BGP from Mesh_10_168_0_2
    ip -n calico-peers.node2 route add 10.244.0.0/26 via 10.168.0.2 dev eth0 metric 32 proto bird
    # network fd00:10:244::40/122 of ours
    ip -n calico-peers.node2 -6 route add blackhole fd00:10:244::40/122 metric 32 proto bird
    ip -n calico-peers.node2 -6 route add fd00:10:244::40/128 dev cali044d43f4ba0     # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.node2 -6 route add fd00:10:244::41/128 dev cali124fe98984d     # lab.yaml:132 (container pod-2b)
    # BGP from Mesh_fd00_10_168__2
    ip -n calico-peers.node2 -6 route add fd00:10:244::/122 via fd00:10:168::2 dev eth0 metric 32 proto bird

    # --- node calico-peers.tor1
    ip netns exec calico-peers.tor1 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:29 (tor1 forward)
    ip netns exec calico-peers.tor1 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:29 (tor1 forward)
    ip -n calico-peers.tor1 link set eth0 up                                     # lab.yaml:27 (tor1 eth0)
    ip -n calico-peers.tor1 link set eth1 up                                     # lab.yaml:28 (tor1 eth1)
    ip -n calico-peers.tor1 link set lo up                                       # lab.yaml:25 (tor1)
    ip -n calico-peers.tor1 addr add 10.168.0.1/24 brd 10.168.0.255 dev eth0     # lab.yaml:27 (tor1 eth0)
    ip -n calico-peers.tor1 addr add fd00:10:168::1/64 dev eth0 nodad            # lab.yaml:27 (tor1 eth0)
    ip -n calico-peers.tor1 addr add 192.0.2.1/24 brd 192.0.2.255 dev eth1       # lab.yaml:28 (tor1 eth1)
    ip -n calico-peers.tor1 addr add fd00:192:0:2::1/64 dev eth1 nodad           # lab.yaml:28 (tor1 eth1)

    # --- node calico-peers.tor2
    ip netns exec calico-peers.tor2 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:64 (tor2 forward)
    ip netns exec calico-peers.tor2 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:64 (tor2 forward)
    ip -n calico-peers.tor2 link set eth0 up                                     # lab.yaml:62 (tor2 eth0)
    ip -n calico-peers.tor2 link set eth1 up                                     # lab.yaml:63 (tor2 eth1)
    ip -n calico-peers.tor2 link set lo up                                       # lab.yaml:60 (tor2)
    ip -n calico-peers.tor2 addr add 10.168.0.9/24 brd 10.168.0.255 dev eth0     # lab.yaml:62 (tor2 eth0)
    ip -n calico-peers.tor2 addr add fd00:10:168::9/64 dev eth0 nodad            # lab.yaml:62 (tor2 eth0)
    ip -n calico-peers.tor2 addr add 192.0.2.9/24 brd 192.0.2.255 dev eth1       # lab.yaml:63 (tor2 eth1)
    ip -n calico-peers.tor2 addr add fd00:192:0:2::9/64 dev eth1 nodad           # lab.yaml:63 (tor2 eth1)

    # --- node calico-peers.outside
    ip -n calico-peers.outside link set eth0 up                                 # lab.yaml:121 (outside eth0)
    ip -n calico-peers.outside link set lo up                                   # lab.yaml:119 (outside)
    ip -n calico-peers.outside addr add 192.0.2.80/24 brd 192.0.2.255 dev eth0  # lab.yaml:121 (outside eth0)
    ip -n calico-peers.outside addr add fd00:192:0:2::80/64 dev eth0 nodad      # lab.yaml:121 (outside eth0)
    ip -n calico-peers.outside route add 10.168.0.0/24 via 192.0.2.1 dev eth0   # lab.yaml:124 (outside route 1)
    ip -n calico-peers.outside route add 10.244.0.0/16 via 192.0.2.1 dev eth0   # lab.yaml:123 (outside route 0)
    # lab.yaml:125 (outside route 2)
    ip -n calico-peers.outside -6 route add fd00:10:244::/48 via fd00:192:0:2::9 dev eth0

    # --- node calico-peers.pod-1a
    ip -n calico-peers.pod-1a link set eth0 up                            # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.pod-1a link set lo up                              # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.pod-1a addr add 10.244.0.0/32 dev eth0             # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.pod-1a addr add fd00:10:244::/128 dev eth0 nodad   # lab.yaml:129 (container pod-1a)
    # lab.yaml:129 (container pod-1a): nobody has it, the node answers for it
    ip -n calico-peers.pod-1a route add 169.254.1.1/32 dev eth0
    ip -n calico-peers.pod-1a route add default via 169.254.1.1 dev eth0  # lab.yaml:129 (container pod-1a)
    # lab.yaml:129 (container pod-1a)
    ip -n calico-peers.pod-1a -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-peers.pod-2a
    ip -n calico-peers.pod-2a link set eth0 up                             # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.pod-2a link set lo up                               # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.pod-2a addr add 10.244.0.64/32 dev eth0             # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.pod-2a addr add fd00:10:244::40/128 dev eth0 nodad  # lab.yaml:130 (container pod-2a)
    # lab.yaml:130 (container pod-2a): nobody has it, the node answers for it
    ip -n calico-peers.pod-2a route add 169.254.1.1/32 dev eth0
    ip -n calico-peers.pod-2a route add default via 169.254.1.1 dev eth0   # lab.yaml:130 (container pod-2a)
    # lab.yaml:130 (container pod-2a)
    ip -n calico-peers.pod-2a -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-peers.pod-1b
    ip -n calico-peers.pod-1b link set eth0 up                            # lab.yaml:131 (container pod-1b)
    ip -n calico-peers.pod-1b link set lo up                              # lab.yaml:131 (container pod-1b)
    ip -n calico-peers.pod-1b addr add 10.244.0.1/32 dev eth0             # lab.yaml:131 (container pod-1b)
    ip -n calico-peers.pod-1b addr add fd00:10:244::1/128 dev eth0 nodad  # lab.yaml:131 (container pod-1b)
    # lab.yaml:131 (container pod-1b): nobody has it, the node answers for it
    ip -n calico-peers.pod-1b route add 169.254.1.1/32 dev eth0
    ip -n calico-peers.pod-1b route add default via 169.254.1.1 dev eth0  # lab.yaml:131 (container pod-1b)
    # lab.yaml:131 (container pod-1b)
    ip -n calico-peers.pod-1b -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-peers.pod-2b
    ip -n calico-peers.pod-2b link set eth0 up                             # lab.yaml:132 (container pod-2b)
    ip -n calico-peers.pod-2b link set lo up                               # lab.yaml:132 (container pod-2b)
    ip -n calico-peers.pod-2b addr add 10.244.0.65/32 dev eth0             # lab.yaml:132 (container pod-2b)
    ip -n calico-peers.pod-2b addr add fd00:10:244::41/128 dev eth0 nodad  # lab.yaml:132 (container pod-2b)
    # lab.yaml:132 (container pod-2b): nobody has it, the node answers for it
    ip -n calico-peers.pod-2b route add 169.254.1.1/32 dev eth0
    ip -n calico-peers.pod-2b route add default via 169.254.1.1 dev eth0   # lab.yaml:132 (container pod-2b)
    # lab.yaml:132 (container pod-2b)
    ip -n calico-peers.pod-2b -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    trap - EXIT
}

down() {
    [ -d "$run" ] || { echo "$0: nothing to remove"; return 0; }
    for namespace in $namespaces; do
        [ ! -e "/run/netns/$namespace" ] || ip netns del "$namespace"
    done
    rm -rf "$run"
}

[ "$(id -u)" = 0 ] || die 3 "this needs root: sudo sh $0 ${1:-up}"
case ${1:-} in
    up) up ;;
    down) down ;;
    *) die 2 "usage: sh $0 up|down" ;;
esac
