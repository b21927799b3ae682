#!/bin/sh
# BGP: two autonomous systems and their border gateways
#
# AS 1 with the host 10.10.0.2 behind Router 1, AS 2 with the hosts 172.17.0.2 and 172.17.0.3 behind Router 2, and one
# wire between the routers. Neither knows the networks of the other by configuration: a bgpd on each border gateway
# tells the other by TCP what it reaches, and writes what it hears into the routing table. As a script of ip this lab
# has the routes as BGP leaves them, and nobody to change them when something changes.
#
#   sh bgp-border.sh up      builds it
#   sh bgp-border.sh down    removes all of it
set -eu

run=/run/netlab-script-bgp-border
namespaces='bgp-border.host-1 bgp-border.router-1 bgp-border.router-2 bgp-border.host-2 bgp-border.host-3'

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
    ip netns add bgp-border.host-1
    ip netns add bgp-border.router-1
    ip netns add bgp-border.router-2
    ip netns add bgp-border.host-2
    ip netns add bgp-border.host-3

    # --- cables: veth pairs
    # lab.yaml:27 (router-2 A); lab.yaml:38 (host-2 eth0)
    ip -n bgp-border.router-2 link add A address 02:05:0b:85:d0:e8 type veth peer name eth0 address 02:9a:e5:e5:ab:fd netns bgp-border.host-2
    # lab.yaml:28 (router-2 B); lab.yaml:47 (host-3 eth0)
    ip -n bgp-border.router-2 link add B address 02:33:10:2d:04:88 type veth peer name eth0 address 02:85:83:5d:6a:2d netns bgp-border.host-3
    # lab.yaml:29 (router-2 C); lab.yaml:21 (router-1 C)
    ip -n bgp-border.router-2 link add C address 02:42:c0:00:02:02 type veth peer name C address 02:42:c0:00:02:01 netns bgp-border.router-1
    # lab.yaml:20 (router-1 A); lab.yaml:15 (host-1 eth0)
    ip -n bgp-border.router-1 link add A address 02:fc:08:75:7c:80 type veth peer name eth0 address 02:ce:03:dc:41:1e netns bgp-border.host-1

    # --- node bgp-border.host-1
    ip -n bgp-border.host-1 link set eth0 up                                 # lab.yaml:15 (host-1 eth0)
    ip -n bgp-border.host-1 link set lo up                                   # lab.yaml:13 (host-1)
    ip -n bgp-border.host-1 addr add 10.10.0.2/24 brd 10.10.0.255 dev eth0   # lab.yaml:15 (host-1 eth0)
    ip -n bgp-border.host-1 addr add fd00:10:10::2/64 dev eth0 nodad         # lab.yaml:15 (host-1 eth0)
    ip -n bgp-border.host-1 route add default via 10.10.0.1 dev eth0         # lab.yaml:16 (host-1 route 0)
    ip -n bgp-border.host-1 -6 route add default via fd00:10:10::1 dev eth0  # lab.yaml:16 (host-1 route 1)

    # --- node bgp-border.router-1
    # lab.yaml:22 (router-1 forward)
    ip netns exec bgp-border.router-1 sysctl -q -w net.ipv4.ip_forward=1
    # lab.yaml:22 (router-1 forward)
    ip netns exec bgp-border.router-1 sysctl -q -w net.ipv6.conf.all.forwarding=1
    # lab.yaml:20 (router-1 A)
    ip -n bgp-border.router-1 link set A up
    # lab.yaml:21 (router-1 C)
    ip -n bgp-border.router-1 link set C up
    ip -n bgp-border.router-1 link set lo up                                                   # lab.yaml:18 (router-1)
    # lab.yaml:20 (router-1 A)
    ip -n bgp-border.router-1 addr add 10.10.0.1/24 brd 10.10.0.255 dev A
    # lab.yaml:20 (router-1 A)
    ip -n bgp-border.router-1 addr add fd00:10:10::1/64 dev A nodad
    # lab.yaml:21 (router-1 C)
    ip -n bgp-border.router-1 addr add 192.0.2.1/30 brd 192.0.2.3 dev C
    # lab.yaml:21 (router-1 C)
    ip -n bgp-border.router-1 addr add fd00:0:0:12::1/64 dev C nodad
    ip -n bgp-border.router-1 route add 172.17.0.0/24 via 192.0.2.2 dev C metric 32 proto bgp  # BGP from router-2
    # BGP from router-2
    ip -n bgp-border.router-1 -6 route add fd00:172:17::/64 via fd00:0:0:12::2 dev C metric 32 proto bgp

    # --- node bgp-border.router-2
    # lab.yaml:35 (router-2 forward)
    ip netns exec bgp-border.router-2 sysctl -q -w net.ipv4.ip_forward=1
    # lab.yaml:35 (router-2 forward)
    ip netns exec bgp-border.router-2 sysctl -q -w net.ipv6.conf.all.forwarding=1
    ip -n bgp-border.router-2 link set A up                                                   # lab.yaml:27 (router-2 A)
    ip -n bgp-border.router-2 link set B up                                                   # lab.yaml:28 (router-2 B)
    ip -n bgp-border.router-2 link set C up                                                   # lab.yaml:29 (router-2 C)
    ip -n bgp-border.router-2 link set lo up                                                  # lab.yaml:25 (router-2)
    ip -n bgp-border.router-2 addr add 172.17.0.1/32 dev A                                    # lab.yaml:27 (router-2 A)
    ip -n bgp-border.router-2 addr add fd00:172:17::1/128 dev A nodad                         # lab.yaml:27 (router-2 A)
    ip -n bgp-border.router-2 addr add 172.17.0.1/32 dev B                                    # lab.yaml:28 (router-2 B)
    ip -n bgp-border.router-2 addr add fd00:172:17::1/128 dev B nodad                         # lab.yaml:28 (router-2 B)
    ip -n bgp-border.router-2 addr add 192.0.2.2/30 brd 192.0.2.3 dev C                       # lab.yaml:29 (router-2 C)
    ip -n bgp-border.router-2 addr add fd00:0:0:12::2/64 dev C nodad                          # lab.yaml:29 (router-2 C)
    # network 172.17.0.0/24 of ours
    ip -n bgp-border.router-2 route add blackhole 172.17.0.0/24 metric 32 proto bgp
    # lab.yaml:31 (router-2 route 0)
    ip -n bgp-border.router-2 route add 172.17.0.2/32 dev A
    # lab.yaml:33 (router-2 route 2)
    ip -n bgp-border.router-2 route add 172.17.0.3/32 dev B
    ip -n bgp-border.router-2 route add 10.10.0.0/24 via 192.0.2.1 dev C metric 32 proto bgp  # BGP from router-1
    # network fd00:172:17::/64 of ours
    ip -n bgp-border.router-2 -6 route add blackhole fd00:172:17::/64 metric 32 proto bgp
    # lab.yaml:32 (router-2 route 1)
    ip -n bgp-border.router-2 -6 route add fd00:172:17::2/128 dev A
    # lab.yaml:34 (router-2 route 3)
    ip -n bgp-border.router-2 -6 route add fd00:172:17::3/128 dev B
    # BGP from router-1
    ip -n bgp-border.router-2 -6 route add fd00:10:10::/64 via fd00:0:0:12::1 dev C metric 32 proto bgp

    # --- node bgp-border.host-2
    ip -n bgp-border.host-2 link set eth0 up                                         # lab.yaml:38 (host-2 eth0)
    ip -n bgp-border.host-2 link set lo up                                           # lab.yaml:36 (host-2)
    ip -n bgp-border.host-2 addr add 172.17.0.2/32 dev eth0                          # lab.yaml:38 (host-2 eth0)
    ip -n bgp-border.host-2 addr add fd00:172:17::2/128 dev eth0 nodad               # lab.yaml:38 (host-2 eth0)
    ip -n bgp-border.host-2 route add 172.17.0.1/32 dev eth0                         # lab.yaml:40 (host-2 route 0)
    ip -n bgp-border.host-2 route add default via 172.17.0.1 dev eth0 onlink         # lab.yaml:41 (host-2 route 1)
    ip -n bgp-border.host-2 -6 route add fd00:172:17::1/128 dev eth0                 # lab.yaml:42 (host-2 route 2)
    ip -n bgp-border.host-2 -6 route add default via fd00:172:17::1 dev eth0 onlink  # lab.yaml:43 (host-2 route 3)

    # --- node bgp-border.host-3
    ip -n bgp-border.host-3 link set eth0 up                                         # lab.yaml:47 (host-3 eth0)
    ip -n bgp-border.host-3 link set lo up                                           # lab.yaml:45 (host-3)
    ip -n bgp-border.host-3 addr add 172.17.0.3/32 dev eth0                          # lab.yaml:47 (host-3 eth0)
    ip -n bgp-border.host-3 addr add fd00:172:17::3/128 dev eth0 nodad               # lab.yaml:47 (host-3 eth0)
    ip -n bgp-border.host-3 route add 172.17.0.1/32 dev eth0                         # lab.yaml:40 (host-3 route 0)
    ip -n bgp-border.host-3 route add default via 172.17.0.1 dev eth0 onlink         # lab.yaml:41 (host-3 route 1)
    ip -n bgp-border.host-3 -6 route add fd00:172:17::1/128 dev eth0                 # lab.yaml:42 (host-3 route 2)
    ip -n bgp-border.host-3 -6 route add default via fd00:172:17::1 dev eth0 onlink  # lab.yaml:43 (host-3 route 3)

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
