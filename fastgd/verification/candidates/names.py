"""What people call the parts of a gradient descent: X, y, w, b, lr, epochs, losses.

1. A name is compared without case, underscores and affixes such as `initial_` or `_train`, so that
   `learningRate` and `W_init` have a role. A name with no role is left alone.
2. Some names have their role from the others beside them: `m` is a slope beside `b`, else the
   number of samples; `A`, `b`, `x` are the X, y, w of `A @ x - b`; of `theta0` and `theta1` the
   first is the intercept; `alpha` is a penalty beside another name of the learning rate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["counts_epochs", "is_constant", "is_history", "rank", "role_of_answer", "roles_of"]

_DATA = "(?:train|training|tr|arr|array|mat|matrix|vec|vector|data|values?|vals?|b|aug|bias|scaled|norm|normalized)?"
_START = "(?:initial|init|starting|start|current|curr|cur|old|prev|previous|given|in|guess|vec|vector|array|0|1|t|k|now|opt)?"
_STEMS = {
    "X": f"{_DATA}(?:x|tx|xs|features?|data|inputs?|design|phi|predictors?){_DATA}",
    "y": f"{_DATA}(?:y|ys|targets?|labels?|outputs?|response|ytrue|truth){_DATA}",
    "weights": "sampleweights?|sw|obsweights?|caseweights?",
    "batch_size": "(?:mini)?batchsize|bs|nbatch",
    "w": f"{_START}(?:w|ws|thetas?|weights?|betas?|coefs?|coefficients?|coeffs?|params?|parameters?|slope){_START}",
    "b": f"{_START}(?:b|bias|intercept|constant|const|offset){_START}",
    "lr": "lr0?|alpha|eta0?|gamma|l|lrate|lrrate|learn(?:ing)?rate(?:init)?|rate|stepsize|step|learning",
    "epochs": "(?:n|num|nb|no|number|max|total)?(?:of)?(?:epochs?|iterations?|iters?|itrs?|its|steps)(?:max|num|number|count|n)?|nit|t",
    "count": "m|n|nsamples|numsamples|nobs|nexamples|numexamples|nrows|samplesize",
    "points": "points|dataset|samples",
    "ridge": "ridge|l2|lam|lamb|lambda|lambd|reg|regularization|l2reg",
    "tol": "tol|tolerance|eps|epsilon|precision|threshold|stoppingthreshold|convergence",
}  # fmt: skip
_ROLES = {role: re.compile(stem) for role, stem in _STEMS.items()}
_HISTORY = "(?:history|hist|hists|histories|list|trace|path|log|record|records|values|vals|all|past|s|trajectory|evolution)"
_LOSS = re.compile(f"(?:train|training|total|mean|epoch)?(?:loss|losse|cost|mse|error|err|j|objective){_HISTORY}?(?:function)?{_HISTORY}?")


def is_constant(name: str, default: Any) -> bool:
    """Return whether a parameter is a constant of a rule: beta=0.9 or betas=(0.9, 0.999)."""
    number = isinstance(default, int | float) and not isinstance(default, bool) and default != 0
    return _plain(name).startswith("beta") and (number or isinstance(default, tuple))


def rank(name: str) -> int:
    """Return the place of a name among those of a learning rate; gamma and alpha may be others."""
    plain = _plain(name)
    return next((k for k, word in enumerate(("learn", "lr", "eta", "step", "rate")) if word in plain), 9)


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def roles_of(names: Iterable[str]) -> dict[str, str]:
    """Return {name: role} of the parameters of a function; a name without a role is left out."""
    given = list(names)
    plain = {name: _plain(name) for name in given}
    if {"A", "b"} <= set(given) and any(name.startswith("x") for name in given):  # A x = b
        least_squares = {"A": "X", "b": "y"} | {name: "w" for name in given if name.startswith("x")}
        return least_squares | {n: r for n, r in roles_of(n for n in given if n not in least_squares).items() if r not in "Xyw"}
    found = {name: role for name in given if (role := _role(plain[name])) is not None}
    for name in given:  # theta0 and theta1, b0 and b1: an intercept and a slope
        stem, digit = plain[name][:-1], plain[name][-1:]
        if digit == "0" and f"{stem}1" in plain.values() and found.get(name) in ("w", "b"):
            found |= {other: "b" if plain[other] == plain[name] else "w" for other in given if plain[other] in (f"{stem}0", f"{stem}1")}
    roles = set(found.values())
    if "w" not in roles:  # y = m x + b, y = m x + c, y = a x + b
        slopes = [name for name in given if re.fullmatch(f"{_START}[ma]{_START}", plain[name])]
        if slopes and ("b" in roles or "c" in plain.values()):
            found[slopes[0]] = "w"
            found |= {name: "b" for name in given if plain[name] == "c"}
    if "ridge" not in found.values() and list(found.values()).count("lr") > 1:  # alpha beside learning_rate, as scikit-learn has it
        found |= {name: "ridge" for name in given if plain[name] == "alpha"}
    if "lr" not in found.values():
        found |= {name: "lr" for name in given if plain[name] == "a" and name not in found}
    if "y" not in found.values():  # one table of x and y
        found |= {name: "points" for name in given if plain[name] == "data"}
    return found


def _role(plain: str) -> str | None:
    return next((role for role, stem in _ROLES.items() if stem.fullmatch(plain)), None)


def counts_epochs(name: str) -> bool:
    """Return whether a column of this name has the number of the epoch, or its rate."""
    plain = _plain(name)
    return plain in ("i", "k", "index", "") or _role(plain) in ("epochs", "lr", "count")


def is_history(name: str) -> bool:
    """Return whether what has this name holds something of every epoch."""
    return re.search("hist|log|record|trace|path", name.lower()) is not None


def role_of_answer(name: str) -> str | None:
    """Return what a result of this name is: "w", "b", "loss", or their histories "w_rows" …."""
    plain = _plain(name.rpartition(".")[2])  # linear.weight
    if _LOSS.fullmatch(plain):
        return "loss"
    if plain in ("m", "a"):
        return "w"
    if plain == "c":
        return "b"
    role = _role(plain)
    if role in ("w", "b") and plain not in ("ws", "thetas", "betas"):
        return role
    rows = re.fullmatch(f"(.+?){_HISTORY}|{_HISTORY}of(.+)", plain)
    role = None if rows is None else _role(rows[1] or rows[2])
    return f"{role}_rows" if role in ("w", "b") else None
