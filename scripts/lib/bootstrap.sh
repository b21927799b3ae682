# shellcheck shell=bash
# Sourced by scripts/netlab and scripts/test: leaves $root/.venv ready and $root in the caller's hands.
#
#   bootstrap ""      what the program needs
#   bootstrap dev     also what its tests need
#   bootstrap vm      also what VM runs need, and the tools that the tests in a VM use
#
# The first use brings what is missing by apt and pip, and says so on stderr. Every later use costs one file comparison:
# no Python, no pip, no apt. Exit status 3: this machine lacks something, and the message has the command that brings it.

root=$(CDPATH= cd -P -- "${BASH_SOURCE[0]%/*}/../.." && pwd)
venv=$root/.venv
stamp=$venv/netlab-stamp

# A fresh compile of every module at every start would cost more than the start itself.
unset PYTHONDONTWRITEBYTECODE
# `su` and most users' PATH leave out where Debian keeps ip, iptables and ipset.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# command:package, for what a lab runs at run time
tools=(iptables:iptables ipset:ipset ip:iproute2 nft:nftables tcpdump:tcpdump dot:graphviz ping:iputils-ping sysctl:procps)
# the same for the extra vm
vm_tools=(
    qemu-system-x86_64:qemu-system-x86 modprobe:kmod depmod:kmod busybox:busybox-static file:file script:bsdutils
    ipvsadm:ipvsadm wg:wireguard-tools
)
# and for the extra cluster: what runs containers, and what most images are made of. nginx is not among them: Debian's
# package would start a server on this machine
cluster_tools=(runc:runc conmon:conmon busybox:busybox-static curl:curl bc:bc)

say() { printf 'netlab: %s\n' "$*" >&2; }
give_up() { say "$@"; exit 3; }

# fresh EXTRA: is the stamp that of this checkout, this interpreter and this pyproject.toml, with EXTRA among its extras?
# Builtins only. The stamp holds the extras, the interpreter, the checkout's path, and pyproject.toml word for word:
# comparing texts is cheaper than starting a checksum tool, and cannot collide.
fresh() {
    local extra=$1 now=
    had_extra='' had_python='' had_root='' had_project=''
    [[ -r $stamp && -x $venv/bin/netlab ]] || return 1
    { IFS= read -r had_extra; IFS= read -r had_python; IFS= read -r had_root; IFS= read -rd '' had_project; } <"$stamp"
    IFS= read -rd '' now <"$root/pyproject.toml"
    [[ $had_root == "$root" && $venv/bin/python -ef $had_python ]] || return 1
    [[ $had_project == "$now" && ( -z $extra || ,$had_extra, == *",$extra,"* ) ]]
}

# logged WHAT COMMAND...: run quietly; on failure show the last lines and give up.
logged() {
    local what=$1 output
    shift
    say "$what"
    output=$("$@" 2>&1 </dev/null) && return
    tail -n 15 <<<"$output" >&2
    give_up "that failed: $*"
}

