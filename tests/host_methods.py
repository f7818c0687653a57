"""Functions of a user that run in processes of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path


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


def stuck(seed, data):
    """Never ends where the first effect is negative, nor does what it began; its number and that one's are in a
    file.
    """
    if data["effect"].iloc[0] < 0:
        begun = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["STUCK"]).write_text(f"{os.getpid()} {begun.pid}")
        time.sleep(600)
    return {"Intercept": data["effect"].iloc[0]}


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


def leaves_a_thread(seed, data):
    """Leaves a thread that keeps its process alive."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return {"Intercept": 1.0}


def returns_twice(seed, data):
    """Makes a copy of its process; both return."""
    os.fork()
    return {"Intercept": 1.0}


def leaves_a_session(seed, data):
    """Begins a program in a session of its own, and a copy of its process that leaves its parent."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    return {"Intercept": 1.0}


def hangs(seed, data):
    """Never returns."""
    Path(os.environ["STUCK"]).write_text(str(os.getpid()))
    time.sleep(600)


class Unprintable(Exception):
    """Cannot even say what is wrong."""

    def __str__(self):
        raise RuntimeError("no words")


def speechless(seed, data):
    """Raises what cannot be printed."""
    raise Unprintable
