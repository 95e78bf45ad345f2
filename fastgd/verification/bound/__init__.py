"""How far rounding may move one epoch of correct arithmetic from the exact one, and how much of that a history uses."""

from .history import Agreement, NonFinite, StepCheck, check_history, check_step, propagated_bound
from .lockstep import LockstepCheck, check_lockstep

__all__ = ["Agreement", "LockstepCheck", "NonFinite", "StepCheck", "check_history", "check_lockstep", "check_step", "propagated_bound"]
