"""What a renderer of model lines offers to those who have something to show; text and LaTeX are two of them."""

from __future__ import annotations

from typing import ClassVar, Protocol

from hiermodels.families.own import Own

__all__ = ["Style"]


class Style(Protocol):
    """Renders symbols."""

    times: ClassVar[str]

    def law(self, name: str, *args: str) -> str:
        """A law or function with its arguments."""
        ...

    def square(self, symbol: str) -> str:
        """A symbol to the power of two."""
        ...

    def ratio(self, a: str, b: str) -> str:
        """One symbol over another."""
        ...

    def product(self, a: str, b: str) -> str:
        """Two symbols side by side."""
        ...

    def own(self, parameter: Own) -> str:
        """A parameter of the outcome's own law."""
        ...
