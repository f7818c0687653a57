"""Hierarchical models written out by hand as NumPyro functions, a line of code a line of the lecture's
display.

| function | model |
|---|---|
| `one_level` | one mean; variance known or not |
| `two_levels_known` | schools with known standard errors |
| `two_levels` | students in schools, unknown variance |
| `three_levels` | students in classrooms in schools |
| `varying_slopes` | an intercept and a slope for each individual |
| `beta_binomial` | a probability for each experiment |
| `gamma_poisson` | a rate for each county |

Arguments are plain arrays, group indices from 0, and the outcome ``y`` (None simulates). ``pooling`` is
``complete``, ``none`` or ``partial`` (for several levels also a mapping of level to word), ``centred``
chooses between group values and standardised deviations as sites, and every prior is a keyword that takes a
record or its text, ``sd_school="half_normal(5)"``. Defaults that are on a scale (``half_normal(10)``) are for
scores; name your own. `hiermodels.models.coverage.table` says which function covers what; every other combination is
written by `hiermodels.models.builder.build`; tests hold the two to the same log density.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hiermodels.models.data import check_words, read_pooling
from hiermodels.models.sites import hyperparameter
from hiermodels.priors import Prior, parse

__all__ = [
    "beta_binomial",
    "gamma_poisson",
    "one_level",
    "three_levels",
    "two_levels",
    "two_levels_known",
    "varying_slopes",
]

type PriorLike = Prior | str | float


def one_level(
    y: Array | None = None,
    se: Array | None = None,
    *,
    n: int | None = None,
    Intercept: PriorLike = "flat()",
    sigma: PriorLike = "power(1)",
) -> None:
    """One mean: y_i ~ N(Intercept, sigma^2), or N(Intercept, se_i^2) where the standard errors are given.

    Parameters
    ----------
    y, se : Array, shape (obs,), optional
    n : int, optional
        Number of rows to simulate where both are None.
    Intercept, sigma : prior

    Examples
    --------
    >>> import jax, numpyro
    >>> model = numpyro.handlers.seed(one_level, jax.random.key(0))
    >>> numpyro.handlers.trace(model).get_trace(n=3, Intercept="normal(0, 1)", sigma=2)["y"]["value"].shape
    (3,)
    """
    rows = len(y) if y is not None else len(se) if se is not None else n
    if rows is None:
        raise ValueError("one_level: expected y, se or n, found none of them; give n=<rows> to simulate")
    mean = hyperparameter("Intercept", Intercept, "real")
    sd = hyperparameter("sigma", sigma) if se is None else se
    with numpyro.plate("obs", rows):
        numpyro.sample("y", dist.Normal(mean, sd), obs=y)


def two_levels_known(
    se: Array,
    y: Array | None = None,
    *,
    pooling: str = "partial",
    centred: bool = False,
    Intercept: PriorLike = "flat()",
    sd_school: PriorLike = "reference()",
) -> None:
    """Eight schools: y_j ~ N(theta_j, se_j^2), theta_j ~ N(Intercept, sd_school^2).

    Parameters
    ----------
    se, y : Array, shape (school,)
        Known standard errors; estimates.
    Intercept, sd_school : prior

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpyro
    >>> model = numpyro.handlers.seed(two_levels_known, jax.random.key(0))
    >>> se = jnp.array([15.0, 10.0, 16.0])
    >>> proper = {"Intercept": "normal(0, 20)", "sd_school": "half_normal(5)"}
    >>> trace = numpyro.handlers.trace(model).get_trace(se, **proper)
    >>> [name for name, site in trace.items() if site["type"] == "sample"]
    ['Intercept', 'sd_school', 'eta_school', 'y']
    """
    (word,) = _words(pooling, "school")
    mean = 0.0 if word == "none" else hyperparameter("Intercept", Intercept, "real")
    theta = _groups("school", len(se), word, mean, sd_school, centred, se**2)
    with numpyro.plate("obs", len(se)):
        numpyro.sample("y", dist.Normal(theta, se), obs=y)


def two_levels(
    school: Array,
    n_school: int,
    y: Array | None = None,
    *,
    pooling: str = "partial",
    centred: bool = False,
    Intercept: PriorLike = "flat()",
    sd_school: PriorLike = "half_normal(10)",
    sigma: PriorLike = "power(1)",
) -> None:
    """Students in schools: y_i ~ N(theta_school[i], sigma^2), theta_j ~ N(Intercept, sd_school^2).

    Parameters
    ----------
    school : Array of int, shape (obs,)
        Each student's school.
    n_school : int
    y : Array, shape (obs,), optional
    Intercept, sd_school, sigma : prior
    """
    (word,) = _words(pooling, "school")
    mean = 0.0 if word == "none" else hyperparameter("Intercept", Intercept, "real")
    theta = _groups("school", n_school, word, mean, sd_school, centred)
    sd = hyperparameter("sigma", sigma)
    with numpyro.plate("obs", len(school)):
        numpyro.sample("y", dist.Normal(theta[school], sd), obs=y)


def three_levels(
    school: Array,
    classroom: Array,
    n_school: int,
    n_classroom: int,
    y: Array | None = None,
    *,
    pooling: str | Mapping[str, str] = "partial",
    centred: bool = False,
    Intercept: PriorLike = "flat()",
    sd_school: PriorLike = "half_normal(10)",
    sd_classroom: PriorLike = "half_normal(10)",
    sigma: PriorLike = "power(1)",
) -> None:
    """Students in classrooms in schools.

        y_i ~ N(theta_classroom[i], sigma^2)
        theta_classroom_jk ~ N(theta_school_j, sd_classroom^2)
        theta_school_j ~ N(Intercept, sd_school^2)

    Parameters
    ----------
    school, classroom : Array of int, shape (obs,)
        Each student's school, and classroom, numbered over all schools.
    n_school, n_classroom : int
    y : Array, shape (obs,), optional
    pooling : str or mapping
        A word, or ``{"school": ..., "school:classroom": ...}``. With unpooled classrooms a school's value is
        the unweighted mean of its classrooms'.
    Intercept, sd_school, sd_classroom, sigma : prior

    Raises
    ------
    ValueError
        For partial pooling of schools above unpooled classrooms.
    """
    schools, classrooms = _words(pooling, "school", "school:classroom")
    school_of = jnp.zeros(n_classroom, int).at[classroom].set(school)
    mean = 0.0 if "none" in (schools, classrooms) else hyperparameter("Intercept", Intercept, "real")
    if classrooms == "none":
        theta = _groups("school:classroom", n_classroom, "none", 0.0, sd_classroom, centred)
        rooms = jnp.zeros(n_school).at[school_of].add(1.0)
        numpyro.deterministic("theta_school", jnp.zeros(n_school).at[school_of].add(theta) / rooms)
    else:
        theta_school = _groups("school", n_school, schools, mean, sd_school, centred)
        theta = _groups("school:classroom", n_classroom, classrooms, theta_school[school_of], sd_classroom, centred)
    sd = hyperparameter("sigma", sigma)
    with numpyro.plate("obs", len(school)):
        numpyro.sample("y", dist.Normal(theta[classroom], sd), obs=y)


def varying_slopes(
    individual: Array,
    n_individual: int,
    x: Array,
    y: Array | None = None,
    *,
    correlated: bool = False,
    pooling: str = "partial",
    centred: bool = False,
    Intercept: PriorLike = "flat()",
    slope: PriorLike = "flat()",
    sd_individual: PriorLike = "half_normal(10)",
    sd_individual_x: PriorLike = "half_normal(10)",
    cor_individual: PriorLike = "lkj(1)",
    sigma: PriorLike = "power(1)",
) -> None:
    """An intercept and a slope for each individual: y_i ~ N(theta[i] + theta_x[i] x_i, sigma^2).

        theta_j ~ N(Intercept, sd^2), theta_x_j ~ N(slope, sd_x^2)      independent, or
        (theta_j, theta_x_j) ~ N((Intercept, slope), S R S), S = diag(sd, sd_x)

    Parameters
    ----------
    individual : Array of int, shape (obs,)
    n_individual : int
    x, y : Array, shape (obs,)
    correlated : bool
        Whether the two are correlated with matrix R = ``cor_individual``.
    Intercept, slope, sd_individual, sd_individual_x, cor_individual, sigma : prior
        ``slope`` is the site ``x``.
    """
    (word,) = _words(pooling, "individual")
    means: list[Array] = [jnp.zeros(()), jnp.zeros(())]
    if word != "none":
        means = [hyperparameter("Intercept", Intercept, "real"), hyperparameter("x", slope, "real")]
    if correlated and word == "partial":
        sds = jnp.stack(
            [
                hyperparameter("sd_individual", sd_individual),
                hyperparameter("sd_individual_x", sd_individual_x),
            ]
        )
        factor = numpyro.sample(
            "chol_individual", dist.LKJCholesky(2, parse(cor_individual, "prior of cor_individual").args[0])
        )
        numpyro.deterministic("cor_individual", factor @ factor.T)
        scale, mean = sds[:, None] * factor, jnp.stack(means)
        with numpyro.plate("individual", n_individual):
            if centred:
                both = numpyro.sample("coef_individual", dist.MultivariateNormal(mean, scale_tril=scale))
            else:
                both = mean + numpyro.sample("eta_individual", dist.Normal(jnp.zeros(2), 1.0).to_event(1)) @ scale.T
        theta = numpyro.deterministic("theta_individual", both[:, 0])
        theta_x = numpyro.deterministic("theta_individual_x", both[:, 1])
    else:
        theta = _groups("individual", n_individual, word, means[0], sd_individual, centred)
        theta_x = _groups("individual_x", n_individual, word, means[1], sd_individual_x, centred)
    sd = hyperparameter("sigma", sigma)
    with numpyro.plate("obs", len(individual)):
        numpyro.sample("y", dist.Normal(theta[individual] + theta_x[individual] * x, sd), obs=y)


def beta_binomial(
    trials: Array,
    y: Array | None = None,
    *,
    pooling: str = "partial",
    mean_experiment: PriorLike = "uniform(0, 1)",
    kappa_experiment: PriorLike = "power(1.5)",
) -> None:
    """A probability for each experiment: y_j ~ Binomial(trials_j, theta_j), theta_j ~ Beta(mean kappa, (1 -
    mean) kappa).

    Parameters
    ----------
    trials, y : Array, shape (experiment,)
    pooling : str
        Without pooling theta_j has Jeffreys' prior Beta(1/2, 1/2).
    mean_experiment, kappa_experiment : prior
        The defaults are (alpha + beta)^(-5/2), alpha = mean kappa, beta = (1 - mean) kappa.
    """
    (word,) = _words(pooling, "experiment")
    size = len(trials)
    mean = 0.5 if word == "none" else hyperparameter("mean_experiment", mean_experiment, "unit")
    if word == "complete":
        theta = numpyro.deterministic("theta_experiment", jnp.full(size, mean))
    else:
        kappa = 1.0 if word == "none" else hyperparameter("kappa_experiment", kappa_experiment)
        with numpyro.plate("experiment", size):
            theta = numpyro.sample("theta_experiment", dist.Beta(mean * kappa, (1 - mean) * kappa))
    with numpyro.plate("obs", size):
        numpyro.sample("y", dist.Binomial(jnp.asarray(trials, int), theta), obs=y)


def gamma_poisson(
    exposure: Array,
    y: Array | None = None,
    *,
    pooling: str = "partial",
    mean_county: PriorLike = "power(1)",
    shape_county: PriorLike = "power(1.5)",
) -> None:
    """A rate for each county: y_j ~ Poisson(exposure_j theta_j), theta_j ~ Gamma(shape, shape / mean).

    Parameters
    ----------
    exposure, y : Array, shape (county,)
    pooling : str
        Without pooling theta_j has Jeffreys' prior, density theta^(-1/2).
    mean_county, shape_county : prior
        The defaults are a^(-3/2) b^(-1), a = shape, b = shape / mean.
    """
    (word,) = _words(pooling, "county")
    size = len(exposure)
    if word == "none":
        theta = numpyro.sample("theta_county", dist.ImproperUniform(constraints.positive, (size,), ()))
        numpyro.factor("prior_theta_county", -0.5 * jnp.log(theta).sum())
    else:
        mean = hyperparameter("mean_county", mean_county)
        if word == "complete":
            theta = numpyro.deterministic("theta_county", jnp.full(size, mean))
        else:
            shape = hyperparameter("shape_county", shape_county)
            with numpyro.plate("county", size):
                theta = numpyro.sample("theta_county", dist.Gamma(shape, shape / mean))
    with numpyro.plate("obs", size):
        numpyro.sample("y", dist.Poisson(exposure * theta), obs=y)


def _groups(
    group: str,
    size: int,
    word: str,
    above: Array | float,
    sd: PriorLike,
    centred: bool,
    variances: Array | None = None,
) -> Array:
    """Values of one level's groups: flat, all equal to what is above them, or scattered around it."""
    name = f"theta_{group}"
    if word == "none":
        return numpyro.sample(name, dist.ImproperUniform(constraints.real, (size,), ()))
    if word == "complete":
        return numpyro.deterministic(name, jnp.broadcast_to(above, (size,)))
    scale = hyperparameter(f"sd_{group}", sd, variances=variances)
    with numpyro.plate(group, size):
        if centred:
            return numpyro.sample(name, dist.Normal(above, scale))
        eta = numpyro.sample(f"eta_{group}", dist.Normal(0.0, 1.0))
        return numpyro.deterministic(name, above + scale * eta)


def _words(pooling: str | Mapping[str, str], *levels: str) -> list[str]:
    words = read_pooling(pooling, levels)
    check_words(words, list(levels), list(range(-1, len(levels) - 1)))
    return [words[level] for level in levels]
