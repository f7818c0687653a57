"""Evidence synthesis: effect sizes from the numbers that trials print, and their meta-analysis.

| to do | name |
|---|---|
| effects and standard errors from counts, rates, means, correlations | `effect_sizes`, measures in `MEASURES` |
| a meta-analysis in a line | `meta`, which gives a `Meta`; a `CountMeta` by the counts' own likelihood |
| a prior of tau by outcome and comparison | `turner_prior` |
| covariances of effects that share a control arm | `sampling_covariance` |
"""

from __future__ import annotations

from hiermodels.synthesis.counts import CountMeta
from hiermodels.synthesis.effect_sizes import effect_sizes, sampling_covariance
from hiermodels.synthesis.measures import MEASURES
from hiermodels.synthesis.meta import meta
from hiermodels.synthesis.result import Meta
from hiermodels.synthesis.turner import turner_prior

__all__ = ["MEASURES", "CountMeta", "Meta", "effect_sizes", "meta", "sampling_covariance", "turner_prior"]
