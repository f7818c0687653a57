"""What ``print`` shows of a meta-analysis."""

from __future__ import annotations

from typing import Any

from hiermodels.models import display
from hiermodels.synthesis.measures import MEASURES

__all__ = ["page"]

_NUMBER = "{:.4g}".format


def page(meta: Any) -> str:
    """Model, posterior, and what is done without a prior, of a `hiermodels.synthesis.Meta`."""
    what = f", {MEASURES[meta.measure].meaning}" if meta.measure else ""
    word = "shortest" if meta.kind == "hdi" else "central"
    parts = [
        f"Meta-analysis of {len(meta.rows.y)} studies{what}",
        display.text(meta.model, meta.problem.layout, meta.problem.scales),
        "",
        f"posterior, {word} {100 * meta.level:g}% intervals",
        meta.summary().to_string(float_format=_NUMBER),
    ]
    if meta.ratio and meta.terms == ["mean"]:
        ratios = meta.summary("response").loc[["mean", "new"]].drop(columns="se")
        parts += ["", "as ratios", ratios.to_string(float_format=_NUMBER)]
    if meta.rows.df:
        parts += ["", *_without_prior(meta)]
    off = meta.posterior.error
    if off > 1:
        parts += [
            "",
            f"- quadrature: its estimate of its own error is {off:.2g} times what is allowed; compare with .fit",
        ]
    return "\n".join([*parts, *(f"- {warning}" for warning in meta.problem.warnings)])


def _without_prior(meta: Any) -> list[str]:
    table = meta.classical.to_string(float_format=_NUMBER, na_rep="")
    parts = [f"without a prior ({100 * meta.level:g}% intervals)", table]
    if len(meta.groups) == 1:
        test = meta.homogeneity
        parts += [
            "",
            "intervals of tau",
            meta.tau_intervals.to_string(float_format=_NUMBER),
            "",
            f"test of homogeneity: Q = {test['Q']:.4g} with {test['df']} degrees of freedom, p = {test['p']:.2g}",
        ]
    return parts
