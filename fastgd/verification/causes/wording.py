"""The words that fill the sentences and the fixes of causes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .hypotheses import Scene

__all__ = ["worded"]


def worded(scene: Scene, words: Any) -> dict[str, Any]:
    """Return all the values that the sentence of a cause may contain."""
    values = scene.asked.values
    digits = 6 if abs(words.get("value", 0.0) - 1) > 1e-5 else 12  # enough to see a difference
    return {
        "times": f"{words.get('value', 0.0):.{digits}g}",
        "instead": f"{words.get('rate', 0.0):.{digits}g}",
        "variant": "",
        "penalty": 0.0,
        "decay": words.get("value", 0.0),
        "declared_options": _options_in_words(values, words),
        "declared_dampening": float(values.get("dampening", 0)),
        **_fixes_of_decay(float(np.max(values.get("weight_decay", 0))), words),
        "declared_amsgrad": bool(values.get("amsgrad", False)),
        **words,
    }


def _options_in_words(values: Any, words: Any) -> str:
    """Return the momentum that was asked for, and what else of it tells it from the one found."""
    told = f"momentum = {float(values.get('momentum', 0)):g}"
    told += f", dampening = {float(values['dampening']):g}" if values.get("dampening") else ""
    if values.get("nesterov"):
        return f"{told}, nesterov = True"
    return f"{told}, nesterov = False" if words.get("variant") and not values.get("dampening") else told


def _fixes_of_decay(declared: float, words: Any) -> dict[str, str]:
    """Return the lines that mend a weight decay; where its size is right, how it is applied."""
    if not declared or words.get("decay", words.get("value")) != declared:
        return dict.fromkeys(("coupled_fix", "decoupled_fix"), f"weight_decay = {declared:g}")
    if words.get("variant"):  # it is not on the intercept
        return dict.fromkeys(("coupled_fix", "decoupled_fix"), f"weight_decay = {declared:g}, on all parameters")
    return {
        "coupled_fix": f"decay w itself, w = w - lr * {declared:g} * w, as AdamW does: leave the decay out of the gradient",
        "decoupled_fix": f"add the decay to the gradient, gradient + {declared:g} * w: leave w itself alone",
    }