# find_python: set $python to an interpreter that can make a venv and build C modules; false if there is none.
find_python() {
    # Debian keeps ensurepip in python3-venv and Python.h in python3-dev. python-iptables comes as C source.
    local able='import ensurepip, pathlib, sys, sysconfig
sys.exit(sys.version_info < (3, 11) or not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
    for python in "${NETLAB_PYTHON:-python3}" /usr/bin/python3 python3.13 python3.12 python3.11; do
        python=$(command -v -- "$python") && "$python" -c "$able" 2>/dev/null && return
    done
    return 1
}

# missing_packages EXTRAS: set $packages to what apt has to bring.
missing_packages() {
    local tool package wanted=("${tools[@]}")
    packages=()
    [[ ,$1, != *,vm,* ]] || wanted+=("${vm_tools[@]}")
    [[ ,$1, != *,cluster,* ]] || wanted+=("${cluster_tools[@]}")
    for tool in "${wanted[@]}"; do
        [[ " ${packages[*]} " == *" ${tool#*:} "* ]] || command -v -- "${tool%%:*}" >/dev/null || packages+=("${tool#*:}")
    done
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    find_python && return
    for package in python3 python3-venv python3-dev; do
        [[ $(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || packages+=("$package")
    done
}

install_packages() { # EXTRAS
    local install
    missing_packages "$1"
    if ((${#packages[@]})); then
        install=(apt-get install -y --no-install-recommends "${packages[@]}")
        command -v apt-get >/dev/null || give_up "missing, by Debian's names: ${packages[*]}. Install them by this system's means."
        ((EUID == 0)) || give_up "missing packages, which root has to install: sudo ${install[*]}"
        export DEBIAN_FRONTEND=noninteractive
        # A machine just booted may still hold apt's lock for its own upgrades.
        logged "reading the package lists (apt-get update)" apt-get -q -o DPkg::Lock::Timeout=120 update
        logged "installing ${packages[*]} (apt-get)" "${install[@]}" -q -o DPkg::Lock::Timeout=120
        missing_packages "$1"
        ((${#packages[@]} == 0)) || give_up "still missing after their installation: ${packages[*]}"
    fi
    [[ -n $python ]] || give_up "no Python 3.11 or later here: install one, and name it by NETLAB_PYTHON=/path/to/python3"
}

# build EXTRA: make or mend the venv. Without a stamp the last build was cut short: nothing in it can be trusted.
build() {
    local extra=$1 target=$root
    [[ -w $root && ( ! -e $venv || -w $venv ) ]] || give_up "cannot write $venv: run the same command with sudo"
    # what was asked for once stays: `dev` and then `vm` is both
    if [[ -z $extra ]]; then
        extra=$had_extra
    elif [[ -n $had_extra && ,$had_extra, != *",$extra,"* ]]; then
        extra=$had_extra,$extra
    fi
    install_packages "$extra"
    if [[ -z $had_root || $had_root != "$root" || ! $venv/bin/python -ef $had_python ]]; then
        rm -f -- "$stamp"
        logged "making $venv with $python" "$python" -m venv --clear -- "$venv"
    fi
    rm -f -- "$stamp"
    [[ -z $extra ]] || target="$root[$extra]"
    # compat: a plain path in a .pth file. The default is an import hook that costs every start 10 ms.
    logged "installing netlab and its libraries${extra:+ ($extra)} (pip)" \
        "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --config-settings editable_mode=compat -e "$target"
    # Under another name first: a stamp is there whole or not at all.
    { printf '%s\n%s\n%s\n' "$extra" "$(readlink -f -- "$venv/bin/python")" "$root" && cat -- "$root/pyproject.toml"; } >"$stamp.new"
    mv -- "$stamp.new" "$stamp"
    # A checkout used through sudo stays its owner's.
    [[ -z ${SUDO_UID:-} ]] || chown -R -- "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$venv" "$root"/*.egg-info 2>/dev/null
    say "ready"
}

# extra_of WORD...: set $extra to what a command of netlab needs besides.
extra_of() {
    local word file
    extra=''
    case ${1:-} in
        cluster | agent | kubelet | image) extra=cluster ;;
        lab | exercise)
            # the first word that means a lab does, wherever options stand; one on a cluster needs what a cluster needs
            for word in "${@:2}"; do
                for file in {,"$root/"}"labs/$word/lab.yaml" "$word/lab.yaml" "$word"; do
                    [[ $file == *.y*ml && -f $file ]] || continue
                    ! grep -q '^cluster:' -- "$file" || extra=cluster
                    return
                done
            done
            ;;
    esac
}

bootstrap() {
    local lock
    fresh "$1" && return
    # The checkout's directory is the lock: no file to leave behind, and the kernel drops it with its holder.
    exec {lock}<"$root"
    flock -n "$lock" || { say "another first use is under way; waiting for it"; flock "$lock"; }
    fresh "$1" || build "$1"
    # Said, not left to the closing: a child that outlives us must not keep the lock.
    flock -u "$lock"
    exec {lock}<&-
}
