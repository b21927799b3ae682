"""flanneld: one node's part of the overlay, as a process. `options` is what it was asked, `agent` what it does."""
