"""Seeded damage to configs and tables: the same number gives the same file on every machine."""

from __future__ import annotations

import copy
import json
import random
import string
from typing import Any

WORDS = [
    "", " ", "x", "nan", "NA", "inf", "no", "true", "normal", "flat()", "half_normal(5)", "half_normal(-5)", "normal(0, 1)", "normal(1)",
    "uniform(2, 1)", "beta(0, 0)", "reference()", "fixed(0)", "integers(5, 2)", "integers(1, 3)", "half(school)", "P(Intercept > 0)",
    "P(sd_school > nan)", "mean(theta_school)", "new(school)", "theta_school", "sd_school", "exact", "nuts", "partial", "complete", "none",
    "eight_schools", "./absent.csv", "effect ~ 1 + (1 | school)", "y ~ x", "~", "effect ~ 1 + log(se) + (1 | school)", "a" * 300, "\u0000", "\u202e", "é", "1e-3",
    "0x10", "__import__('os')", "!!python/none", "&a *a", "[", "{", "- -", "'", "%",
]  # fmt: skip
NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    -1,
    0.5,
    -0.0,
    1e-300,
    1e308,
    -1e308,
    10**20,
    2**32,
    2**63,
    float("inf"),
    float("nan"),
    0.95,
    1.5,
]
"""Ordinary, odd and impossible numbers."""


def any_value(rng: random.Random, depth: int = 0) -> Any:
    """A value of any kind."""
    kind = rng.randrange(8 if depth < 2 else 5)
    if kind < 2:
        return rng.choice(WORDS)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind == 4:
        return rng.choice([None, True, False])
    if kind == 5:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(WORDS) or "k": any_value(rng, depth + 1) for _ in range(rng.randrange(3))}


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a config."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(p for key, part in inner for p in places(part, (*way, key)))]


def _holder(data: Any, way: tuple[Any, ...]) -> Any:
    for key in way[:-1]:
        data = data[key]
    return data


