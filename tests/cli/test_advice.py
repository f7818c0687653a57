"""Advice works: what a message says to do next is read from its text, done, and seen to be accepted."""

from __future__ import annotations

import copy
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import yaml
from clear_words import EXACT
from mutations import FIT

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.models.data import bind
from hiermodels.studies.config import ConfigError, read_config
from hiermodels.studies.run.runner import bind_all


def said(act) -> str:
    """The message of a mistake."""
    with pytest.raises(ValueError) as caught:
        act()
    assert len(str(caught.value)) <= 600
    return str(caught.value)


def read(text: str, pattern: str) -> str:
    """The words of a message that a pattern finds: its first group."""
    found = re.search(pattern, text)
    assert found, f"no {pattern!r} in: {text}"
    return found[1]


def listed(text: str, pattern: str) -> list[str]:
    return [word.strip() for word in re.split(r",| or ", read(text, pattern)) if word.strip() not in ("", "...")]


# models and tables
# ---------------------------------------------------------------------------------------------------------


def plain() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.normal(size=24).round(3) for name in ("y", "x", "z", "my x")})
    table["y y"], table["g"], table["h"] = table["y"], list("abcdef") * 4, np.repeat(list("pq"), 12)
    table["arm"], table["n"], table["k"] = list("abc") * 8, rng.integers(5, 9, 24), rng.integers(0, 5, 24)
    table["w"], table["b"], table["one"], table["x2"] = (
        rng.uniform(0.5, 2, 24),
        rng.integers(0, 2, 24),
        1.0,
        2 * table["x"],
    )
    table["gx"], table["cell"] = (
        table["g"].map(dict(zip("abcdef", range(6), strict=True))).astype(float),
        [f"{a}{b}" for a, b in zip(table["g"], table["h"], strict=True)],
    )
    return table


T = plain()


def m(formula, family="normal", data=None, pooling="partial", **columns):
    return bind(hm.Model(formula, family, **columns), T if data is None else data, pooling)


def d(**columns) -> pd.DataFrame:
    return T.assign(**columns)


def one_wrong(column, value) -> pd.DataFrame:
    return d(**{column: [value, *T[column].astype(object)[1:]]})


G = "y ~ 1 + (1 | g)"
NUMBERS = {
    "rate": 1,
    "scale": 2,
    "mean": 1,
    "sd": 2,
    "df": 3,
    "loc": 0,
    "low": 0.1,
    "high": 5,
    "shape": 2,
    "value": 1,
    "eta": 2,
    "a": 2,
    "b": 2,
    "c": 0.5,
}


def filled(call: str) -> str:
    """A prior with numbers for its names: ``half_normal(scale)``, ``half_normal(...)``."""
    name = call.partition("(")[0]
    names = re.search(r"expected \w+\(([^)]*)\)", said(lambda: hm.priors.parse(f"{name}({', '.join('9' * 8)})", "x")))
    return f"{name}({', '.join(str(NUMBERS.get(n.strip(), 2)) for n in names[1].split(',') if n.strip())})"


