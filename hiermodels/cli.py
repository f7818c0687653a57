"""The command line: ``hiermodels run CONFIG`` and its sisters.

Exit codes: 0 done, 1 a defect of the library, 2 bad input (one line says what to mend), 130 interrupted and resumable.
Nothing heavy is imported before it is known what is asked for, and the compilation cache is set before jax is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter

__all__ = ["app", "main"]

app = App(
    name="hiermodels",
    help="Fit hierarchical models, and find out how the fit behaves over thousands of simulated datasets.",
    version_flags=["--version"],
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
Device = Annotated[Literal["auto", "cpu", "gpu"], Parameter(help="where to compute; auto takes what JAX finds")]


def _prepare_jax(device: str = "auto") -> None:
    """Set the compilation cache and the platform; both must be known before jax is imported."""
    if "jax" in sys.modules:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "hiermodels" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda"}[device]


def _check_device(device: str) -> None:
    import jax

    try:
        found = jax.devices()[0].platform
    except RuntimeError as error:
        found = str(error).splitlines()[0]
    if found != device if device != "auto" else " " in found:
        hint = "use --device auto (hiermodels doctor shows what is there)"
        raise ValueError(f"--device {device}: expected such a device here, found {found}; {hint}")


@app.command
def run(
    config: str,
    /,
    *,
    out: Path | None = None,
    replications: int | None = None,
    workers: int | None = None,
    extend: bool = False,
    quiet: bool = False,
    device: Device = "auto",
) -> None:
    """Run a simulation study, or go on with one that was stopped.

    Parameters
    ----------
    config
        A YAML file, or the name of a shipped config such as eight_schools.
    out
        Run folder; by default runs/<name of the config>.
    replications
        Datasets a cell, instead of the config's.
    workers
        Threads; by default one a core that the process may use.
    extend
        Allow more replications, cells or methods than the folder's study has.
    quiet
        Print nothing but errors.
    """
    _prepare_jax(device)
    from hiermodels.studies.runner import run as run_study

    _check_device(device)
    done = run_study(config, out, replications=replications, workers=workers, extend=extend, progress=not quiet)
    if not quiet:
        _print_run(done)


def _print_run(done: Any) -> None:
    from hiermodels.reporting.report import terminal_table

    shown = terminal_table(done.performance, regime=done.manifest["regime"], notes=done.notes, failures=done.failures)
    _rich(shown)
    print(f"\ntables and figures: {done.path}\nreport: {done.path / 'report.html'}")


def _rich(shown: Any) -> None:
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=160, highlight=False)
    console.print(shown)


@app.command
def report(run: Path, /) -> None:
    """Write the report of a run folder again and print its table.

    Parameters
    ----------
    run
        A run folder, such as runs/eight_schools.
    """
    from hiermodels.studies.results import load_run

    found = load_run(run)
    found.report()
    _print_run(found)


@app.command
def check(config: str, /) -> None:
    """Validate a config and dry-run the shapes of every cell and method, without computing anything.

    Parameters
    ----------
    config
        A YAML file, or the name of a shipped config.
    """
    _prepare_jax()
    from hiermodels.studies.config import read_config
    from hiermodels.studies.runner import dry_run

    for line in dry_run(read_config(config)):
        print(line)


@app.command
def new(file: Path, /, *, formula: str | None = None, data: str | None = None) -> None:
    """Write a commented, valid config to start from.

    Parameters
    ----------
    file
        Where to write it; an existing file is kept.
    formula
        Model of the study, e.g. "score ~ 1 + (1 | school)".
    data
        Dataset or file whose groups the study takes.
    """
    from hiermodels.studies.config import template

    text = template(formula, data)
    if file.exists():
        raise ValueError(f"{file}: exists already; choose another name or remove it")
    try:
        file.write_text(text)
    except OSError as error:
        raise ValueError(f"{file}: cannot be written ({error.strerror}); choose a folder that exists and is writable") from None
    print(f"wrote {file}; run it with: hiermodels run {file}")


Kind = Literal["models", "priors", "families", "samplers", "measures", "datasets", "configs"]


@app.command(name="list")
def list_(kind: Kind = "models", /) -> None:
    """Print what there is: models, priors, families, samplers, measures, datasets or configs.

    Parameters
    ----------
    kind
        Which menu.
    """
    _prepare_jax()
    if kind == "models":
        _list_models()
        return
    for name, line in _menu(kind):
        print(f"{name:24s} {line}".rstrip())


def _menu(kind: str) -> list[tuple[str, str]]:
    if kind in ("datasets", "configs"):
        from hiermodels import datasets
        from hiermodels.studies.config import config_names, config_path
        from hiermodels.studies.config.source import read_yaml

        if kind == "datasets":
            return [(n, ", ".join(datasets.load_dataset(n).columns)) for n in datasets.dataset_names()]
        return [(n, read_yaml(config_path(n).read_bytes())[0]["aim"]) for n in config_names()]
    if kind == "samplers":
        import importlib

        from hiermodels.inference import __all__ as names

        modules = [(n, importlib.import_module(f"hiermodels.inference.{n}")) for n in names]
        return [(n, (m.__doc__ or "").strip().splitlines()[0]) for n, m in modules]
    if kind == "measures":
        from hiermodels.studies import measures as module
    elif kind == "priors":
        from hiermodels.models import priors as module  # type: ignore[no-redef]
    else:
        from hiermodels.models import families as module  # type: ignore[no-redef]
    found = []
    for name in module.__all__:
        entry = getattr(module, name)
        doc = (getattr(entry, "__doc__", None) or "").strip().splitlines()
        if kind == "families":
            doc = [f"link {entry.link}, groups {entry.conjugate}"]
        found.append((name, doc[0] if doc else ""))
    return found


def _list_models() -> None:
    from rich.table import Table

    from hiermodels.models.catalogue import table

    rows = table()
    shown = Table(box=None, title="levels x family x variance x pooling", title_justify="left")
    for name in rows[0]:
        shown.add_column(name)
    for row in rows:
        shown.add_row(*[str(v) for v in row.values()])
    _rich(shown)


@app.command
def doctor() -> None:
    """Print devices, versions, cores granted and the state of the compilation cache."""
    _prepare_jax()
    from hiermodels.doctor import findings

    for name, line in findings():
        print(f"{name:18s} {line}")


@app.command
def fit(
    formula: str,
    /,
    *,
    data: str,
    family: str = "normal",
    known_se: str | None = None,
    trials: str | None = None,
    exposure: str | None = None,
    weights: str | None = None,
    pooling: str = "partial",
    prior: list[str] | None = None,
    sampler: str = "nuts",
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    target_accept: float = 0.8,
    seed: int = 0,
    out: Path | None = None,
    quiet: bool = False,
    device: Device = "auto",
) -> None:
    """Fit a model to a dataset and print the posterior summary.

    Parameters
    ----------
    formula
        As in lme4: "effect ~ 1 + (1 | school)".
    data
        Name of a shipped dataset; a value with a dot or a slash is a file.
    family
        normal, binomial or poisson.
    known_se
        Column of known standard errors.
    trials
        Column of binomial trials.
    exposure
        Column of Poisson exposures.
    weights
        Column of weights.
    pooling
        complete, none or partial.
    prior
        A prior, NAME=TEXT, e.g. sd_school=half_normal(5); may be repeated.
    sampler
        nuts or exact.
    draws
        Kept draws a chain.
    tune
        Warm-up draws a chain.
    chains
        Number of chains.
    target_accept
        Acceptance rate that NUTS tunes its step size to.
    seed
        All random numbers follow from it.
    out
        Save the fit here (netCDF).
    quiet
        Print the summary only.
    """
    _prepare_jax(device)
    from hiermodels.datasets import read_table
    from hiermodels.fit import fit as fit_model
    from hiermodels.models.spec import Model

    _check_device(device)
    _check_writable(out)
    model = Model(
        formula, family, known_se=known_se, trials=trials, exposure=exposure, weights=weights, priors=_priors(prior or [])
    )
    frame = read_table(data)
    with _of_table(data):
        found = fit_model(
            model, frame, pooling=pooling, sampler=sampler, draws=draws, tune=tune, chains=chains,
            target_accept=target_accept, seed=seed, progress=not quiet,
        )  # fmt: skip
    if not quiet:
        print(found)
    print(found.summary().round(4).to_string())
    for line in found.warnings:
        print(f"warning: {line}", file=sys.stderr)
    if out is not None:
        found.save(out)
        print(f"saved {out}")


def _check_writable(out: Path | None) -> None:
    """Refuse a place that cannot be written before anything is computed."""
    if out is None:
        return
    folder = out.parent
    if out.is_dir() or not (folder.is_dir() and os.access(folder, os.W_OK)):
        found = "a folder" if out.is_dir() else f"no folder {folder} that can be written"
        raise ValueError(f"--out {out}: expected a path for a file, found {found}; name another")


@contextmanager
def _of_table(data: str) -> Iterator[None]:
    """Name the table in what is wrong with its columns and rows."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        rows = " (rows count from 0, below the header)" if ", row " in text else ""
        raise ValueError(f"{data}: {text}{rows}" if "column " in text.partition(";")[0] else text) from None


def _priors(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, separator, law = text.partition("=")
        if not separator or not law:
            raise ValueError(f"--prior {text!r}: expected NAME=PRIOR; write e.g. --prior sd_school='half_normal(5)'")
        found[name.strip()] = law.strip()
    return found


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script; turns errors into one line and an exit code."""
    sys.exit(_code(arguments))


def _code(arguments: list[str] | None) -> int:
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        return _bad(_misused(error))
    except ValueError as error:
        return _bad(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.strerror is None:
            raise
        return _bad(f"{error.filename or 'system'}: {error.strerror}; check the path, its permissions and the space left")
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "stopped", file=sys.stderr)
        return 130
    return 0


def _misused(error: cyclopts.CycloptsError) -> str:
    """A mistake in the command itself, in one line."""
    command = " ".join(["hiermodels", *(error.command_chain or ())])
    text = " ".join(str(error).split()).removesuffix(".")
    text = text.removeprefix(f'Command "{command.partition(" ")[2]}" ')
    if isinstance(error, cyclopts.UnusedCliTokensError):
        text = f"expected no further argument, found {' '.join(error.unused_tokens or ())!r}"
    return f"{command}: {text}; see {command} --help"


def _bad(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
