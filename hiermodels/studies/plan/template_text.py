"""What every config to start from is written with: its frame, its design, and text as YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiermodels.models.terms import Formula

__all__ = ["ARMS", "TEMPLATE", "as_text", "sizes_text"]

ARMS = ("treat", "treated", "treatment", "arm")
"""Names of predictors that a generated design gives to half of the groups."""

TEMPLATE = """\
# A simulation study: `hiermodels check THIS_FILE` checks it, `hiermodels run THIS_FILE` runs it.
# `hiermodels list models|priors|families|samplers|estimators|measures|datasets|configs` prints what may stand here.

aim: How do complete, no and partial pooling compare?

# How datasets come about.
mechanisms:
  # As in lme4; nesting is (1 | school/classroom).
  formula: {formula}
  # normal, binomial (with `trials: <column>`), poisson (with `exposure: <column>`), ...: `hiermodels list families`.
  family: {family}
{known}\
  # A dataset's name, a file (CSV or Parquet), or level sizes in nesting order with `obs` units in each
  # finest group: {{school: 20, classroom: 4, obs: 10}}.
  design: {design}
  # A number is fixed; a text such as half_normal(5) is drawn anew for each dataset. Group values that are
  # not named (theta_<group>) are drawn from the model.
  truth: {{{truth}}}
{grid}\
  # deviation: {{effects: student_t(3), missing: 0.2}}   # how datasets differ from what the model says

# What is estimated. Decisions are estimands too: {{benefit: P(Intercept > 0)}}.
estimands: [{estimands}]

# How it is estimated: any argument of hiermodels.fit, formula, family and priors. Every prior is best named.
# Estimators without a posterior stand beside them: js: {{estimator: james_stein}}, hksj: {{estimator: hksj}}.
methods:
{methods}\

# How estimates are judged; by default bias, mse, cover and, where there are several methods, rmse_ratio (paired by replicate).
performance: [bias, empse, mse, cover, ciwidth, rmse_ratio]
# Level of the credible intervals; {{level: 0.95, kind: hdi}} and kind: upper are possible.
interval: 0.95
# Datasets a cell. Coverage near 95% has a Monte Carlo standard error of 1.4 points at 250, 0.5 at 1900.
replications: 250
seed: 1
# failures: complete-case    # the default; paired-complete, worst-case or retry-with-escalation: what is done about fits that fail
# precision: float64    # or float32
# lanes: auto           # datasets in one vectorised step
# chunk: auto           # datasets in one file, a multiple of lanes
"""  # noqa: E501


def sizes_text(parsed: Formula, constants: Mapping[str, float] | None = None, obs: int = 10) -> str:
    """A generated design in YAML: level sizes, and a law or number for every predictor."""
    levels = list(dict.fromkeys(f for g in parsed.groups for f in g.factors)) or ["unit"]
    sizes = [f"{as_text(level)}: {20 if i == 0 else 4}" for i, level in enumerate(levels)]
    laws = [f"{as_text(x)}: {_law(x, levels)}" for x in sorted(parsed.predictors) if x not in levels]
    laws += [f"{as_text(x)}: {value:g}" for x, value in (constants or {}).items()]
    predictors = [f"predictors: {{{', '.join(laws)}}}"] if laws else []
    return f"{{{', '.join([*sizes, f'obs: {obs}', *predictors])}}}"


def _law(name: str, levels: list[str]) -> str:
    return f"half({levels[0]})" if name.lower() in ARMS else '"normal(0, 1)"'


def as_text(text: str) -> str:
    """Text as a YAML scalar, quoted where it must be (also inside ``{}`` and ``[]``)."""
    text = str(text)
    number = re.fullmatch(r"[-+.\d].*|true|false|null|~|", text, re.IGNORECASE)
    if not number and re.fullmatch(r"[\w./][\w ./()|~+*<>-]*", text):
        return text
    return "'" + text.replace("'", "''") + "'"