MODELS = {
    # formulas
    "no tilde": (
        lambda: m("y"),
        lambda t: m(read(t, r"write e\.g\. (.+)$"), data=hm.load_dataset("eight_schools"), known_se="se"),
    ),
    "two tildes": (
        lambda: m("y ~ x ~ z"),
        lambda t: m(read(t, r"write e\.g\. (.+)$"), data=hm.load_dataset("eight_schools"), known_se="se"),
    ),
    "an operator is missing": (
        lambda: m("y ~ x z"),
        lambda t: [m(f"y ~ x {op} z") for op in read(t, r"write (\+ : or \*) between").replace("or", "").split()],
    ),
    "a name with blanks": (
        lambda: m("y ~ my x + (1 | g)"),
        lambda t: m(f"y ~ {read(t, r'as in (`[^`]+`)')} + (1 | g)"),
    ),
    "an outcome with blanks": (lambda: m("y y ~ 1"), lambda t: "backticks" in t and m("`y y` ~ 1")),
    "a power": (lambda: m("y ~ x + x**2"), lambda t: m(f"y ~ x + {read(t, r'write (.+)$')}")),
    "a factor of 2": (lambda: m("y ~ 2*x"), lambda t: m(f"y ~ {read(t, r'inside (I.*)$').replace('...', '2*x')}")),
    "division twice": (lambda: m("y ~ x // z"), lambda t: m(read(t, r"write e\.g\. (.+)$").replace("group", "g"))),
    "no brackets": (
        lambda: m("y ~ x + 1 | g"),
        lambda t: m("y ~ x + " + read(t, r"write (\(.+\))$").replace("school", "g")),
    ),
    "no bar": (
        lambda: m("y ~ 1 + (1 g)"),
        lambda t: [
            m(f"y ~ 1 + (1 {op} z)")
            for op in read(t, r"write (\+ : or \*) between").replace("or", "").replace(":", "").replace("*", "").split()
        ],
    ),
    "a term twice": (lambda: m("y ~ (1 | g) + (1 | g)"), lambda t: "once" in t and m("y ~ (1 | g)")),
    "correlated twice": (
        lambda: m("y ~ (1 | g) + (x | g)"),
        lambda t: "keep it in one of them" in t and m("y ~ (x | g)"),
    ),
    "nothing": (lambda: m("y ~ 0"), lambda t: m(read(t, r"write e\.g\. (.+)$"))),
    "a function": (
        lambda: m("y ~ max(w)"),
        lambda t: [
            m(f"y ~ {name}({'arm' if name == 'C' else 'w'})") for name in listed(t, r"use one of (.+), or compute")
        ],
    ),
    "a reference": (
        lambda: m("y ~ C(arm, 'd')"),
        lambda t: [m(f"y ~ C(arm, {word!r})") for word in listed(t, r"reference \((.+)\), found")],
    ),
    "a reference without quotes": (
        lambda: m("y ~ C(arm, b)"),
        lambda t: m("y ~ " + read(t, r"write (C\(.+\))").replace("placebo", "b")),
    ),
    "a number of a kind": (
        lambda: m("y ~ 1.5*x"),
        lambda t: m(f"y ~ {read(t, r'inside (I.*)$').replace('...', '1.5*x')}"),
    ),
    "a column": (lambda: m("y ~ xx + (1 | g)"), lambda t: m(f"y ~ {read(t, "mean '(.+)'")} + (1 | g)")),
    "a group": (lambda: m("y ~ 1 + (1 | gg)"), lambda t: m(f"y ~ 1 + (1 | {read(t, "mean '(.+)'")})")),
    "the outcome on both sides": (lambda: m("y ~ y + x"), lambda t: "drop it" in t and m("y ~ x")),
    # families and their columns
    "gaussian": (lambda: m(G, "gaussian"), lambda t: m(G, read(t, "called '(.+?)'"))),
    "logistic": (
        lambda: m("b ~ 1", "logistic"),
        lambda t: (m("b ~ 1", read(t, "called '(.+?)'")), m("k ~ 1", read(t, r"\('(.+?)' with trials"), trials="n")),
    ),
    "poissn": (lambda: m("k ~ 1", "poissn"), lambda t: m("k ~ 1", read(t, "mean '(.+)'"))),
    "no trials": (
        lambda: m("k ~ 1", "binomial"),
        lambda t: m("k ~ 1", "binomial", **{read(t, r"give (\w+)=<column>"): "n"}),
    ),
    "trials of a normal family": (
        lambda: m("y ~ 1", trials="n", known_se="w"),
        lambda t: m(
            "y ~ 1", **{k: v for k, v in {"trials": "n", "known_se": "w"}.items() if k != read(t, r"leave (\w+) out")}
        ),
    ),
    "weights beside errors": (
        lambda: m(G, known_se="w", weights="n"),
        lambda t: m(
            G, **{k: v for k, v in {"weights": "n", "known_se": "w"}.items() if k != read(t, r"leave (\w+) out")}
        ),
    ),
    "counts without trials": (
        lambda: m("k ~ 1", "bernoulli_logit"),
        lambda t: m("k ~ 1", read(t, r"are family (\w+)"), **{read(t, r"with (\w+)=<"): "n"}),
    ),
    "counts without trials, beta": (
        lambda: m("k ~ 1", "bernoulli"),
        lambda t: m("k ~ 1", read(t, r"are family (\w+)"), **{read(t, r"with (\w+)=<"): "n"}),
    ),
    "a slope of rates": (
        lambda: m("k ~ 1 + (x | g)", "binomial", trials="n"),
        lambda t: m("k ~ 1 + (x | g)", read(t, r"use family (\w+)"), trials="n"),
    ),
    "a slope of truth values": (
        lambda: m("b ~ 1 + (x | g)", "bernoulli"),
        lambda t: m("b ~ 1 + (x | g)", read(t, r"use family (\w+)")),
    ),
    "a predictor within rates": (
        lambda: m("k ~ x + (1 | g)", "poisson"),
        lambda t: (m("k ~ x + (1 | g)", read(t, r"use family (\w+)")), m("k ~ gx + (1 | g)", "poisson")),
    ),
    "crossed counts": (
        lambda: m("k ~ 1 + (1 | g) + (1 | h)", "poisson"),
        lambda t: m("k ~ 1 + (1 | g) + (1 | h)", read(t, r"use family (\w+)")),
    ),
    "too few successes": (
        lambda: m("k ~ 1", "binomial", trials="n", data=d(k=9)),
        lambda t: "which column holds the trials" in t and m("n ~ 1", "binomial", trials="big", data=d(big=9)),
    ),
    # priors
    "a prior's name": (
        lambda: m(G, priors={"sd": "half_normal(5)"}),
        lambda t: m(G, priors={read(t, "mean '(.+)'"): "half_normal(5)"}),
    ),
    "a prior of tau": (
        lambda: m(G, priors={"tau": "half_normal(5)"}),
        lambda t: [m(G, priors={p: "fixed(1)"}) for p in listed(t, r"parameters are (.+)$")],
    ),
    "a prior's word": (
        lambda: m(G, priors={"sd_g": "halfnormal(5)"}),
        lambda t: m(G, priors={"sd_g": read(t, r"mean (\w+)") + "(5)"}),
    ),
    "a prior's brackets": (
        lambda: m(G, priors={"sd_g": "half_normal"}),
        lambda t: m(G, priors={"sd_g": read(t, r"write e\.g\. (.+)$")}),
    ),
    "a prior's numbers": (
        lambda: m(G, priors={"sd_g": "half_t()"}),
        lambda t: m(G, priors={"sd_g": filled(read(t, r"expected (.+?), found"))}),
    ),
    "a prior of another kind": (
        lambda: m(G, priors={"sd_g": "normal(0, 5)"}),
        lambda t: [m(G, priors={"sd_g": filled(name)}) for name in listed(t, r"use one of (.+)$")],
    ),
    "a prior of a coefficient": (
        lambda: m("y ~ x", priors={"x": "half_normal(5)"}),
        lambda t: [m("y ~ x", priors={"x": filled(name)}) for name in listed(t, r"use one of (.+)$")],
    ),
    "a prior of a correlation": (
        lambda: m("y ~ x + (x | g)", priors={"cor_g": "uniform(-1, 1)"}),
        lambda t: [m("y ~ x + (x | g)", priors={"cor_g": filled(name)}) for name in listed(t, r"use one of (.+)$")],
    ),
    "a prior in units of nothing": (
        lambda: m(G, known_se="w", priors={"sd_g": "scaled_half_t(3, 2.5)"}),
        lambda t: m(G, known_se="w", priors={"sd_g": filled(read(t, r"use (\w+)\("))}),
    ),
    "two groups": (
        lambda: m(G, data=T[T.g < "c"], priors={"sd_g": "flat()"}),
        lambda t: m(G, data=T[T.g < "c"], priors={"sd_g": filled(read(t, r"e\.g\. (\w+)"))}),
    ),
    "one row": (
        lambda: m("y ~ 1", data=T[:1]),
        lambda t: [
            m("y ~ 1", data=T[:1], priors={"sigma": p if p.endswith("()") else filled(p.partition("(")[0])})
            for p in listed(t, r"; use (.+)$")
        ],
    ),
    "a group a row": (
        lambda: m("y ~ 1 + (1 | row)", data=d(row=range(24))),
        lambda t: (
            "give known_se" in t
            and (
                m("y ~ 1 + (1 | row)", data=d(row=range(24)), known_se="w"),
                m(
                    "y ~ 1 + (1 | row)",
                    data=d(row=range(24)),
                    priors={"sigma": "half_normal(1)", "sd_row": "half_normal(1)"},
                ),
            )
        ),
    ),
    "every row is fitted": (
        lambda: m("y ~ x + z", data=T[:3]),
        lambda t: [
            m("y ~ x + z", data=T[:3], priors={"sigma": filled(p.partition("(")[0])}) for p in listed(t, r"; use (.+)$")
        ],
    ),
    "only zeros": (
        lambda: m("k ~ 1 + (1 | g)", "poisson", data=d(k=0)),
        lambda t: m("k ~ 1 + (1 | g)", "poisson", data=d(k=0), priors={read(t, r"so (\w+) ~"): "gamma(2, 2)"}),
    ),
    "dependent predictors": (
        lambda: m("y ~ x + x2"),
        lambda t: (
            "drop one, or give one a normal prior" in t and (m("y ~ x"), m("y ~ x + x2", priors={"x2": "normal(0, 1)"}))
        ),
    ),
    "nearly the same": (
        lambda: m("y ~ x + q", data=d(q=T.x + 1e-9 * T.z)),
        lambda t: (
            "drop one, or give one a normal prior" in t
            and m("y ~ x + q", data=d(q=T.x + 1e-9 * T.z), priors={"q": "normal(0, 1)"})
        ),
    ),
    "a constant predictor": (lambda: m("y ~ one + x"), lambda t: "drop one" in t and m("y ~ x")),
    "a zero predictor": (lambda: m("y ~ x", data=d(x=0.0)), lambda t: "drop it" in t and m("y ~ 1", data=d(x=0.0))),
    # names and labels
    "sigma": (
        lambda: m("y ~ sigma + (1 | g)", data=T.rename(columns={"x": "sigma"})),
        lambda t: [
            m("y ~ s + (1 | g)", data=T.rename(columns={"x": "s"}))
            for s in ["s"]
            if s not in listed(t, r"taken are (.+)\)")
        ],
    ),
    "an unused category": (
        lambda: m(G, data=d(g=pd.Categorical(T.g, list("abcdefz")))),
        lambda t: m(
            G,
            data=d(
                g=eval("g" + read(t, r"call (\.cat\.\w+\(\))"), {"g": pd.Series(pd.Categorical(T.g, list("abcdefz")))})
            ),
        ),
    ),
    "labels of two kinds": (
        lambda: m(G, data=d(g=[1, "a", "b"] * 8)),
        lambda t: m(
            G, data=d(g=eval("g" + read(t, r"with (\.map\(str\))"), {"g": pd.Series([1, "a", "b"] * 8), "str": str}))
        ),
    ),
    "a column twice": (
        lambda: m("y ~ x", data=pd.concat([T, T[["x"]]], axis=1)),
        lambda t: "drop the others" in t and m("y ~ x"),
    ),
    # cells
    "a decimal comma": (
        lambda: m("y ~ 1", data=one_wrong("y", "1,5")),
        lambda t: m("y ~ 1", data=one_wrong("y", float(read(t, r"point: (.+)$")))),
    ),
    "a percentage": (
        lambda: m("y ~ x", data=one_wrong("x", "0.5%")),
        lambda t: m("y ~ x", data=one_wrong("x", float(read(t, r"alone: (.+)$")))),
    ),
    "one bad cell": (
        lambda: m("y ~ x", data=one_wrong("x", "?")),
        lambda t: (
            m("y ~ x", data=one_wrong("x", "?")[1:].astype({"x": float})),
            m(f"y ~ {read(t, r'write (C.+?) where')}", data=d(x=["?", "a", "b"] * 8)),
        ),
    ),
    "a date": (
        lambda: m("y ~ x", data=d(x=pd.date_range("2020", periods=24))),
        lambda t: m(
            "y ~ x", data=d(x=eval(read(t, r"first, (.+)$"), {"t": pd.Series(pd.date_range("2020", periods=24))}))
        ),
    ),
    "a missing outcome": (
        lambda: m("y ~ 1", data=one_wrong("y", np.nan)),
        lambda t: m("y ~ 1", data=one_wrong("y", np.nan).drop(index=int(read(t, r"row (\d+)")))),
    ),
    "a missing label": (
        lambda: m(G, data=one_wrong("g", None)),
        lambda t: m(G, data=one_wrong("g", None).drop(index=int(read(t, r"row (\d+)")))),
    ),
    "a standard error of 0": (
        lambda: m(G, known_se="w", data=one_wrong("w", 0.0)),
        lambda t: m(G, known_se="w", data=one_wrong("w", 0.0).drop(index=int(read(t, r"row (\d+)")))),
    ),
    # pooling
    "a word of pooling": (
        lambda: m(G, pooling="full"),
        lambda t: [m(G, pooling=word) for word in listed(t, r"expected (.+), found")],
    ),
    "pooling of another group": (
        lambda: m(G, pooling={"h": "none"}),
        lambda t: [m(G, pooling={term: "none"}) for term in listed(t, r"terms are (.+)$")],
    ),
    "constant within groups": (
        lambda: m("y ~ gx + (1 | g)", pooling="none"),
        lambda t: (
            "drop the predictor or pool g partially" in t
            and (m(G, pooling="none"), m("y ~ gx + (1 | g)", pooling="partial"))
        ),
    ),
}


