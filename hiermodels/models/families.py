"""Families: distribution of an outcome given its group's value, link and law of the groups.

| family | outcome given theta | groups | how it is computed |
|---|---|---|---|
| `normal` | N(theta + predictors, se^2 or sigma^2) | normal, any tree, slopes too | every level and the coefficients integrate out |
| `binomial` | Binomial(trials, theta) | Beta(mean kappa, (1 - mean) kappa) | the finest level integrates out |
| `bernoulli` | `binomial` with one trial | as `binomial` | as `binomial` |
| `poisson` | Poisson(exposure theta) | Gamma(shape, shape / mean) | the finest level integrates out |
| `student_t` | t with nu degrees of freedom around theta + predictors, scale se or sigma | normal | NUTS on everything |
| `binomial_logit` | Binomial(trials, logistic(theta + predictors)) | normal on the logit scale | NUTS on everything |
| `bernoulli_logit` | `binomial_logit` with one trial | as `binomial_logit` | NUTS on everything |
| `poisson_log` | Poisson(exposure exp(theta + predictors)) | normal on the log scale | NUTS on everything |
| `negative_binomial` | mean mu = exposure exp(theta + predictors), variance mu + mu^2 / shape | normal on the log scale | NUTS on everything |
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from hiermodels.models.quantities import Quantity

__all__ = [
    "bernoulli",
    "bernoulli_logit",
    "binomial",
    "binomial_logit",
    "negative_binomial",
    "normal",
    "poisson",
    "poisson_log",
    "student_t",
]


@dataclass(frozen=True)
class Family:
    """What a family needs from the data and which law its groups follow.

    Attributes
    ----------
    name : str
    link : str
        Scale on which predictors act: ``identity``, ``logit`` or ``log``.
    groups : str
        Law of the group values: ``normal`` (around the linear predictor), ``beta`` or ``gamma``.
    precision : str
        Name stem of the population's spread: ``sd``, ``kappa`` or ``shape``.
    columns : tuple of str
        Arguments of `hiermodels.Model` that apply; those that must be there are in ``needs``.
    outcome : str
        ``real``, ``count`` or ``binary``.
    own : tuple of Quantity
        Parameters of the outcome's law itself.
    conjugate : bool
        Whether the groups' law integrates out of the likelihood.
    twin : str
        Family of the same likelihood under which the model is computed: ``binomial`` for ``bernoulli``. Empty: itself.
    linked : str
        Family of the same outcome whose groups are normal on the link's scale: ``binomial_logit`` for ``binomial``. Empty: itself.
    """

    name: str
    link: str
    groups: str
    precision: str
    columns: tuple[str, ...]
    needs: tuple[str, ...] = ()
    outcome: str = "count"
    own: tuple[Quantity, ...] = ()
    conjugate: bool = False
    twin: str = ""
    linked: str = ""

    @property
    def kernel(self) -> str:
        """Name of the family under which the model is computed.

        Examples
        --------
        >>> bernoulli.kernel, poisson.kernel
        ('binomial', 'poisson')
        """
        return self.twin or self.name

    @property
    def kind_of_rate(self) -> str:
        """Support of a count's probability or rate on its own scale.

        Examples
        --------
        >>> binomial.kind_of_rate, poisson_log.kind_of_rate
        ('unit', 'positive')
        """
        return "unit" if self.link == "logit" else "positive"

    def own_parameters(self, known: bool) -> tuple[Quantity, ...]:
        """Parameters of the outcome's law that are estimated: no residual sd where variances are known.

        Examples
        --------
        >>> [q.name for q in student_t.own_parameters(known=True)]
        ['nu']
        """
        return tuple(q for q in self.own if not (known and q.role == "residual sd"))


SIGMA = Quantity("sigma", "positive", "residual sd")
NU = Quantity("nu", "above_one", "degrees of freedom")
SHAPE = Quantity("shape", "positive", "dispersion")

normal = Family(
    "normal", "identity", "normal", "sd", ("known_se", "weights"), outcome="real", own=(SIGMA,), conjugate=True
)
student_t = Family("student_t", "identity", "normal", "sd", ("known_se", "weights"), outcome="real", own=(SIGMA, NU))
binomial = Family("binomial", "logit", "beta", "kappa", ("trials",), ("trials",), conjugate=True, linked="binomial_logit")
bernoulli = Family("bernoulli", "logit", "beta", "kappa", (), outcome="binary", conjugate=True, twin="binomial", linked="bernoulli_logit")
binomial_logit = Family("binomial_logit", "logit", "normal", "sd", ("trials",), ("trials",))
bernoulli_logit = Family("bernoulli_logit", "logit", "normal", "sd", (), outcome="binary", twin="binomial_logit")
poisson = Family("poisson", "log", "gamma", "shape", ("exposure",), conjugate=True, linked="poisson_log")
poisson_log = Family("poisson_log", "log", "normal", "sd", ("exposure",))
negative_binomial = Family("negative_binomial", "log", "normal", "sd", ("exposure",), own=(SHAPE,))

_KNOWN_AS = {
    "gaussian": "it is called 'normal' here",
    "t": "it is called 'student_t' here",
    "student": "it is called 'student_t' here",
    "beta_binomial": "it is called 'binomial' here: groups have a beta law",
    "gamma_poisson": "it is called 'poisson' here: groups have a gamma law",
    "negbinomial": "it is called 'negative_binomial' here",
    "nbinom": "it is called 'negative_binomial' here",
    "logistic": "it is called 'bernoulli_logit' here ('binomial_logit' with trials)",
    "gamma": "positive outcomes are not there: take logarithms and use 'normal', or write a NumPyro function",
    "lognormal": "take logarithms of the outcome and use 'normal'",
    "inverse_gaussian": "positive outcomes are not there: take logarithms and use 'normal', or write a NumPyro function",
    "weibull": "survival times are not there: write a NumPyro function",
    "exponential": "survival times are not there: write a NumPyro function",
    "cox": "survival times are not there: write a NumPyro function",
    "beta": "shares are not there: use 'binomial' with counts, or 'normal' on their logits",
    "ordinal": "ordered categories are not there: write a NumPyro function, or 'bernoulli_logit' for one cut",
    "cumulative": "ordered categories are not there: write a NumPyro function, or 'bernoulli_logit' for one cut",
    "categorical": "several categories are not there: write a NumPyro function, or 'bernoulli_logit' for one against the rest",
    "multinomial": "several categories are not there: write a NumPyro function, or 'binomial_logit' for one against the rest",
    "zero_inflated_poisson": "zero inflation is not there: 'negative_binomial' is nearest, or write a NumPyro function",
    "hurdle_poisson": "zero inflation is not there: 'negative_binomial' is nearest, or write a NumPyro function",
}


def lookup(name: str) -> Family:
    """Family of this name; a misspelt or absent one is answered with the nearest way on.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> lookup("poisson").link
    'log'
    """
    if isinstance(name, str) and name in __all__:
        return globals()[name]
    menu = f"use one of {', '.join(__all__)}"
    known = _KNOWN_AS.get(str(name).lower().replace(" ", "_").replace("-", "_"))
    near = difflib.get_close_matches(str(name), __all__, 1)
    hint = f"{known}; {menu}" if known else f"did you mean {near[0]!r}?" if near else menu
    raise ValueError(f"family: unknown family {name!r}; {hint}")
