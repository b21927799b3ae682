#!/bin/sh
# docker0: two containers on one bridge
#
# A host with the bridge docker0 and two containers on veth pairs, as `docker run` builds it; beside it a second host
# with a docker0 of its own, and a machine outside that knows nothing of containers.
#
#   sh docker0.sh up      builds it
#   sh docker0.sh down    removes all of it
set -eu

run=/run/netlab-script-docker0
namespaces='docker0.lan docker0.node1 docker0.node2 docker0.outside docker0.nginx-1 docker0.nginx-2 docker0.nginx-3'

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
    ip netns add docker0.lan
    ip netns add docker0.node1
    ip netns add docker0.node2
    ip netns add docker0.outside
    ip netns add docker0.nginx-1
    ip netns add docker0.nginx-2
    ip netns add docker0.nginx-3

    # --- cables: veth pairs
    # lab.yaml:18 (node1 eth0)
    ip -n docker0.lan link add node1-eth0 address 02:e9:0b:06:71:0b type veth peer name eth0 address 02:85:1f:e1:8d:69 netns docker0.node1
    # lab.yaml:31 (node2 eth0)
    ip -n docker0.lan link add node2-eth0 address 02:15:b3:f7:50:33 type veth peer name eth0 address 02:cc:47:b6:32:da netns docker0.node2
    # lab.yaml:40 (outside eth0)
    ip -n docker0.lan link add outside-eth0 address 02:61:7b:af:02:f1 type veth peer name eth0 address 02:91:50:88:4b:f8 netns docker0.outside
    # lab.yaml:44 (container nginx-1)
    ip -n docker0.node1 link add vethea91a87 address 02:89:ad:0b:3d:77 type veth peer name eth0 address 02:42:ac:11:00:02 netns docker0.nginx-1
    # lab.yaml:51 (container nginx-2)
    ip -n docker0.node1 link add vethf7399eb address 02:02:fb:77:20:46 type veth peer name eth0 address 02:42:ac:11:00:03 netns docker0.nginx-2
    # lab.yaml:69 (container nginx-3)
    ip -n docker0.node2 link add veth9c04ffd address 02:69:aa:c2:54:56 type veth peer name eth0 address 02:42:ac:11:00:02 netns docker0.nginx-3

    # --- node docker0.lan
    ip -n docker0.lan link add lan address 02:07:60:34:b5:ed type bridge  # lab.yaml:11 (network lan)
    ip -n docker0.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n docker0.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n docker0.lan link set node1-eth0 master lan                      # lab.yaml:18 (node1 eth0)
    ip -n docker0.lan link set node1-eth0 up                              # lab.yaml:18 (node1 eth0)
    ip -n docker0.lan link set node2-eth0 master lan                      # lab.yaml:31 (node2 eth0)
    ip -n docker0.lan link set node2-eth0 up                              # lab.yaml:31 (node2 eth0)
    ip -n docker0.lan link set outside-eth0 master lan                    # lab.yaml:40 (outside eth0)
    ip -n docker0.lan link set outside-eth0 up                            # lab.yaml:40 (outside eth0)

    # --- node docker0.node1
    ip netns exec docker0.node1 sysctl -q -w net.ipv4.ip_forward=1              # lab.yaml:25 (node1 forward)
    ip netns exec docker0.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1     # lab.yaml:25 (node1 forward)
    ip -n docker0.node1 link add docker0 address 02:42:d8:e4:53:ce type bridge  # lab.yaml:20 (node1 bridge docker0)
    ip -n docker0.node1 link set docker0 up                                     # lab.yaml:20 (node1 bridge docker0)
    ip -n docker0.node1 link set eth0 up                                        # lab.yaml:18 (node1 eth0)
    ip -n docker0.node1 link set lo up                                          # lab.yaml:16 (node1)
    ip -n docker0.node1 link set vethea91a87 master docker0                     # lab.yaml:44 (container nginx-1)
    bridge -n docker0.node1 link set dev vethea91a87 hairpin on                 # lab.yaml:44 (container nginx-1)
    ip -n docker0.node1 link set vethea91a87 up                                 # lab.yaml:44 (container nginx-1)
    ip -n docker0.node1 link set vethf7399eb master docker0                     # lab.yaml:51 (container nginx-2)
    bridge -n docker0.node1 link set dev vethf7399eb hairpin on                 # lab.yaml:51 (container nginx-2)
    ip -n docker0.node1 link set vethf7399eb up                                 # lab.yaml:51 (container nginx-2)
    ip -n docker0.node1 addr add 172.17.0.1/16 brd 172.17.255.255 dev docker0   # lab.yaml:20 (node1 bridge docker0)
    ip -n docker0.node1 addr add fd00:172:17::1/64 dev docker0 nodad            # lab.yaml:20 (node1 bridge docker0)
    ip -n docker0.node1 addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0        # lab.yaml:18 (node1 eth0)
    ip -n docker0.node1 addr add fd00:10:168::2/64 dev eth0 nodad               # lab.yaml:18 (node1 eth0)
    ip netns exec docker0.node1 iptables -t nat -N DOCKER                       # lab.yaml:20 (node1 bridge docker0)
    # lab.yaml:49 (container nginx-1 publish 0)
    ip netns exec docker0.node1 iptables -t nat -A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
    # lab.yaml:20 (node1 bridge docker0): published ports, from here
    ip netns exec docker0.node1 iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
    # lab.yaml:20 (node1 bridge docker0): masquerade what leaves docker0
    ip netns exec docker0.node1 iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    # lab.yaml:49 (container nginx-1 publish 0): hairpin, a container that calls its own published port
    ip netns exec docker0.node1 iptables -t nat -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
    # lab.yaml:20 (node1 bridge docker0): published ports, from outside
    ip netns exec docker0.node1 iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    ip netns exec docker0.node1 iptables -N DOCKER                              # lab.yaml:20 (node1 bridge docker0)
    # lab.yaml:49 (container nginx-1 publish 0)
    ip netns exec docker0.node1 iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
    ip netns exec docker0.node1 iptables -P FORWARD DROP                        # lab.yaml:20 (node1 bridge docker0)
    # lab.yaml:20 (node1 bridge docker0): published ports
    ip netns exec docker0.node1 iptables -A FORWARD -o docker0 -j DOCKER
    # lab.yaml:20 (node1 bridge docker0): answers
    ip netns exec docker0.node1 iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:20 (node1 bridge docker0): containers to outside
    ip netns exec docker0.node1 iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    # lab.yaml:20 (node1 bridge docker0): container to container
    ip netns exec docker0.node1 iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
    ip netns exec docker0.node1 ip6tables -t nat -N DOCKER                      # lab.yaml:20 (node1 bridge docker0)
    # lab.yaml:49 (container nginx-1 publish 0)
    ip netns exec docker0.node1 ip6tables -t nat -A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination '[fd00:172:17::2]:80'
    # lab.yaml:20 (node1 bridge docker0): published ports, from here
    ip netns exec docker0.node1 ip6tables -t nat -A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j DOCKER
    # lab.yaml:20 (node1 bridge docker0): masquerade what leaves docker0
    ip netns exec docker0.node1 ip6tables -t nat -A POSTROUTING -s fd00:172:17::/64 ! -o docker0 -j MASQUERADE
    # lab.yaml:49 (container nginx-1 publish 0): hairpin, a container that calls its own published port
    ip netns exec docker0.node1 ip6tables -t nat -A POSTROUTING -s fd00:172:17::2/128 -d fd00:172:17::2/128 -p tcp -m tcp --dport 80 -j MASQUERADE
    # lab.yaml:20 (node1 bridge docker0): published ports, from outside
    ip netns exec docker0.node1 ip6tables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    ip netns exec docker0.node1 ip6tables -N DOCKER                             # lab.yaml:20 (node1 bridge docker0)
    # lab.yaml:49 (container nginx-1 publish 0)
    ip netns exec docker0.node1 ip6tables -A DOCKER -d fd00:172:17::2/128 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
    ip netns exec docker0.node1 ip6tables -P FORWARD DROP                       # lab.yaml:20 (node1 bridge docker0)
    # lab.yaml:20 (node1 bridge docker0): published ports
    ip netns exec docker0.node1 ip6tables -A FORWARD -o docker0 -j DOCKER
    # lab.yaml:20 (node1 bridge docker0): answers
    ip netns exec docker0.node1 ip6tables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:20 (node1 bridge docker0): containers to outside
    ip netns exec docker0.node1 ip6tables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    # lab.yaml:20 (node1 bridge docker0): container to container
    ip netns exec docker0.node1 ip6tables -A FORWARD -i docker0 -o docker0 -j ACCEPT

    # --- node docker0.node2
    ip netns exec docker0.node2 sysctl -q -w net.ipv4.ip_forward=1              # lab.yaml:34 (node2 forward)
    ip netns exec docker0.node2 sysctl -q -w net.ipv6.conf.all.forwarding=1     # lab.yaml:34 (node2 forward)
    ip -n docker0.node2 link add docker0 address 02:4b:3f:a4:59:cb type bridge  # lab.yaml:33 (node2 bridge docker0)
    ip -n docker0.node2 link set docker0 up                                     # lab.yaml:33 (node2 bridge docker0)
    ip -n docker0.node2 link set eth0 up                                        # lab.yaml:31 (node2 eth0)
    ip -n docker0.node2 link set lo up                                          # lab.yaml:29 (node2)
    ip -n docker0.node2 link set veth9c04ffd master docker0                     # lab.yaml:69 (container nginx-3)
    bridge -n docker0.node2 link set dev veth9c04ffd hairpin on                 # lab.yaml:69 (container nginx-3)
    ip -n docker0.node2 link set veth9c04ffd up                                 # lab.yaml:69 (container nginx-3)
    ip -n docker0.node2 addr add 172.17.0.1/16 brd 172.17.255.255 dev docker0   # lab.yaml:33 (node2 bridge docker0)
    ip -n docker0.node2 addr add fd00:172:17::1/64 dev docker0 nodad            # lab.yaml:33 (node2 bridge docker0)
    ip -n docker0.node2 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0        # lab.yaml:31 (node2 eth0)
    ip -n docker0.node2 addr add fd00:10:168::3/64 dev eth0 nodad               # lab.yaml:31 (node2 eth0)
    ip netns exec docker0.node2 iptables -t nat -N DOCKER                       # lab.yaml:33 (node2 bridge docker0)
    # lab.yaml:33 (node2 bridge docker0): published ports, from here
    ip netns exec docker0.node2 iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
    # lab.yaml:33 (node2 bridge docker0): masquerade what leaves docker0
    ip netns exec docker0.node2 iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    # lab.yaml:33 (node2 bridge docker0): published ports, from outside
    ip netns exec docker0.node2 iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    ip netns exec docker0.node2 iptables -N DOCKER                              # lab.yaml:33 (node2 bridge docker0)
    ip netns exec docker0.node2 iptables -P FORWARD DROP                        # lab.yaml:33 (node2 bridge docker0)
    # lab.yaml:33 (node2 bridge docker0): published ports
    ip netns exec docker0.node2 iptables -A FORWARD -o docker0 -j DOCKER
    # lab.yaml:33 (node2 bridge docker0): answers
    ip netns exec docker0.node2 iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:33 (node2 bridge docker0): containers to outside
    ip netns exec docker0.node2 iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    # lab.yaml:33 (node2 bridge docker0): container to container
    ip netns exec docker0.node2 iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
    ip netns exec docker0.node2 ip6tables -t nat -N DOCKER                      # lab.yaml:33 (node2 bridge docker0)
    # lab.yaml:33 (node2 bridge docker0): published ports, from here
    ip netns exec docker0.node2 ip6tables -t nat -A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j DOCKER
    # lab.yaml:33 (node2 bridge docker0): masquerade what leaves docker0
    ip netns exec docker0.node2 ip6tables -t nat -A POSTROUTING -s fd00:172:17::/64 ! -o docker0 -j MASQUERADE
    # lab.yaml:33 (node2 bridge docker0): published ports, from outside
    ip netns exec docker0.node2 ip6tables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    ip netns exec docker0.node2 ip6tables -N DOCKER                             # lab.yaml:33 (node2 bridge docker0)
    ip netns exec docker0.node2 ip6tables -P FORWARD DROP                       # lab.yaml:33 (node2 bridge docker0)
    # lab.yaml:33 (node2 bridge docker0): published ports
    ip netns exec docker0.node2 ip6tables -A FORWARD -o docker0 -j DOCKER
    # lab.yaml:33 (node2 bridge docker0): answers
    ip netns exec docker0.node2 ip6tables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    # lab.yaml:33 (node2 bridge docker0): containers to outside
    ip netns exec docker0.node2 ip6tables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    # lab.yaml:33 (node2 bridge docker0): container to container
    ip netns exec docker0.node2 ip6tables -A FORWARD -i docker0 -o docker0 -j ACCEPT

    # --- node docker0.outside
    ip -n docker0.outside link set eth0 up                                    # lab.yaml:40 (outside eth0)
    ip -n docker0.outside link set lo up                                      # lab.yaml:38 (outside)
    ip -n docker0.outside addr add 10.168.0.100/24 brd 10.168.0.255 dev eth0  # lab.yaml:40 (outside eth0)
    ip -n docker0.outside addr add fd00:10:168::64/64 dev eth0 nodad          # lab.yaml:40 (outside eth0)

    # --- node docker0.nginx-1
    ip -n docker0.nginx-1 link set eth0 up                                    # lab.yaml:44 (container nginx-1)
    ip -n docker0.nginx-1 link set lo up                                      # lab.yaml:44 (container nginx-1)
    ip -n docker0.nginx-1 addr add 172.17.0.2/16 brd 172.17.255.255 dev eth0  # lab.yaml:44 (container nginx-1)
    ip -n docker0.nginx-1 addr add fd00:172:17::2/64 dev eth0 nodad           # lab.yaml:44 (container nginx-1)
    ip -n docker0.nginx-1 route add default via 172.17.0.1 dev eth0           # lab.yaml:44 (container nginx-1 gateway)
    ip -n docker0.nginx-1 -6 route add default via fd00:172:17::1 dev eth0    # lab.yaml:44 (container nginx-1 gateway)

    # --- node docker0.nginx-2
    ip -n docker0.nginx-2 link set eth0 up                                    # lab.yaml:51 (container nginx-2)
    ip -n docker0.nginx-2 link set lo up                                      # lab.yaml:51 (container nginx-2)
    ip -n docker0.nginx-2 addr add 172.17.0.3/16 brd 172.17.255.255 dev eth0  # lab.yaml:51 (container nginx-2)
    ip -n docker0.nginx-2 addr add fd00:172:17::3/64 dev eth0 nodad           # lab.yaml:51 (container nginx-2)
    ip -n docker0.nginx-2 route add default via 172.17.0.1 dev eth0           # lab.yaml:51 (container nginx-2 gateway)
    ip -n docker0.nginx-2 -6 route add default via fd00:172:17::1 dev eth0    # lab.yaml:51 (container nginx-2 gateway)

    # --- node docker0.nginx-3
    ip -n docker0.nginx-3 link set eth0 up                                    # lab.yaml:69 (container nginx-3)
    ip -n docker0.nginx-3 link set lo up                                      # lab.yaml:69 (container nginx-3)
    ip -n docker0.nginx-3 addr add 172.17.0.2/16 brd 172.17.255.255 dev eth0  # lab.yaml:69 (container nginx-3)
    ip -n docker0.nginx-3 addr add fd00:172:17::2/64 dev eth0 nodad           # lab.yaml:69 (container nginx-3)
    ip -n docker0.nginx-3 route add default via 172.17.0.1 dev eth0           # lab.yaml:69 (container nginx-3 gateway)
    ip -n docker0.nginx-3 -6 route add default via fd00:172:17::1 dev eth0    # lab.yaml:69 (container nginx-3 gateway)

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
