"""Exercises on a lab: what a learner is told, what is broken or left out, the hints, and what grades it.

    spec       exercise.yaml: its shape
    edits      what an exercise breaks, as pure functions from one HostState to another
    book       a lab's exercises: read, checked against the lab, turned into states and checks
    runner     start, hint, check, solve, reset: the verbs, through the Engine
    mend       what separates a lab from its file, strangers included, as commands
    packets    is it in the capture? grades a pcapng
    questions  what does the packet carry? netlab sends one, watches, and knows the answer

A break is an edit of the lab's value and nothing else, so to mend it is to apply the lab's own value again.
"""
