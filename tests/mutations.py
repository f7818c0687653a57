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
NUMBERS = [0, 1, 2, 3, 7, -1, 0.5, -0.0, 1e-300, 1e308, -1e308, 10**20, 2**32, 2**63, float("inf"), float("nan"), 0.95, 1.5]
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
    return rng.choice([text[:at] + text[at + 1 :], text[:at] + letter + text[at:], text[:at] + letter + text[at + 1 :], text[at:] + text[:at], text + text])


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


CELLS = ["", "NA", "nan", "inf", "-inf", "1e400", "-1", "0", "0.5", "1e-300", "1e300", "9" * 40, "word", "'", '"', '"a,b"', "1,2", "\u00e9", "TRUE", "2020-01-01", "=1+1", " 3 "]
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
            rows.insert(rng.randrange(len(rows) + 1), [rng.choice(CELLS)] * rng.choice([1, len(rows[0]), len(rows[0]) + 2]))
        else:
            rows = [[*r, rng.choice(CELLS)] for r in rows]
    text = "\n".join([*comments, *(rng.choice([",", ",", ",", ";"]) .join(r) if rng.random() < 0.01 else ",".join(r) for r in rows)]) + "\n"
    encoding = rng.choice(["utf-8"] * 8 + ["utf-16", "latin-1", "utf-8-sig"])
    return text.encode(encoding, "replace")
