"""Closed-form least squares from moments: one fit, and packs of 32."""
