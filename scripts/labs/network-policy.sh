#!/bin/sh
# NetworkPolicy: a white list at the door of every pod
#
# Two nodes with pods on their cni0, a router with an office and a ledger behind it that are no part of the cluster. On
# each node a policy agent turns NetworkPolicies into chains and sets, and a proxy serves the Service db. As a script of
# ip and iptables this lab has the rules of its manifests, and no one who would follow a change.
#
#   sh network-policy.sh up      builds it
#   sh network-policy.sh down    removes all of it
set -eu

run=/run/netlab-script-network-policy
namespaces='network-policy.lan network-policy.backoffice network-policy.node1 network-policy.node2 network-policy.router network-policy.ledger network-policy.db network-policy.frontend network-policy.backend network-policy.robot network-policy.stranger network-policy.web network-policy.api network-policy.store network-policy.clerk network-policy.guest'

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
    ip netns add network-policy.lan
    ip netns add network-policy.backoffice
    ip netns add network-policy.node1
    ip netns add network-policy.node2
    ip netns add network-policy.router
    ip netns add network-policy.ledger
    ip netns add network-policy.db
    ip netns add network-policy.frontend
    ip netns add network-policy.backend
    ip netns add network-policy.robot
    ip netns add network-policy.stranger
    ip netns add network-policy.web
    ip netns add network-policy.api
    ip netns add network-policy.store
    ip netns add network-policy.clerk
    ip netns add network-policy.guest

    # --- cables: veth pairs
    # lab.yaml:20 (node1 eth0)
    ip -n network-policy.node1 link add eth0 address 02:42:0a:a8:00:02 type veth peer name node1-eth0 address 02:4e:88:89:53:18 netns network-policy.lan
    # lab.yaml:51 (container db)
    ip -n network-policy.node1 link add veth-db address 02:50:a6:08:d7:ca type veth peer name eth0 address 0a:58:0a:f4:01:0a netns network-policy.db
    # lab.yaml:53 (container frontend)
    ip -n network-policy.node1 link add veth-frontend address 02:2e:11:0a:17:e1 type veth peer name eth0 address 0a:58:0a:f4:01:0b netns network-policy.frontend
    # lab.yaml:59 (container stranger)
    ip -n network-policy.node1 link add veth-stranger address 02:72:09:df:ac:4f type veth peer name eth0 address 0a:58:0a:f4:01:1e netns network-policy.stranger
    # lab.yaml:62 (container web)
    ip -n network-policy.node1 link add veth-web address 02:8e:f6:25:46:6e type veth peer name eth0 address 0a:58:0a:f4:01:28 netns network-policy.web
    # lab.yaml:27 (node2 eth0)
    ip -n network-policy.node2 link add eth0 address 02:42:0a:a8:00:03 type veth peer name node2-eth0 address 02:ef:c8:0d:b2:cc netns network-policy.lan
    # lab.yaml:63 (container api)
    ip -n network-policy.node2 link add veth-api address 02:36:a0:9c:dd:07 type veth peer name eth0 address 0a:58:0a:f4:02:29 netns network-policy.api
    # lab.yaml:55 (container backend)
    ip -n network-policy.node2 link add veth-backend address 02:3d:88:1c:8c:98 type veth peer name eth0 address 0a:58:0a:f4:02:0c netns network-policy.backend
    # lab.yaml:58 (container robot)
    ip -n network-policy.node2 link add veth-robot address 02:0c:51:27:b6:42 type veth peer name eth0 address 0a:58:0a:f4:02:14 netns network-policy.robot
    # lab.yaml:64 (container store)
    ip -n network-policy.node2 link add veth-store address 02:ad:b1:77:72:d5 type veth peer name eth0 address 0a:58:0a:f4:02:2a netns network-policy.store
    # lab.yaml:36 (router eth0)
    ip -n network-policy.router link add eth0 address 02:42:0a:a8:00:01 type veth peer name router-eth0 address 02:7d:81:f0:c7:d6 netns network-policy.lan
    # lab.yaml:37 (router eth1)
    ip -n network-policy.router link add eth1 address 02:42:0a:00:00:01 type veth peer name router-eth1 address 02:92:a4:09:20:1f netns network-policy.backoffice
    # lab.yaml:67 (container clerk)
    ip -n network-policy.router link add veth-clerk address 02:a9:69:33:41:d8 type veth peer name eth0 address 02:42:ac:11:00:05 netns network-policy.clerk
    # lab.yaml:68 (container guest)
    ip -n network-policy.router link add veth-guest address 02:bb:9d:b3:5c:f5 type veth peer name eth0 address 02:42:ac:11:01:05 netns network-policy.guest
    # lab.yaml:44 (ledger eth0)
    ip -n network-policy.backoffice link add ledger-eth0 address 02:d0:4d:16:5e:df type veth peer name eth0 address 02:42:0a:00:00:09 netns network-policy.ledger

    # --- node network-policy.lan
    ip -n network-policy.lan link add lan address 02:6e:a7:fa:cf:df type bridge  # lab.yaml:11 (network lan)
    ip -n network-policy.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n network-policy.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n network-policy.lan link set node1-eth0 master lan                      # lab.yaml:20 (node1 eth0)
    ip -n network-policy.lan link set node1-eth0 up                              # lab.yaml:20 (node1 eth0)
    ip -n network-policy.lan link set node2-eth0 master lan                      # lab.yaml:27 (node2 eth0)
    ip -n network-policy.lan link set node2-eth0 up                              # lab.yaml:27 (node2 eth0)
    ip -n network-policy.lan link set router-eth0 master lan                     # lab.yaml:36 (router eth0)
    ip -n network-policy.lan link set router-eth0 up                             # lab.yaml:36 (router eth0)

    # --- node network-policy.backoffice
    # lab.yaml:14 (network backoffice)
    ip -n network-policy.backoffice link add backoffice address 02:fe:ab:28:b1:ed type bridge
    ip -n network-policy.backoffice link set backoffice up                  # lab.yaml:14 (network backoffice)
    ip -n network-policy.backoffice link set ledger-eth0 master backoffice  # lab.yaml:44 (ledger eth0)
    ip -n network-policy.backoffice link set ledger-eth0 up                 # lab.yaml:44 (ledger eth0)
    ip -n network-policy.backoffice link set lo up                          # lab.yaml:14 (network backoffice)
    ip -n network-policy.backoffice link set router-eth1 master backoffice  # lab.yaml:37 (router eth1)
    ip -n network-policy.backoffice link set router-eth1 up                 # lab.yaml:37 (router eth1)

    # --- node network-policy.node1
    # policies hold between pods of one bridge
    ip netns exec network-policy.node1 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec network-policy.node1 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec network-policy.node1 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:23 (node1 forward)
    ip netns exec network-policy.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:23 (node1 forward)
    # lab.yaml:22 (node1 bridge cni0)
    ip -n network-policy.node1 link add cni0 address 0a:58:0a:f4:01:01 type bridge
    # lab.yaml:22 (node1 bridge cni0)
    ip -n network-policy.node1 link set cni0 up
    ip -n network-policy.node1 link set eth0 up                                         # lab.yaml:20 (node1 eth0)
    ip -n network-policy.node1 link set lo up                                           # lab.yaml:18 (node1)
    ip -n network-policy.node1 link set veth-db master cni0                             # lab.yaml:51 (container db)
    bridge -n network-policy.node1 link set dev veth-db hairpin on                      # lab.yaml:51 (container db)
    ip -n network-policy.node1 link set veth-db up                                      # lab.yaml:51 (container db)
    # lab.yaml:53 (container frontend)
    ip -n network-policy.node1 link set veth-frontend master cni0
    # lab.yaml:53 (container frontend)
    bridge -n network-policy.node1 link set dev veth-frontend hairpin on
    # lab.yaml:53 (container frontend)
    ip -n network-policy.node1 link set veth-frontend up
    # lab.yaml:59 (container stranger)
    ip -n network-policy.node1 link set veth-stranger master cni0
    # lab.yaml:59 (container stranger)
    bridge -n network-policy.node1 link set dev veth-stranger hairpin on
    # lab.yaml:59 (container stranger)
    ip -n network-policy.node1 link set veth-stranger up
    ip -n network-policy.node1 link set veth-web master cni0                            # lab.yaml:62 (container web)
    bridge -n network-policy.node1 link set dev veth-web hairpin on                     # lab.yaml:62 (container web)
    ip -n network-policy.node1 link set veth-web up                                     # lab.yaml:62 (container web)
    # lab.yaml:22 (node1 bridge cni0)
    ip -n network-policy.node1 addr add 10.244.1.1/24 brd 10.244.1.255 dev cni0
    ip -n network-policy.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0         # lab.yaml:20 (node1 eth0)
    ip -n network-policy.node1 route add default via 10.168.0.1 dev eth0                # lab.yaml:24 (node1 route 1)
    ip -n network-policy.node1 route add 10.244.2.0/24 via 10.168.0.3 dev eth0          # lab.yaml:24 (node1 route 0)
    # policies: pods all of namespaces project=myproject
    ip netns exec network-policy.node1 ipset create -exist NETPOL-4-2HQ7DRH4TWJWXRXA hash:ip
    # policies: pods all of namespaces project=myproject
    ip netns exec network-policy.node1 ipset add NETPOL-4-2HQ7DRH4TWJWXRXA 10.244.2.20
    # policies: 172.17.0.0/16 except 172.17.1.0/24
    ip netns exec network-policy.node1 ipset create -exist NETPOL-4-6YMOKBKHIDHHGIIP hash:net
    # policies: 172.17.0.0/16 except 172.17.1.0/24
    ip netns exec network-policy.node1 ipset add NETPOL-4-6YMOKBKHIDHHGIIP 172.17.0.0/16
    # policies: 172.17.0.0/16 except 172.17.1.0/24
    ip netns exec network-policy.node1 ipset add NETPOL-4-6YMOKBKHIDHHGIIP 172.17.1.0/24 nomatch
    # policies: pods that are known here
    ip netns exec network-policy.node1 ipset create -exist NETPOL-4-KNOWN hash:ip
    # policies: pods that are known here
    ip netns exec network-policy.node1 ipset add NETPOL-4-KNOWN 10.244.1.10
    # policies: pods that are known here
    ip netns exec network-policy.node1 ipset add NETPOL-4-KNOWN 10.244.1.11
    # policies: pods that are known here
    ip netns exec network-policy.node1 ipset add NETPOL-4-KNOWN 10.244.1.30
    # policies: pods that are known here
    ip netns exec network-policy.node1 ipset add NETPOL-4-KNOWN 10.244.1.40
    # policies: pods tier=api of namespace shop
    ip netns exec network-policy.node1 ipset create -exist NETPOL-4-LD6AZJDKMKYN4RXS hash:ip
    # policies: pods tier=api of namespace shop
    ip netns exec network-policy.node1 ipset add NETPOL-4-LD6AZJDKMKYN4RXS 10.244.2.41
    # policies: pods role=frontend of namespace default
    ip netns exec network-policy.node1 ipset create -exist NETPOL-4-VD5ICPNPF5DODRHX hash:ip
    # policies: pods role=frontend of namespace default
    ip netns exec network-policy.node1 ipset add NETPOL-4-VD5ICPNPF5DODRHX 10.244.1.11
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node1 iptables -t mangle -N KUBE-PROXY-CANARY
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node1 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec network-policy.node1 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node1 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node1 iptables -t nat -N KUBE-PROXY-CANARY
    ip netns exec network-policy.node1 iptables -t nat -N KUBE-SEP-UODIT2OXX77OPPLW     # Service default/db port 6379
    ip netns exec network-policy.node1 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    ip netns exec network-policy.node1 iptables -t nat -N KUBE-SVC-2KHWPRMFJERXUJE3     # Service default/db port 6379
    # the proxy: mark for masquerading
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: only what is marked
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/db port 6379: an endpoint that calls itself
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-SEP-UODIT2OXX77OPPLW -s 10.244.1.10/32 -m comment --comment default/db -j KUBE-MARK-MASQ
    # Service default/db port 6379
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-SEP-UODIT2OXX77OPPLW -p tcp -m comment --comment default/db -m tcp -j DNAT --to-destination 10.244.1.10:6379
    # Service default/db port 6379
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-SERVICES -d 10.96.0.60/32 -p tcp -m comment --comment 'default/db cluster IP' -m tcp --dport 6379 -j KUBE-SVC-2KHWPRMFJERXUJE3
    # node ports of all Services
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/db port 6379: masquerade
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-SVC-2KHWPRMFJERXUJE3 ! -s 10.244.0.0/16 -d 10.96.0.60/32 -p tcp -m comment --comment 'default/db cluster IP' -m tcp --dport 6379 -j KUBE-MARK-MASQ
    # Service default/db port 6379
    ip netns exec network-policy.node1 iptables -t nat -A KUBE-SVC-2KHWPRMFJERXUJE3 -m comment --comment 'default/db -> 10.244.1.10:6379' -j KUBE-SEP-UODIT2OXX77OPPLW
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec network-policy.node1 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node1 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node1 iptables -N KUBE-FORWARD
    ip netns exec network-policy.node1 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node1 iptables -N KUBE-PROXY-CANARY
    ip netns exec network-policy.node1 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec network-policy.node1 iptables -N KUBE-SERVICES                        # the Services of the cluster
    # NetworkPolicy shop/default-deny egress
    ip netns exec network-policy.node1 iptables -N NETPOL-EG-LTGA3SGC6SJNNGUH
    ip netns exec network-policy.node1 iptables -N NETPOL-EG-R3NKRDLY3UI2JBS5           # NetworkPolicy shop/web egress
    # NetworkPolicy default/test-network-policy egress
    ip netns exec network-policy.node1 iptables -N NETPOL-EG-X4S3XB2CX6FV72MG
    # policies: what passes through this node
    ip netns exec network-policy.node1 iptables -N NETPOL-FORWARD
    # NetworkPolicy shop/default-deny ingress
    ip netns exec network-policy.node1 iptables -N NETPOL-IN-LTGA3SGC6SJNNGUH
    ip netns exec network-policy.node1 iptables -N NETPOL-IN-R3NKRDLY3UI2JBS5           # NetworkPolicy shop/web ingress
    # NetworkPolicy default/test-network-policy ingress
    ip netns exec network-policy.node1 iptables -N NETPOL-IN-X4S3XB2CX6FV72MG
    # Pod default/db: isolated for ingress
    ip netns exec network-policy.node1 iptables -N NETPOL-RX-6SLL57D5TSCJ7S2P
    # Pod shop/web: isolated for ingress
    ip netns exec network-policy.node1 iptables -N NETPOL-RX-R3NKRDLY3UI2JBS5
    # Pod default/db: isolated for egress
    ip netns exec network-policy.node1 iptables -N NETPOL-TX-6SLL57D5TSCJ7S2P
    # Pod shop/web: isolated for egress
    ip netns exec network-policy.node1 iptables -N NETPOL-TX-R3NKRDLY3UI2JBS5
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec network-policy.node1 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec network-policy.node1 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec network-policy.node1 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec network-policy.node1 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # NetworkPolicy shop/web egress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-EG-R3NKRDLY3UI2JBS5 -m set --match-set NETPOL-4-LD6AZJDKMKYN4RXS dst -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy shop/web egress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-EG-R3NKRDLY3UI2JBS5 -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy default/test-network-policy egress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-EG-X4S3XB2CX6FV72MG -d 10.0.0.0/24 -p tcp -m tcp --dport 5978 -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy default/test-network-policy egress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-EG-X4S3XB2CX6FV72MG -m mark --mark 0x20000/0x20000 -j RETURN
    # policies: answers pass
    ip netns exec network-policy.node1 iptables -A NETPOL-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
    # policies: a pod that is not known yet is held back
    ip netns exec network-policy.node1 iptables -A NETPOL-FORWARD -s 10.244.1.0/24 -m set ! --match-set NETPOL-4-KNOWN src -j DROP
    # policies: a pod that is not known yet is held back
    ip netns exec network-policy.node1 iptables -A NETPOL-FORWARD -d 10.244.1.0/24 -m set ! --match-set NETPOL-4-KNOWN dst -j DROP
    # Pod default/db: isolated for egress
    ip netns exec network-policy.node1 iptables -A NETPOL-FORWARD -s 10.244.1.10/32 -j NETPOL-TX-6SLL57D5TSCJ7S2P
    # Pod shop/web: isolated for egress
    ip netns exec network-policy.node1 iptables -A NETPOL-FORWARD -s 10.244.1.40/32 -j NETPOL-TX-R3NKRDLY3UI2JBS5
    # Pod default/db: isolated for ingress
    ip netns exec network-policy.node1 iptables -A NETPOL-FORWARD -d 10.244.1.10/32 -j NETPOL-RX-6SLL57D5TSCJ7S2P
    # Pod shop/web: isolated for ingress
    ip netns exec network-policy.node1 iptables -A NETPOL-FORWARD -d 10.244.1.40/32 -j NETPOL-RX-R3NKRDLY3UI2JBS5
    # NetworkPolicy shop/web ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-R3NKRDLY3UI2JBS5 -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy shop/web ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-R3NKRDLY3UI2JBS5 -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy default/test-network-policy ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-X4S3XB2CX6FV72MG -p tcp -m set --match-set NETPOL-4-6YMOKBKHIDHHGIIP src -m tcp --dport 6379 -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy default/test-network-policy ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-X4S3XB2CX6FV72MG -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy default/test-network-policy ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-X4S3XB2CX6FV72MG -p tcp -m set --match-set NETPOL-4-2HQ7DRH4TWJWXRXA src -m tcp --dport 6379 -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy default/test-network-policy ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-X4S3XB2CX6FV72MG -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy default/test-network-policy ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-X4S3XB2CX6FV72MG -p tcp -m set --match-set NETPOL-4-VD5ICPNPF5DODRHX src -m tcp --dport 6379 -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy default/test-network-policy ingress[0]
    ip netns exec network-policy.node1 iptables -A NETPOL-IN-X4S3XB2CX6FV72MG -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod default/db: a pod may always talk to itself
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-6SLL57D5TSCJ7S2P -s 10.244.1.10/32 -j RETURN
    # Pod default/db: isolated for ingress: nobody has allowed it yet
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-6SLL57D5TSCJ7S2P -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy default/test-network-policy ingress
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-6SLL57D5TSCJ7S2P -j NETPOL-IN-X4S3XB2CX6FV72MG
    # NetworkPolicy default/test-network-policy ingress: allowed
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-6SLL57D5TSCJ7S2P -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod default/db: isolated for ingress by NetworkPolicy default/test-network-policy, none of which allows it
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-6SLL57D5TSCJ7S2P -j DROP
    # Pod shop/web: a pod may always talk to itself
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-R3NKRDLY3UI2JBS5 -s 10.244.1.40/32 -j RETURN
    # Pod shop/web: isolated for ingress: nobody has allowed it yet
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-R3NKRDLY3UI2JBS5 -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy shop/default-deny ingress
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-R3NKRDLY3UI2JBS5 -j NETPOL-IN-LTGA3SGC6SJNNGUH
    # NetworkPolicy shop/default-deny ingress: allowed
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-R3NKRDLY3UI2JBS5 -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy shop/web ingress
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-R3NKRDLY3UI2JBS5 -j NETPOL-IN-R3NKRDLY3UI2JBS5
    # NetworkPolicy shop/web ingress: allowed
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-R3NKRDLY3UI2JBS5 -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod shop/web: isolated for ingress by NetworkPolicy shop/default-deny, NetworkPolicy shop/web, none of which allows it
    ip netns exec network-policy.node1 iptables -A NETPOL-RX-R3NKRDLY3UI2JBS5 -j DROP
    # Pod default/db: a pod may always talk to itself
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-6SLL57D5TSCJ7S2P -d 10.244.1.10/32 -j RETURN
    # Pod default/db: isolated for egress: nobody has allowed it yet
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-6SLL57D5TSCJ7S2P -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy default/test-network-policy egress
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-6SLL57D5TSCJ7S2P -j NETPOL-EG-X4S3XB2CX6FV72MG
    # NetworkPolicy default/test-network-policy egress: allowed
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-6SLL57D5TSCJ7S2P -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod default/db: isolated for egress by NetworkPolicy default/test-network-policy, none of which allows it
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-6SLL57D5TSCJ7S2P -j DROP
    # Pod shop/web: a pod may always talk to itself
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-R3NKRDLY3UI2JBS5 -d 10.244.1.40/32 -j RETURN
    # Pod shop/web: isolated for egress: nobody has allowed it yet
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-R3NKRDLY3UI2JBS5 -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy shop/default-deny egress
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-R3NKRDLY3UI2JBS5 -j NETPOL-EG-LTGA3SGC6SJNNGUH
    # NetworkPolicy shop/default-deny egress: allowed
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-R3NKRDLY3UI2JBS5 -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy shop/web egress
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-R3NKRDLY3UI2JBS5 -j NETPOL-EG-R3NKRDLY3UI2JBS5
    # NetworkPolicy shop/web egress: allowed
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-R3NKRDLY3UI2JBS5 -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod shop/web: isolated for egress by NetworkPolicy shop/default-deny, NetworkPolicy shop/web, none of which allows it
    ip netns exec network-policy.node1 iptables -A NETPOL-TX-R3NKRDLY3UI2JBS5 -j DROP
    # policies: way into their chains
    ip netns exec network-policy.node1 iptables -A FORWARD -j NETPOL-FORWARD
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    ip netns exec network-policy.node1 iptables -A INPUT -j KUBE-FIREWALL               # the proxy: way into its chains
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec network-policy.node1 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec network-policy.node1 iptables -A OUTPUT -j KUBE-FIREWALL              # the proxy: way into its chains

    # --- node network-policy.node2
    # policies hold between pods of one bridge
    ip netns exec network-policy.node2 sysctl -q -w net.bridge.bridge-nf-call-iptables=1
    ip netns exec network-policy.node2 sysctl -q -w net.ipv4.conf.all.route_localnet=1  # node ports on 127.0.0.1
    ip netns exec network-policy.node2 sysctl -q -w net.ipv4.ip_forward=1               # lab.yaml:30 (node2 forward)
    ip netns exec network-policy.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1      # lab.yaml:30 (node2 forward)
    # lab.yaml:29 (node2 bridge cni0)
    ip -n network-policy.node2 link add cni0 address 0a:58:0a:f4:02:01 type bridge
    # lab.yaml:29 (node2 bridge cni0)
    ip -n network-policy.node2 link set cni0 up
    ip -n network-policy.node2 link set eth0 up                                         # lab.yaml:27 (node2 eth0)
    ip -n network-policy.node2 link set lo up                                           # lab.yaml:25 (node2)
    ip -n network-policy.node2 link set veth-api master cni0                            # lab.yaml:63 (container api)
    bridge -n network-policy.node2 link set dev veth-api hairpin on                     # lab.yaml:63 (container api)
    ip -n network-policy.node2 link set veth-api up                                     # lab.yaml:63 (container api)
    # lab.yaml:55 (container backend)
    ip -n network-policy.node2 link set veth-backend master cni0
    # lab.yaml:55 (container backend)
    bridge -n network-policy.node2 link set dev veth-backend hairpin on
    # lab.yaml:55 (container backend)
    ip -n network-policy.node2 link set veth-backend up
    ip -n network-policy.node2 link set veth-robot master cni0                          # lab.yaml:58 (container robot)
    bridge -n network-policy.node2 link set dev veth-robot hairpin on                   # lab.yaml:58 (container robot)
    ip -n network-policy.node2 link set veth-robot up                                   # lab.yaml:58 (container robot)
    ip -n network-policy.node2 link set veth-store master cni0                          # lab.yaml:64 (container store)
    bridge -n network-policy.node2 link set dev veth-store hairpin on                   # lab.yaml:64 (container store)
    ip -n network-policy.node2 link set veth-store up                                   # lab.yaml:64 (container store)
    # lab.yaml:29 (node2 bridge cni0)
    ip -n network-policy.node2 addr add 10.244.2.1/24 brd 10.244.2.255 dev cni0
    ip -n network-policy.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0         # lab.yaml:27 (node2 eth0)
    ip -n network-policy.node2 route add default via 10.168.0.1 dev eth0                # lab.yaml:31 (node2 route 1)
    ip -n network-policy.node2 route add 10.244.1.0/24 via 10.168.0.2 dev eth0          # lab.yaml:31 (node2 route 0)
    # policies: pods tier=store of namespace shop
    ip netns exec network-policy.node2 ipset create -exist NETPOL-4-G2NLHDOMEVKLOJWT hash:ip
    # policies: pods tier=store of namespace shop
    ip netns exec network-policy.node2 ipset add NETPOL-4-G2NLHDOMEVKLOJWT 10.244.2.42
    # policies: pods tier=web of namespace shop
    ip netns exec network-policy.node2 ipset create -exist NETPOL-4-KC7Q435AKAME4M2R hash:ip
    # policies: pods tier=web of namespace shop
    ip netns exec network-policy.node2 ipset add NETPOL-4-KC7Q435AKAME4M2R 10.244.1.40
    # policies: pods that are known here
    ip netns exec network-policy.node2 ipset create -exist NETPOL-4-KNOWN hash:ip
    # policies: pods that are known here
    ip netns exec network-policy.node2 ipset add NETPOL-4-KNOWN 10.244.2.12
    # policies: pods that are known here
    ip netns exec network-policy.node2 ipset add NETPOL-4-KNOWN 10.244.2.20
    # policies: pods that are known here
    ip netns exec network-policy.node2 ipset add NETPOL-4-KNOWN 10.244.2.41
    # policies: pods that are known here
    ip netns exec network-policy.node2 ipset add NETPOL-4-KNOWN 10.244.2.42
    # policies: pods tier=api of namespace shop
    ip netns exec network-policy.node2 ipset create -exist NETPOL-4-LD6AZJDKMKYN4RXS hash:ip
    # policies: pods tier=api of namespace shop
    ip netns exec network-policy.node2 ipset add NETPOL-4-LD6AZJDKMKYN4RXS 10.244.2.41
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node2 iptables -t mangle -N KUBE-PROXY-CANARY
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node2 iptables -t nat -N KUBE-MARK-MASQ
    ip netns exec network-policy.node2 iptables -t nat -N KUBE-NODEPORTS                # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node2 iptables -t nat -N KUBE-POSTROUTING
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node2 iptables -t nat -N KUBE-PROXY-CANARY
    ip netns exec network-policy.node2 iptables -t nat -N KUBE-SEP-UODIT2OXX77OPPLW     # Service default/db port 6379
    ip netns exec network-policy.node2 iptables -t nat -N KUBE-SERVICES                 # the Services of the cluster
    ip netns exec network-policy.node2 iptables -t nat -N KUBE-SVC-2KHWPRMFJERXUJE3     # Service default/db port 6379
    # the proxy: mark for masquerading
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
    # the proxy: only what is marked
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    # the proxy: the mark has done its work
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
    # the proxy: masquerade
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-POSTROUTING -m comment --comment 'kubernetes service traffic requiring SNAT' -j MASQUERADE --random-fully
    # Service default/db port 6379: an endpoint that calls itself
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-SEP-UODIT2OXX77OPPLW -s 10.244.1.10/32 -m comment --comment default/db -j KUBE-MARK-MASQ
    # Service default/db port 6379
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-SEP-UODIT2OXX77OPPLW -p tcp -m comment --comment default/db -m tcp -j DNAT --to-destination 10.244.1.10:6379
    # Service default/db port 6379
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-SERVICES -d 10.96.0.60/32 -p tcp -m comment --comment 'default/db cluster IP' -m tcp --dport 6379 -j KUBE-SVC-2KHWPRMFJERXUJE3
    # node ports of all Services
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-SERVICES -m comment --comment 'kubernetes service nodeports; NOTE: this must be the last rule in this chain' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
    # Service default/db port 6379: masquerade
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-SVC-2KHWPRMFJERXUJE3 ! -s 10.244.0.0/16 -d 10.96.0.60/32 -p tcp -m comment --comment 'default/db cluster IP' -m tcp --dport 6379 -j KUBE-MARK-MASQ
    # Service default/db port 6379
    ip netns exec network-policy.node2 iptables -t nat -A KUBE-SVC-2KHWPRMFJERXUJE3 -m comment --comment 'default/db -> 10.244.1.10:6379' -j KUBE-SEP-UODIT2OXX77OPPLW
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -t nat -A OUTPUT -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -t nat -A POSTROUTING -m comment --comment 'kubernetes postrouting rules' -j KUBE-POSTROUTING
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -t nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec network-policy.node2 iptables -N KUBE-EXTERNAL-SERVICES               # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node2 iptables -N KUBE-FIREWALL
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node2 iptables -N KUBE-FORWARD
    ip netns exec network-policy.node2 iptables -N KUBE-NODEPORTS                       # the Services of the cluster
    # the proxy: a chain that stands in every node
    ip netns exec network-policy.node2 iptables -N KUBE-PROXY-CANARY
    ip netns exec network-policy.node2 iptables -N KUBE-PROXY-FIREWALL                  # the Services of the cluster
    ip netns exec network-policy.node2 iptables -N KUBE-SERVICES                        # the Services of the cluster
    ip netns exec network-policy.node2 iptables -N NETPOL-EG-GN2WWLY4US3BETJX           # NetworkPolicy shop/api egress
    # NetworkPolicy shop/default-deny egress
    ip netns exec network-policy.node2 iptables -N NETPOL-EG-LTGA3SGC6SJNNGUH
    # policies: what passes through this node
    ip netns exec network-policy.node2 iptables -N NETPOL-FORWARD
    # NetworkPolicy shop/store ingress
    ip netns exec network-policy.node2 iptables -N NETPOL-IN-GLRP7KBXFRULYS7R
    ip netns exec network-policy.node2 iptables -N NETPOL-IN-GN2WWLY4US3BETJX           # NetworkPolicy shop/api ingress
    # NetworkPolicy shop/default-deny ingress
    ip netns exec network-policy.node2 iptables -N NETPOL-IN-LTGA3SGC6SJNNGUH
    # Pod shop/store: isolated for ingress
    ip netns exec network-policy.node2 iptables -N NETPOL-RX-GLRP7KBXFRULYS7R
    # Pod shop/api: isolated for ingress
    ip netns exec network-policy.node2 iptables -N NETPOL-RX-GN2WWLY4US3BETJX
    # Pod shop/store: isolated for egress
    ip netns exec network-policy.node2 iptables -N NETPOL-TX-GLRP7KBXFRULYS7R
    # Pod shop/api: isolated for egress
    ip netns exec network-policy.node2 iptables -N NETPOL-TX-GN2WWLY4US3BETJX
    # the proxy: route_localnet lets 127.0.0.0/8 in from the wire
    ip netns exec network-policy.node2 iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment 'block incoming localnet connections' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    # the proxy: no packet without its connection
    ip netns exec network-policy.node2 iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
    # the proxy: Service traffic
    ip netns exec network-policy.node2 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding rules' -m mark --mark 0x4000/0x4000 -j ACCEPT
    # the proxy: answers
    ip netns exec network-policy.node2 iptables -A KUBE-FORWARD -m comment --comment 'kubernetes forwarding conntrack rule' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # NetworkPolicy shop/api egress[0]
    ip netns exec network-policy.node2 iptables -A NETPOL-EG-GN2WWLY4US3BETJX -m set --match-set NETPOL-4-G2NLHDOMEVKLOJWT dst -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy shop/api egress[0]
    ip netns exec network-policy.node2 iptables -A NETPOL-EG-GN2WWLY4US3BETJX -m mark --mark 0x20000/0x20000 -j RETURN
    # policies: answers pass
    ip netns exec network-policy.node2 iptables -A NETPOL-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
    # policies: a pod that is not known yet is held back
    ip netns exec network-policy.node2 iptables -A NETPOL-FORWARD -s 10.244.2.0/24 -m set ! --match-set NETPOL-4-KNOWN src -j DROP
    # policies: a pod that is not known yet is held back
    ip netns exec network-policy.node2 iptables -A NETPOL-FORWARD -d 10.244.2.0/24 -m set ! --match-set NETPOL-4-KNOWN dst -j DROP
    # Pod shop/api: isolated for egress
    ip netns exec network-policy.node2 iptables -A NETPOL-FORWARD -s 10.244.2.41/32 -j NETPOL-TX-GN2WWLY4US3BETJX
    # Pod shop/store: isolated for egress
    ip netns exec network-policy.node2 iptables -A NETPOL-FORWARD -s 10.244.2.42/32 -j NETPOL-TX-GLRP7KBXFRULYS7R
    # Pod shop/api: isolated for ingress
    ip netns exec network-policy.node2 iptables -A NETPOL-FORWARD -d 10.244.2.41/32 -j NETPOL-RX-GN2WWLY4US3BETJX
    # Pod shop/store: isolated for ingress
    ip netns exec network-policy.node2 iptables -A NETPOL-FORWARD -d 10.244.2.42/32 -j NETPOL-RX-GLRP7KBXFRULYS7R
    # NetworkPolicy shop/store ingress[0]
    ip netns exec network-policy.node2 iptables -A NETPOL-IN-GLRP7KBXFRULYS7R -m set --match-set NETPOL-4-LD6AZJDKMKYN4RXS src -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy shop/store ingress[0]
    ip netns exec network-policy.node2 iptables -A NETPOL-IN-GLRP7KBXFRULYS7R -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy shop/api ingress[0]
    ip netns exec network-policy.node2 iptables -A NETPOL-IN-GN2WWLY4US3BETJX -m set --match-set NETPOL-4-KC7Q435AKAME4M2R src -j MARK --set-xmark 0x20000/0x20000
    # NetworkPolicy shop/api ingress[0]
    ip netns exec network-policy.node2 iptables -A NETPOL-IN-GN2WWLY4US3BETJX -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod shop/store: a pod may always talk to itself
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GLRP7KBXFRULYS7R -s 10.244.2.42/32 -j RETURN
    # Pod shop/store: isolated for ingress: nobody has allowed it yet
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GLRP7KBXFRULYS7R -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy shop/default-deny ingress
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GLRP7KBXFRULYS7R -j NETPOL-IN-LTGA3SGC6SJNNGUH
    # NetworkPolicy shop/default-deny ingress: allowed
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GLRP7KBXFRULYS7R -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy shop/store ingress
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GLRP7KBXFRULYS7R -j NETPOL-IN-GLRP7KBXFRULYS7R
    # NetworkPolicy shop/store ingress: allowed
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GLRP7KBXFRULYS7R -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod shop/store: isolated for ingress by NetworkPolicy shop/default-deny, NetworkPolicy shop/store, none of which allows it
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GLRP7KBXFRULYS7R -j DROP
    # Pod shop/api: a pod may always talk to itself
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GN2WWLY4US3BETJX -s 10.244.2.41/32 -j RETURN
    # Pod shop/api: isolated for ingress: nobody has allowed it yet
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GN2WWLY4US3BETJX -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy shop/api ingress
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GN2WWLY4US3BETJX -j NETPOL-IN-GN2WWLY4US3BETJX
    # NetworkPolicy shop/api ingress: allowed
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GN2WWLY4US3BETJX -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy shop/default-deny ingress
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GN2WWLY4US3BETJX -j NETPOL-IN-LTGA3SGC6SJNNGUH
    # NetworkPolicy shop/default-deny ingress: allowed
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GN2WWLY4US3BETJX -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod shop/api: isolated for ingress by NetworkPolicy shop/api, NetworkPolicy shop/default-deny, none of which allows it
    ip netns exec network-policy.node2 iptables -A NETPOL-RX-GN2WWLY4US3BETJX -j DROP
    # Pod shop/store: a pod may always talk to itself
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GLRP7KBXFRULYS7R -d 10.244.2.42/32 -j RETURN
    # Pod shop/store: isolated for egress: nobody has allowed it yet
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GLRP7KBXFRULYS7R -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy shop/default-deny egress
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GLRP7KBXFRULYS7R -j NETPOL-EG-LTGA3SGC6SJNNGUH
    # NetworkPolicy shop/default-deny egress: allowed
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GLRP7KBXFRULYS7R -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod shop/store: isolated for egress by NetworkPolicy shop/default-deny, none of which allows it
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GLRP7KBXFRULYS7R -j DROP
    # Pod shop/api: a pod may always talk to itself
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GN2WWLY4US3BETJX -d 10.244.2.41/32 -j RETURN
    # Pod shop/api: isolated for egress: nobody has allowed it yet
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GN2WWLY4US3BETJX -j MARK --set-xmark 0x0/0x20000
    # NetworkPolicy shop/api egress
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GN2WWLY4US3BETJX -j NETPOL-EG-GN2WWLY4US3BETJX
    # NetworkPolicy shop/api egress: allowed
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GN2WWLY4US3BETJX -m mark --mark 0x20000/0x20000 -j RETURN
    # NetworkPolicy shop/default-deny egress
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GN2WWLY4US3BETJX -j NETPOL-EG-LTGA3SGC6SJNNGUH
    # NetworkPolicy shop/default-deny egress: allowed
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GN2WWLY4US3BETJX -m mark --mark 0x20000/0x20000 -j RETURN
    # Pod shop/api: isolated for egress by NetworkPolicy shop/api, NetworkPolicy shop/default-deny, none of which allows it
    ip netns exec network-policy.node2 iptables -A NETPOL-TX-GN2WWLY4US3BETJX -j DROP
    # policies: way into their chains
    ip netns exec network-policy.node2 iptables -A FORWARD -j NETPOL-FORWARD
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A FORWARD -m comment --comment 'kubernetes forwarding rules' -j KUBE-FORWARD
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A FORWARD -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A INPUT -m comment --comment 'kubernetes health check service ports' -j KUBE-NODEPORTS
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A INPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes externally-visible service portals' -j KUBE-EXTERNAL-SERVICES
    ip netns exec network-policy.node2 iptables -A INPUT -j KUBE-FIREWALL               # the proxy: way into its chains
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes load balancer firewall' -j KUBE-PROXY-FIREWALL
    # the proxy: way into its chains
    ip netns exec network-policy.node2 iptables -A OUTPUT -m conntrack --ctstate NEW -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
    ip netns exec network-policy.node2 iptables -A OUTPUT -j KUBE-FIREWALL              # the proxy: way into its chains

    # --- node network-policy.router
    ip netns exec network-policy.router sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:40 (router forward)
    ip netns exec network-policy.router sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:40 (router forward)
    # lab.yaml:39 (router bridge docker0)
    ip -n network-policy.router link add docker0 address 02:42:ac:11:ff:01 type bridge
    # lab.yaml:39 (router bridge docker0)
    ip -n network-policy.router link set docker0 up
    ip -n network-policy.router link set eth0 up                                     # lab.yaml:36 (router eth0)
    ip -n network-policy.router link set eth1 up                                     # lab.yaml:37 (router eth1)
    ip -n network-policy.router link set lo up                                       # lab.yaml:34 (router)
    ip -n network-policy.router link set veth-clerk master docker0                   # lab.yaml:67 (container clerk)
    ip -n network-policy.router link set veth-clerk up                               # lab.yaml:67 (container clerk)
    ip -n network-policy.router link set veth-guest master docker0                   # lab.yaml:68 (container guest)
    ip -n network-policy.router link set veth-guest up                               # lab.yaml:68 (container guest)
    # lab.yaml:39 (router bridge docker0)
    ip -n network-policy.router addr add 172.17.255.1/16 brd 172.17.255.255 dev docker0
    ip -n network-policy.router addr add 10.168.0.1/24 brd 10.168.0.255 dev eth0     # lab.yaml:36 (router eth0)
    ip -n network-policy.router addr add 10.0.0.1/24 brd 10.0.0.255 dev eth1         # lab.yaml:37 (router eth1)
    ip -n network-policy.router route add 10.244.1.0/24 via 10.168.0.2 dev eth0      # lab.yaml:41 (router route 0)
    ip -n network-policy.router route add 10.244.2.0/24 via 10.168.0.3 dev eth0      # lab.yaml:41 (router route 1)

    # --- node network-policy.ledger
    ip -n network-policy.ledger link set eth0 up                              # lab.yaml:44 (ledger eth0)
    ip -n network-policy.ledger link set lo up                                # lab.yaml:42 (ledger)
    ip -n network-policy.ledger addr add 10.0.0.9/24 brd 10.0.0.255 dev eth0  # lab.yaml:44 (ledger eth0)
    ip -n network-policy.ledger route add default via 10.0.0.1 dev eth0       # lab.yaml:45 (ledger route 0)

    # --- node network-policy.db
    ip -n network-policy.db link set eth0 up                                   # lab.yaml:51 (container db)
    ip -n network-policy.db link set lo up                                     # lab.yaml:51 (container db)
    ip -n network-policy.db addr add 10.244.1.10/24 brd 10.244.1.255 dev eth0  # lab.yaml:51 (container db)
    ip -n network-policy.db route add default via 10.244.1.1 dev eth0          # lab.yaml:51 (container db gateway)

    # --- node network-policy.frontend
    ip -n network-policy.frontend link set eth0 up                                   # lab.yaml:53 (container frontend)
    ip -n network-policy.frontend link set lo up                                     # lab.yaml:53 (container frontend)
    ip -n network-policy.frontend addr add 10.244.1.11/24 brd 10.244.1.255 dev eth0  # lab.yaml:53 (container frontend)
    # lab.yaml:53 (container frontend gateway)
    ip -n network-policy.frontend route add default via 10.244.1.1 dev eth0

    # --- node network-policy.backend
    ip -n network-policy.backend link set eth0 up                                   # lab.yaml:55 (container backend)
    ip -n network-policy.backend link set lo up                                     # lab.yaml:55 (container backend)
    ip -n network-policy.backend addr add 10.244.2.12/24 brd 10.244.2.255 dev eth0  # lab.yaml:55 (container backend)
    # lab.yaml:55 (container backend gateway)
    ip -n network-policy.backend route add default via 10.244.2.1 dev eth0

    # --- node network-policy.robot
    ip -n network-policy.robot link set eth0 up                                   # lab.yaml:58 (container robot)
    ip -n network-policy.robot link set lo up                                     # lab.yaml:58 (container robot)
    ip -n network-policy.robot addr add 10.244.2.20/24 brd 10.244.2.255 dev eth0  # lab.yaml:58 (container robot)
    # lab.yaml:58 (container robot gateway)
    ip -n network-policy.robot route add default via 10.244.2.1 dev eth0

    # --- node network-policy.stranger
    ip -n network-policy.stranger link set eth0 up                                   # lab.yaml:59 (container stranger)
    ip -n network-policy.stranger link set lo up                                     # lab.yaml:59 (container stranger)
    ip -n network-policy.stranger addr add 10.244.1.30/24 brd 10.244.1.255 dev eth0  # lab.yaml:59 (container stranger)
    # lab.yaml:59 (container stranger gateway)
    ip -n network-policy.stranger route add default via 10.244.1.1 dev eth0

    # --- node network-policy.web
    ip -n network-policy.web link set eth0 up                                   # lab.yaml:62 (container web)
    ip -n network-policy.web link set lo up                                     # lab.yaml:62 (container web)
    ip -n network-policy.web addr add 10.244.1.40/24 brd 10.244.1.255 dev eth0  # lab.yaml:62 (container web)
    ip -n network-policy.web route add default via 10.244.1.1 dev eth0          # lab.yaml:62 (container web gateway)

    # --- node network-policy.api
    ip -n network-policy.api link set eth0 up                                   # lab.yaml:63 (container api)
    ip -n network-policy.api link set lo up                                     # lab.yaml:63 (container api)
    ip -n network-policy.api addr add 10.244.2.41/24 brd 10.244.2.255 dev eth0  # lab.yaml:63 (container api)
    ip -n network-policy.api route add default via 10.244.2.1 dev eth0          # lab.yaml:63 (container api gateway)

    # --- node network-policy.store
    ip -n network-policy.store link set eth0 up                                   # lab.yaml:64 (container store)
    ip -n network-policy.store link set lo up                                     # lab.yaml:64 (container store)
    ip -n network-policy.store addr add 10.244.2.42/24 brd 10.244.2.255 dev eth0  # lab.yaml:64 (container store)
    # lab.yaml:64 (container store gateway)
    ip -n network-policy.store route add default via 10.244.2.1 dev eth0

    # --- node network-policy.clerk
    ip -n network-policy.clerk link set eth0 up                                    # lab.yaml:67 (container clerk)
    ip -n network-policy.clerk link set lo up                                      # lab.yaml:67 (container clerk)
    ip -n network-policy.clerk addr add 172.17.0.5/16 brd 172.17.255.255 dev eth0  # lab.yaml:67 (container clerk)
    # lab.yaml:67 (container clerk gateway)
    ip -n network-policy.clerk route add default via 172.17.255.1 dev eth0

    # --- node network-policy.guest
    ip -n network-policy.guest link set eth0 up                                    # lab.yaml:68 (container guest)
    ip -n network-policy.guest link set lo up                                      # lab.yaml:68 (container guest)
    ip -n network-policy.guest addr add 172.17.1.5/16 brd 172.17.255.255 dev eth0  # lab.yaml:68 (container guest)
    # lab.yaml:68 (container guest gateway)
    ip -n network-policy.guest route add default via 172.17.255.1 dev eth0

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
