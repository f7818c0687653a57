"""Formulas: what is printed, fitted and written are the same terms, and every token is used or refused at its place."""

from __future__ import annotations

import itertools
import re
import time
import zlib

import numpy as np
import pandas as pd
import pytest

from hiermodels.models.data import bind
from hiermodels.models.formula import parse_formula, parse_terms
from hiermodels.models.predictors import columns
from hiermodels.models.spec import Model
from hiermodels.studies.config.texts import read_estimand

ROWS = 240
RNG = np.random.default_rng(1)
FRAME = pd.DataFrame(
    {
        "y": RNG.normal(size=ROWS),
        **{name: RNG.uniform(1, 5, ROWS) for name in ("u", "v", "w", "body mass", "x.1", "a-b")},
        "arm": RNG.choice(list("abc"), ROWS),
        "sex": RNG.choice(["f", "m"], ROWS),
        "g": np.repeat([f"g{i}" for i in range(12)], ROWS // 12),
        "my group": np.tile([f"h{i}" for i in range(8)], ROWS // 8),
    }
)
NUMBERS = ["u", "v", "w", "`body mass`", "x.1", "`a-b`", "log(u)", "I(v ** 2)", "sqrt(u + w)"]
LABELS = ["arm", "sex", "C(arm, 'b')"]


# an independent reading
# ---------------------------------------------------------------------------------------------------


NAME = re.compile(r"`[^`]+`|[A-Za-z][\w.]*")


class Unread(Exception):
    """The oracle cannot read a formula."""


def tokens(text: str) -> list[str]:
    """Tokens of the right side: calls and backticks are one token each."""
    found = re.findall(r"[A-Za-z]+\([^()]*\)|`[^`]*`|[A-Za-z][\w.]*|\d+|\*\*|\|\||\S", text)
    return [t.replace("^", "**") for t in found]


def oracle(text: str) -> tuple[bool, set[frozenset[str]], set[tuple[str, frozenset[str], bool]]]:
    """Intercept, terms and group terms by precedence climbing on sets; R's rules."""
    rest = tokens(text)
    binding = {"+": 1, "-": 1, "*": 2, "/": 2, ":": 3, "**": 4}

    def atom():
        if not rest:
            raise Unread
        token = rest.pop(0)
        if token == "(":
            inside = climb(1)
            if rest[:1] in (["|"], ["||"]):
                bar, path = rest.pop(0), []
                while rest and rest[0] != ")":
                    path.append(rest.pop(0))
                names, signs = path[::2], path[1::2]
                if (
                    len(path) % 2 == 0
                    or not set(signs) <= {":", "/"}
                    or inside[2]
                    or not all(map(NAME.fullmatch, names))
                ):
                    raise Unread
                groups = set()
                for i in range(len(names)):
                    if i + 1 == len(names) or signs[i] == "/":
                        key = ":".join(n.strip("`") for n in names[: i + 1])
                        effects = frozenset(map(written, inside[1])) | (
                            {"1"} if inside[0] is not False else frozenset()
                        )
                        groups.add((key, effects, bar == "|"))
                inside = (None, set(), groups)
            if not rest or rest.pop(0) != ")":
                raise Unread
            return inside
        if token in "01":
            return (token == "1", set(), set())
        if not re.fullmatch(r"`[^`]+`|[A-Za-z][\w.]*|(log|I|sqrt|C)\([^()]*\)", token):
            raise Unread
        return (None, {frozenset([token])}, set())

    def climb(lowest):
        if rest[:1] == ["-"] and lowest == 1:
            left = (None, set(), set())
        else:
            if rest[:1] == ["+"] and lowest == 1:
                rest.pop(0)
            left = atom()
        while rest and binding.get(rest[0], 0) >= lowest:
            sign = rest.pop(0)
            if sign == "+" and rest[:1] == ["-"]:
                sign = rest.pop(0)
            right = [int(rest.pop(0))] if sign == "**" and rest and rest[0].isdigit() else climb(binding[sign] + 1)
            left = combine(sign, left, right)
        return left

    found = climb(1)
    if rest:
        raise Unread
    return found[0] is not False, found[1], found[2]


def combine(sign, left, right):
    if sign == "+":
        return (left[0] if right[0] is None else right[0], left[1] | right[1], left[2] | right[2])
    if sign == "-":
        if right[2] or not right[1] <= left[1]:
            raise Unread
        return (left[0] if right[0] is None else not right[0], left[1] - right[1], left[2])
    if sign == "**":
        if not isinstance(right, list) or right[0] < 1 or left[0] is not None or left[2]:
            raise Unread
        pieces = (frozenset().union(*p) for p in itertools.product(left[1], repeat=right[0]))
        return (None, set(pieces), set())
    if isinstance(right, list) or left[0] is not None or right[0] is not None or left[2] or right[2]:
        raise Unread
    crossed = {a | b for a in left[1] for b in right[1]}
    if sign == ":":
        return (None, crossed, set())
    if sign == "*":
        return (None, left[1] | right[1] | crossed, set())
    whole = frozenset().union(*left[1])
    return (None, left[1] | {whole | b for b in right[1]}, set())


def written(term: frozenset[str]) -> str:
    return ":".join(sorted(t.replace("`", "") for t in term))


# generated formulas
# -------------------------------------------------------------------------------------------------------


def generated(number: int) -> str:
    """The right side of a formula: half of them as they are made, half with a token changed."""
    rng = np.random.default_rng([7, number])

    def factor():
        return str(rng.choice(NUMBERS if rng.random() < 0.7 else LABELS))

    def piece(depth):
        kind = rng.integers(10)
        if depth == 0 or kind < 4:
            return factor()
        if kind < 7:
            return f"{piece(depth - 1)}{rng.choice([':', '*', ' * ', '/', ' : '])}{piece(depth - 1)}"
        if kind < 9:
            return f"({piece(depth - 1)} + {piece(depth - 1)})"
        return f"({factor()} + {factor()} + {factor()}){rng.choice(['**', '^'])}{rng.integers(1, 4)}"

    parts = [piece(2) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.3:
        parts.insert(rng.integers(len(parts) + 1), str(rng.choice(["0", "1"])))
    if rng.random() < 0.5:
        effects = rng.choice(["1", "0 + u", "1 + v", "v", "1 + log(u)"])
        parts.append(
            f"({effects} {rng.choice(['|', '||'])} {rng.choice(['g', '`my group`', 'g/`my group`', 'g:`my group`'])})"
        )
    text = " + ".join(parts)
    if rng.random() < 0.2:
        text += str(rng.choice([" - 1", " - 0", " + -1", f" - {parts[0]}"]))
    if number % 2:
        pieces = tokens(text)
        at = int(rng.integers(len(pieces)))
        change = [
            [],
            [pieces[at], pieces[at]],
            [str(rng.choice(["+", "*", ":", "/", "-", ")", "(", "|", "2", "u", "**", "~", "."]))],
        ]
        pieces[at : at + 1] = change[rng.integers(3)]
        text = " ".join(pieces)
    return text


def printed(text: str, names: tuple[str, ...]) -> str:
    """What is left of the printed mean once each term is taken out of it."""
    mean = re.match(r"y_i ~ N\((.*), sigma\^2\)$", text.splitlines()[0])[1]
    parts = [p for p in mean.split(" + ")] if "sqrt" not in mean else re.split(r" \+ (?!w\))", mean)
    for name in names:
        parts.remove(f"{name} * {name}_i")
    return " + ".join(parts)


def span_of(terms: set[frozenset[str]], intercept: bool) -> np.ndarray:
    """Products of all indicators of each term: what it spans, with many columns too many."""
    made = [np.ones((ROWS, 1))] if intercept else []
    for term in terms:
        found = np.ones((ROWS, 1))
        for name in term:
            column = "arm" if name.startswith("C(") else name.strip("`")
            if column in ("arm", "sex", "g", "my group"):
                values = pd.get_dummies(FRAME[column]).to_numpy(float)
            else:
                inner = {"log(u)": np.log(FRAME.u), "I(v ** 2)": FRAME.v**2, "sqrt(u + w)": np.sqrt(FRAME.u + FRAME.w)}
                values = np.asarray(inner[name] if name in inner else FRAME[name.strip("`")], float)[:, None]
            found = (found[:, :, None] * values[:, None, :]).reshape(ROWS, -1)
        made.append(found)
    return np.hstack(made) if made else np.zeros((ROWS, 0))


def rank_of(matrix: np.ndarray) -> int:
    length = np.linalg.norm(matrix, axis=0)
    return int(np.linalg.matrix_rank(matrix / np.where(length > 0, length, 1), tol=1e-9)) if matrix.shape[1] else 0


def check(number: int) -> bool:
    """Whether a formula is accepted; if it is, the three readings agree."""
    text = generated(number)
    try:
        wanted = oracle(text)
    except (Unread, IndexError):
        wanted = None
    try:
        parsed = parse_formula(f"y ~ {text}")
    except ValueError as error:
        message = str(error)
        assert len(message) < 600 and re.match("formula ['\"]y ~ ", message), message
        excused = r"itself is no new term|alone is no new term|stands twice|names a column twice|nothing varies|a number beside"
        assert wanted is None or re.search(excused, message), (text, message)
        return False
    assert wanted is not None, text
    side = parsed.population
    assert side.intercept == wanted[0] and {written(frozenset(n.split(":"))) for n in side.names} - {
        "Intercept"
    } == set(map(written, wanted[1])), text
    groups = {
        (g.name, frozenset(n.replace("Intercept", "1") for n in g.effects.names), g.correlated) for g in parsed.groups
    }
    assert groups == wanted[2], text
    assert parse_formula(f"y ~ {side}").population == side, text  # what it prints is read as itself
    if not parsed.groups:
        left = printed(str(Model(f"y ~ {text}")), tuple(n for n in side.names if n != "Intercept"))
        assert left == ("Intercept" if side.intercept else "" if side.terms else "0"), text
    names, matrix = columns(side, FRAME, text)
    full = span_of(wanted[1], wanted[0])
    rank = rank_of(full)
    assert rank_of(matrix) == rank == rank_of(np.hstack([matrix, full])), text
    if not {"arm", "C(arm, 'b')"} <= {
        name for term in wanted[1] for name in term
    }:  # else one column stands under two names
        assert matrix.shape[1] == rank, (text, names)
    return True


def test_two_hundred_formulas():
    assert 60 <= sum(check(number) for number in range(200)) <= 190


@pytest.mark.slow
def test_two_thousand_formulas():
    assert 700 <= sum(check(number) for number in range(1000, 3000)) <= 1900


# formulas from the field
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("v - 0", ("Intercept", "v")),
        ("v + -1", ("v",)),
        ("(1 | g) - 1", ()),
        ("u*v - u:v", ("Intercept", "u", "v")),
        ("u*v - v:u", ("Intercept", "u", "v")),
        ("(u + v + w)^2 - u:w", ("Intercept", "u", "v", "w", "u:v", "v:w")),
        ("arm/u", ("Intercept", "arm", "arm:u")),
        ("(u + v)/w", ("Intercept", "u", "v", "u:v:w")),
        ("u:v + v:u", ("Intercept", "u:v")),
        ("I(v^2) + I( v**2 )", ("Intercept", "I(v ** 2)")),
        ("I(u - (v - w)) + I((u*v)/w)", ("Intercept", "I(u - (v - w))", "I(u * v / w)")),
        ("log(`body mass`):arm", ("Intercept", "log(body mass):arm")),
        ("C(arm, Treatment('b')) + C(arm, \"b\")", ("Intercept", "C(arm, 'b')")),
        ("(u + v)**1000000", ("Intercept", "u", "v", "u:v")),
        ("u + u", ("Intercept", "u")),
    ],
)
def test_terms(text, names):
    assert parse_terms(text).names == names


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("effect ~ 1 se + (1 | school)", r"character 12: expected an operator, found 'se' after '1'; write \+ : or \*"),
        ("y ~ log(u) x + z", r"character 12: expected an operator, found 'x' after '\)'"),
        ("y ~ my var + z", r"found 'var' after 'my'; write .* in backticks, as in `my var`"),
        ("y ~ v + (1 | my group)", r"character 17: .*found 'group' after 'my'; .*`my group`"),
        ("my y ~ v", r"outcome 'my y' is not a column name; .*backticks"),
        ("y ~ v + v**2", r"character 10: a power of 'v' alone is no new term; write I\(v\*\*2\)"),
        ("y ~ v*v", r"'v' times itself is no new term; write it once, or I\(v\*\*2\)"),
        ("y ~ a//b", r"character 7: expected a term, found '/'"),
        ("y ~ 2*v", r"character 5: a number 2; .*inside I\(\.\.\.\)"),
        ("y ~ 1:v", r"character 5: a number beside ':'"),
        ("y ~ (0 + u)*v", r"character 6: a number beside '\*'"),
        ("y ~ u - v", r"character 9: there is no term 'v' to take away; .*name with a dash in backticks"),
        ("y ~ u - (1 | g)", r"a group term is taken away"),
        ("y ~ (1 | g):u", r"a group term beside ':'"),
        ("y ~ (u | g1 + g2)", r"the grouping is not a name; write \(1 \| school\)"),
        ("y ~ (0 | g)", r"nothing varies by the group"),
        ("y ~ u**v", r"character 8: expected a whole number after \*\*, found 'v'"),
        ("y ~ u^-1", r"expected a whole number after \^, found '-'"),
        ("y ~ .", r"character 5: a dot; it stands for no columns here"),
        ("y ~ u %in% v", r"character 7: unexpected '%'"),
        ("y ~ log(u, 2)", r"character 10: unexpected ','"),
        ("y ~ I(u:v)", r"character 8: unexpected ':' in I"),
        ("y ~ C(arm, b)", r"character 12: expected the reference label of C"),
        ("y ~ C(log(u))", r"character 10: unexpected '\(' in C"),
        ("y ~ ns(u, 3)", r"character 5: function 'ns' is not allowed"),
        ("y ~ (" + " + ".join(f"x{i}" for i in range(400)) + ")**2", r"more than 1000 terms"),
        ("y ~ " + "*".join(f"x{i}" for i in range(5000)), r"more than 1000 terms"),
        ("y ~ " + "(" * 5000 + "u" + ")" * 5000, r"more than 40 brackets or signs"),
        ("y ~ I(" + "-" * 5000 + "u)", r"more than 40 brackets or signs"),
        ("y ~ I(" + "+".join(["u"] * 5000) + ")", r"more than 200 signs and names"),
    ],
)
def test_refused_at_the_token(formula, message, capsys):
    start = time.process_time()
    with pytest.raises(ValueError, match=message) as found:
        Model(formula)
    assert time.process_time() - start < 5 and len(str(found.value)) < 600
    assert "formulae" not in str(found.value) and capsys.readouterr().out == ""


