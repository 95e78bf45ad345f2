"""Findings: where the demo prints to, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console


class NotInstalledError(Exception):
    """A part of the demo needs a package that is not installed."""


@dataclass
class Findings:
    """Where the demo prints to, and what it found."""

    console: Console
    disagreements: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    backends: list[str] = field(default_factory=list)  # those that can run here
    worst: dict[str, tuple[float, float]] = field(default_factory=dict)  # backend: (τ_w, τ_loss)

    def heading(self, text: str) -> None:
        """Print the title of a part."""
        self.console.print(f"\n{text}\n{'-' * len(text)}", style="bold cyan", highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Print a line without markup, colours or wrapping."""
        self.console.out(text, highlight=False)

    def check(self, agrees: bool, text: str) -> None:
        """Print what was compared and whether it agrees; record it if it does not."""
        self.console.print("  agrees   " if agrees else "  DISAGREES", style="green" if agrees else "bold red", end="  ")
        self.say(text)
        if not agrees:
            self.disagreements.append(text)
