#!/bin/sh
# A Service by IPVS: the kernel's own load balancer
#
# Three nodes with pods on cni0 and plain routes to each other's pods, and a machine outside. On each node runs a proxy
# that makes a virtual server of each Service, on an address of the device kube-ipvs0, with the endpoints behind it in
# turns. As a script of ip, ipset, ipvsadm and iptables this lab has what its manifests ask for, and no one who would
# follow a change.
#
#   sh services-ipvs.sh up      builds it
#   sh services-ipvs.sh down    removes all of it
set -eu

run=/run/netlab-script-services-ipvs
namespaces='services-ipvs.lan services-ipvs.node1 services-ipvs.node2 services-ipvs.node3 services-ipvs.outside services-ipvs.hostnames-9klb2 services-ipvs.hostnames-xths6 services-ipvs.hostnames-khxpz services-ipvs.bbc'

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
    ip netns add services-ipvs.lan
    ip netns add services-ipvs.node1
    ip netns add services-ipvs.node2
    ip netns add services-ipvs.node3
    ip netns add services-ipvs.outside
    ip netns add services-ipvs.hostnames-9klb2
    ip netns add services-ipvs.hostnames-xths6
    ip netns add services-ipvs.hostnames-khxpz
    ip netns add services-ipvs.bbc

    # --- cables: veth pairs
    # lab.yaml:17 (node1 eth0)
    ip -n services-ipvs.lan link add node1-eth0 address 02:a0:ba:dd:c9:ba type veth peer name eth0 address 02:42:0a:a8:00:02 netns services-ipvs.node1
    # lab.yaml:28 (node2 eth0)
    ip -n services-ipvs.lan link add node2-eth0 address 02:e6:96:6f:39:d8 type veth peer name eth0 address 02:42:0a:a8:00:03 netns services-ipvs.node2
    # lab.yaml:36 (node3 eth0)
    ip -n services-ipvs.lan link add node3-eth0 address 02:ff:73:0c:a7:dc type veth peer name eth0 address 02:42:0a:a8:00:04 netns services-ipvs.node3
    # lab.yaml:46 (outside eth0)
    ip -n services-ipvs.lan link add outside-eth0 address 02:07:be:fe:f6:03 type veth peer name eth0 address 02:42:0a:a8:00:64 netns services-ipvs.outside
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-ipvs.node1 link add veth9klb2 address 02:26:f6:76:83:fa type veth peer name eth0 address 0a:58:0a:f4:01:07 netns services-ipvs.hostnames-9klb2
    # lab.yaml:71 (container bbc)
    ip -n services-ipvs.node1 link add vethbbc address 02:50:fe:02:8b:37 type veth peer name eth0 address 0a:58:0a:f4:01:02 netns services-ipvs.bbc
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-ipvs.node2 link add vethxths6 address 02:32:7e:c8:e4:48 type veth peer name eth0 address 0a:58:0a:f4:02:03 netns services-ipvs.hostnames-xths6
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-ipvs.node3 link add vethkhxpz address 02:9e:05:48:bc:91 type veth peer name eth0 address 0a:58:0a:f4:03:06 netns services-ipvs.hostnames-khxpz

    # --- node services-ipvs.lan
    ip -n services-ipvs.lan link add lan address 02:9b:2a:41:35:68 type bridge  # lab.yaml:11 (network lan)
    ip -n services-ipvs.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n services-ipvs.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n services-ipvs.lan link set node1-eth0 master lan                      # lab.yaml:17 (node1 eth0)
    ip -n services-ipvs.lan link set node1-eth0 up                              # lab.yaml:17 (node1 eth0)
    ip -n services-ipvs.lan link set node2-eth0 master lan                      # lab.yaml:28 (node2 eth0)
    ip -n services-ipvs.lan link set node2-eth0 up                              # lab.yaml:28 (node2 eth0)
    ip -n services-ipvs.lan link set node3-eth0 master lan                      # lab.yaml:36 (node3 eth0)
    ip -n services-ipvs.lan link set node3-eth0 up                              # lab.yaml:36 (node3 eth0)
    ip -n services-ipvs.lan link set outside-eth0 master lan                    # lab.yaml:46 (outside eth0)
    ip -n services-ipvs.lan link set outside-eth0 up                            # lab.yaml:46 (outside eth0)

    # --- node services-ipvs.node1
    # lab.yaml:25 (node1 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-ipvs.node1 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-ipvs.node1 sysctl -q -w net.ipv4.ip_forward=1                       # the proxy: IPVS
    ip netns exec services-ipvs.node1 sysctl -q -w net.ipv4.vs.conntrack=1                     # the proxy: IPVS
    ip netns exec services-ipvs.node1 sysctl -q -w net.ipv4.vs.expire_nodest_conn=1            # the proxy: IPVS
    ip netns exec services-ipvs.node1 sysctl -q -w net.ipv4.vs.expire_quiescent_template=1     # the proxy: IPVS
    # lab.yaml:21 (node1 forward)
    ip netns exec services-ipvs.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:20 (node1 bridge cni0)
    ip -n services-ipvs.node1 link add cni0 address 0a:58:0a:f4:01:01 type bridge
    # lab.yaml:20 (node1 bridge cni0)
    ip -n services-ipvs.node1 link set cni0 up
    # lab.yaml:17 (node1 eth0)
    ip -n services-ipvs.node1 link set eth0 up
    # the proxy: carries Service addresses
    ip -n services-ipvs.node1 link add kube-ipvs0 type dummy
    ip -n services-ipvs.node1 link set lo up                                                   # lab.yaml:15 (node1)
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-ipvs.node1 link set veth9klb2 master cni0
    # lab.yaml:51 (container hostnames-9klb2)
    bridge -n services-ipvs.node1 link set dev veth9klb2 hairpin on
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-ipvs.node1 link set veth9klb2 up
    # lab.yaml:71 (container bbc)
    ip -n services-ipvs.node1 link set vethbbc master cni0
    # lab.yaml:71 (container bbc)
    bridge -n services-ipvs.node1 link set dev vethbbc hairpin on
    # lab.yaml:71 (container bbc)
    ip -n services-ipvs.node1 link set vethbbc up
    # lab.yaml:20 (node1 bridge cni0)
    ip -n services-ipvs.node1 addr add 10.244.1.1/24 brd 10.244.1.255 dev cni0
    # lab.yaml:17 (node1 eth0)
    ip -n services-ipvs.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0
    # the Services of the cluster
    ip -n services-ipvs.node1 addr add 10.0.1.175/32 dev kube-ipvs0
    # the Services of the cluster
    ip -n services-ipvs.node1 addr add 10.0.1.176/32 dev kube-ipvs0
    # lab.yaml:23 (node1 route 2)
    ip -n services-ipvs.node1 route add default via 10.168.0.100 dev eth0
    # lab.yaml:23 (node1 route 0)
    ip -n services-ipvs.node1 route add 10.244.2.0/24 via 10.168.0.3 dev eth0
    # lab.yaml:23 (node1 route 1)
    ip -n services-ipvs.node1 route add 10.244.3.0/24 via 10.168.0.4 dev eth0
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-CLUSTER-IP hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset add KUBE-CLUSTER-IP 10.0.1.175,tcp:80
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset add KUBE-CLUSTER-IP 10.0.1.176,tcp:80
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-EXTERNAL-IP hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-EXTERNAL-IP-LOCAL hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-IPVS-IPS hash:ip
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset add KUBE-IPVS-IPS 10.0.1.175
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset add KUBE-IPVS-IPS 10.0.1.176
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-LOAD-BALANCER hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-LOAD-BALANCER-FW hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-LOAD-BALANCER-LOCAL hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-LOAD-BALANCER-SOURCE-CIDR hash:ip,port,net
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-LOAD-BALANCER-SOURCE-IP hash:ip,port,ip
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-LOOP-BACK hash:ip,port,ip
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset add KUBE-LOOP-BACK 10.244.1.7,tcp:9376,10.244.1.7
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-NODE-PORT-LOCAL-SCTP-HASH hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-NODE-PORT-LOCAL-TCP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-NODE-PORT-LOCAL-UDP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-NODE-PORT-SCTP-HASH hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-NODE-PORT-TCP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node1 ipset create -exist KUBE-NODE-PORT-UDP bitmap:port range 0-65535
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node1 ipvsadm -A -t 10.0.1.175:80 -s rr
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node1 ipvsadm -a -t 10.0.1.175:80 -r 10.244.1.7:9376 -m
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node1 ipvsadm -a -t 10.0.1.175:80 -r 10.244.2.3:9376 -m
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node1 ipvsadm -a -t 10.0.1.175:80 -r 10.244.3.6:9376 -m
    # Service default/hostnames-near port 80
    ip netns exec services-ipvs.node1 ipvsadm -A -t 10.0.1.176:80 -s rr
    # Service default/hostnames-near port 80
    ip netns exec services-ipvs.node1 ipvsadm -a -t 10.0.1.176:80 -r 10.244.1.7:9376 -m
    ip netns exec services-ipvs.node1 iptables -t nat -N KUBE-LOAD-BALANCER                    # the proxy
    ip netns exec services-ipvs.node1 iptables -t nat -N KUBE-MARK-MASQ                        # the proxy
    ip netns exec services-ipvs.node1 iptables -t nat -N KUBE-NODE-PORT                        # the proxy
    ip netns exec services-ipvs.node1 iptables -t nat -N KUBE-POSTROUTING                      # the proxy
    ip netns exec services-ipvs.node1 iptables -t nat -N KUBE-SERVICES                         # the proxy
    # the proxy: Local policy
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-LOAD-BALANCER -m comment --comment 'Kubernetes service load balancer ip + port with externalTrafficPolicy=local' -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -j RETURN
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ  # the proxy: masquerade
    # the proxy: mark for masquerading
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-LOCAL-TCP dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-LOCAL-UDP dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-UDP dst -j KUBE-MARK-MASQ
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ
    # the proxy: hairpin
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose' -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
    # the proxy: only what is marked
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # the proxy: node ports are not for localhost
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
    # the proxy: balancers
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service lb portal' -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
    # the proxy: masquerade what comes from outside
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES ! -s 10.244.0.0/16 -m comment --comment 'Kubernetes service cluster ip + port for masquerade purpose' -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
    # the proxy: external IPs
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -j KUBE-MARK-MASQ
    # the proxy: external IPs
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -m addrtype --dst-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m addrtype --dst-type LOCAL -j ACCEPT
    # the proxy: node ports
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
    # the proxy: nobody else's DNAT
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
    # the proxy: nobody else's DNAT
    ip netns exec services-ipvs.node1 iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j ACCEPT
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec services-ipvs.node1 iptables -N KUBE-FORWARD                                 # the proxy
    ip netns exec services-ipvs.node1 iptables -N KUBE-IPVS-FILTER                             # the proxy
    ip netns exec services-ipvs.node1 iptables -N KUBE-NODE-PORT                               # the proxy
    ip netns exec services-ipvs.node1 iptables -N KUBE-PROXY-FIREWALL                          # the proxy
    ip netns exec services-ipvs.node1 iptables -N KUBE-SOURCE-RANGES-FIREWALL                  # the proxy
    # the proxy: Service traffic
    ip netns exec services-ipvs.node1 iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec services-ipvs.node1 iptables -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node1 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node1 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node1 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node1 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN
    # the proxy: health checks
    ip netns exec services-ipvs.node1 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j RETURN
    # the proxy: ports that no Service has
    ip netns exec services-ipvs.node1 iptables -A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT
    # the proxy: health checks
    ip netns exec services-ipvs.node1 iptables -A KUBE-NODE-PORT -m comment --comment 'Kubernetes health check node port' -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
    # the proxy: source ranges
    ip netns exec services-ipvs.node1 iptables -A KUBE-PROXY-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL
    # the proxy: source ranges
    ip netns exec services-ipvs.node1 iptables -A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src -j RETURN
    # the proxy: source ranges
    ip netns exec services-ipvs.node1 iptables -A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-IP dst,dst,src -j RETURN
    # the proxy: source ranges
    ip netns exec services-ipvs.node1 iptables -A KUBE-SOURCE-RANGES-FIREWALL -j DROP
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -A FORWARD -m comment --comment 'kube-proxy firewall rules' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -A INPUT -m comment --comment 'kubernetes ipvs access filter' -j KUBE-IPVS-FILTER
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -A INPUT -m comment --comment 'kube-proxy firewall rules' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-ipvs.node1 iptables -A INPUT -m comment --comment 'kubernetes health check rules' -j KUBE-NODE-PORT

    # --- node services-ipvs.node2
    # lab.yaml:33 (node2 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-ipvs.node2 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-ipvs.node2 sysctl -q -w net.ipv4.ip_forward=1                       # the proxy: IPVS
    ip netns exec services-ipvs.node2 sysctl -q -w net.ipv4.vs.conntrack=1                     # the proxy: IPVS
    ip netns exec services-ipvs.node2 sysctl -q -w net.ipv4.vs.expire_nodest_conn=1            # the proxy: IPVS
    ip netns exec services-ipvs.node2 sysctl -q -w net.ipv4.vs.expire_quiescent_template=1     # the proxy: IPVS
    # lab.yaml:31 (node2 forward)
    ip netns exec services-ipvs.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:30 (node2 bridge cni0)
    ip -n services-ipvs.node2 link add cni0 address 0a:58:0a:f4:02:01 type bridge
    # lab.yaml:30 (node2 bridge cni0)
    ip -n services-ipvs.node2 link set cni0 up
    # lab.yaml:28 (node2 eth0)
    ip -n services-ipvs.node2 link set eth0 up
    # the proxy: carries Service addresses
    ip -n services-ipvs.node2 link add kube-ipvs0 type dummy
    ip -n services-ipvs.node2 link set lo up                                                   # lab.yaml:26 (node2)
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-ipvs.node2 link set vethxths6 master cni0
    # lab.yaml:57 (container hostnames-xths6)
    bridge -n services-ipvs.node2 link set dev vethxths6 hairpin on
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-ipvs.node2 link set vethxths6 up
    # lab.yaml:30 (node2 bridge cni0)
    ip -n services-ipvs.node2 addr add 10.244.2.1/24 brd 10.244.2.255 dev cni0
    # lab.yaml:28 (node2 eth0)
    ip -n services-ipvs.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0
    # the Services of the cluster
    ip -n services-ipvs.node2 addr add 10.0.1.175/32 dev kube-ipvs0
    # the Services of the cluster
    ip -n services-ipvs.node2 addr add 10.0.1.176/32 dev kube-ipvs0
    # lab.yaml:32 (node2 route 2)
    ip -n services-ipvs.node2 route add default via 10.168.0.100 dev eth0
    # lab.yaml:32 (node2 route 0)
    ip -n services-ipvs.node2 route add 10.244.1.0/24 via 10.168.0.2 dev eth0
    # lab.yaml:32 (node2 route 1)
    ip -n services-ipvs.node2 route add 10.244.3.0/24 via 10.168.0.4 dev eth0
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-CLUSTER-IP hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset add KUBE-CLUSTER-IP 10.0.1.175,tcp:80
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset add KUBE-CLUSTER-IP 10.0.1.176,tcp:80
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-EXTERNAL-IP hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-EXTERNAL-IP-LOCAL hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-IPVS-IPS hash:ip
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset add KUBE-IPVS-IPS 10.0.1.175
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset add KUBE-IPVS-IPS 10.0.1.176
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-LOAD-BALANCER hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-LOAD-BALANCER-FW hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-LOAD-BALANCER-LOCAL hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-LOAD-BALANCER-SOURCE-CIDR hash:ip,port,net
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-LOAD-BALANCER-SOURCE-IP hash:ip,port,ip
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-LOOP-BACK hash:ip,port,ip
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset add KUBE-LOOP-BACK 10.244.2.3,tcp:9376,10.244.2.3
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-NODE-PORT-LOCAL-SCTP-HASH hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-NODE-PORT-LOCAL-TCP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-NODE-PORT-LOCAL-UDP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-NODE-PORT-SCTP-HASH hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-NODE-PORT-TCP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node2 ipset create -exist KUBE-NODE-PORT-UDP bitmap:port range 0-65535
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node2 ipvsadm -A -t 10.0.1.175:80 -s rr
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node2 ipvsadm -a -t 10.0.1.175:80 -r 10.244.1.7:9376 -m
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node2 ipvsadm -a -t 10.0.1.175:80 -r 10.244.2.3:9376 -m
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node2 ipvsadm -a -t 10.0.1.175:80 -r 10.244.3.6:9376 -m
    # Service default/hostnames-near port 80
    ip netns exec services-ipvs.node2 ipvsadm -A -t 10.0.1.176:80 -s rr
    # Service default/hostnames-near port 80
    ip netns exec services-ipvs.node2 ipvsadm -a -t 10.0.1.176:80 -r 10.244.2.3:9376 -m
    ip netns exec services-ipvs.node2 iptables -t nat -N KUBE-LOAD-BALANCER                    # the proxy
    ip netns exec services-ipvs.node2 iptables -t nat -N KUBE-MARK-MASQ                        # the proxy
    ip netns exec services-ipvs.node2 iptables -t nat -N KUBE-NODE-PORT                        # the proxy
    ip netns exec services-ipvs.node2 iptables -t nat -N KUBE-POSTROUTING                      # the proxy
    ip netns exec services-ipvs.node2 iptables -t nat -N KUBE-SERVICES                         # the proxy
    # the proxy: Local policy
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-LOAD-BALANCER -m comment --comment 'Kubernetes service load balancer ip + port with externalTrafficPolicy=local' -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -j RETURN
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ  # the proxy: masquerade
    # the proxy: mark for masquerading
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-LOCAL-TCP dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-LOCAL-UDP dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-UDP dst -j KUBE-MARK-MASQ
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ
    # the proxy: hairpin
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose' -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
    # the proxy: only what is marked
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # the proxy: node ports are not for localhost
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
    # the proxy: balancers
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service lb portal' -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
    # the proxy: masquerade what comes from outside
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES ! -s 10.244.0.0/16 -m comment --comment 'Kubernetes service cluster ip + port for masquerade purpose' -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
    # the proxy: external IPs
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -j KUBE-MARK-MASQ
    # the proxy: external IPs
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -m addrtype --dst-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m addrtype --dst-type LOCAL -j ACCEPT
    # the proxy: node ports
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
    # the proxy: nobody else's DNAT
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
    # the proxy: nobody else's DNAT
    ip netns exec services-ipvs.node2 iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j ACCEPT
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec services-ipvs.node2 iptables -N KUBE-FORWARD                                 # the proxy
    ip netns exec services-ipvs.node2 iptables -N KUBE-IPVS-FILTER                             # the proxy
    ip netns exec services-ipvs.node2 iptables -N KUBE-NODE-PORT                               # the proxy
    ip netns exec services-ipvs.node2 iptables -N KUBE-PROXY-FIREWALL                          # the proxy
    ip netns exec services-ipvs.node2 iptables -N KUBE-SOURCE-RANGES-FIREWALL                  # the proxy
    # the proxy: Service traffic
    ip netns exec services-ipvs.node2 iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec services-ipvs.node2 iptables -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node2 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node2 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node2 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node2 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN
    # the proxy: health checks
    ip netns exec services-ipvs.node2 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j RETURN
    # the proxy: ports that no Service has
    ip netns exec services-ipvs.node2 iptables -A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT
    # the proxy: health checks
    ip netns exec services-ipvs.node2 iptables -A KUBE-NODE-PORT -m comment --comment 'Kubernetes health check node port' -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
    # the proxy: source ranges
    ip netns exec services-ipvs.node2 iptables -A KUBE-PROXY-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL
    # the proxy: source ranges
    ip netns exec services-ipvs.node2 iptables -A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src -j RETURN
    # the proxy: source ranges
    ip netns exec services-ipvs.node2 iptables -A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-IP dst,dst,src -j RETURN
    # the proxy: source ranges
    ip netns exec services-ipvs.node2 iptables -A KUBE-SOURCE-RANGES-FIREWALL -j DROP
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -A FORWARD -m comment --comment 'kube-proxy firewall rules' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -A INPUT -m comment --comment 'kubernetes ipvs access filter' -j KUBE-IPVS-FILTER
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -A INPUT -m comment --comment 'kube-proxy firewall rules' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-ipvs.node2 iptables -A INPUT -m comment --comment 'kubernetes health check rules' -j KUBE-NODE-PORT

    # --- node services-ipvs.node3
    # lab.yaml:41 (node3 sysctl net.bridge.bridge-nf-call-iptables)
    ip netns exec services-ipvs.node3 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec services-ipvs.node3 sysctl -q -w net.ipv4.ip_forward=1                       # the proxy: IPVS
    ip netns exec services-ipvs.node3 sysctl -q -w net.ipv4.vs.conntrack=1                     # the proxy: IPVS
    ip netns exec services-ipvs.node3 sysctl -q -w net.ipv4.vs.expire_nodest_conn=1            # the proxy: IPVS
    ip netns exec services-ipvs.node3 sysctl -q -w net.ipv4.vs.expire_quiescent_template=1     # the proxy: IPVS
    # lab.yaml:39 (node3 forward)
    ip netns exec services-ipvs.node3 sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:38 (node3 bridge cni0)
    ip -n services-ipvs.node3 link add cni0 address 0a:58:0a:f4:03:01 type bridge
    # lab.yaml:38 (node3 bridge cni0)
    ip -n services-ipvs.node3 link set cni0 up
    # lab.yaml:36 (node3 eth0)
    ip -n services-ipvs.node3 link set eth0 up
    # the proxy: carries Service addresses
    ip -n services-ipvs.node3 link add kube-ipvs0 type dummy
    ip -n services-ipvs.node3 link set lo up                                                   # lab.yaml:34 (node3)
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-ipvs.node3 link set vethkhxpz master cni0
    # lab.yaml:63 (container hostnames-khxpz)
    bridge -n services-ipvs.node3 link set dev vethkhxpz hairpin on
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-ipvs.node3 link set vethkhxpz up
    # lab.yaml:38 (node3 bridge cni0)
    ip -n services-ipvs.node3 addr add 10.244.3.1/24 brd 10.244.3.255 dev cni0
    # lab.yaml:36 (node3 eth0)
    ip -n services-ipvs.node3 addr add 10.168.0.4/24 brd 10.168.0.255 dev eth0
    # the Services of the cluster
    ip -n services-ipvs.node3 addr add 10.0.1.175/32 dev kube-ipvs0
    # the Services of the cluster
    ip -n services-ipvs.node3 addr add 10.0.1.176/32 dev kube-ipvs0
    # lab.yaml:40 (node3 route 2)
    ip -n services-ipvs.node3 route add default via 10.168.0.100 dev eth0
    # lab.yaml:40 (node3 route 0)
    ip -n services-ipvs.node3 route add 10.244.1.0/24 via 10.168.0.2 dev eth0
    # lab.yaml:40 (node3 route 1)
    ip -n services-ipvs.node3 route add 10.244.2.0/24 via 10.168.0.3 dev eth0
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-CLUSTER-IP hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset add KUBE-CLUSTER-IP 10.0.1.175,tcp:80
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset add KUBE-CLUSTER-IP 10.0.1.176,tcp:80
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-EXTERNAL-IP hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-EXTERNAL-IP-LOCAL hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-IPVS-IPS hash:ip
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset add KUBE-IPVS-IPS 10.0.1.175
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset add KUBE-IPVS-IPS 10.0.1.176
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-LOAD-BALANCER hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-LOAD-BALANCER-FW hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-LOAD-BALANCER-LOCAL hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-LOAD-BALANCER-SOURCE-CIDR hash:ip,port,net
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-LOAD-BALANCER-SOURCE-IP hash:ip,port,ip
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-LOOP-BACK hash:ip,port,ip
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset add KUBE-LOOP-BACK 10.244.3.6,tcp:9376,10.244.3.6
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-NODE-PORT-LOCAL-SCTP-HASH hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-NODE-PORT-LOCAL-TCP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-NODE-PORT-LOCAL-UDP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-NODE-PORT-SCTP-HASH hash:ip,port
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-NODE-PORT-TCP bitmap:port range 0-65535
    # the Services of the cluster
    ip netns exec services-ipvs.node3 ipset create -exist KUBE-NODE-PORT-UDP bitmap:port range 0-65535
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node3 ipvsadm -A -t 10.0.1.175:80 -s rr
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node3 ipvsadm -a -t 10.0.1.175:80 -r 10.244.1.7:9376 -m
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node3 ipvsadm -a -t 10.0.1.175:80 -r 10.244.2.3:9376 -m
    # Service default/hostnames port 80
    ip netns exec services-ipvs.node3 ipvsadm -a -t 10.0.1.175:80 -r 10.244.3.6:9376 -m
    # Service default/hostnames-near port 80
    ip netns exec services-ipvs.node3 ipvsadm -A -t 10.0.1.176:80 -s rr
    # Service default/hostnames-near port 80
    ip netns exec services-ipvs.node3 ipvsadm -a -t 10.0.1.176:80 -r 10.244.3.6:9376 -m
    ip netns exec services-ipvs.node3 iptables -t nat -N KUBE-LOAD-BALANCER                    # the proxy
    ip netns exec services-ipvs.node3 iptables -t nat -N KUBE-MARK-MASQ                        # the proxy
    ip netns exec services-ipvs.node3 iptables -t nat -N KUBE-NODE-PORT                        # the proxy
    ip netns exec services-ipvs.node3 iptables -t nat -N KUBE-POSTROUTING                      # the proxy
    ip netns exec services-ipvs.node3 iptables -t nat -N KUBE-SERVICES                         # the proxy
    # the proxy: Local policy
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-LOAD-BALANCER -m comment --comment 'Kubernetes service load balancer ip + port with externalTrafficPolicy=local' -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -j RETURN
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ  # the proxy: masquerade
    # the proxy: mark for masquerading
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-LOCAL-TCP dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-LOCAL-UDP dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-UDP dst -j KUBE-MARK-MASQ
    # the proxy: node ports, Local policy
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst -j RETURN
    # the proxy: node ports
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-NODE-PORT -p sctp -m set --match-set KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ
    # the proxy: hairpin
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose' -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
    # the proxy: only what is marked
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # the proxy: node ports are not for localhost
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
    # the proxy: balancers
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service lb portal' -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
    # the proxy: masquerade what comes from outside
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES ! -s 10.244.0.0/16 -m comment --comment 'Kubernetes service cluster ip + port for masquerade purpose' -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
    # the proxy: external IPs
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -j KUBE-MARK-MASQ
    # the proxy: external IPs
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP dst,dst -m addrtype --dst-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT
    # the proxy: external IPs
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m comment --comment 'Kubernetes service external ip + port for masquerade and filter purpose' -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -m addrtype --dst-type LOCAL -j ACCEPT
    # the proxy: node ports
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
    # the proxy: nobody else's DNAT
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
    # the proxy: nobody else's DNAT
    ip netns exec services-ipvs.node3 iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j ACCEPT
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec services-ipvs.node3 iptables -N KUBE-FORWARD                                 # the proxy
    ip netns exec services-ipvs.node3 iptables -N KUBE-IPVS-FILTER                             # the proxy
    ip netns exec services-ipvs.node3 iptables -N KUBE-NODE-PORT                               # the proxy
    ip netns exec services-ipvs.node3 iptables -N KUBE-PROXY-FIREWALL                          # the proxy
    ip netns exec services-ipvs.node3 iptables -N KUBE-SOURCE-RANGES-FIREWALL                  # the proxy
    # the proxy: Service traffic
    ip netns exec services-ipvs.node3 iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec services-ipvs.node3 iptables -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node3 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node3 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node3 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN
    # the proxy: ports that a Service has
    ip netns exec services-ipvs.node3 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN
    # the proxy: health checks
    ip netns exec services-ipvs.node3 iptables -A KUBE-IPVS-FILTER -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j RETURN
    # the proxy: ports that no Service has
    ip netns exec services-ipvs.node3 iptables -A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT
    # the proxy: health checks
    ip netns exec services-ipvs.node3 iptables -A KUBE-NODE-PORT -m comment --comment 'Kubernetes health check node port' -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
    # the proxy: source ranges
    ip netns exec services-ipvs.node3 iptables -A KUBE-PROXY-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL
    # the proxy: source ranges
    ip netns exec services-ipvs.node3 iptables -A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-CIDR dst,dst,src -j RETURN
    # the proxy: source ranges
    ip netns exec services-ipvs.node3 iptables -A KUBE-SOURCE-RANGES-FIREWALL -m set --match-set KUBE-LOAD-BALANCER-SOURCE-IP dst,dst,src -j RETURN
    # the proxy: source ranges
    ip netns exec services-ipvs.node3 iptables -A KUBE-SOURCE-RANGES-FIREWALL -j DROP
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -A FORWARD -m comment --comment 'kube-proxy firewall rules' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -A INPUT -m comment --comment 'kubernetes ipvs access filter' -j KUBE-IPVS-FILTER
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -A INPUT -m comment --comment 'kube-proxy firewall rules' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec services-ipvs.node3 iptables -A INPUT -m comment --comment 'kubernetes health check rules' -j KUBE-NODE-PORT

    # --- node services-ipvs.outside
    ip -n services-ipvs.outside link set eth0 up                                    # lab.yaml:46 (outside eth0)
    ip -n services-ipvs.outside link set lo up                                      # lab.yaml:44 (outside)
    ip -n services-ipvs.outside addr add 10.168.0.100/24 brd 10.168.0.255 dev eth0  # lab.yaml:46 (outside eth0)
    ip -n services-ipvs.outside route add 10.0.0.0/16 via 10.168.0.4 dev eth0       # lab.yaml:47 (outside route 0)

    # --- node services-ipvs.hostnames-9klb2
    ip -n services-ipvs.hostnames-9klb2 link set eth0 up  # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-ipvs.hostnames-9klb2 link set lo up    # lab.yaml:51 (container hostnames-9klb2)
    # lab.yaml:51 (container hostnames-9klb2)
    ip -n services-ipvs.hostnames-9klb2 addr add 10.244.1.7/24 brd 10.244.1.255 dev eth0
    # lab.yaml:51 (container hostnames-9klb2 gateway)
    ip -n services-ipvs.hostnames-9klb2 route add default via 10.244.1.1 dev eth0

    # --- node services-ipvs.hostnames-xths6
    ip -n services-ipvs.hostnames-xths6 link set eth0 up  # lab.yaml:57 (container hostnames-xths6)
    ip -n services-ipvs.hostnames-xths6 link set lo up    # lab.yaml:57 (container hostnames-xths6)
    # lab.yaml:57 (container hostnames-xths6)
    ip -n services-ipvs.hostnames-xths6 addr add 10.244.2.3/24 brd 10.244.2.255 dev eth0
    # lab.yaml:57 (container hostnames-xths6 gateway)
    ip -n services-ipvs.hostnames-xths6 route add default via 10.244.2.1 dev eth0

    # --- node services-ipvs.hostnames-khxpz
    ip -n services-ipvs.hostnames-khxpz link set eth0 up  # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-ipvs.hostnames-khxpz link set lo up    # lab.yaml:63 (container hostnames-khxpz)
    # lab.yaml:63 (container hostnames-khxpz)
    ip -n services-ipvs.hostnames-khxpz addr add 10.244.3.6/24 brd 10.244.3.255 dev eth0
    # lab.yaml:63 (container hostnames-khxpz gateway)
    ip -n services-ipvs.hostnames-khxpz route add default via 10.244.3.1 dev eth0

    # --- node services-ipvs.bbc
    ip -n services-ipvs.bbc link set eth0 up                                  # lab.yaml:71 (container bbc)
    ip -n services-ipvs.bbc link set lo up                                    # lab.yaml:71 (container bbc)
    ip -n services-ipvs.bbc addr add 10.244.1.2/24 brd 10.244.1.255 dev eth0  # lab.yaml:71 (container bbc)
    ip -n services-ipvs.bbc route add default via 10.244.1.1 dev eth0         # lab.yaml:71 (container bbc gateway)

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
