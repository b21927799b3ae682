#!/bin/sh
# Finding a container: Services and their names
#
# A PC with Docker's bridges and a cluster of kind on one of them: a node that runs a proxy, pods on its cni0, two of
# them name servers of the cluster. The home router is the PC's way to the world, the name server above the cluster's,
# and the database that an ExternalName stands for.
#
#   sh dns-services.sh up      builds it
#   sh dns-services.sh down    removes all of it
set -eu

run=/run/netlab-script-dns-services
namespaces='dns-services.home dns-services.cvndevice dns-services.pc dns-services.kind-control-plane dns-services.coredns-1 dns-services.coredns-2 dns-services.hostnames-9klb2 dns-services.hostnames-xths6 dns-services.hostnames-khxpz dns-services.web-0 dns-services.web-1 dns-services.dns-test'

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
    ip netns add dns-services.home
    ip netns add dns-services.cvndevice
    ip netns add dns-services.pc
    ip netns add dns-services.kind-control-plane
    ip netns add dns-services.coredns-1
    ip netns add dns-services.coredns-2
    ip netns add dns-services.hostnames-9klb2
    ip netns add dns-services.hostnames-xths6
    ip netns add dns-services.hostnames-khxpz
    ip netns add dns-services.web-0
    ip netns add dns-services.web-1
    ip netns add dns-services.dns-test

    # --- cables: veth pairs
    # lab.yaml:42 (kind-control-plane eth0); lab.yaml:33 (pc veth2f1a9c0)
    ip -n dns-services.kind-control-plane link add eth0 address 02:42:ac:12:00:02 type veth peer name veth2f1a9c0 address 02:90:aa:3a:eb:fe netns dns-services.pc
    # lab.yaml:52 (container coredns-1)
    ip -n dns-services.kind-control-plane link add veth-coredns-1 address 02:e8:d2:6e:c5:05 type veth peer name eth0 address 0a:58:0a:f4:00:02 netns dns-services.coredns-1
    # lab.yaml:61 (container coredns-2)
    ip -n dns-services.kind-control-plane link add veth-coredns-2 address 02:63:1a:ef:30:65 type veth peer name eth0 address 0a:58:0a:f4:00:03 netns dns-services.coredns-2
    # lab.yaml:103 (container dns-test)
    ip -n dns-services.kind-control-plane link add veth-dns-test address 02:7c:47:45:53:c3 type veth peer name eth0 address 0a:58:0a:f4:00:28 netns dns-services.dns-test
    # lab.yaml:89 (container web-0)
    ip -n dns-services.kind-control-plane link add veth-web-0 address 02:ea:f3:05:82:a8 type veth peer name eth0 address 0a:58:0a:f4:00:1e netns dns-services.web-0
    # lab.yaml:95 (container web-1)
    ip -n dns-services.kind-control-plane link add veth-web-1 address 02:4f:61:7a:46:f2 type veth peer name eth0 address 0a:58:0a:f4:00:1f netns dns-services.web-1
    # lab.yaml:69 (container hostnames-9klb2)
    ip -n dns-services.kind-control-plane link add veth9klb2 address 02:11:18:72:98:b2 type veth peer name eth0 address 0a:58:0a:f4:00:05 netns dns-services.hostnames-9klb2
    # lab.yaml:81 (container hostnames-khxpz)
    ip -n dns-services.kind-control-plane link add vethkhxpz address 02:b4:9a:b8:18:5f type veth peer name eth0 address 0a:58:0a:f4:00:07 netns dns-services.hostnames-khxpz
    # lab.yaml:75 (container hostnames-xths6)
    ip -n dns-services.kind-control-plane link add vethxths6 address 02:e9:1d:92:7b:cb type veth peer name eth0 address 0a:58:0a:f4:00:06 netns dns-services.hostnames-xths6
    # lab.yaml:20 (cvndevice eth0)
    ip -n dns-services.home link add cvndevice-eth0 address 02:75:90:eb:bd:76 type veth peer name eth0 address 02:42:c0:a8:64:01 netns dns-services.cvndevice
    # lab.yaml:32 (pc wlp3s0)
    ip -n dns-services.home link add pc-wlp3s0 address 02:86:d0:82:a1:c6 type veth peer name wlp3s0 address 02:42:c0:a8:64:02 netns dns-services.pc

    # --- node dns-services.home
    ip -n dns-services.home link add home address 02:b4:e6:19:d8:c7 type bridge  # lab.yaml:13 (network home)
    ip -n dns-services.home link set home up                                     # lab.yaml:13 (network home)
    ip -n dns-services.home link set cvndevice-eth0 master home                  # lab.yaml:20 (cvndevice eth0)
    ip -n dns-services.home link set cvndevice-eth0 up                           # lab.yaml:20 (cvndevice eth0)
    ip -n dns-services.home link set lo up                                       # lab.yaml:13 (network home)
    ip -n dns-services.home link set pc-wlp3s0 master home                       # lab.yaml:32 (pc wlp3s0)
    ip -n dns-services.home link set pc-wlp3s0 up                                # lab.yaml:32 (pc wlp3s0)

    # --- node dns-services.cvndevice
    ip -n dns-services.cvndevice link set eth0 up                                        # lab.yaml:20 (cvndevice eth0)
    ip -n dns-services.cvndevice link set lo up                                          # lab.yaml:17 (cvndevice)
    ip -n dns-services.cvndevice addr add 192.168.100.1/24 brd 192.168.100.255 dev eth0  # lab.yaml:20 (cvndevice eth0)
    ip -n dns-services.cvndevice addr add 198.51.100.10/32 dev eth0                      # lab.yaml:20 (cvndevice eth0)

    # --- node dns-services.pc
    ip netns exec dns-services.pc sysctl -q -w net.ipv4.ip_forward=1                 # lab.yaml:37 (pc forward)
    ip netns exec dns-services.pc sysctl -q -w net.ipv6.conf.all.forwarding=1        # lab.yaml:37 (pc forward)
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2)
    ip -n dns-services.pc link add br-6b96cfe9dca2 address 02:42:ac:12:00:01 type bridge
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2)
    ip -n dns-services.pc link set br-6b96cfe9dca2 up
    ip -n dns-services.pc link add docker0 address 02:42:ac:11:00:01 type bridge     # lab.yaml:35 (pc bridge docker0)
    ip -n dns-services.pc link set docker0 up                                        # lab.yaml:35 (pc bridge docker0)
    ip -n dns-services.pc link set lo up                                             # lab.yaml:30 (pc)
    ip -n dns-services.pc link set veth2f1a9c0 master br-6b96cfe9dca2                # lab.yaml:33 (pc veth2f1a9c0)
    ip -n dns-services.pc link set veth2f1a9c0 up                                    # lab.yaml:33 (pc veth2f1a9c0)
    ip -n dns-services.pc link set wlp3s0 up                                         # lab.yaml:32 (pc wlp3s0)
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2)
    ip -n dns-services.pc addr add 172.18.0.1/16 brd 172.18.255.255 dev br-6b96cfe9dca2
    ip -n dns-services.pc addr add 172.17.0.1/16 brd 172.17.255.255 dev docker0      # lab.yaml:35 (pc bridge docker0)
    ip -n dns-services.pc addr add 192.168.100.2/24 brd 192.168.100.255 dev wlp3s0   # lab.yaml:32 (pc wlp3s0)
    ip -n dns-services.pc route add default via 192.168.100.1 dev wlp3s0 metric 600  # lab.yaml:38 (pc route 0)
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2)
    ip netns exec dns-services.pc iptables -t nat -N DOCKER
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2): published ports, from here
    ip netns exec dns-services.pc iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2): masquerade what leaves br-6b96cfe9dca2
    ip netns exec dns-services.pc iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br-6b96cfe9dca2 -j MASQUERADE
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2): published ports, from outside
    ip netns exec dns-services.pc iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2)
    ip netns exec dns-services.pc iptables -N DOCKER
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2)
    ip netns exec dns-services.pc iptables -P FORWARD DROP
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2): published ports
    ip netns exec dns-services.pc iptables -A FORWARD -o br-6b96cfe9dca2 -j DOCKER
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2): answers
    ip netns exec dns-services.pc iptables -A FORWARD -o br-6b96cfe9dca2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2): containers to outside
    ip netns exec dns-services.pc iptables -A FORWARD -i br-6b96cfe9dca2 ! -o br-6b96cfe9dca2 -j ACCEPT
    # lab.yaml:36 (pc bridge br-6b96cfe9dca2): container to container
    ip netns exec dns-services.pc iptables -A FORWARD -i br-6b96cfe9dca2 -o br-6b96cfe9dca2 -j ACCEPT

    # --- node dns-services.kind-control-plane
    # lab.yaml:48 (kind-control-plane sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec dns-services.kind-control-plane sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    # node ports on 127.0.0.1
    ip netns exec dns-services.kind-control-plane sysctl -q -w net.ipv4.conf.all.route_localnet=1
    # lab.yaml:45 (kind-control-plane forward)
    ip netns exec dns-services.kind-control-plane sysctl -q -w net.ipv4.ip_forward=1
    # lab.yaml:45 (kind-control-plane forward)
    ip netns exec dns-services.kind-control-plane sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:44 (kind-control-plane bridge cni0)
    ip -n dns-services.kind-control-plane link add cni0 address 0a:58:0a:f4:00:01 type bridge
    # lab.yaml:44 (kind-control-plane bridge cni0)
    ip -n dns-services.kind-control-plane link set cni0 up
    # lab.yaml:42 (kind-control-plane eth0)
    ip -n dns-services.kind-control-plane link set eth0 up
    # lab.yaml:40 (kind-control-plane)
    ip -n dns-services.kind-control-plane link set lo up
    # lab.yaml:52 (container coredns-1)
    ip -n dns-services.kind-control-plane link set veth-coredns-1 master cni0
    # lab.yaml:52 (container coredns-1)
    bridge -n dns-services.kind-control-plane link set dev veth-coredns-1 hairpin on
    # lab.yaml:52 (container coredns-1)
    ip -n dns-services.kind-control-plane link set veth-coredns-1 up
    # lab.yaml:61 (container coredns-2)
    ip -n dns-services.kind-control-plane link set veth-coredns-2 master cni0
    # lab.yaml:61 (container coredns-2)
    bridge -n dns-services.kind-control-plane link set dev veth-coredns-2 hairpin on
    # lab.yaml:61 (container coredns-2)
    ip -n dns-services.kind-control-plane link set veth-coredns-2 up
    # lab.yaml:103 (container dns-test)
    ip -n dns-services.kind-control-plane link set veth-dns-test master cni0
    # lab.yaml:103 (container dns-test)
    bridge -n dns-services.kind-control-plane link set dev veth-dns-test hairpin on
    # lab.yaml:103 (container dns-test)
    ip -n dns-services.kind-control-plane link set veth-dns-test up
    ip -n dns-services.kind-control-plane link set veth-web-0 master cni0              # lab.yaml:89 (container web-0)
    bridge -n dns-services.kind-control-plane link set dev veth-web-0 hairpin on       # lab.yaml:89 (container web-0)
    ip -n dns-services.kind-control-plane link set veth-web-0 up                       # lab.yaml:89 (container web-0)
    ip -n dns-services.kind-control-plane link set veth-web-1 master cni0              # lab.yaml:95 (container web-1)
    bridge -n dns-services.kind-control-plane link set dev veth-web-1 hairpin on       # lab.yaml:95 (container web-1)
    ip -n dns-services.kind-control-plane link set veth-web-1 up                       # lab.yaml:95 (container web-1)
    # lab.yaml:69 (container hostnames-9klb2)
    ip -n dns-services.kind-control-plane link set veth9klb2 master cni0
    # lab.yaml:69 (container hostnames-9klb2)
    bridge -n dns-services.kind-control-plane link set dev veth9klb2 hairpin on
    # lab.yaml:69 (container hostnames-9klb2)
    ip -n dns-services.kind-control-plane link set veth9klb2 up
    # lab.yaml:81 (container hostnames-khxpz)
    ip -n dns-services.kind-control-plane link set vethkhxpz master cni0
    # lab.yaml:81 (container hostnames-khxpz)
    bridge -n dns-services.kind-control-plane link set dev vethkhxpz hairpin on
    # lab.yaml:81 (container hostnames-khxpz)
    ip -n dns-services.kind-control-plane link set vethkhxpz up
    # lab.yaml:75 (container hostnames-xths6)
    ip -n dns-services.kind-control-plane link set vethxths6 master cni0
    # lab.yaml:75 (container hostnames-xths6)
    bridge -n dns-services.kind-control-plane link set dev vethxths6 hairpin on
    # lab.yaml:75 (container hostnames-xths6)
    ip -n dns-services.kind-control-plane link set vethxths6 up
    # lab.yaml:44 (kind-control-plane bridge cni0)
    ip -n dns-services.kind-control-plane addr add 10.244.0.1/24 brd 10.244.0.255 dev cni0
    # lab.yaml:42 (kind-control-plane eth0)
    ip -n dns-services.kind-control-plane addr add 172.18.0.2/16 brd 172.18.255.255 dev eth0
    # lab.yaml:46 (kind-control-plane route 0)
    ip -n dns-services.kind-control-plane route add default via 172.18.0.1 dev eth0
    # the proxy: a chain that stands in every node
    ip netns exec dns-services.kind-control-plane iptables -t mangle -N KUBE-PROXY-CANARY
    # lab.yaml:44 (kind-control-plane bridge cni0)
    ip netns exec dns-services.kind-control-plane iptables -t nat -N DOCKER
    # the proxy: a chain that stands in every node
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-NODEPORTS    # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-PROXY-CANARY
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SEP-2N4TWC53YU5D2546
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SEP-6E7XQMQ4RAYOWTTM
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SEP-GM6WC6GWYLPURA7R
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SEP-IT2ZTR26TO4XFPTO
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SEP-WP4DJFDWEPABKXDE
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SEP-YIL6JZP7A3QYXJU2
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SEP-ZXMNUKOKXUTL2MK2
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SERVICES     # the Services of the cluster
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SVC-ERIFXISQEP7F7OF4
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -N KUBE-SVC-TCOU7JCQXEZGVUNU
    # the proxy: mark for masquerading
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: only what is marked
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-2N4TWC53YU5D2546 -s 10.244.0.6/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-2N4TWC53YU5D2546 -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.0.6:9376
    # Service kube-system/kube-dns port 53/udp: an endpoint that calls itself
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-6E7XQMQ4RAYOWTTM -s 10.244.0.3/32 -m comment --comment kube-system/kube-dns:dns -j KUBE-MARK-MASQ
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-6E7XQMQ4RAYOWTTM -p udp -m comment --comment kube-system/kube-dns:dns -m udp -j DNAT --to-destination 10.244.0.3:53
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-GM6WC6GWYLPURA7R -s 10.244.0.7/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-GM6WC6GWYLPURA7R -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.0.7:9376
    # Service kube-system/kube-dns port 53: an endpoint that calls itself
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-IT2ZTR26TO4XFPTO -s 10.244.0.2/32 -m comment --comment kube-system/kube-dns:dns-tcp -j KUBE-MARK-MASQ
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-IT2ZTR26TO4XFPTO -p tcp -m comment --comment kube-system/kube-dns:dns-tcp -m tcp -j DNAT --to-destination 10.244.0.2:53
    # Service default/hostnames port 80: an endpoint that calls itself
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-WP4DJFDWEPABKXDE -s 10.244.0.5/32 -m comment --comment default/hostnames:default -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-WP4DJFDWEPABKXDE -p tcp -m comment --comment default/hostnames:default -m tcp -j DNAT --to-destination 10.244.0.5:9376
    # Service kube-system/kube-dns port 53/udp: an endpoint that calls itself
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-YIL6JZP7A3QYXJU2 -s 10.244.0.2/32 -m comment --comment kube-system/kube-dns:dns -j KUBE-MARK-MASQ
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-YIL6JZP7A3QYXJU2 -p udp -m comment --comment kube-system/kube-dns:dns -m udp -j DNAT --to-destination 10.244.0.2:53
    # Service kube-system/kube-dns port 53: an endpoint that calls itself
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-ZXMNUKOKXUTL2MK2 -s 10.244.0.3/32 -m comment --comment kube-system/kube-dns:dns-tcp -j KUBE-MARK-MASQ
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SEP-ZXMNUKOKXUTL2MK2 -p tcp -m comment --comment kube-system/kube-dns:dns-tcp -m tcp -j DNAT --to-destination 10.244.0.3:53
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SERVICES -d 10.96.152.205/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-SVC-ODX2UBAZM7RQWOIU
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment 'kube-system/kube-dns:dns cluster IP' -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment 'kube-system/kube-dns:dns-tcp cluster IP' -m tcp --dport 53 -j KUBE-SVC-ERIFXISQEP7F7OF4
    # node ports of all Services
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service kube-system/kube-dns port 53: masquerade
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-ERIFXISQEP7F7OF4 ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m comment --comment 'kube-system/kube-dns:dns-tcp cluster IP' -m tcp --dport 53 -j KUBE-MARK-MASQ
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-ERIFXISQEP7F7OF4 -m comment --comment 'kube-system/kube-dns:dns-tcp -> 10.244.0.2:53' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-IT2ZTR26TO4XFPTO
    # Service kube-system/kube-dns port 53
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-ERIFXISQEP7F7OF4 -m comment --comment 'kube-system/kube-dns:dns-tcp -> 10.244.0.3:53' -j KUBE-SEP-ZXMNUKOKXUTL2MK2
    # Service default/hostnames port 80: masquerade
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU ! -s 10.244.0.0/16 -d 10.96.152.205/32 -p tcp -m comment --comment 'default/hostnames:default cluster IP' -m tcp --dport 80 -j KUBE-MARK-MASQ
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.0.5:9376' -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-WP4DJFDWEPABKXDE
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.0.6:9376' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-2N4TWC53YU5D2546
    # Service default/hostnames port 80
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-ODX2UBAZM7RQWOIU -m comment --comment 'default/hostnames:default -> 10.244.0.7:9376' -j KUBE-SEP-GM6WC6GWYLPURA7R
    # Service kube-system/kube-dns port 53/udp: masquerade
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-TCOU7JCQXEZGVUNU ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p udp -m comment --comment 'kube-system/kube-dns:dns cluster IP' -m udp --dport 53 -j KUBE-MARK-MASQ
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment 'kube-system/kube-dns:dns -> 10.244.0.2:53' -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-YIL6JZP7A3QYXJU2
    # Service kube-system/kube-dns port 53/udp
    ip netns exec dns-services.kind-control-plane iptables -t nat -A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment 'kube-system/kube-dns:dns -> 10.244.0.3:53' -j KUBE-SEP-6E7XQMQ4RAYOWTTM
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # lab.yaml:44 (kind-control-plane bridge cni0): published ports, from here
    ip netns exec dns-services.kind-control-plane iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # lab.yaml:44 (kind-control-plane bridge cni0): masquerade what leaves cni0
    ip netns exec dns-services.kind-control-plane iptables -t nat -A POSTROUTING -s 10.244.0.0/24 ! -o cni0 -j MASQUERADE
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # lab.yaml:44 (kind-control-plane bridge cni0): published ports, from outside
    ip netns exec dns-services.kind-control-plane iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    # lab.yaml:44 (kind-control-plane bridge cni0)
    ip netns exec dns-services.kind-control-plane iptables -N DOCKER
    ip netns exec dns-services.kind-control-plane iptables -N KUBE-EXTERNAL-SERVICES   # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec dns-services.kind-control-plane iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec dns-services.kind-control-plane iptables -N KUBE-FORWARD
    ip netns exec dns-services.kind-control-plane iptables -N KUBE-NODEPORTS           # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec dns-services.kind-control-plane iptables -N KUBE-PROXY-CANARY
    ip netns exec dns-services.kind-control-plane iptables -N KUBE-PROXY-FIREWALL      # the Services of the cluster
    ip netns exec dns-services.kind-control-plane iptables -N KUBE-SERVICES            # the Services of the cluster
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec dns-services.kind-control-plane iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec dns-services.kind-control-plane iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec dns-services.kind-control-plane iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec dns-services.kind-control-plane iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:44 (kind-control-plane bridge cni0)
    ip netns exec dns-services.kind-control-plane iptables -P FORWARD DROP
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # lab.yaml:44 (kind-control-plane bridge cni0): published ports
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -o cni0 -j DOCKER
    # lab.yaml:44 (kind-control-plane bridge cni0): answers
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -o cni0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:44 (kind-control-plane bridge cni0): containers to outside
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -i cni0 ! -o cni0 -j ACCEPT
    # lab.yaml:44 (kind-control-plane bridge cni0): container to container
    ip netns exec dns-services.kind-control-plane iptables -A FORWARD -i cni0 -o cni0 -j ACCEPT
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    ip netns exec dns-services.kind-control-plane iptables -A INPUT -j KUBE-FIREWALL   # the proxy: way into its chains
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec dns-services.kind-control-plane iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec dns-services.kind-control-plane iptables -A OUTPUT -j KUBE-FIREWALL  # the proxy: way into its chains

    # --- node dns-services.coredns-1
    ip -n dns-services.coredns-1 link set eth0 up                                  # lab.yaml:52 (container coredns-1)
    ip -n dns-services.coredns-1 link set lo up                                    # lab.yaml:52 (container coredns-1)
    ip -n dns-services.coredns-1 addr add 10.244.0.2/24 brd 10.244.0.255 dev eth0  # lab.yaml:52 (container coredns-1)
    # lab.yaml:52 (container coredns-1 gateway)
    ip -n dns-services.coredns-1 route add default via 10.244.0.1 dev eth0

    # --- node dns-services.coredns-2
    ip -n dns-services.coredns-2 link set eth0 up                                  # lab.yaml:61 (container coredns-2)
    ip -n dns-services.coredns-2 link set lo up                                    # lab.yaml:61 (container coredns-2)
    ip -n dns-services.coredns-2 addr add 10.244.0.3/24 brd 10.244.0.255 dev eth0  # lab.yaml:61 (container coredns-2)
    # lab.yaml:61 (container coredns-2 gateway)
    ip -n dns-services.coredns-2 route add default via 10.244.0.1 dev eth0

    # --- node dns-services.hostnames-9klb2
    ip -n dns-services.hostnames-9klb2 link set eth0 up  # lab.yaml:69 (container hostnames-9klb2)
    ip -n dns-services.hostnames-9klb2 link set lo up    # lab.yaml:69 (container hostnames-9klb2)
    # lab.yaml:69 (container hostnames-9klb2)
    ip -n dns-services.hostnames-9klb2 addr add 10.244.0.5/24 brd 10.244.0.255 dev eth0
    # lab.yaml:69 (container hostnames-9klb2 gateway)
    ip -n dns-services.hostnames-9klb2 route add default via 10.244.0.1 dev eth0

    # --- node dns-services.hostnames-xths6
    ip -n dns-services.hostnames-xths6 link set eth0 up  # lab.yaml:75 (container hostnames-xths6)
    ip -n dns-services.hostnames-xths6 link set lo up    # lab.yaml:75 (container hostnames-xths6)
    # lab.yaml:75 (container hostnames-xths6)
    ip -n dns-services.hostnames-xths6 addr add 10.244.0.6/24 brd 10.244.0.255 dev eth0
    # lab.yaml:75 (container hostnames-xths6 gateway)
    ip -n dns-services.hostnames-xths6 route add default via 10.244.0.1 dev eth0

    # --- node dns-services.hostnames-khxpz
    ip -n dns-services.hostnames-khxpz link set eth0 up  # lab.yaml:81 (container hostnames-khxpz)
    ip -n dns-services.hostnames-khxpz link set lo up    # lab.yaml:81 (container hostnames-khxpz)
    # lab.yaml:81 (container hostnames-khxpz)
    ip -n dns-services.hostnames-khxpz addr add 10.244.0.7/24 brd 10.244.0.255 dev eth0
    # lab.yaml:81 (container hostnames-khxpz gateway)
    ip -n dns-services.hostnames-khxpz route add default via 10.244.0.1 dev eth0

    # --- node dns-services.web-0
    ip -n dns-services.web-0 link set eth0 up                                   # lab.yaml:89 (container web-0)
    ip -n dns-services.web-0 link set lo up                                     # lab.yaml:89 (container web-0)
    ip -n dns-services.web-0 addr add 10.244.0.30/24 brd 10.244.0.255 dev eth0  # lab.yaml:89 (container web-0)
    ip -n dns-services.web-0 route add default via 10.244.0.1 dev eth0          # lab.yaml:89 (container web-0 gateway)

    # --- node dns-services.web-1
    ip -n dns-services.web-1 link set eth0 up                                   # lab.yaml:95 (container web-1)
    ip -n dns-services.web-1 link set lo up                                     # lab.yaml:95 (container web-1)
    ip -n dns-services.web-1 addr add 10.244.0.31/24 brd 10.244.0.255 dev eth0  # lab.yaml:95 (container web-1)
    ip -n dns-services.web-1 route add default via 10.244.0.1 dev eth0          # lab.yaml:95 (container web-1 gateway)

    # --- node dns-services.dns-test
    ip -n dns-services.dns-test link set eth0 up                                   # lab.yaml:103 (container dns-test)
    ip -n dns-services.dns-test link set lo up                                     # lab.yaml:103 (container dns-test)
    ip -n dns-services.dns-test addr add 10.244.0.40/24 brd 10.244.0.255 dev eth0  # lab.yaml:103 (container dns-test)
    # lab.yaml:103 (container dns-test gateway)
    ip -n dns-services.dns-test route add default via 10.244.0.1 dev eth0

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
