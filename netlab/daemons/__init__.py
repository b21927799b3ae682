"""Long-running processes, one file each: wiring, signals, health. What they do is decided in the rooms below.

A daemon is a composition root: it reads its file or its flags, builds the real thing, and runs it. No daemon imports
another one; each starts with `python -m netlab.daemons.NAME`, and must be up before a person would notice.
"""
