"""Priors: one small record each, one text form in Python, YAML and the shell.

A prior is written ``half_normal(5)`` everywhere: ``hm.priors.half_normal(5)`` builds the same record that
``parse("half_normal(5)")`` reads. Text is parsed as one menu name and numeric literals; nothing is ever
evaluated. A density is for the standard deviation unless the name says variance.

Which one?

- group standard deviations: ``half_normal``, ``half_t``, ``half_cauchy``, ``exponential`` (proper); ``scaled_half_t``, in units of
  the residual sd; ``flat`` (on the sd), ``flat_variance`` (on the variance), ``reference`` and ``jeffreys2`` (known variances), ``power`` (improper; the number of groups
  must be large enough, and the library checks it);
- population coefficients: ``flat``, ``normal``, ``student_t``; ``scaled_normal``, in units of the residual sd;
- beta and gamma populations: ``beta`` / ``uniform`` for a mean in (0, 1), ``log_normal`` / ``gamma`` for a mean rate, ``gamma`` /
  ``exponential`` / ``half_normal`` / ``half_normal_cv`` / ``power`` for ``kappa`` and ``shape``, ``gamma_rate`` for a mean rate
  whose population's rate parameter has the gamma law, or the joint rules ``bda3`` and ``rgbp``;
- correlations: ``lkj``; anything known: ``fixed``.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

__all__ = [
    "bda3",
    "beta",
    "exponential",
    "fixed",
    "flat",
    "flat_variance",
    "gamma",
    "gamma_rate",
    "half_cauchy",
    "half_normal",
    "half_normal_cv",
    "half_t",
    "inverse_gamma_variance",
    "jeffreys2",
    "lkj",
    "log_normal",
    "normal",
    "power",
    "reference",
    "rgbp",
    "scaled_half_t",
    "scaled_normal",
    "student_t",
    "uniform",
]


@dataclass(frozen=True)
class Prior:
    """A prior by name and numbers; equal records are equal priors.

    Attributes
    ----------
    name : str
        One of the menu ``hm.priors.__all__``.
    args : tuple of float
        Its numbers, in the menu's order.

    Examples
    --------
    >>> import hiermodels as hm
    >>> hm.priors.half_normal(5) == hm.priors.parse("half_normal(5)")
    True
    """

    name: str
    args: tuple[float, ...] = ()

    def __str__(self) -> str:
        return self.text()

    @property
    def unit(self) -> str | None:
        """Role of the parameter that this prior is given in units of (`hiermodels.models.quantities`); None for most priors."""
        return _UNITS.get(self.name)

    @property
    def of_variances(self) -> bool:
        """Whether the density is a function of the groups' known variances, and is not normalised."""
        return self.name in _OF_VARIANCES

    @property
    def alone(self) -> bool:
        """Whether a model takes it that has neither known variances nor another parameter in whose units it is."""
        return self.unit is None and not self.of_variances

    @property
    def proper(self) -> bool:
        """Whether the prior integrates to one on its own."""
        if self.of_variances:
            return False
        return self.tail == -math.inf or (self.tail < -1 and self.origin > -1)

    @property
    def tail(self) -> float:
        """Exponent ``e`` of the density ``x**e`` as x grows; ``-inf`` where it is integrable on its own."""
        improper = {"flat": 0.0, "flat_variance": 1.0, "reference": -1.0, "jeffreys2": -2.0}
        if self.name == "power":
            return -self.args[0]
        if self.name == "gamma_rate":
            return -self.args[0] - 1
        if self.name == "half_normal_cv":
            return -1.5
        if self.name == "beta" and min(self.args) <= 0:
            return 0.0
        return improper.get(self.name, -math.inf)

    @property
    def origin(self) -> float:
        """Exponent ``e`` of the density ``x**e`` as x falls to zero."""
        if self.name == "power":
            return -self.args[0]
        if self.name == "flat_variance" or self.of_variances:
            return 1.0
        if self.name in ("gamma", "beta"):
            return self.args[0] - 1
        return math.inf if self.name in ("inverse_gamma_variance", "log_normal", "half_normal_cv", "gamma_rate") else 0.0

    def moment_tail(self) -> float:
        """Exponent that rules which moments of a proper prior exist (``-inf``: all of them)."""
        if self.name == "inverse_gamma_variance":
            return -2 * self.args[0] - 1
        if self.name in ("half_t", "scaled_half_t", "student_t"):
            return -(self.args[0] + 1)
        return -2.0 if self.name == "half_cauchy" else self.tail

    def support(self, parameter: str) -> tuple[float, float]:
        """Interval on which a parameter of this kind (``real positive above_one unit``) lives under this prior."""
        outer = {
            "real": (-math.inf, math.inf), "positive": (0.0, math.inf), "above_one": (1.0, math.inf), "unit": (0.0, 1.0)
        }[parameter]  # fmt: skip
        if self.name == "uniform":
            return max(outer[0], self.args[0]), min(outer[1], self.args[1])
        return outer

    def text(self, rule: str = "") -> str:
        """The prior as it is written, with a rule behind each number that is in the units of its parameter.

        Examples
        --------
        >>> Prior("half_t", (3, 2.5)).text(" / sd(x)")
        'half_t(3, 2.5 / sd(x))'
        """
        places = _WITH_UNITS.get(self.name, ())
        return f"{self.name}({', '.join(f'{a:g}{rule if k in places and a else ""}' for k, a in enumerate(self.args))})"

    def times(self, by: Any) -> Prior:
        """The prior of ``by`` times a parameter that has this one, for a prior with a location or a scale; any other is what it was.

        Examples
        --------
        >>> str(Prior("normal", (0, 10)).times(0.5))
        'normal(0, 5)'
        """
        places = _WITH_UNITS.get(self.name, ())
        return Prior(self.name, tuple(a * by if k in places else a for k, a in enumerate(self.args)))

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        """Log density at ``x``, normalised where the prior is proper.

        Parameters
        ----------
        x : Array
            Value of the parameter (a standard deviation for scale parameters).
        context : Array, optional
            What else the density depends on: known variances se_j^2, shape (group,), where `of_variances`; the value of the
            parameter `unit`, shape (), where there is one.
        """
        if self.of_variances:
            if context is None:
                raise ValueError(f"prior {self}: it is defined for known variances; name another prior, e.g. half_normal(5)")
            return _OF_VARIANCES[self.name](x, context)
        if self.name in _IN_UNITS:
            if context is None:
                raise ValueError(f"prior {self}: it is in units of another parameter; name another prior, e.g. normal(0, 10)")
            return _IN_UNITS[self.name](x, *self.args, context)
        return _LOG_DENSITY[self.name](x, *self.args)

    def latex(self) -> str:
        """The prior's law in LaTeX, to the right of a tilde."""
        shown = ",\\, ".join(f"{a:g}" for a in self.args)
        return _LATEX.get(self.name, "\\mathrm{" + self.name.replace("_", "\\mbox{-}") + "}") + (
            f"({shown})" if self.args else "()" if self.name not in _LATEX else ""
        )


