"""One contender on one workload in a process of its own; orders come in and answers go out as JSON lines.

A process each, so that start-up, peak memory and compile caches are the contender's own. It runs only while
the parent waits for it: contenders never compete for cores.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import numpy as np

CONTENDERS = {
    "ours explicit": "benchmarks.ours:OursExplicit",
    "ours": "benchmarks.ours:OursNuts",
    "ours exact, study": "benchmarks.ours:OursStudy",
    "ours exact, fit": "benchmarks.ours:OursFit",
    "numpyro explicit": "benchmarks.peers.numpyro_peer:NumpyroExplicit",
    "numpyro marginal": "benchmarks.peers.numpyro_peer:NumpyroMarginal",
    "blackjax explicit": "benchmarks.peers.blackjax_peer:BlackjaxExplicit",
    "blackjax marginal": "benchmarks.peers.blackjax_peer:BlackjaxMarginal",
    "nutpie explicit": "benchmarks.peers.nutpie_peer:NutpieExplicit",
    "nutpie marginal": "benchmarks.peers.nutpie_peer:NutpieMarginal",
}


def build(name: str, workload: str, pool: int) -> Any:
    """A contender by its name."""
    from benchmarks.workloads import WORKLOADS

    module, cls = CONTENDERS[name].split(":")
    return getattr(importlib.import_module(module), cls)(WORKLOADS[workload], pool)


def answer(contender: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order."""
    if order["do"] == "sweep":
        rates = contender.sweep(order["seconds"], order.get("chunks"))
        return {"rates": {str(k): v for k, v in rates.items()}, "best": contender.chunk}
    if order["do"] == "use":
        contender.chunk = order["chunk"]
        contender.timed(1, 3, keep=False, whole=False)
        return {"chunk": contender.chunk}
    if order["do"] == "round":
        fits, seconds = contender.timed(order["fits"], order["seed"], keep=order["keep"])
        return {"fits": fits, "seconds": seconds, "memory": contender.memory()}
    from benchmarks.quality import quality

    found = quality(contender.results())
    arrays = {k: v for k, v in found.items() if isinstance(v, np.ndarray)}
    np.savez(order["path"], **arrays)
    return {k: v for k, v in found.items() if k not in arrays}


def main() -> None:
    """``python -m benchmarks.worker CONTENDER WORKLOAD POOL``: say when the first result is there, obey."""
    name, workload, pool = sys.argv[1:4]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer

    def say(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")

    contender = build(name, workload, int(pool))
    contender.first()
    say({"event": "first", "chunk": contender.chunk})
    if hasattr(contender, "ready"):
        contender.ready()
    say({"event": "ready"})
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "stop":
            break
        try:
            say({"event": "done"} | answer(contender, order))
        except Exception as error:
            say({"event": "error", "what": f"{type(error).__name__}: {error}"[:500]})
    contender.close()


if __name__ == "__main__":
    main()