@pytest.mark.parametrize("mistake", MODELS)
def test_advice_about_models_and_tables(mistake):
    act, follow = MODELS[mistake]
    assert follow(said(act))


# configs
# -------------------------------------------------------------------------------------------------------------------

BASE = EXACT.decode()
GROWN = """
mechanisms:
  formula: y ~ 1 + x + (1 | g)
  family: normal
  design: {g: 6, obs: 5, predictors: {x: "normal(0, 1)"}}
  truth: {Intercept: 2, x: 1, sd_g: 1, sigma: 1}
estimands: [Intercept, x]
methods:
  partial: {sampler: exact}
performance: [bias, mse]
replications: 3
seed: 1
"""
GONE = object()
DESIGN, TRUTH, GRID, PARTIAL = (
    ("mechanisms", "design"),
    ("mechanisms", "truth"),
    ("mechanisms", "grid"),
    ("methods", "partial"),
)
CONFIGS = [
    *[
        (BASE, place, value)
        for place, value in [
            (("metods",), {}),
            (("estimands",), []),
            (("estimands",), "Intercept"),
            (("estimands", 0), "Intercpt"),
            (("estimands", 1), "Intercept"),
            (("estimands", 1), {"a": 1, "b": 2}),
            (("estimands", 0), {"estimand": "Intercept", "point": "mode"}),
            (("methods",), []),
            (("methods",), {}),
            ((*PARTIAL, "sampler"), "nutz"),
            ((*PARTIAL, "sampler"), "gibs"),
            ((*PARTIAL, "pooling"), "some"),
            ((*PARTIAL, "smapler"), "exact"),
            ((*PARTIAL, "priors"), "flat"),
            ((*PARTIAL, "priors", "sd_school"), "half_norml(5)"),
            ((*PARTIAL, "priors", "sd_school"), "half_normal"),
            ((*PARTIAL, "priors", "sd_schol"), "half_normal(5)"),
            ((*PARTIAL, "draws"), "many"),
            ((*PARTIAL, "draws"), 0),
            ((*PARTIAL, "target_accept"), 2),
            ((*PARTIAL, "accuracy"), "high"),
            ((*PARTIAL, "estimator"), "dersimonian_laird"),
            (("performance",), []),
            (("performance",), "bias"),
            (("performance", 0), "biass"),
            (("performance", 1), "bias"),
            (("interval",), 95),
            (("interval",), "wide"),
            (("interval",), {"level": 95}),
            (("replications",), -1),
            (("replications",), "lots"),
            (("failures",), "drop"),
            (("seed",), "x"),
            (("seed",), -1),
            (("precision",), "double"),
            (("lanes",), 0),
            (("chunk",), "big"),
            (("aim",), 3),
            (("mechanisms", "formula"), "effect"),
            (("mechanisms", "formula"), "effect ~ 1 + (1 | scool)"),
            (("mechanisms", "family"), "gaussian"),
            (("mechanisms", "known_se"), "sd"),
            (DESIGN, "eight_school"),
            (TRUTH, 3),
            ((*TRUTH, "Intercept"), GONE),
            ((*TRUTH, "Intercept"), "norml(0, 1)"),
            ((*TRUTH, "sd_shool"), 3),
            ((*GRID, "sd_school"), 3),
            ((*GRID, "sd_school"), []),
            ((*GRID, "sd_school"), [1, 1]),
            ((*GRID, "sd_scool"), [1, 2]),
            ((*GRID, "sd_school"), [[1], 2]),
            (("mechanisms", "deviation"), {"effects": "cauchy"}),
            (("mechanisms", "deviation"), 3),
            (("mechanisms", "deviation"), {"effcts": "student_t(3)"}),
            (("mechanisms", "deviation"), {"missing": 3}),
            (("stop",), 3),
            (("stop",), {"cover": "x"}),
            (("decisions",), {"benefit": 3}),
            ((*PARTIAL, "family"), "student"),
        ]
    ],
    *[
        (GROWN, place, value)
        for place, value in [
            ((*DESIGN, "g"), 0),
            ((*DESIGN, "predictors"), 3),
            ((*DESIGN, "predictors", "x"), {"drawn": "fixed"}),
            ((*DESIGN, "predictors", "x"), {"law": "normal(0, 1)", "drawn": "sometimes"}),
            ((*DESIGN, "predictors", "x"), {"law": "half(g)", "drawn": "redrawn"}),
            ((*DESIGN, "predictors", "x"), "half(h)"),
            ((*DESIGN, "predictors", "x"), "normal(0)"),
            ((*DESIGN, "obs"), "integers(5)"),
            ((*TRUTH, "sigma"), GONE),
            ((*TRUTH, "x"), GONE),
            ((*TRUTH, "icc_g"), 0.1),
            (("mechanisms", "formula"), "y ~ 1 + z + (1 | g)"),
            (("mechanisms", "family"), "poison"),
            ((*PARTIAL, "formula"), "z ~ 1 + x + (1 | g)"),
            ((*PARTIAL, "sampler"), "closed_form"),
            (DESIGN, {"table": 3}),
            ((*DESIGN, "g"), "many"),
        ]
    ],
]


