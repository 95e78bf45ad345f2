"""Draw docs/every_epoch.png, the picture of the README: python docs/every_epoch.py [FILE.png].

Seven descents on the same data, of which three are right. Their losses look alike; the share of the
rounding-error bound at every epoch tells them apart, and `fastgd.verify` names what is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

import fastgd

EPOCHS = 40
LR = 0.15
GREEN, GREY, LIMIT = "#0b7a75", "#8a949e", "#c8553d"
WRONG = ("#7b3f9d", "#d39b1f", "#3b6fb6", "#c8553d")

History = tuple[NDArray[np.float64], NDArray[np.float64]]  # w and loss of every epoch


def draw_data() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return X (1000, 3) and y (1000,): a linear model and noise."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(1000, 3))
    return X, X @ [1.5, -2.0, 0.7] + 0.1 * rng.normal(size=1000)


def descend(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    lr: float = LR,
    divisor: int | None = None,  # of the sum over the samples; n_samples is right
    drop: int = 0,  # samples that the gradient leaves out
    loss_after: bool = False,  # record the loss after the update instead of before it
) -> History:
    """Descend in plain NumPy, with a mistake if one is asked for."""
    w = np.zeros(X.shape[1])
    rows, losses = [w], []
    kept = slice(drop, None)
    for _ in range(EPOCHS + 1):
        residual = X @ w - y
        step = lr * 2 / (divisor or len(y[kept])) * X[kept].T @ residual[kept]
        if loss_after:
            residual = X @ (w - step) - y
        losses.append(np.mean(residual**2))
        w = w - step
        rows.append(w)
    return np.array(rows[:-1]), np.array(losses)


def descend_with_torch(X: NDArray[np.float64], y: NDArray[np.float64]) -> History:
    """Descend with torch.autograd and torch.optim."""
    result = fastgd.fit(X, y, lr=LR, epochs=EPOCHS, history=True, backend="torch")
    return result.history.w, result.history.loss


def descend_with_fastgd(X: NDArray[np.float64], y: NDArray[np.float64]) -> History:
    """Descend with fastgd's CPU kernels."""
    result = fastgd.fit(X, y, lr=LR, epochs=EPOCHS, history=True, backend="cpu")
    return result.history.w, result.history.loss


def draw(path: Path) -> None:
    """Compute the histories, ask `fastgd.verify` about each, and draw both panels."""
    X, y = draw_data()
    right = {
        "fastgd": descend_with_fastgd(X, y),
        "torch autograd": descend_with_torch(X, y),
        "NumPy loop": descend(X, y),
    }
    wrong = {
        "divided by n − 1": descend(X, y, divisor=len(y) - 1),
        "one of 1,000 samples left out": descend(X, y, drop=1),
        "lr went through float32": descend(X, y, lr=float(np.float32(LR))),
        "loss taken after the update": descend(X, y, loss_after=True),
    }
    figure = Figure(figsize=(11, 4.3), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    of_loss, of_share = figure.subplots(1, 2, width_ratios=(0.8, 1.2))

    for _, loss in right.values():
        of_loss.plot(loss, color=GREEN, linewidth=2)
    for (_, loss), colour in zip(wrong.values(), WRONG, strict=True):
        of_loss.plot(loss, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
    of_loss.set(yscale="log", xlabel="epoch", ylabel="mean squared error")
    of_loss.set_title("Seven descents, four of them wrong", loc="left", fontsize=11, fontweight="bold")

    of_share.axhspan(1e-3, 8, color=GREEN, alpha=0.08, linewidth=0)
    of_share.axhline(8, color=LIMIT, linewidth=1, linestyle="--")
    text = {"fontsize": 8.5, "va": "center"}
    of_share.text(1, 14, "a correct implementation stays below 8", color=LIMIT, **text)
    for name, (w, loss) in right.items():
        verdict = fastgd.verify((w, loss), X, y, lr=LR).verdicts[0]
        assert verdict.ok, verdict.headline
        share = np.fmax(verdict.w_share, verdict.loss_share)
        of_share.plot(np.clip(share, 1e-3, None), color=GREEN, linewidth=1.2)
        print(verdict.headline.replace("history", name))
    of_share.text(EPOCHS + 1, 0.04, "fastgd, torch autograd,\nNumPy loop → ok", color=GREEN, **text)
    for (name, (w, loss)), colour in zip(wrong.items(), WRONG, strict=True):
        verdict = fastgd.verify((w, loss), X, y, lr=LR).verdicts[0]
        assert not verdict.ok, name
        share = verdict.loss_share if verdict.tau_w < 8 else verdict.w_share
        of_share.plot(share, color=colour, linewidth=1.6)
        code = verdict.diagnosis.code if verdict.diagnosis else "?"
        of_share.text(EPOCHS + 1, share[-1], f"{name}\n→ {code}", color=colour, **text)
        print(verdict.headline.replace("history", name), code, sep="; ")
    of_share.set(yscale="log", xlabel="epoch", ylabel="share of the rounding-error bound, τ", ylim=(1e-3, None))
    of_share.set_title("The bound tells them apart; verify names the cause", loc="left", fontsize=11, fontweight="bold")
    for ax in (of_loss, of_share):
        ax.set_xlim(0, EPOCHS)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
