"""Default priors, and the joint priors of beta and gamma populations written out.

| parameter | default | needs the data's scale |
|---|---|---|
| population coefficient | ``flat()`` | no |
| group sd, known variances, one grouping of intercepts | ``reference()`` | no |
| other group sd | ``half_normal(2.5 sd(y))`` | yes: a study must name it |
| ``sigma`` | ``power(1)``, flat on the log scale | no |
| ``cor`` | ``lkj(1)`` | no |
| beta or gamma population | ``bda3()`` | no |
"""

from __future__ import annotations

import numpy as np

from hiermodels.models import families
from hiermodels.models.priors import Prior, beta, flat, half_normal, lkj, power, reference, uniform
from hiermodels.models.spec import Layout

__all__ = ["default_prior", "expand_joint"]


def expand_joint(named: dict[str, Prior], family: families.Family) -> dict[str, Prior]:
    """Write ``bda3()`` and ``rgbp()`` as priors of ``mean_<g>`` and ``kappa_<g>`` / ``shape_<g>``.

    With m the population mean, kappa = alpha + beta: (alpha + beta)^(-5/2) dalpha dbeta = kappa^(-3/2) dm dkappa, and
    a^(-3/2) b^(-1) da db = a^(-3/2) m^(-1) da dm. ``rgbp``: flat on logit m (log m) and on 1 / kappa (1 / b).
    """
    out = {}
    for name, prior in named.items():
        if prior.name not in ("bda3", "rgbp"):
            out[name] = prior
            continue
        exact = prior.name == "bda3"
        if family.name == "binomial":
            out[f"mean_{name}"] = uniform(0, 1) if exact else beta(0, 0)
            out[f"kappa_{name}"] = power(1.5 if exact else 2)
        else:
            out[f"mean_{name}"] = power(1) if exact else flat()
            out[f"shape_{name}"] = power(1.5 if exact else 2)
    return out


def default_prior(name: str, kind: str, layout: Layout, y: np.ndarray | None) -> tuple[Prior, str]:
    """Prior of a parameter that was not named, and whether it is ``default`` or ``scaled`` to the data.

    Raises
    ------
    ValueError
        Where the default is scaled to the data and there are none (a study): name the prior.
    """
    if kind == "correlation":
        return lkj(1), "default"
    if kind == "real":
        return flat(), "default"
    if name == "sigma":
        return power(1), "default"
    if layout.family == "binomial":
        return (uniform(0, 1) if name.startswith("mean_") else power(1.5) if kind == "positive" else beta(0.5, 0.5)), "default"
    if layout.family == "poisson":
        return (power(1.5) if name.startswith("shape_") else power(1) if name.startswith("mean_") else power(0.5)), "default"
    partial = [level for level in layout.levels if level.pooling == "partial"]
    if layout.known and len(partial) == 1 and len(partial[0].effects) == 1 and layout.columns[partial[0].effects[0]] == "Intercept":
        return reference(), "default"
    if y is None:
        raise ValueError(
            f"priors: {name}: its default is scaled to the data, which a study has not got; name it, e.g. {name}: half_normal(5)"
        )
    spread = float(np.std(y)) or 1.0
    return half_normal(float(f"{2.5 * spread:.3g}")), "scaled"
