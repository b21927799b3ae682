"""proxy: Services on one node, as a process. `feed` is where they come from, `programme` what is made of them in the
kernel, `agent` when."""
