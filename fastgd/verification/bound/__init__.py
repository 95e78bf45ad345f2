"""How far rounding may move an epoch of correct arithmetic, and how much of that is used."""

from .history import Agreement, NonFinite, StepCheck, check_history, check_step
from .lockstep import LockstepCheck, check_lockstep
from .propagated import propagated_bound

__all__ = ["Agreement", "LockstepCheck", "NonFinite", "StepCheck", "check_history", "check_lockstep", "check_step", "propagated_bound"]
