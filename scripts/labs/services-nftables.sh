#!/bin/sh
# A Service by nftables: one look into a map
#
# Three nodes with pods on cni0 and plain routes to each other's pods, and a machine outside. On each node runs a proxy
# that keeps the Services in the table kube-proxy of nftables: maps from an address and a port to a chain, and chains
# that choose an endpoint. As a script of ip and nft this lab has the table of its manifests, and no one who would
# follow a change.
#
#   sh services-nftables.sh up      builds it
#   sh services-nftables.sh down    removes all of it
set -eu

run=/run/netlab-script-services-nftables
namespaces='services-nftables.lan services-nftables.node1 services-nftables.node2 services-nftables.node3 services-nftables.outside services-nftables.hostnames-9klb2 services-nftables.hostnames-xths6 services-nftables.hostnames-khxpz services-nftables.bbc'

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
    ip netns add services-nftables.lan
    ip netns add services-nftables.node1
    ip netns add services-nftables.node2
    ip netns add services-nftables.node3
    ip netns add services-nftables.outside
    ip netns add services-nftables.hostnames-9klb2
    ip netns add services-nftables.hostnames-xths6
    ip netns add services-nftables.hostnames-khxpz
    ip netns add services-nftables.bbc

    # --- cables: veth pairs
    # lab.yaml:17 (node1 eth0)
    ip -n services-nftables.lan link add node1-eth0 address 02:20:ce:cd:e2:ce type veth peer name eth0 address 02:42:0a:a8:00:02 netns services-nftables.node1
    # lab.yaml:28 (node2 eth0)
    ip -n services-nftables.lan link add node2-eth0 address 02:fe:82:78:6a:e0 type veth peer name eth0 address 02:42:0a:a8:00:03 netns services-nftables.node2
    # lab.yaml:36 (node3 eth0)
    ip -n services-nftables.lan link add node3-eth0 address 02:d1:62:06:9d:12 type veth peer name eth0 address 02:42:0a:a8:00:04 netns services-nftables.node3
    # lab.yaml:46 (outside eth0)
    ip -n services-nftables.lan link add outside-eth0 address 02:d7:88:65:dd:4e type veth peer name eth0 address 02:42:0a:a8:00:64 netns services-nftables.outside
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-nftables.node1 link add veth9klb2 address 02:ed:1c:d1:fe:c7 type veth peer name eth0 address 0a:58:0a:f4:01:07 netns services-nftables.hostnames-9klb2
    # lab.yaml:71 (container bbc)
    ip -n services-nftables.node1 link add vethbbc address 02:12:b7:d5:b1:bd type veth peer name eth0 address 0a:58:0a:f4:01:02 netns services-nftables.bbc
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-nftables.node2 link add vethxths6 address 02:f6:7b:90:c5:9e type veth peer name eth0 address 0a:58:0a:f4:02:03 netns services-nftables.hostnames-xths6
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-nftables.node3 link add vethkhxpz address 02:ce:8c:df:32:a2 type veth peer name eth0 address 0a:58:0a:f4:03:06 netns services-nftables.hostnames-khxpz

    # --- node services-nftables.lan
    ip -n services-nftables.lan link add lan address 02:30:3b:85:f6:86 type bridge  # lab.yaml:11 (network lan)
    ip -n services-nftables.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n services-nftables.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n services-nftables.lan link set node1-eth0 master lan                      # lab.yaml:17 (node1 eth0)
    ip -n services-nftables.lan link set node1-eth0 up                              # lab.yaml:17 (node1 eth0)
    ip -n services-nftables.lan link set node2-eth0 master lan                      # lab.yaml:28 (node2 eth0)
    ip -n services-nftables.lan link set node2-eth0 up                              # lab.yaml:28 (node2 eth0)
    ip -n services-nftables.lan link set node3-eth0 master lan                      # lab.yaml:36 (node3 eth0)
    ip -n services-nftables.lan link set node3-eth0 up                              # lab.yaml:36 (node3 eth0)
    ip -n services-nftables.lan link set outside-eth0 master lan                    # lab.yaml:46 (outside eth0)
    ip -n services-nftables.lan link set outside-eth0 up                            # lab.yaml:46 (outside eth0)

    # --- node services-nftables.node1
    # lab.yaml:25 (node1 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-nftables.node1 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-nftables.node1 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:21 (node1 forward)
    ip netns exec services-nftables.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:21 (node1 forward)
    ip -n services-nftables.node1 link add cni0 address 0a:58:0a:f4:01:01 type bridge  # lab.yaml:20 (node1 bridge cni0)
    ip -n services-nftables.node1 link set cni0 up                                     # lab.yaml:20 (node1 bridge cni0)
    ip -n services-nftables.node1 link set eth0 up                                     # lab.yaml:17 (node1 eth0)
    ip -n services-nftables.node1 link set lo up                                       # lab.yaml:15 (node1)
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-nftables.node1 link set veth9klb2 master cni0
    # lab.yaml:51 (container hostnames-9klb2)
    bridge -n services-nftables.node1 link set dev veth9klb2 hairpin on
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-nftables.node1 link set veth9klb2 up
    ip -n services-nftables.node1 link set vethbbc master cni0                         # lab.yaml:71 (container bbc)
    bridge -n services-nftables.node1 link set dev vethbbc hairpin on                  # lab.yaml:71 (container bbc)
    ip -n services-nftables.node1 link set vethbbc up                                  # lab.yaml:71 (container bbc)
    ip -n services-nftables.node1 addr add 10.244.1.1/24 brd 10.244.1.255 dev cni0     # lab.yaml:20 (node1 bridge cni0)
    ip -n services-nftables.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0     # lab.yaml:17 (node1 eth0)
    ip -n services-nftables.node1 route add default via 10.168.0.100 dev eth0          # lab.yaml:23 (node1 route 2)
    ip -n services-nftables.node1 route add 10.244.2.0/24 via 10.168.0.3 dev eth0      # lab.yaml:23 (node1 route 0)
    ip -n services-nftables.node1 route add 10.244.3.0/24 via 10.168.0.4 dev eth0      # lab.yaml:23 (node1 route 1)
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add table ip kube-proxy'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add set ip kube-proxy cluster-ips { type ipv4_addr; }'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add map ip kube-proxy firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add map ip kube-proxy no-endpoint-nodeports { type inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add map ip kube-proxy no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add map ip kube-proxy service-nodeports { type inet_proto . inet_service : verdict; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy cluster-ips-check'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy endpoint-6OTWRURM-default/hostnames-near/tcp/default__10.244.1.7/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy filter-forward { type filter hook forward priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy filter-input { type filter hook input priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy filter-output { type filter hook output priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy filter-output-post-dnat { type filter hook output priority -90; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy filter-prerouting { type filter hook prerouting priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy firewall-check'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy mark-for-masquerade'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy masquerading'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy nat-output { type nat hook output priority -100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority 100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy nodeport-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy reject-chain'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add chain ip kube-proxy services'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add element ip kube-proxy cluster-ips { 10.0.1.175, 10.0.1.176 }'
    # the Services of the cluster
    ip netns exec services-nftables.node1 nft 'add element ip kube-proxy service-ips { 10.0.1.175 . tcp . 80 : goto service-PM2QQW4D-default/hostnames/tcp/default, 10.0.1.176 . tcp . 80 : goto local-D3HSQ3JH-default/hostnames-near/tcp/default }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy cluster-ips-check ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"'
    # Service default/hostnames-near port 80: an endpoint that calls itself
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-6OTWRURM-default/hostnames-near/tcp/default__10.244.1.7/9376 ip saddr 10.244.1.7 jump mark-for-masquerade'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-6OTWRURM-default/hostnames-near/tcp/default__10.244.1.7/9376 meta l4proto tcp dnat to 10.244.1.7:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 ip saddr 10.244.3.6 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 meta l4proto tcp dnat to 10.244.3.6:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376 ip saddr 10.244.2.3 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376 meta l4proto tcp dnat to 10.244.2.3:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376 ip saddr 10.244.1.7 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376 meta l4proto tcp dnat to 10.244.1.7:9376'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-forward ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-forward ct state new jump cluster-ips-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-input ct state new jump nodeport-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-input ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-output ct state new jump firewall-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-output-post-dnat ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-output-post-dnat ct state new jump cluster-ips-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy filter-prerouting ct state new jump firewall-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy firewall-check ip daddr . meta l4proto . th dport vmap @firewall-ips'
    # Service default/hostnames-near port 80: masquerade
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default ip daddr 10.0.1.176 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default numgen random mod 1 vmap { 0 : goto endpoint-6OTWRURM-default/hostnames-near/tcp/default__10.244.1.7/9376 }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy mark-for-masquerade meta mark set meta mark | 0x00004000'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy masquerading meta mark & 0x00004000 == 0x00000000 return'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy masquerading meta mark set meta mark ^ 0x00004000'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy masquerading masquerade fully-random'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy nat-output jump services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy nat-postrouting jump masquerading'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy nat-prerouting jump services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy nodeport-endpoints-check fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy reject-chain reject'
    # Service default/hostnames port 80: masquerade
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default ip daddr 10.0.1.175 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default numgen random mod 3 vmap { 0 : goto endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376, 1 : goto endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376, 2 : goto endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy service-endpoints-check ip daddr . meta l4proto . th dport vmap @no-endpoint-services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node1 nft 'add rule ip kube-proxy services fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports'

    # --- node services-nftables.node2
    # lab.yaml:33 (node2 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-nftables.node2 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-nftables.node2 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:31 (node2 forward)
    ip netns exec services-nftables.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:31 (node2 forward)
    ip -n services-nftables.node2 link add cni0 address 0a:58:0a:f4:02:01 type bridge  # lab.yaml:30 (node2 bridge cni0)
    ip -n services-nftables.node2 link set cni0 up                                     # lab.yaml:30 (node2 bridge cni0)
    ip -n services-nftables.node2 link set eth0 up                                     # lab.yaml:28 (node2 eth0)
    ip -n services-nftables.node2 link set lo up                                       # lab.yaml:26 (node2)
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-nftables.node2 link set vethxths6 master cni0
    # lab.yaml:57 (container hostnames-xths6)
    bridge -n services-nftables.node2 link set dev vethxths6 hairpin on
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-nftables.node2 link set vethxths6 up
    ip -n services-nftables.node2 addr add 10.244.2.1/24 brd 10.244.2.255 dev cni0     # lab.yaml:30 (node2 bridge cni0)
    ip -n services-nftables.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0     # lab.yaml:28 (node2 eth0)
    ip -n services-nftables.node2 route add default via 10.168.0.100 dev eth0          # lab.yaml:32 (node2 route 2)
    ip -n services-nftables.node2 route add 10.244.1.0/24 via 10.168.0.2 dev eth0      # lab.yaml:32 (node2 route 0)
    ip -n services-nftables.node2 route add 10.244.3.0/24 via 10.168.0.4 dev eth0      # lab.yaml:32 (node2 route 1)
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add table ip kube-proxy'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add set ip kube-proxy cluster-ips { type ipv4_addr; }'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add map ip kube-proxy firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add map ip kube-proxy no-endpoint-nodeports { type inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add map ip kube-proxy no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add map ip kube-proxy service-nodeports { type inet_proto . inet_service : verdict; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy cluster-ips-check'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy endpoint-73RBJVM3-default/hostnames-near/tcp/default__10.244.2.3/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy filter-forward { type filter hook forward priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy filter-input { type filter hook input priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy filter-output { type filter hook output priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy filter-output-post-dnat { type filter hook output priority -90; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy filter-prerouting { type filter hook prerouting priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy firewall-check'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy mark-for-masquerade'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy masquerading'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy nat-output { type nat hook output priority -100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority 100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy nodeport-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy reject-chain'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add chain ip kube-proxy services'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add element ip kube-proxy cluster-ips { 10.0.1.175, 10.0.1.176 }'
    # the Services of the cluster
    ip netns exec services-nftables.node2 nft 'add element ip kube-proxy service-ips { 10.0.1.175 . tcp . 80 : goto service-PM2QQW4D-default/hostnames/tcp/default, 10.0.1.176 . tcp . 80 : goto local-D3HSQ3JH-default/hostnames-near/tcp/default }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy cluster-ips-check ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"'
    # Service default/hostnames-near port 80: an endpoint that calls itself
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-73RBJVM3-default/hostnames-near/tcp/default__10.244.2.3/9376 ip saddr 10.244.2.3 jump mark-for-masquerade'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-73RBJVM3-default/hostnames-near/tcp/default__10.244.2.3/9376 meta l4proto tcp dnat to 10.244.2.3:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 ip saddr 10.244.3.6 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 meta l4proto tcp dnat to 10.244.3.6:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376 ip saddr 10.244.2.3 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376 meta l4proto tcp dnat to 10.244.2.3:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376 ip saddr 10.244.1.7 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376 meta l4proto tcp dnat to 10.244.1.7:9376'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-forward ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-forward ct state new jump cluster-ips-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-input ct state new jump nodeport-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-input ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-output ct state new jump firewall-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-output-post-dnat ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-output-post-dnat ct state new jump cluster-ips-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy filter-prerouting ct state new jump firewall-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy firewall-check ip daddr . meta l4proto . th dport vmap @firewall-ips'
    # Service default/hostnames-near port 80: masquerade
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default ip daddr 10.0.1.176 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default numgen random mod 1 vmap { 0 : goto endpoint-73RBJVM3-default/hostnames-near/tcp/default__10.244.2.3/9376 }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy mark-for-masquerade meta mark set meta mark | 0x00004000'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy masquerading meta mark & 0x00004000 == 0x00000000 return'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy masquerading meta mark set meta mark ^ 0x00004000'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy masquerading masquerade fully-random'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy nat-output jump services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy nat-postrouting jump masquerading'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy nat-prerouting jump services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy nodeport-endpoints-check fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy reject-chain reject'
    # Service default/hostnames port 80: masquerade
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default ip daddr 10.0.1.175 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default numgen random mod 3 vmap { 0 : goto endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376, 1 : goto endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376, 2 : goto endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy service-endpoints-check ip daddr . meta l4proto . th dport vmap @no-endpoint-services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node2 nft 'add rule ip kube-proxy services fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports'

    # --- node services-nftables.node3
    # lab.yaml:41 (node3 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-nftables.node3 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-nftables.node3 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:39 (node3 forward)
    ip netns exec services-nftables.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:39 (node3 forward)
    ip -n services-nftables.node3 link add cni0 address 0a:58:0a:f4:03:01 type bridge  # lab.yaml:38 (node3 bridge cni0)
    ip -n services-nftables.node3 link set cni0 up                                     # lab.yaml:38 (node3 bridge cni0)
    ip -n services-nftables.node3 link set eth0 up                                     # lab.yaml:36 (node3 eth0)
    ip -n services-nftables.node3 link set lo up                                       # lab.yaml:34 (node3)
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-nftables.node3 link set vethkhxpz master cni0
    # lab.yaml:63 (container hostnames-khxpz)
    bridge -n services-nftables.node3 link set dev vethkhxpz hairpin on
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-nftables.node3 link set vethkhxpz up
    ip -n services-nftables.node3 addr add 10.244.3.1/24 brd 10.244.3.255 dev cni0     # lab.yaml:38 (node3 bridge cni0)
    ip -n services-nftables.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0     # lab.yaml:36 (node3 eth0)
    ip -n services-nftables.node3 route add default via 10.168.0.100 dev eth0          # lab.yaml:40 (node3 route 2)
    ip -n services-nftables.node3 route add 10.244.1.0/24 via 10.168.0.2 dev eth0      # lab.yaml:40 (node3 route 0)
    ip -n services-nftables.node3 route add 10.244.2.0/24 via 10.168.0.3 dev eth0      # lab.yaml:40 (node3 route 1)
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add table ip kube-proxy'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add set ip kube-proxy cluster-ips { type ipv4_addr; }'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add map ip kube-proxy firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add map ip kube-proxy no-endpoint-nodeports { type inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add map ip kube-proxy no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add map ip kube-proxy service-nodeports { type inet_proto . inet_service : verdict; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy cluster-ips-check'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy endpoint-PMV7Z2H7-default/hostnames-near/tcp/default__10.244.3.6/9376'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy filter-forward { type filter hook forward priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy filter-input { type filter hook input priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy filter-output { type filter hook output priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy filter-output-post-dnat { type filter hook output priority -90; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy filter-prerouting { type filter hook prerouting priority -110; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy firewall-check'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy mark-for-masquerade'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy masquerading'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy nat-output { type nat hook output priority -100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority 100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority -100; policy accept; }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy nodeport-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy reject-chain'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add chain ip kube-proxy services'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add element ip kube-proxy cluster-ips { 10.0.1.175, 10.0.1.176 }'
    # the Services of the cluster
    ip netns exec services-nftables.node3 nft 'add element ip kube-proxy service-ips { 10.0.1.175 . tcp . 80 : goto service-PM2QQW4D-default/hostnames/tcp/default, 10.0.1.176 . tcp . 80 : goto local-D3HSQ3JH-default/hostnames-near/tcp/default }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy cluster-ips-check ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 ip saddr 10.244.3.6 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 meta l4proto tcp dnat to 10.244.3.6:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376 ip saddr 10.244.2.3 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376 meta l4proto tcp dnat to 10.244.2.3:9376'
    # Service default/hostnames-near port 80: an endpoint that calls itself
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-PMV7Z2H7-default/hostnames-near/tcp/default__10.244.3.6/9376 ip saddr 10.244.3.6 jump mark-for-masquerade'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-PMV7Z2H7-default/hostnames-near/tcp/default__10.244.3.6/9376 meta l4proto tcp dnat to 10.244.3.6:9376'
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376 ip saddr 10.244.1.7 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376 meta l4proto tcp dnat to 10.244.1.7:9376'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-forward ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-forward ct state new jump cluster-ips-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-input ct state new jump nodeport-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-input ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-output ct state new jump firewall-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-output-post-dnat ct state new jump service-endpoints-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-output-post-dnat ct state new jump cluster-ips-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy filter-prerouting ct state new jump firewall-check'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy firewall-check ip daddr . meta l4proto . th dport vmap @firewall-ips'
    # Service default/hostnames-near port 80: masquerade
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default ip daddr 10.0.1.176 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade'
    # Service default/hostnames-near port 80
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy local-D3HSQ3JH-default/hostnames-near/tcp/default numgen random mod 1 vmap { 0 : goto endpoint-PMV7Z2H7-default/hostnames-near/tcp/default__10.244.3.6/9376 }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy mark-for-masquerade meta mark set meta mark | 0x00004000'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy masquerading meta mark & 0x00004000 == 0x00000000 return'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy masquerading meta mark set meta mark ^ 0x00004000'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy masquerading masquerade fully-random'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy nat-output jump services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy nat-postrouting jump masquerading'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy nat-prerouting jump services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy nodeport-endpoints-check fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy reject-chain reject'
    # Service default/hostnames port 80: masquerade
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default ip daddr 10.0.1.175 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade'
    # Service default/hostnames port 80
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy service-PM2QQW4D-default/hostnames/tcp/default numgen random mod 3 vmap { 0 : goto endpoint-SAQ7CGLS-default/hostnames/tcp/default__10.244.1.7/9376, 1 : goto endpoint-OWUHSMMT-default/hostnames/tcp/default__10.244.2.3/9376, 2 : goto endpoint-LLDWKTOH-default/hostnames/tcp/default__10.244.3.6/9376 }'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy service-endpoints-check ip daddr . meta l4proto . th dport vmap @no-endpoint-services'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy services ip daddr . meta l4proto . th dport vmap @service-ips'
    # the proxy: what stands in every node
    ip netns exec services-nftables.node3 nft 'add rule ip kube-proxy services fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports'

    # --- node services-nftables.outside
    ip -n services-nftables.outside link set eth0 up                                    # lab.yaml:46 (outside eth0)
    ip -n services-nftables.outside link set lo up                                      # lab.yaml:44 (outside)
    ip -n services-nftables.outside addr add 10.168.0.100/24 brd 10.168.0.255 dev eth0  # lab.yaml:46 (outside eth0)
    ip -n services-nftables.outside route add 10.0.0.0/16 via 10.168.0.4 dev eth0       # lab.yaml:47 (outside route 0)

    # --- node services-nftables.hostnames-9klb2
    ip -n services-nftables.hostnames-9klb2 link set eth0 up  # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-nftables.hostnames-9klb2 link set lo up    # lab.yaml:51 (container hostnames-9klb2)
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-nftables.hostnames-9klb2 addr add 10.244.1.7/24 brd 10.244.1.255 dev eth0
    # lab.yaml:51 (container hostnames-9klb2 gateway)
    ip -n services-nftables.hostnames-9klb2 route add default via 10.244.1.1 dev eth0

    # --- node services-nftables.hostnames-xths6
    ip -n services-nftables.hostnames-xths6 link set eth0 up  # lab.yaml:57 (container hostnames-xths6)
    ip -n services-nftables.hostnames-xths6 link set lo up    # lab.yaml:57 (container hostnames-xths6)
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-nftables.hostnames-xths6 addr add 10.244.2.3/24 brd 10.244.2.255 dev eth0
    # lab.yaml:57 (container hostnames-xths6 gateway)
    ip -n services-nftables.hostnames-xths6 route add default via 10.244.2.1 dev eth0

    # --- node services-nftables.hostnames-khxpz
    ip -n services-nftables.hostnames-khxpz link set eth0 up  # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-nftables.hostnames-khxpz link set lo up    # lab.yaml:63 (container hostnames-khxpz)
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-nftables.hostnames-khxpz addr add 10.244.3.6/24 brd 10.244.3.255 dev eth0
    # lab.yaml:63 (container hostnames-khxpz gateway)
    ip -n services-nftables.hostnames-khxpz route add default via 10.244.3.1 dev eth0

    # --- node services-nftables.bbc
    ip -n services-nftables.bbc link set eth0 up                                  # lab.yaml:71 (container bbc)
    ip -n services-nftables.bbc link set lo up                                    # lab.yaml:71 (container bbc)
    ip -n services-nftables.bbc addr add 10.244.1.2/24 brd 10.244.1.255 dev eth0  # lab.yaml:71 (container bbc)
    ip -n services-nftables.bbc route add default via 10.244.1.1 dev eth0         # lab.yaml:71 (container bbc gateway)

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