def test_powers_end_in_numbers_and_never_hang():
    with pytest.raises(ValueError, match="is not finite at row 0"):
        bind(Model("y ~ I(u**9**9**9**9)"), FRAME)


def test_backticks_stand_in_every_place():
    frame = FRAME.rename(columns={"y": "the y", "v": "std err", "u": "2020"}).assign(**{"std err": 0.5})
    model = Model(
        "`the y` ~ `body mass`*`2020` + (1 + `body mass` || `my group`)",
        known_se="`std err`",
        priors={
            "`body mass`:`2020`": "normal(0, 1)",
            "sd_`my group`": "half_normal(1)",
            "sd_my group_body mass": "half_normal(2)",
        },
    )
    assert model.outcome == "the y" and model.known_se == "std err"
    problem = bind(model, frame, {"`my group`": "partial"})
    assert problem.layout.columns == ("Intercept", "body mass", "2020", "body mass:2020")
    priors = {p.name: str(p.prior) for p in problem.layout.parameters}
    assert priors["body mass:2020"] == "normal(0, 1)"
    assert priors["sd_my group"] == "half_normal(1)" and priors["sd_my group_body mass"] == "half_normal(2)"
    with pytest.raises(ValueError, match="both stand for the prior of 'x'"):
        Model("y ~ x", priors={"x": "flat()", "`x`": "flat()"})
    with pytest.raises(
        ValueError,
        match=r"no column 'mygroup' in the data; did you mean 'my group'\? In a formula it is written `my group`",
    ):
        bind(Model("y ~ (1 | mygroup)"), FRAME)


