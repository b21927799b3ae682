"""How long a test waits for what has to come: as long as netlab itself does on this machine."""

from netlab.base.patience import patience, rest

__all__ = ["patience", "rest"]
