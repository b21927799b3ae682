"""A lab as a picture. `picture` makes a small value of a resolved topology; each writer draws it in one language.

    value     boxes, ports and cables: what there is to draw
    text      for a terminal
    mermaid   for Markdown (mermaid.js.org flowchart)
    dot       for graphviz, which lays it out; the style of the SVG is there

Everything is pure. Nothing is placed by hand: the languages' own tools decide where a box stands.
"""

from netlab.lab.graph.value import Box, Cable, End, Graph, Port, picture

__all__ = ["Box", "Cable", "End", "Graph", "Port", "picture"]
