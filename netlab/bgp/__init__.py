"""A BGP-4 speaker (RFC 4271) for IPv4 and IPv6 unicast: what a border router or a node of the Calico way runs.

It decides first and does afterwards. `message`, `attributes`, `capabilities` and `nlri` turn bytes into values and
back; `fsm` and `session` say what one connection does next; `rib`, `decision`, `policy` and `export` say which path
wins and who is told; `fib` says which routes the kernel should hold. None of them opens a socket, asks the time or
knows an operating system. `speaker` owns sockets and clocks, and is handed the kernel as a narrow Protocol
(`fib.Kernel`).

It refuses: anything but unicast; paths beyond the best one to a neighbour (add-path, RFC 7911, is not negotiated);
next hops that only another BGP route leads to; confederations (their segments are understood in a path, no more).
"""
