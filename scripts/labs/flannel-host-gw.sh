#!/bin/sh
# flannel host-gw: the node is the gateway
#
# Three Kubernetes nodes with the bridge cni0 and pods on it, and a machine outside that knows nothing of pods. flanneld
# on each node makes every other node the next hop to its pods: no tunnel, no device of its own, one route per node.
#
#   sh flannel-host-gw.sh up      builds it
#   sh flannel-host-gw.sh down    removes all of it
set -eu

run=/run/netlab-script-flannel-host-gw
namespaces='flannel-host-gw.lan flannel-host-gw.node1 flannel-host-gw.node2 flannel-host-gw.node3 flannel-host-gw.outside flannel-host-gw.infra-container-1 flannel-host-gw.infra-container-2 flannel-host-gw.infra-container-3'

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
    ip netns add flannel-host-gw.lan
    ip netns add flannel-host-gw.node1
    ip netns add flannel-host-gw.node2
    ip netns add flannel-host-gw.node3
    ip netns add flannel-host-gw.outside
    ip netns add flannel-host-gw.infra-container-1
    ip netns add flannel-host-gw.infra-container-2
    ip netns add flannel-host-gw.infra-container-3

    # --- cables: veth pairs
    # lab.yaml:17 (node1 eth0)
    ip -n flannel-host-gw.lan link add node1-eth0 address 02:59:55:e1:55:ae type veth peer name eth0 address 02:42:0a:a8:00:02 netns flannel-host-gw.node1
    # lab.yaml:24 (node2 eth0)
    ip -n flannel-host-gw.lan link add node2-eth0 address 02:31:4d:fe:95:e0 type veth peer name eth0 address 02:42:0a:a8:00:03 netns flannel-host-gw.node2
    # lab.yaml:31 (node3 eth0)
    ip -n flannel-host-gw.lan link add node3-eth0 address 02:37:58:87:b6:03 type veth peer name eth0 address 02:42:0a:a8:00:04 netns flannel-host-gw.node3
    # lab.yaml:40 (outside eth0)
    ip -n flannel-host-gw.lan link add outside-eth0 address 02:c5:fb:11:e3:4e type veth peer name eth0 address 02:75:98:2a:12:32 netns flannel-host-gw.outside
    # lab.yaml:45 (container infra-container-1)
    ip -n flannel-host-gw.node1 link add veth1a2b3c4d address 02:82:ac:6c:14:26 type veth peer name eth0 address 0a:58:0a:f4:00:02 netns flannel-host-gw.infra-container-1
    # lab.yaml:54 (container infra-container-2)
    ip -n flannel-host-gw.node2 link add veth5e6f7a8b address 02:49:9d:48:60:1c type veth peer name eth0 address 0a:58:0a:f4:01:03 netns flannel-host-gw.infra-container-2
    # lab.yaml:63 (container infra-container-3)
    ip -n flannel-host-gw.node3 link add veth9c0d1e2f address 02:4f:e0:3e:35:7a type veth peer name eth0 address 0a:58:0a:f4:02:02 netns flannel-host-gw.infra-container-3

    # --- node flannel-host-gw.lan
    ip -n flannel-host-gw.lan link add lan address 02:5c:cf:e8:f1:f1 type bridge  # lab.yaml:11 (network lan)
    ip -n flannel-host-gw.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n flannel-host-gw.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n flannel-host-gw.lan link set node1-eth0 master lan                      # lab.yaml:17 (node1 eth0)
    ip -n flannel-host-gw.lan link set node1-eth0 up                              # lab.yaml:17 (node1 eth0)
    ip -n flannel-host-gw.lan link set node2-eth0 master lan                      # lab.yaml:24 (node2 eth0)
    ip -n flannel-host-gw.lan link set node2-eth0 up                              # lab.yaml:24 (node2 eth0)
    ip -n flannel-host-gw.lan link set node3-eth0 master lan                      # lab.yaml:31 (node3 eth0)
    ip -n flannel-host-gw.lan link set node3-eth0 up                              # lab.yaml:31 (node3 eth0)
    ip -n flannel-host-gw.lan link set outside-eth0 master lan                    # lab.yaml:40 (outside eth0)
    ip -n flannel-host-gw.lan link set outside-eth0 up                            # lab.yaml:40 (outside eth0)

    # --- node flannel-host-gw.node1
    ip netns exec flannel-host-gw.node1 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:20 (node1 forward)
    ip netns exec flannel-host-gw.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:20 (node1 forward)
    ip -n flannel-host-gw.node1 link add cni0 address 0a:58:0a:f4:00:01 type bridge  # lab.yaml:19 (node1 bridge cni0)
    ip -n flannel-host-gw.node1 link set cni0 up                                     # lab.yaml:19 (node1 bridge cni0)
    ip -n flannel-host-gw.node1 link set eth0 up                                     # lab.yaml:17 (node1 eth0)
    ip -n flannel-host-gw.node1 link set lo up                                       # lab.yaml:15 (node1)
    # lab.yaml:45 (container infra-container-1)
    ip -n flannel-host-gw.node1 link set veth1a2b3c4d master cni0
    # lab.yaml:45 (container infra-container-1)
    ip -n flannel-host-gw.node1 link set veth1a2b3c4d up
    ip -n flannel-host-gw.node1 addr add 10.244.0.1/24 brd 10.244.0.255 dev cni0     # lab.yaml:19 (node1 bridge cni0)
    ip -n flannel-host-gw.node1 addr add fd00:10:244::1/64 dev cni0 nodad            # lab.yaml:19 (node1 bridge cni0)
    ip -n flannel-host-gw.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0     # lab.yaml:17 (node1 eth0)
    ip -n flannel-host-gw.node1 addr add fd00:10:168::2/64 dev eth0 nodad            # lab.yaml:17 (node1 eth0)
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-host-gw.node1 route add 10.244.1.0/24 via 10.168.0.3 dev eth0
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-host-gw.node1 route add 10.244.2.0/24 via 10.168.0.4 dev eth0
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-host-gw.node1 -6 route add fd00:10:244:1::/64 via fd00:10:168::3 dev eth0
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-host-gw.node1 -6 route add fd00:10:244:2::/64 via fd00:10:168::4 dev eth0
    # flanneld --ip-masq, subnet 10.244.0.0/24
    ip netns exec flannel-host-gw.node1 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 10.244.0.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-host-gw.node1 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: pods see each other's own addresses
    ip netns exec flannel-host-gw.node1 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/24 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: pods see each other's own addresses
    ip netns exec flannel-host-gw.node1 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.0.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: a pod sees who calls from outside
    ip netns exec flannel-host-gw.node1 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-host-gw.node1 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.0.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-host-gw.node1 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.0.0/24
    ip netns exec flannel-host-gw.node1 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-host-gw.node1 iptables -N FLANNEL-FWD                      # flanneld, network 10.244.0.0/16
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node1 iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node1 iptables -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # lab.yaml:21 (node1 forward_policy)
    ip netns exec flannel-host-gw.node1 iptables -P FORWARD DROP
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node1 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    # flanneld --ip-masq, subnet fd00:10:244::/64
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet fd00:10:244::/64: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: pods see each other's own addresses
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/64 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: pods see each other's own addresses
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 -d fd00:10:244::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: a pod sees who calls from outside
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 ! -d ff00::/8 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244::/64: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244::/64
    ip netns exec flannel-host-gw.node1 ip6tables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node1 ip6tables -N FLANNEL-FWD
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node1 ip6tables -A FLANNEL-FWD -s fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node1 ip6tables -A FLANNEL-FWD -d fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # lab.yaml:21 (node1 forward_policy)
    ip netns exec flannel-host-gw.node1 ip6tables -P FORWARD DROP
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node1 ip6tables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD

    # --- node flannel-host-gw.node2
    ip netns exec flannel-host-gw.node2 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:27 (node2 forward)
    ip netns exec flannel-host-gw.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:27 (node2 forward)
    ip -n flannel-host-gw.node2 link add cni0 address 0a:58:0a:f4:01:01 type bridge  # lab.yaml:26 (node2 bridge cni0)
    ip -n flannel-host-gw.node2 link set cni0 up                                     # lab.yaml:26 (node2 bridge cni0)
    ip -n flannel-host-gw.node2 link set eth0 up                                     # lab.yaml:24 (node2 eth0)
    ip -n flannel-host-gw.node2 link set lo up                                       # lab.yaml:22 (node2)
    # lab.yaml:54 (container infra-container-2)
    ip -n flannel-host-gw.node2 link set veth5e6f7a8b master cni0
    # lab.yaml:54 (container infra-container-2)
    ip -n flannel-host-gw.node2 link set veth5e6f7a8b up
    ip -n flannel-host-gw.node2 addr add 10.244.1.1/24 brd 10.244.1.255 dev cni0     # lab.yaml:26 (node2 bridge cni0)
    ip -n flannel-host-gw.node2 addr add fd00:10:244:1::1/64 dev cni0 nodad          # lab.yaml:26 (node2 bridge cni0)
    ip -n flannel-host-gw.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0     # lab.yaml:24 (node2 eth0)
    ip -n flannel-host-gw.node2 addr add fd00:10:168::3/64 dev eth0 nodad            # lab.yaml:24 (node2 eth0)
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-host-gw.node2 route add 10.244.0.0/24 via 10.168.0.2 dev eth0
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-host-gw.node2 route add 10.244.2.0/24 via 10.168.0.4 dev eth0
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-host-gw.node2 -6 route add fd00:10:244::/64 via fd00:10:168::2 dev eth0
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-host-gw.node2 -6 route add fd00:10:244:2::/64 via fd00:10:168::4 dev eth0
    # flanneld --ip-masq, subnet 10.244.1.0/24
    ip netns exec flannel-host-gw.node2 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 10.244.1.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-host-gw.node2 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: pods see each other's own addresses
    ip netns exec flannel-host-gw.node2 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: pods see each other's own addresses
    ip netns exec flannel-host-gw.node2 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: a pod sees who calls from outside
    ip netns exec flannel-host-gw.node2 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-host-gw.node2 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.1.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-host-gw.node2 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.1.0/24
    ip netns exec flannel-host-gw.node2 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-host-gw.node2 iptables -N FLANNEL-FWD                      # flanneld, network 10.244.0.0/16
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node2 iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node2 iptables -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # lab.yaml:28 (node2 forward_policy)
    ip netns exec flannel-host-gw.node2 iptables -P FORWARD DROP
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node2 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    # flanneld --ip-masq, subnet fd00:10:244:1::/64
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: pods see each other's own addresses
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244:1::/64 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: pods see each other's own addresses
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 -d fd00:10:244:1::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: a pod sees who calls from outside
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244:1::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 ! -d ff00::/8 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:1::/64
    ip netns exec flannel-host-gw.node2 ip6tables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node2 ip6tables -N FLANNEL-FWD
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node2 ip6tables -A FLANNEL-FWD -s fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node2 ip6tables -A FLANNEL-FWD -d fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # lab.yaml:28 (node2 forward_policy)
    ip netns exec flannel-host-gw.node2 ip6tables -P FORWARD DROP
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node2 ip6tables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD

    # --- node flannel-host-gw.node3
    ip netns exec flannel-host-gw.node3 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:34 (node3 forward)
    ip netns exec flannel-host-gw.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:34 (node3 forward)
    ip -n flannel-host-gw.node3 link add cni0 address 0a:58:0a:f4:02:01 type bridge  # lab.yaml:33 (node3 bridge cni0)
    ip -n flannel-host-gw.node3 link set cni0 up                                     # lab.yaml:33 (node3 bridge cni0)
    ip -n flannel-host-gw.node3 link set eth0 up                                     # lab.yaml:31 (node3 eth0)
    ip -n flannel-host-gw.node3 link set lo up                                       # lab.yaml:29 (node3)
    # lab.yaml:63 (container infra-container-3)
    ip -n flannel-host-gw.node3 link set veth9c0d1e2f master cni0
    # lab.yaml:63 (container infra-container-3)
    ip -n flannel-host-gw.node3 link set veth9c0d1e2f up
    ip -n flannel-host-gw.node3 addr add 10.244.2.1/24 brd 10.244.2.255 dev cni0     # lab.yaml:33 (node3 bridge cni0)
    ip -n flannel-host-gw.node3 addr add fd00:10:244:2::1/64 dev cni0 nodad          # lab.yaml:33 (node3 bridge cni0)
    ip -n flannel-host-gw.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0     # lab.yaml:31 (node3 eth0)
    ip -n flannel-host-gw.node3 addr add fd00:10:168::4/64 dev eth0 nodad            # lab.yaml:31 (node3 eth0)
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-host-gw.node3 route add 10.244.0.0/24 via 10.168.0.2 dev eth0
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-host-gw.node3 route add 10.244.1.0/24 via 10.168.0.3 dev eth0
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-host-gw.node3 -6 route add fd00:10:244::/64 via fd00:10:168::2 dev eth0
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-host-gw.node3 -6 route add fd00:10:244:1::/64 via fd00:10:168::3 dev eth0
    # flanneld --ip-masq, subnet 10.244.2.0/24
    ip netns exec flannel-host-gw.node3 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 10.244.2.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-host-gw.node3 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: pods see each other's own addresses
    ip netns exec flannel-host-gw.node3 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.2.0/24 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: pods see each other's own addresses
    ip netns exec flannel-host-gw.node3 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.2.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: a pod sees who calls from outside
    ip netns exec flannel-host-gw.node3 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.2.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-host-gw.node3 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.2.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-host-gw.node3 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.2.0/24
    ip netns exec flannel-host-gw.node3 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-host-gw.node3 iptables -N FLANNEL-FWD                      # flanneld, network 10.244.0.0/16
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node3 iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node3 iptables -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # lab.yaml:35 (node3 forward_policy)
    ip netns exec flannel-host-gw.node3 iptables -P FORWARD DROP
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-host-gw.node3 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    # flanneld --ip-masq, subnet fd00:10:244:2::/64
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: pods see each other's own addresses
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244:2::/64 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: pods see each other's own addresses
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 -d fd00:10:244:2::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: a pod sees who calls from outside
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244:2::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 ! -d ff00::/8 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:2::/64
    ip netns exec flannel-host-gw.node3 ip6tables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node3 ip6tables -N FLANNEL-FWD
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node3 ip6tables -A FLANNEL-FWD -s fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node3 ip6tables -A FLANNEL-FWD -d fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # lab.yaml:35 (node3 forward_policy)
    ip netns exec flannel-host-gw.node3 ip6tables -P FORWARD DROP
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-host-gw.node3 ip6tables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD

    # --- node flannel-host-gw.outside
    ip -n flannel-host-gw.outside link set eth0 up                                    # lab.yaml:40 (outside eth0)
    ip -n flannel-host-gw.outside link set lo up                                      # lab.yaml:38 (outside)
    ip -n flannel-host-gw.outside addr add 10.168.0.100/24 brd 10.168.0.255 dev eth0  # lab.yaml:40 (outside eth0)
    ip -n flannel-host-gw.outside addr add fd00:10:168::64/64 dev eth0 nodad          # lab.yaml:40 (outside eth0)

    # --- node flannel-host-gw.infra-container-1
    ip -n flannel-host-gw.infra-container-1 link set eth0 up  # lab.yaml:45 (container infra-container-1)
    ip -n flannel-host-gw.infra-container-1 link set lo up    # lab.yaml:45 (container infra-container-1)
    # lab.yaml:45 (container infra-container-1)
    ip -n flannel-host-gw.infra-container-1 addr add 10.244.0.2/24 brd 10.244.0.255 dev eth0
    # lab.yaml:45 (container infra-container-1)
    ip -n flannel-host-gw.infra-container-1 addr add fd00:10:244::2/64 dev eth0 nodad
    # lab.yaml:45 (container infra-container-1 gateway)
    ip -n flannel-host-gw.infra-container-1 route add default via 10.244.0.1 dev eth0
    # lab.yaml:45 (container infra-container-1 gateway)
    ip -n flannel-host-gw.infra-container-1 -6 route add default via fd00:10:244::1 dev eth0

    # --- node flannel-host-gw.infra-container-2
    ip -n flannel-host-gw.infra-container-2 link set eth0 up  # lab.yaml:54 (container infra-container-2)
    ip -n flannel-host-gw.infra-container-2 link set lo up    # lab.yaml:54 (container infra-container-2)
    # lab.yaml:54 (container infra-container-2)
    ip -n flannel-host-gw.infra-container-2 addr add 10.244.1.3/24 brd 10.244.1.255 dev eth0
    # lab.yaml:54 (container infra-container-2)
    ip -n flannel-host-gw.infra-container-2 addr add fd00:10:244:1::3/64 dev eth0 nodad
    # lab.yaml:54 (container infra-container-2 gateway)
    ip -n flannel-host-gw.infra-container-2 route add default via 10.244.1.1 dev eth0
    # lab.yaml:54 (container infra-container-2 gateway)
    ip -n flannel-host-gw.infra-container-2 -6 route add default via fd00:10:244:1::1 dev eth0

    # --- node flannel-host-gw.infra-container-3
    ip -n flannel-host-gw.infra-container-3 link set eth0 up  # lab.yaml:63 (container infra-container-3)
    ip -n flannel-host-gw.infra-container-3 link set lo up    # lab.yaml:63 (container infra-container-3)
    # lab.yaml:63 (container infra-container-3)
    ip -n flannel-host-gw.infra-container-3 addr add 10.244.2.2/24 brd 10.244.2.255 dev eth0
    # lab.yaml:63 (container infra-container-3)
    ip -n flannel-host-gw.infra-container-3 addr add fd00:10:244:2::2/64 dev eth0 nodad
    # lab.yaml:63 (container infra-container-3 gateway)
    ip -n flannel-host-gw.infra-container-3 route add default via 10.244.2.1 dev eth0
    # lab.yaml:63 (container infra-container-3 gateway)
    ip -n flannel-host-gw.infra-container-3 -6 route add default via fd00:10:244:2::1 dev eth0

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
