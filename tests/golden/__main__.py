"""Golden recordings: what a change was not meant to change.

    python -m tests.golden record FOLDER [PART...]         # at the earlier commit
    python -m tests.golden again FOLDER OTHER [PART...]    # at the later one: the same datasets and points, everything computed anew
    python -m tests.golden quick FOLDER OTHER              # the configs without the methods that draw chains, most of the time
    python -m tests.golden compare FOLDER OTHER [PART...]  # prints what differs; exit code 1 where anything does

PART is one or more of

- ``priors``: every prior of the menu: words, exponents, densities, draws, NumPyro's law, printed source (seconds);
- ``densities``: every model at twenty points: densities, gradients, laws, predictions, simulators, printed source
  (minutes);
- ``fits``: some forty fits: summaries, draws, texts, tables, predictions, saved files (minutes);
- ``configs``: the shipped configs, some replicates given their datasets, and twelve fits (an hour);

- ``messages``: errors that the quick tests provoke, test file by test file (half an hour; only where it is named);

all but the last by default. Parts of a recording are files of their own: what is there already is not made again, so a
stopped recording goes on where it was. The two recordings belong on the same machine.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # many small programs, where there is a cache

PARTS = ("priors", "densities", "fits", "configs", "messages")


def record(folder: Path, parts: list[str], earlier: Path | None = None, chains: bool = True) -> None:
    """Write the parts into a folder."""
    if "priors" in parts:
        from tests.golden import priors

        priors.record(folder / "priors")
    if "densities" in parts:
        from tests.golden import densities

        densities.record(folder / "densities", None if earlier is None else earlier / "densities")
    if "fits" in parts:
        from tests.golden import fits

        fits.record(folder / "fits")
    if "messages" in parts:
        from tests.golden import messages

        messages.record(folder / "messages")
    if "configs" in parts:
        from tests.golden import configs

        configs.record(folder, earlier, chains)


def compare(folder: Path, other: Path, parts: list[str]) -> int:
    """Print what differs; the number of differences."""
    from tests.golden import compare

    differ = 0
    for part in parts:
        if not all(_has(f, part) for f in (folder, other)):
            print(f"{part}: not recorded in both")
        elif part == "configs":
            from tests.golden import configs

            differ += configs.compare(folder, other)
        elif part in ("fits", "messages"):
            differ += import_module(f"tests.golden.{part}").compare(folder / part, other / part)
        else:
            differ += compare.files(folder / part, other / part, part)
    return differ


def _has(folder: Path, part: str) -> bool:
    return any(folder.glob("*.csv")) if part == "configs" else (folder / part).is_dir()


def main(words: list[str]) -> int:
    """The command line of the module's docstring."""
    parts = [word for word in words if word in PARTS] or [part for part in PARTS if part != "messages"]
    match [word for word in words if word not in PARTS]:
        case ["record", folder]:
            record(Path(folder), parts)
        case ["again", folder, other]:
            record(Path(other), parts, Path(folder))
        case ["quick", folder, other]:
            record(Path(other), ["configs"], Path(folder), chains=False)
        case ["compare", folder, other]:
            return int(compare(Path(folder), Path(other), parts) > 0)
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
