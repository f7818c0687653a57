"""A basket trial: sizes of its baskets at each look, and the rules that stop and decide."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Trial"]


@dataclass(frozen=True)
class Trial:
    """A basket trial and its decision rules.

    Attributes
    ----------
    sizes : tuple of tuple of int
        For each basket its cumulative numbers of patients at the looks, the last one final.
    null : float
        Response rate up to which a basket's drug is called ineffective.
    threshold : float
        A basket fires where the probability of exceeding `null` is above it at the end.
    futility : float or None
        At an interim look a basket stops where that probability is below.
    efficacy : float or None
        At an interim look a basket stops, and fires, where that probability is above.

    Examples
    --------
    >>> Trial.equal(3, 20, null=0.15, threshold=0.95, looks=(10,), futility=0.1).sizes
    ((10, 20), (10, 20), (10, 20))
    """

    sizes: tuple[tuple[int, ...], ...]
    null: float
    threshold: float
    futility: float | None = None
    efficacy: float | None = None

    def __post_init__(self) -> None:
        looks = {len(s) for s in self.sizes}
        growing = all(all(a < b for a, b in itertools.pairwise((0, *s))) for s in self.sizes)
        whole = all(isinstance(n, int) and not isinstance(n, bool) for s in self.sizes for n in s)
        if len(looks) != 1 or not growing or not whole or 0 in looks:
            raise ValueError(
                f"sizes: expected growing numbers of patients at as many looks for every basket, found "
                f"{self.sizes!r}; e.g. ((10, 20), (10, 20))"
            )
        for name in ("null", "threshold", "futility", "efficacy"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 < value < 1):
                raise ValueError(
                    f"{name}: expected a number between 0 and 1, found {value!r}; e.g. "
                    f"{0.15 if name == 'null' else 0.95}"
                )
        if (self.futility is not None or self.efficacy is not None) and looks == {1}:
            raise ValueError("futility, efficacy: expected at least one interim look, found none; give looks=(10,)")

    @classmethod
    def equal(
        cls,
        baskets: int,
        n: int,
        *,
        null: float,
        threshold: float,
        looks: Sequence[int] = (),
        futility: float | None = None,
        efficacy: float | None = None,
    ) -> Trial:
        """A trial with as many patients in every basket.

        Parameters
        ----------
        baskets, n : int
        null, threshold, futility, efficacy
            As in `Trial`.
        looks : sequence of int
            Patients of a basket at the interim looks.
        """
        return cls(((*looks, n),) * baskets, null, threshold, futility, efficacy)

    @property
    def classes(self) -> tuple[tuple[int, ...], ...]:
        """Baskets that are planned alike."""
        return tuple(tuple(k for k, s in enumerate(self.sizes) if s == size) for size in dict.fromkeys(self.sizes))
