"""What every family is: the law of an outcome given its group's value, and what each interpreter of a model makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist

from hiermodels.families.link import IDENTITY, Link
from hiermodels.families.populations.normal import NormalGroups
from hiermodels.families.populations.population import Population
from hiermodels.families.style import Style
from hiermodels.priors.law import Prior
from hiermodels.priors.laws.flat import Flat
from hiermodels.quantities import Quantity

__all__ = ["Columns", "Family", "Own", "Refusal", "Rows"]


class Rows(NamedTuple):
    """What a family may need of the rows beside their linear predictors, NumPy or JAX; shape (row,).

    Attributes
    ----------
    weight : array
        Precision weights; 1 / se^2 where variances are known.
    size : array
        Trials or exposure; 1 where there are none.
    known : bool
        Whether the variances are known.
    """

    weight: Any
    size: Any
    known: bool


class Columns(NamedTuple):
    """Symbols of a row's columns, in source or in a line of a model; empty where the model has none.

    Attributes
    ----------
    se, weights, trials, exposure : str
    """

    se: str = ""
    weights: str = ""
    trials: str = ""
    exposure: str = ""


class Refusal(NamedTuple):
    """Outcomes that a family does not have: which, what was expected, what to do."""

    bad: np.ndarray
    expected: str
    hint: str


@dataclass(frozen=True)
class Own(Quantity):
    """A parameter of an outcome's own law.

    Attributes
    ----------
    default : Prior
        Its prior where none is named.
    start : float
        Where chains start it; a residual sd starts at the spread of the data.
    planned : float
        A true value to plan with; a residual sd has that of the data.
    """

    default: Prior = field(default=Flat(), kw_only=True)
    start: float = field(default=1.0, kw_only=True)
    planned: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class Family:
    """A family; a subclass in a file of its own under ``laws/`` holds one, and a line in the menu (`hiermodels.families`).

    Attributes
    ----------
    name : str
    link : Link
        Scale on which predictors act.
    population : Population
        Law of the group values.
    columns : tuple of str
        Arguments of `hiermodels.Model` that apply; those that must be there are in ``needs``.
    outcome : str
        ``real``, ``count`` or ``binary``.
    own : tuple of Own
        Parameters of the outcome's law itself.
    conjugate : bool
        Whether the groups' law integrates out of the likelihood.
    twin : str
        Family of the same likelihood under which the model is computed: ``binomial`` for ``bernoulli``. Empty: itself.
    linked : str
        Family of the same outcome whose groups are normal on the link's scale: ``binomial_logit`` for ``binomial``. Empty: itself.
    peaks : bool
        Whether the density of several rows can have several peaks.
    additive : bool
        Whether rows of the same linear predictor count as one, with the sums of their outcomes and of their trials or exposures.
    integrated : str
        For normal groups that stay explicit: the family of the same outcome whose groups integrate out.
    variance : str
        What gives the outcome's variance, in words.
    finite : str
        What its own parameters must be for an outcome to have a variance, in words; empty where it always has.
    deviations : tuple of str
        Deviations of the rows from the model that this family has: ``errors``, ``heteroscedastic``, ``overdispersion``.
    instead : mapping of str to str
        What to do in place of a deviation that this family has not, by its key.
    shipped : tuple
        A formula to show it with, and the shipped dataset or None.
    """

    name: ClassVar[str] = ""
    link: ClassVar[Link] = IDENTITY
    population: ClassVar[Population] = NormalGroups()
    columns: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    outcome: ClassVar[str] = "count"
    own: ClassVar[tuple[Own, ...]] = ()
    conjugate: ClassVar[bool] = False
    twin: ClassVar[str] = ""
    linked: ClassVar[str] = ""
    peaks: ClassVar[bool] = False
    additive: ClassVar[bool] = False
    integrated: ClassVar[str] = ""
    variance: ClassVar[str] = "given by the mean"
    finite: ClassVar[str] = ""
    deviations: ClassVar[tuple[str, ...]] = ()
    instead: ClassVar[Mapping[str, str]] = {}
    shipped: ClassVar[tuple[str, str | None]] = ("y ~ 1 + (1 | group)", None)

    @property
    def kernel(self) -> str:
        """Name of the family under which the model is computed.

        Examples
        --------
        >>> from hiermodels.families import bernoulli, poisson
        >>> bernoulli.kernel, poisson.kernel
        ('binomial', 'poisson')
        """
        return self.twin or self.name

    @property
    def groups(self) -> str:
        """Name of the law of the group values."""
        return self.population.name

    @property
    def precision(self) -> str:
        """Name stem of the population's spread: ``sd``, ``kappa`` or ``shape``."""
        return self.population.precision

    @property
    def kind_of_rate(self) -> str:
        """Support of a count's probability or rate on its own scale.

        Examples
        --------
        >>> from hiermodels.families import binomial, poisson_log
        >>> binomial.kind_of_rate, poisson_log.kind_of_rate
        ('unit', 'positive')
        """
        return self.link.kind

    def own_parameters(self, known: bool) -> tuple[Own, ...]:
        """Parameters of the outcome's law that are estimated: no residual sd where variances are known.

        Examples
        --------
        >>> from hiermodels.families import student_t
        >>> [q.name for q in student_t.own_parameters(known=True)]
        ['nu']
        """
        return tuple(q for q in self.own if not (known and q.role == "residual sd"))

    @property
    def exposed(self) -> bool:
        """Whether rows may have exposures, which multiply the mean."""
        return "exposure" in self.columns

    # outcomes -----------------------------------------------------------------------------------------------------------

    def refused(self, y: np.ndarray, size: np.ndarray) -> list[Refusal]:
        """Outcomes, finite numbers, that are none of this family's; whole trials or exposure beside them."""
        return []

    # rows around a linear predictor ------------------------------------------------------------------------------------

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        """NumPyro's law of every row's outcome.

        Parameters
        ----------
        eta : Array, shape (row,)
            Linear predictor.
        values : mapping of str to Array
            Parameters of `own`.
        rows : Rows
            Positive weights and sizes.
        """
        raise NotImplementedError(f"{self.name}: rows")

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        """SciPy's frozen law of rows: its ``rvs`` are outcomes, its ``logpdf`` or ``logpmf`` is their log likelihood.

        Parameters
        ----------
        eta : ndarray, shape (chain, draw, row)
        values : mapping of str to ndarray
            Draws of the parameters of `own`, (chain, draw).
        """
        raise NotImplementedError(f"{self.name}: host_rows")

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        """Fisher information of each row about its linear predictor; (draw, row), or (1, row) where it is the same in every draw.

        Parameters
        ----------
        eta : ndarray, shape (draw, row), or None
            Of no use to a family that is a location's.
        values : mapping of str to ndarray
            Draws of the parameters of `own`, (draw,).
        """
        raise NotImplementedError(f"{self.name}: information")

    def score(self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray) -> np.ndarray:
        """Derivative of each row's log density by its linear predictor; (draw, row)."""
        raise NotImplementedError(f"{self.name}: score")

    def row_kernel(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> Array:
        """Log density of outcomes but for `row_constant`, JAX.

        Parameters
        ----------
        eta : Array
            Linear predictors; their last axes are those of the rows.
        values : mapping of str to Array
            Parameters of `own`.
        rows : Rows
            Of weight 0 where there is no row; what is returned there is not looked at, but finite.
        """
        return self.rows(eta, values, rows).log_prob(y)

    def row_constant(self, y: Array, rows: Rows) -> Array:
        """What `row_kernel` leaves out: terms that hold neither the linear predictor nor a parameter."""
        return jnp.zeros_like(y)

    def row_slopes(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> tuple[Array, Array]:
        """First and second derivative of `row_kernel` by the linear predictor, JAX."""

        def first(eta: Array) -> Array:
            return jax.jvp(lambda e: self.row_kernel(y, e, values, rows), (eta,), (jnp.ones_like(eta),))[1]

        return jax.jvp(first, (eta,), (jnp.ones_like(eta),))

    def row_guess(self, y: Array, rows: Rows) -> tuple[Array, Array]:
        """A linear predictor that suits each outcome alone, and how much it tells about it; JAX. Zeros know nothing."""
        return jnp.zeros_like(y), jnp.zeros_like(y)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        """Python source of `rows`, given variables."""
        raise NotImplementedError(f"{self.name}: source")

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        """Law of a row's outcome in a line of a model, given its linear predictor."""
        raise NotImplementedError(f"{self.name}: shown")

    def residual_variance(self, values: Mapping[str, Any], weight: np.ndarray, known: bool) -> np.ndarray | float | None:
        """Variance of an average row around its groups, on the scale of the linear predictor; None where it is not one number."""
        return self.link.latent_variance

    def sds_of(self, shares: Mapping[str, float], variance: float) -> dict[str, float]:
        """Group sds at which groups have these shares of the whole variance, that of a row around its groups being ``variance``."""
        rest = 1 - sum(shares.values())
        return {name: math.sqrt(variance) * math.sqrt(share / rest) for name, share in shares.items()}

    # rows at a mean on its natural scale ---------------------------------------------------------------------------------

    def at_rate(self, rate: Array, size: Array) -> dist.Distribution:
        """NumPyro's law of a row's outcome at a probability or a rate."""
        raise NotImplementedError(f"{self.name}: at_rate")

    def host_at_rate(self, rate: np.ndarray, size: np.ndarray) -> Any:
        """`at_rate` as a frozen law of SciPy."""
        raise NotImplementedError(f"{self.name}: host_at_rate")

    def draw(self, key: Array, rate: Array, size: Array) -> Array:
        """Outcomes at a probability or a rate; 0 where there is no trial or exposure."""
        raise NotImplementedError(f"{self.name}: draw")

    def host_draw(self, rng: np.random.Generator, rate: np.ndarray, size: np.ndarray) -> np.ndarray:
        """`draw` in NumPy."""
        raise NotImplementedError(f"{self.name}: host_draw")

    def log_kernel(self, y: Array, rate: Array, size: Array) -> Array:
        """Log probability of outcomes at a probability or a rate, but for what does not depend on it."""
        raise NotImplementedError(f"{self.name}: log_kernel")

    def log_constant(self, y: Any, size: Any) -> Any:
        """What `log_kernel` leaves out; works on NumPy and JAX arrays."""
        raise NotImplementedError(f"{self.name}: log_constant")

    def informative(self, y: Any, size: Any) -> Any:
        """Whether counts keep a rate away from both ends of its support."""
        raise NotImplementedError(f"{self.name}: informative")

    def source_at_rate(self, rate: str, columns: Columns) -> str:
        """Python source of `at_rate`."""
        raise NotImplementedError(f"{self.name}: source_at_rate")

    def shown_at_rate(self, style: Style, rate: str, columns: Columns) -> str:
        """Law of a row's outcome in a line of a model, given its probability or rate."""
        raise NotImplementedError(f"{self.name}: shown_at_rate")
