"""What every line of a function's source needs: names that are valid and apart, priors, laws of counts."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field

from hiermodels.models import families
from hiermodels.models.priors import Prior
from hiermodels.models.spec import Layout, LevelLayout, Model, Parameter

__all__ = ["Names", "law_of_count", "prior_lines", "rows"]

_TAKEN = ("jax", "jnp", "numpyro", "dist", "constraints", "model", "len")


@dataclass
class Names:
    """Python names of what a function holds: one each, valid, none twice.

    Attributes
    ----------
    model : Model
    layout : Layout
    """

    model: Model
    layout: Layout
    _given: dict[str, str] = field(default_factory=dict)

    def __call__(self, what: str) -> str:
        """The name of a parameter, a column (``column x``), a group index (``group g``), its count or its parents' index."""
        if what not in self._given:
            plain = re.sub(r"\W+", "_", what.split(" ", 1)[-1]).strip("_") or "value"
            if what.startswith("count "):
                plain = f"n_{plain}"
            elif what.startswith("coefficient "):
                plain = plain if plain == "Intercept" else f"b_{plain}"
            if plain[0].isdigit() or keyword.iskeyword(plain) or plain in _TAKEN:
                plain = f"v_{plain}"
            while plain in self._given.values():
                plain += "_"
            self._given[what] = plain
        return self._given[what]

    def parameter(self, name: str) -> str:
        """The variable of a parameter; a coefficient is kept apart from its column."""
        return self(f"coefficient {name}") if name in self.layout.columns else self(f"parameter {name}")

    def group(self, level: LevelLayout) -> str:
        """Each row's group."""
        return self(f"group {level.name}")

    def count(self, level: LevelLayout) -> str:
        """Number of groups."""
        return self(f"count {level.name}")

    def parent(self, i: int) -> str:
        """Each group's group one level up."""
        level = self.layout.levels[i]
        return self(f"parent {self.layout.levels[level.parent].name}_of_{level.name}")

    def outcome(self) -> str:
        """The outcome's argument."""
        return self(f"column {self.model.outcome}")


def rows(names: Names) -> str:
    """Number of rows of a model without groups and predictors."""
    model = names.model
    role = next((r for r in (model.known_se, model.weights, model.trials, model.exposure) if r is not None), None)
    return names("parameter rows") if role is None else f"len({names(f'role {role}')})"


def law_of_count(names: Names, value: str, scale: str) -> str:
    """Law of a count, given its linear predictor (``scale="mu"``) or its probability or rate (``"rate"``)."""
    model, layout = names.model, names.layout
    if families.lookup(model.family).link == "logit":
        kind = "logits" if scale == "mu" else "probs"
        trials = names(f"role {model.trials}") if model.trials else "1"
        return f"dist.Binomial({trials}, {kind}={value})"
    mean = f"jnp.exp({value})" if scale == "mu" else value
    mean = f"{names(f'role {model.exposure}')} * {mean}" if model.exposure else mean
    if layout.family == "negative_binomial":
        return f"dist.NegativeBinomial2({mean}, {names.parameter('shape')})"
    return f"dist.Poisson({mean})"


# priors -----------------------------------------------------------------------------------------------------

_SUPPORT = {
    "real": "constraints.real",
    "positive": "constraints.positive",
    "above_one": "constraints.greater_than(1.0)",
    "unit": "constraints.unit_interval",
}
_LAWS = {
    "normal": "dist.Normal({0}, {1})",
    "student_t": "dist.StudentT({0}, {1}, {2})",
    "half_normal": "dist.HalfNormal({0})",
    "half_cauchy": "dist.HalfCauchy({0})",
    "half_t": "dist.FoldedDistribution(dist.StudentT({0}, 0.0, {1}))",
    "uniform": "dist.Uniform({0}, {1})",
    "exponential": "dist.Exponential({0})",
    "gamma": "dist.Gamma({0}, {1})",
    "beta": "dist.Beta({0}, {1})",
    "log_normal": "dist.LogNormal({0}, {1})",
    "half_normal_cv": "dist.TransformedDistribution(dist.HalfNormal({0}), dist.transforms.PowerTransform(-2.0))",
    "inverse_gamma_variance": "dist.TransformedDistribution(dist.InverseGamma({0}, {1}), dist.transforms.PowerTransform(0.5))",
}
_DENSITIES = {
    "flat_variance": "jnp.log(2.0 * {x})",
    "power": "-{0} * jnp.log({x})",
    "beta": "({0} - 1.0) * jnp.log({x}) + ({1} - 1.0) * jnp.log1p(-{x})",
    "reference": "jnp.log({x}) + 0.5 * jnp.log(jnp.sum(({v} + {x} ** 2) ** -2.0))",
    "jeffreys2": "jnp.log({x}) + 0.5 * jnp.log(jnp.sum(1 / ({v} + {x} ** 2)) * jnp.sum(({v} + {x} ** 2) ** -2.0))",
}


def prior_lines(p: Parameter, names: Names, layout: Layout) -> list[str]:
    """Statements that sample one parameter from its prior, an improper one as its log density."""
    variable, prior = names.parameter(p.name), p.prior
    if p.kind == "correlation":
        return [
            f'{variable} = numpyro.sample("chol_{p.owner}", dist.LKJCholesky({p.size}, {prior.args[0]}))',
            f'numpyro.deterministic("{p.name}", {variable} @ {variable}.T)',
        ]
    if prior.name == "fixed":
        return [f'{variable} = numpyro.deterministic("{p.name}", {prior.args[0]})']
    law = _law(p, names)
    if law is not None and (p.kind != "above_one" or prior.name == "uniform"):
        return [f'{variable} = numpyro.sample("{p.name}", {law})']
    lines = [f'{variable} = numpyro.sample("{p.name}", dist.ImproperUniform({_SUPPORT[p.kind]}, (), ()))']
    if prior.name == "flat":
        return lines
    if prior.of_variances:
        level = layout.levels[-1]
        total = f"jnp.zeros({names.count(level)}).at[{names.group(level)}].add({names(f'role {names.model.known_se}')} ** -2.0)"
        lines.append(f"{names('local variance')} = 1 / {total}")
    formula = _DENSITIES.get(prior.name, "").format(*prior.args, x=variable, v=names("local variance"))
    density = formula if law is None else f"{law}.log_prob({variable})"
    return [*lines, f'numpyro.factor("prior_{p.name}", {density})']


def _law(p: Parameter, names: Names) -> str | None:
    """NumPyro's distribution of a prior, None where it is improper."""
    prior: Prior = p.prior
    unit = names.layout.unit_of(p)
    if unit is not None:
        scale = f"{prior.args[1]} * {names.parameter(unit.name)}"
        if prior.name == "scaled_half_t":
            return f"dist.FoldedDistribution(dist.StudentT({prior.args[0]}, 0.0, {scale}))"
        kind = "Normal" if prior.name == "scaled_normal" else "InverseGamma"
        return f"dist.{kind}({prior.args[0]}, {scale})"
    if p.kind == "unit" and prior.name == "flat":
        return "dist.Uniform(0.0, 1.0)"
    return _LAWS[prior.name].format(*prior.args) if prior.proper else None
