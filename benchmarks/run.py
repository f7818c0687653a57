"""The one command: ``python -m benchmarks.run [compare | growth | laboratory | crossover]``; see README.md."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("what", nargs="?", default="compare", choices=("compare", "growth", "laboratory", "crossover"))
    parser.add_argument(
        "--quick", action="store_true", help="few datasets, one round, no second start, no sweep, no record"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="gpu: the crossover of GPU and CPU")
    parser.add_argument("--workloads", default="W1,W2,W3,W4,W6")
    parser.add_argument("--contenders", default="", help="names, or parts of names, joined by +, e.g. 'ours+nutpie'")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-sweep", action="store_true", help="each contender's default datasets a call")
    parser.add_argument("--no-warm", action="store_true", help="no second start with a warm compile cache")
    parser.add_argument("--seconds", type=float, default=8.0, help="aim for each contender and round")
    parser.add_argument("--pool", type=int, default=40, help="datasets that every chain-running contender fits")
    parser.add_argument("--exact-pool", type=int, default=2000, help="datasets that the exact engine fits")
    parser.add_argument(
        "--limit",
        type=float,
        default=540.0,
        help="crossover, growth: stop starting new points after so many seconds",
    )
    parser.add_argument("--largest", type=int, default=0, help="growth: most observations; crossover: most datasets")
    parser.add_argument("--out", type=Path, default=None, help="folder for results.md and results.json")
    parser.add_argument("--no-record", action="store_true", help="do not append to benchmarks/RESULTS.md")
    return parser.parse_args()


def compare(options: argparse.Namespace) -> tuple[str, object]:
    """Ours against the peers."""
    from benchmarks import machine
    from benchmarks.compare import Comparison, section
    from benchmarks.worker import CONTENDERS

    parts = [p.strip() for p in options.contenders.split("+") if p.strip()]
    names = [n for n in CONTENDERS if not parts or n in parts or any(p in n for p in parts if p not in CONTENDERS)]
    pool, exact_pool, rounds, seconds = options.pool, options.exact_pool, options.rounds, options.seconds
    if options.quick:
        pool, exact_pool, rounds, seconds = 8, 64, 1, 1.0
    head = machine.describe()
    chains = "4 chains x (500 + 500), float64"
    head.append(f"- {pool} datasets ({exact_pool} for the exact engine), {rounds} rounds, {chains}")
    measured: dict[str, dict] = {}
    title = f"{date.today().isoformat()}{': quick, not a measurement' if options.quick else ''}"
    text = ""
    for workload in options.workloads.split(","):
        sweep, warm = not (options.quick or options.no_sweep), not (options.quick or options.no_warm)
        measured[workload] = Comparison(workload, names, pool, exact_pool, rounds, seconds, sweep, warm).run()
        text = section(measured, head, title)
        write(options, text, measured)
    return text, measured


def write(options: argparse.Namespace, text: str, data: object) -> None:
    """Results so far, as markdown and JSON."""
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.md").write_text(text)
    (options.out / "results.json").write_text(json.dumps(data, indent=1, default=float))


def main() -> None:
    """Run, print, record."""
    options = arguments()
    if options.out is None:
        options.out = HERE.parent / "runs" / f"benchmark-{options.what}-{datetime.now():%Y%m%d-%H%M%S}"
    if options.device == "gpu" or options.what == "crossover":
        from benchmarks.crossover import crossover as job
    elif options.what == "growth":
        from benchmarks.growth import growth as job
    elif options.what == "laboratory":
        from benchmarks.laboratory import laboratory as job
    else:
        job = compare
    text, data = job(options)
    write(options, text, data)
    print(text)
    if not (options.quick or options.no_record or options.device == "gpu"):
        with (HERE / "RESULTS.md").open("a") as file:
            file.write("\n" + text)
    print(f"results in {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