_WITH_UNITS = {
    "normal": (0, 1), "scaled_normal": (0, 1), "student_t": (1, 2), "uniform": (0, 1), "fixed": (0,), "half_normal": (0,),
    "half_cauchy": (0,), "half_t": (1,), "scaled_half_t": (1,),
}  # fmt: skip
"""Numbers of a prior that are in the units of its parameter."""


def _log_reference(x: Array, variances: Array) -> Array:
    # masked groups carry an infinite variance and add nothing
    return jnp.log(x) + 0.5 * jnp.log(jnp.sum((variances + x**2) ** -2.0))


def _log_jeffreys2(x: Array, variances: Array) -> Array:
    return _log_reference(x, variances) + 0.5 * jnp.log(jnp.sum(1 / (variances + x**2)))


_UNITS = {"scaled_normal": "residual sd", "scaled_half_t": "residual sd", "gamma_rate": "concentration"}
_OF_VARIANCES: dict[str, Callable[..., Array]] = {"reference": _log_reference, "jeffreys2": _log_jeffreys2}


def _log_scaled_normal(x: Array, mean: float, ratio: float, sigma: Array) -> Array:
    return -0.5 * ((x - mean) / (ratio * sigma)) ** 2 - jnp.log(ratio * sigma) - 0.5 * math.log(2 * math.pi)


