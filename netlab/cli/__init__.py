"""The terminal: each command group is one file that parses, makes one call, and prints. Nothing is decided here.

What a verb prints goes through `output`; what it raises becomes a message and an exit status in `main`.
"""
