"""What every family is: the law of an outcome given its group's value, and what each interpreter of a model makes of
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist

from hiermodels.families.link import IDENTITY, Link
from hiermodels.families.own import Own
from hiermodels.families.populations.normal import NormalGroups
from hiermodels.families.populations.population import Population
from hiermodels.families.rows import Columns, Refusal, Rows
from hiermodels.families.style import Style
from hiermodels.quantities import support

__all__ = ["Columns", "Family", "Own", "Refusal", "Rows"]


@dataclass(frozen=True)
class Family:
    """A family; a subclass in a file of its own under ``laws/`` holds one, and a line in the menu
    (`hiermodels.families`).

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
        ``measurement``, ``count`` or ``binary``.
    own : tuple of Own
        Parameters of the outcome's law itself.
    conjugate : bool
        Whether the groups' law integrates out of the likelihood.
    twin : str
        Family of the same likelihood under which the model is computed: ``binomial`` for ``bernoulli``. Empty: itself.
    linked : str
        Family of the same outcome whose groups are normal on the link's scale: ``binomial_logit`` for ``binomial``.
        Empty: itself.
    peaks : bool
        Whether the density of several rows can have several peaks.
    concave : bool
        Whether the log density of a row is concave in its linear predictor, so that Newton steps climb from anywhere.
    additive : bool
        Whether rows of the same linear predictor count as one, with the sums of their outcomes and of their trials or
        exposures.
    unpooled : tuple of float
        (a, b) of Jeffreys' prior, a beta or gamma law, of the value of a group that is not pooled.
    local : bool
        Whether the likelihood of every outcome falls on both sides of its linear predictor, so fast that a flat prior
        of that is proper.
    sharpens : bool
        Whether rows have no spread left as the parameter of role ``dispersion`` grows.
    telling : str
        What outcomes of a group tell of its rate on both sides (`informative`), in words.
    response : tuple of str
        What the inverse link of an intercept, and exp of another coefficient, are called.
    written : str
        Function of `hiermodels.models.catalogue` that writes its two levels out by hand; ``build``: none.
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
    outcome: ClassVar[str] = "measurement"
    own: ClassVar[tuple[Own, ...]] = ()
    conjugate: ClassVar[bool] = False
    twin: ClassVar[str] = ""
    linked: ClassVar[str] = ""
    peaks: ClassVar[bool] = False
    concave: ClassVar[bool] = True
    additive: ClassVar[bool] = False
    unpooled: ClassVar[tuple[float, float]] = (0.5, 0.5)
    local: ClassVar[bool] = True
    sharpens: ClassVar[bool] = False
    telling: ClassVar[str] = "with an outcome"
    response: ClassVar[tuple[str, str]] = ("mean", "ratio of means")
    written: ClassVar[str] = "build"
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

    @property
    def tried(self) -> bool:
        """Whether rows may have trials, whole numbers that bound the outcome."""
        return "trials" in self.columns

    @property
    def measured(self) -> bool:
        """Whether outcomes are measurements rather than whole numbers."""
        return self.outcome == "measurement"

    # outcomes ---------------------------------------------------------------------------------------------------------

    def refused(self, y: np.ndarray, size: np.ndarray) -> list[Refusal]:
        """Outcomes, finite numbers, that are none of this family's; whole trials or exposure beside them.

        Measurements lie inside the range of their mean, its ends excluded.
        """
        low, high = support(self.link.kind)
        found = []
        if low > -math.inf:
            found.append(
                Refusal(
                    y <= low,
                    f"a number above {low:g}",
                    f"an outcome of family {self.name} is above {low:g}: mend or drop the row",
                )
            )
        if high < math.inf:
            found.append(
                Refusal(
                    y >= high,
                    f"a number below {high:g}",
                    f"an outcome of family {self.name} is below {high:g}: mend or drop the row",
                )
            )
        return found

    @property
    def blank(self) -> float:
        """An outcome that this family has, in place of those of rows that are not there."""
        return self.link.typical if self.measured else 0.0

    def inside(self, y: Array) -> Array:
        """Simulated outcomes, those that rounding put on an end of the range of measurements taken into it."""
        low, high = support(self.link.kind) if self.measured else (-math.inf, math.inf)
        numbers = jnp.finfo(y.dtype)
        y = y if low == -math.inf else jnp.maximum(y, low + float(numbers.tiny))
        return y if high == math.inf else jnp.minimum(y, high - float(numbers.epsneg))

    # what rows say on their own ---------------------------------------------------------------------------------------

    def counted(self, y: Any, size: Any) -> tuple[Any, Any]:
        """What each row adds to the sums that say all of a rate: events, and trials or exposure; works on NumPy and
        JAX arrays.
        """
        return y, size

    def informative(self, y: Any, size: Any) -> Any:
        """Whether outcomes keep a mean away from both ends of its range; of `counted` sums."""
        return size > 0

    def pooled(self, y: Any, size: Any) -> Any:
        """A mean from the sums of all rows."""
        return y / size

    def empirical(self, y: Any, size: Any, xp: Any = np) -> Any:
        """Linear predictor of raw sums.

        Parameters
        ----------
        y, size : array
            Sums of outcomes, and of trials or exposures; where there are none, of rows.
        xp : module
            ``numpy`` or ``jax.numpy``.
        """
        return self.link.host_forward(y / size) if xp is np else self.link.forward(y / size)

    def told(self, size: Any, mean: Any) -> Any:
        """What rows tell of their linear predictor at a mean, up to a factor that a parameter of the outcome's law
        sets.
        """
        return size

    # rows around a linear predictor -----------------------------------------------------------------------------------

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
        """Fisher information of each row about its linear predictor; (draw, row), or (1, row) where it is the same in
        every draw.

        Parameters
        ----------
        eta : ndarray, shape (draw, row), or None
            Of no use to a family that is a location's.
        values : mapping of str to ndarray
            Draws of the parameters of `own`, (draw,).
        """
        raise NotImplementedError(f"{self.name}: information")

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
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
        return self.rows(eta, values, rows).log_prob(jnp.where(rows.weight > 0, y, self.blank))

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
        there = rows.weight > 0
        return self.link.forward(jnp.where(there, y, self.blank)), jnp.where(there, 1.0, 0.0)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        """Python source of `rows`, given variables."""
        raise NotImplementedError(f"{self.name}: source")

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        """Law of a row's outcome in a line of a model, given its linear predictor."""
        raise NotImplementedError(f"{self.name}: shown")

    def residual_variance(
        self, values: Mapping[str, Any], weight: np.ndarray, known: bool
    ) -> np.ndarray | float | None:
        """Variance of an average row around its groups, on the scale of the linear predictor; None where it is not one
        number.
        """
        return None

    def sds_of(self, shares: Mapping[str, float], variance: float) -> dict[str, float]:
        """Group sds that a truth gives as shares or as coefficients of variation, as
        `hiermodels.families.link.Link.sds_of` says.
        """
        return self.link.sds_of(shares, variance)

    # rows at a mean on its natural scale ------------------------------------------------------------------------------

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

    def mean_at_rate(self, rate: np.ndarray) -> np.ndarray:
        """Mean outcome per trial or unit of exposure at a probability or a rate."""
        return rate

    def moments_below(self, a: np.ndarray) -> np.ndarray:
        """Order below which moments of `mean_at_rate` exist where the rate has a beta or gamma law with this first
        number.
        """
        return np.full_like(a, np.inf)

    def predictive(self, a: float, b: float, size: float) -> Any:
        """SciPy's law of a new outcome whose probability or rate has the beta or gamma law of two numbers."""
        raise NotImplementedError(f"{self.name}: predictive")

    def share(self, mean: np.ndarray, concentration: np.ndarray, size: float) -> np.ndarray:
        """Share of the variance between groups in that of rows of a typical size, given the numbers of their
        population.
        """
        raise NotImplementedError(f"{self.name}: share")

    def source_at_rate(self, rate: str, columns: Columns) -> str:
        """Python source of `at_rate`."""
        raise NotImplementedError(f"{self.name}: source_at_rate")

    def shown_at_rate(self, style: Style, rate: str, columns: Columns) -> str:
        """Law of a row's outcome in a line of a model, given its probability or rate."""
        raise NotImplementedError(f"{self.name}: shown_at_rate")