def put(config: dict, place: tuple, value) -> dict:
    config = copy.deepcopy(config)
    holder = config
    for key in place[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return config


def got(config, place: tuple):
    for key in place:
        config = config[key]
    return config


def place_of(error: ConfigError) -> tuple:
    return tuple(int(key[1:-1]) if key.startswith("[") else key for key in re.findall(r"\[\d+\]|[^.\[\]]+", error.path))


def followed(config: dict, error: ConfigError) -> list[dict]:
    """Configs that do as a message says, each of its ways."""
    place, text = place_of(error), error.message
    advice = text.rpartition("; ")[2]
    if found := re.search(r"add e\.g\. `(.+)`$", text):
        ((key, value),) = yaml.safe_load(found[1]).items()
        return [put(config, (*place, key), value)]
    if found := re.search(r"(?:write|use|give) (?:e\.g\. )(.+?)(?:, or .+)?$", text):
        value = yaml.safe_load(found[1].removeprefix("- "))
        inner = re.match(r"(\w+): expected", text)
        if inner and isinstance(got(config, place), dict):
            place = (*place, inner[1])
        if isinstance(value, dict) and place and place[-1] in value and len(value) == 1:
            value = value[place[-1]]
        return [put(config, place, value)]
    if found := re.search(r"did you mean '?(\w+)'?\?", text) or re.search("it is called '(.+?)' here", text):
        last, right = place[-1], found[1]
        old = got(config, place)
        wrong = re.search(r"(?:unknown|no|found) [a-z ]*'(\w+)'", text)
        if isinstance(last, str) and (right != last) and (wrong and wrong[1] == last):
            return [put(put(config, place, GONE), (*place[:-1], right), old)]
        if (*place[:-1], last) and re.search("factor", text):
            return [put(put(config, place[:-1], GONE), (*place[:-2], right), got(config, place[:-1]))]
        return [put(config, place, str(old).replace(wrong[1], right) if wrong else right)]
    if found := re.search(r"(?:use|write) one of (?!these)(.+)$", text):
        words = re.findall(r"[\w.-]+(?:\([^)]*\))?", found[1])
        old, wrong = got(config, place), re.search(r"(?:no column|found) '([^']+)'", text)
        swap = isinstance(old, str) and wrong and wrong[1] in old and old != wrong[1]
        return [
            put(config, place, re.sub(rf"\b{re.escape(wrong[1])}\b", word, old) if swap else word) for word in words
        ]
    if re.search(r"remove( one|(?: or rename)? one|( it)|one of them)?$", advice) or advice.startswith(
        ("remove", "leave")
    ):
        return [put(config, place, GONE)]
    if advice.startswith(("name at least one", "write one of these")):
        if "such as" in text:
            return [put(config, place, yaml.safe_load(read(text, r"such as (\[.+?\]|\{.+?\})[;,]")))]
        return [
            put(config, place, form)
            for form in re.findall(r"[a-z_]+\([\d., ]+\)", read(text, r"expected (.+?); found"))
        ]
    if advice.startswith("write auto"):
        return [put(config, place, "auto")]
    if found := re.search(r"^write '?([\w()., +|~{}:\[\]]+?)'?$", advice):
        return [
            put(
                config,
                place,
                got(config, place).replace("z", found[1], 1) if "formula" in place else yaml.safe_load(found[1]),
            )
        ]
    if advice.startswith("give ") and "argument" in advice:
        return [put(config, place, read(text, r"expected ([a-z_]+\(.+?\));"))]
    if "in quotes" in advice:
        return [put(config, place, str(got(config, place)))]
    if "use sampler=" in advice:
        return [put(config, (*place, "sampler"), word) for word in re.findall(r"'(\w+)'", advice)]
    raise AssertionError(f"an advice that nobody follows: {text}")


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_advice_about_configs(number):
    base, place, value = CONFIGS[number]
    config = put(yaml.safe_load(base), place, value)
    with pytest.raises(ConfigError) as caught:
        bind_all(read_config(config))
    ways = followed(config, caught.value)
    refused = []
    for way in ways:
        try:
            bind_all(read_config(way))
        except ConfigError as error:
            if place_of(error)[: len(place_of(caught.value))] == place_of(caught.value):
                refused.append(str(error))
    some = "no column" in str(caught.value)  # a list of all columns, of which the reader picks
    assert len(refused) < len(ways) if some else ways and not refused, (str(caught.value), refused)


# the shell
# -----------------------------------------------------------------------------------------------------------------

STUDY = """\
mechanisms:
  formula: effect ~ 1 + (1 | school)
  known_se: se
  design: eight_schools
  truth: {Intercept: 8, sd_school: 10}
estimands: [Intercept]
methods:
  complete: {pooling: complete, sampler: exact}
replications: 4
seed: 1
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A folder with a study that has run, and commands run in it: code and what is printed."""
    import contextlib
    import io
    import os

    folder, before = tmp_path_factory.mktemp("shell"), os.getcwd()
    os.chdir(folder)
    (folder / "s.yaml").write_text(STUDY)

    def run(*words: str) -> tuple[int, str]:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = _code([str(w) for w in words])
        return code, out.getvalue() + err.getvalue()

    assert run("run", "s.yaml", "--quiet")[0] == 0
    yield run
    os.chdir(before)


def with_option(words: list[str], text: str) -> list[str]:
    """A command with an option as a message writes it, in place of its own."""
    option, *value = shlex.split(text)
    if option not in words:
        return [*words, option, *value]
    at = words.index(option)
    return [*words[:at], option, *value, *words[at + 2 :]]


SHELL = {
    "a dataset": (["fit", "effect ~ 1", "--data", "eight_school"], lambda c, t: [*FIT[:3], read(t, "mean '(.+?)'"), *FIT[4:]]),
    "a config": (["run", "quik"], lambda c, t: ["check", read(t, "mean '(.+?)'")]),
    "an option": ([*FIT[:6], "--samplr", *FIT[7:]], lambda c, t: [*FIT[:6], read(t, r"mean (--\w+)\?"), *FIT[7:]]),
    "a command": (["lst"], lambda c, t: [read(t, r'mean "(\w+)"')]),
    "a kind of list": (["list", "datsets"], lambda c, t: ["list", read(t, r'mean "(\w+)"')]),
    "a prior": ([*FIT, "--prior", "sd_school"], lambda c, t: with_option(c, read(t, r"write e\.g\. (.+)$"))),
    "pooling": ([*FIT, "--pooling", "school=none=2,"], lambda c, t: with_option(c, read(t, r"write e\.g\. (\S+ \w+=\w+)"))),
    "a word of pooling": ([*FIT, "--pooling", "school"], lambda c, t: with_option(c, f"--pooling {read(t, r'expected (\w+),')}")),
    "a sampler": ([*FIT[:6], "--sampler", "gibs", "--quiet"], lambda c, t: ["list", "samplers"] if read(t, r"mean '(\w+)'") == "gibbs" else []),
    "a plan of nothing": (["plan", "s.yaml"], lambda c, t: [*with_option(c, read(t, r"write e\.g\. (.+)$")), "--replications", "20"]),
    "a target": (["plan", "s.yaml", "--mcse", "cover", "--replications", "20"], lambda c, t: with_option(c, "--mcse " + read(t, r"write e\.g\. (.+)$"))),
    "a target's number": (["plan", "s.yaml", "--mcse", "cover=x", "--replications", "20"], lambda c, t: with_option(c, "--mcse cover=" + read(t, r"e\.g\. (.+)$"))),
    "more replications": (["run", "s.yaml", "--quiet", "--replications", "8"], lambda c, t: [*c, read(t, r"with (--\w+)")]),
    "no estimand": (["plan", "s.yaml", "--power", "0.8", "--replications", "8"], lambda c, t: [*c, read(t, r"expected (--\w+)"), "Intercept"]),
    "a folder of others": (["run", "s.yaml", "--quiet", "--out", "."], lambda c, t: [*c[:-2], *read(t, r"with (--out)").split(), "runs/other"]),
    "a shard": (["run", "s.yaml", "--quiet", "--out", "runs/shards", "--shard", "9"], lambda c, t: with_option(c, read(t, r"write e\.g\. (--shard .+)$"))),
    "a time limit": (["run", "s.yaml", "--quiet", "--out", "runs/limit", "--time-limit", "x"], lambda c, t: with_option(c, "--time-limit " + read(t, r"or ([\d:]+)$"))),
    "workers": (["run", "s.yaml", "--quiet", "--out", "runs/workers", "--workers", "0"], lambda c, t: c[:-2] if "leave it out" in t else []),
    "a device": (["run", "s.yaml", "--quiet", "--out", "runs/device", "--device", "tpu"], lambda c, t: with_option(c, "--device " + read(t, r'from: "(\w+)"'))),
    "an old file": (["new", "s.yaml"], lambda c, t: ["new", "another.yaml"] if "another name" in t else []),
    "no such method": (["replicate", "runs/s", "--rep", "1", "--method", "x"], lambda c, t: with_option(c, "--method " + read(t, r"one of (\w+)"))),
    "a cell of a study with one": (["replicate", "runs/s", "--rep", "2", "--cell", "a=1"], lambda c, t: c[:-2] if "leave it out" in t else []),
    "a name of a table": (["datasets", "runs/s", "--out", "d.txt"], lambda c, t: with_option(c, "--out d" + read(t, r"ends in (\.\w+)"))),
    "a section": (["verify", "--section", "99"], lambda c, t: ["verify", "--help"] if "leave it out for all" in t else []),
}  # fmt: skip


@pytest.mark.parametrize(
    "mistake", [pytest.param(m, marks=[pytest.mark.slow] if m == "a config" else []) for m in SHELL]
)
def test_advice_in_a_shell(mistake, shell):
    command, follow = SHELL[mistake]
    code, told = shell(*command)
    assert code == 2 and "error: " in told, told
    way = follow(command, told.strip())
    assert way and shell(*way)[0] == 0, (told, way, shell(*way)[1])


def test_advice_about_tables_that_are_imported(shell):
    rows = {"rep": range(4), "estimand": "Intercept", "estimate": 1.0, "se": 1.0, "lower": 0.0, "upper": 2.0}

    def refused(name="mine", **wrong):
        pd.DataFrame(rows | wrong).to_csv("a.csv", index=False)
        code, told = shell("import", "runs/s", "a.csv", "--method", name)
        assert code == 2, told
        return told.strip()

    def accepted(*options, name="mine", **right):
        pd.DataFrame({k: v for k, v in (rows | right).items() if v is not None}).to_csv("a.csv", index=False)
        code, told = shell("import", "runs/s", "a.csv", "--method", name, *options)
        assert code == 0, told

    told = refused(estimand="Intercpt")
    accepted(estimand=read(told, "mean '(.+)'"))
    assert "--replace" in refused() and "another name" in refused()
    accepted("--replace")
    accepted(name="another")
    assert "exchange them" in refused("b", lower=2.0, upper=0.0)
    accepted(name="b")
    assert "leave it empty" in refused("c", se=-1.0)
    accepted(name="c", se=None)
    assert "write -inf or inf" in refused("e", lower=[None] * 4)
    accepted(name="e", lower=-np.inf)
    assert "choose another name" in refused("complete")
    assert "drop one" in refused("f", rep=[0, 0, 1, 2])
    assert "rename it" in refused("a b")


def test_a_table_that_is_damaged_is_imported_again(shell):
    from pathlib import Path

    pd.DataFrame({"rep": range(4), "estimand": "Intercept", "estimate": 1.0, "se": 1.0}).to_csv("g.csv", index=False)
    assert shell("import", "runs/s", "g.csv", "--method", "g")[0] == 0
    (file,) = Path("runs/s/estimates").glob("*/g/*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    code, told = shell("report", "runs/s")
    assert code == 2 and "damaged" in told
    assert shell("import", "runs/s", "g.csv", "--method", "g", read(told, r"again, with (--\w+)"))[0] == 0
    assert shell("report", "runs/s")[0] == 0


@pytest.mark.slow
def test_commands_that_are_printed_work(shell):
    """Those of `new`, of a report, of a chunk that is lost."""
    from pathlib import Path

    from hiermodels.reporting.report import _commands

    code, told = shell("new", "printed.yaml", "--formula", "score ~ 1 + (1 | school)", "--data", "scores")
    assert code == 0
    assert shell("check", read(told, r"with: hiermodels run (.+)"))[0] == 0
    for _, command in _commands(hm.load_run("runs/s"), "runs/s"):
        code, told = shell(*shlex.split(command.removeprefix("hiermodels ")))
        assert code == 0, (command, told)
    chunk = next(Path("runs/s/estimates").glob("*/complete/*.parquet"))
    chunk.unlink()
    code, told = shell("report", "runs/s")
    assert code == 2 or "missing" in told, told
    assert shell(*shlex.split(read(told, r"`hiermodels (run [^`]+)`")), "--quiet")[0] == 0, told
    assert chunk.is_file()
