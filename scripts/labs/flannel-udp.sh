#!/bin/sh
# flannel udp: packets through a program
#
# Three Docker hosts whose docker0 has the subnet that flannel has granted to each, a gateway, and a machine beyond it.
# What goes to another host's containers goes into flannel0, a TUN device: flanneld reads it there, sends it in a UDP
# packet to the flanneld of the other host, and that one writes it into its own flannel0. As a script of ip and iptables
# this lab is complete but for flanneld itself: flannel0 is there, and nobody reads it, so nothing gets across.
#
#   sh flannel-udp.sh up      builds it
#   sh flannel-udp.sh down    removes all of it
set -eu

run=/run/netlab-script-flannel-udp
namespaces='flannel-udp.lan flannel-udp.world flannel-udp.node1 flannel-udp.node2 flannel-udp.node3 flannel-udp.gateway flannel-udp.outside flannel-udp.container-1 flannel-udp.container-2 flannel-udp.container-3'

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
    ip netns add flannel-udp.lan
    ip netns add flannel-udp.world
    ip netns add flannel-udp.node1
    ip netns add flannel-udp.node2
    ip netns add flannel-udp.node3
    ip netns add flannel-udp.gateway
    ip netns add flannel-udp.outside
    ip netns add flannel-udp.container-1
    ip netns add flannel-udp.container-2
    ip netns add flannel-udp.container-3

    # --- cables: veth pairs
    # lab.yaml:48 (gateway eth0)
    ip -n flannel-udp.lan link add gateway-eth0 address 02:c2:33:2d:76:b5 type veth peer name eth0 address 02:c8:7a:e3:58:8e netns flannel-udp.gateway
    # lab.yaml:23 (node1 eth0)
    ip -n flannel-udp.lan link add node1-eth0 address 02:78:dc:e7:0a:81 type veth peer name eth0 address 02:42:0a:a8:00:02 netns flannel-udp.node1
    # lab.yaml:31 (node2 eth0)
    ip -n flannel-udp.lan link add node2-eth0 address 02:2e:0e:50:22:d4 type veth peer name eth0 address 02:42:0a:a8:00:03 netns flannel-udp.node2
    # lab.yaml:39 (node3 eth0)
    ip -n flannel-udp.lan link add node3-eth0 address 02:08:1f:f8:95:87 type veth peer name eth0 address 02:42:0a:a8:00:04 netns flannel-udp.node3
    # lab.yaml:49 (gateway eth1)
    ip -n flannel-udp.gateway link add eth1 address 02:89:f3:6e:13:63 type veth peer name gateway-eth1 address 02:b6:ef:69:d2:a3 netns flannel-udp.world
    # lab.yaml:60 (container container-1)
    ip -n flannel-udp.node1 link add vethb5a2c10 address 02:fa:a0:de:4f:5f mtu 1472 type veth peer name eth0 address 02:42:64:60:01:02 mtu 1472 netns flannel-udp.container-1
    # lab.yaml:65 (container container-2)
    ip -n flannel-udp.node2 link add vethd4e7f21 address 02:54:fc:ef:ca:07 mtu 1472 type veth peer name eth0 address 02:42:64:60:02:03 mtu 1472 netns flannel-udp.container-2
    # lab.yaml:70 (container container-3)
    ip -n flannel-udp.node3 link add vetha8c3e32 address 02:55:b3:38:92:fb mtu 1472 type veth peer name eth0 address 02:42:64:60:03:02 mtu 1472 netns flannel-udp.container-3
    # lab.yaml:55 (outside eth0)
    ip -n flannel-udp.world link add outside-eth0 address 02:e6:57:c5:ec:9a type veth peer name eth0 address 02:a5:90:84:98:b8 netns flannel-udp.outside

    # --- node flannel-udp.lan
    ip -n flannel-udp.lan link add lan address 02:50:a6:55:3d:46 type bridge  # lab.yaml:13 (network lan)
    ip -n flannel-udp.lan link set lan up                                     # lab.yaml:13 (network lan)
    ip -n flannel-udp.lan link set gateway-eth0 master lan                    # lab.yaml:48 (gateway eth0)
    ip -n flannel-udp.lan link set gateway-eth0 up                            # lab.yaml:48 (gateway eth0)
    ip -n flannel-udp.lan link set lo up                                      # lab.yaml:13 (network lan)
    ip -n flannel-udp.lan link set node1-eth0 master lan                      # lab.yaml:23 (node1 eth0)
    ip -n flannel-udp.lan link set node1-eth0 up                              # lab.yaml:23 (node1 eth0)
    ip -n flannel-udp.lan link set node2-eth0 master lan                      # lab.yaml:31 (node2 eth0)
    ip -n flannel-udp.lan link set node2-eth0 up                              # lab.yaml:31 (node2 eth0)
    ip -n flannel-udp.lan link set node3-eth0 master lan                      # lab.yaml:39 (node3 eth0)
    ip -n flannel-udp.lan link set node3-eth0 up                              # lab.yaml:39 (node3 eth0)

    # --- node flannel-udp.world
    ip -n flannel-udp.world link add world address 02:59:f8:68:83:21 type bridge  # lab.yaml:16 (network world)
    ip -n flannel-udp.world link set world up                                     # lab.yaml:16 (network world)
    ip -n flannel-udp.world link set gateway-eth1 master world                    # lab.yaml:49 (gateway eth1)
    ip -n flannel-udp.world link set gateway-eth1 up                              # lab.yaml:49 (gateway eth1)
    ip -n flannel-udp.world link set lo up                                        # lab.yaml:16 (network world)
    ip -n flannel-udp.world link set outside-eth0 master world                    # lab.yaml:55 (outside eth0)
    ip -n flannel-udp.world link set outside-eth0 up                              # lab.yaml:55 (outside eth0)

    # --- node flannel-udp.node1
    ip netns exec flannel-udp.node1 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:27 (node1 forward)
    ip netns exec flannel-udp.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:27 (node1 forward)
    # lab.yaml:25 (node1 bridge docker0)
    ip -n flannel-udp.node1 link add docker0 address 02:42:64:60:01:01 mtu 1472 type bridge
    ip -n flannel-udp.node1 link set docker0 up                                  # lab.yaml:25 (node1 bridge docker0)
    ip -n flannel-udp.node1 link set eth0 up                                     # lab.yaml:23 (node1 eth0)
    ip -n flannel-udp.node1 tuntap add dev flannel0 mode tun vnet_hdr            # flanneld udp, own lease 100.96.1.0/24
    ip -n flannel-udp.node1 link set flannel0 mtu 1472                           # flanneld udp, own lease 100.96.1.0/24
    ip -n flannel-udp.node1 link set flannel0 up                                 # flanneld udp, own lease 100.96.1.0/24
    ip -n flannel-udp.node1 link set lo up                                       # lab.yaml:21 (node1)
    ip -n flannel-udp.node1 link set vethb5a2c10 master docker0                  # lab.yaml:60 (container container-1)
    ip -n flannel-udp.node1 link set vethb5a2c10 up                              # lab.yaml:60 (container container-1)
    # flanneld udp, own lease 100.96.1.0/24: ICMP errors
    ip netns exec flannel-udp.node1 sysctl -q -w net.ipv4.conf.flannel0.accept_local=1
    ip -n flannel-udp.node1 addr add 100.96.1.1/24 brd 100.96.1.255 dev docker0  # lab.yaml:25 (node1 bridge docker0)
    ip -n flannel-udp.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0     # lab.yaml:23 (node1 eth0)
    ip -n flannel-udp.node1 addr add 100.96.1.0/16 dev flannel0                  # flanneld udp, own lease 100.96.1.0/24
    ip -n flannel-udp.node1 route add default via 10.168.0.1 dev eth0            # lab.yaml:26 (node1 route 0)
    # flanneld --ip-masq, subnet 100.96.1.0/24
    ip netns exec flannel-udp.node1 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 100.96.1.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-udp.node1 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.1.0/24: pods see each other's own addresses
    ip netns exec flannel-udp.node1 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.1.0/24 -d 100.96.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.1.0/24: pods see each other's own addresses
    ip netns exec flannel-udp.node1 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.0.0/16 -d 100.96.1.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.1.0/24: a pod sees who calls from outside
    ip netns exec flannel-udp.node1 iptables -t nat -A FLANNEL-POSTRTG ! -s 100.96.0.0/16 -d 100.96.1.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.1.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-udp.node1 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 100.96.1.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-udp.node1 iptables -t nat -A FLANNEL-POSTRTG ! -s 100.96.0.0/16 -d 100.96.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 100.96.1.0/24
    ip netns exec flannel-udp.node1 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-udp.node1 iptables -N FLANNEL-FWD                      # flanneld, network 100.96.0.0/16
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node1 iptables -A FLANNEL-FWD -s 100.96.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node1 iptables -A FLANNEL-FWD -d 100.96.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-udp.node1 iptables -P FORWARD DROP                     # lab.yaml:28 (node1 forward_policy)
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node1 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    ip netns exec flannel-udp.node1 ip6tables -P FORWARD DROP                    # lab.yaml:28 (node1 forward_policy)

    # --- node flannel-udp.node2
    ip netns exec flannel-udp.node2 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:35 (node2 forward)
    ip netns exec flannel-udp.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:35 (node2 forward)
    # lab.yaml:33 (node2 bridge docker0)
    ip -n flannel-udp.node2 link add docker0 address 02:42:64:60:02:01 mtu 1472 type bridge
    ip -n flannel-udp.node2 link set docker0 up                                  # lab.yaml:33 (node2 bridge docker0)
    ip -n flannel-udp.node2 link set eth0 up                                     # lab.yaml:31 (node2 eth0)
    ip -n flannel-udp.node2 tuntap add dev flannel0 mode tun vnet_hdr            # flanneld udp, own lease 100.96.2.0/24
    ip -n flannel-udp.node2 link set flannel0 mtu 1472                           # flanneld udp, own lease 100.96.2.0/24
    ip -n flannel-udp.node2 link set flannel0 up                                 # flanneld udp, own lease 100.96.2.0/24
    ip -n flannel-udp.node2 link set lo up                                       # lab.yaml:29 (node2)
    ip -n flannel-udp.node2 link set vethd4e7f21 master docker0                  # lab.yaml:65 (container container-2)
    ip -n flannel-udp.node2 link set vethd4e7f21 up                              # lab.yaml:65 (container container-2)
    # flanneld udp, own lease 100.96.2.0/24: ICMP errors
    ip netns exec flannel-udp.node2 sysctl -q -w net.ipv4.conf.flannel0.accept_local=1
    ip -n flannel-udp.node2 addr add 100.96.2.1/24 brd 100.96.2.255 dev docker0  # lab.yaml:33 (node2 bridge docker0)
    ip -n flannel-udp.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0     # lab.yaml:31 (node2 eth0)
    ip -n flannel-udp.node2 addr add 100.96.2.0/16 dev flannel0                  # flanneld udp, own lease 100.96.2.0/24
    ip -n flannel-udp.node2 route add default via 10.168.0.1 dev eth0            # lab.yaml:34 (node2 route 0)
    # flanneld --ip-masq, subnet 100.96.2.0/24
    ip netns exec flannel-udp.node2 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 100.96.2.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-udp.node2 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.2.0/24: pods see each other's own addresses
    ip netns exec flannel-udp.node2 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.2.0/24 -d 100.96.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.2.0/24: pods see each other's own addresses
    ip netns exec flannel-udp.node2 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.0.0/16 -d 100.96.2.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.2.0/24: a pod sees who calls from outside
    ip netns exec flannel-udp.node2 iptables -t nat -A FLANNEL-POSTRTG ! -s 100.96.0.0/16 -d 100.96.2.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.2.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-udp.node2 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 100.96.2.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-udp.node2 iptables -t nat -A FLANNEL-POSTRTG ! -s 100.96.0.0/16 -d 100.96.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 100.96.2.0/24
    ip netns exec flannel-udp.node2 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-udp.node2 iptables -N FLANNEL-FWD                      # flanneld, network 100.96.0.0/16
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node2 iptables -A FLANNEL-FWD -s 100.96.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node2 iptables -A FLANNEL-FWD -d 100.96.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-udp.node2 iptables -P FORWARD DROP                     # lab.yaml:36 (node2 forward_policy)
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node2 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    ip netns exec flannel-udp.node2 ip6tables -P FORWARD DROP                    # lab.yaml:36 (node2 forward_policy)

    # --- node flannel-udp.node3
    ip netns exec flannel-udp.node3 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:43 (node3 forward)
    ip netns exec flannel-udp.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:43 (node3 forward)
    # lab.yaml:41 (node3 bridge docker0)
    ip -n flannel-udp.node3 link add docker0 address 02:42:64:60:03:01 mtu 1472 type bridge
    ip -n flannel-udp.node3 link set docker0 up                                  # lab.yaml:41 (node3 bridge docker0)
    ip -n flannel-udp.node3 link set eth0 up                                     # lab.yaml:39 (node3 eth0)
    ip -n flannel-udp.node3 tuntap add dev flannel0 mode tun vnet_hdr            # flanneld udp, own lease 100.96.3.0/24
    ip -n flannel-udp.node3 link set flannel0 mtu 1472                           # flanneld udp, own lease 100.96.3.0/24
    ip -n flannel-udp.node3 link set flannel0 up                                 # flanneld udp, own lease 100.96.3.0/24
    ip -n flannel-udp.node3 link set lo up                                       # lab.yaml:37 (node3)
    ip -n flannel-udp.node3 link set vetha8c3e32 master docker0                  # lab.yaml:70 (container container-3)
    ip -n flannel-udp.node3 link set vetha8c3e32 up                              # lab.yaml:70 (container container-3)
    # flanneld udp, own lease 100.96.3.0/24: ICMP errors
    ip netns exec flannel-udp.node3 sysctl -q -w net.ipv4.conf.flannel0.accept_local=1
    ip -n flannel-udp.node3 addr add 100.96.3.1/24 brd 100.96.3.255 dev docker0  # lab.yaml:41 (node3 bridge docker0)
    ip -n flannel-udp.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0     # lab.yaml:39 (node3 eth0)
    ip -n flannel-udp.node3 addr add 100.96.3.0/16 dev flannel0                  # flanneld udp, own lease 100.96.3.0/24
    ip -n flannel-udp.node3 route add default via 10.168.0.1 dev eth0            # lab.yaml:42 (node3 route 0)
    # flanneld --ip-masq, subnet 100.96.3.0/24
    ip netns exec flannel-udp.node3 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 100.96.3.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-udp.node3 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.3.0/24: pods see each other's own addresses
    ip netns exec flannel-udp.node3 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.3.0/24 -d 100.96.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.3.0/24: pods see each other's own addresses
    ip netns exec flannel-udp.node3 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.0.0/16 -d 100.96.3.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.3.0/24: a pod sees who calls from outside
    ip netns exec flannel-udp.node3 iptables -t nat -A FLANNEL-POSTRTG ! -s 100.96.0.0/16 -d 100.96.3.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 100.96.3.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-udp.node3 iptables -t nat -A FLANNEL-POSTRTG -s 100.96.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 100.96.3.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-udp.node3 iptables -t nat -A FLANNEL-POSTRTG ! -s 100.96.0.0/16 -d 100.96.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 100.96.3.0/24
    ip netns exec flannel-udp.node3 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-udp.node3 iptables -N FLANNEL-FWD                      # flanneld, network 100.96.0.0/16
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node3 iptables -A FLANNEL-FWD -s 100.96.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node3 iptables -A FLANNEL-FWD -d 100.96.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-udp.node3 iptables -P FORWARD DROP                     # lab.yaml:44 (node3 forward_policy)
    # flanneld, network 100.96.0.0/16
    ip netns exec flannel-udp.node3 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    ip netns exec flannel-udp.node3 ip6tables -P FORWARD DROP                    # lab.yaml:44 (node3 forward_policy)

    # --- node flannel-udp.gateway
    ip netns exec flannel-udp.gateway sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:50 (gateway forward)
    ip netns exec flannel-udp.gateway sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:50 (gateway forward)
    ip -n flannel-udp.gateway link set eth0 up                                     # lab.yaml:48 (gateway eth0)
    ip -n flannel-udp.gateway link set eth1 up                                     # lab.yaml:49 (gateway eth1)
    ip -n flannel-udp.gateway link set lo up                                       # lab.yaml:46 (gateway)
    ip -n flannel-udp.gateway addr add 10.168.0.1/24 brd 10.168.0.255 dev eth0     # lab.yaml:48 (gateway eth0)
    ip -n flannel-udp.gateway addr add 192.0.2.1/24 brd 192.0.2.255 dev eth1       # lab.yaml:49 (gateway eth1)

    # --- node flannel-udp.outside
    ip -n flannel-udp.outside link set eth0 up                                 # lab.yaml:55 (outside eth0)
    ip -n flannel-udp.outside link set lo up                                   # lab.yaml:53 (outside)
    ip -n flannel-udp.outside addr add 192.0.2.80/24 brd 192.0.2.255 dev eth0  # lab.yaml:55 (outside eth0)
    ip -n flannel-udp.outside route add 10.168.0.0/24 via 192.0.2.1 dev eth0   # lab.yaml:56 (outside route 0)

    # --- node flannel-udp.container-1
    ip -n flannel-udp.container-1 link set eth0 up  # lab.yaml:60 (container container-1)
    ip -n flannel-udp.container-1 link set lo up    # lab.yaml:60 (container container-1)
    # lab.yaml:60 (container container-1)
    ip -n flannel-udp.container-1 addr add 100.96.1.2/24 brd 100.96.1.255 dev eth0
    # lab.yaml:60 (container container-1 gateway)
    ip -n flannel-udp.container-1 route add default via 100.96.1.1 dev eth0

    # --- node flannel-udp.container-2
    ip -n flannel-udp.container-2 link set eth0 up  # lab.yaml:65 (container container-2)
    ip -n flannel-udp.container-2 link set lo up    # lab.yaml:65 (container container-2)
    # lab.yaml:65 (container container-2)
    ip -n flannel-udp.container-2 addr add 100.96.2.3/24 brd 100.96.2.255 dev eth0
    # lab.yaml:65 (container container-2 gateway)
    ip -n flannel-udp.container-2 route add default via 100.96.2.1 dev eth0

    # --- node flannel-udp.container-3
    ip -n flannel-udp.container-3 link set eth0 up  # lab.yaml:70 (container container-3)
    ip -n flannel-udp.container-3 link set lo up    # lab.yaml:70 (container container-3)
    # lab.yaml:70 (container container-3)
    ip -n flannel-udp.container-3 addr add 100.96.3.2/24 brd 100.96.3.255 dev eth0
    # lab.yaml:70 (container container-3 gateway)
    ip -n flannel-udp.container-3 route add default via 100.96.3.1 dev eth0

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
