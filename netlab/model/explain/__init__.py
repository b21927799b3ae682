"""A network as the commands that a person would have typed: ip, bridge, tc, sysctl, iptables, ipset, ipvsadm, wg.

`commands` tells the operations of a diff, `explain` one state, `explain_lab` the states of several namespaces with the
cables between them, `script` the same as a shell script to keep. One module per tool; each has create, change and
delete of its items. Syntax is that of iproute2 6.1 and iptables 1.8. This package runs nothing.
"""

from netlab.model.explain.command import Command, Style
from netlab.model.explain.lab import Section, Step, explain_lab, plan_sections, sections, teardown
from netlab.model.explain.ops import commands, explain
from netlab.model.explain.script import Process, script

__all__ = [
    "Command",
    "Process",
    "Section",
    "Step",
    "Style",
    "commands",
    "explain",
    "explain_lab",
    "plan_sections",
    "script",
    "sections",
    "teardown",
]
