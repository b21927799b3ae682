"""A node's agent for NetworkPolicies: `programme` keeps the kernel in step, `agent` says when, `machine` wires."""
