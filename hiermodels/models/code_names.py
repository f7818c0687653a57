"""What every line of a function's source needs: names that are valid and apart, priors, laws of counts."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field

from hiermodels.families.rows import Columns
from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import Layout, LevelLayout, Parameter

__all__ = ["Names", "columns", "prior_lines", "rows"]

_TAKEN = ("jax", "jnp", "numpyro", "dist", "constraints", "model", "len")


@dataclass
class Names:
    """Python names of what a function holds: one each, valid, none twice.

    Attributes
    ----------
    model : Declaration
    layout : Layout
    """

    model: Declaration
    layout: Layout
    _given: dict[str, str] = field(default_factory=dict)

    def __call__(self, what: str) -> str:
        """The name of a parameter, a column (``column x``), a group index (``group g``), its count or its parents'
        index.
        """
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


def columns(names: Names) -> Columns:
    """Variables of the columns beside the outcome."""
    model = names.model
    return Columns(
        *(
            names(f"role {role}") if role else ""
            for role in (model.known_se, model.weights, model.trials, model.exposure)
        )
    )


# priors -----------------------------------------------------------------------------------------------------

_SUPPORT = {
    "real": "constraints.real",
    "positive": "constraints.positive",
    "above_one": "constraints.greater_than(1.0)",
    "unit": "constraints.unit_interval",
}


def prior_lines(p: Parameter, names: Names, layout: Layout) -> list[str]:
    """Statements that sample one parameter from its prior, an improper one as its log density."""
    variable, prior = names.parameter(p.name), p.prior
    if p.kind == "correlation":
        return [
            f'{variable} = numpyro.sample("chol_{p.owner}", {prior.cholesky_source(p.size)})',
            f'numpyro.deterministic("{p.name}", {variable} @ {variable}.T)',
        ]
    if prior.known:
        return [f'{variable} = numpyro.deterministic("{p.name}", {prior.args[0]})']
    unit = names.layout.unit_of(p)
    law = prior.source(p.kind, "" if unit is None else names.parameter(unit.name))
    if law is not None and not prior.cut(p.kind):
        return [f'{variable} = numpyro.sample("{p.name}", {law})']
    lines = [f'{variable} = numpyro.sample("{p.name}", dist.ImproperUniform({_SUPPORT[p.kind]}, (), ()))']
    if prior.constant:
        return lines
    if prior.of_variances:
        level = layout.levels[-1]
        total = f"jnp.zeros({names.count(level)}).at[{names.group(level)}].add({names(f'role {names.model.known_se}')} ** -2.0)"  # noqa: E501
        lines.append(f"{names('local variance')} = 1 / {total}")
    density = prior.density_source(variable, names("local variance")) if law is None else f"{law}.log_prob({variable})"
    return [*lines, f'numpyro.factor("prior_{p.name}", {density})']
