"""What a fit and the one read back from its file must have in common: everything."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd


def assert_same(fit, back, path):
    """Equal to the bit: draws and their types, statistics, tables, texts, what is computed of them."""
    for ours, theirs in ((fit.draws.values, back.draws.values), (fit.draws.stats, back.draws.stats)):
        assert list(ours) == list(theirs)
        for name, x in ours.items():
            np.testing.assert_array_equal(theirs[name], x, strict=True)
    assert (back.draws.independent, back.draws.error) == (fit.draws.independent, fit.draws.error)
    for name in ("model", "settings", "status", "warnings", "seconds"):
        assert getattr(back, name) == getattr(fit, name), name
    assert back.problem.layout == fit.problem.layout
    assert back.problem.labels == fit.problem.labels
    assert back.problem.missing_moments == fit.problem.missing_moments
    pd.testing.assert_frame_equal(back.diagnostics, fit.diagnostics, check_exact=True)
    pd.testing.assert_frame_equal(back.data, fit.data, check_exact=True)
    pd.testing.assert_frame_equal(back.summary(), fit.summary(), check_exact=True)
    assert back.to_datatree(predictive=True).identical(fit.to_datatree(predictive=True))
    assert str(back) == str(fit)
    tree = az.from_netcdf(path)
    for group in ("posterior", "sample_stats", "log_prior", "log_likelihood"):
        if group in fit.to_datatree().children:
            assert tree[group].to_dataset().identical(fit.to_datatree()[group].to_dataset())
