"""Checks: is the lab as it should be? passed, failed, or could not probe - and the third is never the first."""

from netlab.lab.checks.result import Context, Outcome, Result
from netlab.lab.checks.run import run_all

__all__ = ["Context", "Outcome", "Result", "run_all"]
