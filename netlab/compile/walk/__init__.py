"""A packet's way through compiled rules, without a kernel: which rule matched, what was rewritten, what became of it.

`world.World` holds the nodes of a cluster with their HostStates; `World.walk` sends one packet, `World.outcomes` every
way that chance can take, with its probability. `iptables` and `nft` read the rules as the kernel would; what they do
not know is an error and never a guess.
"""

from netlab.compile.walk.packet import Dice, Memory, Outcome, Packet, Step, UnknownRule
from netlab.compile.walk.world import Place, World

__all__ = ["Dice", "Memory", "Outcome", "Packet", "Place", "Step", "UnknownRule", "World"]
