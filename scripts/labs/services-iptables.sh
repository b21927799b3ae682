#!/bin/sh
# A Service by iptables: an address that nobody has
#
# Three nodes with pods on cni0 and plain routes to each other's pods, and a machine outside. On each node runs a proxy
# that turns Services into chains of iptables: KUBE-SERVICES, KUBE-SVC-…, KUBE-SEP-…. As a script of ip and iptables
# this lab has the chains of its manifests, and no one who would follow a change.
#
#   sh services-iptables.sh up      builds it
#   sh services-iptables.sh down    removes all of it
set -eu

run=/run/netlab-script-services-iptables
namespaces='services-iptables.lan services-iptables.node1 services-iptables.node2 services-iptables.node3 services-iptables.outside services-iptables.hostnames-9klb2 services-iptables.hostnames-xths6 services-iptables.hostnames-khxpz services-iptables.bbc'

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
    ip netns add services-iptables.lan
    ip netns add services-iptables.node1
    ip netns add services-iptables.node2
    ip netns add services-iptables.node3
    ip netns add services-iptables.outside
    ip netns add services-iptables.hostnames-9klb2
    ip netns add services-iptables.hostnames-xths6
    ip netns add services-iptables.hostnames-khxpz
    ip netns add services-iptables.bbc

    # --- cables: veth pairs
    # lab.yaml:17 (node1 eth0)
    ip -n services-iptables.lan link add node1-eth0 address 02:2c:dc:aa:b6:0c type veth peer name eth0 address 02:42:0a:a8:00:02 netns services-iptables.node1
    # lab.yaml:28 (node2 eth0)
    ip -n services-iptables.lan link add node2-eth0 address 02:92:c6:2d:06:8d type veth peer name eth0 address 02:42:0a:a8:00:03 netns services-iptables.node2
    # lab.yaml:36 (node3 eth0)
    ip -n services-iptables.lan link add node3-eth0 address 02:4d:b8:8f:ee:18 type veth peer name eth0 address 02:42:0a:a8:00:04 netns services-iptables.node3
    # lab.yaml:46 (outside eth0)
    ip -n services-iptables.lan link add outside-eth0 address 02:a5:17:e2:a9:b7 type veth peer name eth0 address 02:42:0a:a8:00:64 netns services-iptables.outside
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-iptables.node1 link add veth9klb2 address 02:e1:8f:c6:1e:28 type veth peer name eth0 address 0a:58:0a:f4:01:07 netns services-iptables.hostnames-9klb2
    # lab.yaml:71 (container bbc)
    ip -n services-iptables.node1 link add vethbbc address 02:3a:fc:b6:21:92 type veth peer name eth0 address 0a:58:0a:f4:01:02 netns services-iptables.bbc
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-iptables.node2 link add vethxths6 address 02:30:24:2c:64:89 type veth peer name eth0 address 0a:58:0a:f4:02:03 netns services-iptables.hostnames-xths6
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-iptables.node3 link add vethkhxpz address 02:54:c8:a2:c6:e1 type veth peer name eth0 address 0a:58:0a:f4:03:06 netns services-iptables.hostnames-khxpz

    # --- node services-iptables.lan
    ip -n services-iptables.lan link add lan address 02:40:70:20:8f:cc type bridge  # lab.yaml:11 (network lan)
    ip -n services-iptables.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n services-iptables.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n services-iptables.lan link set node1-eth0 master lan                      # lab.yaml:17 (node1 eth0)
    ip -n services-iptables.lan link set node1-eth0 up                              # lab.yaml:17 (node1 eth0)
    ip -n services-iptables.lan link set node2-eth0 master lan                      # lab.yaml:28 (node2 eth0)
    ip -n services-iptables.lan link set node2-eth0 up                              # lab.yaml:28 (node2 eth0)
    ip -n services-iptables.lan link set node3-eth0 master lan                      # lab.yaml:36 (node3 eth0)
    ip -n services-iptables.lan link set node3-eth0 up                              # lab.yaml:36 (node3 eth0)
    ip -n services-iptables.lan link set outside-eth0 master lan                    # lab.yaml:46 (outside eth0)
    ip -n services-iptables.lan link set outside-eth0 up                            # lab.yaml:46 (outside eth0)

    # --- node services-iptables.node1
    # lab.yaml:25 (node1 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-iptables.node1 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-iptables.node1 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec services-iptables.node1 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:21 (node1 forward)
    ip netns exec services-iptables.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:21 (node1 forward)
    # lab.yaml:20 (node1 bridge cni0)
    ip -n services-iptables.node1 link add cni0 address 0a:58:0a:f4:01:01 type bridge
    # lab.yaml:20 (node1 bridge cni0)
    ip -n services-iptables.node1 link set cni0 up
    ip -n services-iptables.node1 link set eth0 up                                         # lab.yaml:17 (node1 eth0)
    ip -n services-iptables.node1 link set lo up                                           # lab.yaml:15 (node1)
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-iptables.node1 link set veth9klb2 master cni0
    # lab.yaml:51 (container hostnames-9klb2)
    bridge -n services-iptables.node1 link set dev veth9klb2 hairpin on
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-iptables.node1 link set veth9klb2 up
    ip -n services-iptables.node1 link set vethbbc master cni0                             # lab.yaml:71 (container bbc)
    bridge -n services-iptables.node1 link set dev vethbbc hairpin on                      # lab.yaml:71 (container bbc)
    ip -n services-iptables.node1 link set vethbbc up                                      # lab.yaml:71 (container bbc)
    # lab.yaml:20 (node1 bridge cni0)
    ip -n services-iptables.node1 addr add 10.244.1.1/24 brd 10.244.1.255 dev cni0
    ip -n services-iptables.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0         # lab.yaml:17 (node1 eth0)
    ip -n services-iptables.node1 route add default via 10.168.0.100 dev eth0              # lab.yaml:23 (node1 route 2)
    ip -n services-iptables.node1 route add 10.244.2.0/24 via 10.168.0.3 dev eth0          # lab.yaml:23 (node1 route 0)
    ip -n services-iptables.node1 route add 10.244.3.0/24 via 10.168.0.4 dev eth0          # lab.yaml:23 (node1 route 1)
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node1 iptables -t mangle -N KUBE-PROXY-CANARY
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-PROXY-CANARY
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-SEP-63VDBIGGHZ6SEWXG
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-SEP-7MW3KEEC4RCNSIJ2
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-SEP-J2MZVQ3C4ISRWBMA
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-SEP-ZAXEEPMOXFOGCEPP
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node1 iptables -t nat -N KUBE-SVL-WV6JFFU24DOUOPN7
    # the proxy: mark for masquerading
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: only what is marked
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/hostnames-near port 80: an endpoint that calls itself
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-63VDBIGGHZ6SEWXG -s 10.244.1.7/32 -m comment --comment default/hostnames-near:default -j KUBE-MARK-MASQ
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-63VDBIGGHZ6SEWXG -p tcp -m comment --comment default/hostnames-near:default -m tcp -j DNAT --to-destination 10.244.1.7:9376
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-7MW3KEEC4RCNSIJ2 -s 10.244.1.7/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-7MW3KEEC4RCNSIJ2 -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.1.7:9376
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-J2MZVQ3C4ISRWBMA -s 10.244.2.3/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-J2MZVQ3C4ISRWBMA -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.2.3:9376
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-ZAXEEPMOXFOGCEPP -s 10.244.3.6/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SEP-ZAXEEPMOXFOGCEPP -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.3.6:9376
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SERVICES -d 10.0.1.175/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SERVICES -d 10.0.1.176/32 -p tcp -m comment --comment 'default/hostnames-near:default cluster IP' -m tcp --dport 80 -j KUBE-SVL-WV6JFFU24DOUOPN7
    # node ports of all Services
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/hostnames port 80: masquerade
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU ! -s 10.244.0.0/16 -d 10.0.1.175/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.1.7:9376' -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-7MW3KEEC4RCNSIJ2
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.2.3:9376' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-J2MZVQ3C4ISRWBMA
    # Service default/hostnames port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.3.6:9376' -j KUBE-SEP-ZAXEEPMOXFOGCEPP
    # Service default/hostnames-near port 80: masquerade
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SVL-WV6JFFU24DOUOPN7 ! -s 10.244.0.0/16 -d 10.0.1.176/32 -p tcp -m comment --comment 'default/hostnames-near:default cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node1 iptables -t nat -A KUBE-SVL-WV6JFFU24DOUOPN7 -m comment --comment 'default/hostnames-near:default -> 10.244.1.7:9376' -j KUBE-SEP-63VDBIGGHZ6SEWXG
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec services-iptables.node1 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node1 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node1 iptables -N KUBE-FORWARD
    ip netns exec services-iptables.node1 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node1 iptables -N KUBE-PROXY-CANARY
    ip netns exec services-iptables.node1 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec services-iptables.node1 iptables -N KUBE-SERVICES                        # the Services of the cluster
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec services-iptables.node1 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec services-iptables.node1 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec services-iptables.node1 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec services-iptables.node1 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A INPUT -j KUBE-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node1 iptables -A OUTPUT -j KUBE-FIREWALL

    # --- node services-iptables.node2
    # lab.yaml:33 (node2 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-iptables.node2 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-iptables.node2 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec services-iptables.node2 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:31 (node2 forward)
    ip netns exec services-iptables.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:31 (node2 forward)
    # lab.yaml:30 (node2 bridge cni0)
    ip -n services-iptables.node2 link add cni0 address 0a:58:0a:f4:02:01 type bridge
    # lab.yaml:30 (node2 bridge cni0)
    ip -n services-iptables.node2 link set cni0 up
    ip -n services-iptables.node2 link set eth0 up                                         # lab.yaml:28 (node2 eth0)
    ip -n services-iptables.node2 link set lo up                                           # lab.yaml:26 (node2)
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-iptables.node2 link set vethxths6 master cni0
    # lab.yaml:57 (container hostnames-xths6)
    bridge -n services-iptables.node2 link set dev vethxths6 hairpin on
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-iptables.node2 link set vethxths6 up
    # lab.yaml:30 (node2 bridge cni0)
    ip -n services-iptables.node2 addr add 10.244.2.1/24 brd 10.244.2.255 dev cni0
    ip -n services-iptables.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0         # lab.yaml:28 (node2 eth0)
    ip -n services-iptables.node2 route add default via 10.168.0.100 dev eth0              # lab.yaml:32 (node2 route 2)
    ip -n services-iptables.node2 route add 10.244.1.0/24 via 10.168.0.2 dev eth0          # lab.yaml:32 (node2 route 0)
    ip -n services-iptables.node2 route add 10.244.3.0/24 via 10.168.0.4 dev eth0          # lab.yaml:32 (node2 route 1)
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node2 iptables -t mangle -N KUBE-PROXY-CANARY
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-PROXY-CANARY
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-SEP-7MW3KEEC4RCNSIJ2
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-SEP-GA27VZG7RYYH4SIR
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-SEP-J2MZVQ3C4ISRWBMA
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-SEP-ZAXEEPMOXFOGCEPP
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node2 iptables -t nat -N KUBE-SVL-WV6JFFU24DOUOPN7
    # the proxy: mark for masquerading
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: only what is marked
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-7MW3KEEC4RCNSIJ2 -s 10.244.1.7/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-7MW3KEEC4RCNSIJ2 -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.1.7:9376
    # Service default/hostnames-near port 80: an endpoint that calls itself
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-GA27VZG7RYYH4SIR -s 10.244.2.3/32 -m comment --comment default/hostnames-near:default -j KUBE-MARK-MASQ
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-GA27VZG7RYYH4SIR -p tcp -m comment --comment default/hostnames-near:default -m tcp -j DNAT --to-destination 10.244.2.3:9376
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-J2MZVQ3C4ISRWBMA -s 10.244.2.3/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-J2MZVQ3C4ISRWBMA -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.2.3:9376
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-ZAXEEPMOXFOGCEPP -s 10.244.3.6/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SEP-ZAXEEPMOXFOGCEPP -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.3.6:9376
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SERVICES -d 10.0.1.175/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SERVICES -d 10.0.1.176/32 -p tcp -m comment --comment 'default/hostnames-near:default cluster IP' -m tcp --dport 80 -j KUBE-SVL-WV6JFFU24DOUOPN7
    # node ports of all Services
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/hostnames port 80: masquerade
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU ! -s 10.244.0.0/16 -d 10.0.1.175/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.1.7:9376' -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-7MW3KEEC4RCNSIJ2
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.2.3:9376' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-J2MZVQ3C4ISRWBMA
    # Service default/hostnames port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.3.6:9376' -j KUBE-SEP-ZAXEEPMOXFOGCEPP
    # Service default/hostnames-near port 80: masquerade
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SVL-WV6JFFU24DOUOPN7 ! -s 10.244.0.0/16 -d 10.0.1.176/32 -p tcp -m comment --comment 'default/hostnames-near:default cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node2 iptables -t nat -A KUBE-SVL-WV6JFFU24DOUOPN7 -m comment --comment 'default/hostnames-near:default -> 10.244.2.3:9376' -j KUBE-SEP-GA27VZG7RYYH4SIR
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec services-iptables.node2 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node2 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node2 iptables -N KUBE-FORWARD
    ip netns exec services-iptables.node2 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node2 iptables -N KUBE-PROXY-CANARY
    ip netns exec services-iptables.node2 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec services-iptables.node2 iptables -N KUBE-SERVICES                        # the Services of the cluster
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec services-iptables.node2 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec services-iptables.node2 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec services-iptables.node2 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec services-iptables.node2 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A INPUT -j KUBE-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node2 iptables -A OUTPUT -j KUBE-FIREWALL

    # --- node services-iptables.node3
    # lab.yaml:41 (node3 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-iptables.node3 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-iptables.node3 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec services-iptables.node3 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:39 (node3 forward)
    ip netns exec services-iptables.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:39 (node3 forward)
    # lab.yaml:38 (node3 bridge cni0)
    ip -n services-iptables.node3 link add cni0 address 0a:58:0a:f4:03:01 type bridge
    # lab.yaml:38 (node3 bridge cni0)
    ip -n services-iptables.node3 link set cni0 up
    ip -n services-iptables.node3 link set eth0 up                                         # lab.yaml:36 (node3 eth0)
    ip -n services-iptables.node3 link set lo up                                           # lab.yaml:34 (node3)
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-iptables.node3 link set vethkhxpz master cni0
    # lab.yaml:63 (container hostnames-khxpz)
    bridge -n services-iptables.node3 link set dev vethkhxpz hairpin on
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-iptables.node3 link set vethkhxpz up
    # lab.yaml:38 (node3 bridge cni0)
    ip -n services-iptables.node3 addr add 10.244.3.1/24 brd 10.244.3.255 dev cni0
    ip -n services-iptables.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0         # lab.yaml:36 (node3 eth0)
    ip -n services-iptables.node3 route add default via 10.168.0.100 dev eth0              # lab.yaml:40 (node3 route 2)
    ip -n services-iptables.node3 route add 10.244.1.0/24 via 10.168.0.2 dev eth0          # lab.yaml:40 (node3 route 0)
    ip -n services-iptables.node3 route add 10.244.2.0/24 via 10.168.0.3 dev eth0          # lab.yaml:40 (node3 route 1)
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node3 iptables -t mangle -N KUBE-PROXY-CANARY
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-PROXY-CANARY
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-SEP-7MW3KEEC4RCNSIJ2
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-SEP-J2MZVQ3C4ISRWBMA
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-SEP-WIMZB3XRULJQHAKI
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-SEP-ZAXEEPMOXFOGCEPP
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node3 iptables -t nat -N KUBE-SVL-WV6JFFU24DOUOPN7
    # the proxy: mark for masquerading
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: only what is marked
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-7MW3KEEC4RCNSIJ2 -s 10.244.1.7/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-7MW3KEEC4RCNSIJ2 -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.1.7:9376
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-J2MZVQ3C4ISRWBMA -s 10.244.2.3/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-J2MZVQ3C4ISRWBMA -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.2.3:9376
    # Service default/hostnames-near port 80: an endpoint that calls itself
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-WIMZB3XRULJQHAKI -s 10.244.3.6/32 -m comment --comment default/hostnames-near:default -j KUBE-MARK-MASQ
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-WIMZB3XRULJQHAKI -p tcp -m comment --comment default/hostnames-near:default -m tcp -j DNAT --to-destination 10.244.3.6:9376
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-ZAXEEPMOXFOGCEPP -s 10.244.3.6/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SEP-ZAXEEPMOXFOGCEPP -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.3.6:9376
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SERVICES -d 10.0.1.175/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SERVICES -d 10.0.1.176/32 -p tcp -m comment --comment 'default/hostnames-near:default cluster IP' -m tcp --dport 80 -j KUBE-SVL-WV6JFFU24DOUOPN7
    # node ports of all Services
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/hostnames port 80: masquerade
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU ! -s 10.244.0.0/16 -d 10.0.1.175/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.1.7:9376' -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-7MW3KEEC4RCNSIJ2
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.2.3:9376' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-J2MZVQ3C4ISRWBMA
    # Service default/hostnames port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.3.6:9376' -j KUBE-SEP-ZAXEEPMOXFOGCEPP
    # Service default/hostnames-near port 80: masquerade
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SVL-WV6JFFU24DOUOPN7 ! -s 10.244.0.0/16 -d 10.0.1.176/32 -p tcp -m comment --comment 'default/hostnames-near:default cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/hostnames-near port 80
    ip netns exec services-iptables.node3 iptables -t nat -A KUBE-SVL-WV6JFFU24DOUOPN7 -m comment --comment 'default/hostnames-near:default -> 10.244.3.6:9376' -j KUBE-SEP-WIMZB3XRULJQHAKI
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec services-iptables.node3 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node3 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node3 iptables -N KUBE-FORWARD
    ip netns exec services-iptables.node3 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec services-iptables.node3 iptables -N KUBE-PROXY-CANARY
    ip netns exec services-iptables.node3 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec services-iptables.node3 iptables -N KUBE-SERVICES                        # the Services of the cluster
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec services-iptables.node3 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec services-iptables.node3 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec services-iptables.node3 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec services-iptables.node3 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A INPUT -j KUBE-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-iptables.node3 iptables -A OUTPUT -j KUBE-FIREWALL

    # --- node services-iptables.outside
    ip -n services-iptables.outside link set eth0 up                                    # lab.yaml:46 (outside eth0)
    ip -n services-iptables.outside link set lo up                                      # lab.yaml:44 (outside)
    ip -n services-iptables.outside addr add 10.168.0.100/24 brd 10.168.0.255 dev eth0  # lab.yaml:46 (outside eth0)
    ip -n services-iptables.outside route add 10.0.0.0/16 via 10.168.0.4 dev eth0       # lab.yaml:47 (outside route 0)

    # --- node services-iptables.hostnames-9klb2
    ip -n services-iptables.hostnames-9klb2 link set eth0 up  # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-iptables.hostnames-9klb2 link set lo up    # lab.yaml:51 (container hostnames-9klb2)
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-iptables.hostnames-9klb2 addr add 10.244.1.7/24 brd 10.244.1.255 dev eth0
    # lab.yaml:51 (container hostnames-9klb2 gateway)
    ip -n services-iptables.hostnames-9klb2 route add default via 10.244.1.1 dev eth0

    # --- node services-iptables.hostnames-xths6
    ip -n services-iptables.hostnames-xths6 link set eth0 up  # lab.yaml:57 (container hostnames-xths6)
    ip -n services-iptables.hostnames-xths6 link set lo up    # lab.yaml:57 (container hostnames-xths6)
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-iptables.hostnames-xths6 addr add 10.244.2.3/24 brd 10.244.2.255 dev eth0
    # lab.yaml:57 (container hostnames-xths6 gateway)
    ip -n services-iptables.hostnames-xths6 route add default via 10.244.2.1 dev eth0

    # --- node services-iptables.hostnames-khxpz
    ip -n services-iptables.hostnames-khxpz link set eth0 up  # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-iptables.hostnames-khxpz link set lo up    # lab.yaml:63 (container hostnames-khxpz)
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-iptables.hostnames-khxpz addr add 10.244.3.6/24 brd 10.244.3.255 dev eth0
    # lab.yaml:63 (container hostnames-khxpz gateway)
    ip -n services-iptables.hostnames-khxpz route add default via 10.244.3.1 dev eth0

    # --- node services-iptables.bbc
    ip -n services-iptables.bbc link set eth0 up                                  # lab.yaml:71 (container bbc)
    ip -n services-iptables.bbc link set lo up                                    # lab.yaml:71 (container bbc)
    ip -n services-iptables.bbc addr add 10.244.1.2/24 brd 10.244.1.255 dev eth0  # lab.yaml:71 (container bbc)
    ip -n services-iptables.bbc route add default via 10.244.1.1 dev eth0         # lab.yaml:71 (container bbc gateway)

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
