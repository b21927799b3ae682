"""Containers: images in, processes in namespaces out, by runc (which makes them) and conmon (which stays with them).

`images/` keeps what containers are made of; `spec` decides purely what runc is told; `containers` does it, and finds
everything again from its files and from runc after a restart of whoever called. This package refuses to know what a pod
is, who wants a container, and how its network came about: it is handed a network namespace by its path.
"""
