"""Markdown tables of what was measured, ratios first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PEERS = ("numpyro", "blackjax", "nutpie")
GOALS = {
    "NUTS against explicit peers": {"W1": "5", "W2": "30", "W3": "20", "W4": "20", "W6": "20"},
    "NUTS against peers with our marginal density": dict.fromkeys(("W1", "W2", "W3"), "1 (goal 2)")
    | {"W4": "", "W6": ""},
    "exact, study, against 400 effective draws": {
        "W1": "150 (goal 300)",
        "W2": "300 (goal 500)",
        "W3": "100 (goal 200)",
        "W4": "200 (goal 1,000)",
        "W6": "100",
    },
    "exact, fit, against 400 effective draws": {"W1": "150", "W2": "", "W3": "", "W4": "", "W6": ""},
}
ENOUGH = 400


def show(x: float | None, digits: int = 3) -> str:
    """A number with a few significant digits; empty where there is none."""
    if x is None or x != x:
        return ""
    if abs(x) >= 10 ** (digits - 1):
        return f"{x:,.0f}"
    return f"{x:.{digits}g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def best_peer(rows: Mapping[str, Mapping[str, Any]], kind: str, key: str) -> tuple[float, str] | None:
    """Largest value among the peers' rows of a kind (``explicit`` or ``marginal``), and whose it is."""
    found = [(rows[f"{p} {kind}"][key], p) for p in PEERS if f"{p} {kind}" in rows and rows[f"{p} {kind}"].get(key)]
    return max(found) if found else None


def ratios(
    measured: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, tuple[float, str]]]:
    """Ratios of the issue's table: name -> workload -> (ratio, best peer)."""
    found: dict[str, dict[str, tuple[float, str]]] = {name: {} for name in GOALS}
    for workload, rows in measured.items():
        explicit, marginal = best_peer(rows, "explicit", "ess_rate"), best_peer(rows, "marginal", "ess_rate")
        ours = rows.get("ours", {}).get("ess_rate")
        for name, peer in zip(GOALS, (explicit, marginal), strict=False):
            if ours and peer:
                found[name][workload] = (ours / peer[0], peer[1])
        for name in list(GOALS)[2:]:
            exact = rows.get(f"ours {name.partition(', against')[0]}", {}).get("rate")
            if exact and explicit:
                found[name][workload] = (exact / (explicit[0] / ENOUGH), explicit[1])
    return found


def ratio_table(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Ratios to the best peer of the same run, beside what is asked for."""
    rows = []
    for name, by_workload in ratios(measured).items():
        cells = [name]
        for workload in measured:
            ratio = by_workload.get(workload)
            asked = GOALS[name][workload]
            cells.append(
                "" if ratio is None else f"**{show(ratio[0])}x** {ratio[1]}" + (f" (asked {asked})" if asked else "")
            )
        rows.append(cells)
    return table(["ratio to the best peer of the run", *measured], rows)


def workload_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Everything measured on one workload."""
    head = [
        "contender",
        "datasets a call",
        "fits/s (range over rounds)",
        "min ESS",
        "min-ESS/s",
        "first result cold, s",
        "warm, s",
        "peak memory, GB",
        "divergences per 1,000 draws",
        "means off by, rms (max)",
    ]
    body = []
    for name, r in rows.items():
        if "error" in r:
            body.append([name, r["error"], *[""] * 8])
            continue
        unit = "sd" if name.startswith("ours exact") else "MCSE"
        off = "reference" if r.get("reference") else ""
        if "rms" in r:
            off = f"{show(r['rms'])} ({show(r['max'])}) {unit}"
        body.append(
            [
                name,
                str(r["chunk"]),
                f"{show(r['rate'])} ({show(r['low'])}-{show(r['high'])})",
                show(r.get("ess")),
                show(r.get("ess_rate")),
                show(r["cold"]),
                show(r["warm"]),
                show(r["memory"]),
                show(1000 * r["divergences"] / r["kept"]) if "kept" in r else f"{r.get('flagged', 0)} flagged",
                off,
            ]
        )
    return table(head, body)


def sweep_table(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Fits a second at each number of datasets a call."""
    rows = []
    for workload, contenders in measured.items():
        for name, r in contenders.items():
            if not r.get("rates"):
                continue
            best = max(r["rates"].values())
            cells = ", ".join(f"{chunk}: {show(rate)}" for chunk, rate in r["rates"].items())
            auto = (
                f"{r['chunk']}: {show(100 * r['rates'][str(r['chunk'])] / best)}% of the best" if r.get("auto") else ""
            )
            rows.append([workload, name, cells, auto])
    return table(["workload", "contender", "datasets a call: fits/s", "auto"], rows)
