"""What every prior is: a frozen record of its numbers that answers all that is asked of a prior."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.exponents import integrable_at_infinity, integrable_at_zero

__all__ = ["Prior", "number", "word"]

_OUTER = {
    "real": (-math.inf, math.inf),
    "positive": (0.0, math.inf),
    "above_one": (1.0, math.inf),
    "unit": (0.0, 1.0),
}


def number(value: float) -> float:
    """A number as a float; one that is too large as infinity."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def word(kind: str) -> str:
    """A kind of quantity in words."""
    return {"above_one": "greater than one"}.get(kind, kind)


@dataclass(frozen=True)
class Prior:
    """A prior; equal records are equal priors.

    A law is a subclass in a file of its own under ``laws/``, a frozen dataclass whose fields are its numbers in the
    order in which they are written, and a line in the menu (`hiermodels.priors`). It gives `name`, `example`, `kinds`
    and `log_density`; `sample`, `law` and `source`, where it is proper; and whatever else of the below is not as it
    stands here. Contract tests over the menu hold density, sampler, NumPyro law and source to each other.

    Attributes
    ----------
    name : str
        Its name in the menu.
    example : tuple of float
        Numbers to show it with; the contract tests take them.
    kinds : tuple of str
        Kinds of quantity that it is a law of: ``real``, ``positive``, ``above_one`` (cut there), ``unit``,
        ``correlation``.
    in_units : tuple of str
        Those of its numbers that are in the units of the parameter, as a location and a scale are.
    symbol : str
        Its law in LaTeX; the name where it has none.
    unit : str or None
        Role of the parameter that this prior is given in units of (`hiermodels.quantities`); None for most priors.
    instead : str
        For a prior in units of another parameter: what to write where there is no such parameter.
    variance_powers : tuple of int
        Powers k whose sums over groups, sum w_j^k with w_j = 1 / (V_j + sd^2), stand under the root of a density that
        is a function of the groups' known variances V_j, and is not normalised; empty for any other.
    known : bool
        Whether the parameter is known, and nothing is estimated.
    constant : bool
        Whether the density is constant over the whole support.
    joint : bool
        Whether it is one rule for the mean and the concentration of a population together, see `split`.
    unit_power : float
        For a prior in units of another parameter: power of that by which the density falls in the tail of this one.
    normal_power : float or None
        Where the parameter is a power of a half normal variate: that power.
    cites : tuple of str
        Works that a methods section cites for it (`hiermodels._citations`).
    least_error : bool
        Whether, with known standard errors, it acts as 1 / sd down to the smallest of them.

    Examples
    --------
    >>> import hiermodels as hm
    >>> hm.priors.half_normal(5) == hm.priors.parse("half_normal(5)")
    True
    """

    name: ClassVar[str] = ""
    example: ClassVar[tuple[float, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = ()
    in_units: ClassVar[tuple[str, ...]] = ()
    symbol: ClassVar[str] = ""
    unit: ClassVar[str | None] = None
    instead: ClassVar[str] = ""
    variance_powers: ClassVar[tuple[int, ...]] = ()
    known: ClassVar[bool] = False
    constant: ClassVar[bool] = False
    joint: ClassVar[bool] = False
    normal_power: ClassVar[float | None] = None
    cites: ClassVar[tuple[str, ...]] = ()
    least_error: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, number(getattr(self, field.name)))
        if not all(math.isfinite(a) for a in self.args):
            raise ValueError(f"prior {self}: expected finite numbers; mend the numbers")
        if wanted := self.wants():
            raise ValueError(f"prior {self}: expected {wanted}; mend the numbers")

    def wants(self) -> str:
        """What its numbers must be and are not, e.g. ``sd > 0``; empty where they are right."""
        return ""

    @property
    def args(self) -> tuple[float, ...]:
        """Its numbers, in the order in which they are written."""
        return tuple(getattr(self, field.name) for field in fields(self))

    # as text ----------------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.text()

    def text(self, rule: str = "") -> str:
        """The prior as it is written, with a rule behind each number that is in the units of its parameter.

        Examples
        --------
        >>> import hiermodels as hm
        >>> hm.priors.half_t(3, 2.5).text(" / sd(x)")
        'half_t(3, 2.5 / sd(x))'
        """
        places = [
            f"{getattr(self, f.name):g}{rule if f.name in self.in_units and getattr(self, f.name) else ''}"
            for f in fields(self)
        ]
        return f"{self.name}({', '.join(places)})"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        """The prior's law in LaTeX, to the right of a tilde.

        Parameters
        ----------
        rule : str
            What its scale is multiplied by, in LaTeX; empty for nothing.
        unit : str
            Symbol of the parameter that it is in units of.
        """
        name = "\\mathrm{" + self.name.replace("_", "\\mbox{-}") + "}"
        if not self.args:
            return self.symbol or f"{name}()"
        return f"{self.symbol or name}({',\\, '.join(f'{a:g}' for a in self.args)})"

    # the law ----------------------------------------------------------------------------------------------------------

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        """Log density at ``x``, normalised where the prior is proper.

        Parameters
        ----------
        x : Array
            Value of the parameter (a standard deviation for scale parameters).
        context : Array, optional
            What else the density depends on: known variances se_j^2, shape (group,), where `of_variances`; the value of
            the parameter `unit`, shape (), where there is one.
        """
        raise NotImplementedError(f"{self.name}: log_density")

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        """One draw.

        Parameters
        ----------
        key : Array
            JAX key.
        unit : Array, optional
            Value of the parameter `unit`.
        size : int
            Number of effects of a correlation.

        Raises
        ------
        ValueError
            For an improper prior.
        """
        raise ValueError(f"truth: {self} cannot be drawn from; use a proper law, e.g. normal(0, 20)")

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution | None:
        """NumPyro's distribution of a parameter of this kind; None where the prior is improper.

        Examples
        --------
        >>> import hiermodels as hm
        >>> hm.priors.half_normal(5).law()  # doctest: +ELLIPSIS
        <numpyro.distributions.continuous.HalfNormal object at ...>
        """
        return None

    def source(self, kind: str = "positive", unit: str = "") -> str | None:
        """Python source of `law`, with the name of the variable that holds the unit's value; None where the prior is
        improper.
        """
        return None

    def density_source(self, x: str, variances: str) -> str:
        """Python source of the log density of an improper prior at a variable, given that of the groups' known
        variances.
        """
        raise NotImplementedError(f"{self.name}: density_source")

    def cholesky(self, size: int) -> dist.Distribution:
        """NumPyro's law of the lower Cholesky factor of a correlation matrix of ``size`` effects; of correlations
        only.
        """
        raise NotImplementedError(f"{self.name}: cholesky")

    def cholesky_source(self, size: int) -> str:
        """Python source of `cholesky`."""
        raise NotImplementedError(f"{self.name}: cholesky_source")

    # where it lives, and how it falls ---------------------------------------------------------------------------------

    @property
    def of_variances(self) -> bool:
        """Whether the density is a function of the groups' known variances, and is not normalised."""
        return bool(self.variance_powers)

    @property
    def tail(self) -> float:
        """Exponent ``e`` of the density ``x**e`` as x grows; ``-inf`` where it is integrable on its own.

        Where a power of log x stands beside it, it is an `hiermodels.priors.exponents.Exponent`; so are the two below.
        """
        return -math.inf

    @property
    def origin(self) -> float:
        """Exponent ``e`` of the density ``x**e`` as x falls to zero."""
        return 0.0

    @property
    def unit_power(self) -> float:
        """Power of the unit's value by which the density falls in the tail of the parameter; 0 where it does not."""
        return 0.0

    def moment_tail(self) -> float:
        """Exponent that rules which moments of a proper prior exist (``-inf``: all of them)."""
        return self.tail

    @property
    def proper(self) -> bool:
        """Whether the prior integrates to one on its own."""
        return not (self.of_variances or self.joint) and (
            self.tail == -math.inf or (integrable_at_infinity(self.tail) and integrable_at_zero(self.origin))
        )

    def proper_on(self, kind: str) -> bool:
        """Whether the prior of a parameter of this kind integrates to one."""
        return self.proper

    def support(self, kind: str) -> tuple[float, float]:
        """Interval on which a parameter of this kind (``real positive above_one unit``) lives under this prior."""
        return _OUTER[kind]

    def cut(self, kind: str) -> bool:
        """Whether the law as it stands reaches outside the values of a parameter of this kind, and is cut there."""
        return kind == "above_one"

    def misfit(self, kind: str) -> str:
        """Why a prior of the right kind does not fit a parameter, as the end of a message; empty where it does."""
        return ""

    # what integrals need to know --------------------------------------------------------------------------------------

    @property
    def gaussian(self) -> tuple[float, float] | None:
        """(mean, sd) of a prior that is normal, with an infinite sd where it is constant, in units of `unit`; None for
        any other.
        """
        return None

    def conjugate(self, kind: str) -> tuple[float, float] | None:
        """(a, b) of the beta (``unit``) or gamma (``positive``) law that this prior is, Jeffreys and other powers
        included; None for any other.
        """
        return None

    def inverse_gamma(self) -> tuple[float, float] | None:
        """(e, scale) of a prior of an sd with density proportional to sd^-e exp(-scale / sd^2); None for any other.

        With n squared deviations of sum S the variance is then IG((n + e - 1) / 2, scale + S / 2).
        """
        return None

    def bend(self) -> float:
        """Where the density of a positive parameter with a light tail has its scale; infinite where the tail is heavy,
        or nothing bends.
        """
        return math.inf

    def finite_exponential(self, r: float) -> bool:
        """Whether E exp(r s z) is finite for z standard normal and s with this prior."""
        return False

    # changed ----------------------------------------------------------------------------------------------------------

    def times(self, by: Any) -> Prior:
        """The prior of ``by`` times a parameter that has this one, for a prior with a location or a scale; any other is
        what it was.

        Parameters
        ----------
        by : float or Array
            Positive; a traced one makes a prior whose numbers are traced, which only `law` and `log_density` take.

        Examples
        --------
        >>> import hiermodels as hm
        >>> str(hm.priors.normal(0, 10).times(0.5))
        'normal(0, 5)'
        """
        new = object.__new__(type(self))
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(new, field.name, value * by if field.name in self.in_units else value)
        return new

    def split(self, kind: str) -> tuple[Prior, Prior]:
        """A joint prior as that of the population's mean, of this kind, and that of its concentration."""
        raise ValueError(f"prior {self}: it is no joint prior; name bda3() or rgbp()")
