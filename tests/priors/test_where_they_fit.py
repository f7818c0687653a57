"""Where a prior may stand: what it is defined by must be there, and must be something else than the parameter."""

import pytest

import hiermodels as hm
from hiermodels.models.data import bind

SCORES, RATS, PUMPS, SCHOOLS = (hm.load_dataset(name) for name in ("scores", "rats", "pumps", "eight_schools"))
BINOMIAL = {"formula": "tumors ~ 1 + (1 | experiment)", "family": "binomial", "trials": "rats"}
POISSON = {"formula": "failures ~ 1 + (1 | pump)", "family": "poisson", "exposure": "hours"}


@pytest.mark.parametrize(
    ("declared", "frame", "name", "prior", "words"),
    [
        (
            {"formula": "score ~ 1 + (1 | school)"},
            SCORES,
            "sd_school",
            "reference()",
            "group sds for known variances; use half_normal",
        ),
        (
            {"formula": "score ~ 1 + (1 | school)"},
            SCORES,
            "sd_school",
            "jeffreys2()",
            "group sds for known variances; use half_normal",
        ),
        (
            {"formula": "score ~ 1 + (1 | school)"},
            SCORES,
            "sigma",
            "reference()",
            "group sds for known variances; use half_normal",
        ),
        (
            {"formula": "score ~ 1 + (1 | school)"},
            SCORES,
            "sigma",
            "scaled_half_t(3, 1)",
            r"units of the residual sd itself; use half_t\(df, scale\)",
        ),
        (
            BINOMIAL,
            RATS,
            "kappa_experiment",
            "gamma_rate(1, 2)",
            r"units of the concentration itself; use gamma\(shape, rate\)",
        ),
        (
            POISSON,
            PUMPS,
            "shape_pump",
            "gamma_rate(1, 2)",
            r"units of the concentration itself; use gamma\(shape, rate\)",
        ),
    ],
)
def test_what_defines_a_prior_is_there_and_is_not_the_parameter(declared, frame, name, prior, words):
    with pytest.raises(ValueError, match=words):
        bind(hm.Model(**declared, priors={name: prior}), frame)


def test_they_are_taken_where_they_belong():
    for prior in ("reference()", "jeffreys2()"):
        bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": prior}), SCHOOLS)
    bind(hm.Model("score ~ 1 + (1 | school)", priors={"sd_school": "scaled_half_t(3, 1)"}), SCORES)
    bind(hm.Model(**POISSON, priors={"mean_pump": "gamma_rate(1, 2)", "shape_pump": "gamma(1, 2)"}), PUMPS)
