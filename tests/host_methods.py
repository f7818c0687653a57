"""Functions of a user that run in processes of their own."""

from __future__ import annotations

import os
import random


def averages(seed, data):
    """Complete and no pooling by hand, with a little noise that depends on the seed."""
    weight = 1 / data["se"] ** 2
    mean = (weight * data["effect"]).sum() / weight.sum()
    se = weight.sum() ** -0.5
    noise = random.Random(seed).random()
    return {
        "Intercept": (mean, se, mean - 1.96 * se, mean + 1.96 * se),
        "noise": noise,
        "theta_school": dict(zip(data["school"], data["effect"], strict=True)),
    }


def moody(seed, data):
    """Breaks in one way or another, by the sign of the first effects."""
    first, second = data["effect"].iloc[0], data["effect"].iloc[1]
    if first < 0 and second < 0:
        os._exit(3)
    if first < 0:
        raise RuntimeError("the first school\nis negative")
    if second < 0:
        return {"Intercept": float("nan")}
    return {"Intercept": first}


def misspelt(seed, data):
    """Names no estimand."""
    return {"Intercep": 1.0}


def number(seed, data):
    """Gives no mapping."""
    return 3.0


def by_rows(seed, data):
    """What it sees of its dataset."""
    return {"Intercept": float(len(data)), "mean(theta_school)": float(data["se"].sum())}


def outer():
    """Makes a function that no other process can import."""

    def inner(seed, data):
        return {}

    return inner
