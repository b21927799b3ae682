#!/bin/sh
# A custom resource, and the controller that makes it real
#
# A master with the API server, and a node on which a custom controller watches Network objects. `kubectl apply` of a
# Network makes a bridge with its subnet appear on the node, `kubectl delete` makes it go. Nothing else than the API
# server is between the two. As a script of ip this lab is the wire alone.
#
#   sh crd-network.sh up      builds it
#   sh crd-network.sh down    removes all of it
set -eu

run=/run/netlab-script-crd-network
namespaces='crd-network.lan crd-network.master crd-network.node1'

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
    ip netns add crd-network.lan
    ip netns add crd-network.master
    ip netns add crd-network.node1

    # --- cables: veth pairs
    # lab.yaml:18 (master eth0)
    ip -n crd-network.lan link add master-eth0 address 02:d7:9c:fd:99:7f type veth peer name eth0 address 02:42:0a:a8:00:02 netns crd-network.master
    # lab.yaml:85 (node1 eth0)
    ip -n crd-network.lan link add node1-eth0 address 02:fd:28:9c:ef:18 type veth peer name eth0 address 02:42:0a:a8:00:03 netns crd-network.node1

    # --- node crd-network.lan
    ip -n crd-network.lan link add lan address 02:b4:94:40:90:5c type bridge  # lab.yaml:11 (network lan)
    ip -n crd-network.lan link set lan up                                     # lab.yaml:11 (network lan)
    ip -n crd-network.lan link set lo up                                      # lab.yaml:11 (network lan)
    ip -n crd-network.lan link set master-eth0 master lan                     # lab.yaml:18 (master eth0)
    ip -n crd-network.lan link set master-eth0 up                             # lab.yaml:18 (master eth0)
    ip -n crd-network.lan link set node1-eth0 master lan                      # lab.yaml:85 (node1 eth0)
    ip -n crd-network.lan link set node1-eth0 up                              # lab.yaml:85 (node1 eth0)

    # --- node crd-network.master
    ip -n crd-network.master link set eth0 up                                  # lab.yaml:18 (master eth0)
    ip -n crd-network.master link set lo up                                    # lab.yaml:16 (master)
    ip -n crd-network.master addr add 10.168.0.2/24 brd 10.168.0.255 dev eth0  # lab.yaml:18 (master eth0)
    ip -n crd-network.master route add 192.168.0.0/16 via 10.168.0.3 dev eth0  # lab.yaml:20 (master route 0)

    # --- node crd-network.node1
    ip netns exec crd-network.node1 sysctl -q -w net.ipv4.ip_forward=1           # lab.yaml:86 (node1 forward)
    ip netns exec crd-network.node1 sysctl -q -w net.ipv6.conf.all.forwarding=1  # lab.yaml:86 (node1 forward)
    ip -n crd-network.node1 link set eth0 up                                     # lab.yaml:85 (node1 eth0)
    ip -n crd-network.node1 link set lo up                                       # lab.yaml:83 (node1)
    ip -n crd-network.node1 addr add 10.168.0.3/24 brd 10.168.0.255 dev eth0     # lab.yaml:85 (node1 eth0)

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
