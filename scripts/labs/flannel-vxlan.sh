#!/bin/sh
# flannel vxlan: a layer 2 network over a layer 3 network
#
# Three Kubernetes nodes with the bridge cni0 and pods on it, and a machine outside that knows nothing of pods. flanneld
# on each node makes a VTEP, flannel.1, and writes down in advance what the kernel would otherwise have to ask for each
# other node: a route, an ARP entry and a forwarding entry.
#
#   sh flannel-vxlan.sh up      builds it
#   sh flannel-vxlan.sh down    removes all of it
set -eu

run=/run/netlab-script-flannel-vxlan
namespaces='flannel-vxlan.lan flannel-vxlan.node1 flannel-vxlan.node2 flannel-vxlan.node3 flannel-vxlan.outside flannel-vxlan.infra-container-1 flannel-vxlan.infra-container-2 flannel-vxlan.infra-container-3 flannel-vxlan.plain'

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
    ip netns add flannel-vxlan.lan
    ip netns add flannel-vxlan.node1
    ip netns add flannel-vxlan.node2
    ip netns add flannel-vxlan.node3
    ip netns add flannel-vxlan.outside
    ip netns add flannel-vxlan.infra-container-1
    ip netns add flannel-vxlan.infra-container-2
    ip netns add flannel-vxlan.infra-container-3
    ip netns add flannel-vxlan.plain

    # --- cables: veth pairs
    # lab.yaml:19 (node1 eth0)
    ip -n flannel-vxlan.lan link add node1-eth0 address 02:8b:3a:5c:eb:51 type veth peer name eth0 address 02:42:0a:a8:00:02 netns flannel-vxlan.node1
    # lab.yaml:28 (node2 eth0)
    ip -n flannel-vxlan.lan link add node2-eth0 address 02:bf:df:7b:e1:84 type veth peer name eth0 address 02:42:0a:a8:00:03 netns flannel-vxlan.node2
    # lab.yaml:35 (node3 eth0)
    ip -n flannel-vxlan.lan link add node3-eth0 address 02:fd:51:3e:16:8a type veth peer name eth0 address 02:42:0a:a8:00:04 netns flannel-vxlan.node3
    # lab.yaml:44 (outside eth0)
    ip -n flannel-vxlan.lan link add outside-eth0 address 02:0d:7b:a7:9b:f5 type veth peer name eth0 address 02:8f:fe:30:e7:fd netns flannel-vxlan.outside
    # lab.yaml:49 (container infra-container-1)
    ip -n flannel-vxlan.node1 link add veth1a2b3c4d address 02:f5:1a:b9:12:ff mtu 1430 type veth peer name eth0 address 0a:58:0a:f4:00:02 mtu 1430 netns flannel-vxlan.infra-container-1
    # lab.yaml:78 (container plain)
    ip -n flannel-vxlan.node1 link add vethd0c4e200 address 02:79:04:23:03:68 type veth peer name eth0 address 02:42:ac:11:00:02 netns flannel-vxlan.plain
    # lab.yaml:59 (container infra-container-2)
    ip -n flannel-vxlan.node2 link add veth5e6f7a8b address 02:92:7f:14:ab:0a mtu 1430 type veth peer name eth0 address 0a:58:0a:f4:01:03 mtu 1430 netns flannel-vxlan.infra-container-2
    # lab.yaml:68 (container infra-container-3)
    ip -n flannel-vxlan.node3 link add veth9c0d1e2f address 02:16:fd:70:91:45 mtu 1430 type veth peer name eth0 address 0a:58:0a:f4:02:02 mtu 1430 netns flannel-vxlan.infra-container-3

    # --- node flannel-vxlan.lan
    ip -n flannel-vxlan.lan link add lan address 02:7a:fa:bd:b7:f3 type bridge  # lab.yaml:12 (network lan)
    ip -n flannel-vxlan.lan link set lan up                                     # lab.yaml:12 (network lan)
    ip -n flannel-vxlan.lan link set lo up                                      # lab.yaml:12 (network lan)
    ip -n flannel-vxlan.lan link set node1-eth0 master lan                      # lab.yaml:19 (node1 eth0)
    ip -n flannel-vxlan.lan link set node1-eth0 up                              # lab.yaml:19 (node1 eth0)
    ip -n flannel-vxlan.lan link set node2-eth0 master lan                      # lab.yaml:28 (node2 eth0)
    ip -n flannel-vxlan.lan link set node2-eth0 up                              # lab.yaml:28 (node2 eth0)
    ip -n flannel-vxlan.lan link set node3-eth0 master lan                      # lab.yaml:35 (node3 eth0)
    ip -n flannel-vxlan.lan link set node3-eth0 up                              # lab.yaml:35 (node3 eth0)
    ip -n flannel-vxlan.lan link set outside-eth0 master lan                    # lab.yaml:44 (outside eth0)
    ip -n flannel-vxlan.lan link set outside-eth0 up                            # lab.yaml:44 (outside eth0)

    # --- node flannel-vxlan.node1
    ip netns exec flannel-vxlan.node1 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:24 (node1 forward)
    ip netns exec flannel-vxlan.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:24 (node1 forward)
    # lab.yaml:21 (node1 bridge cni0)
    ip -n flannel-vxlan.node1 link add cni0 address 0a:58:0a:f4:00:01 mtu 1430 type bridge
    ip -n flannel-vxlan.node1 link set cni0 up                                     # lab.yaml:21 (node1 bridge cni0)
    # lab.yaml:23 (node1 bridge docker0)
    ip -n flannel-vxlan.node1 link add docker0 address 02:42:d8:e4:53:ce type bridge
    ip -n flannel-vxlan.node1 link set docker0 up                                  # lab.yaml:23 (node1 bridge docker0)
    ip -n flannel-vxlan.node1 link set eth0 up                                     # lab.yaml:19 (node1 eth0)
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip -n flannel-vxlan.node1 link add flannel-v6.1 address 02:e0:bf:a6:02:79 type vxlan id 1 local fd00:10:168::2 dev eth0 dstport 8472 nolearning
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip -n flannel-vxlan.node1 link set flannel-v6.1 up
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip -n flannel-vxlan.node1 link add flannel.1 address 02:74:23:ca:52:67 mtu 1430 type vxlan id 1 local 10.168.0.2 dev eth0 dstport 8472 nolearning
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip -n flannel-vxlan.node1 link set flannel.1 up
    ip -n flannel-vxlan.node1 link set lo up                                       # lab.yaml:17 (node1)
    # lab.yaml:49 (container infra-container-1)
    ip -n flannel-vxlan.node1 link set veth1a2b3c4d master cni0
    # lab.yaml:49 (container infra-container-1)
    ip -n flannel-vxlan.node1 link set veth1a2b3c4d up
    ip -n flannel-vxlan.node1 link set vethd0c4e200 master docker0                 # lab.yaml:78 (container plain)
    ip -n flannel-vxlan.node1 link set vethd0c4e200 up                             # lab.yaml:78 (container plain)
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip netns exec flannel-vxlan.node1 sysctl -q -w net/ipv6/conf/flannel-v6.1/accept_ra=0
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip netns exec flannel-vxlan.node1 sysctl -q -w net/ipv6/conf/flannel.1/accept_ra=0
    ip -n flannel-vxlan.node1 addr add 10.244.0.1/24 brd 10.244.0.255 dev cni0     # lab.yaml:21 (node1 bridge cni0)
    ip -n flannel-vxlan.node1 addr add fd00:10:244::1/64 dev cni0 nodad            # lab.yaml:21 (node1 bridge cni0)
    # lab.yaml:23 (node1 bridge docker0)
    ip -n flannel-vxlan.node1 addr add 172.17.0.1/16 brd 172.17.255.255 dev docker0
    ip -n flannel-vxlan.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0     # lab.yaml:19 (node1 eth0)
    ip -n flannel-vxlan.node1 addr add fd00:10:168::2/64 dev eth0 nodad            # lab.yaml:19 (node1 eth0)
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip -n flannel-vxlan.node1 addr add fd00:10:244::/128 dev flannel-v6.1 nodad
    # flanneld vxlan, own lease 10.244.0.0/24 and fd00:10:244::/64
    ip -n flannel-vxlan.node1 addr add 10.244.0.0/32 dev flannel.1
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node1 neigh replace fd00:10:244:1:: lladdr 02:cf:b1:53:29:8f dev flannel-v6.1 nud permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node1 neigh replace fd00:10:244:2:: lladdr 02:6f:c4:c7:0c:95 dev flannel-v6.1 nud permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node1 neigh replace 10.244.1.0 lladdr 02:d8:77:63:26:20 dev flannel.1 nud permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node1 neigh replace 10.244.2.0 lladdr 02:31:c6:9c:c2:1d dev flannel.1 nud permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    bridge -n flannel-vxlan.node1 fdb replace 02:6f:c4:c7:0c:95 dev flannel-v6.1 dst fd00:10:168::4 self permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    bridge -n flannel-vxlan.node1 fdb replace 02:cf:b1:53:29:8f dev flannel-v6.1 dst fd00:10:168::3 self permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    bridge -n flannel-vxlan.node1 fdb replace 02:31:c6:9c:c2:1d dev flannel.1 dst 10.168.0.4 self permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    bridge -n flannel-vxlan.node1 fdb replace 02:d8:77:63:26:20 dev flannel.1 dst 10.168.0.3 self permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node1 route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node1 route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node1 -6 route add fd00:10:244:1::/64 via fd00:10:244:1:: dev flannel-v6.1 onlink
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node1 -6 route add fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 onlink
    ip netns exec flannel-vxlan.node1 iptables -t nat -N DOCKER                    # lab.yaml:23 (node1 bridge docker0)
    # flanneld --ip-masq, subnet 10.244.0.0/24
    ip netns exec flannel-vxlan.node1 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 10.244.0.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-vxlan.node1 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: pods see each other's own addresses
    ip netns exec flannel-vxlan.node1 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/24 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: pods see each other's own addresses
    ip netns exec flannel-vxlan.node1 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.0.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: a pod sees who calls from outside
    ip netns exec flannel-vxlan.node1 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.0.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-vxlan.node1 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.0.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-vxlan.node1 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # lab.yaml:23 (node1 bridge docker0): published ports, from here
    ip netns exec flannel-vxlan.node1 iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
    # flanneld --ip-masq, subnet 10.244.0.0/24
    ip netns exec flannel-vxlan.node1 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    # lab.yaml:23 (node1 bridge docker0): masquerade what leaves docker0
    ip netns exec flannel-vxlan.node1 iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    # lab.yaml:23 (node1 bridge docker0): published ports, from outside
    ip netns exec flannel-vxlan.node1 iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    ip netns exec flannel-vxlan.node1 iptables -N DOCKER                           # lab.yaml:23 (node1 bridge docker0)
    ip netns exec flannel-vxlan.node1 iptables -N FLANNEL-FWD                      # flanneld, network 10.244.0.0/16
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node1 iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node1 iptables -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-vxlan.node1 iptables -P FORWARD DROP                     # lab.yaml:23 (node1 bridge docker0)
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node1 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    # lab.yaml:23 (node1 bridge docker0): published ports
    ip netns exec flannel-vxlan.node1 iptables -A FORWARD -o docker0 -j DOCKER
    # lab.yaml:23 (node1 bridge docker0): answers
    ip netns exec flannel-vxlan.node1 iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:23 (node1 bridge docker0): containers to outside
    ip netns exec flannel-vxlan.node1 iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    # lab.yaml:23 (node1 bridge docker0): container to container
    ip netns exec flannel-vxlan.node1 iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
    # flanneld --ip-masq, subnet fd00:10:244::/64
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet fd00:10:244::/64: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: pods see each other's own addresses
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/64 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: pods see each other's own addresses
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 -d fd00:10:244::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: a pod sees who calls from outside
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244::/64: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 ! -d ff00::/8 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244::/64: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244::/64
    ip netns exec flannel-vxlan.node1 ip6tables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-vxlan.node1 ip6tables -N FLANNEL-FWD                     # flanneld, network fd00:10:244::/48
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node1 ip6tables -A FLANNEL-FWD -s fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node1 ip6tables -A FLANNEL-FWD -d fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-vxlan.node1 ip6tables -P FORWARD DROP                    # lab.yaml:25 (node1 forward_policy)
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node1 ip6tables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD

    # --- node flannel-vxlan.node2
    ip netns exec flannel-vxlan.node2 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:31 (node2 forward)
    ip netns exec flannel-vxlan.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:31 (node2 forward)
    # lab.yaml:30 (node2 bridge cni0)
    ip -n flannel-vxlan.node2 link add cni0 address 0a:58:0a:f4:01:01 mtu 1430 type bridge
    ip -n flannel-vxlan.node2 link set cni0 up                                     # lab.yaml:30 (node2 bridge cni0)
    ip -n flannel-vxlan.node2 link set eth0 up                                     # lab.yaml:28 (node2 eth0)
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip -n flannel-vxlan.node2 link add flannel-v6.1 address 02:cf:b1:53:29:8f type vxlan id 1 local fd00:10:168::3 dev eth0 dstport 8472 nolearning
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip -n flannel-vxlan.node2 link set flannel-v6.1 up
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip -n flannel-vxlan.node2 link add flannel.1 address 02:d8:77:63:26:20 mtu 1430 type vxlan id 1 local 10.168.0.3 dev eth0 dstport 8472 nolearning
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip -n flannel-vxlan.node2 link set flannel.1 up
    ip -n flannel-vxlan.node2 link set lo up                                       # lab.yaml:26 (node2)
    # lab.yaml:59 (container infra-container-2)
    ip -n flannel-vxlan.node2 link set veth5e6f7a8b master cni0
    # lab.yaml:59 (container infra-container-2)
    ip -n flannel-vxlan.node2 link set veth5e6f7a8b up
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip netns exec flannel-vxlan.node2 sysctl -q -w net/ipv6/conf/flannel-v6.1/accept_ra=0
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip netns exec flannel-vxlan.node2 sysctl -q -w net/ipv6/conf/flannel.1/accept_ra=0
    ip -n flannel-vxlan.node2 addr add 10.244.1.1/24 brd 10.244.1.255 dev cni0     # lab.yaml:30 (node2 bridge cni0)
    ip -n flannel-vxlan.node2 addr add fd00:10:244:1::1/64 dev cni0 nodad          # lab.yaml:30 (node2 bridge cni0)
    ip -n flannel-vxlan.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0     # lab.yaml:28 (node2 eth0)
    ip -n flannel-vxlan.node2 addr add fd00:10:168::3/64 dev eth0 nodad            # lab.yaml:28 (node2 eth0)
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip -n flannel-vxlan.node2 addr add fd00:10:244:1::/128 dev flannel-v6.1 nodad
    # flanneld vxlan, own lease 10.244.1.0/24 and fd00:10:244:1::/64
    ip -n flannel-vxlan.node2 addr add 10.244.1.0/32 dev flannel.1
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node2 neigh replace fd00:10:244:: lladdr 02:e0:bf:a6:02:79 dev flannel-v6.1 nud permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node2 neigh replace fd00:10:244:2:: lladdr 02:6f:c4:c7:0c:95 dev flannel-v6.1 nud permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node2 neigh replace 10.244.0.0 lladdr 02:74:23:ca:52:67 dev flannel.1 nud permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node2 neigh replace 10.244.2.0 lladdr 02:31:c6:9c:c2:1d dev flannel.1 nud permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    bridge -n flannel-vxlan.node2 fdb replace 02:6f:c4:c7:0c:95 dev flannel-v6.1 dst fd00:10:168::4 self permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    bridge -n flannel-vxlan.node2 fdb replace 02:e0:bf:a6:02:79 dev flannel-v6.1 dst fd00:10:168::2 self permanent
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    bridge -n flannel-vxlan.node2 fdb replace 02:31:c6:9c:c2:1d dev flannel.1 dst 10.168.0.4 self permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    bridge -n flannel-vxlan.node2 fdb replace 02:74:23:ca:52:67 dev flannel.1 dst 10.168.0.2 self permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node2 route add 10.244.0.0/24 via 10.244.0.0 dev flannel.1 onlink
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node2 route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node2 -6 route add fd00:10:244::/64 via fd00:10:244:: dev flannel-v6.1 onlink
    # lease 10.244.2.0/24 and fd00:10:244:2::/64 of 10.168.0.4 and fd00:10:168::4
    ip -n flannel-vxlan.node2 -6 route add fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 onlink
    # flanneld --ip-masq, subnet 10.244.1.0/24
    ip netns exec flannel-vxlan.node2 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 10.244.1.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-vxlan.node2 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: pods see each other's own addresses
    ip netns exec flannel-vxlan.node2 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: pods see each other's own addresses
    ip netns exec flannel-vxlan.node2 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: a pod sees who calls from outside
    ip netns exec flannel-vxlan.node2 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.1.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-vxlan.node2 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.1.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-vxlan.node2 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.1.0/24
    ip netns exec flannel-vxlan.node2 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-vxlan.node2 iptables -N FLANNEL-FWD                      # flanneld, network 10.244.0.0/16
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node2 iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node2 iptables -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-vxlan.node2 iptables -P FORWARD DROP                     # lab.yaml:32 (node2 forward_policy)
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node2 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    # flanneld --ip-masq, subnet fd00:10:244:1::/64
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: pods see each other's own addresses
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244:1::/64 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: pods see each other's own addresses
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 -d fd00:10:244:1::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: a pod sees who calls from outside
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244:1::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 ! -d ff00::/8 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:1::/64: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:1::/64
    ip netns exec flannel-vxlan.node2 ip6tables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-vxlan.node2 ip6tables -N FLANNEL-FWD                     # flanneld, network fd00:10:244::/48
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node2 ip6tables -A FLANNEL-FWD -s fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node2 ip6tables -A FLANNEL-FWD -d fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-vxlan.node2 ip6tables -P FORWARD DROP                    # lab.yaml:32 (node2 forward_policy)
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node2 ip6tables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD

    # --- node flannel-vxlan.node3
    ip netns exec flannel-vxlan.node3 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:38 (node3 forward)
    ip netns exec flannel-vxlan.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:38 (node3 forward)
    # lab.yaml:37 (node3 bridge cni0)
    ip -n flannel-vxlan.node3 link add cni0 address 0a:58:0a:f4:02:01 mtu 1430 type bridge
    ip -n flannel-vxlan.node3 link set cni0 up                                     # lab.yaml:37 (node3 bridge cni0)
    ip -n flannel-vxlan.node3 link set eth0 up                                     # lab.yaml:35 (node3 eth0)
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip -n flannel-vxlan.node3 link add flannel-v6.1 address 02:6f:c4:c7:0c:95 type vxlan id 1 local fd00:10:168::4 dev eth0 dstport 8472 nolearning
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip -n flannel-vxlan.node3 link set flannel-v6.1 up
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip -n flannel-vxlan.node3 link add flannel.1 address 02:31:c6:9c:c2:1d mtu 1430 type vxlan id 1 local 10.168.0.4 dev eth0 dstport 8472 nolearning
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip -n flannel-vxlan.node3 link set flannel.1 up
    ip -n flannel-vxlan.node3 link set lo up                                       # lab.yaml:33 (node3)
    # lab.yaml:68 (container infra-container-3)
    ip -n flannel-vxlan.node3 link set veth9c0d1e2f master cni0
    # lab.yaml:68 (container infra-container-3)
    ip -n flannel-vxlan.node3 link set veth9c0d1e2f up
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip netns exec flannel-vxlan.node3 sysctl -q -w net/ipv6/conf/flannel-v6.1/accept_ra=0
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip netns exec flannel-vxlan.node3 sysctl -q -w net/ipv6/conf/flannel.1/accept_ra=0
    ip -n flannel-vxlan.node3 addr add 10.244.2.1/24 brd 10.244.2.255 dev cni0     # lab.yaml:37 (node3 bridge cni0)
    ip -n flannel-vxlan.node3 addr add fd00:10:244:2::1/64 dev cni0 nodad          # lab.yaml:37 (node3 bridge cni0)
    ip -n flannel-vxlan.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0     # lab.yaml:35 (node3 eth0)
    ip -n flannel-vxlan.node3 addr add fd00:10:168::4/64 dev eth0 nodad            # lab.yaml:35 (node3 eth0)
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip -n flannel-vxlan.node3 addr add fd00:10:244:2::/128 dev flannel-v6.1 nodad
    # flanneld vxlan, own lease 10.244.2.0/24 and fd00:10:244:2::/64
    ip -n flannel-vxlan.node3 addr add 10.244.2.0/32 dev flannel.1
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node3 neigh replace fd00:10:244:: lladdr 02:e0:bf:a6:02:79 dev flannel-v6.1 nud permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node3 neigh replace fd00:10:244:1:: lladdr 02:cf:b1:53:29:8f dev flannel-v6.1 nud permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node3 neigh replace 10.244.0.0 lladdr 02:74:23:ca:52:67 dev flannel.1 nud permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node3 neigh replace 10.244.1.0 lladdr 02:d8:77:63:26:20 dev flannel.1 nud permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    bridge -n flannel-vxlan.node3 fdb replace 02:cf:b1:53:29:8f dev flannel-v6.1 dst fd00:10:168::3 self permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    bridge -n flannel-vxlan.node3 fdb replace 02:e0:bf:a6:02:79 dev flannel-v6.1 dst fd00:10:168::2 self permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    bridge -n flannel-vxlan.node3 fdb replace 02:74:23:ca:52:67 dev flannel.1 dst 10.168.0.2 self permanent
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    bridge -n flannel-vxlan.node3 fdb replace 02:d8:77:63:26:20 dev flannel.1 dst 10.168.0.3 self permanent
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node3 route add 10.244.0.0/24 via 10.244.0.0 dev flannel.1 onlink
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node3 route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
    # lease 10.244.0.0/24 and fd00:10:244::/64 of 10.168.0.2 and fd00:10:168::2
    ip -n flannel-vxlan.node3 -6 route add fd00:10:244::/64 via fd00:10:244:: dev flannel-v6.1 onlink
    # lease 10.244.1.0/24 and fd00:10:244:1::/64 of 10.168.0.3 and fd00:10:168::3
    ip -n flannel-vxlan.node3 -6 route add fd00:10:244:1::/64 via fd00:10:244:1:: dev flannel-v6.1 onlink
    # flanneld --ip-masq, subnet 10.244.2.0/24
    ip netns exec flannel-vxlan.node3 iptables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet 10.244.2.0/24: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-vxlan.node3 iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: pods see each other's own addresses
    ip netns exec flannel-vxlan.node3 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.2.0/24 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: pods see each other's own addresses
    ip netns exec flannel-vxlan.node3 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.2.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: a pod sees who calls from outside
    ip netns exec flannel-vxlan.node3 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.2.0/24 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet 10.244.2.0/24: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-vxlan.node3 iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.2.0/24: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-vxlan.node3 iptables -t nat -A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet 10.244.2.0/24
    ip netns exec flannel-vxlan.node3 iptables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-vxlan.node3 iptables -N FLANNEL-FWD                      # flanneld, network 10.244.0.0/16
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node3 iptables -A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node3 iptables -A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-vxlan.node3 iptables -P FORWARD DROP                     # lab.yaml:39 (node3 forward_policy)
    # flanneld, network 10.244.0.0/16
    ip netns exec flannel-vxlan.node3 iptables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD
    # flanneld --ip-masq, subnet fd00:10:244:2::/64
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -N FLANNEL-POSTRTG
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: kube-proxy has marked it and masquerades it itself
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: pods see each other's own addresses
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244:2::/64 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: pods see each other's own addresses
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 -d fd00:10:244:2::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: a pod sees who calls from outside
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244:2::/64 -m comment --comment 'flanneld masq' -j RETURN
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: a pod's packets leave with the node's address, for no one outside has a way back to a pod
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -A FLANNEL-POSTRTG -s fd00:10:244::/48 ! -d ff00::/8 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:2::/64: from this node to another's pod: the answer has to come back through the overlay
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -A FLANNEL-POSTRTG ! -s fd00:10:244::/48 -d fd00:10:244::/48 -m comment --comment 'flanneld masq' -j MASQUERADE --random-fully
    # flanneld --ip-masq, subnet fd00:10:244:2::/64
    ip netns exec flannel-vxlan.node3 ip6tables -t nat -A POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG
    ip netns exec flannel-vxlan.node3 ip6tables -N FLANNEL-FWD                     # flanneld, network fd00:10:244::/48
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node3 ip6tables -A FLANNEL-FWD -s fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node3 ip6tables -A FLANNEL-FWD -d fd00:10:244::/48 -m comment --comment 'flanneld forward' -j ACCEPT
    ip netns exec flannel-vxlan.node3 ip6tables -P FORWARD DROP                    # lab.yaml:39 (node3 forward_policy)
    # flanneld, network fd00:10:244::/48
    ip netns exec flannel-vxlan.node3 ip6tables -A FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD

    # --- node flannel-vxlan.outside
    ip -n flannel-vxlan.outside link set eth0 up                                    # lab.yaml:44 (outside eth0)
    ip -n flannel-vxlan.outside link set lo up                                      # lab.yaml:42 (outside)
    ip -n flannel-vxlan.outside addr add 10.168.0.100/24 brd 10.168.0.255 dev eth0  # lab.yaml:44 (outside eth0)
    ip -n flannel-vxlan.outside addr add fd00:10:168::64/64 dev eth0 nodad          # lab.yaml:44 (outside eth0)

    # --- node flannel-vxlan.infra-container-1
    ip -n flannel-vxlan.infra-container-1 link set eth0 up  # lab.yaml:49 (container infra-container-1)
    ip -n flannel-vxlan.infra-container-1 link set lo up    # lab.yaml:49 (container infra-container-1)
    # lab.yaml:49 (container infra-container-1)
    ip -n flannel-vxlan.infra-container-1 addr add 10.244.0.2/24 brd 10.244.0.255 dev eth0
    # lab.yaml:49 (container infra-container-1)
    ip -n flannel-vxlan.infra-container-1 addr add fd00:10:244::2/64 dev eth0 nodad
    # lab.yaml:49 (container infra-container-1 gateway)
    ip -n flannel-vxlan.infra-container-1 route add default via 10.244.0.1 dev eth0
    # lab.yaml:49 (container infra-container-1 gateway)
    ip -n flannel-vxlan.infra-container-1 -6 route add default via fd00:10:244::1 dev eth0

    # --- node flannel-vxlan.infra-container-2
    ip -n flannel-vxlan.infra-container-2 link set eth0 up  # lab.yaml:59 (container infra-container-2)
    ip -n flannel-vxlan.infra-container-2 link set lo up    # lab.yaml:59 (container infra-container-2)
    # lab.yaml:59 (container infra-container-2)
    ip -n flannel-vxlan.infra-container-2 addr add 10.244.1.3/24 brd 10.244.1.255 dev eth0
    # lab.yaml:59 (container infra-container-2)
    ip -n flannel-vxlan.infra-container-2 addr add fd00:10:244:1::3/64 dev eth0 nodad
    # lab.yaml:59 (container infra-container-2 gateway)
    ip -n flannel-vxlan.infra-container-2 route add default via 10.244.1.1 dev eth0
    # lab.yaml:59 (container infra-container-2 gateway)
    ip -n flannel-vxlan.infra-container-2 -6 route add default via fd00:10:244:1::1 dev eth0

    # --- node flannel-vxlan.infra-container-3
    ip -n flannel-vxlan.infra-container-3 link set eth0 up  # lab.yaml:68 (container infra-container-3)
    ip -n flannel-vxlan.infra-container-3 link set lo up    # lab.yaml:68 (container infra-container-3)
    # lab.yaml:68 (container infra-container-3)
    ip -n flannel-vxlan.infra-container-3 addr add 10.244.2.2/24 brd 10.244.2.255 dev eth0
    # lab.yaml:68 (container infra-container-3)
    ip -n flannel-vxlan.infra-container-3 addr add fd00:10:244:2::2/64 dev eth0 nodad
    # lab.yaml:68 (container infra-container-3 gateway)
    ip -n flannel-vxlan.infra-container-3 route add default via 10.244.2.1 dev eth0
    # lab.yaml:68 (container infra-container-3 gateway)
    ip -n flannel-vxlan.infra-container-3 -6 route add default via fd00:10:244:2::1 dev eth0

    # --- node flannel-vxlan.plain
    ip -n flannel-vxlan.plain link set eth0 up                                    # lab.yaml:78 (container plain)
    ip -n flannel-vxlan.plain link set lo up                                      # lab.yaml:78 (container plain)
    ip -n flannel-vxlan.plain addr add 172.17.0.2/16 brd 172.17.255.255 dev eth0  # lab.yaml:78 (container plain)
    # lab.yaml:78 (container plain gateway)
    ip -n flannel-vxlan.plain route add default via 172.17.0.1 dev eth0

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