def changed(data: dict[str, Any], rng: random.Random) -> Any:
    """One to three places of a config replaced, removed, misspelt, doubled, swapped or scaled."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        ways = [way for way in places(data) if way]
        if not ways:
            return any_value(rng)
        way = rng.choice(ways)
        holder, key = _holder(data, way), way[-1]
        value, what = holder[key], rng.randrange(9)
        if what <= 2:
            holder[key] = any_value(rng)
        elif what == 3:
            del holder[key]
        elif what == 4 and isinstance(holder, dict):
            holder[_misspelt(str(key), rng)] = holder.pop(key)
        elif what == 5 and isinstance(value, str):
            holder[key] = _misspelt(value, rng)
        elif what == 6 and isinstance(value, int | float) and not isinstance(value, bool):
            holder[key] = value * rng.choice([-1, 0, 0.1, 2, 1000])
        elif what == 7:
            other = rng.choice(ways)
            if other[: len(way)] != way and way[: len(other)] != other:
                there = _holder(data, other)
                holder[key], there[other[-1]] = there[other[-1]], value
        elif isinstance(value, list):
            value.append(any_value(rng) if rng.random() < 0.5 or not value else copy.deepcopy(rng.choice(value)))
        elif isinstance(value, dict):
            value[rng.choice(WORDS) or "k"] = any_value(rng)
    return data


def _misspelt(text: str, rng: random.Random) -> str:
    if not text:
        return "x"
    at = rng.randrange(len(text))
    letter = rng.choice(string.ascii_letters + string.digits + " _.,:;()[]{}|~+-*/'\"#&!%@\n\té")
    return rng.choice(
        [
            text[:at] + text[at + 1 :],
            text[:at] + letter + text[at:],
            text[:at] + letter + text[at + 1 :],
            text[at:] + text[:at],
            text + text,
        ]
    )


def mutated_config(source: bytes, data: dict[str, Any], number: int) -> bytes:
    """The bytes of a config with something wrong, or only other, in it."""
    rng = random.Random(f"config {number}")
    if rng.random() < 0.3:
        return mutated_bytes(source, rng)
    return json.dumps(changed(data, rng), ensure_ascii=False).encode("utf-8", "surrogatepass")  # JSON is YAML


def mutated_bytes(source: bytes, rng: random.Random) -> bytes:
    """Bytes, lines or stretches lost, doubled, moved or overwritten."""
    data = bytearray(source)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at, reach = rng.randrange(len(data) + 1), rng.randrange(1, 20)
        what = rng.randrange(7)
        if what == 0:
            del data[at : at + reach]
        elif what == 1:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 1, 3])))
        elif what == 2:
            data[at:at] = rng.choice(WORDS).encode()
        elif what == 3:
            data[at:at] = data[at : at + reach]
        elif what == 4:
            lines = bytes(data).split(b"\n")
            rng.shuffle(lines) if rng.random() < 0.2 else lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            data = bytearray(b"\n".join(lines))
        elif what == 5:
            del data[at:]
        elif data:
            data[at % len(data)] = rng.randrange(256)
    return bytes(data)


CELLS = [
    "",
    "NA",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1",
    "0",
    "0.5",
    "1e-300",
    "1e300",
    "9" * 40,
    "word",
    "'",
    '"',
    '"a,b"',
    "1,2",
    "\u00e9",
    "TRUE",
    "2020-01-01",
    "=1+1",
    " 3 ",
]
"""What stands in a field of a table."""


def mutated_table(source: bytes, number: int) -> bytes:
    """A CSV file with fields, columns or bytes that are wrong, or only other."""
    rng = random.Random(f"table {number}")
    if rng.random() < 0.35:
        return mutated_bytes(source, rng)
    comments = [x for x in source.decode().splitlines() if x.startswith("#")]
    rows = [x.split(",") for x in source.decode().splitlines() if not x.startswith("#")]
    for _ in range(rng.choice([1, 1, 2, 5])):
        what, column = rng.randrange(9), rng.randrange(len(rows[0]))
        if what <= 2:
            row = rng.choice(rows[1:] or rows)
            row[column % max(len(row), 1)] = rng.choice(CELLS)
        elif what == 3:
            value = rng.choice(CELLS)
            rows = [rows[0], *([*r[:column], value, *r[column + 1 :]] for r in rows[1:])]
        elif what == 4:
            rows = [[*r[:column], *r[column + 1 :]] for r in rows] if len(rows[0]) > 1 else rows
        elif what == 5:
            rows[0][column % max(len(rows[0]), 1)] = rng.choice([*rows[0], "", " x", "rep", "true", rng.choice(WORDS)])
        elif what == 6:
            rows = [rows[0], *rng.choices(rows[1:] or rows, k=rng.choice([0, 1, 2, 50]))]
        elif what == 7:
            rows.insert(
                rng.randrange(len(rows) + 1), [rng.choice(CELLS)] * rng.choice([1, len(rows[0]), len(rows[0]) + 2])
            )
        else:
            rows = [[*r, rng.choice(CELLS)] for r in rows]
    text = (
        "\n".join(
            [
                *comments,
                *(rng.choice([",", ",", ",", ";"]).join(r) if rng.random() < 0.01 else ",".join(r) for r in rows),
            ]
        )
        + "\n"
    )
    encoding = rng.choice(["utf-8"] * 8 + ["utf-16", "latin-1", "utf-8-sig"])
    return text.encode(encoding, "replace")


TERMS = [
    "1", "0", "-1", "x", "z", "arm", "x:z", "x*z", "arm*x", "x:arm", "log(w)", "exp(z)", "standardise(x)", "C(n)", "C(arm, 'b')", "`my x`", "I(x**2)",
    "x**2", "x^2", "poly(x, 2)", "x/arm", "x//z", "2*x", "x - z", "(x + z)", "(x + z)**2", "(1 | g)", "(1 + x | g)", "(1 + x || g)", "(0 + x | g)",
    "(1 | g/h)", "(1 | g:h)", "(1 | h) + (1 | k)", "(x | g)", "(1 | `a b`)", "(1 | x)", "(1 g)", "(| g)", "(1 |)", "((1 | g))", "g", "y", "~", "",
    ".", "%", "x z", "max(x)", "__import__('os').system('true')", "x if z else w", "lambda: x", "é", "x" * 500, "(" * 200, "1" * 400, "1e999*x", "'b'", "\u202e", "\n",
]  # fmt: skip
"""Terms of formulas: right, wrong, and neither."""


def mutated_formula(number: int) -> str:
    """A formula put together from terms, half of them misspelt somewhere."""
    rng = random.Random(f"formula {number}")
    plain = rng.random() < 0.5  # nothing but terms that are right
    left = ["y", "`y y`"] if plain else ["y", "y", "y", "y", "`y y`", "n", "y + x", "log(y)", "", "1"]
    text = rng.choice(left) + (" ~ " if plain else rng.choice([" ~ ", "~", " ~ ", " ~ ", " = ", " ~ ~ "]))
    pieces = [
        rng.choice([*TERMS[:16], *TERMS[26:32]] if plain or rng.random() < 0.7 else TERMS)
        for _ in range(rng.choice([1, 2, 2, 3, 4]))
    ]
    text += pieces[0] + "".join(
        (" + " if plain else rng.choice([" + "] * 7 + [" - ", " ", "*", ":", "/"])) + piece for piece in pieces[1:]
    )
    return _misspelt(text, rng) if rng.random() < 0.3 else text


def mutated_frame(number: int) -> Any:
    """A table of every kind of column that people have."""
    import datetime
    import decimal

    import numpy as np
    import pandas as pd

    rng = random.Random(f"frame {number}")
    count = rng.choice([1, 2, 6, 12, 24, 24, 24])
    labels = [rng.choice("abcd") for _ in range(count)]
    numbers = [rng.choice([round(rng.gauss(0, 1), 3)] * 30 + [rng.choice([1e30, -1e-300, 1e9])]) for _ in range(count)]
    odd = [
        float("nan"),
        float("inf"),
        None,
        pd.NA,
        "3",
        " 4 ",
        "x",
        10**400,
        1j,
        [1],
        {"a": 1},
        datetime.date(2020, 1, 1),
        decimal.Decimal("1.5"),
        True,
        b"1",
        "",
    ]

    def column() -> Any:
        kind = rng.randrange(16)
        if kind < 5:
            return numbers
        if kind < 8:
            return labels
        base = rng.choice([numbers, labels])
        some = list(base)
        for _ in range(rng.choice([1, 1, 2])):
            some[rng.randrange(count)] = rng.choice(odd)
        return {
            8: lambda: pd.Series(some, dtype=object),
            9: lambda: pd.Categorical(labels, categories=list("dcbaz"), ordered=rng.random() < 0.5),
            10: lambda: pd.array(
                [None if rng.random() < 0.1 else rng.randrange(9) for _ in range(count)], dtype="Int64"
            ),
            11: lambda: pd.date_range("2020-01-01", periods=count),
            12: lambda: [rng.random() < 0.5 for _ in range(count)],
            13: lambda: [rng.choice(odd)] * count,
            14: lambda: np.array(numbers, dtype="float32"),
            15: lambda: pd.to_timedelta(range(count), unit="D"),
        }[kind]()

    names = ["y", "x", "z", "w", "n", "arm", "g"]
    frame = pd.DataFrame({name: [round(rng.gauss(0, 1), 3) for _ in range(count)] for name in ("y", "x", "z")})
    frame["w"], frame["n"] = [rng.uniform(0.5, 2) for _ in range(count)], [rng.randrange(5, 9) for _ in range(count)]
    frame["arm"], frame["g"] = [rng.choice("ab") for _ in range(count)], labels
    if number % 2:
        frame["y"] = [rng.randrange(5) for _ in range(count)]
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        frame[rng.choice(names)] = column()
    if rng.random() < 0.1:
        return pd.concat([frame, frame[[rng.choice(names)]]], axis=1)
    if rng.random() < 0.1:
        frame = frame.rename(
            columns={rng.choice(names): rng.choice(["sigma", "Intercept", "obs", "", 3, ("a", "b"), None])}
        )
    index = rng.choice(["y", "g"])
    return frame.set_index(index) if index in frame and rng.random() < 0.05 else frame


FIT = ["fit", "effect ~ 1 + (1 | school)", "--data", "eight_schools", "--known-se", "se"]
FIT += ["--sampler", "exact", "--draws", "10", "--quiet"]
COMMANDS = [
    FIT,
    ["run", "quick", "--replications", "4", "--workers", "1", "--quiet"],
    ["check", "quick"],
    ["list", "models"],
    ["new", "mine.yaml", "--formula", "y ~ 1 + (1 | g)", "--data", "scores"],
    ["plan", "quick", "--mcse", "cover=0.005"],
    ["plan", "cluster_power", "--power", "0.8", "--estimand", "treated", "--vary", "school=10,20"],
    ["report", "runs/none"],
    ["merge", "out", "runs/a", "runs/b"],
    ["compare", "runs/a", "runs/b"],
    ["replicate", "runs/a", "--cell", "sd_school=10", "--rep", "3"],
    ["datasets", "runs/a", "--out", "d.csv"],
    ["import", "runs/a", "d.csv", "--method", "mine"],
    ["doctor", "--help"],
    ["verify", "--section", "1"],
]
"""Command lines that are right, or nearly so."""


def mutated_command(number: int) -> list[str]:
    """A command line with words lost, doubled, misspelt, moved or exchanged."""
    rng = random.Random(f"command {number}")
    words = list(COMMANDS[number % len(COMMANDS)])
    for _ in range(rng.choice([1, 1, 2, 3])):
        at, what = rng.randrange(len(words)) if words else 0, rng.randrange(7)
        if not words or what == 0:
            words.insert(
                at,
                rng.choice(
                    [
                        *WORDS,
                        *map(str, NUMBERS),
                        "--",
                        "-",
                        "--help",
                        "--out",
                        "--data",
                        "--rep",
                        "9" * 400,
                        "../..",
                        ".",
                    ]
                ).replace("\x00", ""),
            )
        elif what == 1:
            del words[at]
        elif what == 2:
            words.insert(at, words[at])
        elif what == 3:
            words[at] = _misspelt(words[at], rng)
        elif what == 4:
            words[at] = rng.choice([*WORDS, *map(str, NUMBERS)]).replace("\x00", "")
        elif what == 5:
            words[at] = rng.choice([rng.choice(rng.choice(COMMANDS)), words[at].upper()])
        else:
            other = rng.randrange(len(words))
            words[at], words[other] = words[other], words[at]
    return words
