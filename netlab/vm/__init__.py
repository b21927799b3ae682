"""A command run on another kernel: in a VM, over this machine's files, under an overlay that is thrown away.

virtme-ng knows how to boot a kernel on a host's own root, and writes QEMU's command line (`qemu`); the guest's half is
one shell script (`guest`); kernels come as packages into a cache (`kernels`); `run` puts it together, carries bytes and
signals, and leaves no process behind. Nothing here knows of labs, and nothing is installed or changed on this machine.
"""