def _log_gamma_rate(x: Array, shape: float, rate: float, concentration: Array) -> Array:
    scale = rate * concentration
    return shape * jnp.log(scale) - math.lgamma(shape) - (shape + 1) * jnp.log(x) - scale / x


def _log_scaled_half_t(x: Array, df: float, ratio: float, sigma: Array) -> Array:
    return _log_half_t(x / sigma, df, ratio) - jnp.log(sigma)


_IN_UNITS: dict[str, Callable[..., Array]] = {
    "scaled_normal": _log_scaled_normal,
    "scaled_half_t": _log_scaled_half_t,
    "gamma_rate": _log_gamma_rate,
}


def _log_half_t(x: Array, df: float, scale: float) -> Array:
    return math.log(2.0) + _log_student_t(x, df, 0.0, scale)


def _log_student_t(x: Array, df: float, loc: float, scale: float) -> Array:
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi) - math.log(scale)
    return constant - (df + 1) / 2 * jnp.log1p(((x - loc) / scale) ** 2 / df)


def _log_normal(x: Array, mean: float, sd: float) -> Array:
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)


def _log_beta(x: Array, a: float, b: float) -> Array:
    constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) if a > 0 and b > 0 else 0.0
    return (a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x) + constant


_LOG_DENSITY: dict[str, Callable[..., Array]] = {
    "normal": _log_normal,
    "student_t": _log_student_t,
    "flat": lambda x: jnp.zeros_like(x),
    "half_normal": lambda x, scale: math.log(2.0) + _log_normal(x, 0.0, scale),
    "half_cauchy": lambda x, scale: _log_half_t(x, 1.0, scale),
    "half_t": _log_half_t,
    "uniform": lambda x, low, high: jnp.full_like(x, -math.log(high - low)),
    "exponential": lambda x, rate: math.log(rate) - rate * x,
    "gamma": lambda x, shape, rate: (
        shape * math.log(rate) - math.lgamma(shape) + (shape - 1) * jnp.log(x) - rate * x
    ),
    "beta": _log_beta,
    "log_normal": lambda x, mean, sd: _log_normal(jnp.log(x), mean, sd) - jnp.log(x),
    "half_normal_cv": lambda x, scale: _log_normal(x**-0.5, 0.0, scale) - 1.5 * jnp.log(x),
    "flat_variance": lambda x: jnp.log(2 * x),
    "inverse_gamma_variance": lambda x, shape, scale: (
        shape * math.log(scale) - math.lgamma(shape) - (2 * shape + 1) * jnp.log(x) - scale / x**2 + math.log(2.0)
    ),
    "power": lambda x, c: -c * jnp.log(x),
    "fixed": lambda x, value: jnp.zeros_like(x),
}

_LATEX = {
    "normal": "\\mathrm{N}",
    "student_t": "\\mathrm{t}",
    "half_normal": "\\mathrm{N}^{+}",
    "half_cauchy": "\\mathrm{Cauchy}^{+}",
    "half_t": "\\mathrm{t}^{+}",
    "uniform": "\\mathrm{U}",
    "exponential": "\\mathrm{Exp}",
    "gamma": "\\mathrm{Gamma}",
    "beta": "\\mathrm{Beta}",
    "lkj": "\\mathrm{LKJ}",
}


def log_lkj(cholesky: Array, eta: float) -> Array:
    """Log density of a Cholesky factor of a correlation matrix under LKJ(eta), normalised.

    Lewandowski, Kurowicka & Joe (2009); shape (effect, effect) in, scalar out.
    """
    import numpyro.distributions as dist

    return dist.LKJCholesky(cholesky.shape[-1], eta).log_prob(cholesky)


def _check(ok: bool, prior: Prior, rule: str) -> Prior:
    if not ok:
        raise ValueError(f"prior {prior}: expected {rule}; mend the numbers")
    return prior


