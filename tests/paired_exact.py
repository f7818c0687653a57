"""Decisions of studies at the exact engine's two accuracies, replicate by replicate: what a study's own error changes.

    python -m tests.paired_exact [CONFIG ...] [--replications 200] [--cells 2]

Every shipped config that uses ``exact``, its first cells, each exact method whose posterior is not in closed form: the
same datasets are summarised by ``accuracy: study`` (with its second tries, as in a run) and by ``accuracy: fit``, which
meets quadrature of its own in ``test_exact_summaries.py``. Printed are the intervals that cover in one of the two only,
the decisions that differ, and the paired difference of coverage in percentage points with its Monte Carlo standard
error, replicates being independent.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

CONFIGS = Path(__file__).parent.parent / "configs"


class Paired(NamedTuple):
    """What one method of one cell comes to."""

    config: str
    cell: int
    method: str
    intervals: int
    covers_differ: int
    decisions: int
    decisions_differ: int
    difference: float
    mcse: float
    flagged: int

    @property
    def holds(self) -> bool:
        """Coverage is the same, or within a tenth of a point and known to three hundredths."""
        return self.covers_differ == 0 or (abs(self.difference) <= 0.1 and self.mcse <= 0.03)


def compared(config: Path, replications: int, cells: int) -> Iterator[Paired]:
    """The comparison for each exact method with hyperparameters, cell by cell."""
    from ruamel.yaml import YAML

    from hiermodels.inference.samplers import dimension
    from hiermodels.studies.config import read_config
    from hiermodels.studies.methods.ready import fit_of
    from hiermodels.studies.methods.tasks import run_chunk

    whole = YAML(typ="safe").load(config.read_text())
    exact = {name: how for name, how in whole["methods"].items() if how.get("sampler") == "exact"}
    if not exact:
        return
    one = copy.deepcopy(whole) | {"replications": replications, "chunk": replications}
    one["methods"] = exact | {f"{name}_fit": how | {"accuracy": "fit"} for name, how in exact.items()}
    one["performance"] = [m for m in whole.get("performance", []) if isinstance(m, str) and not m.endswith("ratio")]
    study = read_config(one)
    for place, cell in enumerate(study.cells()[:cells]):
        for name in exact:
            fit = fit_of(study, cell, name)
            if not fit.targets or dimension(fit.problem.layout, fit.settings) == 0:
                continue
            tables = [run_chunk(study, cell.hash, method, 0).to_pandas() for method in (name, f"{name}_fit")]
            yield _paired(config.stem, place, name, whole.get("decisions", {}), *tables)


def _paired(
    config: str, cell: int, method: str, decisions: dict[str, Any], ours: pd.DataFrame, finer: pd.DataFrame
) -> Paired:
    def covers(table: pd.DataFrame) -> np.ndarray:
        return ((table.lower <= table.true) & (table.true <= table.upper)).to_numpy()

    asked = (ours.true.notna() & ours.lower.notna() & finer.lower.notna()).to_numpy()
    apart = np.where(asked, covers(ours).astype(float) - covers(finer), 0.0)
    each = pd.Series(apart[asked]).groupby(ours["rep"].to_numpy()[asked]).mean()
    count = differ = 0
    for name, rule in decisions.items():
        estimand = rule["estimand"] if isinstance(rule, dict) else name
        rows = (ours.estimand.astype(str) == estimand).to_numpy()
        if isinstance(rule, dict):
            made = [
                ((t.lower > rule["excludes"]) | (t.upper < rule["excludes"])).to_numpy()[rows] for t in (ours, finer)
            ]
        else:
            made = [(t.estimate > rule).to_numpy()[rows] for t in (ours, finer)]
        count, differ = count + rows.sum(), differ + (made[0] != made[1]).sum()
    mcse = each.std() / np.sqrt(len(each)) if len(each) > 1 else np.nan
    flagged = int((ours.status.astype(str) != "ok").sum())
    numbers = (
        int(asked.sum()),
        int((apart != 0).sum()),
        int(count),
        int(differ),
        float(100 * each.mean()),
        float(100 * mcse),
        flagged,
    )
    return Paired(config, cell, method, *numbers)


def main(words: list[str]) -> int:
    """The command line of the module's docstring; 1 where a comparison does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.paired_exact", description=__doc__)
    parser.add_argument("configs", nargs="*", default=[path.stem for path in sorted(CONFIGS.glob("*.yaml"))])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--cells", type=int, default=2)
    asked = parser.parse_args(words)
    failed = False
    print(
        "config cell method | intervals, cover in one only | decisions, differ | difference in points (MCSE) | not ok"
    )
    for name in asked.configs:
        for found in compared(CONFIGS / f"{name}.yaml", asked.replications, asked.cells):
            failed |= not found.holds
            print(
                f"{found.config} {found.cell} {found.method} | {found.intervals}, {found.covers_differ} | "
                f"{found.decisions}, "
                f"{found.decisions_differ} | {found.difference:+.3f} ({found.mcse:.3f}) | "
                f"{found.flagged}{'' if found.holds else ' !'}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
