"""Random calls of the public functions, beside a model of what they should do."""

from __future__ import annotations

import math

import fastgd
from tests.campaign.attack import Attack, Trial

PROGRAM = """
import fastgd
print(fastgd.fit({X}, {y}, lr={lr}, epochs={epochs}))
"""


def run(trial: Trial) -> None:
    """Fit one feature, and compare with the closed form of its descent."""
    while trial.time_is_left():
        X, y = trial.rng.integers(-4, 5, (2, 3)).tolist()
        lr, epochs = float(trial.rng.choice([0.125, 0.0625])), int(trial.rng.integers(0, 5))
        program = PROGRAM.format(X=X, y=y, lr=lr, epochs=epochs)
        trial.doing(program)
        w = 0.0
        for _ in range(epochs):
            w -= lr * 2 / 3 * sum(x * (x * w - target) for x, target in zip(X, y, strict=True))
        found = float(fastgd.fit(X, y, lr=lr, epochs=epochs).w)
        if not math.isclose(found, w, rel_tol=1e-9, abs_tol=1e-9):
            trial.failed("wrong w", f"{found}, not {w}", program)
        trial.tried()


ATTACK = Attack(
    name="calls",
    promise="every call gives the right numbers and a true status, or a sentence",
    how="Random data of one feature; w beside the closed form of its descent.",
    unit="calls",
    share=4,
    run=run,
)
