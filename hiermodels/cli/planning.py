"""Before a study is run: ``plan``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from hiermodels.cli._app import Device, app, check_device, prepare_jax

__all__ = ["plan"]


@app.command
def plan(
    config: str,
    /,
    *,
    mcse: list[str] | None = None,
    power: Annotated[float | None, Parameter(name="--power")] = None,
    estimand: str | None = None,
    vary: list[str] | None = None,
    replications: int | None = None,
    workers: int | None = None,
    device: Device = "auto",
) -> None:
    """Say what a study would take: replications, time and memory for a target MCSE; or the design for a target power.

    Nothing is written.

    Parameters
    ----------
    config
        A YAML file, or the name of a shipped config.
    mcse
        Target Monte Carlo standard error, MEASURE=NUMBER, e.g. cover=0.005; may be repeated.
    power
        Target power, e.g. 0.8; needs --estimand.
    estimand
        A decision of the config, a posterior probability, or an estimand whose interval is to exclude 0.
    vary
        Sizes of a level to try, LEVEL=N,N,...; e.g. school=10,20,40; may be repeated.
    replications
        Of the pilot (100), or of each design (1000).
    workers
        Threads; by default one a core that the process may use.
    """
    if (mcse is None) == (power is None):
        found = "neither" if mcse is None else "both"
        raise ValueError(f"plan: expected --mcse or --power, found {found}; write e.g. --mcse cover=0.005")
    if power is None and (vary or estimand):
        raise ValueError("plan: --vary and --estimand go with --power; leave them out or add --power 0.8")
    if power is not None and estimand is None:
        raise ValueError(
            "plan: expected --estimand beside --power, found none; name a decision or an estimand of the config"
        )
    sizes = _sizes(vary or [])
    prepare_jax(device)
    from hiermodels.studies.plan import planning, power_curves

    check_device(device)
    if mcse is not None:
        given = {} if replications is None else {"replications": replications}
        print(planning.plan(config, [part for text in mcse for part in text.split(",")], workers=workers, **given))
        return
    assert power is not None and estimand is not None
    print(
        power_curves.power_curve(config, estimand, target=power, vary=sizes, replications=replications, workers=workers)
    )


def _sizes(texts: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            found[name.strip()] = [int(n) for n in numbers.split(",")]
        except ValueError:
            raise ValueError(f"--vary {text!r}: expected LEVEL=N,N,..., e.g. --vary school=10,20,40") from None
    return found
