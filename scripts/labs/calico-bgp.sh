#!/bin/sh
# Calico: every node a router, every pod a route
#
# Three nodes with two pods each, a gateway, and a machine outside. A pod's cable ends on its node without a bridge; the
# node has a route to each of its pods, and tells the other nodes by BGP which block of addresses is behind it. As a
# script of ip and iptables this lab has the routes as BGP leaves them, and no one who would tell of a change.
#
#   sh calico-bgp.sh up      builds it
#   sh calico-bgp.sh down    removes all of it
set -eu

run=/run/netlab-script-calico-bgp
namespaces='calico-bgp.lan calico-bgp.world calico-bgp.node1 calico-bgp.node2 calico-bgp.node3 calico-bgp.gateway calico-bgp.outside calico-bgp.pod-1a calico-bgp.pod-2a calico-bgp.pod-3a calico-bgp.pod-1b calico-bgp.pod-2b calico-bgp.pod-3b'

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
    ip netns add calico-bgp.lan
    ip netns add calico-bgp.world
    ip netns add calico-bgp.node1
    ip netns add calico-bgp.node2
    ip netns add calico-bgp.node3
    ip netns add calico-bgp.gateway
    ip netns add calico-bgp.outside
    ip netns add calico-bgp.pod-1a
    ip netns add calico-bgp.pod-2a
    ip netns add calico-bgp.pod-3a
    ip netns add calico-bgp.pod-1b
    ip netns add calico-bgp.pod-2b
    ip netns add calico-bgp.pod-3b

    # --- cables: veth pairs
    # lab.yaml:33 (gateway eth0)
    ip -n calico-bgp.lan link add gateway-eth0 address 02:db:e7:b1:48:97 type veth peer name eth0 address 02:c6:60:fb:60:12 netns calico-bgp.gateway
    # lab.yaml:21 (node1 eth0)
    ip -n calico-bgp.lan link add node1-eth0 address 02:db:9b:41:35:96 type veth peer name eth0 address 02:42:0a:a8:00:02 netns calico-bgp.node1
    # lab.yaml:25 (node2 eth0)
    ip -n calico-bgp.lan link add node2-eth0 address 02:2d:60:7d:ef:a5 type veth peer name eth0 address 02:42:0a:a8:00:03 netns calico-bgp.node2
    # lab.yaml:29 (node3 eth0)
    ip -n calico-bgp.lan link add node3-eth0 address 02:eb:76:8f:08:81 type veth peer name eth0 address 02:42:0a:a8:00:04 netns calico-bgp.node3
    # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.node1 link add cali069321d8350 address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:dc:46:51:f0:16 netns calico-bgp.pod-1a
    # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.node1 link add calia1def439be9 address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:8c:83:98:b4:63 netns calico-bgp.pod-1b
    # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.node2 link add cali044d43f4ba0 address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:40:f9:ec:da:fc netns calico-bgp.pod-2a
    # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.node2 link add cali124fe98984d address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:52:1b:1b:98:c4 netns calico-bgp.pod-2b
    # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.node3 link add cali099259c617c address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:91:40:2b:ec:3d netns calico-bgp.pod-3a
    # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.node3 link add cali4f78e339d5d address ee:ee:ee:ee:ee:ee type veth peer name eth0 address 02:7a:03:d9:45:82 netns calico-bgp.pod-3b
    # lab.yaml:34 (gateway eth1)
    ip -n calico-bgp.gateway link add eth1 address 02:6e:8c:b9:72:46 type veth peer name gateway-eth1 address 02:cf:38:48:3c:69 netns calico-bgp.world
    # lab.yaml:39 (outside eth0)
    ip -n calico-bgp.world link add outside-eth0 address 02:09:ca:b1:07:a9 type veth peer name eth0 address 02:70:fc:28:cf:b1 netns calico-bgp.outside

    # --- node calico-bgp.lan
    ip -n calico-bgp.lan link add lan address 02:f6:6a:f2:d3:75 type bridge  # lab.yaml:12 (network lan)
    ip -n calico-bgp.lan link set lan up                                     # lab.yaml:12 (network lan)
    ip -n calico-bgp.lan link set gateway-eth0 master lan                    # lab.yaml:33 (gateway eth0)
    ip -n calico-bgp.lan link set gateway-eth0 up                            # lab.yaml:33 (gateway eth0)
    ip -n calico-bgp.lan link set lo up                                      # lab.yaml:12 (network lan)
    ip -n calico-bgp.lan link set node1-eth0 master lan                      # lab.yaml:21 (node1 eth0)
    ip -n calico-bgp.lan link set node1-eth0 up                              # lab.yaml:21 (node1 eth0)
    ip -n calico-bgp.lan link set node2-eth0 master lan                      # lab.yaml:25 (node2 eth0)
    ip -n calico-bgp.lan link set node2-eth0 up                              # lab.yaml:25 (node2 eth0)
    ip -n calico-bgp.lan link set node3-eth0 master lan                      # lab.yaml:29 (node3 eth0)
    ip -n calico-bgp.lan link set node3-eth0 up                              # lab.yaml:29 (node3 eth0)

    # --- node calico-bgp.world
    ip -n calico-bgp.world link add world address 02:f6:d1:40:ce:8c type bridge  # lab.yaml:14 (network world)
    ip -n calico-bgp.world link set world up                                     # lab.yaml:14 (network world)
    ip -n calico-bgp.world link set gateway-eth1 master world                    # lab.yaml:34 (gateway eth1)
    ip -n calico-bgp.world link set gateway-eth1 up                              # lab.yaml:34 (gateway eth1)
    ip -n calico-bgp.world link set lo up                                        # lab.yaml:14 (network world)
    ip -n calico-bgp.world link set outside-eth0 master world                    # lab.yaml:39 (outside eth0)
    ip -n calico-bgp.world link set outside-eth0 up                              # lab.yaml:39 (outside eth0)

    # --- node calico-bgp.node1
    # Calico: a node is the router of its pods
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.ip_forward=1
    # Calico: a node is the router of its pods
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.node1 link set cali069321d8350 up
    # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.node1 link set calia1def439be9 up
    # lab.yaml:21 (node1 eth0)
    ip -n calico-bgp.node1 link set eth0 up
    ip -n calico-bgp.node1 link set lo up                                                          # lab.yaml:19 (node1)
    # lab.yaml:45 (container pod-1a): its packets go on
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.conf.cali069321d8350.forwarding=1
    # lab.yaml:45 (container pod-1a): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.conf.cali069321d8350.proxy_arp=1
    # lab.yaml:45 (container pod-1a): a pod cannot send in another's name
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.conf.cali069321d8350.rp_filter=1
    # lab.yaml:48 (container pod-1b): its packets go on
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.conf.calia1def439be9.forwarding=1
    # lab.yaml:48 (container pod-1b): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.conf.calia1def439be9.proxy_arp=1
    # lab.yaml:48 (container pod-1b): a pod cannot send in another's name
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.conf.calia1def439be9.rp_filter=1
    # lab.yaml:45 (container pod-1a): and at once
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.neigh.cali069321d8350.proxy_delay=0
    # lab.yaml:48 (container pod-1b): and at once
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv4.neigh.calia1def439be9.proxy_delay=0
    # lab.yaml:45 (container pod-1a): the pod's gateway answers at once
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv6.conf.cali069321d8350.accept_dad=0
    # lab.yaml:45 (container pod-1a): its packets go on
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv6.conf.cali069321d8350.forwarding=1
    # lab.yaml:45 (container pod-1a): the same for IPv6
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv6.conf.cali069321d8350.proxy_ndp=1
    # lab.yaml:48 (container pod-1b): the pod's gateway answers at once
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv6.conf.calia1def439be9.accept_dad=0
    # lab.yaml:48 (container pod-1b): its packets go on
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv6.conf.calia1def439be9.forwarding=1
    # lab.yaml:48 (container pod-1b): the same for IPv6
    ip netns exec calico-bgp.node1 sysctl -q -w net.ipv6.conf.calia1def439be9.proxy_ndp=1
    # lab.yaml:21 (node1 eth0)
    ip -n calico-bgp.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0
    # lab.yaml:21 (node1 eth0)
    ip -n calico-bgp.node1 addr add fd00:10:168::2/64 dev eth0 nodad
    # network 10.244.0.0/26 of ours
    ip -n calico-bgp.node1 route add blackhole 10.244.0.0/26 metric 32 proto bird
    # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.node1 route add 10.244.0.0/32 dev cali069321d8350
    # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.node1 route add 10.244.0.1/32 dev calia1def439be9
    # lab.yaml:22 (node1 route 0)
    ip -n calico-bgp.node1 route add default via 10.168.0.1 dev eth0
    # BGP from Mesh_10_168_0_3
    ip -n calico-bgp.node1 route add 10.244.0.64/26 via 10.168.0.3 dev eth0 metric 32 proto bird
    # BGP from Mesh_10_168_0_4
    ip -n calico-bgp.node1 route add 10.244.0.128/26 via 10.168.0.4 dev eth0 metric 32 proto bird
    # network fd00:10:244::/122 of ours
    ip -n calico-bgp.node1 -6 route add blackhole fd00:10:244::/122 metric 32 proto bird
    # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.node1 -6 route add fd00:10:244::/128 dev cali069321d8350
    # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.node1 -6 route add fd00:10:244::1/128 dev calia1def439be9
    # lab.yaml:22 (node1 route 1)
    ip -n calico-bgp.node1 -6 route add default via fd00:10:168::1 dev eth0
    # BGP from Mesh_fd00_10_168__3
    ip -n calico-bgp.node1 -6 route add fd00:10:244::40/122 via fd00:10:168::3 dev eth0 metric 32 proto bird
    # BGP from Mesh_fd00_10_168__4
    ip -n calico-bgp.node1 -6 route add fd00:10:244::80/122 via fd00:10:168::4 dev eth0 metric 32 proto bird
    ip netns exec calico-bgp.node1 ipset create -exist cali40all-ipam-pools hash:net               # all IPPools
    ip netns exec calico-bgp.node1 ipset add cali40all-ipam-pools 10.244.0.0/16                    # all IPPools
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node1 ipset create -exist cali40masq-ipam-pools hash:net
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node1 ipset add cali40masq-ipam-pools 10.244.0.0/16
    ip netns exec calico-bgp.node1 ipset create -exist cali60all-ipam-pools hash:net family inet6  # all IPPools
    ip netns exec calico-bgp.node1 ipset add cali60all-ipam-pools fd00:10:244::/48                 # all IPPools
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node1 ipset create -exist cali60masq-ipam-pools hash:net family inet6
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node1 ipset add cali60masq-ipam-pools fd00:10:244::/48
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node1 iptables -t nat -N cali-POSTROUTING
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node1 iptables -t nat -N cali-nat-outgoing
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node1 iptables -t nat -A cali-POSTROUTING -j cali-nat-outgoing
    # natOutgoing of IPPool default-ipv4-ippool: nobody outside has a way back to a pod
    ip netns exec calico-bgp.node1 iptables -t nat -A cali-nat-outgoing -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node1 iptables -t nat -A POSTROUTING -j cali-POSTROUTING
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node1 ip6tables -t nat -N cali-POSTROUTING
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node1 ip6tables -t nat -N cali-nat-outgoing
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node1 ip6tables -t nat -A cali-POSTROUTING -j cali-nat-outgoing
    # natOutgoing of IPPool default-ipv6-ippool: nobody outside has a way back to a pod
    ip netns exec calico-bgp.node1 ip6tables -t nat -A cali-nat-outgoing -m set --match-set cali60masq-ipam-pools src -m set ! --match-set cali60all-ipam-pools dst -j MASQUERADE --random-fully
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node1 ip6tables -t nat -A POSTROUTING -j cali-POSTROUTING

    # --- node calico-bgp.node2
    # Calico: a node is the router of its pods
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.ip_forward=1
    # Calico: a node is the router of its pods
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.node2 link set cali044d43f4ba0 up
    # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.node2 link set cali124fe98984d up
    # lab.yaml:25 (node2 eth0)
    ip -n calico-bgp.node2 link set eth0 up
    ip -n calico-bgp.node2 link set lo up                                                          # lab.yaml:23 (node2)
    # lab.yaml:46 (container pod-2a): its packets go on
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.conf.cali044d43f4ba0.forwarding=1
    # lab.yaml:46 (container pod-2a): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.conf.cali044d43f4ba0.proxy_arp=1
    # lab.yaml:46 (container pod-2a): a pod cannot send in another's name
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.conf.cali044d43f4ba0.rp_filter=1
    # lab.yaml:49 (container pod-2b): its packets go on
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.conf.cali124fe98984d.forwarding=1
    # lab.yaml:49 (container pod-2b): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.conf.cali124fe98984d.proxy_arp=1
    # lab.yaml:49 (container pod-2b): a pod cannot send in another's name
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.conf.cali124fe98984d.rp_filter=1
    # lab.yaml:46 (container pod-2a): and at once
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.neigh.cali044d43f4ba0.proxy_delay=0
    # lab.yaml:49 (container pod-2b): and at once
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv4.neigh.cali124fe98984d.proxy_delay=0
    # lab.yaml:46 (container pod-2a): the pod's gateway answers at once
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv6.conf.cali044d43f4ba0.accept_dad=0
    # lab.yaml:46 (container pod-2a): its packets go on
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv6.conf.cali044d43f4ba0.forwarding=1
    # lab.yaml:46 (container pod-2a): the same for IPv6
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv6.conf.cali044d43f4ba0.proxy_ndp=1
    # lab.yaml:49 (container pod-2b): the pod's gateway answers at once
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv6.conf.cali124fe98984d.accept_dad=0
    # lab.yaml:49 (container pod-2b): its packets go on
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv6.conf.cali124fe98984d.forwarding=1
    # lab.yaml:49 (container pod-2b): the same for IPv6
    ip netns exec calico-bgp.node2 sysctl -q -w net.ipv6.conf.cali124fe98984d.proxy_ndp=1
    # lab.yaml:25 (node2 eth0)
    ip -n calico-bgp.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0
    # lab.yaml:25 (node2 eth0)
    ip -n calico-bgp.node2 addr add fd00:10:168::3/64 dev eth0 nodad
    # network 10.244.0.64/26 of ours
    ip -n calico-bgp.node2 route add blackhole 10.244.0.64/26 metric 32 proto bird
    # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.node2 route add 10.244.0.64/32 dev cali044d43f4ba0
    # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.node2 route add 10.244.0.65/32 dev cali124fe98984d
    # lab.yaml:22 (node2 route 0)
    ip -n calico-bgp.node2 route add default via 10.168.0.1 dev eth0
    # BGP from Mesh_10_168_0_2
    ip -n calico-bgp.node2 route add 10.244.0.0/26 via 10.168.0.2 dev eth0 metric 32 proto bird
    # BGP from Mesh_10_168_0_4
    ip -n calico-bgp.node2 route add 10.244.0.128/26 via 10.168.0.4 dev eth0 metric 32 proto bird
    # network fd00:10:244::40/122 of ours
    ip -n calico-bgp.node2 -6 route add blackhole fd00:10:244::40/122 metric 32 proto bird
    # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.node2 -6 route add fd00:10:244::40/128 dev cali044d43f4ba0
    # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.node2 -6 route add fd00:10:244::41/128 dev cali124fe98984d
    # lab.yaml:22 (node2 route 1)
    ip -n calico-bgp.node2 -6 route add default via fd00:10:168::1 dev eth0
    # BGP from Mesh_fd00_10_168__2
    ip -n calico-bgp.node2 -6 route add fd00:10:244::/122 via fd00:10:168::2 dev eth0 metric 32 proto bird
    # BGP from Mesh_fd00_10_168__4
    ip -n calico-bgp.node2 -6 route add fd00:10:244::80/122 via fd00:10:168::4 dev eth0 metric 32 proto bird
    ip netns exec calico-bgp.node2 ipset create -exist cali40all-ipam-pools hash:net               # all IPPools
    ip netns exec calico-bgp.node2 ipset add cali40all-ipam-pools 10.244.0.0/16                    # all IPPools
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node2 ipset create -exist cali40masq-ipam-pools hash:net
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node2 ipset add cali40masq-ipam-pools 10.244.0.0/16
    ip netns exec calico-bgp.node2 ipset create -exist cali60all-ipam-pools hash:net family inet6  # all IPPools
    ip netns exec calico-bgp.node2 ipset add cali60all-ipam-pools fd00:10:244::/48                 # all IPPools
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node2 ipset create -exist cali60masq-ipam-pools hash:net family inet6
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node2 ipset add cali60masq-ipam-pools fd00:10:244::/48
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node2 iptables -t nat -N cali-POSTROUTING
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node2 iptables -t nat -N cali-nat-outgoing
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node2 iptables -t nat -A cali-POSTROUTING -j cali-nat-outgoing
    # natOutgoing of IPPool default-ipv4-ippool: nobody outside has a way back to a pod
    ip netns exec calico-bgp.node2 iptables -t nat -A cali-nat-outgoing -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node2 iptables -t nat -A POSTROUTING -j cali-POSTROUTING
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node2 ip6tables -t nat -N cali-POSTROUTING
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node2 ip6tables -t nat -N cali-nat-outgoing
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node2 ip6tables -t nat -A cali-POSTROUTING -j cali-nat-outgoing
    # natOutgoing of IPPool default-ipv6-ippool: nobody outside has a way back to a pod
    ip netns exec calico-bgp.node2 ip6tables -t nat -A cali-nat-outgoing -m set --match-set cali60masq-ipam-pools src -m set ! --match-set cali60all-ipam-pools dst -j MASQUERADE --random-fully
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node2 ip6tables -t nat -A POSTROUTING -j cali-POSTROUTING

    # --- node calico-bgp.node3
    # Calico: a node is the router of its pods
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.ip_forward=1
    # Calico: a node is the router of its pods
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.node3 link set cali099259c617c up
    # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.node3 link set cali4f78e339d5d up
    # lab.yaml:29 (node3 eth0)
    ip -n calico-bgp.node3 link set eth0 up
    ip -n calico-bgp.node3 link set lo up                                                          # lab.yaml:27 (node3)
    # lab.yaml:47 (container pod-3a): its packets go on
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.conf.cali099259c617c.forwarding=1
    # lab.yaml:47 (container pod-3a): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.conf.cali099259c617c.proxy_arp=1
    # lab.yaml:47 (container pod-3a): a pod cannot send in another's name
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.conf.cali099259c617c.rp_filter=1
    # lab.yaml:50 (container pod-3b): its packets go on
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.conf.cali4f78e339d5d.forwarding=1
    # lab.yaml:50 (container pod-3b): answers for 169.254.1.1, and for all that the node has a way to
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.conf.cali4f78e339d5d.proxy_arp=1
    # lab.yaml:50 (container pod-3b): a pod cannot send in another's name
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.conf.cali4f78e339d5d.rp_filter=1
    # lab.yaml:47 (container pod-3a): and at once
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.neigh.cali099259c617c.proxy_delay=0
    # lab.yaml:50 (container pod-3b): and at once
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv4.neigh.cali4f78e339d5d.proxy_delay=0
    # lab.yaml:47 (container pod-3a): the pod's gateway answers at once
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv6.conf.cali099259c617c.accept_dad=0
    # lab.yaml:47 (container pod-3a): its packets go on
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv6.conf.cali099259c617c.forwarding=1
    # lab.yaml:47 (container pod-3a): the same for IPv6
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv6.conf.cali099259c617c.proxy_ndp=1
    # lab.yaml:50 (container pod-3b): the pod's gateway answers at once
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv6.conf.cali4f78e339d5d.accept_dad=0
    # lab.yaml:50 (container pod-3b): its packets go on
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv6.conf.cali4f78e339d5d.forwarding=1
    # lab.yaml:50 (container pod-3b): the same for IPv6
    ip netns exec calico-bgp.node3 sysctl -q -w net.ipv6.conf.cali4f78e339d5d.proxy_ndp=1
    # lab.yaml:29 (node3 eth0)
    ip -n calico-bgp.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0
    # lab.yaml:29 (node3 eth0)
    ip -n calico-bgp.node3 addr add fd00:10:168::4/64 dev eth0 nodad
    # network 10.244.0.128/26 of ours
    ip -n calico-bgp.node3 route add blackhole 10.244.0.128/26 metric 32 proto bird
    # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.node3 route add 10.244.0.128/32 dev cali099259c617c
    # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.node3 route add 10.244.0.129/32 dev cali4f78e339d5d
    # lab.yaml:22 (node3 route 0)
    ip -n calico-bgp.node3 route add default via 10.168.0.1 dev eth0
    # BGP from Mesh_10_168_0_2
    ip -n calico-bgp.node3 route add 10.244.0.0/26 via 10.168.0.2 dev eth0 metric 32 proto bird
    # BGP from Mesh_10_168_0_3
    ip -n calico-bgp.node3 route add 10.244.0.64/26 via 10.168.0.3 dev eth0 metric 32 proto bird
    # network fd00:10:244::80/122 of ours
    ip -n calico-bgp.node3 -6 route add blackhole fd00:10:244::80/122 metric 32 proto bird
    # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.node3 -6 route add fd00:10:244::80/128 dev cali099259c617c
    # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.node3 -6 route add fd00:10:244::81/128 dev cali4f78e339d5d
    # lab.yaml:22 (node3 route 1)
    ip -n calico-bgp.node3 -6 route add default via fd00:10:168::1 dev eth0
    # BGP from Mesh_fd00_10_168__2
    ip -n calico-bgp.node3 -6 route add fd00:10:244::/122 via fd00:10:168::2 dev eth0 metric 32 proto bird
    # BGP from Mesh_fd00_10_168__3
    ip -n calico-bgp.node3 -6 route add fd00:10:244::40/122 via fd00:10:168::3 dev eth0 metric 32 proto bird
    ip netns exec calico-bgp.node3 ipset create -exist cali40all-ipam-pools hash:net               # all IPPools
    ip netns exec calico-bgp.node3 ipset add cali40all-ipam-pools 10.244.0.0/16                    # all IPPools
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node3 ipset create -exist cali40masq-ipam-pools hash:net
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node3 ipset add cali40masq-ipam-pools 10.244.0.0/16
    ip netns exec calico-bgp.node3 ipset create -exist cali60all-ipam-pools hash:net family inet6  # all IPPools
    ip netns exec calico-bgp.node3 ipset add cali60all-ipam-pools fd00:10:244::/48                 # all IPPools
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node3 ipset create -exist cali60masq-ipam-pools hash:net family inet6
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node3 ipset add cali60masq-ipam-pools fd00:10:244::/48
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node3 iptables -t nat -N cali-POSTROUTING
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node3 iptables -t nat -N cali-nat-outgoing
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node3 iptables -t nat -A cali-POSTROUTING -j cali-nat-outgoing
    # natOutgoing of IPPool default-ipv4-ippool: nobody outside has a way back to a pod
    ip netns exec calico-bgp.node3 iptables -t nat -A cali-nat-outgoing -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully
    # natOutgoing of IPPool default-ipv4-ippool
    ip netns exec calico-bgp.node3 iptables -t nat -A POSTROUTING -j cali-POSTROUTING
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node3 ip6tables -t nat -N cali-POSTROUTING
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node3 ip6tables -t nat -N cali-nat-outgoing
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node3 ip6tables -t nat -A cali-POSTROUTING -j cali-nat-outgoing
    # natOutgoing of IPPool default-ipv6-ippool: nobody outside has a way back to a pod
    ip netns exec calico-bgp.node3 ip6tables -t nat -A cali-nat-outgoing -m set --match-set cali60masq-ipam-pools src -m set ! --match-set cali60all-ipam-pools dst -j MASQUERADE --random-fully
    # natOutgoing of IPPool default-ipv6-ippool
    ip netns exec calico-bgp.node3 ip6tables -t nat -A POSTROUTING -j cali-POSTROUTING

    # --- node calico-bgp.gateway
    ip netns exec calico-bgp.gateway sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:35 (gateway forward)
    ip netns exec calico-bgp.gateway sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:35 (gateway forward)
    ip -n calico-bgp.gateway link set eth0 up                                     # lab.yaml:33 (gateway eth0)
    ip -n calico-bgp.gateway link set eth1 up                                     # lab.yaml:34 (gateway eth1)
    ip -n calico-bgp.gateway link set lo up                                       # lab.yaml:31 (gateway)
    ip -n calico-bgp.gateway addr add 10.168.0.1/24 brd 10.168.0.255 dev eth0     # lab.yaml:33 (gateway eth0)
    ip -n calico-bgp.gateway addr add fd00:10:168::1/64 dev eth0 nodad            # lab.yaml:33 (gateway eth0)
    ip -n calico-bgp.gateway addr add 192.0.2.1/24 brd 192.0.2.255 dev eth1       # lab.yaml:34 (gateway eth1)
    ip -n calico-bgp.gateway addr add fd00:192:0:2::1/64 dev eth1 nodad           # lab.yaml:34 (gateway eth1)

    # --- node calico-bgp.outside
    ip -n calico-bgp.outside link set eth0 up                                            # lab.yaml:39 (outside eth0)
    ip -n calico-bgp.outside link set lo up                                              # lab.yaml:37 (outside)
    ip -n calico-bgp.outside addr add 192.0.2.80/24 brd 192.0.2.255 dev eth0             # lab.yaml:39 (outside eth0)
    ip -n calico-bgp.outside addr add fd00:192:0:2::80/64 dev eth0 nodad                 # lab.yaml:39 (outside eth0)
    ip -n calico-bgp.outside route add 10.168.0.0/24 via 192.0.2.1 dev eth0              # lab.yaml:40 (outside route 0)
    ip -n calico-bgp.outside -6 route add fd00:10:168::/64 via fd00:192:0:2::1 dev eth0  # lab.yaml:40 (outside route 1)

    # --- node calico-bgp.pod-1a
    ip -n calico-bgp.pod-1a link set eth0 up                            # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.pod-1a link set lo up                              # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.pod-1a addr add 10.244.0.0/32 dev eth0             # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.pod-1a addr add fd00:10:244::/128 dev eth0 nodad   # lab.yaml:45 (container pod-1a)
    # lab.yaml:45 (container pod-1a): nobody has it, the node answers for it
    ip -n calico-bgp.pod-1a route add 169.254.1.1/32 dev eth0
    ip -n calico-bgp.pod-1a route add default via 169.254.1.1 dev eth0  # lab.yaml:45 (container pod-1a)
    # lab.yaml:45 (container pod-1a)
    ip -n calico-bgp.pod-1a -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-bgp.pod-2a
    ip -n calico-bgp.pod-2a link set eth0 up                             # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.pod-2a link set lo up                               # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.pod-2a addr add 10.244.0.64/32 dev eth0             # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.pod-2a addr add fd00:10:244::40/128 dev eth0 nodad  # lab.yaml:46 (container pod-2a)
    # lab.yaml:46 (container pod-2a): nobody has it, the node answers for it
    ip -n calico-bgp.pod-2a route add 169.254.1.1/32 dev eth0
    ip -n calico-bgp.pod-2a route add default via 169.254.1.1 dev eth0   # lab.yaml:46 (container pod-2a)
    # lab.yaml:46 (container pod-2a)
    ip -n calico-bgp.pod-2a -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-bgp.pod-3a
    ip -n calico-bgp.pod-3a link set eth0 up                             # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.pod-3a link set lo up                               # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.pod-3a addr add 10.244.0.128/32 dev eth0            # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.pod-3a addr add fd00:10:244::80/128 dev eth0 nodad  # lab.yaml:47 (container pod-3a)
    # lab.yaml:47 (container pod-3a): nobody has it, the node answers for it
    ip -n calico-bgp.pod-3a route add 169.254.1.1/32 dev eth0
    ip -n calico-bgp.pod-3a route add default via 169.254.1.1 dev eth0   # lab.yaml:47 (container pod-3a)
    # lab.yaml:47 (container pod-3a)
    ip -n calico-bgp.pod-3a -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-bgp.pod-1b
    ip -n calico-bgp.pod-1b link set eth0 up                            # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.pod-1b link set lo up                              # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.pod-1b addr add 10.244.0.1/32 dev eth0             # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.pod-1b addr add fd00:10:244::1/128 dev eth0 nodad  # lab.yaml:48 (container pod-1b)
    # lab.yaml:48 (container pod-1b): nobody has it, the node answers for it
    ip -n calico-bgp.pod-1b route add 169.254.1.1/32 dev eth0
    ip -n calico-bgp.pod-1b route add default via 169.254.1.1 dev eth0  # lab.yaml:48 (container pod-1b)
    # lab.yaml:48 (container pod-1b)
    ip -n calico-bgp.pod-1b -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-bgp.pod-2b
    ip -n calico-bgp.pod-2b link set eth0 up                             # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.pod-2b link set lo up                               # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.pod-2b addr add 10.244.0.65/32 dev eth0             # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.pod-2b addr add fd00:10:244::41/128 dev eth0 nodad  # lab.yaml:49 (container pod-2b)
    # lab.yaml:49 (container pod-2b): nobody has it, the node answers for it
    ip -n calico-bgp.pod-2b route add 169.254.1.1/32 dev eth0
    ip -n calico-bgp.pod-2b route add default via 169.254.1.1 dev eth0   # lab.yaml:49 (container pod-2b)
    # lab.yaml:49 (container pod-2b)
    ip -n calico-bgp.pod-2b -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

    # --- node calico-bgp.pod-3b
    ip -n calico-bgp.pod-3b link set eth0 up                             # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.pod-3b link set lo up                               # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.pod-3b addr add 10.244.0.129/32 dev eth0            # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.pod-3b addr add fd00:10:244::81/128 dev eth0 nodad  # lab.yaml:50 (container pod-3b)
    # lab.yaml:50 (container pod-3b): nobody has it, the node answers for it
    ip -n calico-bgp.pod-3b route add 169.254.1.1/32 dev eth0
    ip -n calico-bgp.pod-3b route add default via 169.254.1.1 dev eth0   # lab.yaml:50 (container pod-3b)
    # lab.yaml:50 (container pod-3b)
    ip -n calico-bgp.pod-3b -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0

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
