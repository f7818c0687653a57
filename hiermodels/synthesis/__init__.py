"""Evidence synthesis: effect sizes from the numbers that trials print, and their meta-analysis.

| to do | name |
|---|---|
| effects and standard errors from counts, rates, means, correlations | `effect_sizes`, measures in `MEASURES` |
| covariances of effects that share a control arm | `sampling_covariance` |
"""

from __future__ import annotations

from hiermodels.synthesis.effect_sizes import effect_sizes, sampling_covariance
from hiermodels.synthesis.measures import MEASURES

__all__ = ["MEASURES", "effect_sizes", "sampling_covariance"]
