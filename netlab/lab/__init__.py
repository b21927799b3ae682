"""Labs as their users see them: files, topology, journal, checks, exercises, captures, graphs.

This room decides and remembers; it is handed a `Machine` (see `netlab.lab.machine`) and never builds one, so that every
verb can be tested without root.
"""
