"""The law of group values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jax import Array
from numpyro import distributions as dist

from hiermodels.families.component import Component
from hiermodels.families.style import Style
from hiermodels.priors.law import Prior

__all__ = ["Population"]


@dataclass(frozen=True)
class Population:
    """Law of group values around their population's mean; a subclass in a file of its own holds one.

    A conjugate population is that of probabilities or rates theta_j given the mean m and the concentration a:

        theta_j ~ Beta(m a, (1 - m) a),        theta_j ~ Gamma(a, a / m).

    Attributes
    ----------
    name : str
    normal : bool
        Whether group values are normal around the linear predictor; nothing else of this class then applies.
    precision : str
        Name stem of the spread: ``sd``, ``kappa`` or ``shape``.
    planned : float
        A concentration to plan with.
    start : float
        Where chains start a concentration.
    other : str
        A law of the same mean and spread that is another one: a deviation of the groups from the model.
    """

    name: ClassVar[str] = ""
    normal: ClassVar[bool] = False
    precision: ClassVar[str] = "sd"
    planned: ClassVar[float] = 1.0
    start: ClassVar[float] = 1.0
    other: ClassVar[str] = ""

    def __str__(self) -> str:
        return self.name

    # one law, interpreted ---------------------------------------------------------------------------------------------

    def component(self, mean: Array, concentration: Array) -> Component:
        """Law of group values as a component of a mixture."""
        raise NotImplementedError(self.name)

    def law(self, mean: Array, concentration: Array) -> dist.Distribution:
        """NumPyro's law of group values."""
        raise NotImplementedError(self.name)

    def host_draws(self, rng: np.random.Generator, mean: np.ndarray, concentration: np.ndarray) -> np.ndarray:
        """Draws in NumPy."""
        raise NotImplementedError(self.name)

    def padding(self, value: Array) -> Array:
        """Elementwise log density of values in padded groups, up to a constant."""
        raise NotImplementedError(self.name)

    def source(self, mean: str, concentration: str) -> str:
        """Python source of `law`."""
        raise NotImplementedError(self.name)

    def shown(self, style: Style, mean: str, concentration: str) -> str:
        """The law in a line of a model."""
        raise NotImplementedError(self.name)

    # not pooled -------------------------------------------------------------------------------------------------------

    def unpooled_law(
        self, size: int, prior: tuple[float, float]
    ) -> tuple[dist.Distribution, Callable[[Array], Array] | None]:
        """NumPyro's law of groups that are not pooled, batch shape (size,), and the log density to add where that is
        improper.

        ``prior`` is (a, b) of their beta or gamma law, here and below.
        """
        raise NotImplementedError(self.name)

    def unpooled_lines(self, variable: str, site: str, count: str, prior: tuple[float, float]) -> list[str]:
        """Python source that samples groups that are not pooled."""
        raise NotImplementedError(self.name)

    def unpooled_shown(self, style: Style, prior: tuple[float, float]) -> str:
        """Law of groups that are not pooled in a line of a model."""
        raise NotImplementedError(self.name)

    # with data --------------------------------------------------------------------------------------------------------

    def own(self, y: Any, size: Any) -> Any:
        """SciPy's law that the likelihood of a group's own counts makes, normalised."""
        raise NotImplementedError(self.name)

    def frozen(self, a: float, b: float) -> Any:
        """SciPy's beta or gamma law of two numbers."""
        raise NotImplementedError(self.name)

    def weight(self, mean: np.ndarray, concentration: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Weight of the population's mean in a group's posterior mean."""
        raise NotImplementedError(self.name)

    def log_marginal(self, mean: np.ndarray, concentration: np.ndarray, y: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Log probability of a group's counts, its value integrated out, but for what
        `hiermodels.families.family.Family.log_constant` holds.
        """
        raise NotImplementedError(self.name)

    def shrinking(self, overall: Array) -> Array:
        """Trials or exposure of the population with which chains start a group's value."""
        raise NotImplementedError(self.name)

    def concentration_of(self, share: float) -> float:
        """Concentration at which rows have a correlation, or groups a coefficient of variation, as a truth may give
        it.
        """
        raise NotImplementedError(self.name)

    # integrated out ---------------------------------------------------------------------------------------------------
    #
    # ``logs`` is a pair: log m, and log(1 - m) of a probability or m itself of a rate. ``counts`` has the sums of each
    # group, ``y`` and ``size``, those of all, ``total``, the ``tally`` of the groups' counts (without a column where it
    # does not stand for them), and a ``constant`` that holds no parameter (`hiermodels.models.count_stats.CountStats`).

    def logs_of_mean(self, mean: Array) -> tuple[Array, Array]:
        """Logs of a mean on its natural scale, kept within what the arithmetic carries."""
        raise NotImplementedError(self.name)

    def logs_at(self, eta: Array) -> tuple[Array, Array]:
        """Logs of the mean at a linear predictor."""
        raise NotImplementedError(self.name)

    def log_common(self, logs: tuple[Array, Array], counts: Any) -> Array:
        """Log probability of all counts where groups have the mean itself; with the constant."""
        raise NotImplementedError(self.name)

    def log_integrated(self, logs: tuple[Array, Array], concentration: Array, counts: Any) -> Array:
        """Log probability of all counts, group values integrated out; logs have shape () where groups share them."""
        raise NotImplementedError(self.name)

    def given(self, logs: tuple[Array, Array], concentration: Array, counts: Any) -> Component:
        """Law of group values given the mean, the concentration, and their counts."""
        raise NotImplementedError(self.name)

    def updated(self, prior: tuple[float, float], y: Array, size: Array) -> Component:
        """Law of a value with a conjugate prior of two numbers, given its counts."""
        raise NotImplementedError(self.name)

    def log_evidence(self, prior: tuple[float, float], law: Component) -> Array:
        """Log of the integral that makes `updated` a law, up to the constant of an improper prior."""
        raise NotImplementedError(self.name)

    def draw_logs(self, key: Array, law: Component) -> tuple[Array, Array]:
        """Logs of a draw of group values."""
        raise NotImplementedError(self.name)

    def log_density(self, values: tuple[Array, Array], logs: tuple[Array, Array], concentration: Array) -> Array:
        """Log density of group values, given by their logs, up to terms free of the mean and the concentration."""
        raise NotImplementedError(self.name)

    def by_moments(self, counts: Any) -> tuple[Array, Array]:
        """Pooled mean, and the concentration at which the spread of raw values has its expectation."""
        raise NotImplementedError(self.name)

    def noisy(self, events: Array, size: Array, units: Array, concentration: Array) -> tuple[Array, Array]:
        """Linear predictor of sums of groups, half an event added, and its variance given their mean.

        Parameters
        ----------
        events, size : Array
            Half an event added to the events; sums over the groups.
        units : Array
            Sum of the squared sizes of the groups.
        """
        raise NotImplementedError(self.name)

    # defaults ---------------------------------------------------------------------------------------------------------

    def default_mean(self, unpooled: tuple[float, float] | None) -> Prior:
        """Default prior of the population's mean; or of one common rate, that of unpooled groups."""
        raise NotImplementedError(self.name)

    def default_log_concentration(self) -> Prior:
        """Default prior of the mean log concentration of a deeper tree."""
        raise NotImplementedError(self.name)
