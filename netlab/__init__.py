"""netlab: container networking rebuilt from namespaces, so that a person can see it, break it and mend it.

One idea runs through the package: the network of a machine is a value (`netlab.model.HostState`). Pure code computes
it (`netlab.compile`), one room applies it (`netlab.kernel`), and the same value prints as the commands that a person
would have typed. Importing this package costs nothing: every room is imported by whoever needs it.
"""

__version__ = "0.1.0"