def _float(number: float) -> float:
    """A number as a float; one that is too large as infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _finite(name: str, *args: float) -> Prior:
    prior = Prior(name, tuple(_float(a) for a in args))
    return _check(all(math.isfinite(a) for a in prior.args), prior, "finite numbers")


def normal(mean: float, sd: float) -> Prior:
    """Normal law of a coefficient; the second number is a standard deviation.

    Examples
    --------
    >>> str(normal(0, 10))
    'normal(0, 10)'
    """
    return _check(sd > 0, _finite("normal", mean, sd), "sd > 0")


def scaled_normal(mean: float, ratio: float) -> Prior:
    """Normal law of a coefficient whose sd is ``ratio`` times sigma, the residual sd; conjugate where sigma is unknown.

    theta | sigma ~ N(mean, (ratio sigma)^2). With ``sigma ~ inverse_gamma_variance(shape, scale)`` this is the
    normal-inverse-gamma prior, under which the posterior of a normal sample is in closed form.
    """
    return _check(ratio > 0, _finite("scaled_normal", mean, ratio), "ratio > 0")


def student_t(df: float, loc: float, scale: float) -> Prior:
    """Student t law of a coefficient with ``df`` degrees of freedom."""
    return _check(df > 0 and scale > 0, _finite("student_t", df, loc, scale), "df > 0 and scale > 0")


def flat() -> Prior:
    """Constant density, improper: on a coefficient, or on a standard deviation."""
    return Prior("flat")


def half_normal(scale: float) -> Prior:
    """Normal(0, scale) restricted to positive values."""
    return _check(scale > 0, _finite("half_normal", scale), "scale > 0")


def half_cauchy(scale: float) -> Prior:
    """Cauchy(0, scale) restricted to positive values."""
    return _check(scale > 0, _finite("half_cauchy", scale), "scale > 0")


def half_t(df: float, scale: float) -> Prior:
    """Student t with ``df`` degrees of freedom, restricted to positive values."""
    return _check(df > 0 and scale > 0, _finite("half_t", df, scale), "df > 0 and scale > 0")


def scaled_half_t(df: float, ratio: float) -> Prior:
    """Half t law of a group sd in units of sigma, the residual sd: sd / sigma has ``half_t(df, ratio)``.

    p(sd | sigma) = 2 t_df(sd / (ratio sigma)) / (ratio sigma). A change of the outcome's units changes nothing, so one text serves any data and
    every dataset of a study.

    Examples
    --------
    >>> str(scaled_half_t(3, 2.5))
    'scaled_half_t(3, 2.5)'
    """
    return _check(df > 0 and ratio > 0, _finite("scaled_half_t", df, ratio), "df > 0 and ratio > 0")


def uniform(low: float, high: float) -> Prior:
    """Constant density between ``low`` and ``high``."""
    return _check(low < high, _finite("uniform", low, high), "low < high")


def exponential(rate: float) -> Prior:
    """Exponential law with mean 1 / rate."""
    return _check(rate > 0, _finite("exponential", rate), "rate > 0")


def gamma(shape: float, rate: float) -> Prior:
    """Gamma law with mean shape / rate."""
    return _check(shape > 0 and rate > 0, _finite("gamma", shape, rate), "shape > 0 and rate > 0")


def gamma_rate(shape: float, rate: float) -> Prior:
    """The rate parameter b = shape_<g> / mean_<g> of a gamma population is Gamma(shape, rate): a prior of ``mean_<g>``.

    Given a = shape_<g> the mean is a / b, an inverse gamma variate with scale ``rate`` times a.
    """
    return _check(shape > 0 and rate > 0, _finite("gamma_rate", shape, rate), "shape > 0 and rate > 0")


def log_normal(mean: float, sd: float) -> Prior:
    """The logarithm is N(mean, sd^2)."""
    return _check(sd > 0, _finite("log_normal", mean, sd), "sd > 0")


def half_normal_cv(scale: float) -> Prior:
    """1 / sqrt(x) is half normal: with x the shape of a gamma population, its coefficient of variation."""
    return _check(scale > 0, _finite("half_normal_cv", scale), "scale > 0")


def beta(a: float, b: float) -> Prior:
    """Beta law of a probability; ``beta(0, 0)`` is flat on the logit scale and improper."""
    return _check(a >= 0 and b >= 0, _finite("beta", a, b), "a >= 0 and b >= 0")


def flat_variance() -> Prior:
    """Constant density on the variance: the standard deviation has density proportional to itself."""
    return Prior("flat_variance")


def inverse_gamma_variance(shape: float, scale: float) -> Prior:
    """Inverse gamma law of the variance v, density proportional to v^-(shape + 1) exp(-scale / v)."""
    return _check(shape > 0 and scale > 0, _finite("inverse_gamma_variance", shape, scale), "shape > 0 and scale > 0")


def power(c: float) -> Prior:
    """Density proportional to x^-c of the standard deviation (of ``kappa`` or ``shape``), improper."""
    return _finite("power", c)


def reference() -> Prior:
    """Jeffreys prior of the group sd for known variances, the mean treated apart.

    p(tau) ~ tau sqrt(sum_j w_j^2) with w_j = 1 / (se_j^2 + tau^2); proper posterior from two groups.
    """
    return Prior("reference")


def jeffreys2() -> Prior:
    """Jeffreys prior of the group sd and the mean together, for known variances.

    p(tau) ~ tau sqrt(sum_j w_j sum_j w_j^2) with w_j = 1 / (se_j^2 + tau^2): narrower intervals than `reference`, which
    cover less ("Jeffreys2" of Mathur, Research Synthesis Methods, 2025).
    """
    return Prior("jeffreys2")


def fixed(value: float) -> Prior:
    """The parameter is known and equals ``value``."""
    return _finite("fixed", value)


def lkj(eta: float) -> Prior:
    """LKJ law of a correlation matrix: density proportional to det(R)^(eta - 1)."""
    return _check(eta > 0, _finite("lkj", eta), "eta > 0")


def bda3() -> Prior:
    """Joint rule (alpha + beta)^(-5/2) of a beta population; a^(-3/2) / b of a gamma population."""
    return Prior("bda3")


def rgbp() -> Prior:
    """Joint rule: flat coefficients on the link scale, 1 / kappa (1 / shape) uniform on the positive numbers."""
    return Prior("rgbp")


def parse(text: str | Prior | float, where: str = "prior") -> Prior:
    """Read the text form of a prior.

    Parameters
    ----------
    text : str, Prior or number
        ``"half_normal(5)"``; a record is returned as it is; a bare number means ``fixed(number)``.
    where : str
        Named in the error message.

    Raises
    ------
    ValueError
        For an unknown name (the nearest right one is offered), wrong numbers, or anything that is not one call
        with numeric literals.

    Examples
    --------
    >>> parse("normal(0, 20)").args
    (0.0, 20.0)
    """
    if isinstance(text, Prior):
        return text
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return fixed(text)
    if not isinstance(text, str):
        raise ValueError(f"{where}: expected text like half_normal(5), found {text!r}; write a name of the menu")
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{where}: expected one prior like half_normal(5), found {text[:80]!r}; see `hiermodels list priors`") from None
    if isinstance(call, ast.Name):
        raise ValueError(f"{where}: expected {call.id}(...) with brackets, found {text!r}; write e.g. half_normal(5)")
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.keywords):
        raise ValueError(
            f"{where}: expected a name of the menu with plain numbers, found {text[:80]!r}; see `hiermodels list priors`"
        )
    name = call.func.id
    if name not in __all__:
        near = difflib.get_close_matches(name, __all__, 1)
        hint = f"did you mean {near[0]}?" if near else "see `hiermodels list priors`"
        raise ValueError(f"{where}: unknown prior {name!r}; {hint}")
    try:
        return globals()[name](*[_number(a) for a in call.args])
    except TypeError:
        import inspect

        wanted = str(inspect.signature(globals()[name])).split(" ->")[0].replace(": float", "").replace(": 'float'", "")
        raise ValueError(f"{where}: expected {name}{wanted}, found {text!r}; give exactly these numbers") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _number(node: ast.expr) -> float:
    sign = 1.0
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        sign, node = (-sign if isinstance(node.op, ast.USub) else sign), node.operand
    if not (isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)):
        raise ValueError("expected plain numbers between the brackets; nothing else is read")
    return sign * _float(node.value)