def test_names_of_columns_stay_as_they_were():
    wanted = {
        "arm*sex": ["Intercept", "arm[b]", "arm[c]", "sex[m]", "arm[b]:sex[m]", "arm[c]:sex[m]"],
        "0 + arm*u": ["arm[a]", "arm[b]", "arm[c]", "u", "arm[b]:u", "arm[c]:u"],
        "arm:sex": ["Intercept", "sex[m]", "arm[b]:sex[f]", "arm[b]:sex[m]", "arm[c]:sex[f]", "arm[c]:sex[m]"],
        "u:arm": ["Intercept", "u:arm[a]", "u:arm[b]", "u:arm[c]"],
        "u + u:arm": ["Intercept", "u", "u:arm[b]", "u:arm[c]"],
        "u*v*w": ["Intercept", "u", "v", "u:v", "w", "u:w", "v:w", "u:v:w"],
        "log(u+1) + exp(u * 2)": ["Intercept", "log(u + 1)", "exp(u * 2)"],
        "C(sex)*u": ["Intercept", "C(sex)[m]", "u", "C(sex)[m]:u"],
        "standardise( u )": ["Intercept", "standardise(u)"],
    }
    for text, names in wanted.items():
        assert columns(parse_terms(text), FRAME, text)[0] == names


def test_new_rows_are_coded_as_the_fitted_ones():
    terms = parse_terms("standardise(u) + C(arm, 'c') + log(v)")
    whole = columns(terms, FRAME, "")
    part = columns(terms, FRAME.iloc[[5, 2]], "", like=FRAME)
    assert part[0] == whole[0]
    np.testing.assert_allclose(part[1], whole[1][[5, 2]], rtol=1e-12)
    with pytest.raises(
        ValueError,
        match=r"new_data, column 'arm', row 1: expected one of the categories of the data \(a, b, c\), found 'd'",
    ):
        columns(terms, FRAME.head(2).assign(arm=["a", "d"]), "", like=FRAME, where="new_data, ")


def test_generated_formulas_are_many_kinds():
    """The generator makes what the tests are about: else they would pass on nothing."""
    texts = [generated(i) for i in range(200)]
    assert len(set(texts)) > 190 and zlib.crc32("\n".join(texts).encode())
    for sign in ("**", "/", ":", "*", "|", "`", " - ", "C(", "I("):
        assert sum(sign in t for t in texts) > 5, sign


@pytest.mark.parametrize(
    ("text", "variable"),
    [("`body mass`", "body mass"), ("mean(`theta_my group`)", "theta_my group"), ("P(`body mass` > 0)", "body mass"),
     ("I(x ** 2)", "I(x ** 2)"), ("P(log(x):arm[b] < -1)", "log(x):arm[b]"), ("C(x, '1')[0]", "C(x, '1')[0]")],
)  # fmt: skip
def test_estimands_name_terms_as_formulas_do(text, variable):
    read = read_estimand(text)
    assert read.variable == variable and read_estimand(read.text).variable == variable
