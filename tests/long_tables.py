"""Long tables made by rules of their own, without the package: what figures and reports are tested on."""

import numpy as np
import pandas as pd

METHODS = ("complete", "none", "partial")
SCHOOLS = tuple("ABCDEFGH")
LEVEL = 0.95


def make_estimates(reps=40, sds=(0.0, 5.0, 20.0), seed=1):
    """Estimates of a population mean and eight groups, from rules that need no model."""
    rng = np.random.default_rng(seed)
    rows = []
    for sd in sds:
        for rep in range(reps):
            theta = 8 + sd * rng.normal(size=len(SCHOOLS))
            raw = theta + 10 * rng.normal(size=len(SCHOOLS))
            weight = {"complete": 0.0, "none": 1.0, "partial": sd**2 / (sd**2 + 100)}
            for method in METHODS:
                point = raw.mean() + weight[method] * (raw - raw.mean())
                se = np.sqrt(100 / 8 + weight[method] * 100 * 7 / 8)
                status = "nonfinite" if method == "partial" and rep == 3 else "divergent" if rep == 4 else "ok"
                for group, estimate, true in [
                    ("", raw.mean(), 8.0),
                    *zip(SCHOOLS, point, theta, strict=True),
                ]:
                    wide = se if group else 10 / np.sqrt(8)
                    gone = np.nan if status == "nonfinite" else 1.0
                    rows.append(
                        {
                            "rep": rep,
                            "sd_school": sd,
                            "method": method,
                            "estimand": "theta_school" if group else "Intercept",
                            "group": group,
                            "true": true,
                            "estimate": gone * estimate,
                            "median": gone * estimate,
                            "se": gone * wide,
                            "lower": gone * (estimate - 1.96 * wide),
                            "upper": gone * (estimate + 1.96 * wide),
                            "rank": gone * float(rng.integers(0, 401)),
                            "max_rank": 400.0,
                            "status": status,
                            "n_try": 2 if rep == 7 else 1,
                            "rhat": 1.0,
                            "ess_bulk": 900.0,
                            "ess_tail": 800.0,
                            "divergences": 0,
                        }
                    )
    return pd.DataFrame(rows)


def make_performance(estimates):
    """A performance table in the library's form, by formulas of its own (no call into the package)."""
    rows = []
    for (sd, method, estimand), part in estimates.groupby(["sd_school", "method", "estimand"], sort=False):
        groups = [("", part)] if estimand == "Intercept" else [*part.groupby("group"), ("[mean]", part)]
        for group, these in groups:
            good = these[these["status"] != "nonfinite"]
            error = (good["estimate"] - good["true"]).to_numpy()
            inside = ((good["lower"] <= good["true"]) & (good["true"] <= good["upper"])).to_numpy(float)
            parts = {
                "bias": error,
                "mse": error**2,
                "cover": inside,
                "ciwidth": (good["upper"] - good["lower"]),
            }
            for measure, values in parts.items():
                value, mcse = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
                undefined = measure == "cover" and sd == 0 and estimand == "Intercept"
                rows.append(
                    {
                        "sd_school": sd,
                        "method": method,
                        "estimand": estimand,
                        "group": group,
                        "measure": measure,
                        "value": np.nan if undefined else value,
                        "mcse": np.nan if undefined else mcse,
                        "lower": np.nan if undefined else value - 1.96 * mcse,
                        "upper": np.nan if undefined else value + 1.96 * mcse,
                        "n_sim": estimates["rep"].nunique(),
                        "n_failed": int(method == "partial"),
                        "n_retried": 1,
                    }
                )
    return pd.DataFrame(rows)
