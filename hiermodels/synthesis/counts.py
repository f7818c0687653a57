"""Meta-analysis of counts by their own likelihood: binomial for events of n, Poisson for events in time, no effects, no
corrections.

    events_ik ~ Binomial(n_ik, p_ik),  logit p_ik = baseline_i + theta_i treated_k,  theta_i ~ N(mean, tau^2)

for a trial i with arms k (Poisson: log rates), each trial with a baseline of its own; for one group per study ``logit
p_i = theta_i``. Simmonds & Higgins (2016), Statistical Methods in Medical Research 25, 2858-2877, model 2; Stijnen,
Hamza & Özdemir (2010), Statistics in Medicine 29, 3046-3067.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are used

from hiermodels.inference.response import check_scale
from hiermodels.models.spec import Model
from hiermodels.quantities import INTERCEPT, sd_name, theta_name
from hiermodels.synthesis.cells import read_cells
from hiermodels.synthesis.measures import MEASURES, Measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hiermodels.fit import Fit

__all__ = ["CountMeta", "count_model", "named_priors"]

_TREATED = "treated"


def count_model(
    table: pd.DataFrame, measure: Measure, columns: Mapping[str, Any], labels: Any, priors: Mapping[str, Any] | None
) -> tuple[Model, pd.DataFrame]:
    """The model of the counts, and their table: one row per arm.

    Raises
    ------
    ValueError
        For a measure that is no contrast on the link's scale of a count's law.
    """
    import pandas as pd

    if not measure.counts:
        able = ", ".join(m.name for m in MEASURES.values() if m.counts)
        raise ValueError(
            f"likelihood: 'exact' is for {able}, found {measure.name}; use one of them, or likelihood='normal'"
        )
    cells = read_cells(table, measure, columns, measure.two_arms)
    size = measure.roles[1]
    prefixes = ("", "control_") if measure.two_arms else ("",)
    parts = [
        pd.DataFrame(
            {
                "study": labels,
                "baseline": labels,
                _TREATED: float(not prefix),
                "events": cells[f"{prefix}events"],
                size: cells[prefix + size],
            }
        )
        for prefix in prefixes
    ]
    right = f"0 + C(baseline) + {_TREATED} + (0 + {_TREATED} | study)" if measure.two_arms else "1 + (1 | study)"
    effect = _TREATED if measure.two_arms else INTERCEPT
    laws = named_priors(priors, mean=effect, tau=sd_name("study", effect))
    model = Model(f"events ~ {right}", measure.counts, **{"trials" if size == "n" else "exposure": size}, priors=laws)
    return model, pd.concat(parts, ignore_index=True)


def named_priors(priors: Mapping[str, Any] | None, **names: str) -> dict[str, Any] | None:
    """Priors by the model's own names; ``mean`` and ``tau`` stand for some of these.

    Raises
    ------
    ValueError
        For what is no mapping.
    """
    if priors is None:
        return None
    if not isinstance(priors, Mapping):
        raise ValueError(
            f"priors: expected a mapping such as {{'tau': 'half_normal(0.5)'}}, found {type(priors).__name__}; name "
            f"what each prior is of"
        )
    return {names.get(name, name): law for name, law in priors.items()}


@dataclass(frozen=True, repr=False, eq=False)
class CountMeta:
    """A meta-analysis by the counts' own likelihood; ``print`` shows it.

    Attributes
    ----------
    fit : Fit
        The posterior: draws by NUTS, with their diagnostics.
    raw : DataFrame
        Effects and standard errors of the studies as `hiermodels.effect_sizes` has them, corrected where cells are
        zero: shown beside, not used.
    measure : str
        ``OR``, ``IRR``, ``PLO`` or ``IRLN``.
    level : float
        Probability of intervals.
    """

    fit: Fit
    raw: pd.DataFrame
    measure: str
    level: float

    @property
    def _effect(self) -> str:
        return _TREATED if MEASURES[self.measure].two_arms else INTERCEPT

    @property
    def terms(self) -> list[str]:
        """The population's coefficients: the mean alone."""
        return ["mean"]

    @property
    def ratio(self) -> bool:
        """Whether the exponential of an effect is a ratio."""
        return MEASURES[self.measure].logarithm

    def _draws(self, name: str) -> np.ndarray:
        x = np.asarray(self.fit.draws.values[name], float)
        return x.reshape(-1, *x.shape[2:])

    def summary(self, scale: str = "link") -> pd.DataFrame:
        """Mean, tau and the effect in a new study.

        Parameters
        ----------
        scale : str
            ``response`` gives ratios (or odds and rates) in place of their logarithms.

        Returns
        -------
        DataFrame
            Rows ``mean tau new``, columns ``estimate se lower upper``: posterior mean (tau: median) and sd, central
            intervals. The law of a new study is the mixture of normal laws over the draws.
        """
        import pandas as pd

        check_scale(scale)
        mean, tau = self._draws(self._effect), self._draws(sd_name("study", self._effect))
        tails = [0.5 - self.level / 2, 0.5 + self.level / 2]
        rows = {
            "mean": [mean.mean(), mean.std(ddof=1), *np.quantile(mean, tails)],
            "tau": [np.median(tau), tau.std(ddof=1), *np.quantile(tau, tails)],
        }
        rows["new"] = [mean.mean(), np.sqrt((tau**2).mean() + mean.var()), *(_quantile(mean, tau, p) for p in tails)]
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "se", "lower", "upper"])
        if scale == "response":
            table.loc[["mean", "new"], ["estimate", "lower", "upper"]] = np.exp(
                table.loc[["mean", "new"], ["estimate", "lower", "upper"]]
            )
            table.loc[["mean", "new"], "se"] = np.nan
        return table

    @cached_property
    def studies(self) -> pd.DataFrame:
        """A row per study: its own effect and interval, and its true effect as the model has it."""
        theta = self._draws(theta_name("study", self._effect))
        tails = [0.5 - self.level / 2, 0.5 + self.level / 2]
        half = scipy.stats.norm.ppf(tails[1]) * self.raw["se"]
        table = self.raw[["effect", "se"]].assign(lower=self.raw["effect"] - half, upper=self.raw["effect"] + half)
        ends = np.quantile(theta, tails, axis=0)
        return table.assign(
            theta_mean=theta.mean(0), theta_sd=theta.std(0, ddof=1), theta_lower=ends[0], theta_upper=ends[1]
        )

    def forest(self, *, ax: Axes | None = None) -> Figure:
        """Forest plot: each study by itself and as the model sees it, the mean as a diamond, the prediction interval
        as a bar.
        """
        from hiermodels.synthesis.figures import forest

        return forest(self, ax)

    def __repr__(self) -> str:
        return f"CountMeta({len(self.raw)} studies, {self.measure!r})"

    def __str__(self) -> str:
        style = "{:.4g}".format
        head = (
            f"Meta-analysis of {len(self.raw)} studies by the likelihood of their counts, "
            f"{MEASURES[self.measure].meaning}"
        )
        ratios = self.summary("response").loc[["mean", "new"]].drop(columns="se")
        parts = [
            head,
            "",
            f"posterior, central {100 * self.level:g}% intervals",
            self.summary().to_string(float_format=style),
        ]
        parts += ["", "exponentials", ratios.to_string(float_format=style), "", f"status: {self.fit.status}"]
        return "\n".join([*parts, *(f"- {w}" for w in self.fit.warnings)])


def _quantile(mean: np.ndarray, sd: np.ndarray, p: float) -> float:
    """Quantile of a mixture of normal laws."""
    sd = np.maximum(sd, 1e-12)
    reach = 12 * float(sd.max())
    return float(
        scipy.optimize.brentq(
            lambda x: float(scipy.stats.norm.cdf((x - mean) / sd).mean()) - p, mean.min() - reach, mean.max() + reach
        )
    )
