"""The node's agent of pods: their life cycle, and the doors to them."""
