"""Nothing is timed before it agrees: the checks of a case, ours and those of other libraries.

1. A descent is judged at every epoch by the rounding-error bound of docs/error-bound.md. τ is the
   share of it that was used: OURS for fastgd's kernels, ANYBODYS for any correct program.
2. Coefficients of a closed form are compared with QR in float64, within what rounding may do to
   somebody who solves the normal equations. With A = (X 1) (n × D), u the unit roundoff of who is
   judged, and γ_k = ku/(1 − ku), the computed w solves (AᵀA + E) w = Aᵀy + e where, for sums in
   any order and Cholesky or LU without growth (Higham, Accuracy and Stability, 10.4 and 20.4),

       ‖E‖ ≤ D (γ_n + γ_{3D+1}) ‖A‖²        ‖e‖ ≤ √D γ_n ‖A‖ ‖y‖

   so that, to first order in u and with κ = ‖A‖ / (the least singular value),

       ‖ŵ − w‖ ≤ κ² (D (γ_n + γ_{3D+1}) ‖w‖ + √D γ_n ‖y‖ / ‖A‖) + u ‖w‖.

   QR, and sums in double-double, stay far below it. Where columns depend on each other the w of
   minimum norm is meant: κ is that of the singular values that lstsq does not count as zero, and
   what E adds in the null space, as much at most and orthogonal to the rest, makes √2 of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastgd

OURS, ANYBODYS = 2.0, 8.0  # τ at most
AGREED_EPOCHS, AGREED_NUMBERS = 50, 320_000  # of a fit that is judged: extended precision takes its time


class Disagrees(Exception):
    """Something that was to be timed is wrong."""


def picked(n_fits: int) -> list[int]:
    """The first, the middle and the last fit."""
    return sorted({0, n_fits // 2, n_fits - 1})


def same_bits(found: Any, wanted: Any, what: str, f: int | None = None) -> None:
    """Raise an error unless both results, or fit f of `found`, have the same w and loss."""
    for name in ("w", "loss"):
        of_all = getattr(found, name)
        if not np.array_equal(of_all if f is None else of_all[f], getattr(wanted, name)):
            raise Disagrees(f"{what} has another {name} alone")


def judged(history: Any, X: np.ndarray, y: np.ndarray, most: float, **asked: Any) -> float:
    """The larger of τ_w and τ_loss of a history, or of a result with one; an error above `most`."""
    report = fastgd.verify(history, X, y, **asked)
    tau = max(report.tau_w, report.tau_loss)
    if not (report.ok and tau <= most):
        raise Disagrees(f"tau = {tau:.3g} on {X.shape} {X.dtype}, {most:g} is allowed")
    return tau


def first_samples(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many samples (…, n, d) as can be judged in a second or so."""
    n = max(2 * X.shape[-1], AGREED_NUMBERS // X.shape[-1])
    return X[..., :n, :], y[..., :n]


def check_descents(call: Callable[[], Any], X: np.ndarray, y: np.ndarray, epochs: int, judging: dict[str, Any], **options: Any) -> float:
    """τ of some fits of a batch alone, which must have the bits that the call gives them.

    options: those of `fit`; judging: those of `verify`.
    """
    result, worst = call(), 0.0
    single = result.w.ndim == 1
    for f in picked(len(X)):
        alone = fastgd.fit(X[f], y[f], epochs=epochs, **options)
        same_bits(result, alone, f"fit {f} of {X.shape}", None if single else f)
        some_X, some_y = first_samples(X[f], y[f])
        kept = np.isfinite(some_X).all(axis=-1) & np.isfinite(some_y)
        if not kept.all():  # gaps: what is left of the samples is judged
            of_gaps = fastgd.fit(some_X, some_y, epochs=min(epochs, AGREED_EPOCHS), history=True, **options).history
            assert of_gaps is not None
            worst = max(worst, judged((of_gaps.w, of_gaps.loss), some_X[kept], some_y[kept], OURS, **judging))
            continue
        told = fastgd.fit(some_X, some_y, epochs=min(epochs, AGREED_EPOCHS), history=True, **options)
        worst = max(worst, judged(told, some_X, some_y, OURS, **judging))
    return worst


def check_standardized(call: Callable[[], Any], X: np.ndarray, y: np.ndarray, lr: float, epochs: int) -> float:
    """τ of some descents on features that are scaled before; the call must end where they end.

    Of float32 data the kernels compute in float64 and round w once: by u |w|; so is the scale that
    the result tells, which is used twice here. What float64 adds in an epoch is at most γ_n of
    numbers of w's size, and no epoch enlarges it.
    """
    result, worst = call(), 0.0
    for f in picked(len(X)):
        Z, target = (X[f].astype(np.float64) - result.center[f]) / result.scale[f], y[f].astype(np.float64)
        told = fastgd.fit(Z, target, lr=lr, epochs=epochs, history=True)
        worst = max(worst, judged(told, Z, target, OURS, lr=lr))
        w = told.w / result.scale[f]
        room = (3 * np.finfo(X.dtype).eps / 2 + 8 * epochs * len(Z) * 2.0**-53) * np.abs(w).max()
        if not np.abs(result.w[f] - w).max() <= room:
            raise Disagrees(f"standardised fit {f} of {X.shape} ends at {result.w[f]}, not at {w}")
        worst = max(worst, float(np.abs(result.w[f] - w).max() / room))
    return worst


def check_coefficients(w: np.ndarray, X: np.ndarray, y: np.ndarray, unit: float, intercept: bool = False) -> float:
    """The share of the bound above that one fit's w (D,) uses; an error above 1."""
    A, b = X.astype(np.float64), y.astype(np.float64)
    A = np.concatenate([A, np.ones((len(A), 1))], axis=1) if intercept else A
    n, D = A.shape
    exact, _, rank, sizes = np.linalg.lstsq(A, b, rcond=None)
    gamma_n, gamma_D = (k * unit / (1 - k * unit) for k in (n, 3 * D + 1))
    size = float(np.linalg.norm(exact))
    room = (sizes[0] / sizes[rank - 1]) ** 2 * (D * (gamma_n + gamma_D) * size + np.sqrt(D) * gamma_n * np.linalg.norm(b) / sizes[0])
    room *= np.sqrt(1 + (rank < D))
    share = float(np.linalg.norm(np.asarray(w, np.float64) - exact) / (room + unit * size))
    if not share <= 1:
        raise Disagrees(f"coefficients {w}, not {exact}: {share:.3g} times what rounding may do, on {A.shape}")
    return share
