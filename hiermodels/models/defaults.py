"""Default priors, and the joint priors of beta and gamma populations written out.

| parameter | default | looks at |
|---|---|---|
| population coefficient | ``flat()`` | no |
| group sd of a slope | as the others, per sd of its predictor: ``scaled_half_t(3, 2.5 / sd(x))`` | the predictor |
| group sd, known variances, one grouping of intercepts | ``reference()`` | no |
| other group sd, known variances | ``half_t(3, 2.5 se)``, se a row's typical standard error | the known variances |
| group sd, unknown variance | ``scaled_half_t(3, 2.5)``: sd / sigma is half t, sigma that of a row of mean weight | the weights |
| ``sigma`` | ``power(1)``, flat on the log scale | no |
| ``cor`` | ``lkj(1)`` | no |
| beta population | mean ``uniform(0, 1)``, kappa ``half_normal_cv(2)``: 1 / sqrt(kappa) is half normal | no |
| gamma population | mean ``power(1)``, shape ``half_normal_cv(2)``: the coefficient of variation is half normal | no |
| one common probability or rate | Jeffreys: ``beta(0.5, 0.5)``; of Poisson counts ``power(0.5)``, of waiting times ``power(1)`` | no |
| beta and gamma populations in deeper trees: group sds on the link scale | ``half_normal(1)`` | no |
| their ``log_kappa``, ``log_shape`` | ``normal(3, 2)``, ``normal(1, 2)`` | no |
| counts and 0 / 1 outcomes with normal groups: coefficients | ``normal(0, 10)`` on the link scale; of a slope ``normal(0, 10 / sd(x))`` | predictors, exposures |
| logit and log links with normal groups: group sds | ``half_normal(1)`` on the link scale | no |
| a parameter of the outcome's own law (``nu``, ``shape``, ``precision``) | as its family's class says | no |

A default stands where predictors have their means and exposures theirs (`hiermodels.models.units`), but where zero is
part of the model; that matters for intercepts under a link, and for the sds and correlations of intercepts that vary
with slopes. A prior that the user writes stands at zero, in the user's units.

None looks at the outcome, so that a fit and every dataset of a study have the same prior; the table they are chosen
from is in the documents ("Default priors"). Everything else of `student_t` is as for `normal`. Without pooling, a
group's coefficient of counts on a link scale has the prior ``normal(0, 10)`` too: a flat one is improper where a group
has no events. Measurements keep their means from both ends, so that flat coefficients are proper under a link too, and
another unit of the outcome moves the intercept alone.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Collection

from hiermodels import families
from hiermodels.models.counts import count_tree
from hiermodels.models.layout import Layout
from hiermodels.priors import (
    Prior,
    flat,
    half_normal,
    half_normal_cv,
    half_t,
    lkj,
    normal,
    reference,
    scaled_half_t,
)
from hiermodels.quantities import Quantity, mean_name

__all__ = ["GROUP_SD", "UNPOOLED", "default_prior", "expand_joint"]

GROUP_SD = (3, 2.5)
"""Degrees of freedom and scale of the half t law of a group sd, in standard deviations of one observation."""
UNPOOLED = normal(0, 10)
"""Prior of a coefficient on a link scale: of the population, and of a group that is not pooled."""


def expand_joint(
    named: dict[str, Prior], family: families.Family, wanted: Collection[str] | None = None
) -> dict[str, Prior]:
    """Write ``bda3()`` and ``rgbp()`` as priors of ``mean_<g>`` and ``kappa_<g>`` / ``shape_<g>``.

    Where predictors stand for the mean (``mean_<g>`` is not among ``wanted``) their coefficients keep flat priors.
    """
    out = {}
    for name, prior in named.items():
        if not prior.joint:
            out[name] = prior
            continue
        mean = mean_name(name)
        out[mean], out[f"{family.precision}_{name}"] = prior.split(family.link.kind)
        if wanted is not None and mean not in wanted:
            del out[mean]
    return out


def default_prior(quantity: Quantity, layout: Layout) -> Prior:
    """Prior of a parameter that was not named: per sd of its predictor, at the predictors' means, in units of
    `hiermodels.models.scales.Scales.unit`.

    Parameters
    ----------
    quantity : Quantity
        Its role and kind decide; its name does not.
    layout : Layout
    """
    role = quantity.role
    if role == "correlation":
        return lkj(1)
    if not layout.normal_groups:
        return _count_default(quantity, layout)
    own = next((q for q in layout.law.own if q.role == role), None)
    if own is not None:
        return own.default
    if role == "coefficient":
        return flat() if layout.law.local else UNPOOLED
    if not layout.link.identity:
        return half_normal(1)
    partial = [level for level in layout.levels if level.pooling == "partial"]
    if (
        layout.gaussian
        and layout.known
        and len(partial) == 1
        and len(partial[0].effects) == 1
        and layout.columns[partial[0].effects[0]] == "Intercept"
    ):
        return reference()
    return half_t(*GROUP_SD) if layout.known else scaled_half_t(*GROUP_SD)


def _count_default(quantity: Quantity, layout: Layout) -> Prior:
    """Default for a model of counts; that of a concentration is chosen by coverage ("Default priors" in the
    documents).
    """
    one_rate = count_tree(layout).word == "complete"
    if quantity.role == "coefficient":
        return flat()
    if quantity.role == "log concentration":
        return layout.law.population.default_log_concentration()
    if quantity.role == "group sd":
        return half_normal(1)
    if quantity.role == "concentration":
        return half_normal_cv(2)
    return layout.law.population.default_mean(layout.law.unpooled if one_rate else None)
