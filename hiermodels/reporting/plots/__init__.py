"""Figures, one function each; a module a theme.

Figures of a study read the two long tables (*estimates*: one row per replicate, mechanism, method and estimand;
*performance*: one row per mechanism, method, estimand and measure), from this library or from elsewhere. Figures of a
fit read a `hiermodels.Fit`, or the same from elsewhere: a table with the columns that the function names, or an
`xarray.DataTree` with ArviZ's groups. Nothing new is computed, and every estimate is drawn with its Monte Carlo
standard error where it has one.

| to see | figure |
|---|---|
| a measure with its Monte Carlo interval | `plot_measure`, `plot_bias`, `plot_coverage`, `plot_ciwidth`, `plot_rmse_ratio`, `plot_lollipop` |
| a measure over factors | `plot_heat`, `plot_nested_loop`, `plot_curve`, `plot_power` |
| every replicate | `plot_zip`, `plot_estimate_truth`, `plot_estimate_se`, `plot_ridge`, `plot_failures` |
| calibration | `plot_ranks`, `plot_ecdf_difference`, `plot_coverage_curve` |
| what pooling does | `plot_shrinkage`, `plot_shrinkage_arrays`, `plot_mle_posterior`, `plot_plane`, `plot_stein` |
| the groups of a fit | `plot_caterpillar`, `plot_forest`, `plot_tree`, `plot_paths`; as a table, `group_table` |
| laws of single numbers | `plot_prior_posterior`, `plot_triple`, `plot_funnel` |
| replicated data | `plot_predictive`, `plot_predictive_intervals`, `plot_extremes`, `plot_pooled_densities` |

Figures of a study name the truth regime: pass ``regime=``, or let the table carry it as ``table.attrs["regime"]``.
Columns that vary and are neither on an axis nor a colour become panels; ``estimand=``, ``group=`` and ``where=`` narrow
the rows. With ``ax=`` a single panel is drawn on the caller's axes. Each function returns the matplotlib ``Figure``;
`save` writes one.
"""  # noqa: E501

from __future__ import annotations

from hiermodels.reporting._figure import save
from hiermodels.reporting._fits import group_table
from hiermodels.reporting.plots.estimates import plot_estimate_se, plot_estimate_truth, plot_ridge
from hiermodels.reporting.plots.grids import plot_curve, plot_heat, plot_nested_loop, plot_power
from hiermodels.reporting.plots.groups import plot_caterpillar, plot_forest
from hiermodels.reporting.plots.hierarchy import plot_paths, plot_tree
from hiermodels.reporting.plots.measures import (
    plot_bias,
    plot_ciwidth,
    plot_coverage,
    plot_lollipop,
    plot_measure,
    plot_rmse_ratio,
)
from hiermodels.reporting.plots.pooling import plot_mle_posterior, plot_plane, plot_stein
from hiermodels.reporting.plots.posterior import plot_funnel, plot_prior_posterior, plot_triple
from hiermodels.reporting.plots.predictive import (
    plot_extremes,
    plot_pooled_densities,
    plot_predictive,
    plot_predictive_intervals,
)
from hiermodels.reporting.plots.ranks import plot_coverage_curve, plot_ecdf_difference, plot_ranks
from hiermodels.reporting.plots.replicates import plot_failures, plot_zip
from hiermodels.reporting.plots.shrinkage import plot_shrinkage, plot_shrinkage_arrays

__all__ = [
    "group_table",
    "plot_bias",
    "plot_caterpillar",
    "plot_ciwidth",
    "plot_coverage",
    "plot_coverage_curve",
    "plot_curve",
    "plot_ecdf_difference",
    "plot_estimate_se",
    "plot_estimate_truth",
    "plot_extremes",
    "plot_failures",
    "plot_forest",
    "plot_funnel",
    "plot_heat",
    "plot_lollipop",
    "plot_measure",
    "plot_mle_posterior",
    "plot_nested_loop",
    "plot_paths",
    "plot_plane",
    "plot_pooled_densities",
    "plot_power",
    "plot_predictive",
    "plot_predictive_intervals",
    "plot_prior_posterior",
    "plot_ranks",
    "plot_ridge",
    "plot_rmse_ratio",
    "plot_shrinkage",
    "plot_shrinkage_arrays",
    "plot_stein",
    "plot_tree",
    "plot_triple",
    "plot_zip",
    "save",
]
