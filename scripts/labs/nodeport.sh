#!/bin/sh
# NodePort: every node is a door
#
# Three nodes, two of them with pods of my-nginx, a router, and a machine outside that knows nodes and no pods. A
# Service of type NodePort is served on a port of every node, whether it has a pod or not; one with externalIPs at an
# address that no node has. As a script of ip and iptables this lab has the chains of its manifests, and no one who
# would follow a change.
#
#   sh nodeport.sh up      builds it
#   sh nodeport.sh down    removes all of it
set -eu

run=/run/netlab-script-nodeport
namespaces='nodeport.lan nodeport.world nodeport.node1 nodeport.node2 nodeport.node3 nodeport.router nodeport.outside nodeport.my-nginx-1 nodeport.my-nginx-2 nodeport.my-app nodeport.bbc'

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
    ip netns add nodeport.lan
    ip netns add nodeport.world
    ip netns add nodeport.node1
    ip netns add nodeport.node2
    ip netns add nodeport.node3
    ip netns add nodeport.router
    ip netns add nodeport.outside
    ip netns add nodeport.my-nginx-1
    ip netns add nodeport.my-nginx-2
    ip netns add nodeport.my-app
    ip netns add nodeport.bbc

    # --- cables: veth pairs
    # lab.yaml:19 (node1 eth0)
    ip -n nodeport.lan link add node1-eth0 address 02:df:8b:ee:2d:ad type veth peer name eth0 address 02:42:0a:a8:00:02 netns nodeport.node1
    # lab.yaml:27 (node2 eth0)
    ip -n nodeport.lan link add node2-eth0 address 02:ab:c5:41:eb:1d type veth peer name eth0 address 02:42:0a:a8:00:03 netns nodeport.node2
    # lab.yaml:36 (node3 eth0)
    ip -n nodeport.lan link add node3-eth0 address 02:2a:ce:6f:86:e6 type veth peer name eth0 address 02:42:0a:a8:00:04 netns nodeport.node3
    # lab.yaml:46 (router eth0)
    ip -n nodeport.lan link add router-eth0 address 02:6e:c5:dd:85:a4 type veth peer name eth0 address 02:38:d0:b8:a4:11 netns nodeport.router
    # lab.yaml:68 (container my-app)
    ip -n nodeport.node1 link add vethmyapp address 02:d9:d6:44:6f:bb type veth peer name eth0 address 0a:58:0a:f4:01:03 netns nodeport.my-app
    # lab.yaml:56 (container my-nginx-1)
    ip -n nodeport.node1 link add vethnginx1 address 02:a4:4f:25:75:d5 type veth peer name eth0 address 0a:58:0a:f4:01:02 netns nodeport.my-nginx-1
    # lab.yaml:62 (container my-nginx-2)
    ip -n nodeport.node2 link add vethnginx2 address 02:60:31:9a:6e:a6 type veth peer name eth0 address 0a:58:0a:f4:02:02 netns nodeport.my-nginx-2
    # lab.yaml:75 (container bbc)
    ip -n nodeport.node3 link add vethbbc address 02:d5:40:2b:82:bb type veth peer name eth0 address 0a:58:0a:f4:03:02 netns nodeport.bbc
    # lab.yaml:47 (router eth1)
    ip -n nodeport.router link add eth1 address 02:12:12:e3:e7:c9 type veth peer name router-eth1 address 02:7c:d2:74:de:61 netns nodeport.world
    # lab.yaml:52 (outside eth0)
    ip -n nodeport.world link add outside-eth0 address 02:8f:36:03:e6:1c type veth peer name eth0 address 02:81:23:46:8b:a7 netns nodeport.outside

    # --- node nodeport.lan
    ip -n nodeport.lan link add lan address 02:fc:6b:a1:63:e2 type bridge  # lab.yaml:11 (network lan)
    ip -n nodeport.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n nodeport.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n nodeport.lan link set node1-eth0 master lan                      # lab.yaml:19 (node1 eth0)
    ip -n nodeport.lan link set node1-eth0 up                              # lab.yaml:19 (node1 eth0)
    ip -n nodeport.lan link set node2-eth0 master lan                      # lab.yaml:27 (node2 eth0)
    ip -n nodeport.lan link set node2-eth0 up                              # lab.yaml:27 (node2 eth0)
    ip -n nodeport.lan link set node3-eth0 master lan                      # lab.yaml:36 (node3 eth0)
    ip -n nodeport.lan link set node3-eth0 up                              # lab.yaml:36 (node3 eth0)
    ip -n nodeport.lan link set router-eth0 master lan                     # lab.yaml:46 (router eth0)
    ip -n nodeport.lan link set router-eth0 up                             # lab.yaml:46 (router eth0)

    # --- node nodeport.world
    ip -n nodeport.world link set lo up                                        # lab.yaml:13 (network world)
    ip -n nodeport.world link add world address 02:45:43:5a:2d:93 type bridge  # lab.yaml:13 (network world)
    ip -n nodeport.world link set world up                                     # lab.yaml:13 (network world)
    ip -n nodeport.world link set outside-eth0 master world                    # lab.yaml:52 (outside eth0)
    ip -n nodeport.world link set outside-eth0 up                              # lab.yaml:52 (outside eth0)
    ip -n nodeport.world link set router-eth1 master world                     # lab.yaml:47 (router eth1)
    ip -n nodeport.world link set router-eth1 up                               # lab.yaml:47 (router eth1)

    # --- node nodeport.node1
    # lab.yaml:24 (node1 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec nodeport.node1 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec nodeport.node1 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec nodeport.node1 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:22 (node1 forward)
    ip netns exec nodeport.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:22 (node1 forward)
    ip -n nodeport.node1 link add cni0 address 0a:58:0a:f4:01:01 type bridge      # lab.yaml:21 (node1 bridge cni0)
    ip -n nodeport.node1 link set cni0 up                                         # lab.yaml:21 (node1 bridge cni0)
    ip -n nodeport.node1 link set eth0 up                                         # lab.yaml:19 (node1 eth0)
    ip -n nodeport.node1 link set lo up                                           # lab.yaml:17 (node1)
    ip -n nodeport.node1 link set vethmyapp master cni0                           # lab.yaml:68 (container my-app)
    bridge -n nodeport.node1 link set dev vethmyapp hairpin on                    # lab.yaml:68 (container my-app)
    ip -n nodeport.node1 link set vethmyapp up                                    # lab.yaml:68 (container my-app)
    ip -n nodeport.node1 link set vethnginx1 master cni0                          # lab.yaml:56 (container my-nginx-1)
    bridge -n nodeport.node1 link set dev vethnginx1 hairpin on                   # lab.yaml:56 (container my-nginx-1)
    ip -n nodeport.node1 link set vethnginx1 up                                   # lab.yaml:56 (container my-nginx-1)
    ip -n nodeport.node1 addr add 10.244.1.1/24 brd 10.244.1.255 dev cni0         # lab.yaml:21 (node1 bridge cni0)
    ip -n nodeport.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0         # lab.yaml:19 (node1 eth0)
    ip -n nodeport.node1 route add default via 10.168.0.1 dev eth0                # lab.yaml:23 (node1 route 2)
    ip -n nodeport.node1 route add 10.244.2.0/24 via 10.168.0.3 dev eth0          # lab.yaml:23 (node1 route 0)
    ip -n nodeport.node1 route add 10.244.3.0/24 via 10.168.0.4 dev eth0          # lab.yaml:23 (node1 route 1)
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node1 iptables -t mangle -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-EXT-I37Z43XJW6BD4TLV     # Service default/my-service port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-EXT-QQOWKPXDOMUWKR2N
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-EXT-SV7AMNAGZFKZEMQ4     # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-EXT-WJQIRF6WKN5OOCTI     # Service default/my-nginx port 443
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-EXT-XUE2YTNRYD2YHCZE
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-4BMBAEIB6QK2A2QR     # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-NMLWMRVHWN64GV3E     # Service default/my-service port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-PLBTFZV2TA6SHQZV     # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-T3XCTAWNF2MSLOSC     # Service default/my-nginx port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-T7JO3C6AQOM7M5Q3
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-TXONEM24UHYHLADM
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-UHOHG3NCCQS26D7F     # Service default/my-nginx port 80
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SEP-ZTADELN6L3HG2W6M
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SVC-I37Z43XJW6BD4TLV     # Service default/my-service port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SVC-QQOWKPXDOMUWKR2N
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SVC-SV7AMNAGZFKZEMQ4     # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SVC-WJQIRF6WKN5OOCTI     # Service default/my-nginx port 443
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SVC-XUE2YTNRYD2YHCZE
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -N KUBE-SVL-QQOWKPXDOMUWKR2N
    # Service default/my-service port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-I37Z43XJW6BD4TLV -m comment --comment 'masquerade traffic for default/my-service:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-I37Z43XJW6BD4TLV -j KUBE-SVC-I37Z43XJW6BD4TLV
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -s 10.244.0.0/16 -m comment --comment 'pod traffic for default/my-nginx-local:http external destinations' -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-local port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -m comment --comment 'masquerade LOCAL traffic for default/my-nginx-local:http external destinations' -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -m comment --comment 'route LOCAL traffic for default/my-nginx-local:http external destinations' -m addrtype --src-type LOCAL -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -j KUBE-SVL-QQOWKPXDOMUWKR2N
    # Service default/my-nginx port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-SV7AMNAGZFKZEMQ4 -m comment --comment 'masquerade traffic for default/my-nginx:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-SV7AMNAGZFKZEMQ4 -j KUBE-SVC-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-WJQIRF6WKN5OOCTI -m comment --comment 'masquerade traffic for default/my-nginx:https external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-WJQIRF6WKN5OOCTI -j KUBE-SVC-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-sticky port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-XUE2YTNRYD2YHCZE -m comment --comment 'masquerade traffic for default/my-nginx-sticky:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-EXT-XUE2YTNRYD2YHCZE -j KUBE-SVC-XUE2YTNRYD2YHCZE
    # the proxy: mark for masquerading
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx:http -m tcp --dport 8080 -j KUBE-EXT-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx:https -m tcp --dport 443 -j KUBE-EXT-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx-local:http -m tcp --dport 30081 -j KUBE-EXT-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp --dport 30082 -j KUBE-EXT-XUE2YTNRYD2YHCZE
    # the proxy: only what is marked
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/my-nginx port 443: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-4BMBAEIB6QK2A2QR -s 10.244.1.2/32 -m comment --comment default/my-nginx:https -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-4BMBAEIB6QK2A2QR -p tcp -m comment --comment default/my-nginx:https -m tcp -j DNAT --to-destination 10.244.1.2:443
    # Service default/my-service port 80: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-NMLWMRVHWN64GV3E -s 10.244.1.3/32 -m comment --comment default/my-service:http -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-NMLWMRVHWN64GV3E -p tcp -m comment --comment default/my-service:http -m tcp -j DNAT --to-destination 10.244.1.3:9376
    # Service default/my-nginx port 443: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-PLBTFZV2TA6SHQZV -s 10.244.2.2/32 -m comment --comment default/my-nginx:https -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-PLBTFZV2TA6SHQZV -p tcp -m comment --comment default/my-nginx:https -m tcp -j DNAT --to-destination 10.244.2.2:443
    # Service default/my-nginx port 80: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-T3XCTAWNF2MSLOSC -s 10.244.1.2/32 -m comment --comment default/my-nginx:http -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-T3XCTAWNF2MSLOSC -p tcp -m comment --comment default/my-nginx:http -m tcp -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx-local port 80: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-T7JO3C6AQOM7M5Q3 -s 10.244.1.2/32 -m comment --comment default/my-nginx-local:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-T7JO3C6AQOM7M5Q3 -p tcp -m comment --comment default/my-nginx-local:http -m tcp -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx-local port 80: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-TXONEM24UHYHLADM -s 10.244.2.2/32 -m comment --comment default/my-nginx-local:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-TXONEM24UHYHLADM -p tcp -m comment --comment default/my-nginx-local:http -m tcp -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx port 80: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-UHOHG3NCCQS26D7F -s 10.244.2.2/32 -m comment --comment default/my-nginx:http -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-UHOHG3NCCQS26D7F -p tcp -m comment --comment default/my-nginx:http -m tcp -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx-sticky port 80: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-WOMA6IZCHTPEMKKK -s 10.244.2.2/32 -m comment --comment default/my-nginx-sticky:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-WOMA6IZCHTPEMKKK -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp -m recent --set --name KUBE-SEP-WOMA6IZCHTPEMKKK --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx-sticky port 80: an endpoint that calls itself
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-ZTADELN6L3HG2W6M -s 10.244.1.2/32 -m comment --comment default/my-nginx-sticky:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SEP-ZTADELN6L3HG2W6M -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp -m recent --set --name KUBE-SEP-ZTADELN6L3HG2W6M --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:https cluster IP' -m tcp --dport 443 -j KUBE-SVC-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SERVICES -d 10.96.0.82/32 -p tcp -m comment --comment 'default/my-nginx-local:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SERVICES -d 10.96.0.83/32 -p tcp -m comment --comment 'default/my-nginx-sticky:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-XUE2YTNRYD2YHCZE
    # Service default/my-service port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SERVICES -d 10.96.0.81/32 -p tcp -m comment --comment 'default/my-service:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-I37Z43XJW6BD4TLV
    # Service default/my-service port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SERVICES -d 80.11.12.10/32 -p tcp -m comment --comment 'default/my-service:http external IP' -m tcp --dport 80 -j KUBE-EXT-I37Z43XJW6BD4TLV
    # node ports of all Services
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/my-service port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-I37Z43XJW6BD4TLV ! -s 10.244.0.0/16 -d 10.96.0.81/32 -p tcp -m comment --comment 'default/my-service:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-I37Z43XJW6BD4TLV -m comment --comment 'default/my-service:http -> 10.244.1.3:9376' -j KUBE-SEP-NMLWMRVHWN64GV3E
    # Service default/my-nginx-local port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N ! -s 10.244.0.0/16 -d 10.96.0.82/32 -p tcp -m comment --comment 'default/my-nginx-local:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-T7JO3C6AQOM7M5Q3
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.2.2:80' -j KUBE-SEP-TXONEM24UHYHLADM
    # Service default/my-nginx port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 -m comment --comment 'default/my-nginx:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-T3XCTAWNF2MSLOSC
    # Service default/my-nginx port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 -m comment --comment 'default/my-nginx:http -> 10.244.2.2:80' -j KUBE-SEP-UHOHG3NCCQS26D7F
    # Service default/my-nginx port 443: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:https cluster IP' -m tcp --dport 443 -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI -m comment --comment 'default/my-nginx:https -> 10.244.1.2:443' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-4BMBAEIB6QK2A2QR
    # Service default/my-nginx port 443
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI -m comment --comment 'default/my-nginx:https -> 10.244.2.2:443' -j KUBE-SEP-PLBTFZV2TA6SHQZV
    # Service default/my-nginx-sticky port 80: masquerade
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE ! -s 10.244.0.0/16 -d 10.96.0.83/32 -p tcp -m comment --comment 'default/my-nginx-sticky:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80: session affinity
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.1.2:80' -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-ZTADELN6L3HG2W6M --mask 255.255.255.255 --rsource -j KUBE-SEP-ZTADELN6L3HG2W6M
    # Service default/my-nginx-sticky port 80: session affinity
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.2.2:80' -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-WOMA6IZCHTPEMKKK --mask 255.255.255.255 --rsource -j KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-ZTADELN6L3HG2W6M
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.2.2:80' -j KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node1 iptables -t nat -A KUBE-SVL-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.1.2:80' -j KUBE-SEP-T7JO3C6AQOM7M5Q3
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec nodeport.node1 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node1 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node1 iptables -N KUBE-FORWARD
    ip netns exec nodeport.node1 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node1 iptables -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node1 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec nodeport.node1 iptables -N KUBE-SERVICES                        # the Services of the cluster
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec nodeport.node1 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec nodeport.node1 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec nodeport.node1 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec nodeport.node1 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    ip netns exec nodeport.node1 iptables -A INPUT -j KUBE-FIREWALL               # the proxy: way into its chains
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node1 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec nodeport.node1 iptables -A OUTPUT -j KUBE-FIREWALL              # the proxy: way into its chains

    # --- node nodeport.node2
    # lab.yaml:24 (node2 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec nodeport.node2 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec nodeport.node2 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec nodeport.node2 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:30 (node2 forward)
    ip netns exec nodeport.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:30 (node2 forward)
    ip -n nodeport.node2 link add cni0 address 0a:58:0a:f4:02:01 type bridge      # lab.yaml:29 (node2 bridge cni0)
    ip -n nodeport.node2 link set cni0 up                                         # lab.yaml:29 (node2 bridge cni0)
    ip -n nodeport.node2 link set eth0 up                                         # lab.yaml:27 (node2 eth0)
    ip -n nodeport.node2 link set lo up                                           # lab.yaml:25 (node2)
    ip -n nodeport.node2 link set vethnginx2 master cni0                          # lab.yaml:62 (container my-nginx-2)
    bridge -n nodeport.node2 link set dev vethnginx2 hairpin on                   # lab.yaml:62 (container my-nginx-2)
    ip -n nodeport.node2 link set vethnginx2 up                                   # lab.yaml:62 (container my-nginx-2)
    ip -n nodeport.node2 addr add 10.244.2.1/24 brd 10.244.2.255 dev cni0         # lab.yaml:29 (node2 bridge cni0)
    ip -n nodeport.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0         # lab.yaml:27 (node2 eth0)
    ip -n nodeport.node2 route add default via 10.168.0.1 dev eth0                # lab.yaml:31 (node2 route 2)
    ip -n nodeport.node2 route add 10.244.1.0/24 via 10.168.0.2 dev eth0          # lab.yaml:31 (node2 route 0)
    ip -n nodeport.node2 route add 10.244.3.0/24 via 10.168.0.4 dev eth0          # lab.yaml:31 (node2 route 1)
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node2 iptables -t mangle -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-EXT-I37Z43XJW6BD4TLV     # Service default/my-service port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-EXT-QQOWKPXDOMUWKR2N
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-EXT-SV7AMNAGZFKZEMQ4     # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-EXT-WJQIRF6WKN5OOCTI     # Service default/my-nginx port 443
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-EXT-XUE2YTNRYD2YHCZE
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-4BMBAEIB6QK2A2QR     # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-NMLWMRVHWN64GV3E     # Service default/my-service port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-PLBTFZV2TA6SHQZV     # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-T3XCTAWNF2MSLOSC     # Service default/my-nginx port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-T7JO3C6AQOM7M5Q3
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-TXONEM24UHYHLADM
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-UHOHG3NCCQS26D7F     # Service default/my-nginx port 80
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SEP-ZTADELN6L3HG2W6M
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SVC-I37Z43XJW6BD4TLV     # Service default/my-service port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SVC-QQOWKPXDOMUWKR2N
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SVC-SV7AMNAGZFKZEMQ4     # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SVC-WJQIRF6WKN5OOCTI     # Service default/my-nginx port 443
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SVC-XUE2YTNRYD2YHCZE
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -N KUBE-SVL-QQOWKPXDOMUWKR2N
    # Service default/my-service port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-I37Z43XJW6BD4TLV -m comment --comment 'masquerade traffic for default/my-service:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-I37Z43XJW6BD4TLV -j KUBE-SVC-I37Z43XJW6BD4TLV
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -s 10.244.0.0/16 -m comment --comment 'pod traffic for default/my-nginx-local:http external destinations' -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-local port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -m comment --comment 'masquerade LOCAL traffic for default/my-nginx-local:http external destinations' -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -m comment --comment 'route LOCAL traffic for default/my-nginx-local:http external destinations' -m addrtype --src-type LOCAL -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -j KUBE-SVL-QQOWKPXDOMUWKR2N
    # Service default/my-nginx port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-SV7AMNAGZFKZEMQ4 -m comment --comment 'masquerade traffic for default/my-nginx:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-SV7AMNAGZFKZEMQ4 -j KUBE-SVC-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-WJQIRF6WKN5OOCTI -m comment --comment 'masquerade traffic for default/my-nginx:https external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-WJQIRF6WKN5OOCTI -j KUBE-SVC-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-sticky port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-XUE2YTNRYD2YHCZE -m comment --comment 'masquerade traffic for default/my-nginx-sticky:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-EXT-XUE2YTNRYD2YHCZE -j KUBE-SVC-XUE2YTNRYD2YHCZE
    # the proxy: mark for masquerading
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx:http -m tcp --dport 8080 -j KUBE-EXT-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx:https -m tcp --dport 443 -j KUBE-EXT-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx-local:http -m tcp --dport 30081 -j KUBE-EXT-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp --dport 30082 -j KUBE-EXT-XUE2YTNRYD2YHCZE
    # the proxy: only what is marked
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/my-nginx port 443: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-4BMBAEIB6QK2A2QR -s 10.244.1.2/32 -m comment --comment default/my-nginx:https -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-4BMBAEIB6QK2A2QR -p tcp -m comment --comment default/my-nginx:https -m tcp -j DNAT --to-destination 10.244.1.2:443
    # Service default/my-service port 80: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-NMLWMRVHWN64GV3E -s 10.244.1.3/32 -m comment --comment default/my-service:http -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-NMLWMRVHWN64GV3E -p tcp -m comment --comment default/my-service:http -m tcp -j DNAT --to-destination 10.244.1.3:9376
    # Service default/my-nginx port 443: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-PLBTFZV2TA6SHQZV -s 10.244.2.2/32 -m comment --comment default/my-nginx:https -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-PLBTFZV2TA6SHQZV -p tcp -m comment --comment default/my-nginx:https -m tcp -j DNAT --to-destination 10.244.2.2:443
    # Service default/my-nginx port 80: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-T3XCTAWNF2MSLOSC -s 10.244.1.2/32 -m comment --comment default/my-nginx:http -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-T3XCTAWNF2MSLOSC -p tcp -m comment --comment default/my-nginx:http -m tcp -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx-local port 80: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-T7JO3C6AQOM7M5Q3 -s 10.244.1.2/32 -m comment --comment default/my-nginx-local:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-T7JO3C6AQOM7M5Q3 -p tcp -m comment --comment default/my-nginx-local:http -m tcp -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx-local port 80: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-TXONEM24UHYHLADM -s 10.244.2.2/32 -m comment --comment default/my-nginx-local:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-TXONEM24UHYHLADM -p tcp -m comment --comment default/my-nginx-local:http -m tcp -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx port 80: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-UHOHG3NCCQS26D7F -s 10.244.2.2/32 -m comment --comment default/my-nginx:http -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-UHOHG3NCCQS26D7F -p tcp -m comment --comment default/my-nginx:http -m tcp -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx-sticky port 80: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-WOMA6IZCHTPEMKKK -s 10.244.2.2/32 -m comment --comment default/my-nginx-sticky:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-WOMA6IZCHTPEMKKK -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp -m recent --set --name KUBE-SEP-WOMA6IZCHTPEMKKK --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx-sticky port 80: an endpoint that calls itself
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-ZTADELN6L3HG2W6M -s 10.244.1.2/32 -m comment --comment default/my-nginx-sticky:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SEP-ZTADELN6L3HG2W6M -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp -m recent --set --name KUBE-SEP-ZTADELN6L3HG2W6M --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:https cluster IP' -m tcp --dport 443 -j KUBE-SVC-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SERVICES -d 10.96.0.82/32 -p tcp -m comment --comment 'default/my-nginx-local:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SERVICES -d 10.96.0.83/32 -p tcp -m comment --comment 'default/my-nginx-sticky:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-XUE2YTNRYD2YHCZE
    # Service default/my-service port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SERVICES -d 10.96.0.81/32 -p tcp -m comment --comment 'default/my-service:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-I37Z43XJW6BD4TLV
    # Service default/my-service port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SERVICES -d 80.11.12.10/32 -p tcp -m comment --comment 'default/my-service:http external IP' -m tcp --dport 80 -j KUBE-EXT-I37Z43XJW6BD4TLV
    # node ports of all Services
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/my-service port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-I37Z43XJW6BD4TLV ! -s 10.244.0.0/16 -d 10.96.0.81/32 -p tcp -m comment --comment 'default/my-service:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-I37Z43XJW6BD4TLV -m comment --comment 'default/my-service:http -> 10.244.1.3:9376' -j KUBE-SEP-NMLWMRVHWN64GV3E
    # Service default/my-nginx-local port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N ! -s 10.244.0.0/16 -d 10.96.0.82/32 -p tcp -m comment --comment 'default/my-nginx-local:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-T7JO3C6AQOM7M5Q3
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.2.2:80' -j KUBE-SEP-TXONEM24UHYHLADM
    # Service default/my-nginx port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 -m comment --comment 'default/my-nginx:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-T3XCTAWNF2MSLOSC
    # Service default/my-nginx port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 -m comment --comment 'default/my-nginx:http -> 10.244.2.2:80' -j KUBE-SEP-UHOHG3NCCQS26D7F
    # Service default/my-nginx port 443: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:https cluster IP' -m tcp --dport 443 -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI -m comment --comment 'default/my-nginx:https -> 10.244.1.2:443' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-4BMBAEIB6QK2A2QR
    # Service default/my-nginx port 443
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI -m comment --comment 'default/my-nginx:https -> 10.244.2.2:443' -j KUBE-SEP-PLBTFZV2TA6SHQZV
    # Service default/my-nginx-sticky port 80: masquerade
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE ! -s 10.244.0.0/16 -d 10.96.0.83/32 -p tcp -m comment --comment 'default/my-nginx-sticky:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80: session affinity
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.1.2:80' -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-ZTADELN6L3HG2W6M --mask 255.255.255.255 --rsource -j KUBE-SEP-ZTADELN6L3HG2W6M
    # Service default/my-nginx-sticky port 80: session affinity
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.2.2:80' -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-WOMA6IZCHTPEMKKK --mask 255.255.255.255 --rsource -j KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-ZTADELN6L3HG2W6M
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.2.2:80' -j KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node2 iptables -t nat -A KUBE-SVL-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.2.2:80' -j KUBE-SEP-TXONEM24UHYHLADM
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec nodeport.node2 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node2 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node2 iptables -N KUBE-FORWARD
    ip netns exec nodeport.node2 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node2 iptables -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node2 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec nodeport.node2 iptables -N KUBE-SERVICES                        # the Services of the cluster
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec nodeport.node2 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec nodeport.node2 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec nodeport.node2 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec nodeport.node2 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    ip netns exec nodeport.node2 iptables -A INPUT -j KUBE-FIREWALL               # the proxy: way into its chains
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node2 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec nodeport.node2 iptables -A OUTPUT -j KUBE-FIREWALL              # the proxy: way into its chains

    # --- node nodeport.node3
    # lab.yaml:24 (node3 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec nodeport.node3 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec nodeport.node3 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec nodeport.node3 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:39 (node3 forward)
    ip netns exec nodeport.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:39 (node3 forward)
    ip -n nodeport.node3 link add cni0 address 0a:58:0a:f4:03:01 type bridge      # lab.yaml:38 (node3 bridge cni0)
    ip -n nodeport.node3 link set cni0 up                                         # lab.yaml:38 (node3 bridge cni0)
    ip -n nodeport.node3 link set eth0 up                                         # lab.yaml:36 (node3 eth0)
    ip -n nodeport.node3 link set lo up                                           # lab.yaml:34 (node3)
    ip -n nodeport.node3 link set vethbbc master cni0                             # lab.yaml:75 (container bbc)
    bridge -n nodeport.node3 link set dev vethbbc hairpin on                      # lab.yaml:75 (container bbc)
    ip -n nodeport.node3 link set vethbbc up                                      # lab.yaml:75 (container bbc)
    ip -n nodeport.node3 addr add 10.244.3.1/24 brd 10.244.3.255 dev cni0         # lab.yaml:38 (node3 bridge cni0)
    ip -n nodeport.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0         # lab.yaml:36 (node3 eth0)
    ip -n nodeport.node3 route add default via 10.168.0.1 dev eth0                # lab.yaml:40 (node3 route 2)
    ip -n nodeport.node3 route add 10.244.1.0/24 via 10.168.0.2 dev eth0          # lab.yaml:40 (node3 route 0)
    ip -n nodeport.node3 route add 10.244.2.0/24 via 10.168.0.3 dev eth0          # lab.yaml:40 (node3 route 1)
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node3 iptables -t mangle -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-EXT-I37Z43XJW6BD4TLV     # Service default/my-service port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-EXT-QQOWKPXDOMUWKR2N
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-EXT-SV7AMNAGZFKZEMQ4     # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-EXT-WJQIRF6WKN5OOCTI     # Service default/my-nginx port 443
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-EXT-XUE2YTNRYD2YHCZE
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-4BMBAEIB6QK2A2QR     # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-NMLWMRVHWN64GV3E     # Service default/my-service port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-PLBTFZV2TA6SHQZV     # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-T3XCTAWNF2MSLOSC     # Service default/my-nginx port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-T7JO3C6AQOM7M5Q3
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-TXONEM24UHYHLADM
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-UHOHG3NCCQS26D7F     # Service default/my-nginx port 80
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SEP-ZTADELN6L3HG2W6M
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SVC-I37Z43XJW6BD4TLV     # Service default/my-service port 80
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SVC-QQOWKPXDOMUWKR2N
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SVC-SV7AMNAGZFKZEMQ4     # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SVC-WJQIRF6WKN5OOCTI     # Service default/my-nginx port 443
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -N KUBE-SVC-XUE2YTNRYD2YHCZE
    # Service default/my-service port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-I37Z43XJW6BD4TLV -m comment --comment 'masquerade traffic for default/my-service:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-I37Z43XJW6BD4TLV -j KUBE-SVC-I37Z43XJW6BD4TLV
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -s 10.244.0.0/16 -m comment --comment 'pod traffic for default/my-nginx-local:http external destinations' -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-local port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -m comment --comment 'masquerade LOCAL traffic for default/my-nginx-local:http external destinations' -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-QQOWKPXDOMUWKR2N -m comment --comment 'route LOCAL traffic for default/my-nginx-local:http external destinations' -m addrtype --src-type LOCAL -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-SV7AMNAGZFKZEMQ4 -m comment --comment 'masquerade traffic for default/my-nginx:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-SV7AMNAGZFKZEMQ4 -j KUBE-SVC-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-WJQIRF6WKN5OOCTI -m comment --comment 'masquerade traffic for default/my-nginx:https external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-WJQIRF6WKN5OOCTI -j KUBE-SVC-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-sticky port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-XUE2YTNRYD2YHCZE -m comment --comment 'masquerade traffic for default/my-nginx-sticky:http external destinations' -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-EXT-XUE2YTNRYD2YHCZE -j KUBE-SVC-XUE2YTNRYD2YHCZE
    # the proxy: mark for masquerading
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx:http -m tcp --dport 8080 -j KUBE-EXT-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx:https -m tcp --dport 443 -j KUBE-EXT-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx-local:http -m tcp --dport 30081 -j KUBE-EXT-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp --dport 30082 -j KUBE-EXT-XUE2YTNRYD2YHCZE
    # the proxy: only what is marked
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/my-nginx port 443: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-4BMBAEIB6QK2A2QR -s 10.244.1.2/32 -m comment --comment default/my-nginx:https -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-4BMBAEIB6QK2A2QR -p tcp -m comment --comment default/my-nginx:https -m tcp -j DNAT --to-destination 10.244.1.2:443
    # Service default/my-service port 80: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-NMLWMRVHWN64GV3E -s 10.244.1.3/32 -m comment --comment default/my-service:http -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-NMLWMRVHWN64GV3E -p tcp -m comment --comment default/my-service:http -m tcp -j DNAT --to-destination 10.244.1.3:9376
    # Service default/my-nginx port 443: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-PLBTFZV2TA6SHQZV -s 10.244.2.2/32 -m comment --comment default/my-nginx:https -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-PLBTFZV2TA6SHQZV -p tcp -m comment --comment default/my-nginx:https -m tcp -j DNAT --to-destination 10.244.2.2:443
    # Service default/my-nginx port 80: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-T3XCTAWNF2MSLOSC -s 10.244.1.2/32 -m comment --comment default/my-nginx:http -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-T3XCTAWNF2MSLOSC -p tcp -m comment --comment default/my-nginx:http -m tcp -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx-local port 80: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-T7JO3C6AQOM7M5Q3 -s 10.244.1.2/32 -m comment --comment default/my-nginx-local:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-T7JO3C6AQOM7M5Q3 -p tcp -m comment --comment default/my-nginx-local:http -m tcp -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx-local port 80: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-TXONEM24UHYHLADM -s 10.244.2.2/32 -m comment --comment default/my-nginx-local:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-TXONEM24UHYHLADM -p tcp -m comment --comment default/my-nginx-local:http -m tcp -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx port 80: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-UHOHG3NCCQS26D7F -s 10.244.2.2/32 -m comment --comment default/my-nginx:http -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-UHOHG3NCCQS26D7F -p tcp -m comment --comment default/my-nginx:http -m tcp -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx-sticky port 80: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-WOMA6IZCHTPEMKKK -s 10.244.2.2/32 -m comment --comment default/my-nginx-sticky:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-WOMA6IZCHTPEMKKK -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp -m recent --set --name KUBE-SEP-WOMA6IZCHTPEMKKK --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.244.2.2:80
    # Service default/my-nginx-sticky port 80: an endpoint that calls itself
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-ZTADELN6L3HG2W6M -s 10.244.1.2/32 -m comment --comment default/my-nginx-sticky:http -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SEP-ZTADELN6L3HG2W6M -p tcp -m comment --comment default/my-nginx-sticky:http -m tcp -m recent --set --name KUBE-SEP-ZTADELN6L3HG2W6M --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.244.1.2:80
    # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-SV7AMNAGZFKZEMQ4
    # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SERVICES -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:https cluster IP' -m tcp --dport 443 -j KUBE-SVC-WJQIRF6WKN5OOCTI
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SERVICES -d 10.96.0.82/32 -p tcp -m comment --comment 'default/my-nginx-local:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-QQOWKPXDOMUWKR2N
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SERVICES -d 10.96.0.83/32 -p tcp -m comment --comment 'default/my-nginx-sticky:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-XUE2YTNRYD2YHCZE
    # Service default/my-service port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SERVICES -d 10.96.0.81/32 -p tcp -m comment --comment 'default/my-service:http cluster IP' -m tcp --dport 80 -j KUBE-SVC-I37Z43XJW6BD4TLV
    # Service default/my-service port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SERVICES -d 80.11.12.10/32 -p tcp -m comment --comment 'default/my-service:http external IP' -m tcp --dport 80 -j KUBE-EXT-I37Z43XJW6BD4TLV
    # node ports of all Services
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/my-service port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-I37Z43XJW6BD4TLV ! -s 10.244.0.0/16 -d 10.96.0.81/32 -p tcp -m comment --comment 'default/my-service:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-service port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-I37Z43XJW6BD4TLV -m comment --comment 'default/my-service:http -> 10.244.1.3:9376' -j KUBE-SEP-NMLWMRVHWN64GV3E
    # Service default/my-nginx-local port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N ! -s 10.244.0.0/16 -d 10.96.0.82/32 -p tcp -m comment --comment 'default/my-nginx-local:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-T7JO3C6AQOM7M5Q3
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-QQOWKPXDOMUWKR2N -m comment --comment 'default/my-nginx-local:http -> 10.244.2.2:80' -j KUBE-SEP-TXONEM24UHYHLADM
    # Service default/my-nginx port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 -m comment --comment 'default/my-nginx:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-T3XCTAWNF2MSLOSC
    # Service default/my-nginx port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-SV7AMNAGZFKZEMQ4 -m comment --comment 'default/my-nginx:http -> 10.244.2.2:80' -j KUBE-SEP-UHOHG3NCCQS26D7F
    # Service default/my-nginx port 443: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI ! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment 'default/my-nginx:https cluster IP' -m tcp --dport 443 -j KUBE-MARK-MASQ
    # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI -m comment --comment 'default/my-nginx:https -> 10.244.1.2:443' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-4BMBAEIB6QK2A2QR
    # Service default/my-nginx port 443
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-WJQIRF6WKN5OOCTI -m comment --comment 'default/my-nginx:https -> 10.244.2.2:443' -j KUBE-SEP-PLBTFZV2TA6SHQZV
    # Service default/my-nginx-sticky port 80: masquerade
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE ! -s 10.244.0.0/16 -d 10.96.0.83/32 -p tcp -m comment --comment 'default/my-nginx-sticky:http cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/my-nginx-sticky port 80: session affinity
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.1.2:80' -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-ZTADELN6L3HG2W6M --mask 255.255.255.255 --rsource -j KUBE-SEP-ZTADELN6L3HG2W6M
    # Service default/my-nginx-sticky port 80: session affinity
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.2.2:80' -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-WOMA6IZCHTPEMKKK --mask 255.255.255.255 --rsource -j KUBE-SEP-WOMA6IZCHTPEMKKK
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.1.2:80' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-ZTADELN6L3HG2W6M
    # Service default/my-nginx-sticky port 80
    ip netns exec nodeport.node3 iptables -t nat -A KUBE-SVC-XUE2YTNRYD2YHCZE -m comment --comment 'default/my-nginx-sticky:http -> 10.244.2.2:80' -j KUBE-SEP-WOMA6IZCHTPEMKKK
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec nodeport.node3 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node3 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node3 iptables -N KUBE-FORWARD
    ip netns exec nodeport.node3 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec nodeport.node3 iptables -N KUBE-PROXY-CANARY
    ip netns exec nodeport.node3 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec nodeport.node3 iptables -N KUBE-SERVICES                        # the Services of the cluster
    # Service default/my-nginx-local port 80
    ip netns exec nodeport.node3 iptables -A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment 'default/my-nginx-local:http has no local endpoints' -m addrtype --dst-type LOCAL -m tcp --dport 30081 -j DROP
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec nodeport.node3 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec nodeport.node3 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec nodeport.node3 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec nodeport.node3 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    ip netns exec nodeport.node3 iptables -A INPUT -j KUBE-FIREWALL               # the proxy: way into its chains
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec nodeport.node3 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec nodeport.node3 iptables -A OUTPUT -j KUBE-FIREWALL              # the proxy: way into its chains

    # --- node nodeport.router
    ip netns exec nodeport.router sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:48 (router forward)
    ip netns exec nodeport.router sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:48 (router forward)
    ip -n nodeport.router link set eth0 up                                     # lab.yaml:46 (router eth0)
    ip -n nodeport.router link set eth1 up                                     # lab.yaml:47 (router eth1)
    ip -n nodeport.router link set lo up                                       # lab.yaml:44 (router)
    ip -n nodeport.router addr add 10.168.0.1/24 brd 10.168.0.255 dev eth0     # lab.yaml:46 (router eth0)
    ip -n nodeport.router addr add 192.0.2.1/24 brd 192.0.2.255 dev eth1       # lab.yaml:47 (router eth1)
    ip -n nodeport.router route add 80.11.12.10/32 via 10.168.0.4 dev eth0     # lab.yaml:49 (router route 0)

    # --- node nodeport.outside
    ip -n nodeport.outside link set eth0 up                                 # lab.yaml:52 (outside eth0)
    ip -n nodeport.outside link set lo up                                   # lab.yaml:50 (outside)
    ip -n nodeport.outside addr add 192.0.2.80/24 brd 192.0.2.255 dev eth0  # lab.yaml:52 (outside eth0)
    ip -n nodeport.outside route add default via 192.0.2.1 dev eth0         # lab.yaml:53 (outside route 0)

    # --- node nodeport.my-nginx-1
    ip -n nodeport.my-nginx-1 link set eth0 up                                  # lab.yaml:56 (container my-nginx-1)
    ip -n nodeport.my-nginx-1 link set lo up                                    # lab.yaml:56 (container my-nginx-1)
    ip -n nodeport.my-nginx-1 addr add 10.244.1.2/24 brd 10.244.1.255 dev eth0  # lab.yaml:56 (container my-nginx-1)
    # lab.yaml:56 (container my-nginx-1 gateway)
    ip -n nodeport.my-nginx-1 route add default via 10.244.1.1 dev eth0

    # --- node nodeport.my-nginx-2
    ip -n nodeport.my-nginx-2 link set eth0 up                                  # lab.yaml:62 (container my-nginx-2)
    ip -n nodeport.my-nginx-2 link set lo up                                    # lab.yaml:62 (container my-nginx-2)
    ip -n nodeport.my-nginx-2 addr add 10.244.2.2/24 brd 10.244.2.255 dev eth0  # lab.yaml:62 (container my-nginx-2)
    # lab.yaml:62 (container my-nginx-2 gateway)
    ip -n nodeport.my-nginx-2 route add default via 10.244.2.1 dev eth0

    # --- node nodeport.my-app
    ip -n nodeport.my-app link set eth0 up                                  # lab.yaml:68 (container my-app)
    ip -n nodeport.my-app link set lo up                                    # lab.yaml:68 (container my-app)
    ip -n nodeport.my-app addr add 10.244.1.3/24 brd 10.244.1.255 dev eth0  # lab.yaml:68 (container my-app)
    ip -n nodeport.my-app route add default via 10.244.1.1 dev eth0         # lab.yaml:68 (container my-app gateway)

    # --- node nodeport.bbc
    ip -n nodeport.bbc link set eth0 up                                  # lab.yaml:75 (container bbc)
    ip -n nodeport.bbc link set lo up                                    # lab.yaml:75 (container bbc)
    ip -n nodeport.bbc addr add 10.244.3.2/24 brd 10.244.3.255 dev eth0  # lab.yaml:75 (container bbc)
    ip -n nodeport.bbc route add default via 10.244.3.1 dev eth0         # lab.yaml:75 (container bbc gateway)

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
